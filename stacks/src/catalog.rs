//! The catalogue: every stack that bcm knows.

mod folder;
mod lint;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bcm_keystore::{Chain, Hint};
use include_dir::{Dir, include_dir};

use crate::graph;
use crate::stack::{FileName, Stack, StackName, TextError, Tunnel};

pub use folder::Folder;
pub use lint::Defect;

static BUILTIN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/catalog");

/// Every known stack; what one needs is always in it, and no two need each other.
#[derive(Clone, Debug)]
pub struct Catalog {
    stacks: BTreeMap<StackName, Stack>,
    templates: BTreeMap<StackName, BTreeMap<FileName, String>>,
}

impl Catalog {
    /// Returns the catalogue that is compiled in.
    ///
    /// # Panics
    ///
    /// Never: a test reads every compiled-in file.
    pub fn builtin() -> Self {
        Self::from_folders(folder::compiled_in(&BUILTIN))
            .expect("the compiled-in catalogue is tested")
    }

    /// Returns the compiled-in catalogue and every stack below `path`.
    ///
    /// # Errors
    ///
    /// Fails when a folder cannot be read or does not fit, also when it describes a stack that is
    /// compiled in: a name means one thing.
    pub fn with_folder(path: &Path) -> Result<Self, CatalogError> {
        let mut folders = folder::compiled_in(&BUILTIN);
        folders.extend(folder::read_all(path)?);
        Self::from_folders(folders)
    }

    /// Checks one stack in the folder `path`, beside the compiled-in ones.
    ///
    /// # Errors
    ///
    /// Fails with what a catalogue with that folder would fail with.
    pub fn lint(path: &Path) -> Result<(Self, StackName), CatalogError> {
        let mine = folder::read(path)?;
        let (stack, _) = read(mine.clone())?;
        let mut folders = folder::compiled_in(&BUILTIN);
        // an author may work on one of ours
        folders.retain(|folder| folder.name != mine.name);
        folders.push(mine);
        Ok((Self::from_folders(folders)?, stack.name))
    }

    /// Makes a catalogue out of folders.
    ///
    /// # Errors
    ///
    /// Fails when a folder is not of schema 1, or when the stacks do not fit together.
    pub fn from_folders(folders: impl IntoIterator<Item = Folder>) -> Result<Self, CatalogError> {
        let mut stacks = BTreeMap::new();
        let mut templates = BTreeMap::new();
        for folder in folders {
            let (stack, files) = read(folder)?;
            templates.insert(stack.name.clone(), files);
            if let Some(twice) = stacks.insert(stack.name.clone(), stack) {
                return Err(CatalogError::Twice { name: twice.name });
            }
        }
        graph::check(&stacks)?;
        across(&stacks)?;
        Ok(Self { stacks, templates })
    }

