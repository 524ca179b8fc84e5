//! `cluster swarm`: the engines of the hosts as one, and what a host is in it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use bcm_cluster::docker::swarm::{self, Outcome, Place};
use bcm_cluster::docker::{Addresses, Availability, Role, Tier, node};
use bcm_cluster::{Host, HostKind, HostName};
use bcm_keystore::Chain;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::reach::{InCluster, with_cluster};
use crate::app::App;
use crate::report::Report;
use crate::ui;

/// What to do with the swarm.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin the swarm with one host, which is a complete cluster
    #[command(after_help = "Examples:
  bcm cluster swarm init node-1
  bcm cluster swarm init node-1 --address 10.8.0.1

The address is where the other hosts reach it, best inside a WireGuard tunnel; nothing else is listened
on, and no port is published.")]
    Init {
        #[command(flatten)]
        placed: Placed,
    },
    /// Bring a host into the swarm
    #[command(after_help = "Examples:
  bcm cluster swarm join node-2 --address 10.8.0.2
  bcm cluster swarm join node-9 --role worker

With `auto` the managers are kept the largest odd number, up to seven, that the hosts allow. A host that
does not get in is left as it was.")]
    Join {
        #[command(flatten)]
        placed: Placed,
        /// auto, manager or worker
        #[arg(
            long,
            value_name = "ROLE",
            default_value = "auto",
            hide_possible_values = true
        )]
        role: Wanted,
    },
    /// Take a host out of the swarm; what ran there runs elsewhere
    #[command(after_help = "Examples:
  bcm cluster swarm leave node-2
  bcm cluster swarm leave node-3 --dead        it does not come back
  bcm cluster swarm leave node-1 --dissolve    the last one: ends the swarm, with its secrets")]
    Leave {
        /// As `cluster host list` shows it
        host: HostName,
        /// Forget a host that is down and does not come back
        #[arg(long, conflicts_with = "dissolve")]
        dead: bool,
        /// End the swarm of the last host
        #[arg(long)]
        dissolve: bool,
    },
}

/// A host, and where it is to stand.
#[derive(Args, Debug)]
pub struct Placed {
    /// As `cluster host list` shows it
    host: HostName,
    /// Where the other hosts reach it [default: the address that it was added with]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Where its containers' networks are reached [default: the same]
    #[arg(long, value_name = "IP")]
    data_path: Option<IpAddr>,
    /// The kind of host that it is, which stacks are placed by
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,
}

/// What a host is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    /// A manager if the swarm misses one
    Auto,
    /// A manager
    Manager,
    /// A worker
    Worker,
}

impl Placed {
    fn place(&self, host: &Host) -> Result<Place, Report> {
        let known = host.target.ssh().map(|target| target.destination.kind());
        let address = match (self.address, known) {
            (Some(address), _) => address,
            (None, Some(HostKind::Address(address))) if !address.is_loopback() => address,
            // this machine alone needs no address that others reach
            (None, None) => Ipv4Addr::LOCALHOST.into(),
            (None, _) => {
                return Err(Report::usage(format!(
                    "it is not known where the other hosts reach `{}`",
                    host.name
                ))
                .with_hint("give its address: `--address 10.8.0.1`"));
            }
        };
        let chains: BTreeSet<_> = match host.chains.as_slice() {
            [] => Chain::ALL.into(),
            chains => chains.iter().copied().collect(),
        };
        Ok(Place {
            addresses: Addresses {
                advertise: address,
                data_path: self.data_path.unwrap_or(address),
            },
            tier: self.tier.clone(),
            chains,
        })
    }
}

/// What came of it, as it is printed.
#[derive(Serialize)]
struct Line {
    host: String,
    changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    promoted: Vec<String>,
}

impl Line {
    fn new(host: &HostName, outcome: Outcome) -> Self {
        Self {
            host: host.to_string(),
            changed: outcome == Outcome::Changed,
            promoted: Vec::new(),
        }
    }

