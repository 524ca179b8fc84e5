//! The public halves of age keys, derived on the device.

use std::fmt;
use std::str::FromStr;

use bech32::{FromBase32, ToBase32, Variant};
use serde::{Deserialize, Serialize};
use trezor_client::protos;

use super::error::AgeError;
use super::name::AgeName;
use crate::device::Device;
use crate::identity::Curve;
use crate::interaction::Prompt;

/// What a native recipient begins with.
const PREFIX: &str = "age";

/// An age key on the device: its name and its public half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Record", try_from = "Record")]
pub struct DeviceKey {
    name: AgeName,
    public: [u8; 32],
}

impl DeviceKey {
    /// Returns the name.
    pub fn name(&self) -> &AgeName {
        &self.name
    }

    /// Returns the recipient, to which anybody can encrypt.
    pub fn recipient(&self) -> ::age::x25519::Recipient {
        let text = self.to_string();
        text.parse().expect("32 bytes under `age` are a recipient")
    }

    /// Returns the line for an identity file, `AGE-PLUGIN-TREZOR-1…`.
    pub fn identity_line(&self) -> String {
        self.name.identity_line()
    }

    /// Returns the public point, which goes into the key derivation of a stanza.
    pub(super) fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

impl fmt::Display for DeviceKey {
    /// Writes the recipient, `age1…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode(PREFIX, self.public.to_base32(), Variant::Bech32);
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

/// How a key is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    name: String,
    recipient: String,
}

impl From<DeviceKey> for Record {
    fn from(key: DeviceKey) -> Self {
        Self {
            recipient: key.to_string(),
            name: key.name.0,
        }
    }
}

impl TryFrom<Record> for DeviceKey {
    type Error = AgeError;

    fn try_from(record: Record) -> Result<Self, AgeError> {
        let name = AgeName::from_str(&record.name)?;
        let damaged = || AgeError::Recipient {
            recipient: record.recipient.chars().take(80).collect(),
            reason: "it is no native age recipient",
        };
        let (prefix, data, variant) = bech32::decode(&record.recipient).map_err(|_| damaged())?;
        let public = Vec::from_base32(&data).map_err(|_| damaged())?;
        if prefix != PREFIX || variant != Variant::Bech32 {
            return Err(damaged());
        }
        let public = public.try_into().map_err(|_| damaged())?;
        Ok(Self { name, public })
    }
}

/// Asks the device for the public half of the age key `name`.
///
/// Nothing is confirmed: the key is public, and the same on every computer.
///
/// # Errors
///
/// Any [`AgeError`].
pub async fn derive(device: &Device, name: &AgeName) -> Result<DeviceKey, AgeError> {
    let mut request = protos::GetPublicKey::new();
    request.address_n = name.uri().ecdh_path().address_n();
    request.set_ecdsa_curve_name(Curve::Curve25519.name().to_owned());
    let prompt = Prompt::new(format!("read the age recipient of age://{name}"));
    let answer: protos::PublicKey = device.call(prompt, request).await?;
    Ok(DeviceKey {
        name: name.clone(),
        public: point(answer.node.public_key())?,
    })
}

/// Takes the prefix off a curve25519 key as the device writes it.
pub(super) fn point(encoded: &[u8]) -> Result<[u8; 32], AgeError> {
    match encoded {
        [0, point @ ..] => point.try_into().ok(),
        _ => None,
    }
    .ok_or_else(|| AgeError::Answer("no X25519 public key".into()))
}
