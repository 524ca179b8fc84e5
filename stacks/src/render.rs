//! From a stack, a chain and a configuration to the files, words and images of its services. Pure: the
//! same in, the same out.

mod choose;
mod context;
mod template;

use std::collections::BTreeMap;

use bcm_keystore::{Chain, Hint};
use minijinja::Environment;
use minijinja::value::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::catalog::{Catalog, CatalogError};
use crate::configuration::Configuration;
use crate::onion;
use crate::secret::{SecretId, Secrets};
use crate::stack::{
    ContainerPath, ImageReference, Mode, PartName, Service, Stack, StackName, Version, is_path,
    is_plain_word,
};

pub(crate) use choose::Chosen;
pub use choose::Warning;

/// Everything that a plan is made of, worked out.
#[derive(Debug)]
pub struct Rendered {
    /// The stacks, each after what it needs.
    pub stacks: Vec<RenderedStack>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// A stack, worked out.
#[derive(Debug)]
pub struct RenderedStack {
    /// Its name.
    pub name: StackName,
    /// Its services.
    pub services: Vec<RenderedService>,
    /// The files of its desktop program; what a tunnel adds is rendered when it is there.
    pub desktop: BTreeMap<String, String>,
}

/// A service, worked out.
#[derive(Debug)]
pub struct RenderedService {
    /// Its name in the swarm, and for its peers.
    pub name: String,
    /// Its name in its stack.
    pub service: PartName,
    /// The image.
    pub image: ImageReference,
    /// The release in it.
    pub version: Version,
    /// The program.
    pub command: Vec<String>,
    /// What it is called with.
    pub args: Vec<String>,
    /// `NAME=VALUE`, by name.
    pub env: Vec<String>,
    /// Its files.
    pub files: Vec<RenderedFile>,
    /// Where its volumes are: name in the engine, path, whether only to be read.
    pub mounts: Vec<(String, String, bool)>,
}

/// A file, worked out.
#[derive(Debug)]
pub struct RenderedFile {
    /// Where the service finds it.
    pub path: String,
    /// Its mode.
    pub mode: Mode,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
pub enum Content {
    /// For everybody.
    Public(String),
    /// For the service alone; wiped when dropped.
    Secret(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Public(text) => f.debug_tuple("Public").field(text).finish(),
            Self::Secret(_) => f.write_str("Secret([redacted])"),
        }
    }
}

impl Content {
    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Public(text) => text.as_bytes(),
            Self::Secret(bytes) => bytes,
        }
    }
}

impl RenderedFile {
    /// Returns the digest that the file is named by: of its path and what is in it.
    pub fn digest(&self) -> String {
        let path = Sha256::new()
            .chain_update(self.path.as_bytes())
            .chain_update([0]);
        hex::encode(path.chain_update(self.content.bytes()).finalize())
    }
}

/// Returns what a service is called in the swarm.
pub fn service_name(chain: Chain, stack: &StackName, service: &PartName) -> String {
    format!("bcm-{chain}-{stack}-{service}")
}

/// Returns what a volume is called in an engine.
pub fn volume_name(chain: Chain, stack: &StackName, volume: &PartName) -> String {
    format!("bcm-{chain}-{stack}-{volume}")
}

/// Returns the name of the network of a stack.
pub fn network_name(chain: Chain, stack: &StackName) -> String {
    format!("bcm-{chain}-{stack}")
}

/// Returns every secret that the configuration needs, those of onion services among them.
///
/// # Errors
///
/// Fails when a stack is unknown or does not run on the chain.
pub fn needed_secrets(
    catalog: &Catalog,
    configuration: &Configuration,
) -> Result<Vec<SecretId>, CatalogError> {
    let chain = configuration.chain;
    let names = configuration.stacks.iter().map(StackName::as_str);
    let mut needed = Vec::new();
    for stack in catalog.order_on(chain, names)? {
        let id = |name: PartName| SecretId {
            chain,
            stack: stack.name.clone(),
            name,
        };
        needed.extend(stack.secrets.iter().map(|secret| id(secret.name.clone())));
        let onions = stack.services.iter().flat_map(|service| &service.onions);
        needed.extend(onions.map(|onion| id(onion_secret(&onion.name))));
    }
    Ok(needed)
}

/// Returns the name of the secret that is the key of an onion service.
pub fn onion_secret(onion: &PartName) -> PartName {
    let name = format!("onion-{onion}");
    name.parse().unwrap_or_else(|_| onion.clone())
}

