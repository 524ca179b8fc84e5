//! The bound approval: the device signs what it shows.
//!
//! `SignIdentity` with any protocol other than `ssh`, `gpg` and `signify` makes firmware sign, on secp256k1 and
//! in the format of Bitcoin messages, `SHA-256(challenge_hidden) || SHA-256(challenge_visual)`. Hidden is the
//! SHA-256 of the statement, visual is [`Statement::visual`], and the identity is `bcm://` and the tag of the
//! kind. A verifier computes both from the statement, so that an approval of one text is none of another.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use trezor_client::protos;

use super::digest::Sha256Digest;
use super::error::StatementError;
use super::kind::StatementKind;
use super::{Fields, Statement, canonical, shown};
use crate::device::{Device, DeviceError};
use crate::identity::Curve;
use crate::interaction::Prompt;
use crate::wallet::message::signed_digest;

/// Longest approval, in bytes.
pub(super) const MAX_APPROVAL: usize = 4096;

/// First byte of a signature by a compressed key; its recovery id is added.
const COMPRESSED: u8 = 31;

/// The public key that approves statements of one kind, in 33 bytes of hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApprovalKey(PublicKey);

impl ApprovalKey {
    /// Asks the device for the key that approves statements of `kind`; nothing is confirmed.
    ///
    /// # Errors
    ///
    /// Any [`DeviceError`].
    pub async fn read(device: &Device, kind: StatementKind) -> Result<Self, DeviceError> {
        let identity = kind.approval_identity();
        let mut request = protos::GetPublicKey::new();
        request.address_n = identity.path().address_n();
        request.set_ecdsa_curve_name(Curve::Secp256k1.name().to_owned());
        let prompt = Prompt::new(format!("read the public key of {identity}"));
        let answer: protos::PublicKey = device.call(prompt, request).await?;
        Self::of_answer(answer.node.public_key())
    }

    fn of_answer(bytes: &[u8]) -> Result<Self, DeviceError> {
        let key = PublicKey::from_slice(bytes)
            .ok()
            .filter(|_| bytes.len() == 33);
        let wrong = || DeviceError::Implausible(format!("a public key of {} bytes", bytes.len()));
        key.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ApprovalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.serialize()))
    }
}

impl FromStr for ApprovalKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = text.parse::<PublicKey>().map(Self);
        match key {
            Ok(key) if key.to_string() == text => Ok(key),
            _ => Err(format!("`{}` is no public key of an approval", shown(text))),
        }
    }
}

impl TryFrom<String> for ApprovalKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ApprovalKey> for String {
    fn from(key: ApprovalKey) -> Self {
        key.to_string()
    }
}

/// A person's approval on the device, as `X.json.approval` holds it in canonical JSON:
///
/// ```text
/// {"identity":"bcm://deploy","publicKey":"0300…","signature":"IMnP…"}
/// ```
///
/// `signature` is the base64 of 65 bytes: 31 + recovery id, r, s
/// ([BIP-137](https://github.com/bitcoin/bips/blob/master/bip-0137.mediawiki)). The text that was approved is
/// not in it: it is computed from the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    identity: String,
    key: ApprovalKey,
    signature: [u8; 65],
}

impl Approval {
    /// Shows the statement's text on the device and asks for its approval; one confirmation.
    ///
    /// # Errors
    ///
    /// Any [`DeviceError`]; [`DeviceError::Declined`] when the person said no.
    pub async fn ask(device: &Device, statement: &Statement) -> Result<Self, DeviceError> {
        let identity = statement.kind().approval_identity();
        let visual = statement.visual();
        let mut request = protos::SignIdentity::new();
        request.identity = Some(protos::IdentityType::from(&identity)).into();
        request.set_challenge_hidden(statement.digest().as_bytes().to_vec());
        request.set_challenge_visual(visual.clone());
        request.set_ecdsa_curve_name(Curve::Secp256k1.name().to_owned());
        let prompt = Prompt::new(format!("approve `{visual}`"));
        let answer: protos::SignedIdentity = device.call(prompt, request).await?;
        let length = answer.signature().len();
        let signature = answer.signature().try_into();
        let wrong = |_| DeviceError::Implausible(format!("an approval of {length} bytes"));
        let approval = Self {
            identity: identity.to_string(),
            key: ApprovalKey::of_answer(answer.public_key())?,
            signature: signature.map_err(wrong)?,
        };
        let key = approval.key;
        approval.verify(statement, &key).map_err(|error| {
            DeviceError::Implausible(format!("its approval does not verify: {error}"))
        })?;
        Ok(approval)
    }

