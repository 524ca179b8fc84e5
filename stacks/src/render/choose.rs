//! What runs: the stacks with all that they need, an image for each service, a value for each option.
//! What must not run is refused here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bcm_keystore::Chain;
use serde::Serialize;

use super::{RenderError, service_name};
use crate::catalog::Catalog;
use crate::configuration::Configuration;
use crate::stack::{
    Confidence, ImageReference, Maintenance, OptionValue, PartName, Service, Stack, StackName,
    Version,
};

/// What a person should know before a plan is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Warning {
    /// Nobody looks after it.
    Unmaintained {
        /// The stack.
        stack: StackName,
        /// What that means.
        note: String,
        /// What does its task today.
        successors: Vec<String>,
    },
    /// It has published holes.
    BelowMinimum {
        /// The stack.
        stack: StackName,
        /// The release.
        version: Version,
        /// The oldest safe one.
        minimum: Version,
    },
    /// One source alone stands behind a digest.
    OneSource {
        /// The stack.
        stack: StackName,
        /// The service.
        service: PartName,
        /// The source.
        source: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmaintained {
                stack,
                note,
                successors,
            } => {
                write!(
                    f,
                    "`{stack}` is unmaintained: {note}; instead: {}",
                    successors.join(", ")
                )
            }
            Self::BelowMinimum {
                stack,
                version,
                minimum,
            } => {
                write!(
                    f,
                    "`{stack}` {version} is older than {minimum}, the oldest that is safe"
                )
            }
            Self::OneSource {
                stack,
                service,
                source,
            } => {
                write!(
                    f,
                    "the digest of `{stack}/{service}` has one source: {source}"
                )
            }
        }
    }
}

/// An image that was chosen.
#[derive(Clone, Debug)]
pub(crate) struct ChosenImage {
    pub(crate) reference: ImageReference,
    pub(crate) version: Version,
    pub(crate) variant: PartName,
}

/// What runs on a chain.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) chain: Chain,
    pub(crate) stacks: Vec<&'a Stack>,
    pub(crate) options: BTreeMap<&'a StackName, BTreeMap<&'a str, OptionValue>>,
    pub(crate) warnings: Vec<Warning>,
    images: BTreeMap<(StackName, PartName), ChosenImage>,
    names: BTreeSet<&'a StackName>,
}

impl Chosen<'_> {
    pub(crate) fn has(&self, stack: &StackName) -> bool {
        self.names.contains(stack)
    }

    pub(crate) fn image(&self, stack: &Stack, service: &Service) -> &ChosenImage {
        &self.images[&(stack.name.clone(), service.name.clone())]
    }
}

pub(super) fn choose<'a>(
    catalog: &'a Catalog,
    configuration: &Configuration,
) -> Result<Chosen<'a>, RenderError> {
    let chain = configuration.chain;
    let wanted = configuration.stacks.iter().map(StackName::as_str);
    let stacks = catalog.order_on(chain, wanted)?;
    let mut chosen = Chosen {
        chain,
        options: BTreeMap::new(),
        warnings: Vec::new(),
        images: BTreeMap::new(),
        names: stacks.iter().map(|stack| &stack.name).collect(),
        stacks,
    };
    for stack in chosen.stacks.clone() {
        chosen
            .options
            .insert(&stack.name, options(stack, configuration)?);
        if let Maintenance::Unmaintained { note, successors } = &stack.maintenance {
            chosen.warnings.push(Warning::Unmaintained {
                stack: stack.name.clone(),
                note: note.to_string(),
                successors: successors.iter().map(ToString::to_string).collect(),
            });
        }
        for service in &stack.services {
            let name = service_name(chain, &stack.name, &service.name);
            if name.len() > 63 {
                return Err(RenderError::LongName { name });
            }
            let image = image(&mut chosen.warnings, stack, service, configuration)?;
            chosen
                .images
                .insert((stack.name.clone(), service.name.clone()), image);
        }
    }
    together(&chosen, configuration)?;
    Ok(chosen)
}

