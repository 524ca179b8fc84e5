//! The swarm that a cluster's engines form: made, joined, left, and kept able to lose a host.
//!
//! A swarm of bcm carries the cluster's id as a label; a host that is in any other is refused.
//! Whatever fails half-way is undone before it is told, so that no host is left half-joined.
//!
//! Managers are an odd number, up to seven: as many as the hosts allow. The raft log is not locked with
//! a key (`autolock`): a host that comes back after a power cut has to serve without a person, and
//! what lies on its disk is what the disk's encryption protects.

mod error;
mod member;
mod token;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bcm_keystore::Chain;
use bollard::models::{SwarmInitRequest, SwarmSpec, SwarmSpecOrchestration};
use bollard::query_parameters::{
    LeaveSwarmOptionsBuilder, ListContainersOptionsBuilder, ListVolumesOptions,
};

use super::engine::{Engine, EngineError, shown};
use super::label;
use super::node::{self, Change, Node, NodeId, Role, Tier};

pub use error::SwarmError;
pub(crate) use member::read as read_membership;
pub use member::{Membership, membership};

/// The port that managers listen on.
pub const PORT: u16 = 2377;

/// Where overlay networks get their addresses: narrower than Docker's 10.0.0.0/8, in which the hosts'
/// own network may lie.
const POOLS: [([u8; 2], &str); 2] = [([10, 83], "10.83.0.0/16"), ([172, 29], "172.29.0.0/16")];

/// How many managers a swarm has at most; more only slow each other down.
const MOST_MANAGERS: usize = 7;

/// How long a node may take to be what it was told to be.
const SETTLE: Duration = Duration::from_secs(20);

/// How long a promotion may take: Docker gives one who was demoted a moment ago half a minute's rest.
const PROMOTION: Duration = Duration::from_secs(60);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(200);

/// Where a host is reached by the others: best an address inside a WireGuard tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For management: listened on, and told to the others.
    pub advertise: IpAddr,
    /// For what containers send to each other.
    pub data_path: IpAddr,
}

impl Addresses {
    /// Takes one address for both.
    pub fn one(address: IpAddr) -> Self {
        Self {
            advertise: address,
            data_path: address,
        }
    }

    fn listen(&self) -> String {
        SocketAddr::new(self.advertise, PORT).to_string()
    }

    /// Picks addresses for overlay networks that the hosts' own are not among.
    fn pool(&self) -> &'static str {
        let taken = |prefix: [u8; 2]| {
            [self.advertise, self.data_path].iter().any(|address| {
                matches!(address, IpAddr::V4(address) if address.octets().starts_with(&prefix))
            })
        };
        let free = POOLS.iter().find(|(prefix, _)| !taken(*prefix));
        free.unwrap_or(&POOLS[0]).1
    }
}

/// What a host is to be in the swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the others reach it.
    pub addresses: Addresses,
    /// Its tier.
    pub tier: Option<Tier>,
    /// The chains that it serves.
    pub chains: BTreeSet<Chain>,
}

impl Place {
    fn labels(&self, host: &Engine) -> Change {
        Change {
            host: Some(host.host().to_owned()),
            tier: self.tier.clone(),
            chains: Some(self.chains.clone()),
            ..Change::default()
        }
    }
}

/// Whether something was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Changed,
    /// It was so already.
    Unchanged,
}

/// Makes the first host of a cluster a swarm of one, which is a complete cluster.
///
/// # Errors
///
/// Any [`SwarmError`]; the host is as it was then.
pub async fn init(host: &Engine, cluster: &str, place: &Place) -> Result<Outcome, SwarmError> {
    match membership(host).await? {
        Membership::None => {}
        Membership::Member {
            cluster: Some(found),
            ..
        } if found == cluster => {
            return Ok(Outcome::Unchanged);
        }
        other => return Err(other.refused(host)),
    }
    refuse_foreign(host).await?;
    let addresses = &place.addresses;
    let request = SwarmInitRequest {
        listen_addr: Some(addresses.listen()),
        advertise_addr: Some(addresses.listen()),
        data_path_addr: Some(addresses.data_path.to_string()),
        default_addr_pool: Some(vec![addresses.pool().into()]),
        subnet_size: Some(24),
        spec: Some(SwarmSpec {
            name: Some("default".into()),
            labels: Some(HashMap::from([(label::CLUSTER.into(), cluster.into())])),
            orchestration: Some(SwarmSpecOrchestration {
                task_history_retention_limit: Some(2),
            }),
            ..SwarmSpec::default()
        }),
        ..SwarmInitRequest::default()
    };
    let made = async {
        let id = host.docker().init_swarm(request);
        let id = host.done("begin a swarm", id).await?;
        let id = NodeId::new(&id).ok_or_else(|| SwarmError::NoNode(host.host().into()))?;
        node::update(host, &id, &place.labels(host)).await?;
        Ok(Outcome::Changed)
    };
    undone(host, None, made.await).await
}

