//! Opening a file with the device: the [X25519 stanza](https://c2sp.org/age#the-x25519-recipient-type),
//! its shared secret computed on the device.

use std::fmt;

use ::age::DecryptError;
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::{aead_decrypt, hkdf};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use trezor_client::protos;
use zeroize::Zeroizing;

use super::error::AgeError;
use super::key::{DeviceKey, point};
use crate::device::Device;
use crate::identity::Curve;
use crate::interaction::Prompt;

/// The type of stanzas that the device can open.
const TAG: &str = "X25519";

/// HKDF's info of such a stanza.
const LABEL: &[u8] = b"age-encryption.org/v1/X25519";

/// The file key and the tag of ChaCha20-Poly1305.
const BODY_BYTES: usize = FILE_KEY_BYTES + 16;

/// An age identity whose secret half stays on the device.
///
/// It waits for the device on the thread that decrypts, which must not be one of the async runtime.
#[derive(Clone)]
pub struct DeviceIdentity {
    device: Device,
    key: DeviceKey,
    purpose: String,
}

impl DeviceIdentity {
    /// Makes the identity of `key` on `device`.
    pub fn new(device: Device, key: DeviceKey) -> Self {
        Self {
            device,
            key,
            purpose: "decrypt an age file".into(),
        }
    }

    /// Says on the terminal what the confirmation is for, `decrypt notes.age`: the device shows
    /// nothing but the name of the key.
    #[must_use]
    pub fn with_purpose(mut self, purpose: impl Into<String>) -> Self {
        self.purpose = purpose.into();
        self
    }
}

impl fmt::Debug for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceIdentity")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl ::age::Identity for DeviceIdentity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let unwrapped = unwrap(&self.device, &self.key, stanzas, &self.purpose);
        futures::executor::block_on(unwrapped)
            .map_err(AgeError::into_decrypt_error)
            .transpose()
    }
}

/// Opens the first of the `stanzas` of one file that is for `key`; `None` when there is none.
///
/// Each X25519 stanza up to it costs a confirmation on the device. Nothing is asked when one of them
/// is malformed.
///
/// # Errors
///
/// Any [`AgeError`].
pub async fn unwrap(
    device: &Device,
    key: &DeviceKey,
    stanzas: &[Stanza],
    purpose: &str,
) -> Result<Option<FileKey>, AgeError> {
    let stanzas = stanzas.iter().filter(|stanza| stanza.tag == TAG);
    let stanzas: Vec<_> = stanzas.map(Parsed::of).collect::<Result<_, _>>()?;
    for (index, stanza) in stanzas.iter().enumerate() {
        let mut words = format!("{purpose} with age://{}", key.name());
        if stanzas.len() > 1 {
            words = format!("{words} (recipient {} of {})", index + 1, stanzas.len());
        }
        let shared = shared_secret(device, key, &stanza.share, words).await?;
        if let Some(file_key) = stanza.open(key, &shared) {
            return Ok(Some(file_key));
        }
    }
    Ok(None)
}

/// A stanza in its one valid form.
struct Parsed {
    share: [u8; 32],
    body: [u8; BODY_BYTES],
}

impl Parsed {
    fn of(stanza: &Stanza) -> Result<Self, AgeError> {
        let damaged = || AgeError::Damaged("an X25519 stanza is malformed".into());
        let [share] = &stanza.args[..] else {
            return Err(damaged());
        };
        let share = BASE64_STANDARD_NO_PAD
            .decode(share)
            .map_err(|_| damaged())?;
        Ok(Self {
            share: share.try_into().map_err(|_| damaged())?,
            body: stanza.body[..].try_into().map_err(|_| damaged())?,
        })
    }

    fn open(&self, key: &DeviceKey, shared: &[u8; 32]) -> Option<FileKey> {
        let salt = [self.share, *key.public()].concat();
        let wrapping = Zeroizing::new(hkdf(&salt, LABEL, shared));
        let opened = aead_decrypt(&wrapping, FILE_KEY_BYTES, &self.body).ok()?;
        let opened = Zeroizing::new(opened);
        Some(FileKey::init_with_mut(|file_key| {
            file_key.copy_from_slice(&opened);
        }))
    }
}

async fn shared_secret(
    device: &Device,
    key: &DeviceKey,
    share: &[u8; 32],
    words: String,
) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let mut request = protos::GetECDHSessionKey::new();
    request.identity = Some(protos::IdentityType::from(&key.name().uri())).into();
    request.set_peer_public_key([&[0x40][..], share].concat());
    request.set_ecdsa_curve_name(Curve::Curve25519.name().to_owned());
    let mut answer: protos::ECDHSessionKey = device.call(Prompt::new(words), request).await?;
    let session_key = Zeroizing::new(answer.take_session_key());
    // firmware before 2.4.2 does not tell its own key
    if answer.has_public_key() && point(answer.public_key())? != *key.public() {
        return Err(AgeError::KeyChanged(key.name().to_string()));
    }
    let shared = match &session_key[..] {
        [0x04, shared @ ..] => <[u8; 32]>::try_from(shared).ok(),
        _ => None,
    };
    let shared = shared.map(Zeroizing::new);
    let shared = shared.ok_or_else(|| AgeError::Answer("no X25519 shared secret".into()))?;
    // a point of low order: whoever wrote the stanza knew the secret without knowing the recipient
    if shared.ct_eq(&[0; 32]).into() {
        return Err(AgeError::Damaged("an X25519 stanza is malformed".into()));
    }
    Ok(shared)
}

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;
