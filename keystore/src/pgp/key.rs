//! The device as sequoia's signer and decryptor.

use std::fmt;

use p256::elliptic_curve::sec1::ToEncodedPoint;
use sequoia_openpgp as openpgp;
use sequoia_openpgp::crypto::mem::Protected;
use sequoia_openpgp::crypto::{self, SessionKey, ecdh, mpi};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};
use sequoia_openpgp::types::{self, HashAlgorithm, SymmetricAlgorithm};
use trezor_client::protos;
use zeroize::Zeroizing;

use super::cert::OwnCert;
use super::error::PgpError;
use crate::device::Device;
use crate::identity::{Curve, IdentityUri};
use crate::interaction::Prompt;

/// Longest purpose: the device shows it with the user ID, on two pages at most.
const MAX_PURPOSE: usize = 100;

/// What a signature is for: shown on the device and on the terminal, covered by neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose(String);

impl Purpose {
    /// Makes a purpose out of `words`: printable ASCII, cut where it is too long to be read.
    pub fn new(words: impl AsRef<str>) -> Self {
        let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
        let mut text: String = words.as_ref().chars().map(printable).collect();
        if text.len() > MAX_PURPOSE {
            text.truncate(MAX_PURPOSE - 3);
            text.push_str("...");
        }
        Self(text)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the curve of the ECDH key that belongs to a signing key.
pub(super) fn ecdh_curve(curve: Curve) -> Curve {
    match curve {
        Curve::Ed25519 => Curve::Curve25519,
        other => other,
    }
}

/// Signs with the primary key of a cert; each signature is one confirmation on the device.
pub(super) struct DeviceSigner<'a> {
    device: &'a Device,
    key: Key<PublicParts, UnspecifiedRole>,
    identity: IdentityUri,
    curve: Curve,
    purpose: Purpose,
}

impl<'a> DeviceSigner<'a> {
    pub(super) fn new(device: &'a Device, cert: &OwnCert, purpose: Purpose) -> Self {
        let key = cert.cert().primary_key().key().clone();
        Self::of_key(device, key.role_into_unspecified(), cert, purpose)
    }

    fn of_key(
        device: &'a Device,
        key: Key<PublicParts, UnspecifiedRole>,
        cert: &OwnCert,
        purpose: Purpose,
    ) -> Self {
        Self {
            device,
            key,
            identity: cert.identity(),
            curve: cert.curve(),
            purpose,
        }
    }

    /// A signer for a cert that is only being made.
    pub(super) fn of_new(
        device: &'a Device,
        key: Key<PublicParts, UnspecifiedRole>,
        identity: IdentityUri,
        curve: Curve,
    ) -> Self {
        Self {
            device,
            key,
            identity,
            curve,
            purpose: Purpose::new("make an OpenPGP certificate"),
        }
    }

    /// Says what the next signature is for.
    pub(super) fn set_purpose(&mut self, words: &str) {
        self.purpose = Purpose::new(words);
    }

    fn signature(&self, digest: &[u8]) -> Result<mpi::Signature, PgpError> {
        let mut request = protos::SignIdentity::new();
        request.identity = Some(protos::IdentityType::from(&self.identity)).into();
        request.set_challenge_hidden(digest.to_vec());
        request.set_challenge_visual(self.purpose.to_string());
        request.set_ecdsa_curve_name(self.curve.name().to_owned());
        let prompt = Prompt::new(format!("{} with {}", self.purpose, self.identity.ascii()));
        let answer: protos::SignedIdentity = self.device.call_blocking(prompt, request)?;
        if public_key(self.curve, answer.public_key())? != *self.key.mpis() {
            return Err(PgpError::KeyChanged(self.identity.host().to_owned()));
        }
        let raw = match answer.signature().split_first() {
            Some((0, raw)) if raw.len() == 64 => raw,
            _ => {
                let length = answer.signature().len();
                return Err(PgpError::Answer(format!("a signature of {length} bytes")));
            }
        };
        let (r, s) = raw.split_at(32);
        let (r, s) = (mpi::MPI::new(r), mpi::MPI::new(s));
        let signature = match self.curve {
            Curve::Nist256p1 => mpi::Signature::ECDSA { r, s },
            _ => mpi::Signature::EdDSA { r, s },
        };
        self.key
            .verify(&signature, HashAlgorithm::SHA256, digest)
            .map_err(|_| PgpError::DeviceSignature(self.identity.host().to_owned()))?;
        Ok(signature)
    }
}

impl crypto::Signer for DeviceSigner<'_> {
    fn public(&self) -> &Key<PublicParts, UnspecifiedRole> {
        &self.key
    }

    fn acceptable_hashes(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }

    fn sign(&mut self, hash: HashAlgorithm, digest: &[u8]) -> openpgp::Result<mpi::Signature> {
        if hash != HashAlgorithm::SHA256 {
            return Err(openpgp::Error::UnsupportedHashAlgorithm(hash).into());
        }
        Ok(self.signature(digest)?)
    }
}

/// Tells whether the sender's ephemeral key is a point for ECDH with a key on `curve`.
pub(super) fn is_peer_point(curve: Curve, peer: &[u8]) -> bool {
    match ecdh_curve(curve) {
        Curve::Nist256p1 => peer.len() == 65 && p256::PublicKey::from_sec1_bytes(peer).is_ok(),
        _ => peer.len() == 33 && peer[0] == 0x40,
    }
}

