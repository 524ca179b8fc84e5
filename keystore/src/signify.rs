//! Signatures in the format of OpenBSD's
//! [signify](https://www.openbsd.org/papers/bsdcan-signify.html), and of
//! [minisign](https://jedisct1.github.io/minisign/), which hashes the file first.
//!
//! The key is Ed25519, derived for `signify://NAME` as trezor-signify does: the same name gives the
//! same key, and the key's number is the beginning of its SHA-256. The device signs for `signify`
//! exactly the bytes that it is given (firmware 2.4.3 and newer), so a file that is signed as it is has
//! to fit into one message to the device; a hashed one has any size.

mod format;

use std::io::{self, Read};

use blake2::{Blake2b512, Digest};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::Sha256;
use trezor_client::protos;

use crate::device::{Device, DeviceError};
use crate::hint::Hint;
use crate::identity::{Curve, IdentityError, IdentityUri};
use crate::interaction::Prompt;

pub use format::{PublicKey, SignatureFile};

/// Longest file that is signed without hashing it first, in bytes.
///
/// It travels to the device in one message, of which the firmware keeps 8 KiB at a time.
pub const MAX_WHOLE: usize = 4096;

/// Longest trusted comment, in bytes.
pub const MAX_COMMENT: usize = 1024;

/// A signify key that the device holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignifyKey {
    identity: IdentityUri,
    public: PublicKey,
}

impl SignifyKey {
    /// Returns the name that the key was derived for.
    pub fn name(&self) -> &str {
        self.identity.host()
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the file that `signify -p` and `minisign -p` take.
    pub fn public_file(&self) -> String {
        let comment = format!("signify public key of {}", self.identity.ascii());
        self.public.to_file(&comment)
    }
}

/// How a file is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is, for `signify -V`: one confirmation, and a file of at most [`MAX_WHOLE`] bytes.
    Whole,
    /// Its BLAKE2b-512, for `minisign -V`: two confirmations, since the comment is signed too.
    Hashed {
        /// The trusted comment: one line.
        comment: String,
    },
}

/// Why a file was not signed, or its signature is not good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignifyError {
    /// The name makes no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The request did not end in an answer.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The answer is not what the request asks for.
    #[error("the device's answer cannot be right: {0}")]
    Answer(String),
    /// The device used another key than the one that was derived before.
    #[error("the device signed with the key {returned} where `{name}` has {expected}")]
    KeyChanged {
        /// The name of the key.
        name: String,
        /// Number of the key that was derived.
        expected: String,
        /// Number of the key that came back.
        returned: String,
    },
    /// The device signed something else: it was thrown away.
    #[error("the device's signature with the key of `{0}` does not verify")]
    Unverified(String),
    /// The input could not be read.
    #[error("cannot read the input")]
    Read(#[source] io::Error),
    /// Too long to be signed as it is.
    #[error("the file is longer than the {MAX_WHOLE} bytes that the device signs as they are")]
    TooLong,
    /// A trusted comment that is no line of text.
    #[error("a trusted comment is one line of at most {MAX_COMMENT} bytes")]
    Comment,
    /// The file is not laid out as a key or signature.
    #[error("this is no signify or minisign {0}")]
    Malformed(&'static str),
    /// Another key signed it.
    #[error("the signature is by the key {found}, not by {expected}")]
    OtherKey {
        /// Number of the key that was to have signed.
        expected: String,
        /// Number of the key that did.
        found: String,
    },
    /// The file or the signature was changed.
    #[error("BAD signature: the key {0} did not sign this")]
    Bad(String),
    /// The trusted comment was changed.
    #[error("BAD signature of the trusted comment: the key {0} did not sign it")]
    BadComment(String),
}

impl Hint for SignifyError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Identity(error) => return error.hint(),
                Self::Device(error) => return error.hint(),
                Self::Read(_) => return None,
                Self::Answer(_) | Self::Unverified(_) => {
                    "nothing was handed out; signify needs firmware 2.4.3 or newer: check it"
                }
                Self::KeyChanged { .. } => {
                    "this is not the wallet that made the key; lock, and unlock the right one"
                }
                Self::TooLong => "sign its hash, for `minisign -V`: `--prehash`",
                Self::Comment => "leave out line breaks, or shorten it",
                Self::Malformed(_) => "name the file that begins with `untrusted comment:`",
                Self::OtherKey { .. } => {
                    "get the public key of whoever signed, and make sure of it"
                }
                Self::Bad(_) | Self::BadComment(_) => {
                    "the file or the signature was changed: get both again"
                }
            }
            .to_owned(),
        )
    }
}

/// Asks the device for the key of `name`. Nothing is confirmed.
///
/// # Errors
///
/// [`SignifyError::Identity`], or what the device answered.
pub fn derive(device: &Device, name: &str) -> Result<SignifyKey, SignifyError> {
    let identity = IdentityUri::new("signify", name)?;
    let mut request = protos::GetPublicKey::new();
    request.address_n = identity.path().address_n();
    request.set_ecdsa_curve_name(Curve::Ed25519.name().to_owned());
    let prompt = Prompt::new(format!("read the public key of {identity}"));
    let answer: protos::PublicKey = device.call_blocking(prompt, request)?;
    let public = of_device(answer.node.public_key())?;
    Ok(SignifyKey { identity, public })
}

