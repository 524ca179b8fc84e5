//! The system's `ssh`, with a configuration of ours and nothing of the user's.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use bcm_keystore::Hint;
use bcm_keystore::ssh::SshKey;
use tempfile::TempDir;
use tokio::process::Command;

use crate::command::RemoteCommand;
use crate::host::{DEFAULT_PORT, OnionError};
use crate::host_key::{HostKeyError, KnownHosts, PinnedHost};
use crate::scan::scan;

/// What `ssh` returns when it failed itself; a remote command may return it as well.
const SSH_FAILED: i32 = 255;

/// How long a host is asked for its keys after a connection failed.
const SCAN_PATIENCE: Duration = Duration::from_secs(5);

/// The variables that programs of OpenSSH get to see; everything else is cleared.
#[derive(Clone, Debug, Default)]
pub struct ClientEnv(Vec<(OsString, OsString)>);

impl ClientEnv {
    /// The variables that are passed on.
    pub const PASSED: [&'static str; 5] = ["HOME", "LANG", "LC_ALL", "PATH", "TERM"];

    /// Picks them from an environment, such as `std::env::vars_os()`.
    pub fn pick(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let passed = |name: &OsStr| Self::PASSED.iter().any(|passed| name == *passed);
        Self(
            variables
                .into_iter()
                .filter(|(name, _)| passed(name))
                .collect(),
        )
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        command.env_clear();
        command.envs(self.0.iter().map(|(name, value)| (name, value)));
    }
}

/// A login to a host whose key was accepted, with one key of an agent.
///
/// `ssh` reads neither the user's nor the system's configuration and known hosts, offers no other
/// key, asks for no password, forwards nothing, and goes on only if the host proves the pinned key.
#[derive(Debug)]
pub struct Connection {
    host: PinnedHost,
    agent: PathBuf,
    folder: TempDir,
    env: ClientEnv,
    command: Option<RemoteCommand>,
}

impl Connection {
    /// Prepares a login to `host` with `key`, which the agent at the socket `agent` holds.
    ///
    /// Two small files (the accepted host key, the public key) are kept in a private folder beside
    /// the socket for as long as the connection is.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Files`], [`ConnectionError::Path`] or [`ConnectionError::Onion`].
    pub fn new(
        host: PinnedHost,
        key: &SshKey,
        agent: &Path,
        env: ClientEnv,
    ) -> Result<Self, ConnectionError> {
        host.destination().resolvable()?;
        let parent = agent.parent().unwrap_or(Path::new("."));
        let failed = |source| ConnectionError::Files {
            folder: parent.to_owned(),
            source,
        };
        let folder = tempfile::Builder::new()
            .prefix("connect-")
            .tempdir_in(parent)
            .map_err(failed)?;
        option_path(folder.path())?;
        let known = KnownHosts::new(&[host.pin()]).to_string();
        write_new(&folder.path().join("known_hosts"), &known).map_err(failed)?;
        write_new(&folder.path().join("key.pub"), &format!("{key}\n")).map_err(failed)?;
        Ok(Self {
            host,
            agent: agent.to_owned(),
            folder,
            env,
            command: None,
        })
    }

    /// Runs this command instead of a login shell.
    #[must_use]
    pub fn with_command(mut self, command: RemoteCommand) -> Self {
        self.command = Some(command);
        self
    }

    /// Runs `ssh` on the terminal of this process and returns how it ended.
    ///
    /// When `ssh` fails, the host is asked for its keys once more: a changed key is
    /// [`HostKeyError::Changed`] instead of an exit code. Dropping the future ends `ssh`.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Start`] or [`ConnectionError::HostKey`].
    pub async fn run(&self) -> Result<ExitStatus, ConnectionError> {
        let mut command = self.command()?;
        let status = command.status().await.map_err(ConnectionError::Start)?;
        if status.code() == Some(SSH_FAILED) {
            // a host that does not answer now tells nothing about its key
            if let Ok(offered) = scan(self.host.destination(), SCAN_PATIENCE, &self.env).await {
                self.host.verify(&offered)?;
            }
        }
        Ok(status)
    }

    /// Returns the command line, ready to be run with other standard streams.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Path`] when the folder's path cannot be written in an option.
    pub fn command(&self) -> Result<Command, ConnectionError> {
        let destination = self.host.destination();
        let mut command = Command::new("ssh");
        self.env.apply(&mut command);
        command.env("SSH_AUTH_SOCK", &self.agent).kill_on_drop(true);
        // -F: neither ~/.ssh/config nor /etc/ssh/ssh_config is read
        command.args(["-F", "/dev/null"]);
        for option in FIXED_OPTIONS {
            command.args(["-o", option]);
        }
        let path = |name: &str| option_path(&self.folder.path().join(name));
        for (name, value) in [
            ("UserKnownHostsFile", path("known_hosts")?),
            ("IdentityFile", path("key.pub")?),
            ("HostKeyAlgorithms", self.host.key().signature_algorithms()),
        ] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        if destination.port() != DEFAULT_PORT {
            command.args(["-p", &destination.port().to_string()]);
        }
        command.args(["-l", destination.user(), "--", destination.host()]);
        command.args(self.command.iter().map(RemoteCommand::line));
        Ok(command)
    }
}

/// What holds for every connection: `ssh_config(5)`.
const FIXED_OPTIONS: [&str; 28] = [
    // our key, in our agent, and no other way in; the socket comes in the environment, unquoted
    "IdentityAgent=SSH_AUTH_SOCK",
    "IdentitiesOnly=yes",
    "AddKeysToAgent=no",
    "PKCS11Provider=none",
    "PubkeyAuthentication=yes",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "GSSAPIAuthentication=no",
    "HostbasedAuthentication=no",
    "NumberOfPasswordPrompts=0",
    // the pinned key, and no other
    "GlobalKnownHostsFile=/dev/null",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "VerifyHostKeyDNS=no",
    "NoHostAuthenticationForLocalhost=no",
    "CanonicalizeHostname=no",
    // nothing passes but the terminal
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "ControlMaster=no",
    "ControlPath=none",
    "ProxyCommand=none",
    // a host that is gone is noticed
    "ConnectTimeout=30",
    "ServerAliveInterval=30",
];

/// Writes a path as the value of an option: in quotes, with `%` doubled.
fn option_path(path: &Path) -> Result<String, ConnectionError> {
    let text = path.to_str().filter(|text| {
        !text
            .chars()
            .any(|c| c.is_control() || matches!(c, '"' | '\\' | '$'))
    });
    let text = text.ok_or_else(|| ConnectionError::Path(path.to_owned()))?;
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

/// Why there was no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// `ssh` does not start.
    #[error("cannot run `ssh`")]
    Start(#[source] io::Error),
    /// The files for `ssh` cannot be written.
    #[error("cannot write the files for `ssh` in `{}`", folder.display())]
    Files {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder's path holds what `ssh` would not take literally.
    #[error("`ssh` cannot be given the path `{}`", .0.display())]
    Path(PathBuf),
    /// The host is an onion service, whose name `ssh` would ask of a resolver.
    #[error(transparent)]
    Onion(#[from] OnionError),
    /// The host does not have the key that was accepted.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
}

impl Hint for ConnectionError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Start(_) => Some("install OpenSSH: `apt install openssh-client`".into()),
            Self::Files { .. } => Some("check who owns it and whether the disk is full".into()),
            Self::Path(_) => Some("use a folder without quotes, `\\` and `$` in its path".into()),
            Self::Onion(error) => error.hint(),
            Self::HostKey(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests;
