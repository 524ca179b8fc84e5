//! Why the certs of a wallet are not found or not changed.

use crate::hint::Hint;
use crate::pgp::PgpError;
use crate::store::StoreError;

/// Why the cert store of a wallet does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PgpStoreError {
    /// The file is not to be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cert cannot be changed.
    #[error(transparent)]
    Pgp(#[from] PgpError),
    /// There is a cert with these keys already.
    #[error("there is a certificate of `{user_id}` on this curve already: {fingerprint}")]
    Duplicate {
        /// Its first user ID.
        user_id: String,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// No cert goes by that name.
    #[error("no certificate `{name}`")]
    NotFound {
        /// What was looked for.
        name: String,
        /// The user ID that is spelled most alike.
        nearest: Option<String>,
    },
    /// Several certs go by that name.
    #[error("`{name}` names {} certificates: {}", matches.len(), matches.join(", "))]
    Ambiguous {
        /// What was looked for.
        name: String,
        /// Their fingerprints.
        matches: Vec<String>,
    },
    /// The cert is somebody else's where one of this wallet is needed.
    #[error("the certificate `{0}` is not of this wallet")]
    NotOwn(String),
    /// The cert is of this wallet where somebody else's is meant.
    #[error("the certificate `{0}` is of this wallet, and trusted as such")]
    Own(String),
    /// The wallet has no cert yet.
    #[error("this wallet has no OpenPGP certificate")]
    NoCert,
    /// The wallet has several certs and none is the default.
    #[error("this wallet has {} certificates and none is the default: {}", .0.len(), .0.join(", "))]
    NoDefault(Vec<String>),
    /// The fingerprint that the person compared is another.
    #[error("the certificate `{name}` has the fingerprint {found}, not {given}")]
    OtherFingerprint {
        /// What was looked for.
        name: String,
        /// Of the cert.
        found: String,
        /// That was given.
        given: String,
    },
    /// There are secret keys in the file.
    #[error("the file holds the secret keys of {0}; bcm takes public certificates")]
    Secret(String),
    /// Longer than anybody needs.
    #[error("the certificate {fingerprint} has {length} bytes, {limit} at most")]
    TooLarge {
        /// Its fingerprint.
        fingerprint: String,
        /// Its length.
        length: usize,
        /// What bcm takes.
        limit: usize,
    },
    /// A revocation certificate that fits no cert here.
    #[error("the revocation certificate by {0} fits no certificate here")]
    Revocation(String),
}

impl Hint for PgpStoreError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Store(error) => return error.hint(),
            Self::Pgp(error) => return error.hint(),
            Self::Duplicate { .. } => "show it with `pgp show`, forget it with `pgp remove`".into(),
            Self::NotFound {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::NotFound { .. } => {
                "list the certificates with `pgp list`, add one with `pgp import FILE`".into()
            }
            Self::Ambiguous { .. } => "use the fingerprint".into(),
            Self::NotOwn(_) => "list the certificates with `pgp list`".into(),
            Self::NoCert => "make one with `pgp init --user-id \"Name <mail>\"`".into(),
            Self::NoDefault(_) => "choose one with `pgp use CERT`".into(),
            Self::OtherFingerprint { .. } => {
                "do not trust it: get the certificate again from its owner".into()
            }
            Self::Secret(_) => "export the public part: `gpg --export --armor KEY`".into(),
            Self::TooLarge { .. } => {
                "leave out what others wrote: `gpg --export --export-options export-minimal KEY`"
                    .into()
            }
            Self::Revocation(_) => "import the certificate that it revokes first".into(),
            Self::Own(_) => return None,
        })
    }
}
