//! Why a release archive is not to be used.

use std::io;

use bcm_keystore::Hint;
use bcm_keystore::pgp::PgpError;

use crate::image::ImageDigest;

/// Why a release archive is not to be used. Nothing was built then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The file failed, not its content.
    #[error("cannot read the release archive")]
    Read(#[source] io::Error),
    /// A line of a list of signers is no fingerprint, or one that stood there before.
    #[error("line {0} of the list of builders is no fingerprint, or is there twice")]
    Signers(usize),
    /// A list of signers cannot give as many signatures as are needed.
    #[error("{needed} builders are needed, the list has {found}")]
    TooFewSigners {
        /// How many are needed.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// A line of the list of digests is none.
    #[error("line {0} of the list of digests is not `SHA256  FILE`")]
    Sums(usize),
    /// A signature is not over this list.
    #[error("BAD signature `{file}`: {reason}")]
    Bad {
        /// Its file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Not enough of the builders signed.
    #[error("{} of {needed} builders attest it{}", good.len(), told(good, rest))]
    TooFew {
        /// How many are needed.
        needed: usize,
        /// Who signed.
        good: Vec<String>,
        /// Why each other signature does not count.
        rest: Vec<String>,
    },
    /// The list does not name the archive.
    #[error("the attested list does not name `{file}`{}", of(version))]
    NotListed {
        /// The archive.
        file: String,
        /// The version that the list is of.
        version: Option<String>,
    },
    /// It is not the archive that the list names.
    #[error("`{file}` has the digest {found}, attested is {expected}")]
    OtherArchive {
        /// The archive.
        file: String,
        /// What the builders attest.
        expected: ImageDigest,
        /// What was read.
        found: ImageDigest,
    },
    /// It has the right digest and cannot be unpacked.
    #[error("the release archive cannot be unpacked: {0}")]
    Archive(String),
    /// A signature or a key cannot be read.
    #[error(transparent)]
    Pgp(#[from] PgpError),
}

fn told(good: &[String], rest: &[String]) -> String {
    let mut told = String::new();
    if !good.is_empty() {
        told = format!(" ({})", good.join(", "));
    }
    if !rest.is_empty() {
        told = format!("{told}; not counted: {}", rest.join("; "));
    }
    told
}

fn of(version: &Option<String>) -> String {
    let version = version.as_ref();
    version.map_or_else(String::new, |version| {
        format!(", it is of version {version}")
    })
}

impl ReleaseError {
    /// Tells whether what was read is not to be trusted, and not that it could not be read.
    pub fn is_verification(&self) -> bool {
        !matches!(
            self,
            Self::Read(_) | Self::Signers(_) | Self::TooFewSigners { .. }
        )
    }
}

impl Hint for ReleaseError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooFew { .. } => {
                "get the keys and the attestations of more builders, and current copies of the keys"
                    .into()
            }
            Self::OtherArchive { .. } | Self::Bad { .. } => {
                "do not use it; get archive, list and signatures anew".into()
            }
            Self::NotListed { .. } => {
                "give the archive under its own name, with the list of its release".into()
            }
            Self::Signers(_) | Self::TooFewSigners { .. } => {
                "write one fingerprint of 40 hex digits on each line".into()
            }
            Self::Pgp(error) => return error.hint(),
            _ => return None,
        })
    }
}
