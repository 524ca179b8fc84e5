//! What a swarm runs now, as its engines tell: plain data that a plan and a check start from.

mod read;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::stack::PartName;

/// What a swarm has of bcm's, and what is attached to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The version of the API that every engine speaks: the lowest.
    pub api: ApiVersion,
    /// Services by name. Those of other owners may be left out, unless their name begins with `bcm-`.
    pub services: BTreeMap<String, ObservedService>,
    /// Networks by name: bcm's own, and those that services are attached to.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Configs by name.
    pub configs: BTreeMap<String, ObservedConfig>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, ObservedSecret>,
    /// What lies on each host, by the host's name.
    pub hosts: BTreeMap<PartName, ObservedHost>,
}

/// A version of the Docker Engine API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ApiVersion(pub u16, pub u16);

impl ApiVersion {
    /// The oldest that bcm speaks: Engine 20.10.
    pub const OLDEST: Self = Self(1, 41);
    /// From here on a service can refuse new privileges and choose seccomp and `AppArmor`: Engine 25.
    pub const PRIVILEGES: Self = Self(1, 44);
}

impl Default for ApiVersion {
    fn default() -> Self {
        Self::OLDEST
    }
}

/// A service, as `GET /services` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedService {
    /// `ID`.
    pub id: String,
    /// `Spec`, as it is.
    pub spec: Value,
}

/// A network, as `GET /networks` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedNetwork {
    /// `Id`.
    pub id: String,
    /// `Driver`.
    pub driver: String,
    /// `Internal`.
    pub internal: bool,
    /// `Attachable`.
    pub attachable: bool,
    /// `Options`.
    pub options: BTreeMap<String, String>,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
}

/// A config, as `GET /configs` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedConfig {
    /// `ID`.
    pub id: String,
    /// `Spec.Labels`.
    pub labels: BTreeMap<String, String>,
    /// `Spec.Data`, decoded.
    pub data: Vec<u8>,
}

/// A secret, as `GET /secrets` tells; what is in it an engine never says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedSecret {
    /// `ID`.
    pub id: String,
    /// `Spec.Labels`.
    pub labels: BTreeMap<String, String>,
}

/// What lies on one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObservedHost {
    /// The volumes whose name begins with `bcm-`, with their labels.
    pub volumes: BTreeMap<String, BTreeMap<String, String>>,
    /// The images that are there: every `RepoDigests` (`NAME@sha256:…`) and every `Id` (`sha256:…`).
    pub images: BTreeSet<String>,
    /// Every container whose name begins with `bcm-`, or that is on a network of ours; bcm's own tunnels are
    /// left out.
    pub containers: Vec<ObservedContainer>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedContainer {
    /// `Name`, without the `/`.
    pub name: String,
    /// `Config.Image`.
    pub image: String,
    /// The label `com.docker.swarm.service.name`, when a swarm runs it.
    pub service: Option<String>,
    /// The names of its networks.
    pub networks: BTreeSet<String>,
}

impl Observed {
    /// Returns a specification in the form that two of them are compared in.
    pub(crate) fn comparable(&self, spec: &Value) -> Value {
        let names: BTreeMap<&str, &str> = self
            .networks
            .iter()
            .map(|(name, network)| (network.id.as_str(), name.as_str()))
            .collect();
        comparable(spec, &names)
    }
}

/// Removes from a specification what means the same when it is absent, and what an engine numbers.
///
/// An engine gives back what it was given with its defaults filled in, networks by id, and configs and
/// secrets by id and name.
pub(crate) fn comparable(spec: &Value, networks: &BTreeMap<&str, &str>) -> Value {
    let mut spec = without_defaults(spec, "").unwrap_or_else(|| Value::Object(Map::new()));
    if let Some(attached) = spec
        .pointer_mut("/TaskTemplate/Networks")
        .and_then(Value::as_array_mut)
    {
        for network in &mut *attached {
            let name = network
                .get("Target")
                .and_then(Value::as_str)
                .and_then(|id| networks.get(id));
            if let Some(name) = name {
                network["Target"] = Value::from(*name);
            }
        }
        attached.sort_by_key(ToString::to_string);
    }
    for (list, id) in [("Configs", "ConfigID"), ("Secrets", "SecretID")] {
        let pointer = format!("/TaskTemplate/ContainerSpec/{list}");
        if let Some(list) = spec.pointer_mut(&pointer).and_then(Value::as_array_mut) {
            for reference in &mut *list {
                reference
                    .as_object_mut()
                    .and_then(|reference| reference.remove(id));
            }
            list.sort_by_key(ToString::to_string);
        }
    }
    spec
}

/// Tells whether an engine fills that in where nothing was asked for: see `convert` in
/// [moby](https://github.com/moby/moby/tree/v20.10.24/daemon/cluster/convert).
fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "Isolation" => value == "default",
        "Runtime" => value == "container",
        "FailureAction" => value == "pause",
        "EndpointSpec" => *value == serde_json::json!({ "Mode": "vip" }),
        _ => false,
    }
}

