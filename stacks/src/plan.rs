//! The difference between what should be and what is, as the calls that make one out of the other. Pure:
//! no engine is asked, and the same in gives the same bytes out.

mod change;
mod operation;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcm_keystore::{Chain, Hint};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::catalog::Catalog;
use crate::configuration::Configuration;
use crate::desired::{self, CHAIN, Desired, DesiredStack, FILE, NAMES, STACK};
use crate::observe::{Observed, ObservedHost, canonical, digest};
use crate::render::{RenderError, Warning, render};
use crate::secret::Secrets;
use crate::stack::{PartName, Sha256Hex, StackName};

pub use change::{Change, Thing, Verb};
pub use operation::{Method, Operation, Unresolved};

/// What has to be done on a chain, and what there is when it is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The chain.
    pub chain: Chain,
    /// The calls, in order.
    pub operations: Vec<Operation>,
    /// The same for a person.
    pub changes: Vec<Change>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// What each stack has to wait for, in the order in which they start.
    pub order: Vec<(StackName, Vec<StackName>)>,
    /// What there is afterwards.
    pub state: State,
    /// Whether secrets are missing: such a plan is for looking at only.
    pub preview: bool,
    secrets: SecretBodies,
}

/// The bodies of calls that make secrets, by their SHA-256; wiped when dropped.
#[derive(Clone, Default)]
pub struct SecretBodies(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl std::fmt::Debug for SecretBodies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl SecretBodies {
    /// Returns the body with that digest.
    pub fn get(&self, sha256: &Sha256Hex) -> Option<&[u8]> {
        self.0.get(sha256.as_str()).map(|body| body.as_slice())
    }
}

/// What there is on a chain when a plan is done: what a later check compares with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Services by name.
    pub services: BTreeMap<String, ServiceState>,
    /// The digests of networks, by name.
    pub networks: BTreeMap<String, Sha256Hex>,
    /// The digests of what configs hold and are labelled with, by name.
    pub configs: BTreeMap<String, Sha256Hex>,
    /// The digests of the bodies that secrets were made with, by name.
    pub secrets: BTreeMap<String, Sha256Hex>,
    /// Volumes, by name, with their host.
    pub volumes: BTreeMap<String, Option<PartName>>,
}

/// A service that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceState {
    /// The stack.
    pub stack: StackName,
    /// The digest of its specification.
    pub spec: Sha256Hex,
    /// The image.
    pub image: String,
}

impl Plan {
    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Returns what a statement says of it: the body of a deployment.
    pub fn body(&self) -> Map<String, Value> {
        let body = json!({
            "operations": self.operations,
            "order": self.order,
            "state": self.state,
            "warnings": self.warnings,
        });
        match body {
            Value::Object(body) => body,
            _ => Map::new(),
        }
    }

    /// Returns each stack of the plan with the digest of its part of the state: the subjects of a statement.
    pub fn subjects(&self) -> Vec<(String, String)> {
        let of = |(stack, _): &(StackName, Vec<StackName>)| {
            let services: BTreeMap<_, _> = self
                .state
                .services
                .iter()
                .filter(|(_, service)| service.stack == *stack)
                .collect();
            (format!("stack/{stack}"), digest(&json!(services)))
        };
        self.order.iter().map(of).collect()
    }

    /// Returns the bodies that are signed by digest.
    pub fn secret_bodies(&self) -> &SecretBodies {
        &self.secrets
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// What should be cannot be worked out.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A network of that name that is another, and cannot be changed.
    #[error("the network `{name}` is another than it should be")]
    Network {
        /// Its name.
        name: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Something of that name that is not bcm's.
    #[error(
        "the {what} `{name}` belongs to somebody else: it does not carry the labels of `{stack}`"
    )]
    Foreign {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// The stack that it should belong to.
        stack: StackName,
    },
}

impl Hint for PlanError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Render(error) => return error.hint(),
            Self::Network {
                name,
                expected,
                found,
            } => format!(
                "expected {expected}, found {found}; a network cannot be changed: remove the stack, then `docker network rm {name}`"
            ),
            Self::Foreign { name, .. } => {
                format!("find out who made `{name}`, then rename or remove it")
            }
        })
    }
}