    /// Returns every stack, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Stack> {
        self.stacks.values()
    }

    /// Returns the stack of that name.
    ///
    /// # Errors
    ///
    /// Fails with [`CatalogError::Unknown`] when there is none.
    pub fn get(&self, name: &str) -> Result<&Stack, CatalogError> {
        name.parse()
            .ok()
            .and_then(|name: StackName| self.stacks.get(&name))
            .ok_or_else(|| CatalogError::Unknown {
                name: name.escape_debug().take(80).collect(),
                known: self.stacks.keys().cloned().collect(),
            })
    }

    /// Returns the text of a template in the folder of a stack.
    pub fn template(&self, stack: &StackName, file: &FileName) -> Option<&str> {
        Some(self.templates.get(stack)?.get(file)?.as_str())
    }

    /// Returns the named stacks and all that they need, each after what it needs.
    ///
    /// The order depends on the catalogue alone, not on the order of `names`.
    ///
    /// # Errors
    ///
    /// Fails with [`CatalogError::Unknown`] for a name that is not in the catalogue.
    pub fn start_order<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Vec<&Stack>, CatalogError> {
        let wanted = names
            .into_iter()
            .map(|name| self.get(name.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(graph::order(&self.stacks, &wanted))
    }

    /// Returns the order as [`Catalog::start_order`] does, of stacks that all run on `chain`.
    ///
    /// # Errors
    ///
    /// Fails with [`CatalogError::NotOnChain`] for a stack that does not.
    pub fn order_on<N: AsRef<str>>(
        &self,
        chain: Chain,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Vec<&Stack>, CatalogError> {
        let order = self.start_order(names)?;
        match order.iter().find(|stack| !stack.runs_on(chain)) {
            None => Ok(order),
            Some(stack) => Err(CatalogError::NotOnChain {
                stack: stack.name.clone(),
                chain,
                chains: stack.chains.clone(),
            }),
        }
    }
}

fn read(folder: Folder) -> Result<(Stack, BTreeMap<FileName, String>), CatalogError> {
    let Folder {
        name: folder,
        stack: text,
        templates,
    } = folder;
    // the version first: of another one nothing else is known
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: u32,
    }
    let syntax = |source| CatalogError::Syntax {
        folder: folder.clone(),
        source: Box::new(source),
    };
    let Schema { schema } = toml::from_str(&text).map_err(syntax)?;
    if schema != Stack::SCHEMA {
        return Err(CatalogError::Schema {
            folder,
            found: schema,
        });
    }
    let stack: Stack = toml::from_str(&text).map_err(syntax)?;
    debug_assert_eq!(stack.schema(), schema);
    if stack.name.as_str() != folder {
        return Err(CatalogError::Misnamed {
            folder,
            name: stack.name,
        });
    }
    let files: BTreeSet<&str> = templates.keys().map(FileName::as_str).collect();
    lint::check(&stack, &files).map_err(|defect| CatalogError::Defect {
        stack: stack.name.clone(),
        defect,
    })?;
    Ok((stack, templates))
}

/// Checks what one stack says of another.
fn across(stacks: &BTreeMap<StackName, Stack>) -> Result<(), CatalogError> {
    for stack in stacks.values() {
        let missing = |place: String, what, name: &str| CatalogError::Defect {
            stack: stack.name.clone(),
            defect: Defect::Missing {
                place,
                what,
                name: name.to_owned(),
            },
        };
        for service in &stack.services {
            for mount in &service.mounts {
                let Some(owner) = &mount.of else { continue };
                let volumes = &stacks[owner].volumes;
                if !volumes.iter().any(|volume| volume.name == mount.volume) {
                    let place = format!("a mount of `{}`", service.name);
                    return Err(missing(place, "volume", mount.volume.as_str()));
                }
            }
        }
        if let Some(desktop) = &stack.desktop {
            let Tunnel {
                stack: far,
                service,
                port,
            } = &desktop.tunnel;
            let far = &stacks[far];
            let found = far.service(service.as_str());
            let there = |chain: &Chain| {
                found.is_some_and(|found| found.ports_on(*chain).contains_key(port.as_str()))
            };
            if !stack.chains.iter().all(there) {
                return Err(missing("the tunnel".into(), "port", port.as_str()));
            }
        }
        for needs in &stack.depends {
            if let Some(chain) = stack
                .chains
                .iter()
                .find(|chain| !stacks[needs].runs_on(**chain))
            {
                return Err(CatalogError::NeedsOffChain {
                    stack: stack.name.clone(),
                    needs: needs.clone(),
                    chain: *chain,
                });
            }
        }
    }
    Ok(())
}

/// Why a catalogue cannot be used, or a stack not be found in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The file system refused.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder without a `stack.toml`.
    #[error("`{}` has no `stack.toml`", path.display())]
    NoStack {
        /// The folder.
        path: PathBuf,
    },
    /// Something in a stack's folder that is neither a file nor hidden: a link, a folder.
    #[error("`{}` is not a file", path.display())]
    NoFile {
        /// What it is.
        path: PathBuf,
    },
    /// A file whose name is a trick.
    #[error("in `{folder}`")]
    FileName {
        /// The folder of the stack.
        folder: String,
        /// What is wrong with it.
        #[source]
        source: TextError,
    },
    /// A file that is too long.
    #[error("`{}` is longer than {most} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How long it may be.
        most: u64,
    },
    /// A folder with too much in it.
    #[error("`{}` holds more than {most} files", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// How many it may hold.
        most: usize,
    },
    /// A file that is not UTF-8.
    #[error("`{}` is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what schema 1 asks for.
    #[error("cannot read `{folder}/stack.toml`")]
    Syntax {
        /// The folder of the stack.
        folder: String,
        /// What is wrong, and in which line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A file of another version of the format.
    #[error(
        "`{folder}/stack.toml` has schema {found}, this bcm reads schema {}",
        Stack::SCHEMA
    )]
    Schema {
        /// The folder of the stack.
        folder: String,
        /// The version in the file.
        found: u32,
    },
    /// A stack that calls itself otherwise than its folder.
    #[error("`{folder}/stack.toml` describes `{name}`")]
    Misnamed {
        /// The folder of the stack.
        folder: String,
        /// The name in the file.
        name: StackName,
    },
    /// A description that does not fit together.
    #[error("stack `{stack}` does not fit together")]
    Defect {
        /// The stack.
        stack: StackName,
        /// What does not fit.
        #[source]
        defect: Defect,
    },
    /// Two stacks of one name.
    #[error("stack `{name}` is described twice")]
    Twice {
        /// Their name.
        name: StackName,
    },
    /// A stack that needs one which is not there.
    #[error("stack `{stack}` needs `{needs}`, which is not in the catalogue")]
    Dangling {
        /// The stack.
        stack: StackName,
        /// What it needs.
        needs: StackName,
    },
    /// A stack that needs one which does not run on one of its chains.
    #[error("stack `{stack}` runs on {chain} and needs `{needs}`, which does not")]
    NeedsOffChain {
        /// The stack.
        stack: StackName,
        /// What it needs.
        needs: StackName,
        /// The chain.
        chain: Chain,
    },
    /// Stacks that need each other.
    #[error("stacks need each other: {}", way(.cycle))]
    Cycle {
        /// The way round, with the first at the end again.
        cycle: Vec<StackName>,
    },
    /// A stack that does not run on the chain.
    #[error("stack `{stack}` does not run on {chain}")]
    NotOnChain {
        /// The stack.
        stack: StackName,
        /// The chain.
        chain: Chain,
        /// Where it runs.
        chains: Vec<Chain>,
    },
    /// A name that is not in the catalogue.
    #[error("unknown stack `{name}`")]
    Unknown {
        /// What was asked for, escaped.
        name: String,
        /// What there is.
        known: Vec<StackName>,
    },
}