    /// Returns the key that it says it is by.
    pub fn key(&self) -> &ApprovalKey {
        &self.key
    }

    /// Reads an approval.
    ///
    /// # Errors
    ///
    /// [`StatementError::Approval`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let read = || -> Result<Self, String> {
            let value = canonical::parse(bytes, MAX_APPROVAL).map_err(|error| error.to_string())?;
            let mut fields = Fields::of(value, "it")?;
            let identity = fields.text("identity")?;
            let key = fields.text("publicKey")?.parse()?;
            let signature = BASE64.decode(fields.text("signature")?).ok();
            fields.end()?;
            let signature = signature.and_then(|bytes| bytes.try_into().ok());
            Ok(Self {
                identity,
                key,
                signature: signature.ok_or("its signature is not the base64 of 65 bytes")?,
            })
        };
        read().map_err(StatementError::Approval)
    }

    /// Writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let value = json!({
            "identity": self.identity,
            "publicKey": self.key,
            "signature": BASE64.encode(self.signature),
        });
        canonical::to_vec(&value).expect("texts have a canonical form")
    }

    /// Checks that it approves this statement, by the key that is pinned for its kind.
    ///
    /// # Errors
    ///
    /// [`StatementError::Approval`], [`StatementError::ApprovalKey`].
    pub fn verify(
        &self,
        statement: &Statement,
        pinned: &ApprovalKey,
    ) -> Result<(), StatementError> {
        let identity = statement.kind().approval_identity().to_string();
        if self.identity != identity {
            let found = shown(&self.identity);
            let what = format!("it is by `{found}`, expected `{identity}`");
            return Err(StatementError::Approval(what));
        }
        if self.key != *pinned {
            return Err(StatementError::ApprovalKey {
                expected: Box::new(*pinned),
                found: Box::new(self.key),
            });
        }
        let visual = statement.visual();
        verify_bound(&statement.digest(), &visual, pinned, &self.signature)
            .map_err(|what| StatementError::Approval(what.to_owned()))
    }
}

/// Verifies the signature of a bound approval: over this hash and this text, by this key.
pub(super) fn verify_bound(
    hidden: &Sha256Digest,
    visual: &str,
    key: &ApprovalKey,
    signature: &[u8; 65],
) -> Result<(), &'static str> {
    let header = "the first byte of its signature is not one of BIP-137";
    let recovery = match signature[0].wrapping_sub(COMPRESSED) {
        recovery @ 0..4 => RecoveryId::from_i32(recovery.into()).map_err(|_| header)?,
        _ => return Err(header),
    };
    let signature = RecoverableSignature::from_compact(&signature[1..], recovery)
        .map_err(|_| "the numbers of its signature are out of range")?;
    // of the two forms of every signature the device makes the low one
    let mut low = signature.to_standard();
    low.normalize_s();
    let digest = Message::from_digest(bound_digest(hidden, visual));
    let by = Secp256k1::verification_only().recover_ecdsa(&digest, &signature);
    match by == Ok(key.0) && low == signature.to_standard() {
        true => Ok(()),
        false => Err("its signature does not belong to this statement"),
    }
}

/// What the device signs: `SHA-256(hidden) || SHA-256(visual)` as a Bitcoin message.
fn bound_digest(hidden: &Sha256Digest, visual: &str) -> [u8; 32] {
    let hidden = Sha256::digest(hidden.as_bytes());
    let visual = Sha256::digest(visual);
    signed_digest(&[hidden, visual].concat())
}
