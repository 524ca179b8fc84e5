//! The engines that a command is about: of hosts of the cluster, or the one of this machine.

use std::path::PathBuf;

use bcm_cluster::docker::engine::SOCKET;
use bcm_cluster::{Engine, HostName};

use crate::app::App;
use crate::commands::cluster::with_cluster;
use crate::report::Report;

/// How the engine of this machine is called.
const HERE: &str = "this machine";

/// Which engines.
#[derive(Clone, Debug, clap::Args)]
pub struct On {
    /// The engines of these hosts of the cluster, separated by commas [default: this machine's]
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    pub hosts: Vec<HostName>,
    /// The socket of this machine's engine [default: /run/docker.sock]
    #[arg(long, value_name = "PATH", conflicts_with = "hosts")]
    pub socket: Option<PathBuf>,
}

/// Runs `work` with the engines, all of which answered.
pub fn with<T>(
    app: &mut App,
    on: &On,
    work: impl AsyncFnOnce(Vec<Engine>) -> Result<T, Report>,
) -> Result<T, Report> {
    if on.hosts.is_empty() {
        let socket = on.socket.clone().unwrap_or_else(|| SOCKET.into());
        let keeper = app.keeper.clone();
        return app.runtime().block_on(keeper.with_open(async |_| {
            let engine = Engine::at(HERE, &socket).await?;
            work(vec![engine]).await
        }));
    }
    with_cluster(app, async |cluster| {
        let mut hosts = Vec::new();
        for name in &on.hosts {
            hosts.push(cluster.cluster.host(name)?.clone());
        }
        let mut engines = Vec::new();
        for remote in cluster.remotes(&hosts).await? {
            engines.push(Engine::connect(&remote).await?);
        }
        work(engines).await
    })
}