/// Returns the address of an onion service.
///
/// # Errors
///
/// Fails when its key is not among the secrets.
pub fn onion_address(
    secrets: &Secrets,
    chain: Chain,
    stack: &StackName,
    onion: &PartName,
) -> Result<String, RenderError> {
    let id = SecretId {
        chain,
        stack: stack.clone(),
        name: onion_secret(onion),
    };
    let key = secrets
        .get(&id)
        .ok_or_else(|| RenderError::NoSecret { id: id.to_string() })?;
    Ok(onion::address(&key.seed()))
}

/// Works out every wanted stack and what it needs.
///
/// # Errors
///
/// Fails when something cannot run as it was chosen, or a template does not render.
pub fn render(
    catalog: &Catalog,
    configuration: &Configuration,
    secrets: &Secrets,
) -> Result<Rendered, RenderError> {
    let mut chosen = choose::choose(catalog, configuration)?;
    let warnings = std::mem::take(&mut chosen.warnings);
    let env = template::environment();
    let contexts = context::Contexts::new(&chosen, configuration, secrets)?;
    let stacks = chosen
        .stacks
        .iter()
        .map(|stack| one(&env, catalog, &chosen, &contexts, stack, secrets))
        .collect::<Result<_, _>>()?;
    Ok(Rendered { stacks, warnings })
}

fn one(
    env: &Environment<'_>,
    catalog: &Catalog,
    chosen: &Chosen<'_>,
    contexts: &context::Contexts,
    stack: &Stack,
    secrets: &Secrets,
) -> Result<RenderedStack, RenderError> {
    let public = contexts.public(stack);
    let private = contexts.private(stack);
    let maker = Maker {
        env,
        catalog,
        chosen,
        stack,
        public: &public,
        private: &private,
        secrets,
    };
    let services = stack
        .services
        .iter()
        .map(|service| maker.service(service, contexts));
    let mut desktop = BTreeMap::new();
    for file in stack.desktop.iter().flat_map(|desktop| &desktop.files) {
        let text = maker.template(file.template.as_str(), &public)?;
        desktop.insert(file.name.to_string(), text);
    }
    Ok(RenderedStack {
        name: stack.name.clone(),
        services: services.collect::<Result<_, _>>()?,
        desktop,
    })
}

/// What renders one stack.
struct Maker<'a> {
    env: &'a Environment<'a>,
    catalog: &'a Catalog,
    chosen: &'a Chosen<'a>,
    stack: &'a Stack,
    public: &'a Value,
    private: &'a Value,
    secrets: &'a Secrets,
}

