//! `cluster host`: the machines of the cluster that is in use.

use bcm_cluster::{Host, HostAddress, HostKeyFingerprint, HostName, HostTarget, SshTarget};
use bcm_keystore::Chain;
use bcm_keystore::ssh::SshStore;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::reach::{InCluster, with_cluster};
use super::swarm::{Act, act, rejoin};
use crate::app::App;
use crate::commands::ssh::{Meeting, meet};
use crate::report::{Kind, Report};
use crate::ui;

/// What to do with hosts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a host, whose key you compare
    #[command(after_help = "Examples:
  bcm cluster host add here local
  bcm cluster host add node-1 ssh://root@10.0.0.5 --chain signet --chain regtest
  bcm cluster host add node-2 ssh://root@10.0.0.6:2222 --fingerprint SHA256:…
  bcm cluster host add far ssh://bcm@xyz….onion

The host key is shown and compared with the host's own console; from then on the host has to prove it,
and a changed key is a hard stop. The key for the login stays on the device; its line for the host's
authorized_keys is printed.")]
    Add(Add),
    /// List the hosts
    #[command(after_help = "Example:\n  bcm cluster host list --json")]
    List,
    /// Show a host
    #[command(after_help = "Example:\n  bcm cluster host show node-1")]
    Show {
        /// As `cluster host list` shows it
        name: HostName,
    },
    /// Forget a host; nothing is done to it
    #[command(after_help = "Example:\n  bcm cluster host remove node-1")]
    Remove {
        /// As `cluster host list` shows it
        name: HostName,
    },
    /// Give a host another name
    #[command(after_help = "Example:\n  bcm cluster host rename node-1 node-a")]
    Rename {
        /// As `cluster host list` shows it
        from: HostName,
        /// The new name
        to: HostName,
    },
    /// Accept the new key of a host that you reinstalled
    #[command(after_help = "Example:\n  bcm cluster host repin node-1 --fingerprint SHA256:…")]
    Repin {
        /// As `cluster host list` shows it
        name: HostName,
        /// The fingerprint that the new key has to have
        #[arg(long, value_name = "SHA256:…")]
        fingerprint: Option<HostKeyFingerprint>,
    },
    /// Make a host a manager of the swarm
    #[command(after_help = "Example:\n  bcm cluster host promote node-2")]
    Promote {
        /// As `cluster host list` shows it
        name: HostName,
    },
    /// Make a manager of the swarm a worker
    #[command(after_help = "Example:\n  bcm cluster host demote node-2")]
    Demote {
        /// As `cluster host list` shows it
        name: HostName,
    },
    /// Have what runs on a host run elsewhere
    #[command(after_help = "Example:\n  bcm cluster host drain node-2")]
    Drain {
        /// As `cluster host list` shows it
        name: HostName,
    },
    /// Let things run on a host again
    #[command(after_help = "Example:\n  bcm cluster host activate node-2")]
    Activate {
        /// As `cluster host list` shows it
        name: HostName,
    },
    /// Bring a host back into the swarm that was away
    #[command(after_help = "Example:\n  bcm cluster host rejoin node-2 --address 10.8.0.2")]
    Rejoin {
        /// As `cluster host list` shows it
        name: HostName,
        /// Where the other hosts reach it [default: the address that it was added with]
        #[arg(long, value_name = "IP")]
        address: Option<std::net::IpAddr>,
    },
}

/// A host to add.
#[derive(Args, Debug)]
pub struct Add {
    /// What to call it: a to z, 0 to 9 and `-`
    name: HostName,
    /// Where it is
    #[arg(value_name = "local|ssh://USER@HOST[:PORT]|lxd://[USER@HOST/]NAME")]
    address: HostAddress,
    /// A chain that may run on it; every chain unless given
    #[arg(long = "chain", value_name = "CHAIN")]
    chains: Vec<Chain>,
    /// The fingerprint that the host key has to have
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<HostKeyFingerprint>,
    /// It trusts the CA of this cluster already: log in with the session's certificate
    #[arg(long)]
    certified: bool,
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Add(add) => add.run(app, json),
            Self::List => list(app, json),
            Self::Show { name } => show(app, &name, json),
            Self::Remove { name } => remove(app, &name, json),
            Self::Rename { from, to } => rename(app, &from, &to, json),
            Self::Repin { name, fingerprint } => repin(app, &name, fingerprint, json),
            Self::Promote { name } => act(app, &name, Act::Promote, json),
            Self::Demote { name } => act(app, &name, Act::Demote, json),
            Self::Drain { name } => act(app, &name, Act::Drain, json),
            Self::Activate { name } => act(app, &name, Act::Activate, json),
            Self::Rejoin { name, address } => rejoin(app, &name, address, json),
        }
    }
}

/// A host as it is printed.
#[derive(Debug, Serialize)]
pub struct Line {
    name: String,
    address: String,
    chains: Vec<Chain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    certified: bool,
}

impl Line {
    /// Takes what is shown of a host.
    pub fn new(host: &Host) -> Self {
        let target = host.target.ssh();
        Self {
            name: host.name.to_string(),
            address: host.target.address().to_string(),
            chains: host.chains.clone(),
            algorithm: target.map(|target| target.pin.algorithm()),
            fingerprint: target.map(|target| target.pin.fingerprint().to_string()),
            certified: target.is_some_and(|target| target.certified),
        }
    }

    fn chains(&self) -> String {
        match self.chains.as_slice() {
            [] => "every".to_owned(),
            chains => {
                let names: Vec<_> = chains.iter().map(|chain| chain.name()).collect();
                names.join(",")
            }
        }
    }
}