/// Brings a host into the swarm of `manager`, as a worker or a manager.
///
/// # Errors
///
/// Any [`SwarmError`]; the host is in no swarm then, unless it says [`SwarmError::HalfJoined`].
pub async fn join(
    manager: &Engine,
    host: &Engine,
    role: Role,
    place: &Place,
) -> Result<Outcome, SwarmError> {
    let nodes = node::list(manager).await?;
    match membership(host).await? {
        Membership::None => {}
        Membership::Member { node, .. } if nodes.iter().any(|known| known.id == node) => {
            node::update(manager, &node, &place.labels(host)).await?;
            return Ok(Outcome::Unchanged);
        }
        other => return Err(other.refused(host)),
    }
    refuse_foreign(host).await?;
    let managers: Vec<_> = nodes
        .iter()
        .filter(|node| node.reachable)
        .filter_map(|node| node.manager_addr.clone())
        .collect();
    let joined = async {
        token::join(manager, host, role, &place.addresses, &managers).await?;
        let Membership::Member { node: id, .. } = membership(host).await? else {
            return Err(SwarmError::NoNode(host.host().into()));
        };
        let what = format!("`{}` to be ready", host.host());
        settle(manager, &what, SETTLE, |nodes| {
            nodes.iter().any(|node| node.id == id && node.ready)
        })
        .await?;
        node::update(manager, &id, &place.labels(host)).await?;
        Ok(Outcome::Changed)
    };
    undone(host, Some(manager), joined.await).await
}

/// Takes a host out of the swarm in good order: what ran there runs elsewhere afterwards.
///
/// # Errors
///
/// [`SwarmError::LastHost`] for the only one, which [`dissolve`] is for; [`SwarmError::Quorum`] where
/// the managers that remain would be too few.
pub async fn leave(manager: &Engine, host: &Engine) -> Result<Outcome, SwarmError> {
    let id = match membership(host).await? {
        Membership::None => return Ok(Outcome::Unchanged),
        Membership::Member { node, .. } => node,
        other => return Err(other.refused(host)),
    };
    let nodes = node::list(manager).await?;
    let Some(node) = nodes.iter().find(|node| node.id == id) else {
        return Err(SwarmError::OtherSwarm(host.host().into()));
    };
    if nodes.len() == 1 {
        return Err(SwarmError::LastHost(host.host().into()));
    }
    if node.role == Role::Manager {
        demote(manager, node, &nodes).await?;
    }
    let left = host
        .docker()
        .leave_swarm(Some(LeaveSwarmOptionsBuilder::default().build()));
    host.done("leave the swarm", left).await?;
    let what = format!("`{}` to be gone", host.host());
    settle(manager, &what, SETTLE, |nodes| {
        !nodes.iter().any(|node| node.id == id && node.ready)
    })
    .await?;
    node::delete(manager, &id, true).await?;
    Ok(Outcome::Changed)
}

/// Ends the swarm of the last host: its services, networks and secrets are gone with it.
///
/// # Errors
///
/// [`SwarmError::NotLast`] while there are others.
pub async fn dissolve(host: &Engine, cluster: &str) -> Result<Outcome, SwarmError> {
    match membership(host).await? {
        Membership::None => return Ok(Outcome::Unchanged),
        Membership::Member {
            cluster: Some(found),
            ..
        } if found == cluster => {}
        other => return Err(other.refused(host)),
    }
    let nodes = node::list(host).await?;
    if nodes.len() > 1 {
        let others = nodes.iter().map(|node| node.name().to_owned()).collect();
        return Err(SwarmError::NotLast(host.host().into(), others));
    }
    force_out(host).await?;
    Ok(Outcome::Changed)
}

/// Forgets a host that does not come back.
///
/// # Errors
///
/// [`SwarmError::Alive`] for one whose heart beats; [`SwarmError::Quorum`].
pub async fn remove_dead(manager: &Engine, id: &NodeId) -> Result<(), SwarmError> {
    let nodes = node::list(manager).await?;
    let node = find(&nodes, id)?;
    if node.ready {
        return Err(SwarmError::Alive(node.name().into()));
    }
    if node.role == Role::Manager {
        demote(manager, node, &nodes).await?;
    }
    node::delete(manager, id, true).await?;
    Ok(())
}