impl Maker<'_> {
    fn template(&self, file: &str, context: &Value) -> Result<String, RenderError> {
        let place = format!("{}/{file}", self.stack.name);
        let name = file.parse().expect("checked when the catalogue was read");
        let text = self
            .catalog
            .template(&self.stack.name, &name)
            .unwrap_or_default();
        template::render(self.env, &place, text, context)
    }

    fn inline(&self, place: &str, text: &str) -> Result<String, RenderError> {
        if !text.contains('{') {
            return Ok(text.to_owned());
        }
        template::render(
            self.env,
            &format!("{}/stack.toml {place}", self.stack.name),
            text,
            self.public,
        )
    }

    fn path(&self, path: &ContainerPath) -> Result<String, RenderError> {
        let rendered = self.inline("path", path.as_str())?;
        if is_path(&rendered) {
            Ok(rendered)
        } else {
            Err(RenderError::Path {
                stack: self.stack.name.clone(),
                path: rendered.escape_debug().to_string(),
            })
        }
    }

    fn words(&self, place: &str, words: &[crate::stack::Word]) -> Result<Vec<String>, RenderError> {
        let mut rendered = Vec::new();
        for word in words {
            let word = self.inline(place, word.as_str())?;
            if !is_plain_word(&word) {
                return Err(RenderError::Word {
                    stack: self.stack.name.clone(),
                    word: word.escape_debug().to_string(),
                });
            }
            if !word.is_empty() {
                rendered.push(word);
            }
        }
        Ok(rendered)
    }

    fn service(
        &self,
        service: &Service,
        contexts: &context::Contexts,
    ) -> Result<RenderedService, RenderError> {
        let chain = self.chosen.chain;
        let image = self.chosen.image(self.stack, service);
        let mut env = Vec::new();
        for (name, value) in &service.env {
            let value = self.inline(name.as_str(), value.as_str())?;
            if !value.is_empty() {
                env.push(format!("{name}={value}"));
            }
        }
        let mut mounts = Vec::new();
        for mount in &service.mounts {
            let owner = mount.of.as_ref().unwrap_or(&self.stack.name);
            if self.chosen.has(owner) {
                let volume = volume_name(chain, owner, &mount.volume);
                mounts.push((volume, self.path(&mount.path)?, mount.read_only));
            }
        }
        Ok(RenderedService {
            name: service_name(chain, &self.stack.name, &service.name),
            service: service.name.clone(),
            image: image.reference.clone(),
            version: image.version.clone(),
            command: self.words("command", &service.command)?,
            args: self.words("args", &service.args)?,
            env,
            files: self.files(service, contexts)?,
            mounts,
        })
    }

    fn files(
        &self,
        service: &Service,
        contexts: &context::Contexts,
    ) -> Result<Vec<RenderedFile>, RenderError> {
        let mut files = Vec::new();
        for file in &service.files {
            let context = if file.secret {
                self.private
            } else {
                self.public
            };
            let text = self.template(file.template.as_str(), context)?;
            let content = if file.secret {
                Content::Secret(template::fill(&text, self.secrets)?)
            } else {
                Content::Public(text)
            };
            let mode = file.mode.unwrap_or(Mode::READ);
            files.push(RenderedFile {
                path: self.path(&file.path)?,
                mode,
                content,
            });
        }
        for file in &service.secret_files {
            let id = SecretId {
                chain: self.chosen.chain,
                stack: self.stack.name.clone(),
                name: file.secret.clone(),
            };
            let prefix = file.prefix.as_ref().map_or("", crate::stack::Word::as_str);
            let content =
                template::fill(&format!("{prefix}{}", template::mark(&id)), self.secrets)?;
            let path = self.path(&file.path)?;
            files.push(RenderedFile {
                path,
                mode: Mode::READ,
                content: Content::Secret(content),
            });
        }
        if let Some(folder) = &service.onion_keys {
            for onion in contexts.onions() {
                let key = self.secrets.get(&onion.secret);
                let key = key.ok_or_else(|| RenderError::NoSecret {
                    id: onion.secret.to_string(),
                })?;
                files.push(RenderedFile {
                    path: format!("{}/{}", self.path(folder)?, onion.id),
                    mode: Mode::READ,
                    content: Content::Secret(onion::key_file(&key.seed())),
                });
            }
        }
        Ok(files)
    }
}

/// Renders one text that only makes sense with a tunnel: a desktop program's words.
///
/// # Errors
///
/// Fails when the template does.
pub fn render_desktop(
    catalog: &Catalog,
    configuration: &Configuration,
    secrets: &Secrets,
    stack: &StackName,
    near: std::net::SocketAddr,
) -> Result<(Vec<String>, BTreeMap<String, String>), RenderError> {
    let chosen = choose::choose(catalog, configuration)?;
    let env = template::environment();
    let contexts = context::Contexts::new(&chosen, configuration, secrets)?;
    let stack = catalog.get(stack.as_str())?;
    let context = contexts.with_tunnel(stack, near);
    let maker = Maker {
        env: &env,
        catalog,
        chosen: &chosen,
        stack,
        public: &context,
        private: &context,
        secrets,
    };
    let mut files = BTreeMap::new();
    let mut words = Vec::new();
    if let Some(desktop) = &stack.desktop {
        words.extend(desktop.program.iter().map(ToString::to_string));
        words.extend(maker.words("args", &desktop.args)?);
        for file in &desktop.files {
            files.insert(
                file.name.to_string(),
                maker.template(file.template.as_str(), &context)?,
            );
        }
    }
    Ok((words, files))
}

