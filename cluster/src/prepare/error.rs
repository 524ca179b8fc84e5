//! Why a host was not prepared.

use bcm_keystore::Hint;
use bcm_keystore::statement::StatementError;

use super::wanted::WantedError;
use crate::remote::RemoteError;

/// Why a host was not prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The host was not reached, or was lost.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// What is wanted makes no sense.
    #[error(transparent)]
    Wanted(#[from] WantedError),
    /// The statement is not one that may be carried out here.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The statement is about another host.
    #[error("the statement is about {found}, expected {expected}")]
    OtherHost {
        /// The host that was reached, with its key.
        expected: String,
        /// The host that it names.
        found: String,
    },
    /// The account may not do what has to be done.
    #[error("the account on the host is not root's and cannot become root")]
    NotRoot,
    /// The host runs what bcm does not know how to prepare.
    #[error("the host runs {found}, expected Debian 12 or Ubuntu 22.04 or later with systemd")]
    Unsupported {
        /// What it runs.
        found: String,
    },
    /// There is no space for the packages.
    #[error("the host has {free} MiB free for packages, expected at least {expected} MiB")]
    Space {
        /// What is free.
        free: u64,
        /// What is needed.
        expected: u64,
    },
    /// Its ssh server does not say where it listens: a firewall could shut it out.
    #[error("the host's sshd does not say on which port it listens")]
    NoSshPort,
    /// A path holds something else than a plain file or folder.
    #[error("`{0}` on the host is not a plain file: it would be replaced")]
    Occupied(String),
    /// The answer to what the host is was not understood.
    #[error("the host does not say what it is: {0}")]
    Unreadable(String),
    /// Somebody else prepares it now.
    #[error("another preparation of the host is running")]
    Busy,
    /// An operation failed; the ones before it are made.
    #[error("operation {number} of {of} failed ({why}): {said}")]
    Failed {
        /// Which.
        number: usize,
        /// Of how many.
        of: usize,
        /// What it was for.
        why: String,
        /// What the host said.
        said: String,
    },
    /// The host was lost while an operation was made, which may have done some or all of its work.
    #[error("the host was lost during operation {number} of {of} ({why})")]
    Lost {
        /// Which.
        number: usize,
        /// Of how many.
        of: usize,
        /// What it was for.
        why: String,
        /// How it was lost.
        #[source]
        source: Box<RemoteError>,
    },
    /// The new way in does not work; the old one is open.
    #[error("the new login does not work: {said}")]
    Login {
        /// What went wrong.
        said: String,
        /// Which operation.
        number: usize,
        /// Of how many.
        of: usize,
        /// What could not be taken back.
        stuck: Option<String>,
    },
    /// Everything was made, and the host is still not as wanted.
    #[error("the host is not as wanted though every operation was made: {0}")]
    Remains(String),
}

impl PrepareError {
    /// Says what was done on the host and what was not.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Failed { number: 1, .. } => Some("nothing was changed on the host".into()),
            Self::Failed { number, of, .. } | Self::Lost { number, of, .. } => Some(format!(
                "{} of {of} operations were made; the next run goes on from there",
                number - 1
            )),
            Self::Login {
                number,
                of,
                stuck: None,
                ..
            } => Some(format!(
                "{} of {of} operations were made; the old login is open as before",
                number - 1
            )),
            Self::Login {
                stuck: Some(stuck), ..
            } => Some(format!(
                "the old login could not be opened again ({stuck}): it is there until this connection ends"
            )),
            Self::Remote(_) | Self::Remains(_) => None,
            _ => Some("nothing was changed on the host".into()),
        }
    }

    /// Tells whether a check of a signature or of a name failed, rather than an act.
    pub fn is_verification(&self) -> bool {
        matches!(self, Self::Statement(_) | Self::OtherHost { .. })
    }
}

impl Hint for PrepareError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Remote(error) => error.hint(),
            Self::Lost { .. } => Some("when it is back, run this again".into()),
            Self::Wanted(error) => error.hint(),
            Self::Statement(error) => error.hint(),
            Self::NotRoot => Some(
                "add the host as `root@…`, or let the account use sudo without a password".into(),
            ),
            Self::Unsupported { .. } => Some("install Debian 12 or later on it".into()),
            Self::Space { .. } => {
                Some("free space in `/var` on the host, then run this again".into())
            }
            Self::NoSshPort => Some("see what `sshd -T` says on the host".into()),
            Self::Occupied(path) => Some(format!("move `{path}` away on the host")),
            Self::Busy => Some("wait for it to end, then run this again".into()),
            Self::Failed { .. } => Some("mend that on the host, then run this again".into()),
            Self::Login { .. } => {
                Some("see the log of ssh on the host: `journalctl -u ssh`".into())
            }
            Self::Remains(_) => Some("run this again, and see what it changes".into()),
            Self::OtherHost { .. } | Self::Unreadable(_) => None,
        }
    }
}
