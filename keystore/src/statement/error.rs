//! Why a statement is not made, or not obeyed.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::approval::ApprovalKey;
use super::digest::Sha256Digest;
use super::head::write_time;
use super::kind::StatementKind;
use crate::chain::Chain;
use crate::device::DeviceError;
use crate::hint::Hint;
use crate::pgp::PgpError;
use crate::store::StoreError;

/// Why a statement is not made, or not obeyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// What is to be stated does not fit a statement.
    #[error("this cannot be put into a statement: {0}")]
    Unmakeable(String),
    /// The device did not approve or sign.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The OpenPGP signature was not made.
    #[error(transparent)]
    Signing(PgpError),
    /// The sealed state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The pinned certificate is none.
    #[error("the pinned certificate cannot be read: {0}")]
    Cert(PgpError),
    /// No key that approves this kind is pinned.
    #[error("no key that approves a {0} is pinned")]
    NotPinned(StatementKind),
    /// Other keys are pinned for the cluster already.
    #[error("other keys are pinned for cluster {0}")]
    PinnedOthers(String),
    /// A statement of this kind is checked in its place, and the place is not said.
    #[error("a {0} acts on a cluster: it is checked with its serial")]
    NoPlace(StatementKind),

    /// It is longer than it may be.
    #[error("{length} bytes are too long, {limit} at most")]
    TooLong {
        /// How many bytes there are, or as many as were read.
        length: usize,
        /// How many there may be.
        limit: usize,
    },
    /// It is no statement.
    #[error("this is no statement: {0}")]
    Malformed(String),
    /// It is another spelling of a statement than the one that is signed.
    #[error("the statement is not in canonical form, from byte {0} on")]
    NotCanonical(usize),
    /// It is of another kind.
    #[error("the statement is a {found}, expected a {expected}")]
    Kind {
        /// What is to be done.
        expected: StatementKind,
        /// What it is.
        found: StatementKind,
    },
    /// It is for another cluster.
    #[error("the statement is for cluster {found}, expected {expected}")]
    Cluster {
        /// Id of the cluster that it was brought to.
        expected: String,
        /// Id in the statement.
        found: String,
    },
    /// It is for another chain.
    #[error("the statement is for {}, expected {}", chain(*found), chain(*expected))]
    Chain {
        /// The chain that it was brought to.
        expected: Option<Chain>,
        /// The chain in the statement.
        found: Option<Chain>,
    },
    /// It is one that was used before, or is older.
    #[error("the statement is #{found}, which is past: expected #{expected}")]
    Replayed {
        /// The next serial.
        expected: u64,
        /// The serial in the statement.
        found: u64,
    },
    /// There are others between the last one and this.
    #[error("the statement is #{found}: expected #{expected}, which was not seen")]
    Skipped {
        /// The next serial.
        expected: u64,
        /// The serial in the statement.
        found: u64,
    },
    /// It goes on from another statement than the last one.
    #[error(
        "the statement #{serial} goes on from {}, expected {}",
        before(*found),
        before(*expected)
    )]
    Forked {
        /// Its serial.
        serial: u64,
        /// Digest of the last statement.
        expected: Option<Sha256Digest>,
        /// Digest in the statement.
        found: Option<Sha256Digest>,
    },
    /// It is no longer good.
    #[error("the statement expired at {}, it is {}", time(*at), time(*now))]
    Expired {
        /// When.
        at: SystemTime,
        /// The time of the check.
        now: SystemTime,
    },
    /// It is of the future: one of the two clocks is wrong.
    #[error("the statement was made at {}, it is {}", time(*at), time(*now))]
    Future {
        /// When it says that it was made.
        at: SystemTime,
        /// The time of the check.
        now: SystemTime,
    },
    /// The device's approval is missing.
    #[error("nobody approved the {0} on the device")]
    NotApproved(StatementKind),
    /// There is an approval of what needs none, which no bcm makes.
    #[error("a {0} has no approval, and one came with it")]
    Superfluous(StatementKind),
    /// The approval is not one of this statement.
    #[error("the approval is not good: {0}")]
    Approval(String),
    /// The approval is by another key: another device, passphrase or program.
    #[error("the approval is by key {found}, expected {expected}")]
    ApprovalKey {
        /// The pinned key.
        expected: Box<ApprovalKey>,
        /// The key in the approval.
        found: Box<ApprovalKey>,
    },
    /// The OpenPGP signature is not good.
    #[error("the OpenPGP signature of the statement is not good")]
    Signature(#[source] PgpError),
    /// The OpenPGP signature is none that bcm writes.
    #[error("the OpenPGP signature is not as bcm writes it: {0}")]
    SignatureForm(String),
}

impl StatementError {
    /// Tells whether something signed turned out not to be what it should; nothing was done then.
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Unmakeable(_)
            | Self::Device(_)
            | Self::Signing(_)
            | Self::Io { .. }
            | Self::Cert(_)
            | Self::NotPinned(_)
            | Self::NoPlace(_) => false,
            Self::Store(error) => {
                matches!(
                    error,
                    StoreError::Damaged { .. } | StoreError::OtherWallet(_)
                )
            }
            _ => true,
        }
    }
}

impl Hint for StatementError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Device(error) => return error.hint(),
            Self::Signing(error) | Self::Cert(error) | Self::Signature(error) => {
                return error.hint();
            }
            Self::Store(error) => return error.hint(),
            Self::Io { .. } => "check its name, who owns it and whether the disk is full".into(),
            Self::PinnedOthers(_) => {
                "unlock the wallet that the cluster belongs to; nothing was changed".into()
            }
            Self::NotPinned(_) => "pin the keys of this device for the cluster first".into(),
            Self::Kind { .. } | Self::Cluster { .. } | Self::Chain { .. } => {
                "it was brought to the wrong place: look at it with `statement show FILE`".into()
            }
            Self::Replayed { .. } => "make a new plan and approve that one".into(),
            Self::Skipped { .. } => "bring the statements in between first, in their order".into(),
            Self::Forked { .. } => {
                "two programs went on from one statement; find out who signed the other one, then \
                 make a new plan"
                    .into()
            }
            Self::Expired { .. } => "make it again and approve it in time".into(),
            Self::Future { .. } => "compare the clocks: `date -u` here and on the host".into(),
            Self::NotApproved(_) => "it is not to be obeyed: ask who made it".into(),
            Self::ApprovalKey { .. } => {
                "unlock the wallet that the cluster belongs to, and approve it there".into()
            }
            Self::TooLong { .. }
            | Self::Malformed(_)
            | Self::NotCanonical(_)
            | Self::Superfluous(_)
            | Self::Approval(_)
            | Self::SignatureForm(_) => {
                "it was damaged or changed on its way: get it again from whoever made it".into()
            }
            Self::Unmakeable(_) | Self::NoPlace(_) => return None,
        })
    }
}

fn chain(chain: Option<Chain>) -> String {
    chain.map_or_else(|| "no chain".into(), |chain| format!("chain {chain}"))
}

fn before(digest: Option<Sha256Digest>) -> String {
    digest.map_or_else(|| "nothing".into(), |digest| digest.to_string())
}

fn time(time: SystemTime) -> String {
    write_time(time).unwrap_or_else(|_| "an unknown time".into())
}