/// Unwraps session keys with the ECDH subkey of a cert; each is one confirmation on the device.
pub(super) struct DeviceDecryptor<'a> {
    device: &'a Device,
    key: &'a Key<PublicParts, UnspecifiedRole>,
    cert: &'a OwnCert,
    prompt: Prompt,
    /// What sequoia, which tries one key after the other, would swallow.
    pub(super) failure: Option<PgpError>,
}

impl<'a> DeviceDecryptor<'a> {
    pub(super) fn new(
        device: &'a Device,
        key: &'a Key<PublicParts, UnspecifiedRole>,
        cert: &'a OwnCert,
        prompt: Prompt,
    ) -> Self {
        Self {
            device,
            key,
            cert,
            prompt,
            failure: None,
        }
    }

    /// Returns the x coordinate that both sides share
    /// ([RFC 6637 section 8](https://www.rfc-editor.org/rfc/rfc6637#section-8)).
    fn shared_secret(&self, peer: &[u8]) -> Result<Protected, PgpError> {
        let curve = ecdh_curve(self.cert.curve());
        let mut request = protos::GetECDHSessionKey::new();
        request.identity = Some(protos::IdentityType::from(&self.cert.identity())).into();
        request.set_peer_public_key(peer.to_vec());
        request.set_ecdsa_curve_name(curve.name().to_owned());
        let mut answer: protos::ECDHSessionKey =
            self.device.call_blocking(self.prompt.clone(), request)?;
        let shared = Zeroizing::new(answer.take_session_key());
        // older firmware does not say which key it used
        if answer.has_public_key()
            && ecdh_public_key(self.cert.curve(), answer.public_key())? != *self.key.mpis()
        {
            let user_id = self.cert.user_id().to_string();
            return Err(PgpError::KeyChanged(user_id));
        }
        let x = match (curve, shared.split_first()) {
            (Curve::Nist256p1, Some((4, point))) if point.len() == 64 => &point[..32],
            (Curve::Curve25519, Some((4, x))) if x.len() == 32 => x,
            _ => {
                let length = shared.len();
                return Err(PgpError::Answer(format!(
                    "a shared secret of {length} bytes"
                )));
            }
        };
        // a peer key of low order: the secret would be known to everybody
        if x.iter().all(|byte| *byte == 0) {
            return Err(PgpError::Malformed("its key exchange is a trap".into()));
        }
        Ok(Protected::from(x))
    }
}

impl crypto::Decryptor for DeviceDecryptor<'_> {
    fn public(&self) -> &Key<PublicParts, UnspecifiedRole> {
        self.key
    }

    fn decrypt(
        &mut self,
        ciphertext: &mpi::Ciphertext,
        plaintext_len: Option<usize>,
    ) -> openpgp::Result<SessionKey> {
        let mpi::Ciphertext::ECDH { e, .. } = ciphertext else {
            return Err(openpgp::Error::InvalidArgument("not for an ECDH key".into()).into());
        };
        match self.shared_secret(e.value()) {
            Ok(shared) => ecdh::decrypt_unwrap(self.key, &shared, ciphertext, plaintext_len),
            Err(error) => {
                self.failure = Some(error);
                Err(openpgp::Error::InvalidOperation("the device gave no key".into()).into())
            }
        }
    }
}

/// Reads a public key as the device writes it into the form that OpenPGP gives it
/// ([RFC 9580 section 5.5.5](https://www.rfc-editor.org/rfc/rfc9580#section-5.5.5)).
///
/// The KDF of ECDH is SHA-256 and AES-128, as trezor-gpg has it: they are part of the fingerprint.
pub(super) fn public_key(curve: Curve, bytes: &[u8]) -> Result<mpi::PublicKey, PgpError> {
    let length = || PgpError::Answer(format!("a public key of {} bytes", bytes.len()));
    let montgomery = || -> Result<mpi::MPI, PgpError> {
        let key = bytes.strip_prefix(&[0]).filter(|key| key.len() == 32);
        Ok(mpi::MPI::new_compressed_point(key.ok_or_else(length)?))
    };
    match curve {
        Curve::Ed25519 => Ok(mpi::PublicKey::EdDSA {
            curve: types::Curve::Ed25519,
            q: montgomery()?,
        }),
        Curve::Curve25519 => Ok(mpi::PublicKey::ECDH {
            curve: types::Curve::Cv25519,
            q: montgomery()?,
            hash: HashAlgorithm::SHA256,
            sym: SymmetricAlgorithm::AES128,
        }),
        Curve::Nist256p1 => Ok(mpi::PublicKey::ECDSA {
            curve: types::Curve::NistP256,
            q: point(bytes)?,
        }),
        Curve::Secp256k1 => Err(PgpError::Curve(curve)),
    }
}

/// As [`public_key`], for the ECDH subkey that goes with a signing key on `curve`.
pub(super) fn ecdh_public_key(curve: Curve, bytes: &[u8]) -> Result<mpi::PublicKey, PgpError> {
    match curve {
        Curve::Nist256p1 => Ok(mpi::PublicKey::ECDH {
            curve: types::Curve::NistP256,
            q: point(bytes)?,
            hash: HashAlgorithm::SHA256,
            sym: SymmetricAlgorithm::AES128,
        }),
        _ => public_key(ecdh_curve(curve), bytes),
    }
}

fn point(bytes: &[u8]) -> Result<mpi::MPI, PgpError> {
    let key = p256::PublicKey::from_sec1_bytes(bytes)
        .map_err(|_| PgpError::Answer("a point that is not on the curve".into()))?;
    Ok(mpi::MPI::new(key.to_encoded_point(false).as_bytes()))
}
