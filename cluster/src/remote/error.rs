//! Why a host did not do what it was asked to.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bcm_keystore::Hint;

use crate::connection::ConnectionError;
use crate::connections::LoginKeysError;
use crate::host_key::{HostKeyError, PinnedHost};
use crate::master::{Master, printable};
use crate::name::HostName;

/// Why a host did not do what it was asked to; each names the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The session was locked meanwhile.
    #[error("the session was locked")]
    Locked,
    /// `ssh` cannot be run on this machine.
    #[error(transparent)]
    Client(#[from] ConnectionError),
    /// A program cannot be run on this machine.
    #[error("`{host}`: cannot run a command")]
    Start {
        /// The host: this machine.
        host: HostName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no key for the login.
    #[error("`{host}`: no key for the login")]
    NoKeys {
        /// The host.
        host: HostName,
        /// Why.
        #[source]
        source: LoginKeysError,
    },
    /// Nobody answers, or not in the language of SSH. Nothing was run.
    #[error("`{host}` is unreachable at `{login}`: {reason}")]
    Unreachable {
        /// The host.
        host: HostName,
        /// Who, where.
        login: String,
        /// What `ssh` said, printable.
        reason: String,
    },
    /// The host does not have the accepted key: a hard stop. Nothing was sent.
    #[error("`{host}`: {error}")]
    HostKey {
        /// The host.
        host: HostName,
        /// What it has.
        error: HostKeyError,
    },
    /// The host let none of the keys in, or the device did not sign. Nothing was run.
    #[error(
        "`{host}` refused the login of `{login}`: {}",
        if *unsigned { "it was not signed" } else { "permission denied" }
    )]
    Refused {
        /// The host.
        host: HostName,
        /// Who, where.
        login: String,
        /// The host knows the key, and the device made no signature.
        unsigned: bool,
    },
    /// The connection ended before the command did, which may have done some or all of its work.
    #[error("`{host}`: the connection was cut: {reason}")]
    Cut {
        /// The host.
        host: HostName,
        /// What `ssh` said, printable.
        reason: String,
    },
    /// The host took too long. A command that was leashed was ended there.
    #[error("`{host}` took longer than {} s", after.as_secs())]
    Timeout {
        /// The host.
        host: HostName,
        /// How long it was waited for.
        after: Duration,
    },
    /// The host does not open another session. Nothing was run.
    #[error("`{host}` runs no command: {reason}")]
    Session {
        /// The host.
        host: HostName,
        /// What `ssh` said, printable.
        reason: String,
    },
    /// A socket of the host cannot be reached from here.
    #[error("`{host}`: cannot forward `{}`: {reason}", socket.display())]
    Forward {
        /// The host.
        host: HostName,
        /// The socket on the host.
        socket: PathBuf,
        /// What `ssh` said, printable.
        reason: String,
    },
    /// What was to be sent cannot be read, or is not as long as it was.
    #[error("cannot send a file to `{host}`")]
    Read {
        /// The host.
        host: HostName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The host did not take a file; what was there is there still.
    #[error("`{host}` did not take `{path}`: {reason}")]
    Upload {
        /// The host.
        host: HostName,
        /// Where it was to be.
        path: String,
        /// What the host said, printable.
        reason: String,
    },
    /// Other bytes arrived than were sent; what was there is there still.
    #[error("`{host}` got other bytes for `{path}`: sent sha256 {sent}, it has {arrived}")]
    Digest {
        /// The host.
        host: HostName,
        /// Where it was to be.
        path: String,
        /// What was sent.
        sent: String,
        /// What the host computed, printable.
        arrived: String,
    },
}

impl RemoteError {
    pub(crate) fn unreachable(host: &HostName, at: &PinnedHost, reason: String) -> Self {
        Self::Unreachable {
            host: host.clone(),
            login: at.destination().to_string(),
            reason: printable(&reason),
        }
    }

    pub(crate) fn host_key(host: &HostName, error: HostKeyError) -> Self {
        Self::HostKey {
            host: host.clone(),
            error,
        }
    }

    pub(crate) fn cut(host: &HostName, reason: String) -> Self {
        Self::Cut {
            host: host.clone(),
            reason,
        }
    }

    /// Tells of a command that did not start.
    pub(super) async fn of_session(
        host: &HostName,
        master: &Master,
        error: &openssh::Error,
    ) -> Self {
        if !master.is_alive().await {
            return Self::cut(host, master.last_words());
        }
        Self::Session {
            host: host.clone(),
            reason: printable(&chain(error)),
        }
    }

    /// Returns the host that it is about, `None` where it is this machine's `ssh`.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Locked | Self::Client(_) => None,
            Self::Start { host, .. }
            | Self::NoKeys { host, .. }
            | Self::Unreachable { host, .. }
            | Self::HostKey { host, .. }
            | Self::Refused { host, .. }
            | Self::Cut { host, .. }
            | Self::Timeout { host, .. }
            | Self::Session { host, .. }
            | Self::Forward { host, .. }
            | Self::Read { host, .. }
            | Self::Upload { host, .. }
            | Self::Digest { host, .. } => Some(host),
        }
    }
}

/// Writes an error out with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Hint for RemoteError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Locked => "run `unlock`".into(),
            Self::Client(error) => return error.hint(),
            Self::NoKeys { .. } | Self::Start { .. } | Self::Read { .. } => return None,
            Self::Unreachable { .. } => {
                "check the address, the network, and that sshd runs there".into()
            }
            Self::HostKey {
                host,
                error: HostKeyError::Changed { .. },
            } => format!(
                "nothing was sent; if you reinstalled it, read the new key on its own console, then \
                 run `cluster host repin {host} --fingerprint SHA256:…`"
            ),
            Self::HostKey { error, .. } => return error.hint(),
            Self::Refused { unsigned: true, .. } => "confirm the login on the device".into(),
            Self::Refused { login, .. } => {
                format!("put the line of `ssh show {login}` into the host's authorized_keys")
            }
            Self::Cut { .. } => "look at what the command did before it is run again".into(),
            Self::Timeout { .. } => "give it longer: `--timeout`".into(),
            Self::Session { .. } => {
                "look at MaxSessions and ForceCommand in its sshd_config".into()
            }
            Self::Forward { .. } => "look at AllowStreamLocalForwarding in its sshd_config".into(),
            Self::Upload { .. } => "look at the folder, its owner and its free space there".into(),
            Self::Digest { .. } => "what was there is there still; run it again".into(),
        })
    }
}