/// Signs what `input` holds and returns the signature file.
///
/// # Errors
///
/// [`SignifyError::TooLong`], [`SignifyError::Comment`], [`SignifyError::Read`], or what the device
/// answered.
pub fn sign(
    device: &Device,
    key: &SignifyKey,
    mode: &Mode,
    input: &mut dyn Read,
) -> Result<String, SignifyError> {
    match mode {
        Mode::Whole => {
            let mut content = Vec::new();
            input
                .take(MAX_WHOLE as u64 + 1)
                .read_to_end(&mut content)
                .map_err(SignifyError::Read)?;
            if content.len() > MAX_WHOLE {
                return Err(SignifyError::TooLong);
            }
            let shown = format!("signify sha256 {}", start(&Sha256::digest(&content)));
            let signature = ask(device, key, &shown, &content)?;
            Ok(SignatureFile::whole(&key.public, &signature).to_file(key.name()))
        }
        Mode::Hashed { comment } => {
            let one_line = !comment.chars().any(char::is_control);
            if !one_line || comment.len() > MAX_COMMENT {
                return Err(SignifyError::Comment);
            }
            let digest = hash(input)?;
            let shown = format!("minisign blake2b {}", start(&digest));
            let signature = ask(device, key, &shown, &digest)?;
            let bound = [&signature.to_bytes()[..], comment.as_bytes()].concat();
            let shown = format!("minisign comment of {}", start(&digest));
            let global = ask(device, key, &shown, &bound)?;
            let file = SignatureFile::hashed(&key.public, &signature, comment, &global);
            Ok(file.to_file(key.name()))
        }
    }
}

/// Verifies what `input` holds.
///
/// # Errors
///
/// [`SignifyError::Read`], or the way in which the signature is not good.
pub fn verify(
    key: &PublicKey,
    signature: &SignatureFile,
    input: &mut dyn Read,
) -> Result<(), SignifyError> {
    let number = key.number();
    if signature.number() != number {
        return Err(SignifyError::OtherKey {
            expected: hex::encode(number),
            found: hex::encode(signature.number()),
        });
    }
    let bad = || SignifyError::Bad(hex::encode(number));
    let verifier = key.verifier();
    if signature.is_hashed() {
        let digest = hash(input)?;
        verifier
            .verify_strict(&digest, signature.signature())
            .map_err(|_| bad())?;
    } else {
        // whoever signed may have signed more than a device takes
        let mut stream = verifier
            .verify_stream(signature.signature())
            .map_err(|_| bad())?;
        each(input, |piece| stream.update(piece))?;
        stream.finalize_and_verify().map_err(|_| bad())?;
    }
    if let Some((comment, global)) = signature.comment() {
        let bound = [&signature.signature().to_bytes()[..], comment.as_bytes()].concat();
        verifier
            .verify_strict(&bound, global)
            .map_err(|_| SignifyError::BadComment(hex::encode(number)))?;
    }
    Ok(())
}

/// Asks the device to sign `data`; the person reads `shown` and confirms.
fn ask(
    device: &Device,
    key: &SignifyKey,
    shown: &str,
    data: &[u8],
) -> Result<Signature, SignifyError> {
    let mut request = protos::SignIdentity::new();
    request.identity = Some(protos::IdentityType::from(&key.identity)).into();
    request.set_challenge_hidden(data.to_vec());
    request.set_challenge_visual(format!("bcm v1 {shown}"));
    request.set_ecdsa_curve_name(Curve::Ed25519.name().to_owned());
    let prompt = Prompt::new(format!("sign ({shown}) with the key {}", key.identity));
    let answer: protos::SignedIdentity = device.call_blocking(prompt, request)?;
    signature(key, answer.public_key(), answer.signature(), data)
}

/// Checks what came back from `SignIdentity`: a zero and 64 bytes.
fn signature(
    key: &SignifyKey,
    returned: &[u8],
    signature: &[u8],
    data: &[u8],
) -> Result<Signature, SignifyError> {
    let returned = of_device(returned)?;
    if returned != key.public {
        return Err(SignifyError::KeyChanged {
            name: key.name().to_owned(),
            expected: hex::encode(key.public.number()),
            returned: hex::encode(returned.number()),
        });
    }
    let raw: Option<&[u8; 64]> = signature
        .split_first()
        .filter(|(first, _)| **first == 0)
        .and_then(|(_, raw)| raw.try_into().ok());
    let raw = raw
        .ok_or_else(|| SignifyError::Answer(format!("a signature of {} bytes", signature.len())))?;
    let signature = Signature::from_bytes(raw);
    key.public
        .verifier()
        .verify_strict(data, &signature)
        .map_err(|_| SignifyError::Unverified(key.name().to_owned()))?;
    Ok(signature)
}

/// Reads a public key as the device writes it: a zero and 32 bytes.
fn of_device(bytes: &[u8]) -> Result<PublicKey, SignifyError> {
    let wrong = || SignifyError::Answer(format!("a public key of {} bytes", bytes.len()));
    let key = bytes.strip_prefix(&[0]).ok_or_else(wrong)?;
    let key: [u8; 32] = key.try_into().map_err(|_| wrong())?;
    let verifier = VerifyingKey::from_bytes(&key).map_err(|_| wrong())?;
    Ok(PublicKey::of_device(verifier))
}

fn hash(input: &mut dyn Read) -> Result<Vec<u8>, SignifyError> {
    let mut hash = Blake2b512::new();
    each(input, |piece| hash.update(piece))?;
    Ok(hash.finalize().to_vec())
}

fn each(input: &mut dyn Read, mut use_it: impl FnMut(&[u8])) -> Result<(), SignifyError> {
    let mut piece = vec![0; 1 << 16];
    loop {
        match input.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => use_it(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SignifyError::Read(error)),
        }
    }
}

/// Returns the first 8 bytes of a digest, which the device and the terminal both show.
fn start(digest: &[u8]) -> String {
    hex::encode(&digest[..8])
}

#[cfg(test)]
mod tests;
