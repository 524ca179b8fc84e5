//! Why something with OpenPGP did not work.

use std::io;
use std::time::SystemTime;

use sequoia_openpgp as openpgp;

use super::user_id::UserIdError;
use crate::device::DeviceError;
use crate::hint::Hint;
use crate::identity::Curve;

/// Why a cert, a signature or a message cannot be made or is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PgpError {
    /// The device did not answer the request.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A text is no user ID.
    #[error(transparent)]
    UserId(#[from] UserIdError),
    /// OpenPGP keys of bcm are not on this curve.
    #[error("there are no OpenPGP keys on curve {0}")]
    Curve(Curve),
    /// The answer is not what the request asks for.
    #[error("the device's answer cannot be right: {0}")]
    Answer(String),
    /// The device used another key than the one in the cert; nothing was handed out.
    #[error("the device holds another key than the certificate of `{0}`")]
    KeyChanged(String),
    /// The signature does not verify under the key: it was thrown away.
    #[error("the device's signature with the key of `{0}` does not verify")]
    DeviceSignature(String),
    /// The input cannot be read to its end.
    #[error("cannot read the input")]
    Read(#[source] io::Error),
    /// The output cannot be written.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
    /// A time that OpenPGP cannot write: before 1970 or after 2106.
    #[error("OpenPGP has no time {}", time(*.0))]
    Time(SystemTime),
    /// The cert has that user ID.
    #[error("the user ID `{0}` is in the certificate already")]
    UserIdThere(String),
    /// The end of a cert is not in the future.
    #[error("a certificate cannot expire on {}, which is past", time(*.0))]
    Past(SystemTime),
    /// The library refused; a case that bcm does not expect.
    #[error("OpenPGP: {0}")]
    Library(String),

    /// It is no OpenPGP, or not what is expected there.
    #[error("this is no OpenPGP data that can be used: {0}")]
    Malformed(String),
    /// It ends too early.
    #[error("the OpenPGP data is cut off")]
    Truncated,
    /// There is no signature in it.
    #[error("there is no signature in it")]
    NotSigned,
    /// There is text before or after the signed part.
    #[error("there is text outside of the signed part, which nobody has signed")]
    Surrounded,
    /// It is encrypted where something signed is expected.
    #[error("the message is encrypted")]
    Encrypted,
    /// It is not encrypted where something encrypted is expected.
    #[error("the message is not encrypted")]
    NotEncrypted,
    /// The signature does not belong to the data, or to the key that it names.
    #[error("BAD signature by {signer}: {reason}")]
    BadSignature {
        /// User ID or key.
        signer: String,
        /// What is wrong.
        reason: String,
    },
    /// Nobody has imported the signer's cert.
    #[error("signed by {issuer}, whose certificate is not known: the signature cannot be checked")]
    UnknownSigner {
        /// Fingerprint or key ID in the signature.
        issuer: String,
    },
    /// The cert has expired.
    #[error("the certificate of `{user_id}` ({fingerprint}) expired on {}", time(*at))]
    Expired {
        /// Its user ID.
        user_id: String,
        /// Its fingerprint.
        fingerprint: String,
        /// When.
        at: SystemTime,
    },
    /// The cert is revoked.
    #[error(
        "the certificate of `{user_id}` ({fingerprint}) is revoked{}",
        because(reason)
    )]
    Revoked {
        /// Its user ID.
        user_id: String,
        /// Its fingerprint.
        fingerprint: String,
        /// Why, as its owner wrote.
        reason: String,
    },
    /// The cert is not one to rely on: weak algorithms, no valid self-signature, no signing key.
    #[error("the certificate of `{user_id}` ({fingerprint}) cannot be relied on: {reason}")]
    Unusable {
        /// Its user ID.
        user_id: String,
        /// Its fingerprint.
        fingerprint: String,
        /// Why.
        reason: String,
    },
    /// The message was changed on its way.
    #[error("the message was tampered with: its integrity check fails")]
    Manipulated,
    /// The message was encrypted without an integrity check.
    #[error("the message has no integrity protection, so that anybody could have changed it")]
    NoIntegrity,

    /// The cert has no key to encrypt to.
    #[error("the certificate of `{user_id}` ({fingerprint}) has no key to encrypt to")]
    CannotEncrypt {
        /// Its user ID.
        user_id: String,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// There is nobody to encrypt to.
    #[error("there is no recipient")]
    NoRecipient,
    /// The message is for others.
    #[error("the message is not for a key of this wallet, but for {}", list(.0))]
    NotForUs(Vec<String>),
    /// The device made a key from the message that does not open it.
    #[error("the key of this wallet does not open the message")]
    NotOpened,
}