fn without_defaults(value: &Value, key: &str) -> Option<Value> {
    let kept = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::String(text) if text.is_empty() => return None,
        // no replica is something else than the one that there is by default
        Value::Number(number) if number.as_f64() == Some(0.0) && key != "Replicas" => return None,
        Value::Array(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| without_defaults(item, "").unwrap_or(Value::Null))
                .collect();
            if items.is_empty() {
                return None;
            }
            Value::Array(items)
        }
        Value::Object(fields) => {
            let fields: Map<_, _> = fields
                .iter()
                .filter_map(|(key, value)| {
                    // an environment or label may be named like a default; it is not one
                    let inner = without_defaults(value, key)?;
                    Some((key.clone(), inner))
                })
                .collect();
            if fields.is_empty() {
                return None;
            }
            Value::Object(fields)
        }
        other => other.clone(),
    };
    (!is_default(key, &kept)).then_some(kept)
}

/// Returns the SHA-256 of a value in canonical JSON,
/// [RFC 8785](https://www.rfc-editor.org/rfc/rfc8785).
pub(crate) fn digest(value: &Value) -> String {
    hex::encode(Sha256::digest(canonical(value)))
}

/// Returns a value in canonical JSON.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("JSON out of JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_engine_fills_in_is_no_difference() {
        let asked = json!({
            "Name": "bcm-x", "Mode": {"Replicated": {"Replicas": 1}},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "a", "Configs": [{"ConfigID": "n", "ConfigName": "n", "File": {"Name": "/a", "UID": "0"}}]},
                "Networks": [{"Target": "bcm-b"}, {"Target": "bcm-a"}],
            },
        });
        let told = json!({
            "Name": "bcm-x", "Labels": {}, "Mode": {"Replicated": {"Replicas": 1}}, "EndpointSpec": {"Mode": "vip"},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "a", "Isolation": "default", "DNSConfig": {},
                    "Configs": [{"ConfigID": "k3", "ConfigName": "n", "File": {"Name": "/a", "UID": "0"}}]},
                "ForceUpdate": 0, "Runtime": "container", "Resources": {"Limits": {}, "Reservations": {}},
                "Networks": [{"Target": "id-a"}, {"Target": "id-b"}],
            },
        });
        let names = BTreeMap::from([("id-a", "bcm-a"), ("id-b", "bcm-b")]);
        assert_eq!(comparable(&asked, &names), comparable(&told, &names));
    }

    #[test]
    fn what_somebody_added_is_one() {
        let asked =
            json!({"TaskTemplate": {"ContainerSpec": {"Image": "a", "Mounts": [{"Source": "v"}]}}});
        for (pointer, value) in [
            ("/TaskTemplate/ContainerSpec/Image", json!("b")),
            (
                "/TaskTemplate/ContainerSpec/Mounts",
                json!([{"Source": "v"}, {"Type": "bind", "Source": "/"}]),
            ),
            (
                "/TaskTemplate/ContainerSpec",
                json!({"Image": "a", "Mounts": [{"Source": "v"}], "Hosts": ["1.2.3.4 tor"]}),
            ),
        ] {
            let mut told = asked.clone();
            *told.pointer_mut(pointer).unwrap() = value;
            assert_ne!(
                comparable(&asked, &BTreeMap::new()),
                comparable(&told, &BTreeMap::new()),
                "{pointer}"
            );
        }
        let none = json!({"Mode": {"Replicated": {"Replicas": 0}}});
        assert_eq!(comparable(&none, &BTreeMap::new()), none);
    }

    /// See `vectors/PROVENANCE.md`.
    #[test]
    fn what_a_real_engine_tells_is_what_it_was_asked_for() {
        let text = include_str!("../vectors/engine-20.10.24.json");
        let recorded: Value = serde_json::from_str(text).unwrap();
        let mut observed = Observed::default();
        for (name, told) in recorded["toldNetworks"].as_object().unwrap() {
            let network = ObservedNetwork {
                id: told["Id"].as_str().unwrap().into(),
                driver: told["Driver"].as_str().unwrap().into(),
                internal: told["Internal"].as_bool().unwrap(),
                attachable: told["Attachable"].as_bool().unwrap(),
                options: serde_json::from_value(told["Options"].clone()).unwrap(),
                labels: serde_json::from_value(told["Labels"].clone()).unwrap(),
            };
            let asked = crate::plan::network_state(&recorded["askedNetworks"][name]);
            assert_eq!(digest(&asked), crate::plan::network_digest(name, &network));
            observed.networks.insert(name.clone(), network);
        }
        let asked = recorded["asked"].as_object().unwrap();
        assert_eq!(asked.len(), 3);
        for (name, asked) in asked {
            let told = &recorded["told"][name];
            assert_eq!(
                observed.comparable(asked),
                observed.comparable(told),
                "{name}"
            );
        }
    }
}
