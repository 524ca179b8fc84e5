//! Signatures by one certificate that is pinned, in the one form in which bcm writes them.

use std::time::SystemTime;

use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::Serialize as _;
use sequoia_openpgp::serialize::stream::{Armorer, Message};
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::{Cert, Fingerprint, Packet, PacketPile, armor};
use serde::{Deserialize, Serialize};

use super::cert::armored;
use super::error::PgpError;
use super::store::PgpStore;
use super::verdict::GoodSignature;
use super::verify::verify_detached;

/// A certificate whose signatures are believed, and no other's; written in ASCII armor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PinnedCert(Cert);

/// Why a signature is not one of a pinned certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinnedError {
    /// It is not written as bcm writes it, although the same may stand in it.
    #[error("{0}")]
    Form(String),
    /// The pinned certificate is not to be used.
    #[error(transparent)]
    Cert(PgpError),
    /// It is not good.
    #[error(transparent)]
    Signature(PgpError),
}

impl PinnedCert {
    /// Pins a certificate.
    pub fn new(cert: &Cert) -> Self {
        Self(cert.clone().strip_secret_key_material())
    }

    /// Returns it.
    pub fn cert(&self) -> &Cert {
        &self.0
    }

    /// Returns the fingerprint of its primary key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint()
    }

    /// Verifies a detached binary signature in ASCII armor over `data`, and refuses every other spelling of it.
    ///
    /// # Errors
    ///
    /// Any [`PinnedError`].
    pub fn verify(
        &self,
        asc: &[u8],
        data: &[u8],
        now: SystemTime,
    ) -> Result<GoodSignature, PinnedError> {
        let prefix = check_form(asc)?;
        let store = PgpStore::of(self.0.clone());
        let good = verify_detached(&store, &mut &*asc, &mut &*data, now);
        let mut good = good.map_err(PinnedError::Signature)?;
        let (Some(good), true) = (good.pop(), good.is_empty()) else {
            return Err(PinnedError::Form("it is not one signature".into()));
        };
        // which two bytes of the digest stand in front is covered by nothing
        match digest_prefix(asc, data)? == prefix {
            true => Ok(good),
            false => Err(PinnedError::Form("its check bytes are wrong".into())),
        }
    }
}

fn read(asc: &[u8]) -> Result<sequoia_openpgp::packet::Signature, PinnedError> {
    let form = |what: &str| PinnedError::Form(what.to_owned());
    let pile = PacketPile::from_bytes(asc)
        .map_err(|error| PinnedError::Form(super::error::plain(&error)))?;
    match pile.into_children().collect::<Vec<_>>().as_slice() {
        [Packet::Signature(signature)] => Ok(signature.clone()),
        _ => Err(form("it is not one signature")),
    }
}

/// Checks everything that the signature itself does not cover, and returns its check bytes.
fn check_form(asc: &[u8]) -> Result<[u8; 2], PinnedError> {
    let form = |what: &str| PinnedError::Form(what.to_owned());
    let signature = read(asc)?;
    if signature.typ() != SignatureType::Binary {
        return Err(form("it is not one over bytes"));
    }
    if signature.unhashed_area().iter().next().is_some() {
        return Err(form("it says what is not signed"));
    }
    let prefix = *signature.digest_prefix();
    let mut again = Vec::new();
    let write = || -> sequoia_openpgp::Result<()> {
        let message = Message::new(&mut again);
        let mut message = Armorer::new(message).kind(armor::Kind::Signature).build()?;
        Packet::from(signature).serialize(&mut message)?;
        message.finalize()
    };
    write().map_err(|error| PinnedError::Form(super::error::plain(&error)))?;
    match again == asc {
        true => Ok(prefix),
        false => Err(form("it is another spelling of it")),
    }
}

fn digest_prefix(asc: &[u8], data: &[u8]) -> Result<[u8; 2], PinnedError> {
    let library =
        |error: sequoia_openpgp::anyhow::Error| PinnedError::Form(super::error::plain(&error));
    let signature = read(asc)?;
    let context = signature.hash_algo().context().map_err(library)?;
    let mut context = context.for_signature(signature.version());
    context.update(data);
    use sequoia_openpgp::crypto::hash::Hash;
    signature.hash(&mut context).map_err(library)?;
    let digest = context.into_digest().map_err(library)?;
    let prefix = digest.first_chunk::<2>().copied();
    prefix.ok_or_else(|| PinnedError::Form("its hash has no bytes".into()))
}

impl TryFrom<String> for PinnedCert {
    type Error = PgpError;

    fn try_from(text: String) -> Result<Self, PgpError> {
        let cert = Cert::from_bytes(text.as_bytes()).map_err(PgpError::of)?;
        Ok(Self::new(&cert))
    }
}

impl From<PinnedCert> for String {
    fn from(pinned: PinnedCert) -> Self {
        armored(&pinned.0)
    }
}
