//! SSH public keys derived on the device, and signatures made with them.

use std::fmt;

use p256::ecdsa::signature::Verifier;
use serde::{Deserialize, Serialize};
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, EcdsaCurve, Fingerprint, HashAlg, Mpint, PublicKey, Signature};
use trezor_client::protos;

use super::purpose::Purpose;
use crate::device::{Device, DeviceError};
use crate::hint::Hint;
use crate::identity::{Curve, SshIdentity};
use crate::interaction::Prompt;

/// The public half of an SSH key on the device, as it was when it was derived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Record", try_from = "Record")]
pub struct SshKey {
    identity: SshIdentity,
    curve: Curve,
    key: PublicKey,
}

impl SshKey {
    /// Joins an identity to the public key that the device keeps under it.
    ///
    /// # Errors
    ///
    /// Fails with [`SshError::Curve`] or [`SshError::Answer`] when the key is not of that curve.
    pub fn new(identity: SshIdentity, curve: Curve, key: KeyData) -> Result<Self, SshError> {
        if key.algorithm() != algorithm(curve)? {
            return Err(SshError::Answer(format!(
                "a key of algorithm {} on curve {curve}",
                key.algorithm()
            )));
        }
        let comment = format!("<{identity}|{curve}>");
        let key = PublicKey::new(key, comment);
        Ok(Self {
            identity,
            curve,
            key,
        })
    }

    /// Returns who logs in where with this key.
    pub fn identity(&self) -> &SshIdentity {
        &self.identity
    }

    /// Returns the curve.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// Returns the public key, with the comment that trezor-agent gives it.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Returns the SHA-256 fingerprint, `SHA256:…`.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint(HashAlg::Sha256)
    }
}

impl fmt::Display for SshKey {
    /// Writes the line for `authorized_keys`, byte for byte that of trezor-agent:
    /// `ssh-ed25519 AAAA… <ssh://user@host|ed25519>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key.to_openssh().map_err(|_| fmt::Error)?)
    }
}

/// How a key is kept: the curve is written down, since the identity alone does not tell it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    identity: SshIdentity,
    curve: Curve,
    key: PublicKey,
}

impl From<SshKey> for Record {
    fn from(key: SshKey) -> Self {
        Self {
            identity: key.identity,
            curve: key.curve,
            key: key.key,
        }
    }
}

impl TryFrom<Record> for SshKey {
    type Error = SshError;

    fn try_from(record: Record) -> Result<Self, SshError> {
        Self::new(record.identity, record.curve, record.key.into())
    }
}

/// Why the device gave no SSH key or signature that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// The request did not end in an answer.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// OpenSSH has no keys on this curve.
    #[error("there are no SSH keys on curve {0}")]
    Curve(Curve),
    /// The answer is not what the request asks for.
    #[error("the device's answer cannot be right: {0}")]
    Answer(String),
    /// The device used another key than the one that was derived before: nothing was signed for
    /// anybody.
    #[error("the device signed with {returned} where `{identity}` has {pinned}")]
    KeyChanged {
        /// Whose key it is.
        identity: SshIdentity,
        /// Fingerprint of the key that was derived before.
        pinned: Box<Fingerprint>,
        /// Fingerprint of the key that came back.
        returned: Box<Fingerprint>,
    },
    /// The signature does not verify under the key: it was thrown away.
    #[error("the device's signature with the key of `{0}` does not verify")]
    BadSignature(SshIdentity),
}

impl Hint for SshError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Device(error) => error.hint(),
            Self::Curve(_) => Some("use `--curve ed25519` or `--curve nist256p1`".into()),
            Self::KeyChanged { .. } => Some(
                "this is not the wallet that made the key; lock, and unlock the right one".into(),
            ),
            Self::Answer(_) | Self::BadSignature(_) => {
                Some("nothing was handed out; check the device and its firmware".into())
            }
        }
    }
}

/// Asks the device for the public key of `identity` on `curve`.
///
/// Nothing is confirmed: the key is public, and the same on every computer.
///
/// # Errors
///
/// Any [`SshError`].
pub async fn derive(
    device: &Device,
    identity: &SshIdentity,
    curve: Curve,
) -> Result<SshKey, SshError> {
    algorithm(curve)?;
    let mut request = protos::GetPublicKey::new();
    request.address_n = identity.uri().path().address_n();
    request.set_ecdsa_curve_name(curve.name().to_owned());
    let prompt = Prompt::new(format!("read the public key of {identity}"));
    let answer: protos::PublicKey = device.call(prompt, request).await?;
    SshKey::new(
        identity.clone(),
        curve,
        key_data(curve, answer.node.public_key())?,
    )
}

