//! Certs whose secret keys the device holds.

use std::time::{Duration, SystemTime};

use sequoia_openpgp as openpgp;
use sequoia_openpgp::packet::key::{
    Key4, PrimaryRole, PublicParts, SubordinateRole, UnspecifiedRole,
};
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::packet::{Key, UserID};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{
    CompressionAlgorithm, Features, HashAlgorithm, KeyFlags, PublicKeyAlgorithm,
    ReasonForRevocation, SignatureType, SymmetricAlgorithm,
};
use sequoia_openpgp::{Cert, Fingerprint, Packet};
use serde::{Deserialize, Serialize};
use trezor_client::protos;

use super::error::PgpError;
use super::key::{DeviceSigner, ecdh_curve, ecdh_public_key, public_key};
use super::user_id::UserId;
use crate::device::Device;
use crate::identity::{Curve, IdentityUri};
use crate::interaction::Prompt;
use crate::path::DerivationPath;

/// The creation time of a cert unless another is given: Bitcoin's genesis block, so that seed,
/// passphrase and user ID alone make the same cert again.
pub const TREZOR_TIME: Duration = Duration::from_secs(1_231_006_505);

/// A cert whose secret keys the device holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Record", try_from = "Record")]
pub struct OwnCert {
    cert: Cert,
    /// The first user ID, which names the keys on the device.
    user_id: UserId,
    curve: Curve,
}

/// How a cert is kept: the curve and the name on the device are written down beside it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    user_id: UserId,
    curve: Curve,
    cert: String,
}

impl From<OwnCert> for Record {
    fn from(own: OwnCert) -> Self {
        Self {
            user_id: own.user_id,
            curve: own.curve,
            cert: armored(&own.cert),
        }
    }
}

impl TryFrom<Record> for OwnCert {
    type Error = PgpError;

    fn try_from(record: Record) -> Result<Self, PgpError> {
        let cert = Cert::from_bytes(record.cert.as_bytes()).map_err(PgpError::of)?;
        Ok(Self {
            cert,
            user_id: record.user_id,
            curve: record.curve,
        })
    }
}

/// Why a cert is revoked ([RFC 9580 section
/// 5.2.3.31](https://www.rfc-editor.org/rfc/rfc9580#section-5.2.3.31)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// None is given: whatever it was, nothing that it signed is to be relied on.
    Unspecified,
    /// Another cert takes its place; what it signed stays good.
    Superseded,
    /// Somebody else has the key.
    Compromised,
    /// It is no longer used; what it signed stays good.
    Retired,
}

impl From<Reason> for ReasonForRevocation {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unspecified => Self::Unspecified,
            Reason::Superseded => Self::KeySuperseded,
            Reason::Compromised => Self::KeyCompromised,
            Reason::Retired => Self::KeyRetired,
        }
    }
}

impl OwnCert {
    /// Makes the cert of `user_id` as trezor-gpg does: the keys are derived on the device, which
    /// signs both bindings, two confirmations.
    ///
    /// The fingerprints depend on seed, passphrase, user ID, curve and `created` alone.
    ///
    /// # Errors
    ///
    /// Any [`PgpError`]; [`crate::DeviceError::Declined`] when the person said no.
    pub fn make(
        device: &Device,
        user_id: UserId,
        curve: Curve,
        created: SystemTime,
        validity: Option<Duration>,
    ) -> Result<Self, PgpError> {
        let (sign_algorithm, created) = match curve {
            Curve::Ed25519 => (PublicKeyAlgorithm::EdDSA, whole(created)?),
            Curve::Nist256p1 => (PublicKeyAlgorithm::ECDSA, whole(created)?),
            Curve::Secp256k1 | Curve::Curve25519 => return Err(PgpError::Curve(curve)),
        };
        let identity = user_id.identity();
        let signing = read_key(device, &identity, &identity.path(), curve)?;
        let ecdh = read_key(device, &identity, &identity.ecdh_path(), ecdh_curve(curve))?;
        let primary: Key<PublicParts, PrimaryRole> =
            Key4::new(created, sign_algorithm, public_key(curve, &signing)?)
                .map_err(PgpError::library)?
                .into();
        let subkey: Key<PublicParts, SubordinateRole> = Key4::new(
            created,
            PublicKeyAlgorithm::ECDH,
            ecdh_public_key(curve, &ecdh)?,
        )
        .map_err(PgpError::library)?
        .into();

        let signing_key: Key<PublicParts, UnspecifiedRole> =
            primary.clone().role_into_unspecified();
        let mut signer = DeviceSigner::of_new(device, signing_key, identity, curve);
        let make = || -> openpgp::Result<Cert> {
            let cert = Cert::try_from(vec![Packet::from(primary)])?;
            signer.set_purpose("1/2: certify the user ID");
            let name = UserID::from(user_id.as_str());
            let binding = name.bind(
                &mut signer,
                &cert,
                user_id_binding(SignatureType::PositiveCertification)?
                    .set_primary_userid(true)?
                    .set_signature_creation_time(created)?
                    .set_key_validity_period(validity)?,
            )?;
            let cert = cert
                .insert_packets(vec![Packet::from(name), binding.into()])?
                .0;
            signer.set_purpose("2/2: certify the encryption key");
            let binding = subkey.bind(
                &mut signer,
                &cert,
                SignatureBuilder::new(SignatureType::SubkeyBinding)
                    .set_hash_algo(HashAlgorithm::SHA256)
                    .set_signature_creation_time(created)?
                    .set_key_flags(
                        KeyFlags::empty()
                            .set_transport_encryption()
                            .set_storage_encryption(),
                    )?,
            )?;
            Ok(cert
                .insert_packets(vec![Packet::from(subkey), binding.into()])?
                .0)
        };
        let cert = make().map_err(PgpError::library)?;
        Ok(Self {
            cert,
            user_id,
            curve,
        })
    }