/// Why a configuration cannot be worked out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// A stack is unknown or not for the chain.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// An option that the stack does not have.
    #[error("stack `{stack}` has no option `{option}`")]
    UnknownOption {
        /// The stack.
        stack: StackName,
        /// What was chosen.
        option: PartName,
        /// What there is.
        known: Vec<PartName>,
    },
    /// A value that the option does not take.
    #[error("option `{option}` of `{stack}` does not take `{value}`")]
    OptionValue {
        /// The stack.
        stack: StackName,
        /// The option.
        option: PartName,
        /// The value.
        value: String,
        /// What it is otherwise.
        default: String,
    },
    /// An image that nobody lists.
    #[error("service `{service}` of `{stack}` has no image `{variant}` on {chain}")]
    UnknownVariant {
        /// The stack.
        stack: StackName,
        /// The service.
        service: PartName,
        /// What was chosen.
        variant: PartName,
        /// The chain.
        chain: Chain,
    },
    /// A service whose image has no known digest.
    #[error(
        "no digest is known for the image of `{service}` in `{stack}`: nothing is pulled by a tag"
    )]
    NoDigest {
        /// The stack.
        stack: StackName,
        /// The service.
        service: PartName,
        /// How to make the image.
        build: Vec<String>,
    },
    /// A release with published holes, where money is.
    #[error("`{stack}` {version} is older than {minimum}, the oldest that is safe on mainnet")]
    BelowMinimum {
        /// The stack.
        stack: StackName,
        /// The release.
        version: Version,
        /// The oldest safe one.
        minimum: Version,
    },
    /// A pruned node below a stack that needs every block.
    #[error("`{stack}` needs every block, and `bitcoind` is set to `prune={prune}`")]
    Pruned {
        /// The stack.
        stack: StackName,
        /// The setting.
        prune: String,
    },
    /// Two stacks that share a volume, placed apart.
    #[error(
        "`{stack}` and `{other}` share a volume, and are placed on `{host}` and `{other_host}`"
    )]
    Apart {
        /// The stack.
        stack: StackName,
        /// The one that it shares with.
        other: StackName,
        /// Where it is.
        host: String,
        /// Where the other is.
        other_host: String,
    },
    /// Two stacks that call themselves alike at a third.
    #[error("`{one}` and `{other}` both want to be the user `{user}` of `{of}`")]
    UserTaken {
        /// One.
        one: String,
        /// The other.
        other: String,
        /// The user.
        user: String,
        /// Where.
        of: StackName,
    },
    /// A template that does not render.
    #[error("cannot render `{place}`")]
    Template {
        /// Which.
        place: String,
        /// What is wrong, and in which line.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// A file that became too long.
    #[error("`{place}` is longer than {most} bytes when rendered")]
    TooLong {
        /// Which.
        place: String,
        /// How long it may be.
        most: usize,
    },
    /// A path that is none when rendered.
    #[error("a path of `{stack}` is `{path}` when rendered")]
    Path {
        /// The stack.
        stack: StackName,
        /// The path, escaped.
        path: String,
    },
    /// A word that is none when rendered.
    #[error("a word of `{stack}` is `{word}` when rendered")]
    Word {
        /// The stack.
        stack: StackName,
        /// The word, escaped.
        word: String,
    },
    /// A name that is longer than an engine takes.
    #[error("`{name}` is longer than the 63 characters that a service's name may have")]
    LongName {
        /// The name.
        name: String,
    },
    /// A secret that has not been made.
    #[error("the secret `{id}` has not been made")]
    NoSecret {
        /// Which.
        id: String,
    },
}

impl Hint for RenderError {
    fn hint(&self) -> Option<String> {
        let list = |names: &[PartName]| {
            let names: Vec<_> = names.iter().map(PartName::as_str).collect();
            names.join(", ")
        };
        Some(match self {
            Self::Catalog(error) => return error.hint(),
            Self::UnknownOption { known, .. } if known.is_empty() => "it has none".into(),
            Self::UnknownOption { known, .. } => format!("its options: {}", list(known)),
            Self::OptionValue { default, .. } => format!("unless chosen it is `{default}`"),
            Self::NoDigest {
                stack,
                service,
                build,
            } => {
                let how = if build.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", build.join("; or "))
                };
                format!(
                    "build the image{how} or load an archive with `image load`, then choose it for `{stack}/{service}` by digest"
                )
            }
            Self::BelowMinimum { stack, minimum, .. } => {
                format!(
                    "build or load {minimum} or later and choose it by digest, or type `--below-minimum {stack}`: it is recorded"
                )
            }
            Self::Pruned { .. } => "leave `prune` at 0".into(),
            Self::Apart { stack, other, .. } => format!("place `{stack}` where `{other}` is"),
            Self::NoSecret { .. } => {
                "run `stack plan` with the wallet open: it makes what is missing".into()
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