fn options<'a>(
    stack: &'a Stack,
    configuration: &Configuration,
) -> Result<BTreeMap<&'a str, OptionValue>, RenderError> {
    let mut options: BTreeMap<_, _> = stack
        .options
        .iter()
        .map(|option| (option.name.as_str(), option.default.clone()))
        .collect();
    for (name, value) in configuration.options.get(&stack.name).into_iter().flatten() {
        let Some(option) = stack.options.iter().find(|option| option.name == *name) else {
            return Err(RenderError::UnknownOption {
                stack: stack.name.clone(),
                option: name.clone(),
                known: stack
                    .options
                    .iter()
                    .map(|option| option.name.clone())
                    .collect(),
            });
        };
        if !option.takes(value) {
            return Err(RenderError::OptionValue {
                stack: stack.name.clone(),
                option: name.clone(),
                value: value.to_string(),
                default: option.default.to_string(),
            });
        }
        options.insert(option.name.as_str(), value.clone());
    }
    Ok(options)
}

fn image(
    warnings: &mut Vec<Warning>,
    stack: &Stack,
    service: &Service,
    configuration: &Configuration,
) -> Result<ChosenImage, RenderError> {
    let chain = configuration.chain;
    let choice = configuration
        .images
        .get(&stack.name)
        .and_then(|images| images.get(&service.name))
        .cloned()
        .unwrap_or_default();
    let mut images = stack.images_of(service, chain);
    let image = match &choice.variant {
        None => images.next(),
        Some(variant) => images.find(|image| image.variant == *variant),
    };
    let Some(image) = image else {
        return Err(RenderError::UnknownVariant {
            stack: stack.name.clone(),
            service: service.name.clone(),
            variant: choice.variant.unwrap_or_else(|| service.name.clone()),
            chain,
        });
    };
    let own = choice.reference.is_some();
    let Some(reference) = choice.reference.or_else(|| image.reference.clone()) else {
        return Err(RenderError::NoDigest {
            stack: stack.name.clone(),
            service: service.name.clone(),
            build: image.build.iter().map(ToString::to_string).collect(),
        });
    };
    let version = choice.version.unwrap_or_else(|| image.version.clone());
    if let Some(minimum) = minimum(stack, service)
        && version < *minimum
    {
        let (stack, minimum) = (stack.name.clone(), minimum.clone());
        if chain == Chain::Mainnet && !configuration.below_minimum.contains(&stack) {
            return Err(RenderError::BelowMinimum {
                stack,
                version,
                minimum,
            });
        }
        warnings.push(Warning::BelowMinimum {
            stack,
            version: version.clone(),
            minimum,
        });
    }
    if !own && image.confidence == Some(Confidence::Low) {
        warnings.push(Warning::OneSource {
            stack: stack.name.clone(),
            service: service.name.clone(),
            source: image.source.to_string(),
        });
    }
    Ok(ChosenImage {
        reference,
        version,
        variant: image.variant.clone(),
    })
}

/// The floor is upstream's, so it holds for the image that carries upstream's program.
fn minimum<'a>(stack: &'a Stack, service: &Service) -> Option<&'a Version> {
    let main = stack
        .services
        .iter()
        .rfind(|other| other.name.as_str() == stack.name.as_str());
    let main = main.or_else(|| stack.services.first())?;
    let is_main = main.name == service.name;
    stack
        .upstream
        .minimum_safe_version
        .as_ref()
        .filter(|_| is_main)
}

/// Checks what stacks demand of each other.
fn together(chosen: &Chosen<'_>, configuration: &Configuration) -> Result<(), RenderError> {
    let prune = chosen
        .stacks
        .iter()
        .find(|stack| stack.name.as_str() == "bitcoind")
        .and_then(|stack| chosen.options[&stack.name].get("prune").cloned());
    for stack in &chosen.stacks {
        match &prune {
            Some(prune) if stack.unpruned && *prune != OptionValue::Number(0) => {
                return Err(RenderError::Pruned {
                    stack: stack.name.clone(),
                    prune: prune.to_string(),
                });
            }
            _ => {}
        }
        for other in stack.same_host.iter().filter(|other| chosen.has(other)) {
            let host = |stack| {
                configuration
                    .host_of(stack)
                    .map_or("any host", PartName::as_str)
                    .to_owned()
            };
            let (here, there) = (host(&stack.name), host(other));
            if here != there {
                return Err(RenderError::Apart {
                    stack: stack.name.clone(),
                    other: other.clone(),
                    host: here,
                    other_host: there,
                });
            }
        }
    }
    Ok(())
}
