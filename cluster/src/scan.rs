//! The keys that a host offers, asked with the system's `ssh-keyscan`.

use std::process::Stdio;
use std::time::Duration;

use bcm_keystore::Hint;
use ssh_key::known_hosts::Entry;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::connection::ClientEnv;
use crate::host::{Destination, OnionError};
use crate::host_key::HostKey;

/// Most bytes that are read of what the scan prints; four RSA keys take three thousand.
const MAX_OUTPUT: u64 = 64 * 1024;

/// Most keys that are taken from one host.
const MAX_KEYS: usize = 16;

/// Why a host's keys are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// `ssh-keyscan` does not start.
    #[error("cannot run `ssh-keyscan`")]
    Start(#[source] std::io::Error),
    /// The host is an onion service, whose name `ssh-keyscan` would ask of a resolver.
    #[error(transparent)]
    Onion(#[from] OnionError),
    /// Nothing came back in time.
    #[error("`{host}` did not answer within {} s", after.as_secs())]
    Timeout {
        /// The login.
        host: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The host is not there, or speaks no SSH.
    #[error("`{host}` offers no host key{}", reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
    Silent {
        /// The login.
        host: String,
        /// What `ssh-keyscan` said, printable.
        reason: Option<String>,
    },
}

impl Hint for ScanError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Onion(error) => return error.hint(),
            Self::Start(_) => "install OpenSSH: `apt install openssh-client`".into(),
            Self::Timeout { .. } | Self::Silent { .. } => {
                "check the name, the port, and whether the host runs an SSH server".into()
            }
        })
    }
}

/// Asks the host of `destination` for its keys, for at most `patience`.
///
/// The answer proves nothing: whoever stands in between can answer too. It is for a person, or a
/// fingerprint, to decide: [`crate::KnownHosts::pin`].
///
/// # Errors
///
/// Any [`ScanError`].
pub async fn scan(
    destination: &Destination,
    patience: Duration,
    env: &ClientEnv,
) -> Result<Vec<HostKey>, ScanError> {
    destination.resolvable()?;
    let mut command = Command::new("ssh-keyscan");
    command
        .args(["-T", &patience.as_secs().max(1).to_string()])
        .args(["-p", &destination.port().to_string()])
        .args(["-t", "ed25519,ecdsa,rsa", "--", destination.host()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    env.apply(&mut command);
    let mut child = command.spawn().map_err(ScanError::Start)?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let output = tokio::time::timeout(patience, async { tokio::join!(text(stdout), text(stderr)) });
    let host = destination.to_string();
    let (keys, complaint) = output.await.map_err(|_| ScanError::Timeout {
        host: host.clone(),
        after: patience,
    })?;
    let keys = parse(&keys);
    if keys.is_empty() {
        let reason = last_line(&complaint);
        return Err(ScanError::Silent { host, reason });
    }
    Ok(keys)
}

async fn text(stream: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // what was read before an error counts as the output
    let _ = stream.take(MAX_OUTPUT).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the lines `host algorithm key`; the host column is what was asked for, and not looked at.
fn parse(output: &str) -> Vec<HostKey> {
    let mut keys = Vec::new();
    for line in output.lines().filter(|line| !line.starts_with('#')) {
        let entry = line.parse::<Entry>().ok();
        let Some(key) = entry.and_then(|entry| HostKey::new(entry.public_key())) else {
            continue;
        };
        if keys.len() < MAX_KEYS && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Returns the last line that is no comment, printable and cut.
fn last_line(complaint: &str) -> Option<String> {
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    let mut lines = complaint.lines().rev();
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    Some(line.chars().take(160).map(printable).collect())
}

#[cfg(test)]
mod tests;
