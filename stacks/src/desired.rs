//! What should be in a swarm: the bodies of the calls that would make it from nothing.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcm_keystore::Chain;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::catalog::Catalog;
use crate::configuration::Configuration;
use crate::observe::{ApiVersion, canonical, comparable, digest};
use crate::render::{Content, Rendered, RenderedFile, RenderedService, network_name, volume_name};
use crate::stack::{PartName, Service, Stack, StackName, Tor, UserId};

/// What every name of bcm's begins with.
pub(crate) const NAMES: &str = "bcm-";
/// The label with the chain.
pub(crate) const CHAIN: &str = "org.bitcoincachemachine.chain";
/// The label with the stack.
pub(crate) const STACK: &str = "org.bitcoincachemachine.stack";
/// The label with the digest of what was planned for the service.
pub(crate) const PLAN: &str = "org.bitcoincachemachine.plan";
/// The label with the path of a config or secret.
pub(crate) const FILE: &str = "org.bitcoincachemachine.file";
/// The label of a node that tells its host.
const HOST: &str = "org.bitcoincachemachine.host";

/// Room for VXLAN, `WireGuard` and ESP in an Ethernet frame.
const MTU: &str = "1330";

/// What should be there, each by its name.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    pub(crate) stacks: Vec<DesiredStack>,
}

/// What should be there of one stack.
#[derive(Debug)]
pub(crate) struct DesiredStack {
    pub(crate) name: StackName,
    pub(crate) host: Option<PartName>,
    /// Bodies of `POST /networks/create`.
    pub(crate) networks: BTreeMap<String, Value>,
    pub(crate) volumes: BTreeMap<String, DesiredVolume>,
    /// Bodies of `POST /configs/create`.
    pub(crate) configs: BTreeMap<String, Value>,
    pub(crate) secrets: BTreeMap<String, DesiredSecret>,
    pub(crate) services: Vec<DesiredService>,
}

/// A volume that should be there.
#[derive(Debug)]
pub(crate) struct DesiredVolume {
    /// Body of `POST /volumes/create`.
    pub(crate) body: Value,
    pub(crate) owner: Option<UserId>,
    /// An image that mounts it, whose `chown` gives it to its owner.
    pub(crate) image: String,
}

/// A secret that should be there.
pub(crate) struct DesiredSecret {
    pub(crate) labels: BTreeMap<String, String>,
    /// Body of `POST /secrets/create`, canonical.
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) sha256: String,
}

impl std::fmt::Debug for DesiredSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DesiredSecret")
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

/// A service that should be there.
#[derive(Debug)]
pub(crate) struct DesiredService {
    pub(crate) name: String,
    pub(crate) image: String,
    /// Body of `POST /services/create`.
    pub(crate) spec: Value,
    /// In the form that two are compared in.
    pub(crate) comparable: Value,
}

pub(crate) fn desired(
    catalog: &Catalog,
    configuration: &Configuration,
    rendered: &Rendered,
    api: ApiVersion,
) -> Desired {
    let all = rendered
        .stacks
        .iter()
        .map(|stack| stack.name.clone())
        .collect();
    let maker = Maker {
        configuration,
        api,
        chain: configuration.chain,
        all,
    };
    let mut desired = Desired::default();
    for rendered in &rendered.stacks {
        let stack = catalog
            .get(rendered.name.as_str())
            .expect("it was rendered out of this catalogue");
        desired.stacks.push(maker.stack(stack, &rendered.services));
    }
    desired
}

struct Maker<'a> {
    configuration: &'a Configuration,
    api: ApiVersion,
    chain: Chain,
    all: BTreeSet<StackName>,
}

