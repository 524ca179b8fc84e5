//! The files: comments, and base64 of an algorithm, a key number, and a key or signature.
//!
//! Laid out as in [signify(1)](https://man.openbsd.org/signify) and
//! [minisign](https://jedisct1.github.io/minisign/#signature-format).

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use super::{MAX_COMMENT, SignifyError};

/// Signs the file itself.
const WHOLE: [u8; 2] = *b"Ed";

/// Signs the BLAKE2b-512 of the file.
const HASHED: [u8; 2] = *b"ED";

const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";

/// A public key with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    number: [u8; 8],
    key: VerifyingKey,
}

impl PublicKey {
    /// Numbers a key as trezor-signify does: the beginning of its SHA-256.
    pub(super) fn of_device(key: VerifyingKey) -> Self {
        let hash = Sha256::digest(key.as_bytes());
        let number = std::array::from_fn(|i| hash[i]);
        Self { number, key }
    }

    /// Returns the number that a signature names its key by.
    pub fn number(&self) -> [u8; 8] {
        self.number
    }

    pub(super) fn verifier(&self) -> &VerifyingKey {
        &self.key
    }

    pub(super) fn to_file(&self, comment: &str) -> String {
        let bytes = [&WHOLE[..], &self.number, self.key.as_bytes()].concat();
        format!("{UNTRUSTED}{comment}\n{}\n", STANDARD.encode(bytes))
    }
}

impl FromStr for PublicKey {
    type Err = SignifyError;

    /// Reads a public key file, or the line that `minisign -P` takes.
    fn from_str(text: &str) -> Result<Self, SignifyError> {
        const WHAT: SignifyError = SignifyError::Malformed("public key");
        let mut lines = text.lines();
        let first = lines.next().ok_or(WHAT)?;
        let line = match first.starts_with("untrusted comment:") {
            true => lines.next().ok_or(WHAT)?,
            false => first,
        };
        if lines.any(|line| !line.is_empty()) {
            return Err(WHAT);
        }
        let bytes = decode::<42>(line).ok_or(WHAT)?;
        let (number, key) = numbered::<32>(&bytes[2..]);
        if bytes[..2] != WHOLE {
            return Err(WHAT);
        }
        let key = VerifyingKey::from_bytes(&key).map_err(|_| WHAT)?;
        // with such a key one signature fits many files
        if key.is_weak() {
            return Err(WHAT);
        }
        Ok(Self { number, key })
    }
}

/// A signature file that was read, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFile {
    hashed: bool,
    number: [u8; 8],
    signature: Signature,
    comment: Option<(String, Signature)>,
}

impl SignatureFile {
    pub(super) fn whole(key: &PublicKey, signature: &Signature) -> Self {
        Self {
            hashed: false,
            number: key.number,
            signature: *signature,
            comment: None,
        }
    }

    pub(super) fn hashed(
        key: &PublicKey,
        signature: &Signature,
        comment: &str,
        global: &Signature,
    ) -> Self {
        Self {
            hashed: true,
            number: key.number,
            signature: *signature,
            comment: Some((comment.to_owned(), *global)),
        }
    }

    /// Tells whether the file's BLAKE2b-512 was signed, as minisign does.
    pub fn is_hashed(&self) -> bool {
        self.hashed
    }

    /// Returns the number of the key that signed.
    pub fn number(&self) -> [u8; 8] {
        self.number
    }

    /// Returns the comment that is signed too, once [`super::verify`] has said so.
    pub fn trusted_comment(&self) -> Option<&str> {
        self.comment.as_ref().map(|(comment, _)| comment.as_str())
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn comment(&self) -> Option<(&str, &Signature)> {
        let (comment, global) = self.comment.as_ref()?;
        Some((comment, global))
    }

    pub(super) fn to_file(&self, name: &str) -> String {
        let algorithm = if self.hashed { HASHED } else { WHOLE };
        let bytes = [&algorithm[..], &self.number, &self.signature.to_bytes()].concat();
        let encoded = STANDARD.encode(bytes);
        let name = one_line(name);
        let mut file = format!("{UNTRUSTED}signed with the device's key of {name}\n{encoded}\n");
        if let Some((comment, global)) = &self.comment {
            let global = STANDARD.encode(global.to_bytes());
            file.push_str(&format!("{TRUSTED}{comment}\n{global}\n"));
        }
        file
    }
}

impl FromStr for SignatureFile {
    type Err = SignifyError;

    fn from_str(text: &str) -> Result<Self, SignifyError> {
        const WHAT: SignifyError = SignifyError::Malformed("signature");
        let mut lines = text.lines();
        let first = lines.next().ok_or(WHAT)?;
        if !first.starts_with("untrusted comment:") {
            return Err(WHAT);
        }
        let bytes = lines.next().and_then(decode::<74>).ok_or(WHAT)?;
        let hashed = match [bytes[0], bytes[1]] {
            WHOLE => false,
            HASHED => true,
            _ => return Err(WHAT),
        };
        let (number, signature) = numbered::<64>(&bytes[2..]);
        let comment = match lines.next() {
            None | Some("") if !hashed => None,
            line => {
                let comment = line
                    .and_then(|line| line.strip_prefix(TRUSTED))
                    .ok_or(WHAT)?;
                let global = lines.next().and_then(decode::<64>).ok_or(WHAT)?;
                if comment.len() > MAX_COMMENT * 8 {
                    return Err(WHAT);
                }
                Some((comment.to_owned(), Signature::from_bytes(&global)))
            }
        };
        if lines.any(|line| !line.is_empty()) {
            return Err(WHAT);
        }
        Ok(Self {
            hashed,
            number,
            signature: Signature::from_bytes(&signature),
            comment,
        })
    }
}

fn decode<const N: usize>(line: &str) -> Option<[u8; N]> {
    STANDARD.decode(line.trim_end()).ok()?.try_into().ok()
}

/// Splits a key number from what follows it.
fn numbered<const N: usize>(bytes: &[u8]) -> ([u8; 8], [u8; N]) {
    let (number, rest) = bytes.split_at(8);
    (
        number.try_into().expect("eight bytes"),
        rest.try_into().expect("the caller counted them"),
    )
}

fn one_line(text: &str) -> String {
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    text.chars().map(printable).collect()
}