    /// Returns the cert.
    pub fn cert(&self) -> &Cert {
        &self.cert
    }

    /// Returns the fingerprint of its primary key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.cert.fingerprint()
    }

    /// Returns the user ID that names its keys on the device.
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// Returns the identity of its keys on the device.
    pub fn identity(&self) -> IdentityUri {
        self.user_id.identity()
    }

    /// Returns the curve of its signing key.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// Returns the subkey that the device decrypts with.
    pub(super) fn encryption_key(&self) -> Option<Key<PublicParts, UnspecifiedRole>> {
        self.cert
            .keys()
            .subkeys()
            .map(|subkey| subkey.key().clone().role_into_unspecified())
            .find(|key| key.pk_algo() == PublicKeyAlgorithm::ECDH)
    }

    /// Adds what others wrote about the same key: certifications, revocations, bindings.
    ///
    /// # Errors
    ///
    /// [`PgpError::Library`] when it is another cert.
    pub fn merge(&self, other: Cert) -> Result<Self, PgpError> {
        let cert = self.cert.clone().merge_public(other);
        Ok(self.with(cert.map_err(PgpError::library)?))
    }

    /// Adds packets that were checked to belong to it.
    pub(super) fn insert(&self, packets: Vec<Packet>) -> Result<Self, PgpError> {
        let cert = self.cert.clone().insert_packets(packets);
        Ok(self.with(cert.map_err(PgpError::library)?.0))
    }

    fn with(&self, cert: Cert) -> Self {
        Self {
            cert,
            ..self.clone()
        }
    }
}

/// What there is to say of a cert at some time.
#[derive(Debug)]
#[non_exhaustive]
pub struct State {
    /// Its user IDs, the primary one first; those that are revoked are left out.
    pub user_ids: Vec<String>,
    /// When it was made.
    pub created: SystemTime,
    /// When it ends to be good, if ever.
    pub expires: Option<SystemTime>,
    /// Why it is not to be used, if so.
    pub problem: Option<PgpError>,
}

/// Looks at a cert as it is at `now`.
pub fn state(cert: &Cert, now: SystemTime) -> State {
    let policy = policy(now);
    let valid = cert.with_policy(&policy, now).ok();
    let primary = name_of(cert, now);
    let text = |user_id: &UserID| String::from_utf8_lossy(user_id.value()).into_owned();
    let others: Vec<_> = match &valid {
        Some(valid) => valid
            .userids()
            .revoked(false)
            .map(|user_id| text(user_id.userid()))
            .collect(),
        None => cert
            .userids()
            .map(|user_id| text(user_id.userid()))
            .collect(),
    };
    let others = others.into_iter().filter(|user_id| *user_id != primary);
    State {
        user_ids: std::iter::once(primary.clone()).chain(others).collect(),
        created: cert.primary_key().key().creation_time(),
        expires: valid.and_then(|valid| valid.primary_key().key_expiration_time()),
        problem: check(cert, now).err(),
    }
}