impl Maker<'_> {
    fn labels(&self, stack: &StackName) -> BTreeMap<String, String> {
        BTreeMap::from([
            (CHAIN.into(), self.chain.to_string()),
            (STACK.into(), stack.to_string()),
        ])
    }

    fn stack(&self, stack: &Stack, rendered: &[RenderedService]) -> DesiredStack {
        let mut made = DesiredStack {
            name: stack.name.clone(),
            host: self.configuration.host_of(&stack.name).cloned(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            services: Vec::new(),
        };
        if !stack.services.is_empty() {
            let name = network_name(self.chain, &stack.name);
            made.networks
                .insert(name.clone(), self.network(&name, stack, true));
        }
        if stack.services.iter().any(|service| service.egress) {
            let name = self.egress();
            made.networks
                .insert(name.clone(), self.network(&name, stack, false));
        }
        for (service, rendered) in stack.services.iter().zip(rendered) {
            self.volumes(stack, rendered, &mut made);
            self.files(stack, service, rendered, &mut made);
            made.services.push(self.service(stack, service, rendered));
        }
        made
    }

    /// The only network with a way out, for tor alone.
    fn egress(&self) -> String {
        format!("{NAMES}{}-tor-egress", self.chain)
    }

    fn network(&self, name: &str, stack: &Stack, internal: bool) -> Value {
        json!({
            "Name": name,
            "Driver": "overlay",
            "Internal": internal,
            "Attachable": false,
            "Options": { "encrypted": "", "com.docker.network.driver.mtu": MTU },
            "Labels": self.labels(&stack.name),
        })
    }

    fn volumes(&self, stack: &Stack, rendered: &RenderedService, made: &mut DesiredStack) {
        for volume in &stack.volumes {
            let name = volume_name(self.chain, &stack.name, &volume.name);
            if rendered.mounts.iter().any(|(mounted, ..)| *mounted == name) {
                made.volumes.entry(name.clone()).or_insert_with(|| DesiredVolume {
                    body: json!({ "Name": name, "Driver": "local", "Labels": self.labels(&stack.name) }),
                    owner: volume.owner.clone(),
                    image: rendered.image.to_string(),
                });
            }
        }
    }

    fn files(
        &self,
        stack: &Stack,
        service: &Service,
        rendered: &RenderedService,
        made: &mut DesiredStack,
    ) {
        for file in &rendered.files {
            let name = self.file_name(stack, file);
            let mut labels = self.labels(&stack.name);
            labels.insert(FILE.into(), format!("{}:{}", service.name, file.path));
            match &file.content {
                Content::Public(text) => {
                    let data = STANDARD.encode(text);
                    made.configs.insert(
                        name.clone(),
                        json!({ "Name": name, "Labels": labels, "Data": data }),
                    );
                }
                Content::Secret(bytes) => {
                    let body = secret_body(&name, &labels, bytes);
                    let sha256 = hex::encode(Sha256::digest(&body));
                    made.secrets.insert(
                        name,
                        DesiredSecret {
                            labels,
                            body,
                            sha256,
                        },
                    );
                }
            }
        }
    }

    /// By content, so that what changes has another name, and what has the same name is the same.
    fn file_name(&self, stack: &Stack, file: &RenderedFile) -> String {
        format!(
            "{NAMES}{}-{}-{}",
            self.chain,
            stack.name,
            &file.digest()[..16]
        )
    }

    fn networks(&self, stack: &Stack, service: &Service) -> Vec<String> {
        let mut names = BTreeSet::from([network_name(self.chain, &stack.name)]);
        let joined = service.uses.iter().filter(|used| self.all.contains(used));
        names.extend(joined.map(|used| network_name(self.chain, used)));
        let tor: StackName = "tor".parse().expect("a name");
        if (service.tor == Tor::Socks || !service.onions.is_empty()) && self.all.contains(&tor) {
            names.insert(network_name(self.chain, &tor));
        }
        if service.egress {
            names.insert(self.egress());
        }
        names.into_iter().collect()
    }

    fn service(
        &self,
        stack: &Stack,
        service: &Service,
        rendered: &RenderedService,
    ) -> DesiredService {
        let mut spec = json!({
            "Name": rendered.name,
            "Labels": self.labels(&stack.name),
            "Mode": { "Replicated": { "Replicas": u8::from(!self.configuration.stopped.contains(&stack.name)) } },
            // bcm undoes what fails by going back to the plan before: the swarm stops where it is
            "UpdateConfig": { "Parallelism": 1, "FailureAction": "pause", "Order": "stop-first" },
            "TaskTemplate": self.task(stack, service, rendered),
        });
        let comparable = comparable(&spec, &BTreeMap::new());
        let digest = digest(&comparable);
        spec["Labels"][PLAN] = Value::from(digest.clone());
        let mut comparable = comparable;
        comparable["Labels"][PLAN] = Value::from(digest);
        DesiredService {
            name: rendered.name.clone(),
            image: rendered.image.to_string(),
            spec,
            comparable,
        }
    }

    fn task(&self, stack: &Stack, service: &Service, rendered: &RenderedService) -> Value {
        let limits = service.limits;
        let memory = limits
            .memory_mb
            .max(limits.memory_sync_mb.unwrap_or_default());
        let mut limit = json!({ "MemoryBytes": u64::from(memory) << 20, "Pids": limits.pids });
        if let Some(cpu) = limits.cpu_milli {
            limit["NanoCPUs"] = Value::from(u64::from(cpu) * 1_000_000);
        }
        let mut constraints = vec![format!("node.labels.{CHAIN}.{} == true", self.chain)];
        if let Some(host) = self.configuration.host_of(&stack.name) {
            constraints.push(format!("node.labels.{HOST} == {host}"));
        }
        let networks: Vec<_> = self
            .networks(stack, service)
            .into_iter()
            .map(|name| json!({ "Target": name }))
            .collect();
        json!({
            "ContainerSpec": self.container(stack, service, rendered),
            "Resources": { "Limits": limit },
            "Placement": { "Constraints": constraints },
            // btcpayserver ends well to have a plugin installed, and has to come back
            "RestartPolicy": { "Condition": "any", "Delay": 5_000_000_000u64 },
            "LogDriver": { "Name": "local", "Options": { "max-size": "10m", "max-file": "3" } },
            "ForceUpdate": self.configuration.restarts.get(&stack.name).copied().unwrap_or_default(),
            "Networks": networks,
        })
    }

    fn container(&self, stack: &Stack, service: &Service, rendered: &RenderedService) -> Value {
        let mut mounts: Vec<_> = rendered
            .mounts
            .iter()
            .map(|(volume, path, read_only)| {
                json!({
                    "Type": "volume", "Source": volume, "Target": path, "ReadOnly": read_only,
                    // what an image has in that place stays out of a volume
                    "VolumeOptions": { "NoCopy": true, "Labels": self.volume_labels(volume) },
                })
            })
            .collect();
        for tmpfs in &service.tmpfs {
            mounts.push(json!({
                "Type": "tmpfs", "Target": tmpfs.path,
                "TmpfsOptions": { "SizeBytes": u64::from(tmpfs.size_mb) << 20, "Mode": 0o1777 },
            }));
        }
        let (uid, gid) = service.user.parts();
        let mut configs = Vec::new();
        let mut secrets = Vec::new();
        for file in &rendered.files {
            let name = self.file_name(stack, file);
            let place =
                json!({ "Name": file.path, "UID": uid, "GID": gid, "Mode": file.mode.bits() });
            match file.content {
                Content::Public(_) => {
                    configs.push(json!({ "ConfigID": name, "ConfigName": name, "File": place }));
                }
                Content::Secret(_) => {
                    secrets.push(json!({ "SecretID": name, "SecretName": name, "File": place }));
                }
            }
        }
        let capabilities: Vec<_> = service
            .capabilities
            .iter()
            .map(|name| format!("CAP_{name}"))
            .collect();
        let mut container = json!({
            "Image": rendered.image,
            "Labels": self.labels(&stack.name),
            "Command": rendered.command,
            "Args": rendered.args,
            "Env": rendered.env,
            "User": service.user,
            "ReadOnly": service.writable_root.is_none(),
            "Init": true,
            "CapabilityDrop": ["ALL"],
            "CapabilityAdd": capabilities,
            "Mounts": mounts,
            "Configs": configs,
            "Secrets": secrets,
            "StopGracePeriod": u64::from(service.stop_grace_s) * 1_000_000_000,
            // the application says when it is ready, and bcm asks it; an image's own check would restart
            // a node while it synchronises
            "Healthcheck": { "Test": ["NONE"] },
        });
        if let Some(signal) = &service.stop_signal {
            container["StopSignal"] = Value::from(signal.as_str());
        }
        if self.api >= ApiVersion::PRIVILEGES {
            container["Privileges"] = json!({
                "NoNewPrivileges": true,
                "Seccomp": { "Mode": "default" },
                "AppArmor": { "Mode": "default" },
            });
        }
        for empty in [
            "Command",
            "Args",
            "Env",
            "CapabilityAdd",
            "Mounts",
            "Configs",
            "Secrets",
        ] {
            if container[empty].as_array().is_some_and(Vec::is_empty) {
                container
                    .as_object_mut()
                    .map(|fields: &mut Map<_, _>| fields.remove(empty));
            }
        }
        container
    }

    /// A volume of another stack keeps that stack's labels.
    fn volume_labels(&self, volume: &str) -> BTreeMap<String, String> {
        let prefix = format!("{NAMES}{}-", self.chain);
        let rest = volume.strip_prefix(&prefix).unwrap_or(volume);
        let owner = self
            .all
            .iter()
            .filter(|name| rest.starts_with(&format!("{name}-")));
        // `lightning-charge-data` begins with no shorter stack's name today, but may one day
        owner
            .max_by_key(|name| name.as_str().len())
            .map(|name| self.labels(name))
            .unwrap_or_default()
    }
}

