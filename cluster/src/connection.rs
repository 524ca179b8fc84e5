//! The system's `ssh`, with a configuration of ours and nothing of the user's.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bcm_keystore::Hint;
use tokio::process::Command;

use crate::client::{Client, ClientSettings, Ending, LoginKey};
use crate::command::RemoteCommand;
use crate::host::OnionError;
use crate::host_key::{HostKeyError, PinnedHost};
use crate::master::Master;
use crate::remote::{Remote, RemoteError};
use crate::scan::scan;

/// What `ssh` returns when it failed itself; a remote command may return it as well.
const SSH_FAILED: i32 = 255;

/// How long a host is asked for its keys after a connection failed.
const SCAN_PATIENCE: Duration = Duration::from_secs(5);

/// A login to a host whose key was accepted, with keys of an agent.
///
/// `ssh` reads neither the user's nor the system's configuration and known hosts, offers no other
/// keys, asks for no password, forwards nothing, and goes on only if the host proves the pinned key.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    command: Option<RemoteCommand>,
    /// Keeps the connection to the server that this one goes through.
    jump: Option<Arc<Master>>,
}

impl Connection {
    /// Prepares a login to `host` with `keys`, which the agent holds.
    ///
    /// They are offered in this order, and the first that the host knows is used. Small files (the
    /// accepted host key, the public keys) are kept in a private folder beside the agent's socket
    /// for as long as the connection is.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Files`], [`ConnectionError::Path`] or [`ConnectionError::Onion`].
    pub fn new(
        host: PinnedHost,
        keys: &[LoginKey],
        settings: &ClientSettings,
    ) -> Result<Self, ConnectionError> {
        Ok(Self {
            client: Client::new(host, keys, settings)?,
            command: None,
            jump: None,
        })
    }

    /// Goes the way that commands of `remote` go: through the server that the host is on, if it is.
    ///
    /// # Errors
    ///
    /// Any [`RemoteError`].
    pub async fn through(mut self, remote: &Remote) -> Result<Self, RemoteError> {
        self.jump = remote.jump().await?;
        if let Some(jump) = &self.jump {
            self.client.through(jump.control())?;
        }
        Ok(self)
    }

    /// Runs this command instead of a login shell.
    #[must_use]
    pub fn with_command(mut self, command: RemoteCommand) -> Self {
        self.command = Some(command);
        self
    }

    /// Runs `ssh` on the terminal of this process and returns how what ran on the host ended.
    ///
    /// What `ssh` itself has to say goes into a file, of which the error tells. When it fails, the
    /// host is asked for its keys once more: a changed key is [`HostKeyError::Changed`]. Dropping the
    /// future ends `ssh`.
    ///
    /// # Errors
    ///
    /// Any [`ConnectionError`]; [`ConnectionError::Refused`] and [`ConnectionError::Failed`] before the
    /// login, [`ConnectionError::Cut`] and [`ConnectionError::Interrupted`] also after it.
    pub async fn run(&self) -> Result<ExitStatus, ConnectionError> {
        let log = self.client.folder().join("log");
        let mut command = self.command()?;
        command.arg("-E").arg(&log);
        self.address(&mut command);
        let status = command.status().await.map_err(ConnectionError::Start)?;
        if status.code() != Some(SSH_FAILED) {
            return Ok(status);
        }
        // a host that does not answer now tells nothing about its key
        let host = self.client.host();
        if self.jump.is_none()
            && let Ok(offered) =
                scan(host.destination(), SCAN_PATIENCE, self.client.settings()).await
        {
            host.verify(&offered)?;
        }
        let said = std::fs::read(&log).unwrap_or_default();
        let login = host.destination().to_string();
        match Ending::read(&String::from_utf8_lossy(&said)) {
            Ending::Command => Ok(status),
            Ending::Interrupted => Err(ConnectionError::Interrupted),
            Ending::Refused => Err(ConnectionError::Refused(login)),
            Ending::Failed(reason) => Err(ConnectionError::Failed { login, reason }),
            Ending::Cut(reason) => Err(ConnectionError::Cut { login, reason }),
        }
    }

    fn command(&self) -> Result<Command, ConnectionError> {
        let mut command = self.client.command()?;
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        Ok(command)
    }

    /// Adds who, where and what.
    fn address(&self, command: &mut Command) {
        self.client.address(command);
        command.args(self.command.iter().map(RemoteCommand::line));
    }
}

/// What holds for a login by hand, beside [`crate::client::FIXED_OPTIONS`].
const OPTIONS: [&str; 4] = [
    "ControlMaster=no",
    "ControlPath=none",
    // a host that is gone is noticed
    "ConnectTimeout=30",
    "ServerAliveInterval=30",
];

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
    /// The host let none of the keys in.
    #[error("`{0}` refused the login: permission denied")]
    Refused(String),
    /// There was no login.
    #[error("cannot log in to `{login}`: {reason}")]
    Failed {
        /// Who, where.
        login: String,
        /// What `ssh` said.
        reason: String,
    },
    /// The connection ended before what ran on the host did.
    #[error("the connection to `{login}` was cut: {reason}")]
    Cut {
        /// Who, where.
        login: String,
        /// What `ssh` said.
        reason: String,
    },
    /// The person ended it.
    #[error("cancelled")]
    Interrupted,
}

impl Hint for ConnectionError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Start(_) => Some("install OpenSSH: `apt install openssh-client`".into()),
            Self::Files { .. } => Some("check who owns it and whether the disk is full".into()),
            Self::Path(_) => Some("use a folder without quotes, `\\` and `$` in its path".into()),
            Self::Onion(error) => error.hint(),
            Self::HostKey(error) => error.hint(),
            Self::Refused(login) => Some(format!(
                "put a key of `ssh list` for `{login}` into the host's authorized_keys"
            )),
            Self::Failed { .. } => Some("check the address, and that sshd runs there".into()),
            Self::Cut { .. } | Self::Interrupted => None,
        }
    }
}

#[cfg(test)]
mod tests;