/// Reads a public key; nothing is confirmed.
fn read_key(
    device: &Device,
    identity: &IdentityUri,
    path: &DerivationPath,
    curve: Curve,
) -> Result<Vec<u8>, PgpError> {
    let mut request = protos::GetPublicKey::new();
    request.address_n = path.address_n();
    request.set_ecdsa_curve_name(curve.name().to_owned());
    let prompt = Prompt::new(format!("read a public key of {identity}"));
    let answer: protos::PublicKey = device.call_blocking(prompt, request)?;
    Ok(answer.node.public_key().to_vec())
}

/// What the binding of a user ID says: what the primary key may do and what its owner's programs
/// understand. No more than GnuPG does, so that what is encrypted to it can be opened without bcm.
fn user_id_binding(typ: SignatureType) -> openpgp::Result<SignatureBuilder> {
    SignatureBuilder::new(typ)
        .set_hash_algo(HashAlgorithm::SHA256)
        .set_key_flags(KeyFlags::empty().set_certification().set_signing())?
        .set_features(Features::empty().set_seipdv1())?
        .set_preferred_symmetric_algorithms(vec![SymmetricAlgorithm::AES256])?
        .set_preferred_hash_algorithms(vec![
            HashAlgorithm::SHA256,
            HashAlgorithm::SHA384,
            HashAlgorithm::SHA512,
        ])?
        .set_preferred_compression_algorithms(vec![
            CompressionAlgorithm::Zlib,
            CompressionAlgorithm::BZip2,
            CompressionAlgorithm::Zip,
        ])
}

/// Cuts a time to whole seconds, which is what OpenPGP writes.
pub(super) fn whole(time: SystemTime) -> Result<SystemTime, PgpError> {
    let stamp = openpgp::types::Timestamp::try_from(time).map_err(|_| PgpError::Time(time))?;
    Ok(stamp.into())
}

/// Writes a cert in ASCII armor.
pub(super) fn armored(cert: &Cert) -> String {
    let bytes = cert.armored().to_vec().expect("a cert always serialises");
    String::from_utf8(bytes).expect("armor is ASCII")
}

/// Returns the rules by which keys and signatures are judged at `now`.
pub(super) fn policy(now: SystemTime) -> StandardPolicy<'static> {
    StandardPolicy::at(now)
}

/// Returns the user ID that stands for a cert.
pub(super) fn name_of(cert: &Cert, now: SystemTime) -> String {
    let policy = policy(now);
    let primary = cert.with_policy(&policy, now).ok();
    let primary = primary.and_then(|valid| {
        let user_id = valid.primary_userid().ok()?;
        Some(user_id.userid().value().to_vec())
    });
    let any = || Some(cert.userids().next()?.userid().value().to_vec());
    primary.or_else(any).map_or_else(
        || "no user ID".into(),
        |value| String::from_utf8_lossy(&value).into_owned(),
    )
}

/// Checks that a cert may be used at `now`: bound by good self-signatures, alive, not revoked.
pub(super) fn check(cert: &Cert, now: SystemTime) -> Result<(), PgpError> {
    let policy = policy(now);
    let (user_id, fingerprint) = (name_of(cert, now), cert.fingerprint().to_hex());
    let valid = match cert.with_policy(&policy, now) {
        Ok(valid) => valid,
        Err(error) => {
            return Err(PgpError::Unusable {
                user_id,
                fingerprint,
                reason: super::error::plain(&error),
            });
        }
    };
    if let openpgp::types::RevocationStatus::Revoked(signatures) = valid.revocation_status() {
        let reason = signatures
            .first()
            .and_then(|signature| signature.reason_for_revocation());
        return Err(PgpError::Revoked {
            user_id,
            fingerprint,
            reason: reason.map_or_else(String::new, |(code, text)| revocation_text(code, text)),
        });
    }
    if let Err(error) = valid.alive() {
        return Err(match error.downcast_ref::<openpgp::Error>() {
            Some(openpgp::Error::Expired(at)) => PgpError::Expired {
                user_id,
                fingerprint,
                at: *at,
            },
            _ => PgpError::Unusable {
                user_id,
                fingerprint,
                reason: super::error::plain(&error),
            },
        });
    }
    Ok(())
}

pub(super) fn revocation_text(code: ReasonForRevocation, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let code = match code {
        ReasonForRevocation::KeySuperseded => "superseded",
        ReasonForRevocation::KeyCompromised => "compromised",
        ReasonForRevocation::KeyRetired => "retired",
        _ => "no reason given",
    };
    if text.is_empty() {
        code.into()
    } else {
        format!("{code}, {text}")
    }
}