/// Makes a plan.
///
/// # Errors
///
/// Fails when what should be cannot be worked out, or something else has its name.
pub fn plan(
    catalog: &Catalog,
    configuration: &Configuration,
    secrets: &Secrets,
    observed: &Observed,
) -> Result<Plan, PlanError> {
    let rendered = render(catalog, configuration, secrets)?;
    let desired = desired::desired(catalog, configuration, &rendered, observed.api);
    let mut planner = Planner {
        chain: configuration.chain,
        observed,
        operations: Vec::new(),
        changes: Vec::new(),
        secrets: SecretBodies::default(),
    };
    for stack in &desired.stacks {
        planner.make(stack)?;
    }
    planner.remove(&desired, configuration);
    let names: BTreeSet<_> = desired.stacks.iter().map(|stack| &stack.name).collect();
    let waits = |stack: &DesiredStack| {
        let stack = catalog
            .get(stack.name.as_str())
            .expect("it is out of this catalogue");
        let before = stack
            .depends
            .iter()
            .chain(&stack.optional)
            .filter(|name| names.contains(name));
        (stack.name.clone(), before.cloned().collect())
    };
    Ok(Plan {
        chain: configuration.chain,
        operations: planner.operations,
        changes: planner.changes,
        warnings: rendered.warnings,
        order: desired.stacks.iter().map(waits).collect(),
        state: state(&desired),
        preview: secrets.is_preview(),
        secrets: planner.secrets,
    })
}

struct Planner<'a> {
    chain: Chain,
    observed: &'a Observed,
    operations: Vec<Operation>,
    changes: Vec<Change>,
    secrets: SecretBodies,
}