impl PgpError {
    /// Tells whether something signed or encrypted turned out not to be what it should.
    pub fn is_verification(&self) -> bool {
        matches!(
            self,
            Self::KeyChanged(_)
                | Self::DeviceSignature(_)
                | Self::Malformed(_)
                | Self::Truncated
                | Self::NotSigned
                | Self::Surrounded
                | Self::Encrypted
                | Self::NotEncrypted
                | Self::BadSignature { .. }
                | Self::UnknownSigner { .. }
                | Self::Expired { .. }
                | Self::Revoked { .. }
                | Self::Unusable { .. }
                | Self::Manipulated
                | Self::NoIntegrity
                | Self::NotOpened
        )
    }

    /// Reads what the library says; our own errors come back out of it as they went in.
    pub(super) fn of(error: openpgp::anyhow::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(ours) => return ours,
            Err(error) => error,
        };
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Self::of_io(error);
        }
        if let Some(known) = error.downcast_ref::<openpgp::Error>() {
            match known {
                openpgp::Error::ManipulatedMessage => return Self::Manipulated,
                openpgp::Error::PolicyViolation(what, _)
                    if what.starts_with("Symmetrically Encrypted Data Packet") =>
                {
                    return Self::NoIntegrity;
                }
                _ => {}
            }
        }
        Self::Malformed(plain(&error))
    }

    /// As [`PgpError::of`], for what went through a reader.
    pub(super) fn of_io(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Truncated;
        }
        let text = error.to_string();
        let manipulated = openpgp::Error::ManipulatedMessage.to_string();
        if text.contains(&manipulated) {
            return Self::Manipulated;
        }
        Self::Malformed(text.to_lowercase())
    }

    /// For what the library refuses although nothing foreign is in it.
    pub(super) fn library(error: openpgp::anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => match error.downcast::<io::Error>() {
                Ok(error) => Self::Write(error),
                Err(error) => Self::Library(plain(&error)),
            },
        }
    }
}

/// Writes an error of the library as the rest of bcm writes its own.
pub(super) fn plain(error: &openpgp::anyhow::Error) -> String {
    let text = error.root_cause().to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

fn list(keys: &[String]) -> String {
    if keys.is_empty() {
        "nobody who is named".into()
    } else {
        keys.join(", ")
    }
}

/// Writes a time as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) does, in UTC.
pub(super) fn time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "unknown".into(), |time| time.to_string())
}

impl Hint for PgpError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Device(error) => return error.hint(),
            Self::UserId(error) => return error.hint(),
            Self::Curve(_) => "use `--curve ed25519` or `--curve nist256p1`".into(),
            Self::KeyChanged(_) => {
                "this is not the wallet that made the certificate; lock, and unlock the right one"
                    .into()
            }
            Self::Answer(_) | Self::DeviceSignature(_) => {
                "nothing was handed out; check the device and its firmware".into()
            }
            Self::Truncated => "get the whole of it again".into(),
            Self::BadSignature { .. } | Self::Manipulated => {
                "do not use it; get it again from whoever made it".into()
            }
            Self::UnknownSigner { .. } => {
                "get the signer's certificate, then run `pgp import FILE`".into()
            }
            Self::Expired { .. } => {
                "ask its owner for the extended one and run `pgp import FILE`; your own: `pgp \
                 expire CERT 2y`"
                    .into()
            }
            Self::Revoked { .. } | Self::Unusable { .. } | Self::CannotEncrypt { .. } => {
                "ask its owner for another certificate".into()
            }
            Self::Surrounded => {
                "what is signed lies between the lines that begin with `-----`; remove the rest"
                    .into()
            }
            Self::Encrypted => "decrypt it with `file decrypt`".into(),
            Self::NoIntegrity => "ask the sender to encrypt it with a current program".into(),
            Self::NoRecipient => "name one with `-r RECIPIENT`".into(),
            Self::NotForUs(_) => {
                "unlock the wallet that it was encrypted to, or make its certificate again with \
                 `pgp init`"
                    .into()
            }
            _ => return None,
        })
    }
}
