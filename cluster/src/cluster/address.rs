//! Where a host is, as a person types it.

use std::fmt;
use std::str::FromStr;

use bcm_keystore::Hint;
use bcm_keystore::ssh::SshIdentityError;

use crate::host::Destination;
use crate::name::{InstanceName, NameError};

/// `local`, `ssh://user@host[:port]` or `lxd://[user@host[:port]/]NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// This machine.
    Local,
    /// A machine with an SSH server.
    Ssh(Destination),
    /// A system container or VM on an LXD or Incus server.
    Lxd {
        /// The server; `None` is this machine.
        server: Option<Destination>,
        /// Its name there.
        instance: InstanceName,
    },
}

impl HostAddress {
    /// Tells whether both name one machine, whoever logs in.
    pub(super) fn is_same_machine(&self, other: &Self) -> bool {
        let place = |login: &Destination| (login.host().to_ascii_lowercase(), login.port());
        match (self, other) {
            (Self::Local, Self::Local) => true,
            (Self::Ssh(a), Self::Ssh(b)) => place(a) == place(b),
            (
                Self::Lxd { server, instance },
                Self::Lxd {
                    server: other,
                    instance: name,
                },
            ) => instance == name && server.as_ref().map(place) == other.as_ref().map(place),
            _ => false,
        }
    }
}

/// A text that says of no host where it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It begins with none of the known words.
    #[error("`{0}` is not local, ssh://user@host[:port] or lxd://[user@host/]NAME")]
    Form(String),
    /// The login is none.
    #[error(transparent)]
    Login(#[from] SshIdentityError),
    /// The name of the instance is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Hint for AddressError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Form(_) => Some("for example `ssh://root@10.0.0.5`".into()),
            Self::Login(error) => error.hint(),
            Self::Name(error) => error.hint(),
        }
    }
}

impl FromStr for HostAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text == "local" {
            return Ok(Self::Local);
        }
        if let Some(login) = text.strip_prefix("ssh://") {
            return Ok(Self::Ssh(login.parse()?));
        }
        if let Some(rest) = text.strip_prefix("lxd://") {
            let (server, instance) = match rest.rsplit_once('/') {
                Some((login, instance)) => (Some(login.parse()?), instance),
                None => (None, rest),
            };
            let instance = instance.parse()?;
            return Ok(Self::Lxd { server, instance });
        }
        let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        let shown = text.chars().take(80).map(printable).collect();
        Err(AddressError::Form(shown))
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Ssh(login) => write!(f, "ssh://{login}"),
            Self::Lxd {
                server: Some(login),
                instance,
            } => write!(f, "lxd://{login}/{instance}"),
            Self::Lxd {
                server: None,
                instance,
            } => write!(f, "lxd://{instance}"),
        }
    }
}
