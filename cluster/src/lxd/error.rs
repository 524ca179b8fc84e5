//! Why there is no instance.

use std::io;

use bcm_keystore::Hint;

use crate::name::InstanceName;
use crate::remote::RemoteError;
use crate::unix_http::HttpError;

/// Why an LXD or Incus server did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LxdError {
    /// The host.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// There is no server.
    #[error("`{0}` has neither LXD nor Incus: none of their sockets is there")]
    Missing(String),
    /// The socket is not for this user, or nobody accepts there.
    #[error("LXD or Incus of `{host}` cannot be reached")]
    Down {
        /// The host.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server does not trust us.
    #[error("LXD or Incus of `{0}` does not trust this user")]
    Untrusted(String),
    /// It took too long.
    #[error("LXD or Incus of `{host}` did not answer within {seconds} s")]
    Silent {
        /// The host.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection ended in the middle.
    #[error("LXD or Incus of `{host}` broke off")]
    Broken {
        /// The host.
        host: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What answers is neither.
    #[error("what answers on the socket of `{0}` is neither LXD nor Incus")]
    Stranger(String),
    /// The name is taken.
    #[error("`{host}` has an instance `{instance}` already")]
    Exists {
        /// The host.
        host: String,
        /// Its name.
        instance: String,
    },
    /// There is no way in over SSH.
    #[error("`{instance}` cannot be logged in to: {reason}")]
    NoSsh {
        /// The instance.
        instance: String,
        /// What was said.
        reason: String,
    },
    /// The server refused.
    #[error("LXD or Incus of `{host}` refused to {what}: {message} (status {status})")]
    Api {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// The status of its answer.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It took too long.
    #[error("waited {seconds} s for {what}")]
    Waited {
        /// For what.
        what: String,
        /// How long.
        seconds: u64,
    },
}

impl LxdError {
    pub(super) fn exists(host: &str, instance: &InstanceName) -> Self {
        Self::Exists {
            host: host.to_owned(),
            instance: instance.to_string(),
        }
    }

    pub(super) fn reaching(host: &str, error: HttpError) -> Self {
        let host = host.to_owned();
        match error {
            HttpError::Connect(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::Missing(host)
            }
            HttpError::Connect(source) => Self::Down { host, source },
            HttpError::Silent(limit) => Self::Silent {
                host,
                seconds: limit.as_secs(),
            },
            HttpError::Broken(error) => Self::Broken {
                host,
                source: error.into(),
            },
            HttpError::Body(source) => Self::Broken { host, source },
            HttpError::Request(error) => Self::Broken {
                host,
                source: error.into(),
            },
        }
    }
}

impl Hint for LxdError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Remote(error) => return error.hint(),
            Self::Missing(_) => "install it: `apt install lxd` or `apt install incus`, then `lxd \
                 init`"
                .into(),
            Self::Down { .. } | Self::Untrusted(_) => {
                "log in as root or as a user in the group `lxd` or `incus-admin`".into()
            }
            Self::Silent { host, .. } | Self::Broken { host, .. } => {
                format!("on `{host}`: `systemctl status lxd incus`, then try again")
            }
            Self::Stranger(host) => format!("on `{host}`: find out what serves that socket"),
            Self::Exists { instance, .. } => {
                format!("take another name, or if nobody needs it: `lxc delete --force {instance}`")
            }
            Self::NoSsh { .. } => "take an image with openssh-server in it".into(),
            Self::Api { .. } => return None,
            Self::Waited { .. } => "look at its console: `lxc console NAME --show-log`".into(),
        })
    }
}