/// Prints hosts.
pub fn print(lines: &[Line], json: bool) -> Result<(), Report> {
    if json {
        return ui::json(&lines);
    }
    if lines.is_empty() {
        ui::say("no hosts yet: add one with `cluster host add NAME ssh://user@host`");
        return Ok(());
    }
    let rows = lines.iter().map(|line| {
        [
            line.name.clone(),
            line.address.clone(),
            line.chains(),
            line.fingerprint.clone().unwrap_or_default(),
        ]
    });
    ui::out(&ui::table(["host", "address", "chains", "host key"], rows))
}

impl Add {
    fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let (line, new_key) = with_cluster(app, async |cluster| {
            cluster.cluster.admits(&self.name, &self.address)?;
            let (target, new_key) = self.target(cluster).await?;
            let host = Host {
                name: self.name.clone(),
                target,
                chains: self.chains.clone(),
            };
            let line = Line::new(&host);
            cluster.change(|cluster| cluster.add(host))?;
            Ok((line, new_key))
        })?;
        if json {
            return ui::json(&line);
        }
        ui::say(&format!("added `{}` at {}", line.name, line.address));
        if let Some(key) = new_key {
            ui::say("the line for its authorized_keys:");
            ui::out(&key)?;
        }
        Ok(())
    }

    /// Meets the host, and returns its target and the line of a key that was made for it.
    async fn target(
        &self,
        cluster: &mut InCluster<'_>,
    ) -> Result<(HostTarget, Option<String>), Report> {
        match &self.address {
            HostAddress::Local if self.fingerprint.is_some() || self.certified => Err(
                Report::usage("this machine is not logged in to: it has no host key here"),
            ),
            HostAddress::Local => Ok((HostTarget::Local, None)),
            HostAddress::Ssh(destination) => {
                let settings = cluster.settings()?;
                let wallet = cluster.open.session.store().clone();
                let mut store = SshStore::open(&wallet)?;
                let meeting = Meeting {
                    destination,
                    fingerprint: self.fingerprint,
                    again: &format!("cluster host add {} {}", self.name, self.address),
                };
                let host = meet(&mut store, &meeting, &settings).await?;
                let mut target = SshTarget::from(&host);
                target.certified = self.certified;
                if self.certified {
                    return Ok((HostTarget::Ssh(target), None));
                }
                let (key, is_new) = cluster.key(destination.identity()).await?;
                Ok((HostTarget::Ssh(target), is_new.then(|| key.to_string())))
            }
            HostAddress::Lxd { .. } => Err(Report::text(
                Kind::Failed,
                "this bcm makes no instances of LXD or Incus",
            )
            .with_hint("make it there, with sshd inside, and add it as `ssh://user@address`")),
        }
    }
}

fn list(app: &mut App, json: bool) -> Result<(), Report> {
    let lines = with_cluster(app, async |cluster| {
        Ok(cluster
            .cluster
            .hosts
            .iter()
            .map(Line::new)
            .collect::<Vec<_>>())
    })?;
    print(&lines, json)
}

fn show(app: &mut App, name: &HostName, json: bool) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        Ok(Line::new(cluster.cluster.host(name)?))
    })?;
    if json {
        return ui::json(&line);
    }
    let chains = line.chains();
    let certified = if line.certified {
        "with the session's certificate"
    } else {
        "with a key of its own"
    };
    let mut rows = vec![
        ["host".to_owned(), line.name],
        ["address".into(), line.address],
        ["chains".into(), chains],
    ];
    if let (Some(algorithm), Some(fingerprint)) = (line.algorithm, line.fingerprint) {
        rows.push(["host key".into(), format!("{algorithm} {fingerprint}")]);
        rows.push(["login".into(), certified.to_owned()]);
    }
    ui::out(&ui::table(["", ""], rows))
}

fn remove(app: &mut App, name: &HostName, json: bool) -> Result<(), Report> {
    let gone = with_cluster(app, async |cluster| {
        cluster.change(|cluster| cluster.remove(name))
    })?;
    if json {
        return ui::json(&Line::new(&gone));
    }
    ui::say(&format!("forgot `{name}`; it is as it was"));
    Ok(())
}

fn rename(app: &mut App, from: &HostName, to: &HostName, json: bool) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        cluster.change(|cluster| {
            cluster.rename(from, to)?;
            Ok(Line::new(cluster.host(to)?))
        })
    })?;
    if json {
        return ui::json(&line);
    }
    ui::say(&format!("`{from}` is called `{to}` now"));
    Ok(())
}

fn repin(
    app: &mut App,
    name: &HostName,
    fingerprint: Option<HostKeyFingerprint>,
    json: bool,
) -> Result<(), Report> {
    let line = with_cluster(app, async |cluster| {
        let host = cluster.cluster.host(name)?.clone();
        let Some(old) = host.target.ssh() else {
            return Err(Report::usage(format!(
                "`{name}` is this machine, which has no host key here"
            )));
        };
        let settings = cluster.settings()?;
        let wallet = cluster.open.session.store().clone();
        let mut store = SshStore::open(&wallet)?;
        let meeting = Meeting {
            destination: &old.destination,
            fingerprint,
            again: &format!("cluster host repin {name}"),
        };
        let met = meeting.anew(&settings).await?;
        store.pin_hosts(vec![met.pin()])?;
        if let Some(agent) = &cluster.open.agent {
            agent.refresh(&store);
        }
        let key = met.key().clone();
        cluster.change(|cluster| {
            let host = cluster.host_mut(name)?;
            if let HostTarget::Ssh(target) | HostTarget::Lxd { guest: target, .. } =
                &mut host.target
            {
                target.pin = key;
            }
            Ok(Line::new(host))
        })
    })?;
    if json {
        return ui::json(&line);
    }
    ui::say(&format!(
        "`{name}` has to prove {} from now on",
        line.fingerprint.unwrap_or_default()
    ));
    Ok(())
}