impl Planner<'_> {
    fn make(&mut self, stack: &DesiredStack) -> Result<(), PlanError> {
        self.networks(stack)?;
        self.images(stack);
        self.volumes(stack)?;
        self.files(stack)?;
        self.services(stack)
    }

    fn host(&self, host: Option<&PartName>) -> Option<&ObservedHost> {
        match host {
            Some(host) => self.observed.hosts.get(host),
            // one host is a whole cluster, and then it needs no name
            None => self
                .observed
                .hosts
                .values()
                .next()
                .filter(|_| self.observed.hosts.len() == 1),
        }
    }

    fn change(&mut self, stack: &StackName, verb: Verb, thing: Thing, name: &str, diff: String) {
        let (stack, name) = (stack.clone(), name.to_owned());
        self.changes.push(Change {
            stack,
            verb,
            thing,
            name,
            diff,
        });
    }

    fn networks(&mut self, stack: &DesiredStack) -> Result<(), PlanError> {
        for (name, body) in &stack.networks {
            match self.observed.networks.get(name) {
                None => {
                    self.change(
                        &stack.name,
                        Verb::Create,
                        Thing::Network,
                        name,
                        String::new(),
                    );
                    let call = Operation::new(&stack.name, Method::Post, "/networks/create");
                    self.operations.push(call.with(body.clone()));
                }
                Some(found) => {
                    self.ours("network", name, &found.labels, stack)?;
                    let (expected, found) = (network_state(body), observed_network(name, found));
                    if expected != found {
                        let text =
                            |value: &Value| String::from_utf8_lossy(&canonical(value)).into_owned();
                        return Err(PlanError::Network {
                            name: name.clone(),
                            expected: text(&expected),
                            found: text(&found),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// An image is fetched before the service wants it, where its progress can be seen.
    fn images(&mut self, stack: &DesiredStack) {
        let images: BTreeSet<&str> = stack
            .services
            .iter()
            .map(|service| service.image.as_str())
            .collect();
        for image in images {
            let Some((name, digest)) = image.rsplit_once('@') else {
                continue;
            };
            // an engine remembers a repository and a digest, no tag
            let repository = match name.rfind(':') {
                Some(colon) if !name[colon..].contains('/') => &name[..colon],
                _ => name,
            };
            let known = format!("{repository}@{digest}");
            let host = self.host(stack.host.as_ref());
            if host.is_some_and(|host| host.images.contains(&known) || host.images.contains(image))
            {
                continue;
            }
            self.change(
                &stack.name,
                Verb::Create,
                Thing::Image,
                image,
                String::new(),
            );
            let path = format!("/images/create?fromImage={repository}&tag={digest}");
            self.operations
                .push(Operation::new(&stack.name, Method::Post, path).on(stack.host.as_ref()));
        }
    }

    fn volumes(&mut self, stack: &DesiredStack) -> Result<(), PlanError> {
        for (name, volume) in &stack.volumes {
            let found = self
                .host(stack.host.as_ref())
                .and_then(|host| host.volumes.get(name));
            let helper = format!("{name}-owner");
            let begun = self
                .host(stack.host.as_ref())
                .is_some_and(|host| host.containers.iter().any(|it| it.name == helper));
            if let Some(labels) = found {
                self.ours("volume", name, labels, stack)?;
                // a helper that is left over was cut off: whose the volume is may not be settled
                if !begun {
                    continue;
                }
            }
            self.change(
                &stack.name,
                Verb::Create,
                Thing::Volume,
                name,
                String::new(),
            );
            let host = stack.host.as_ref();
            let call = |method, path: String| Operation::new(&stack.name, method, path).on(host);
            let mut operations = Vec::new();
            if let Some(owner) = &volume.owner {
                if begun {
                    let path = format!("/containers/{helper}?force=1");
                    operations.push(call(Method::Delete, path));
                }
                // making the helper makes the volume: there is no moment in which it is there and nobody
                // is about to give it to its owner
                let body = json!({
                    "Image": volume.image,
                    "User": "0:0",
                    "Entrypoint": ["chown"],
                    "Cmd": [owner, "/volume"],
                    "Labels": volume.body["Labels"],
                    "HostConfig": {
                        "NetworkMode": "none",
                        "ReadonlyRootfs": true,
                        "CapDrop": ["ALL"],
                        "CapAdd": ["CAP_CHOWN"],
                        "SecurityOpt": ["no-new-privileges"],
                        "Mounts": [{ "Type": "volume", "Source": name, "Target": "/volume",
                                     "VolumeOptions": { "NoCopy": true, "Labels": volume.body["Labels"] } }],
                    },
                });
                operations.extend([
                    call(Method::Post, format!("/containers/create?name={helper}")).with(body),
                    call(Method::Post, format!("/containers/{helper}/start")),
                    call(Method::Post, format!("/containers/{helper}/wait")),
                    call(Method::Delete, format!("/containers/{helper}")),
                ]);
            }
            operations.push(call(Method::Post, "/volumes/create".into()).with(volume.body.clone()));
            self.operations.extend(operations);
        }
        Ok(())
    }

    fn files(&mut self, stack: &DesiredStack) -> Result<(), PlanError> {
        for (name, body) in &stack.configs {
            if let Some(found) = self.observed.configs.get(name) {
                self.ours("config", name, &found.labels, stack)?;
                continue;
            }
            let place = body["Labels"][FILE].as_str().unwrap_or(name).to_owned();
            let new = decoded(body["Data"].as_str().unwrap_or_default());
            let old = self.observed.configs.values().find(|config| {
                config.labels.get(FILE) == Some(&place)
                    && config.labels.get(STACK).map(String::as_str) == Some(stack.name.as_str())
                    && config.labels.get(CHAIN).map(String::as_str) == Some(self.chain.name())
            });
            let (verb, old) = match old {
                None => (Verb::Create, String::new()),
                Some(config) => (
                    Verb::Change,
                    String::from_utf8_lossy(&config.data).into_owned(),
                ),
            };
            let diff = change::diff(place.trim_start_matches('/'), &old, &new);
            self.change(&stack.name, verb, Thing::Config, &place, diff);
            self.operations.push(
                Operation::new(&stack.name, Method::Post, "/configs/create").with(body.clone()),
            );
        }
        for (name, secret) in &stack.secrets {
            self.secrets
                .0
                .insert(secret.sha256.clone(), secret.body.clone());
            if let Some(found) = self.observed.secrets.get(name) {
                self.ours("secret", name, &found.labels, stack)?;
                continue;
            }
            let place = secret.labels.get(FILE).unwrap_or(name).clone();
            let known = self.observed.secrets.values().any(|other| {
                other.labels.get(FILE) == Some(&place)
                    && other.labels.get(STACK) == secret.labels.get(STACK)
                    && other.labels.get(CHAIN) == secret.labels.get(CHAIN)
            });
            let verb = if known { Verb::Change } else { Verb::Create };
            self.change(&stack.name, verb, Thing::Secret, &place, String::new());
            self.operations.push(
                Operation::new(&stack.name, Method::Post, "/secrets/create").secret(&secret.sha256),
            );
        }
        Ok(())
    }

    fn services(&mut self, stack: &DesiredStack) -> Result<(), PlanError> {
        for service in &stack.services {
            let Some(found) = self.observed.services.get(&service.name) else {
                self.change(
                    &stack.name,
                    Verb::Create,
                    Thing::Service,
                    &service.name,
                    String::new(),
                );
                let call = Operation::new(&stack.name, Method::Post, "/services/create");
                self.operations.push(call.with(service.spec.clone()));
                continue;
            };
            self.ours("service", &service.name, &labels(&found.spec), stack)?;
            let found = self.observed.comparable(&found.spec);
            if found != service.comparable {
                let text = |value: &Value| {
                    let mut value = value.clone();
                    if let Some(labels) = value.get_mut("Labels").and_then(Value::as_object_mut) {
                        labels.remove(desired::PLAN);
                    }
                    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
                };
                let diff = change::diff(&service.name, &text(&found), &text(&service.comparable));
                self.change(
                    &stack.name,
                    Verb::Change,
                    Thing::Service,
                    &service.name,
                    diff,
                );
                let path = format!("/services/{}/update", service.name);
                let call =
                    Operation::new(&stack.name, Method::Post, path).replacing(&digest(&found));
                self.operations.push(call.with(service.spec.clone()));
            }
        }
        Ok(())
    }

    fn ours(
        &self,
        what: &'static str,
        name: &str,
        labels: &BTreeMap<String, String>,
        stack: &DesiredStack,
    ) -> Result<(), PlanError> {
        if self.owner(labels).as_ref() == Some(&stack.name) {
            return Ok(());
        }
        Err(PlanError::Foreign {
            what,
            name: name.to_owned(),
            stack: stack.name.clone(),
        })
    }

    /// Returns the stack of this chain that something is labelled with.
    fn owner(&self, labels: &BTreeMap<String, String>) -> Option<StackName> {
        let here = labels.get(CHAIN).map(String::as_str) == Some(self.chain.name());
        labels.get(STACK).filter(|_| here)?.parse().ok()
    }

    /// Removes what is labelled as ours on this chain and should not be: services first, then what they used.
    fn remove(&mut self, desired: &Desired, configuration: &Configuration) {
        let observed = self.observed;
        let kept = |names: fn(&DesiredStack) -> Vec<&String>| -> BTreeSet<&String> {
            desired.stacks.iter().flat_map(names).collect()
        };
        let services = kept(|stack| stack.services.iter().map(|service| &service.name).collect());
        let mut gone: Vec<_> = observed
            .services
            .iter()
            .filter(|(name, _)| !services.contains(name))
            .filter_map(|(name, service)| Some((self.owner(&labels(&service.spec))?, name)))
            .collect();
        // consumers before what they need, as far as the catalogue knows them
        let place =
            |stack: &StackName| desired.stacks.iter().position(|other| other.name == *stack);
        gone.sort_by_key(|(stack, name)| {
            (
                std::cmp::Reverse(place(stack)),
                std::cmp::Reverse((stack.clone(), *name)),
            )
        });
        for (stack, name) in gone {
            self.removal(
                &stack,
                Thing::Service,
                name,
                name,
                format!("/services/{name}"),
            );
        }
        let configs = kept(|stack| stack.configs.keys().collect());
        for (name, config) in observed
            .configs
            .iter()
            .filter(|(name, _)| !configs.contains(name))
        {
            if let Some(stack) = self.owner(&config.labels) {
                let place = config.labels.get(FILE).unwrap_or(name);
                self.removal(
                    &stack,
                    Thing::Config,
                    name,
                    place,
                    format!("/configs/{name}"),
                );
            }
        }
        let secrets = kept(|stack| stack.secrets.keys().collect());
        for (name, secret) in observed
            .secrets
            .iter()
            .filter(|(name, _)| !secrets.contains(name))
        {
            if let Some(stack) = self.owner(&secret.labels) {
                let place = secret.labels.get(FILE).unwrap_or(name);
                self.removal(
                    &stack,
                    Thing::Secret,
                    name,
                    place,
                    format!("/secrets/{name}"),
                );
            }
        }
        let networks = kept(|stack| stack.networks.keys().collect());
        for (name, network) in observed
            .networks
            .iter()
            .filter(|(name, _)| !networks.contains(name))
        {
            if let Some(stack) = self.owner(&network.labels) {
                self.removal(
                    &stack,
                    Thing::Network,
                    name,
                    name,
                    format!("/networks/{name}"),
                );
            }
        }
        self.remove_data(desired, configuration);
    }

    /// Data goes only where that was typed out, and never while its stack is wanted.
    fn remove_data(&mut self, desired: &Desired, configuration: &Configuration) {
        let observed = self.observed;
        for (host, found) in &observed.hosts {
            for (name, labels) in &found.volumes {
                let Some(stack) = self.owner(labels) else {
                    continue;
                };
                let wanted = desired.stacks.iter().any(|other| other.name == stack);
                if wanted || !configuration.delete_data.contains(&stack) {
                    continue;
                }
                self.change(&stack, Verb::Remove, Thing::Volume, name, String::new());
                let call = Operation::new(&stack, Method::Delete, format!("/volumes/{name}"));
                self.operations.push(call.on(Some(host)));
            }
        }
    }

    /// A replaced file is told once, as changed.
    fn removal(&mut self, stack: &StackName, thing: Thing, name: &str, shown: &str, path: String) {
        debug_assert!(path.ends_with(name));
        let told = self
            .changes
            .iter()
            .any(|it| it.thing == thing && it.name == shown && it.stack == *stack);
        if !told {
            self.change(stack, Verb::Remove, thing, shown, String::new());
        }
        self.operations
            .push(Operation::new(stack, Method::Delete, path));
    }
}

fn decoded(data: &str) -> String {
    let bytes = STANDARD.decode(data).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn labels(spec: &Value) -> BTreeMap<String, String> {
    let labels = spec
        .get("Labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    labels
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// What makes a network the one that it should be.
pub(crate) fn network_state(body: &Value) -> Value {
    json!({
        "name": body["Name"], "driver": body["Driver"], "internal": body["Internal"],
        "attachable": body["Attachable"], "options": body["Options"],
    })
}

fn observed_network(name: &str, network: &crate::observe::ObservedNetwork) -> Value {
    // the engine adds the numbers that it chose
    let options: BTreeMap<_, _> = network
        .options
        .iter()
        .filter(|(name, _)| !name.ends_with(".vxlanid_list"))
        .collect();
    json!({
        "name": name, "driver": network.driver, "internal": network.internal,
        "attachable": network.attachable, "options": options,
    })
}

fn hash(value: &Value) -> Sha256Hex {
    digest(value).parse().expect("a digest in hexadecimal")
}

/// Returns the digest of a service's specification as an engine tells it: what [`Operation::replaces`] and
/// [`ServiceState::spec`] hold.
pub fn spec_digest(observed: &Observed, spec: &Value) -> String {
    digest(&observed.comparable(spec))
}

pub(crate) fn network_digest(name: &str, network: &crate::observe::ObservedNetwork) -> String {
    digest(&observed_network(name, network))
}

pub(crate) fn config_digest(name: &str, labels: &BTreeMap<String, String>, data: &[u8]) -> String {
    digest(&json!({ "Name": name, "Labels": labels, "Data": STANDARD.encode(data) }))
}

fn state(desired: &Desired) -> State {
    let mut state = State::default();
    for stack in &desired.stacks {
        for service in &stack.services {
            state.services.insert(
                service.name.clone(),
                ServiceState {
                    stack: stack.name.clone(),
                    spec: hash(&service.comparable),
                    image: service.image.clone(),
                },
            );
        }
        state.networks.extend(
            stack
                .networks
                .iter()
                .map(|(name, body)| (name.clone(), hash(&network_state(body)))),
        );
        state.configs.extend(
            stack
                .configs
                .iter()
                .map(|(name, body)| (name.clone(), hash(body))),
        );
        let secrets = stack.secrets.iter();
        state
            .secrets
            .extend(secrets.map(|(name, it)| (name.clone(), it.sha256.parse().expect("a digest"))));
        state.volumes.extend(
            stack
                .volumes
                .keys()
                .map(|name| (name.clone(), stack.host.clone())),
        );
    }
    debug_assert!(state.services.keys().all(|name| name.starts_with(NAMES)));
    state
}

#[cfg(test)]
pub(crate) mod tests;