/// Brings a host back that was away: a node that the swarm still knows comes back by itself; one that
/// was removed meanwhile leaves what it remembers and joins anew, with the labels it had.
///
/// # Errors
///
/// Any [`SwarmError`].
pub async fn rejoin(
    manager: &Engine,
    host: &Engine,
    role: Role,
    place: &Place,
) -> Result<Outcome, SwarmError> {
    let nodes = node::list(manager).await?;
    let member = membership(host).await?;
    if let Membership::Member { node, .. } = &member
        && nodes.iter().any(|known| known.id == *node)
    {
        let what = format!("`{}` to come back", host.host());
        settle(manager, &what, SETTLE, |nodes| {
            nodes.iter().any(|known| known.id == *node && known.ready)
        })
        .await?;
        return Ok(Outcome::Unchanged);
    }
    match member {
        Membership::None => {}
        // a manager that can still list its own nodes leads a swarm that is not ours
        Membership::Member { manager: true, .. } if node::list(host).await.is_ok() => {
            return Err(SwarmError::OtherSwarm(host.host().into()));
        }
        Membership::Member { .. } | Membership::Broken { .. } => force_out(host).await?,
        other @ Membership::Locked => return Err(other.refused(host)),
    }
    let stale = nodes
        .iter()
        .filter(|node| !node.ready && node.host.as_deref() == Some(host.host()));
    for node in stale {
        remove_dead(manager, &node.id).await?;
    }
    join(manager, host, role, place).await
}

/// Makes a worker a manager.
///
/// # Errors
///
/// Any [`SwarmError`].
pub async fn promote(manager: &Engine, id: &NodeId) -> Result<Outcome, SwarmError> {
    let nodes = node::list(manager).await?;
    let node = find(&nodes, id)?;
    if node.role == Role::Manager {
        return Ok(Outcome::Unchanged);
    }
    if !node.ready {
        return Err(SwarmError::Down(node.name().into()));
    }
    become_manager(manager, node).await?;
    Ok(Outcome::Changed)
}

/// Makes a manager a worker.
///
/// # Errors
///
/// [`SwarmError::Quorum`] where the managers that remain would be too few.
pub async fn demote_node(manager: &Engine, id: &NodeId) -> Result<Outcome, SwarmError> {
    let nodes = node::list(manager).await?;
    let node = find(&nodes, id)?;
    if node.role == Role::Worker {
        return Ok(Outcome::Unchanged);
    }
    demote(manager, node, &nodes).await?;
    Ok(Outcome::Changed)
}

/// Promotes hosts until the managers are the odd number that the hosts allow; returns whom.
///
/// # Errors
///
/// Any [`SwarmError`].
pub async fn grow(manager: &Engine) -> Result<Vec<String>, SwarmError> {
    let nodes = node::list(manager).await?;
    let mut names = Vec::new();
    for id in to_promote(&nodes) {
        let node = find(&nodes, &id)?;
        become_manager(manager, node).await?;
        names.push(node.name().to_owned());
    }
    Ok(names)
}

/// Picks the workers to promote: the managers are to be the largest odd number, up to seven, of what
/// is up. Nobody is demoted for it: a manager that is away is missed, not replaced.
fn to_promote(nodes: &[Node]) -> Vec<NodeId> {
    let ready = nodes.iter().filter(|node| node.ready).count();
    let wanted = ready.clamp(1, MOST_MANAGERS);
    let wanted = if wanted.is_multiple_of(2) {
        wanted - 1
    } else {
        wanted
    };
    let managers = nodes.iter().filter(|node| node.role == Role::Manager);
    let missing = wanted.saturating_sub(managers.count());
    let workers = nodes
        .iter()
        .filter(|node| node.role == Role::Worker && node.ready);
    workers.take(missing).map(|node| node.id.clone()).collect()
}

/// Tells whether the managers still agree without this one.
fn keeps_quorum(nodes: &[Node], without: &NodeId) -> bool {
    let others = nodes
        .iter()
        .filter(|node| node.role == Role::Manager && node.id != *without);
    let (all, reachable) = others.fold((0, 0), |(all, reachable), node| {
        (all + 1, reachable + usize::from(node.reachable))
    });
    reachable > all / 2
}

async fn become_manager(manager: &Engine, node: &Node) -> Result<(), SwarmError> {
    let change = Change {
        role: Some(Role::Manager),
        ..Change::default()
    };
    node::update(manager, &node.id, &change).await?;
    let what = format!("`{}` to be a manager that the others reach", node.name());
    settle(manager, &what, PROMOTION, |nodes| {
        nodes.iter().any(|now| now.id == node.id && now.reachable)
    })
    .await
}

