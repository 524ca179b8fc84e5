//! What `exec` and `copy` have in common: which hosts, how many at once, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bcm_cluster::{Answer, Cluster, FanOut, Host, HostName, Remote, RemoteError, fanout};
use clap::Args;

use super::reach::{InCluster, note};
use crate::commands::ssh::ensure_agent;
use crate::report::{Kind, Report};

/// Which hosts, and how.
#[derive(Args, Debug)]
pub struct Fan {
    /// These hosts, separated by commas; every host unless given
    #[arg(
        long,
        value_name = "HOSTS",
        value_delimiter = ',',
        conflicts_with = "all"
    )]
    hosts: Vec<HostName>,
    /// Every host of the cluster
    #[arg(long)]
    all: bool,
    /// Give a host up after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: Option<u64>,
    /// Hosts at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = fanout::DEFAULT_LIMIT as u64,
        value_parser = clap::value_parser!(u64).range(1..=1024)
    )]
    parallel: u64,
}

impl Fan {
    /// Picks the hosts, in the order of the cluster, each once.
    fn pick(&self, cluster: &Cluster) -> Result<Vec<Host>, Report> {
        for name in &self.hosts {
            cluster.host(name)?;
        }
        let wanted = |host: &&Host| self.hosts.is_empty() || self.hosts.contains(&host.name);
        let hosts: Vec<_> = cluster.hosts.iter().filter(wanted).cloned().collect();
        if hosts.is_empty() {
            let report = Report::text(Kind::Failed, format!("`{}` has no hosts", cluster.name));
            return Err(report.with_hint("add one: `cluster host add NAME ssh://user@host`"));
        }
        Ok(hosts)
    }

    /// Asks `work` of each host, and gives each answer to `hear` in the order of their coming.
    pub async fn each<T, F: Future<Output = Result<T, RemoteError>>>(
        &self,
        cluster: &mut InCluster<'_>,
        work: impl Fn(Remote) -> F,
        hear: impl FnMut(Answer<T>),
    ) -> Result<(), Report> {
        let hosts = self.pick(&cluster.cluster)?;
        let remotes = cluster.remotes(&hosts).await?;
        // each login is told of by what came of it
        let hush = ensure_agent(cluster.keeper, cluster.open)?.hush();
        let fan = FanOut {
            limit: usize::try_from(self.parallel).unwrap_or(fanout::DEFAULT_LIMIT),
            timeout: self.timeout.map(Duration::from_secs),
        };
        let tell = |waiting: bcm_cluster::Waiting| note(&waiting.to_string());
        let together = Together::begin(&cluster.open.fanning);
        fan.each(&remotes, work, tell, hear).await;
        drop((hush, together));
        Ok(())
    }
}

/// Hosts are told of together, until dropped.
struct Together(Arc<AtomicBool>);

impl Together {
    fn begin(fanning: &Arc<AtomicBool>) -> Self {
        fanning.store(true, Ordering::Relaxed);
        Self(fanning.clone())
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What came of all hosts together.
#[derive(Debug, Default)]
pub struct Tally {
    asked: usize,
    failed: Vec<HostName>,
    unverified: bool,
}

impl Tally {
    /// Counts a host that did what it was asked to.
    pub fn good(&mut self) {
        self.asked += 1;
    }

    /// Counts a host that did it and failed.
    pub fn bad(&mut self, host: &HostName) {
        self.asked += 1;
        self.failed.push(host.clone());
    }

    /// Counts a host that could not be asked.
    pub fn error(&mut self, host: &HostName, error: &RemoteError) {
        self.bad(host);
        self.unverified |= matches!(
            error,
            RemoteError::HostKey { .. } | RemoteError::Digest { .. }
        );
    }

    /// Fails unless every host did what it was asked to.
    pub fn conclude(mut self) -> Result<(), Report> {
        if self.failed.is_empty() {
            return Ok(());
        }
        self.failed.sort();
        let names: Vec<_> = self.failed.iter().map(HostName::as_str).collect();
        let kind = match self.unverified {
            true => Kind::Verification,
            false => Kind::Failed,
        };
        Err(Report::text(
            kind,
            format!(
                "{} of {} hosts failed: {}",
                names.len(),
                self.asked,
                names.join(", ")
            ),
        ))
    }
}
