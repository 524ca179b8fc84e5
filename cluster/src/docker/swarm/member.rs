//! What an engine says of the swarm that it is in.

use bollard::models::LocalNodeState;

use super::SwarmError;
use crate::docker::engine::{Engine, EngineError, shown};
use crate::docker::label;
use crate::docker::node::NodeId;

/// Whether an engine is in a swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It is in none.
    None,
    /// It is in one.
    Member {
        /// Its node there.
        node: NodeId,
        /// It is a manager.
        manager: bool,
        /// The cluster that the swarm is, as managers know it and bcm wrote it.
        cluster: Option<String>,
    },
    /// Its state is encrypted with a key that it was not given.
    Locked,
    /// It was in one and does not find it any more, or is on its way in.
    Broken {
        /// What the engine says of it.
        reason: String,
    },
}

impl Membership {
    /// Says why a host in this state is not taken.
    pub(super) fn refused(self, host: &Engine) -> SwarmError {
        let host = host.host().to_owned();
        match self {
            Self::None => SwarmError::NoNode(host),
            Self::Member { .. } => SwarmError::OtherSwarm(host),
            Self::Locked => SwarmError::Locked(host),
            Self::Broken { reason } => SwarmError::Broken { host, reason },
        }
    }
}

/// Asks an engine.
///
/// # Errors
///
/// Any [`EngineError`].
pub async fn membership(host: &Engine) -> Result<Membership, EngineError> {
    let info = host.done("tell about itself", host.docker().info()).await?;
    Ok(read(info.swarm.unwrap_or_default()))
}

/// Reads what an engine says of it.
pub(crate) fn read(swarm: bollard::models::SwarmInfo) -> Membership {
    let broken = |reason: &str| Membership::Broken {
        reason: shown(reason),
    };
    let error = swarm.error.unwrap_or_default();
    match swarm.local_node_state {
        None | Some(LocalNodeState::INACTIVE | LocalNodeState::EMPTY) => Membership::None,
        Some(LocalNodeState::LOCKED) => Membership::Locked,
        Some(LocalNodeState::PENDING) => broken("it is on its way into a swarm"),
        Some(LocalNodeState::ERROR) => broken(&error),
        Some(LocalNodeState::ACTIVE) => {
            let Some(node) = swarm.node_id.as_deref().and_then(NodeId::new) else {
                return broken("it does not know its own node");
            };
            let labels = swarm.cluster.and_then(|cluster| cluster.spec);
            let labels = labels.and_then(|spec| spec.labels);
            Membership::Member {
                node,
                manager: swarm.control_available == Some(true),
                cluster: labels.and_then(|labels| labels.get(label::CLUSTER).cloned()),
            }
        }
    }
}
