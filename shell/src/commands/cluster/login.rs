//! `cluster ssh`: a shell on one host, on this terminal.

use bcm_cluster::{Connection, ConnectionError, HostKeyError, HostName, HostTarget, RemoteCommand};
use tokio::process::Command;

use super::reach::with_cluster;
use crate::app::App;
use crate::commands::ssh::{ensure_agent, exit_code, run_child};
use crate::report::Report;

/// Logs in and returns the exit code of what ran there.
pub fn run(app: &mut App, name: &HostName, command: &[String]) -> Result<u8, Report> {
    with_cluster(app, async |cluster| {
        let host = cluster.cluster.host(name)?.clone();
        let remote_command = match command {
            [] => None,
            words => Some(RemoteCommand::new(words)?),
        };
        let Some(target) = host.target.ssh() else {
            let (program, arguments) = match command {
                [] => ("/bin/sh", &[][..]),
                [program, arguments @ ..] => (program.as_str(), arguments),
            };
            let mut child = Command::new(program);
            child.args(arguments);
            return run_child(cluster.keeper, program, child).await;
        };
        cluster.pty = command.is_empty();
        let remote = cluster.remote(name).await?;
        let settings = cluster.settings()?;
        let keys = cluster.login_keys(target)?;
        let mut connection = Connection::new(target.pinned(), &keys, &settings)?;
        if let HostTarget::Lxd {
            server: Some(_), ..
        } = &host.target
        {
            connection = connection.through(&remote).await?;
        }
        if let Some(command) = remote_command {
            connection = connection.with_command(command);
        }
        let hush = ensure_agent(cluster.keeper, cluster.open)?.hush();
        let ended = {
            let _terminal = cluster.keeper.lend_terminal();
            connection.run().await
        };
        match (ended, hush.failure()) {
            (Ok(status), _) => Ok(exit_code(status)),
            (Err(ConnectionError::HostKey(error)), _) => Err(changed(error, name)),
            (Err(_), Some(failure)) => Err(failure.into()),
            (Err(error), None) => Err(error.into()),
        }
    })
}

fn changed(error: HostKeyError, name: &HostName) -> Report {
    let hint = format!(
        "nothing was sent; if you reinstalled it, read the new key on its own console, then run \
         `cluster host repin {name} --fingerprint SHA256:…`"
    );
    let is_change = matches!(error, HostKeyError::Changed { .. });
    Report::from(error).hinting(is_change.then_some(hint))
}
