//! The nodes of a swarm, as a manager has them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bcm_keystore::{Chain, Hint};
use bollard::models::{self, NodeSpecAvailabilityEnum, NodeSpecRoleEnum, NodeState, Reachability};
use bollard::query_parameters::{DeleteNodeOptionsBuilder, UpdateNodeOptionsBuilder};

use super::engine::{Engine, EngineError, shown};
use super::label;

/// How often an update is tried again that somebody else was faster with.
const TRIES: usize = 5;

/// Docker's id of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(String);

impl NodeId {
    /// Takes what an engine says; `None` unless it is letters and digits, as Docker's ids are.
    pub fn new(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && text.len() <= 64;
        let plain = plain && text.chars().all(|c| c.is_ascii_alphanumeric());
        plain.then(|| Self(text.to_owned()))
    }

    /// Returns it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node does in the swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It keeps the swarm's state.
    Manager,
    /// It runs tasks.
    Worker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        })
    }
}

/// Whether a node gets tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    Active,
    /// It keeps those that it has.
    Paused,
    /// It gets none, and those that it had went elsewhere.
    Drained,
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Drained => "drained",
        })
    }
}

/// A kind of host that stacks are placed by, such as `storage`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tier(String);

impl Tier {
    /// Returns its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that is none for a tier.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot name a tier: expected 1 to 32 of a-z, 0-9 and `-`")]
pub struct TierError(String);

impl Hint for TierError {
    fn hint(&self) -> Option<String> {
        Some("such as `storage`".into())
    }
}

impl FromStr for Tier {
    type Err = TierError;