/// Writes the body by hand, so that no copy of the secret is left in a JSON tree. The keys of canonical JSON
/// are sorted: Data, Labels, Name.
fn secret_body(name: &str, labels: &BTreeMap<String, String>, data: &[u8]) -> Zeroizing<Vec<u8>> {
    let labels = canonical(&json!(labels));
    let name = canonical(&json!(name));
    let encoded = Zeroizing::new(STANDARD.encode(data));
    let parts: [&[u8]; 7] = [
        b"{\"Data\":\"",
        encoded.as_bytes(),
        b"\",\"Labels\":",
        &labels,
        b",\"Name\":",
        &name,
        b"}",
    ];
    let mut body = Zeroizing::new(Vec::with_capacity(
        parts.iter().map(|part| part.len()).sum(),
    ));
    parts.iter().for_each(|part| body.extend_from_slice(part));
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_a_secret_is_canonical_json() {
        let labels = BTreeMap::from([
            ("b".to_owned(), "2".to_owned()),
            ("a".to_owned(), "\"1\"".to_owned()),
        ]);
        let body = secret_body("bcm-x", &labels, b"\0secret");
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            read,
            json!({"Name": "bcm-x", "Labels": labels, "Data": STANDARD.encode("\0secret")})
        );
        assert_eq!(*body, canonical(&read));
    }
}
