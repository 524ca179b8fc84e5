//! `cluster`: machines that are run as one.

mod copy;
mod engines;
mod exec;
mod fan;
mod hosts;
mod instance;
mod login;
mod prepare;
mod reach;
mod status;
mod swarm;
mod tunnel;

pub use reach::{Certificates, InCluster, with_cluster};

use bcm_cluster::{Cluster, ClusterId, ClusterName, ClusterStore, HostName};
use clap::Subcommand;
use serde::Serialize;

use crate::app::App;
use crate::report::Report;
use crate::ui;

/// What to do with clusters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a cluster without hosts, and use it
    #[command(after_help = "Example:\n  bcm cluster create home")]
    Create {
        /// a to z, 0 to 9 and `-`
        name: ClusterName,
    },
    /// Work with another cluster from now on
    #[command(after_help = "Example:\n  bcm cluster use home")]
    Use {
        /// As `cluster list` shows it
        name: ClusterName,
    },
    /// List the clusters of this wallet
    #[command(after_help = "Example:\n  bcm cluster list --json")]
    List,
    /// Show a cluster and its hosts
    #[command(after_help = "Example:\n  bcm cluster show home")]
    Show {
        /// The one that is in use unless given
        name: Option<ClusterName>,
    },
    /// Forget a cluster; nothing is done to its hosts
    #[command(after_help = "Example:\n  bcm cluster destroy home --hosts")]
    Destroy {
        /// As `cluster list` shows it
        name: ClusterName,
        /// Forget its hosts too
        #[arg(long)]
        hosts: bool,
    },
    /// Add, list and change the hosts of the cluster that is in use
    #[command(
        subcommand,
        after_help = "Example:\n  bcm cluster host add node-1 ssh://root@10.0.0.5"
    )]
    Host(hosts::Command),
    /// Show how the hosts are: machine, engine, swarm
    #[command(after_help = "Example:\n  bcm cluster status --json")]
    Status,
    /// Form a swarm of the hosts' Docker engines
    #[command(
        subcommand,
        after_help = "Example:\n  bcm cluster swarm init node-1 --address 10.8.0.1"
    )]
    Swarm(swarm::Command),
    /// Say which kind of host each is
    #[command(
        subcommand,
        after_help = "Example:\n  bcm cluster tier assign node-1 storage"
    )]
    Tier(swarm::TierCommand),
    /// Reach a service of the cluster at a port of this machine
    #[command(after_help = "Examples:
  bcm cluster tunnel bitcoind:8332
  bcm cluster tunnel bcm-signet-electrs:50001 --listen 127.0.0.1:50001

No port is published or opened: connections go through the engine's socket. The address is printed on
stdout.")]
    Tunnel(tunnel::Command),
    /// Log in to a host
    #[command(after_help = "Examples:
  bcm cluster ssh node-1
  bcm cluster ssh node-1 -- df -h")]
    Ssh {
        /// As `cluster host list` shows it
        host: HostName,
        /// Run this on the host instead of a shell
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Run a command on many hosts at once
    #[command(after_help = "Examples:
  bcm cluster exec -- uptime
  bcm cluster exec --hosts node-1,node-2 --timeout 30 -- sh -c 'df -h | tail -1'

What each host printed is shown when it is done, without escapes and control characters. The command
has no input, and ends with everything it started when bcm stops waiting for it. The exit code is 0
only if it was 0 on every host.")]
    Exec(exec::Exec),
    /// Copy files to many hosts at once
    #[command(after_help = "Examples:
  bcm cluster copy motd /etc/motd
  bcm cluster copy --hosts node-1 a.conf b.conf /etc/thing/

A file gets its name when it is whole, synced and compared by its SHA-256; its mode is kept. A path
that ends with `/` is a folder that is there.")]
    Copy(copy::Copy),
}

impl Command {
    /// Runs it and returns the exit code of what it ran.
    pub fn run(self, app: &mut App, json: bool) -> Result<u8, Report> {
        let done = |()| 0;
        match self {
            Self::Create { name } => create(app, name, json).map(done),
            Self::Use { name } => choose(app, &name, json).map(done),
            Self::List => list(app, json).map(done),
            Self::Show { name } => show(app, name.as_ref(), json).map(done),
            Self::Destroy { name, hosts } => destroy(app, &name, hosts, json).map(done),
            Self::Host(command) => command.run(app, json).map(done),
            Self::Status => status::run(app, json).map(done),
            Self::Swarm(command) => command.run(app, json).map(done),
            Self::Tier(command) => command.run(app, json).map(done),
            Self::Tunnel(command) => command.run(app, json).map(done),
            Self::Ssh { host, command } => login::run(app, &host, &command),
            Self::Exec(exec) => exec.run(app, json).map(done),
            Self::Copy(copy) => copy.run(app, json).map(done),
        }
    }
}

