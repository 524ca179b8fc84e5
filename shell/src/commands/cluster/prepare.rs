//! `cluster host prepare`: from a bare machine to a member, by one signed statement.

mod access;
mod consent;

use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs as _};

use bcm_cluster::prepare::{
    self, Facts, OnionAccess, Operation, Preparation, PrepareError, Progress, Wanted,
};
use bcm_cluster::{Cluster, Host, HostKind, HostName, Remote, RemoteError, SshTarget};
use clap::Args;
use serde::Serialize;

use super::reach::{InCluster, note, with_cluster};
use crate::app::App;
use crate::report::Report;
use crate::ui;

use access::Access;

/// How long an earlier run that is still at work on the host is waited for.
const BUSY: std::time::Duration = std::time::Duration::from_secs(600);

/// A host to prepare.
#[derive(Args, Debug)]
pub struct Prepare {
    /// As `cluster host list` shows it
    name: HostName,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    plan: bool,
    /// Where the swarm's ports are open to, beside the addresses of the cluster's hosts
    #[arg(long = "member", value_name = "ADDRESS")]
    members: Vec<IpAddr>,
    /// Make sshd an onion service that this client can find
    #[arg(long = "onion-client", value_name = "NAME=KEY")]
    onion: Vec<String>,
}

/// What came of it, as it is printed.
#[derive(Serialize)]
struct Outcome {
    host: String,
    changes: usize,
    made: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    onion: Option<String>,
    operations: Vec<Operation>,
}

impl Prepare {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let outcome = with_cluster(app, async |cluster| self.prepare(cluster).await)?;
        if json {
            return ui::json(&outcome);
        }
        let Outcome { host, changes, .. } = &outcome;
        if self.plan {
            return ui::out(&page(&outcome.operations));
        }
        ui::say(&match changes {
            0 => format!("`{host}` is prepared: 0 changes"),
            1 => format!("prepared `{host}`: 1 change"),
            _ => format!("prepared `{host}`: {changes} changes"),
        });
        if let Some(onion) = &outcome.onion {
            ui::say(&format!(
                "its sshd is the onion service {}",
                ui::printable(onion)
            ));
        }
        Ok(())
    }

    async fn prepare(&self, cluster: &mut InCluster<'_>) -> Result<Outcome, Report> {
        let host = cluster.cluster.host(&self.name)?.clone();
        let Some(target) = host.target.ssh().cloned() else {
            return Err(Report::usage(format!(
                "`{}` is this machine: bcm does not close the way in to the machine that it runs on",
                host.name
            ))
            .with_hint("install `docker.io` on it, and add your account to the group `docker`"));
        };
        let wanted = self.wanted(cluster, &host).await?;
        let access = Access::new(&host, &target);
        let (remote, facts) = self.look(cluster, &access).await?;
        let plan = prepare::plan(&facts, &wanted)?;
        let mut outcome = Outcome {
            host: host.name.to_string(),
            changes: plan.operations.len(),
            made: false,
            serial: None,
            onion: facts.onion,
            operations: plan.operations.clone(),
        };
        if self.plan {
            return Ok(outcome);
        }
        if !plan.is_empty() {
            let key = target.pin.fingerprint();
            ui::say(&page(&plan.operations));
            let preparation = Preparation::new(&host.name, &key, plan);
            let verified = consent::sign_preparation(cluster, &preparation).await?;
            let login = access.trial(cluster).await?;
            let progress = |step: Progress<'_>| note(&format!("`{}`: {step}", host.name));
            prepare::apply(&remote, &key, &verified, &login, &progress).await?;
            prepare::check(&remote, &wanted).await?;
            outcome.made = true;
            outcome.serial = Some(verified.statement().head().serial);
            if self.onion.is_empty() {
                outcome.onion = None;
            } else {
                outcome.onion = prepare::observe(&remote).await?.onion;
            }
        }
        if !access.is_prepared() {
            // from now on it is reached as it was left
            cluster.change(|cluster| {
                cluster.host_mut(&self.name)?.target = access.prepared().clone();
                Ok(())
            })?;
        }
        Ok(outcome)
    }

    /// Says what the host is to become.
    async fn wanted(&self, cluster: &InCluster<'_>, host: &Host) -> Result<Wanted, Report> {
        let name = cluster.cluster.name.to_string();
        let (ca, revoked) = access::authority(cluster.open, &name).await?;
        let mut wanted = Wanted::new(ca, [prepare::USER.to_owned()]).map_err(PrepareError::from)?;
        wanted.revoked = revoked;
        wanted.members = members(&cluster.cluster, host)?;
        wanted.members.extend(&self.members);
        if !self.onion.is_empty() {
            let clients = self.onion.iter().map(String::as_str);
            wanted.onion = Some(OnionAccess::new(clients).map_err(PrepareError::from)?);
        }
        Ok(wanted)
    }

    /// Asks the host what it is; a run that was cut may have left only the new way in.
    async fn look(
        &self,
        cluster: &mut InCluster<'_>,
        access: &Access,
    ) -> Result<(Remote, Facts), Report> {
        let remote = access.present(cluster).await?;
        match observe(&remote).await {
            Err(PrepareError::Remote(RemoteError::Refused { .. })) if !access.is_prepared() => {
                note(&format!(
                    "`{}` refuses this login: trying that of a prepared host",
                    self.name
                ));
                let remote = access.new_way(cluster).await?;
                let facts = observe(&remote).await?;
                Ok((remote, facts))
            }
            Err(error) => Err(error.into()),
            Ok(facts) => Ok((remote, facts)),
        }
    }
}

