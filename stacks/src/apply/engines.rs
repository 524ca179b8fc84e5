//! The engines that a plan is carried out on.

use std::collections::BTreeMap;

use bcm_cluster::docker::Membership;
use bcm_cluster::docker::swarm::membership;
use bcm_cluster::{Engine, EngineError};
use bcm_keystore::Hint;
use futures::future::join_all;

use crate::stack::PartName;

/// The engines of a cluster's hosts, one of which manages the swarm.
#[derive(Clone, Debug)]
pub struct Engines {
    manager: Engine,
    hosts: BTreeMap<PartName, Engine>,
}

/// Why a cluster cannot be worked on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnginesError {
    /// An engine does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No host manages a swarm.
    #[error("no host of the cluster manages a swarm")]
    NoManager,
    /// It is the swarm of another cluster.
    #[error("the swarm of `{host}` is of another cluster: expected {expected}, found {found}")]
    OtherCluster {
        /// The host.
        host: String,
        /// The cluster that is worked on.
        expected: String,
        /// The cluster that the swarm says it is.
        found: String,
    },
}

impl Hint for EnginesError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.hint(),
            Self::NoManager => {
                Some("prepare one: `cluster host prepare NAME`, then `cluster up`".into())
            }
            Self::OtherCluster { .. } => {
                Some("use the cluster that it belongs to: `cluster use NAME`".into())
            }
        }
    }
}

impl Engines {
    /// Finds the manager among these engines, and makes sure that its swarm is this cluster.
    ///
    /// # Errors
    ///
    /// Any [`EnginesError`].
    pub async fn of(
        cluster: &str,
        hosts: BTreeMap<PartName, Engine>,
    ) -> Result<Self, EnginesError> {
        let asked = hosts.values().map(membership);
        let answers = join_all(asked).await;
        let mut manager = None;
        for (engine, answer) in hosts.values().zip(answers) {
            let Membership::Member {
                manager: true,
                cluster: found,
                ..
            } = answer?
            else {
                continue;
            };
            let found = found.unwrap_or_else(|| "none".into());
            if found != cluster {
                return Err(EnginesError::OtherCluster {
                    host: engine.host().to_owned(),
                    expected: cluster.to_owned(),
                    found,
                });
            }
            manager.get_or_insert_with(|| engine.clone());
        }
        Ok(Self {
            manager: manager.ok_or(EnginesError::NoManager)?,
            hosts,
        })
    }

    /// Returns one that manages.
    pub fn manager(&self) -> &Engine {
        &self.manager
    }

    /// Returns each host's.
    pub fn hosts(&self) -> impl Iterator<Item = (&PartName, &Engine)> {
        self.hosts.iter()
    }

    /// Returns that of a host; the manager's where none is named.
    pub fn of_host(&self, host: Option<&PartName>) -> Option<&Engine> {
        match host {
            Some(host) => self.hosts.get(host),
            None => Some(&self.manager),
        }
    }

    /// Finds a running container of a service, wherever it runs.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`].
    pub async fn container_of(
        &self,
        service: &str,
    ) -> Result<Option<(&Engine, String)>, EngineError> {
        use bcm_cluster::docker::exec::container_of;
        let asked = self
            .hosts
            .values()
            .map(|engine| container_of(engine, service));
        for (engine, found) in self.hosts.values().zip(join_all(asked).await) {
            if let Some(id) = found? {
                return Ok(Some((engine, id)));
            }
        }
        Ok(None)
    }
}