    fn from_str(text: &str) -> Result<Self, TierError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 32 || !text.chars().all(plain) {
            return Err(TierError(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Docker's id.
    pub id: NodeId,
    /// The name of the host, as bcm has it; `None` on a node that bcm did not add.
    pub host: Option<String>,
    /// What the machine calls itself.
    pub hostname: String,
    /// What it does.
    pub role: Role,
    /// A manager that the others reach.
    pub reachable: bool,
    /// The manager that leads.
    pub leader: bool,
    /// Where other nodes reach a manager, `10.0.0.1:2377`.
    pub manager_addr: Option<String>,
    /// Its heart beats.
    pub ready: bool,
    /// Whether it gets tasks.
    pub availability: Availability,
    /// Its tier.
    pub tier: Option<Tier>,
    /// The chains that it serves.
    pub chains: BTreeSet<Chain>,
    /// Its engine's version, as it says.
    pub engine: String,
}

impl Node {
    /// Returns the name that a person knows it by.
    pub fn name(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.hostname)
    }

    fn read(node: models::Node) -> Option<Self> {
        let spec = node.spec.unwrap_or_default();
        let labels = spec.labels.unwrap_or_default();
        let description = node.description.unwrap_or_default();
        let manager = node.manager_status;
        let engine = description.engine.unwrap_or_default();
        Some(Self {
            id: NodeId::new(&node.id?)?,
            host: labels.get(label::HOST).map(|host| shown(host)),
            hostname: shown(&description.hostname.unwrap_or_default()),
            role: match spec.role {
                Some(NodeSpecRoleEnum::MANAGER) => Role::Manager,
                _ => Role::Worker,
            },
            reachable: manager
                .as_ref()
                .is_some_and(|manager| manager.reachability == Some(Reachability::REACHABLE)),
            leader: manager.as_ref().is_some_and(|m| m.leader == Some(true)),
            manager_addr: manager.and_then(|manager| manager.addr),
            ready: node.status.and_then(|status| status.state) == Some(NodeState::READY),
            availability: match spec.availability {
                Some(NodeSpecAvailabilityEnum::DRAIN) => Availability::Drained,
                Some(NodeSpecAvailabilityEnum::PAUSE) => Availability::Paused,
                _ => Availability::Active,
            },
            tier: labels.get(label::TIER).and_then(|tier| tier.parse().ok()),
            chains: Chain::ALL
                .into_iter()
                .filter(|chain| labels.contains_key(&label::serves(*chain)))
                .collect(),
            engine: shown(&engine.engine_version.unwrap_or_default()),
        })
    }
}

/// Asks a manager for all nodes, in the order of their names.
///
/// # Errors
///
/// Any [`EngineError`].
pub async fn list(manager: &Engine) -> Result<Vec<Node>, EngineError> {
    let nodes = manager.docker().list_nodes(None);
    let nodes = manager.done("list the nodes", nodes).await?;
    let mut nodes: Vec<_> = nodes.into_iter().filter_map(Node::read).collect();
    nodes.sort_by(|a, b| (a.name(), &a.id).cmp(&(b.name(), &b.id)));
    Ok(nodes)
}

/// What is written to a node; `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The name of the host.
    pub host: Option<String>,
    /// What it does.
    pub role: Option<Role>,
    /// Whether it gets tasks.
    pub availability: Option<Availability>,
    /// Its tier.
    pub tier: Option<Tier>,
    /// The chains that it serves.
    pub chains: Option<BTreeSet<Chain>>,
}

impl Change {
    fn apply(&self, spec: &mut models::NodeSpec) {
        let labels = spec.labels.get_or_insert_default();
        if let Some(host) = &self.host {
            labels.insert(label::HOST.into(), host.clone());
        }
        if let Some(tier) = &self.tier {
            labels.insert(label::TIER.into(), tier.to_string());
        }
        if let Some(chains) = &self.chains {
            for chain in Chain::ALL {
                labels.remove(&label::serves(chain));
            }
            for chain in chains {
                labels.insert(label::serves(*chain), "true".into());
            }
        }
        if let Some(role) = self.role {
            spec.role = Some(match role {
                Role::Manager => NodeSpecRoleEnum::MANAGER,
                Role::Worker => NodeSpecRoleEnum::WORKER,
            });
        }
        if let Some(availability) = self.availability {
            spec.availability = Some(match availability {
                Availability::Active => NodeSpecAvailabilityEnum::ACTIVE,
                Availability::Paused => NodeSpecAvailabilityEnum::PAUSE,
                Availability::Drained => NodeSpecAvailabilityEnum::DRAIN,
            });
        }
    }
}

/// Writes `change` to a node, through a manager.
///
/// # Errors
///
/// Any [`EngineError`].
pub async fn update(manager: &Engine, id: &NodeId, change: &Change) -> Result<(), EngineError> {
    let what = format!("change the node `{id}`");
    let mut tries = 0;
    loop {
        let node = manager.docker().inspect_node(id.as_str());
        let node = manager.done(&what, node).await?;
        let version = node.version.and_then(|version| version.index).unwrap_or(0);
        let mut spec = node.spec.unwrap_or_default();
        change.apply(&mut spec);
        let options = UpdateNodeOptionsBuilder::default()
            .version(i64::try_from(version).unwrap_or(i64::MAX))
            .build();
        let updated = manager.docker().update_node(id.as_str(), spec, options);
        match manager.done(&what, updated).await {
            // another manager, or the swarm itself, wrote in between
            Err(EngineError::Api { message, .. })
                if tries < TRIES && message.contains("update out of sequence") =>
            {
                tries += 1;
            }
            ended => return ended,
        }
    }
}

/// Takes a node off a manager's list; `force` one that is not down.
pub(super) async fn delete(manager: &Engine, id: &NodeId, force: bool) -> Result<(), EngineError> {
    let options = DeleteNodeOptionsBuilder::default().force(force).build();
    let deleted = manager.docker().delete_node(id.as_str(), Some(options));
    let what = format!("remove the node `{id}`");
    match manager.done(&what, deleted).await {
        Err(error) if error.status() == Some(404) => Ok(()),
        ended => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_tiers_are_plain() {
        assert!(NodeId::new("zbqvpp90lyr6q621pjpsa02ar").is_some());
        for text in ["", "a/b", "../swarm", "a b"] {
            assert!(NodeId::new(text).is_none(), "{text}");
        }
        assert_eq!("storage-1".parse::<Tier>().unwrap().as_str(), "storage-1");
        for text in ["", "A", "a b", "a=b", "ünder"] {
            assert!(text.parse::<Tier>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let mut spec = models::NodeSpec::default();
        let first = Change {
            host: Some("node-1".into()),
            tier: Some("storage".parse().unwrap()),
            chains: Some(BTreeSet::from([Chain::Mainnet, Chain::Signet])),
            role: Some(Role::Manager),
            ..Change::default()
        };
        first.apply(&mut spec);
        let labels = spec.labels.get_or_insert_default();
        labels.insert("com.example".into(), "kept".into());
        let second = Change {
            chains: Some(BTreeSet::from([Chain::Regtest])),
            availability: Some(Availability::Drained),
            ..Change::default()
        };
        second.apply(&mut spec);
        let node = Node::read(models::Node {
            id: Some("abc".into()),
            spec: Some(spec.clone()),
            ..models::Node::default()
        });
        let node = node.unwrap();
        assert_eq!(node.name(), "node-1");
        assert_eq!(node.tier.unwrap().as_str(), "storage");
        assert_eq!(node.chains, BTreeSet::from([Chain::Regtest]));
        assert_eq!(node.role, Role::Manager);
        assert_eq!(node.availability, Availability::Drained);
        assert_eq!(spec.labels.unwrap()["com.example"], "kept");
    }
}
