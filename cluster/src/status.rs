//! How the hosts are: asked all at once, one round trip for the machine and one for its engine.

mod machine;

use std::time::{Duration, Instant, SystemTime};

use bcm_keystore::Hint;
use futures::future::join_all;
use serde::Serialize;

use crate::docker::swarm::{Membership, read_membership};
use crate::docker::{Engine, EngineError, Node, node};
use crate::remote::{Remote, RemoteError};

pub use machine::{Disk, Machine};

/// A clock that is further off than this is told of: certificates and Tor need the time.
pub const SKEW: Duration = Duration::from_secs(5);

/// How long a host may take; its connection alone is tried for 15 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// How one host is.
#[derive(Debug, Serialize)]
pub struct HostStatus {
    /// Its name.
    pub host: String,
    /// How long it took to answer, in seconds.
    pub seconds: f64,
    /// The machine; `None` where it was not reached.
    pub machine: Option<Machine>,
    /// The engine; `None` where it does not answer.
    pub engine: Option<EngineStatus>,
    /// What the swarm says of it; `None` where it is in none, or no manager answers.
    pub swarm: Option<SwarmStatus>,
    /// What is wrong with it, with what to do.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with a host.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

/// How an engine is.
#[derive(Debug, Serialize)]
pub struct EngineStatus {
    /// Its version.
    pub version: String,
    /// Containers that run.
    pub running: u64,
    /// Containers that there are.
    pub containers: u64,
    #[serde(skip)]
    membership: Option<Membership>,
}

/// A host as a member of the swarm.
#[derive(Debug, Serialize)]
pub struct SwarmStatus {
    /// `manager` or `worker`.
    pub role: String,
    /// It is the manager that leads.
    pub leader: bool,
    /// Its heart beats, as a manager sees it.
    pub ready: bool,
    /// Whether it gets tasks.
    pub availability: String,
    /// Its tier.
    pub tier: Option<String>,
}

impl HostStatus {
    fn tell(&mut self, error: &(impl std::error::Error + Hint)) {
        let mut what = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !what.contains(&cause_text) {
                what = format!("{what}: {cause_text}");
            }
            source = cause.source();
        }
        self.problems.push(Problem {
            what,
            hint: error.hint(),
        });
    }
}

/// Asks all hosts at once; one that does not answer does not keep the others.
pub async fn status(remotes: &[Remote], now: fn() -> SystemTime) -> Vec<HostStatus> {
    let asked = join_all(remotes.iter().map(|remote| ask(remote, now))).await;
    let manager = asked.iter().find_map(|(_, engine)| engine.clone());
    let mut hosts: Vec<_> = asked.into_iter().map(|(status, _)| status).collect();
    if let Some(manager) = manager
        && let Ok(nodes) = node::list(&manager).await
    {
        for host in &mut hosts {
            join_node(host, &nodes);
        }
    }
    hosts
}

/// Asks one host; returns its engine too if it manages a swarm.
async fn ask(remote: &Remote, now: fn() -> SystemTime) -> (HostStatus, Option<Engine>) {
    let start = Instant::now();
    let (mut status, engine) = look(remote, now).await;
    status.seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    (status, engine)
}

async fn look(remote: &Remote, now: fn() -> SystemTime) -> (HostStatus, Option<Engine>) {
    let mut status = HostStatus {
        host: remote.name().to_string(),
        seconds: 0.0,
        machine: None,
        engine: None,
        swarm: None,
        problems: Vec::new(),
    };
    let both = async {
        // the connection first, so that both share it and its failure is told once
        remote.connect().await?;
        Ok::<_, RemoteError>(tokio::join!(machine::ask(remote, now), engine(remote)))
    };
    let Ok(answer) = tokio::time::timeout(PATIENCE, both).await else {
        status.problems.push(Problem {
            what: format!(
                "`{}` did not answer within {} s",
                remote.name(),
                PATIENCE.as_secs()
            ),
            hint: Some("check its load and its network".into()),
        });
        return (status, None);
    };
    let (machine, engine) = match answer {
        Ok(both) => both,
        Err(error) => {
            status.tell(&error);
            return (status, None);
        }
    };
    match machine {
        Ok(Some(machine)) => {
            status.problems.extend(machine.problems());
            status.machine = Some(machine);
        }
        Ok(None) => status.problems.push(Problem {
            what: format!("`{}` does not tell how it is", remote.name()),
            hint: Some("it needs a POSIX shell, `date`, `df` and /proc".into()),
        }),
        Err(error) => status.tell(&error),
    }
    match engine {
        Ok((engine, found)) => {
            let manages = matches!(
                found.membership,
                Some(Membership::Member { manager: true, .. })
            );
            if let Some(Membership::Broken { reason }) = &found.membership {
                status.problems.push(Problem {
                    what: format!("its swarm: {reason}"),
                    hint: Some(format!("run `cluster host rejoin {}`", remote.name())),
                });
            }
            status.engine = Some(found);
            (status, manages.then_some(engine))
        }
        Err(error) => {
            status.tell(&error);
            (status, None)
        }
    }
}

async fn engine(remote: &Remote) -> Result<(Engine, EngineStatus), EngineError> {
    let engine = Engine::connect(remote).await?;
    let info = engine
        .done("tell about itself", engine.docker().info())
        .await?;
    let count = |number: Option<i64>| number.and_then(|n| n.try_into().ok()).unwrap_or(0);
    let status = EngineStatus {
        version: engine.version().to_string(),
        running: count(info.containers_running),
        containers: count(info.containers),
        membership: info.swarm.map(read_membership),
    };
    Ok((engine, status))
}

/// Adds what a manager knows of the host.
fn join_node(host: &mut HostStatus, nodes: &[Node]) {
    let membership = host.engine.as_ref().and_then(|e| e.membership.as_ref());
    let node = match membership {
        Some(Membership::Member { node: id, .. }) => nodes.iter().find(|node| node.id == *id),
        Some(_) => None,
        // a host that is away is known by the name that it was given
        None => nodes
            .iter()
            .find(|node| node.host.as_deref() == Some(&host.host)),
    };
    host.swarm = node.map(|node| SwarmStatus {
        role: node.role.to_string(),
        leader: node.leader,
        ready: node.ready,
        availability: node.availability.to_string(),
        tier: node.tier.as_ref().map(ToString::to_string),
    });
}
