//! The engines of a cluster's hosts, and a manager among them.

use bcm_cluster::docker::{Membership, Node, node, swarm};
use bcm_cluster::{Engine, EngineError, HostName, Remote};
use futures::future::join_all;

use super::reach::InCluster;
use crate::commands::ssh::ensure_agent;
use crate::report::{Kind, Report};

impl InCluster<'_> {
    /// Returns the ways to all hosts.
    pub async fn all(&mut self) -> Result<Vec<Remote>, Report> {
        let hosts = self.cluster.hosts.clone();
        if hosts.is_empty() {
            let what = format!("`{}` has no hosts", self.cluster.name);
            return Err(Report::text(Kind::Failed, what)
                .with_hint("add one: `cluster host add NAME ssh://user@host`"));
        }
        self.remotes(&hosts).await
    }

    /// Connects to the engine of one host.
    pub async fn engine(&mut self, name: &HostName) -> Result<Engine, Report> {
        let remote = self.remote(name).await?;
        let hush = ensure_agent(self.keeper, self.open)?.hush();
        let engine = Engine::connect(&remote).await;
        drop(hush);
        Ok(engine?)
    }

    /// Connects to the engines of all hosts at once; returns those that answer, and why others do not.
    pub async fn engines(&mut self) -> Result<(Vec<Engine>, Vec<EngineError>), Report> {
        let remotes = self.all().await?;
        let hush = ensure_agent(self.keeper, self.open)?.hush();
        let asked = join_all(remotes.iter().map(Engine::connect)).await;
        drop(hush);
        let mut engines = Vec::new();
        let mut errors = Vec::new();
        for engine in asked {
            match engine {
                Ok(engine) => engines.push(engine),
                Err(error) => errors.push(error),
            }
        }
        Ok((engines, errors))
    }

    /// Connects to all engines and finds one that manages this cluster's swarm and has a majority.
    pub async fn manager(&mut self) -> Result<Engine, Report> {
        let (engines, errors) = self.engines().await?;
        let id = self.cluster.id.to_string();
        let asked = engines.iter().map(async |engine| {
            let membership = swarm::membership(engine).await.ok()?;
            let ours = matches!(
                &membership,
                Membership::Member { manager: true, cluster: Some(cluster), .. } if *cluster == id
            );
            // a manager without a majority answers no question of the swarm
            (ours && node::list(engine).await.is_ok()).then(|| engine.clone())
        });
        let found = join_all(asked).await.into_iter().flatten().next();
        if let Some(manager) = found {
            return Ok(manager);
        }
        let report = Report::text(
            Kind::Failed,
            format!("no manager of `{}` answers", self.cluster.name),
        );
        let report = errors
            .iter()
            .fold(report, |report, error| report.with_note(error.to_string()));
        Err(report.with_hint(
            "`cluster status` shows the hosts; `cluster swarm init HOST` begins a swarm",
        ))
    }

    /// Finds the node that a host is.
    pub async fn node(&self, manager: &Engine, name: &HostName) -> Result<Node, Report> {
        let nodes = node::list(manager).await?;
        let known = |node: &Node| node.host.as_deref() == Some(name.as_str());
        // one that was away may have left an older node behind
        let found = nodes.iter().filter(|node| known(node));
        let found = found.max_by_key(|node| node.ready).cloned();
        found.ok_or_else(|| {
            Report::text(Kind::Failed, format!("`{name}` is not in the swarm"))
                .with_hint(format!("bring it in: `cluster swarm join {name}`"))
        })
    }
}