/// Asks the device to sign `data` with `key`; the person reads [`Purpose::visual`] and confirms.
///
/// The device signs `data` itself on ed25519 and its SHA-256 on nist256p1, which is what SSH wants.
/// What the screen shows is not covered by the signature, so it informs and proves nothing. The
/// signature is handed out only if the device used this very key and it verifies.
///
/// # Errors
///
/// Any [`SshError`]; [`DeviceError::Declined`] when the person said no.
pub async fn sign(
    device: &Device,
    key: &SshKey,
    purpose: &Purpose,
    data: &[u8],
) -> Result<Signature, SshError> {
    sign_shown(device, key, purpose.visual(), purpose.prompt(key), data).await
}

/// As [`sign`], with these words on the device and on the terminal.
pub(super) async fn sign_shown(
    device: &Device,
    key: &SshKey,
    visual: String,
    prompt: Prompt,
    data: &[u8],
) -> Result<Signature, SshError> {
    let mut request = protos::SignIdentity::new();
    request.identity = Some(protos::IdentityType::from(&key.identity.uri())).into();
    request.set_challenge_hidden(data.to_vec());
    request.set_challenge_visual(visual);
    request.set_ecdsa_curve_name(key.curve.name().to_owned());
    let answer: protos::SignedIdentity = device.call(prompt, request).await?;
    signature(key, answer.public_key(), answer.signature(), data)
}

/// Checks what came back from `SignIdentity` and brings it into the form of SSH
/// ([RFC 5656 section 3.1.2](https://www.rfc-editor.org/rfc/rfc5656#section-3.1.2),
/// [RFC 8709 section 6](https://www.rfc-editor.org/rfc/rfc8709#section-6)).
fn signature(
    key: &SshKey,
    returned: &[u8],
    signature: &[u8],
    data: &[u8],
) -> Result<Signature, SshError> {
    let returned = key_data(key.curve, returned)?;
    if returned != *key.key.key_data() {
        return Err(SshError::KeyChanged {
            identity: key.identity.clone(),
            pinned: Box::new(key.fingerprint()),
            returned: Box::new(returned.fingerprint(HashAlg::Sha256)),
        });
    }
    let Some((0, raw)) = signature.split_first().map(|(first, raw)| (*first, raw)) else {
        return Err(SshError::Answer(
            "a signature that does not start with 0".into(),
        ));
    };
    let Some((r, s)) = raw.split_at_checked(32).filter(|(_, s)| s.len() == 32) else {
        let length = signature.len();
        return Err(SshError::Answer(format!(
            "a signature of {length} bytes, not 65"
        )));
    };
    let encoded = match key.curve {
        Curve::Nist256p1 => [mpint(r)?, mpint(s)?].concat(),
        _ => raw.to_vec(),
    };
    let bad = || SshError::BadSignature(key.identity.clone());
    let signature = Signature::new(algorithm(key.curve)?, encoded).map_err(|_| bad())?;
    key.key
        .key_data()
        .verify(data, &signature)
        .map_err(|_| bad())?;
    Ok(signature)
}

fn algorithm(curve: Curve) -> Result<Algorithm, SshError> {
    match curve {
        Curve::Ed25519 => Ok(Algorithm::Ed25519),
        Curve::Nist256p1 => Ok(Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        }),
        Curve::Secp256k1 | Curve::Curve25519 => Err(SshError::Curve(curve)),
    }
}

/// Reads a public key as the device writes it: a zero and 32 bytes, or a compressed point.
fn key_data(curve: Curve, bytes: &[u8]) -> Result<KeyData, SshError> {
    let wrong = || SshError::Answer(format!("a public key of {} bytes", bytes.len()));
    match curve {
        Curve::Ed25519 => {
            let key = bytes.strip_prefix(&[0]).ok_or_else(wrong)?;
            let key: [u8; 32] = key.try_into().map_err(|_| wrong())?;
            Ok(Ed25519PublicKey(key).into())
        }
        Curve::Nist256p1 => {
            let point = p256::PublicKey::from_sec1_bytes(bytes)
                .map_err(|_| SshError::Answer("a point that is not on the curve".into()))?;
            Ok(EcdsaPublicKey::from(p256::ecdsa::VerifyingKey::from(point)).into())
        }
        Curve::Secp256k1 | Curve::Curve25519 => Err(SshError::Curve(curve)),
    }
}

/// Encodes a number of the device as an `mpint`
/// ([RFC 4251 section 5](https://www.rfc-editor.org/rfc/rfc4251#section-5)).
fn mpint(number: &[u8]) -> Result<Vec<u8>, SshError> {
    let number = Mpint::from_positive_bytes(number)
        .map_err(|_| SshError::Answer("a signature with a part that is no number".into()))?;
    let bytes = number.as_bytes();
    let length = u32::try_from(bytes.len()).expect("at most 33 bytes");
    Ok([&length.to_be_bytes(), bytes].concat())
}

#[cfg(test)]
mod tests;