/// A cluster as it is printed.
#[derive(Serialize)]
struct Line {
    name: String,
    id: String,
    in_use: bool,
    hosts: Vec<hosts::Line>,
}

impl Line {
    fn new(cluster: &Cluster, in_use: bool) -> Self {
        Self {
            name: cluster.name.to_string(),
            id: cluster.id.to_string(),
            in_use,
            hosts: cluster.hosts.iter().map(hosts::Line::new).collect(),
        }
    }

    fn print(&self, json: bool) -> Result<(), Report> {
        if json {
            return ui::json(self);
        }
        ui::out(&format!("cluster {}, id {}", self.name, self.id))?;
        hosts::print(&self.hosts, false)
    }
}

/// Gives `work` the sealed clusters of the open wallet.
fn with_store<T>(
    app: &mut App,
    work: impl FnOnce(&ClusterStore) -> Result<T, Report>,
) -> Result<T, Report> {
    let keeper = app.keeper.clone();
    app.runtime().block_on(keeper.with_open(async |open| {
        let store = ClusterStore::new(open.session.store().clone());
        let outcome = work(&store)?;
        let current = store.read()?;
        let current = current.current().ok();
        keeper.set_cluster(current.map(|cluster| cluster.name.to_string()));
        Ok(outcome)
    }))
}

fn create(app: &mut App, name: ClusterName, json: bool) -> Result<(), Report> {
    let cluster = Cluster::new(ClusterId::new(rand::random()), name);
    let line = Line::new(&cluster, true);
    with_store(app, |store| {
        Ok(store.update(|clusters| clusters.create(cluster))?)
    })?;
    if json {
        return line.print(true);
    }
    ui::say(&format!(
        "made cluster `{}` and use it; add hosts with `cluster host add`",
        line.name
    ));
    Ok(())
}

fn choose(app: &mut App, name: &ClusterName, json: bool) -> Result<(), Report> {
    let line = with_store(app, |store| {
        Ok(store.update(|clusters| Ok(Line::new(clusters.choose(name)?, true)))?)
    })?;
    if json {
        return line.print(true);
    }
    ui::say(&format!("using cluster `{}`", line.name));
    Ok(())
}

fn list(app: &mut App, json: bool) -> Result<(), Report> {
    let lines = with_store(app, |store| {
        let clusters = store.read()?;
        let line = |cluster| Line::new(cluster, clusters.is_current(cluster));
        Ok(clusters.all().iter().map(line).collect::<Vec<_>>())
    })?;
    if json {
        return ui::json(&lines);
    }
    if lines.is_empty() {
        ui::say("no clusters yet: make one with `cluster create NAME`");
        return Ok(());
    }
    let rows = lines.into_iter().map(|line| {
        let used = if line.in_use { "in use" } else { "" };
        [
            line.name,
            line.hosts.len().to_string(),
            line.id,
            used.to_owned(),
        ]
    });
    ui::out(&ui::table(["cluster", "hosts", "id", ""], rows))
}

fn show(app: &mut App, name: Option<&ClusterName>, json: bool) -> Result<(), Report> {
    let line = with_store(app, |store| {
        let clusters = store.read()?;
        let cluster = match name {
            Some(name) => clusters.find(name)?,
            None => clusters.current()?,
        };
        Ok(Line::new(cluster, clusters.is_current(cluster)))
    })?;
    line.print(json)
}

fn destroy(app: &mut App, name: &ClusterName, hosts: bool, json: bool) -> Result<(), Report> {
    let gone = with_store(app, |store| {
        Ok(store.update(|clusters| clusters.destroy(name, hosts))?)
    })?;
    if json {
        return Line::new(&gone, false).print(true);
    }
    ui::say(&format!(
        "forgot cluster `{}`; its hosts are as they were",
        gone.name
    ));
    Ok(())
}
