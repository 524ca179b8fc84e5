//! What can come of checking a signature.

use std::time::SystemTime;

use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::{Fingerprint, KeyHandle};

use super::error::PgpError;

/// What a person thinks of the key behind a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is on this device.
    Own,
    /// The person compared its fingerprint and marked it.
    Trusted,
    /// It was imported, and whose it is nobody checked.
    Unmarked,
}

/// What a signature says of itself, checked or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureFacts {
    /// Fingerprint or key ID of the signing key, in hexadecimal.
    pub issuer: Option<String>,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When it ends to be good, if ever.
    pub expires: Option<SystemTime>,
    /// Version of its packet.
    pub version: u8,
    /// Number of its public-key algorithm.
    pub public_key_algorithm: u8,
    /// Number of its hash algorithm.
    pub hash_algorithm: u8,
    /// Its type: 0 over bytes, 1 over text.
    pub class: u8,
}

impl SignatureFacts {
    pub(super) fn of(signature: &Signature) -> Self {
        let issuers = signature.get_issuers();
        Self {
            issuer: issuers.first().map(KeyHandle::to_hex),
            created: signature.signature_creation_time(),
            expires: signature.signature_expiration_time(),
            version: signature.version(),
            public_key_algorithm: signature.pk_algo().into(),
            hash_algorithm: signature.hash_algo().into(),
            class: signature.typ().into(),
        }
    }

    fn issuer(&self) -> String {
        self.issuer
            .clone()
            .unwrap_or_else(|| "an unnamed key".into())
    }
}

/// A signature that belongs to the data and to a known key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoodSignature {
    /// The key that made it.
    pub fingerprint: Fingerprint,
    /// The primary key of its cert: what a person compares.
    pub primary: Fingerprint,
    /// Whose it is; the name that the person marked, where there is a mark.
    pub user_id: String,
    /// When it was made, as the signer says.
    pub created: SystemTime,
    /// What the person thinks of the key.
    pub trust: Trust,
    /// The rest of what it says.
    pub facts: SignatureFacts,
}

/// What came of checking one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Good.
    Good(GoodSignature),
    /// It belongs to the data, and the cert has expired by now.
    Expired {
        /// The signature.
        signature: GoodSignature,
        /// When.
        at: SystemTime,
    },
    /// The cert is revoked by now.
    Revoked {
        /// The signature.
        signature: GoodSignature,
        /// Why, as its owner wrote.
        reason: String,
    },
    /// Nobody has imported the signer's cert.
    Unknown(SignatureFacts),
    /// The cert is not one to rely on.
    Unusable {
        /// What the signature says.
        facts: SignatureFacts,
        /// The signer's user ID.
        user_id: String,
        /// The signer's primary key.
        primary: Fingerprint,
        /// Why.
        reason: String,
    },
    /// It does not belong to the data, or is none.
    Bad {
        /// What the signature says, where it can be read.
        facts: Option<SignatureFacts>,
        /// The user ID of the key that it names.
        user_id: Option<String>,
        /// What is wrong.
        reason: String,
    },
}

impl Verdict {
    /// Returns the signature if it is good.
    ///
    /// # Errors
    ///
    /// The [`PgpError`] of kind verification that says why not.
    pub fn good(self) -> Result<GoodSignature, PgpError> {
        Err(match self {
            Self::Good(signature) => return Ok(signature),
            Self::Expired { signature, at } => PgpError::Expired {
                user_id: signature.user_id,
                fingerprint: signature.primary.to_hex(),
                at,
            },
            Self::Revoked { signature, reason } => PgpError::Revoked {
                user_id: signature.user_id,
                fingerprint: signature.primary.to_hex(),
                reason,
            },
            Self::Unknown(facts) => PgpError::UnknownSigner {
                issuer: facts.issuer(),
            },
            Self::Unusable {
                user_id,
                primary,
                reason,
                ..
            } => PgpError::Unusable {
                user_id,
                fingerprint: primary.to_hex(),
                reason,
            },
            Self::Bad {
                facts,
                user_id,
                reason,
            } => PgpError::BadSignature {
                signer: user_id
                    .map(|user_id| format!("`{user_id}`"))
                    .or_else(|| facts.map(|facts| facts.issuer()))
                    .unwrap_or_else(|| "nobody who is named".into()),
                reason,
            },
        })
    }
}

/// Decides over all signatures of one piece of data: one at least is good, and none is wrong.
///
/// Signatures by people whose certs are not known do no harm beside a good one.
///
/// # Errors
///
/// The first [`PgpError`] of kind verification.
pub fn judge(verdicts: Vec<Verdict>) -> Result<Vec<GoodSignature>, PgpError> {
    let (unknown, known): (Vec<_>, Vec<_>) = verdicts
        .into_iter()
        .partition(|verdict| matches!(verdict, Verdict::Unknown(_)));
    let good = known
        .into_iter()
        .map(Verdict::good)
        .collect::<Result<Vec<_>, _>>()?;
    if !good.is_empty() {
        return Ok(good);
    }
    match unknown.into_iter().next() {
        Some(unknown) => unknown.good().map(|signature| vec![signature]),
        None => Err(PgpError::NotSigned),
    }
}
