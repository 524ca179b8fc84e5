//! Asks the engines of a swarm, all at once.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcm_cluster::docker::label;
use bcm_cluster::{Engine, EngineError};
use futures::future::{try_join_all, try_join3, try_join5};
use serde_json::Value;

use super::{
    ApiVersion, Observed, ObservedConfig, ObservedContainer, ObservedHost, ObservedNetwork,
    ObservedSecret, ObservedService,
};
use crate::apply::Engines;
use crate::desired::NAMES;
use crate::stack::PartName;

/// Docker's label of a task's container.
const SERVICE: &str = "com.docker.swarm.service.name";

impl Observed {
    /// Asks a manager what the swarm has, and each host what lies on it, in one round.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`].
    pub async fn read(engines: &Engines) -> Result<Self, EngineError> {
        let manager = engines.manager();
        let hosts = try_join_all(engines.hosts().map(|(name, engine)| host(name, engine)));
        let (services, networks, configs, secrets, hosts) = try_join5(
            list(manager, "/services"),
            list(manager, "/networks"),
            list(manager, "/configs"),
            list(manager, "/secrets"),
            hosts,
        )
        .await?;
        let mut observed = Self {
            api: api(engines),
            services: services.iter().filter_map(service).collect(),
            networks: networks.iter().filter_map(network).collect(),
            configs: configs.iter().filter_map(config).collect(),
            secrets: secrets.iter().filter_map(secret).collect(),
            hosts: hosts.into_iter().collect(),
        };
        observed.forget_strangers();
        Ok(observed)
    }

    /// Leaves out what is neither bcm's nor named or attached as if it were.
    fn forget_strangers(&mut self) {
        let attached: BTreeSet<String> = self
            .services
            .values()
            .filter_map(|service| service.spec.pointer("/TaskTemplate/Networks")?.as_array())
            .flatten()
            .filter_map(|network| text(&network["Target"]))
            .collect();
        let ours = |name: &str, labels: &BTreeMap<String, String>| {
            name.starts_with(NAMES) || labels.contains_key(label::CHAIN)
        };
        self.networks
            .retain(|name, it| ours(name, &it.labels) || attached.contains(&it.id));
        self.configs.retain(|name, it| ours(name, &it.labels));
        self.secrets.retain(|name, it| ours(name, &it.labels));
        let networks: BTreeSet<&String> = self
            .networks
            .iter()
            .filter(|(name, it)| ours(name, &it.labels))
            .map(|(name, _)| name)
            .collect();
        for host in self.hosts.values_mut() {
            host.containers.retain(|it| {
                it.name.starts_with(NAMES) || it.networks.iter().any(|name| networks.contains(name))
            });
        }
    }
}

/// Returns the version that every engine speaks.
fn api(engines: &Engines) -> ApiVersion {
    let version = |engine: &Engine| {
        let (major, minor) = engine.api();
        let number = |part: usize| u16::try_from(part).unwrap_or(u16::MAX);
        ApiVersion(number(major), number(minor))
    };
    let versions = engines.hosts().map(|(_, engine)| version(engine));
    versions.min().unwrap_or_default()
}

async fn list(engine: &Engine, path: &str) -> Result<Vec<Value>, EngineError> {
    Ok(match engine.get(path).await? {
        Value::Array(items) => items,
        _ => Vec::new(),
    })
}

async fn host(name: &PartName, engine: &Engine) -> Result<(PartName, ObservedHost), EngineError> {
    let (volumes, images, containers) = try_join3(
        engine.get("/volumes"),
        list(engine, "/images/json"),
        list(engine, "/containers/json?all=1"),
    )
    .await?;
    let volumes = volumes["Volumes"].as_array().into_iter().flatten();
    let volumes = volumes
        .filter_map(|volume| Some((text(&volume["Name"])?, labels(&volume["Labels"]))))
        .filter(|(name, _)| name.starts_with(NAMES));
    let images = images.iter().flat_map(|image| {
        let digests = image["RepoDigests"].as_array().into_iter().flatten();
        digests.filter_map(text).chain(text(&image["Id"]))
    });
    let found = ObservedHost {
        volumes: volumes.collect(),
        images: images.collect(),
        containers: containers.iter().filter_map(container).collect(),
    };
    Ok((name.clone(), found))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    let labels = value.as_object().into_iter().flatten();
    labels
        .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
        .collect()
}

fn service(value: &Value) -> Option<(String, ObservedService)> {
    let name = text(&value["Spec"]["Name"])?;
    let service = ObservedService {
        id: text(&value["ID"])?,
        spec: value["Spec"].clone(),
    };
    Some((name, service))
}

fn network(value: &Value) -> Option<(String, ObservedNetwork)> {
    let network = ObservedNetwork {
        id: text(&value["Id"])?,
        driver: text(&value["Driver"])?,
        internal: value["Internal"] == true,
        attachable: value["Attachable"] == true,
        options: labels(&value["Options"]),
        labels: labels(&value["Labels"]),
    };
    Some((text(&value["Name"])?, network))
}

fn config(value: &Value) -> Option<(String, ObservedConfig)> {
    let spec = &value["Spec"];
    let data = spec["Data"].as_str().unwrap_or_default();
    let config = ObservedConfig {
        id: text(&value["ID"])?,
        labels: labels(&spec["Labels"]),
        data: STANDARD.decode(data).ok()?,
    };
    Some((text(&spec["Name"])?, config))
}

fn secret(value: &Value) -> Option<(String, ObservedSecret)> {
    let spec = &value["Spec"];
    let secret = ObservedSecret {
        id: text(&value["ID"])?,
        labels: labels(&spec["Labels"]),
    };
    Some((text(&spec["Name"])?, secret))
}

fn container(value: &Value) -> Option<ObservedContainer> {
    let labels = labels(&value["Labels"]);
    let service = labels.get(SERVICE).cloned();
    // a swarm keeps some that ended: what they were made of is history
    if service.is_some() && value["State"] != "running" {
        return None;
    }
    if labels.contains_key(label::TUNNEL) {
        return None;
    }
    let networks = value["NetworkSettings"]["Networks"].as_object();
    let name = value["Names"][0].as_str()?;
    Some(ObservedContainer {
        name: name.trim_start_matches('/').to_owned(),
        image: text(&value["Image"])?,
        service,
        networks: networks
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect(),
    })
}