    fn print(&self, json: bool, done: &str, was: &str) -> Result<(), Report> {
        if json {
            return ui::json(self);
        }
        let what = if self.changed { done } else { was };
        ui::say(&format!("`{}` {what}", self.host));
        for host in &self.promoted {
            ui::say(&format!("`{host}` is a manager now"));
        }
        Ok(())
    }
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Init { placed } => init(app, &placed, json),
            Self::Join { placed, role } => join(app, &placed, role, json),
            Self::Leave {
                host,
                dead,
                dissolve,
            } => leave(app, &host, dead, dissolve, json),
        }
    }
}

fn init(app: &mut App, placed: &Placed, json: bool) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        let place = placed.place(cluster.cluster.host(&placed.host)?)?;
        let id = cluster.cluster.id.to_string();
        // a second swarm would split the cluster
        if let Ok(manager) = cluster.manager().await
            && manager.host() != placed.host.as_str()
        {
            return Err(Report::usage(format!(
                "`{}` has a swarm already, which `{}` manages",
                cluster.cluster.name,
                manager.host()
            ))
            .with_hint(format!("run `cluster swarm join {}`", placed.host)));
        }
        let engine = cluster.engine(&placed.host).await?;
        let outcome = swarm::init(&engine, &id, &place).await?;
        Ok(Line::new(&placed.host, outcome))
    })?;
    line.print(json, "is a swarm of one now", "manages the swarm already")
}

fn join(app: &mut App, placed: &Placed, role: Wanted, json: bool) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        let place = placed.place(cluster.cluster.host(&placed.host)?)?;
        let manager = cluster.manager().await?;
        let engine = cluster.engine(&placed.host).await?;
        let first = match role {
            Wanted::Manager => Role::Manager,
            Wanted::Auto | Wanted::Worker => Role::Worker,
        };
        let outcome = swarm::join(&manager, &engine, first, &place).await?;
        let mut line = Line::new(&placed.host, outcome);
        if role == Wanted::Auto {
            line.promoted = swarm::grow(&manager).await?;
        }
        Ok(line)
    })?;
    line.print(json, "is in the swarm now", "is in the swarm already")
}

fn leave(
    app: &mut App,
    host: &HostName,
    dead: bool,
    dissolve: bool,
    json: bool,
) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        cluster.cluster.host(host)?;
        if dissolve {
            let id = cluster.cluster.id.to_string();
            let engine = cluster.engine(host).await?;
            return Ok(Line::new(host, swarm::dissolve(&engine, &id).await?));
        }
        let manager = cluster.manager().await?;
        let mut line = if dead {
            let node = cluster.node(&manager, host).await?;
            swarm::remove_dead(&manager, &node.id).await?;
            Line::new(host, Outcome::Changed)
        } else {
            let engine = cluster.engine(host).await?;
            let manager = another(cluster, manager, host).await?;
            Line::new(host, swarm::leave(&manager, &engine).await?)
        };
        if line.changed {
            line.promoted = match cluster.manager().await {
                Ok(manager) => swarm::grow(&manager).await?,
                Err(_) => Vec::new(),
            };
        }
        Ok(line)
    })?;
    line.print(json, "is out of the swarm", "was in no swarm")
}

/// Takes a manager that is not the host itself, where there is one.
async fn another(
    cluster: &mut InCluster<'_>,
    manager: bcm_cluster::Engine,
    host: &HostName,
) -> Result<bcm_cluster::Engine, Report> {
    if manager.host() != host.as_str() {
        return Ok(manager);
    }
    let (engines, _) = cluster.engines().await?;
    for engine in engines {
        if engine.host() != host.as_str() && node::list(&engine).await.is_ok() {
            return Ok(engine);
        }
    }
    Ok(manager)
}

/// What `cluster host` does with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Make it a manager.
    Promote,
    /// Make it a worker.
    Demote,
    /// Give it no tasks.
    Drain,
    /// Give it tasks.
    Activate,
}

