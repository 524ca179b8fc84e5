//! Commands on this machine, with the interface of those on another.

use std::process::Stdio;

use tokio::process::Command;

use super::{Child, RemoteError};
use crate::client::ClientEnv;
use crate::command::RemoteCommand;
use crate::name::HostName;

pub(super) fn spawn(
    host: &HostName,
    env: &ClientEnv,
    command: &RemoteCommand,
) -> Result<Child, RemoteError> {
    let mut shell = Command::new("/bin/sh");
    env.apply(&mut shell);
    shell
        .args(["-c", command.line()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for bcm; what becomes of the command then is as on another host
        .process_group(0);
    let child = shell.spawn().map_err(|source| RemoteError::Start {
        host: host.clone(),
        source,
    })?;
    Ok(Child::local(host.clone(), child))
}