fn way(names: &[StackName]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(" -> ")
}

impl Hint for CatalogError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } => {
                let known: Vec<_> = known.iter().map(StackName::as_str).collect();
                Some(format!("known stacks: {}", known.join(", ")))
            }
            Self::Misnamed { folder, .. } => {
                Some(format!("write `name = \"{folder}\"`, or rename the folder"))
            }
            Self::Dangling { needs, .. } => Some(format!("add a folder `{needs}`")),
            Self::NotOnChain { chains, .. } => {
                let chains: Vec<_> = chains.iter().map(|chain| chain.name()).collect();
                Some(format!("it runs on {}", chains.join(", ")))
            }
            Self::Twice { name } => Some(format!("rename one of them, as `my-{name}`")),
            Self::NoFile { .. } => Some("put the file itself there".into()),
            Self::NoStack { .. } => {
                Some("name the folder of one stack, with a `stack.toml` in it".into())
            }
            Self::Defect {
                defect: Defect::Unused { .. },
                ..
            } => Some("name it in a `[[service.file]]`, or remove it".into()),
            _ => None,
        }
    }
}

/// Returns a folder that is compiled in, for tests that change it.
#[cfg(test)]
pub(crate) fn tests_folder(name: &str) -> Folder {
    let mut folders = folder::compiled_in(&BUILTIN).into_iter();
    folders.find(|folder| folder.name == name).unwrap()
}

#[cfg(test)]
mod tests;