/// Does it.
pub fn act(app: &mut App, name: &HostName, act: Act, json: bool) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        cluster.cluster.host(name)?;
        let manager = cluster.manager().await?;
        let node = cluster.node(&manager, name).await?;
        let available = async |availability: Availability| {
            if node.availability == availability {
                return Ok::<_, Report>(Outcome::Unchanged);
            }
            let change = node::Change {
                availability: Some(availability),
                ..node::Change::default()
            };
            node::update(&manager, &node.id, &change).await?;
            Ok(Outcome::Changed)
        };
        let outcome = match act {
            Act::Promote => swarm::promote(&manager, &node.id).await?,
            Act::Demote => swarm::demote_node(&manager, &node.id).await?,
            Act::Drain => available(Availability::Drained).await?,
            Act::Activate => available(Availability::Active).await?,
        };
        Ok(Line::new(name, outcome))
    })?;
    let (done, was) = match act {
        Act::Promote => ("is a manager now", "is a manager already"),
        Act::Demote => ("is a worker now", "is a worker already"),
        Act::Drain => ("gets no tasks any more", "gets no tasks already"),
        Act::Activate => ("gets tasks again", "gets tasks already"),
    };
    line.print(json, done, was)
}

/// Brings a host back that was away.
pub fn rejoin(
    app: &mut App,
    name: &HostName,
    address: Option<IpAddr>,
    json: bool,
) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        let host = cluster.cluster.host(name)?.clone();
        let manager = cluster.manager().await?;
        let old = cluster.node(&manager, name).await.ok();
        let placed = Placed {
            host: name.clone(),
            address,
            data_path: None,
            tier: old.as_ref().and_then(|node| node.tier.clone()),
        };
        let place = placed.place(&host)?;
        let role = old.map_or(Role::Worker, |node| node.role);
        let engine = cluster.engine(name).await?;
        let outcome = swarm::rejoin(&manager, &engine, role, &place).await?;
        let mut line = Line::new(name, outcome);
        line.promoted = swarm::grow(&manager).await?;
        Ok(line)
    })?;
    line.print(json, "joined anew", "is back")
}

/// What to do with tiers.
#[derive(Debug, Subcommand)]
pub enum TierCommand {
    /// List the hosts and their tiers
    #[command(after_help = "Example:\n  bcm cluster tier list --json")]
    List,
    /// Say which kind of host one is; stacks are placed by it
    #[command(after_help = "Example:\n  bcm cluster tier assign node-1 storage")]
    Assign {
        /// As `cluster host list` shows it
        host: HostName,
        /// a to z, 0 to 9 and `-`
        tier: Tier,
    },
}

/// A host's tier as it is printed.
#[derive(Serialize)]
struct TierLine {
    host: String,
    tier: Option<String>,
    chains: Vec<Chain>,
}

impl TierCommand {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::List => tiers(app, json),
            Self::Assign { host, tier } => assign(app, &host, &tier, json),
        }
    }
}

fn tiers(app: &mut App, json: bool) -> Result<(), Report> {
    let lines = with_cluster(app, async |cluster| {
        let manager = cluster.manager().await?;
        let nodes = node::list(&manager).await?;
        let line = |node: bcm_cluster::docker::Node| TierLine {
            host: node.name().to_owned(),
            tier: node.tier.map(|tier| tier.to_string()),
            chains: node.chains.into_iter().collect(),
        };
        Ok(nodes.into_iter().map(line).collect::<Vec<_>>())
    })?;
    if json {
        return ui::json(&lines);
    }
    let rows = lines.into_iter().map(|line| {
        let chains: Vec<_> = line.chains.iter().map(|chain| chain.name()).collect();
        [line.host, line.tier.unwrap_or_default(), chains.join(",")]
    });
    ui::out(&ui::table(["host", "tier", "chains"], rows))
}

fn assign(app: &mut App, name: &HostName, tier: &Tier, json: bool) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        cluster.cluster.host(name)?;
        let manager = cluster.manager().await?;
        let node = cluster.node(&manager, name).await?;
        if node.tier.as_ref() == Some(tier) {
            return Ok(Line::new(name, Outcome::Unchanged));
        }
        let change = node::Change {
            tier: Some(tier.clone()),
            ..node::Change::default()
        };
        node::update(&manager, &node.id, &change).await?;
        Ok(Line::new(name, Outcome::Changed))
    })?;
    let (done, was) = (
        format!("is of the tier `{tier}` now"),
        format!("is of the tier `{tier}` already"),
    );
    line.print(json, &done, &was)
}