async fn demote(manager: &Engine, node: &Node, nodes: &[Node]) -> Result<(), SwarmError> {
    if !keeps_quorum(nodes, &node.id) {
        return Err(SwarmError::Quorum(node.name().into()));
    }
    let change = Change {
        role: Some(Role::Worker),
        ..Change::default()
    };
    node::update(manager, &node.id, &change).await?;
    let what = format!("`{}` to be no manager any more", node.name());
    settle(manager, &what, SETTLE, |nodes| {
        let now = nodes.iter().find(|now| now.id == node.id);
        now.is_none_or(|now| now.role == Role::Worker && now.manager_addr.is_none())
    })
    .await
}

fn find<'a>(nodes: &'a [Node], id: &NodeId) -> Result<&'a Node, SwarmError> {
    let node = nodes.iter().find(|node| node.id == *id);
    node.ok_or_else(|| SwarmError::Unknown(id.to_string()))
}

/// Looks at the nodes until they are as they should be.
async fn settle(
    manager: &Engine,
    what: &str,
    limit: Duration,
    mut ready: impl FnMut(&[Node]) -> bool,
) -> Result<(), SwarmError> {
    let start = Instant::now();
    loop {
        // a manager that elects a leader answers with an error for a moment
        let nodes = node::list(manager).await;
        match nodes {
            Ok(nodes) if ready(&nodes) => return Ok(()),
            Err(error) if start.elapsed() >= limit => return Err(error.into()),
            _ if start.elapsed() >= limit => {
                return Err(SwarmError::Waited {
                    what: what.to_owned(),
                    seconds: limit.as_secs(),
                });
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Leaves a swarm whatever the others think of it.
async fn force_out(host: &Engine) -> Result<(), EngineError> {
    let options = LeaveSwarmOptionsBuilder::default().force(true).build();
    let left = host.docker().leave_swarm(Some(options));
    match host.done("leave the swarm", left).await {
        // 503: it is in none
        Err(error) if error.status() == Some(503) => Ok(()),
        ended => ended,
    }
}

/// Takes a host out again if `outcome` is a failure, and tells both if that fails too.
async fn undone(
    host: &Engine,
    manager: Option<&Engine>,
    outcome: Result<Outcome, SwarmError>,
) -> Result<Outcome, SwarmError> {
    let Err(error) = outcome else {
        return outcome;
    };
    let undo = async {
        let id = match membership(host).await? {
            Membership::Member { node, .. } => Some(node),
            _ => None,
        };
        // a manager that never answered to the others is no member that they would miss
        if let (Some(id), Some(manager)) = (&id, manager)
            && let Ok(nodes) = node::list(manager).await
            && let Ok(node) = find(&nodes, id)
            && node.role == Role::Manager
        {
            demote(manager, node, &nodes).await?;
        }
        force_out(host).await?;
        if let (Some(id), Some(manager)) = (id, manager) {
            node::delete(manager, &id, true).await?;
        }
        Ok::<_, SwarmError>(())
    };
    match undo.await {
        Ok(()) => Err(error),
        Err(undo) => Err(SwarmError::HalfJoined {
            host: host.host().into(),
            error: Box::new(error),
            undo: Box::new(undo),
        }),
    }
}

/// Refuses a host on which somebody else uses bcm's names.
async fn refuse_foreign(host: &Engine) -> Result<(), SwarmError> {
    let ours = |labels: &Option<HashMap<String, String>>| {
        let labels = labels.as_ref();
        labels.is_some_and(|labels| labels.keys().any(|key| key.starts_with(label::PREFIX)))
    };
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let containers = host.docker().list_containers(Some(options));
    for container in host.done("list the containers", containers).await? {
        let names = container.names.unwrap_or_default();
        let name = names
            .iter()
            .map(|name| name.trim_start_matches('/'))
            .find(|name| name.starts_with(label::NAMES));
        if let (Some(name), false) = (name, ours(&container.labels)) {
            return Err(SwarmError::foreign(host, "container", name));
        }
    }
    let networks = host.docker().list_networks(None);
    for network in host.done("list the networks", networks).await? {
        let name = network.name.unwrap_or_default();
        if name.starts_with(label::NAMES) && !ours(&network.labels) {
            return Err(SwarmError::foreign(host, "network", &name));
        }
    }
    let volumes = host.docker().list_volumes(None::<ListVolumesOptions>);
    let volumes = host.done("list the volumes", volumes).await?.volumes;
    for volume in volumes.unwrap_or_default() {
        let labelled = volume
            .labels
            .keys()
            .any(|key| key.starts_with(label::PREFIX));
        if volume.name.starts_with(label::NAMES) && !labelled {
            return Err(SwarmError::foreign(host, "volume", &volume.name));
        }
    }
    Ok(())
}

impl SwarmError {
    fn foreign(host: &Engine, kind: &'static str, name: &str) -> Self {
        Self::Foreign {
            host: host.host().into(),
            kind,
            name: shown(name),
        }
    }
}

#[cfg(test)]
mod tests;