/// Asks the host what it is, and waits for what an earlier run left at work there.
async fn observe(remote: &Remote) -> Result<Facts, PrepareError> {
    let start = std::time::Instant::now();
    loop {
        match prepare::observe(remote).await {
            Err(PrepareError::Busy) if start.elapsed() < BUSY => {
                note(&format!(
                    "`{}`: waiting for an earlier run that is still at work, {} s",
                    remote.name(),
                    start.elapsed().as_secs()
                ));
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            }
            other => return other,
        }
    }
}

/// Returns where the cluster's other hosts are.
fn members(cluster: &Cluster, this: &Host) -> Result<BTreeSet<IpAddr>, Report> {
    let others = cluster.hosts.iter().filter(|host| host.name != this.name);
    let mut members = BTreeSet::new();
    for target in others.filter_map(|host| host.target.ssh()) {
        match target.destination.kind() {
            HostKind::Address(address) => drop(members.insert(address)),
            HostKind::Name => members.extend(resolve(target)?),
            // hosts that hide from each other form no swarm
            HostKind::Onion => {}
        }
    }
    Ok(members)
}

fn resolve(target: &SshTarget) -> Result<Vec<IpAddr>, Report> {
    let name = target.destination.host();
    let found = (name, 0).to_socket_addrs();
    let found = found.map_err(|error| {
        Report::usage(format!("cannot find the address of `{name}`: {error}"))
            .with_hint("give it: `--member ADDRESS`")
    })?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Writes a plan out for a person, with what is written into each file.
fn page(operations: &[Operation]) -> String {
    if operations.is_empty() {
        return "0 changes".to_owned();
    }
    let mut lines = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        lines.push(format!(
            "{:>3}. {}: {operation}",
            index + 1,
            operation.why()
        ));
        if let Operation::File { content, .. } = operation {
            let text = match std::str::from_utf8(content.bytes()) {
                Ok(text) => ui::printable_lines(text),
                Err(_) => format!(
                    "{} bytes, SHA-256 {}",
                    content.bytes().len(),
                    content.digest()
                ),
            };
            lines.extend(text.lines().map(|line| format!("       | {line}")));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_shows_what_it_writes() {
        let write = Operation::File {
            why: "no core dumps".into(),
            path: "/etc/x".into(),
            owner: "root:root".into(),
            mode: "0644".into(),
            sha256: prepare::Content::from("a\n\u{1b}[2Jb\n".to_owned()).digest(),
            content: "a\n\u{1b}[2Jb\n".to_owned().into(),
            replaces: None,
            check: Vec::new(),
        };
        assert_eq!(
            page(&[write]),
            "  1. no core dumps: write /etc/x (root:root 0644)\n       | a\n       | ?[2Jb"
        );
        assert_eq!(page(&[]), "0 changes");
    }
}
