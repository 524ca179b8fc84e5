//! What runs, beside what was signed last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bcm_keystore::Chain;
use serde::Serialize;
use serde_json::Value;

use crate::desired::{CHAIN, NAMES};
use crate::observe::Observed;
use crate::plan::{State, config_digest, network_digest, spec_digest};
use crate::stack::PartName;

/// Something that is otherwise than it was signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "deviation", rename_all = "kebab-case")]
pub enum Deviation {
    /// It was signed, and is not there.
    Missing {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It is there, and nobody signed it.
    Foreign {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It is another.
    Changed {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A service or container has another image.
    Image {
        /// Its name.
        name: String,
        /// What was signed.
        expected: String,
        /// What runs.
        found: String,
    },
    /// A container that no service of ours runs is on our network, or has a name like ours.
    ForeignContainer {
        /// Its name.
        name: String,
        /// The host.
        host: PartName,
    },
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { what, name } => write!(f, "the {what} `{name}` is missing"),
            Self::Foreign { what, name } => write!(f, "the {what} `{name}` is in no signed plan"),
            Self::Changed { what, name } => {
                write!(f, "the {what} `{name}` is not as it was signed")
            }
            Self::Image {
                name,
                expected,
                found,
            } => {
                write!(
                    f,
                    "`{name}` runs the image `{found}`, signed was `{expected}`"
                )
            }
            Self::ForeignContainer { name, host } => {
                write!(
                    f,
                    "the container `{name}` on `{host}` belongs to no signed service"
                )
            }
        }
    }
}

/// Names every deviation of what runs on `chain` from the state that was signed last.
pub fn verify(observed: &Observed, chain: Chain, signed: &State) -> Vec<Deviation> {
    let mut found = Vec::new();
    let prefix = format!("{NAMES}{chain}-");
    services(observed, signed, &prefix, &mut found);
    let networks: BTreeMap<_, _> = observed
        .networks
        .iter()
        .map(|(name, network)| {
            (
                name.as_str(),
                (&network.labels, Some(network_digest(name, network))),
            )
        })
        .collect();
    compare(
        "network",
        chain,
        &prefix,
        &networks,
        &signed.networks,
        &mut found,
    );
    let configs: BTreeMap<_, _> = observed
        .configs
        .iter()
        .map(|(name, it)| {
            (
                name.as_str(),
                (&it.labels, Some(config_digest(name, &it.labels, &it.data))),
            )
        })
        .collect();
    compare(
        "config",
        chain,
        &prefix,
        &configs,
        &signed.configs,
        &mut found,
    );
    // an engine does not say what is in a secret; its name is the digest of that
    let secrets: BTreeMap<_, _> = observed
        .secrets
        .iter()
        .map(|(name, it)| (name.as_str(), (&it.labels, None)))
        .collect();
    compare(
        "secret",
        chain,
        &prefix,
        &secrets,
        &signed.secrets,
        &mut found,
    );
    volumes(observed, signed, &mut found);
    containers(observed, signed, &prefix, &mut found);
    found.sort();
    found.dedup();
    found
}

fn services(observed: &Observed, signed: &State, prefix: &str, found: &mut Vec<Deviation>) {
    let what = "service";
    for (name, expected) in &signed.services {
        let Some(service) = observed.services.get(name) else {
            found.push(Deviation::Missing {
                what,
                name: name.clone(),
            });
            continue;
        };
        let image = service
            .spec
            .pointer("/TaskTemplate/ContainerSpec/Image")
            .and_then(Value::as_str);
        if image != Some(&expected.image) {
            found.push(Deviation::Image {
                name: name.clone(),
                expected: expected.image.clone(),
                found: image.unwrap_or_default().to_owned(),
            });
        } else if spec_digest(observed, &service.spec) != expected.spec.as_str() {
            found.push(Deviation::Changed {
                what,
                name: name.clone(),
            });
        }
    }
    let ours: BTreeSet<&str> = signed.networks.keys().map(String::as_str).collect();
    for (name, service) in &observed.services {
        if signed.services.contains_key(name) {
            continue;
        }
        let spec = observed.comparable(&service.spec);
        let attached = spec
            .pointer("/TaskTemplate/Networks")
            .and_then(Value::as_array);
        let mut attached = attached
            .into_iter()
            .flatten()
            .filter_map(|it| it["Target"].as_str());
        if name.starts_with(prefix) || attached.any(|network| ours.contains(network)) {
            found.push(Deviation::Foreign {
                what,
                name: name.clone(),
            });
        }
    }
}

fn compare(
    what: &'static str,
    chain: Chain,
    prefix: &str,
    observed: &BTreeMap<&str, (&BTreeMap<String, String>, Option<String>)>,
    signed: &BTreeMap<String, crate::stack::Sha256Hex>,
    found: &mut Vec<Deviation>,
) {
    for (name, expected) in signed {
        match observed.get(name.as_str()) {
            None => found.push(Deviation::Missing {
                what,
                name: name.clone(),
            }),
            Some((_, Some(digest))) if digest != expected.as_str() => {
                found.push(Deviation::Changed {
                    what,
                    name: name.clone(),
                });
            }
            Some(_) => {}
        }
    }
    for (name, (labels, _)) in observed {
        let ours =
            name.starts_with(prefix) || labels.get(CHAIN).map(String::as_str) == Some(chain.name());
        if ours && !signed.contains_key(*name) {
            found.push(Deviation::Foreign {
                what,
                name: (*name).to_owned(),
            });
        }
    }
}

fn volumes(observed: &Observed, signed: &State, found: &mut Vec<Deviation>) {
    for (name, host) in &signed.volumes {
        let mut hosts = observed
            .hosts
            .iter()
            .filter(|(at, _)| host.as_ref().is_none_or(|host| host == *at));
        if !hosts.any(|(_, host)| host.volumes.contains_key(name)) {
            found.push(Deviation::Missing {
                what: "volume",
                name: name.clone(),
            });
        }
    }
}

fn containers(observed: &Observed, signed: &State, prefix: &str, found: &mut Vec<Deviation>) {
    for (host, it) in &observed.hosts {
        for container in &it.containers {
            let service = container
                .service
                .as_ref()
                .and_then(|name| Some((name, signed.services.get(name)?)));
            let near = container.name.starts_with(prefix)
                || container
                    .networks
                    .iter()
                    .any(|network| signed.networks.contains_key(network));
            match service {
                Some((name, expected)) if container.image != expected.image => {
                    found.push(Deviation::Image {
                        name: name.clone(),
                        expected: expected.image.clone(),
                        found: container.image.clone(),
                    });
                }
                None if near => found.push(Deviation::ForeignContainer {
                    name: container.name.clone(),
                    host: host.clone(),
                }),
                _ => {}
            }
        }
    }
}
