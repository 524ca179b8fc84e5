//! The keys that a host offers, asked with the system's `ssh-keyscan`.

use std::process::Stdio;
use std::time::Duration;

use bcm_keystore::Hint;
use ssh_key::known_hosts::Entry;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::client::{ClientSettings, FIXED_OPTIONS, option_path, proxy_command};
use crate::connection::ConnectionError;
use crate::host::{DEFAULT_PORT, Destination};
use crate::host_key::HostKey;

/// Most bytes that are read of what the scan prints; four RSA keys take three thousand.
const MAX_OUTPUT: u64 = 64 * 1024;

/// Most keys that are taken from one host.
const MAX_KEYS: usize = 16;

/// Why a host's keys are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// A program of OpenSSH does not start.
    #[error("cannot run `{program}`")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The host is an onion service to which there is no way, or `ssh` cannot be set up for it.
    #[error(transparent)]
    Onion(#[from] ConnectionError),
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
            Self::Start { .. } => "install OpenSSH: `apt install openssh-client`".into(),
            Self::Timeout { .. } | Self::Silent { .. } => {
                "check the name, the port, and whether the host runs an SSH server".into()
            }
        })
    }
}

/// Asks the host of `destination` for its keys, for at most `patience`.
///
/// The answer proves nothing: whoever stands in between can answer too. It is for a person, or a
/// fingerprint, to decide: [`crate::KnownHosts::pin`]. An onion service, which `ssh-keyscan` cannot
/// reach, tells only the best of its keys.
///
/// # Errors
///
/// Any [`ScanError`].
pub async fn scan(
    destination: &Destination,
    patience: Duration,
    settings: &ClientSettings,
) -> Result<Vec<HostKey>, ScanError> {
    if let Some(proxy) = proxy_command(destination, settings.onion.as_ref())? {
        return through_tor(destination, &proxy, patience, settings).await;
    }
    let mut command = Command::new("ssh-keyscan");
    command
        .args(["-T", &patience.as_secs().max(1).to_string()])
        .args(["-p", &destination.port().to_string()])
        .args(["-t", "ed25519,ecdsa,rsa", "--", destination.host()]);
    let (keys, complaint) = run(command, destination, patience, settings).await?;
    found(parse(&keys), &complaint, destination)
}

/// Lets `ssh` write down the key of a host, and go no further.
async fn through_tor(
    destination: &Destination,
    proxy: &str,
    patience: Duration,
    settings: &ClientSettings,
) -> Result<Vec<HostKey>, ScanError> {
    let parent = &settings.folder;
    let folder = tempfile::Builder::new().prefix("s-").tempdir_in(parent);
    let folder = folder.map_err(|source| ConnectionError::Files {
        folder: parent.clone(),
        source,
    })?;
    let file = folder.path().join("offered");
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/null", "-N"]);
    // before the fixed ones: the first counts
    for option in [
        &*format!("ProxyCommand={proxy}"),
        &format!("UserKnownHostsFile={}", option_path(&file)?),
        "StrictHostKeyChecking=accept-new",
        "HashKnownHosts=no",
        HOST_KEY_ALGORITHMS,
        "PreferredAuthentications=none",
        "PubkeyAuthentication=no",
        "ControlMaster=no",
        "ControlPath=none",
    ] {
        command.args(["-o", option]);
    }
    for option in FIXED_OPTIONS {
        command.args(["-o", option]);
    }
    if destination.port() != DEFAULT_PORT {
        command.args(["-p", &destination.port().to_string()]);
    }
    command.args(["-l", destination.user(), "--", destination.host()]);
    let (_, complaint) = run(command, destination, patience, settings).await?;
    let offered = tokio::fs::read(&file).await.unwrap_or_default();
    found(
        parse(&String::from_utf8_lossy(&offered)),
        &complaint,
        destination,
    )
}

/// What bcm accepts from a host, best first.
const HOST_KEY_ALGORITHMS: &str = "HostKeyAlgorithms=ssh-ed25519,ecdsa-sha2-nistp256,\
                                   ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,\
                                   rsa-sha2-256";

/// Runs a program to its end and returns what it printed on stdout and stderr.
async fn run(
    mut command: Command,
    destination: &Destination,
    patience: Duration,
    settings: &ClientSettings,
) -> Result<(String, String), ScanError> {
    settings.env.apply(&mut command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let program = command.as_std().get_program();
    let program = program.to_string_lossy().into_owned();
    let mut child = command
        .spawn()
        .map_err(|source| ScanError::Start { program, source })?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let output = tokio::time::timeout(patience, async { tokio::join!(text(stdout), text(stderr)) });
    output.await.map_err(|_| ScanError::Timeout {
        host: destination.to_string(),
        after: patience,
    })
}

fn found(
    keys: Vec<HostKey>,
    complaint: &str,
    destination: &Destination,
) -> Result<Vec<HostKey>, ScanError> {
    if keys.is_empty() {
        let reason = last_line(complaint);
        let host = destination.to_string();
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
