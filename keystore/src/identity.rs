//! Names of keys on the device: `ssh://user@host`, `gpg://Satoshi <s@example.org>`, `age://backup`.
//!
//! An identity alone makes the key: its ASCII form and an index are hashed into a BIP-32 path
//! ([SLIP-13](https://github.com/satoshilabs/slips/blob/master/slip-0013.md) for signing,
//! [SLIP-17](https://github.com/satoshilabs/slips/blob/master/slip-0017.md) for ECDH). The string
//! is ambiguous: user `a` at host `b@c` is the same key as user `a@b` at host `c`. [`IdentityUri`]
//! speaks for whatever trezor-agent would; the identities that bcm makes for logins are the strict
//! [`SshIdentity`], in which the parts cannot run into each other.

mod ssh;
#[cfg(test)]
mod tests;
mod transliterate;

use std::fmt;
use std::str::FromStr;

use bitcoin::bip32::ChildNumber;
use sha2::{Digest, Sha256};
use trezor_client::protos::IdentityType;

use crate::hint::Hint;
use crate::path::DerivationPath;

pub use ssh::{MAX_LOGIN_NAME, MAX_SSH_IDENTITY, Part, SshIdentity, SshIdentityError};

/// Longest identity that bcm takes, in bytes of its ASCII form: the device shows it page by page.
pub const MAX_IDENTITY: usize = 512;

/// The curve of a key on the device.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// [RFC 8032](https://www.rfc-editor.org/rfc/rfc8032), for signatures.
    #[default]
    Ed25519,
    /// NIST P-256, for signatures and ECDH.
    Nist256p1,
    /// Bitcoin's curve, for approvals.
    Secp256k1,
    /// [RFC 7748](https://www.rfc-editor.org/rfc/rfc7748) X25519, for ECDH.
    Curve25519,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Self; 4] = [
        Self::Ed25519,
        Self::Nist256p1,
        Self::Secp256k1,
        Self::Curve25519,
    ];

    /// Returns the name that a Trezor and trezor-agent use (`ecdsa_curve_name`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Nist256p1 => "nist256p1",
            Self::Secp256k1 => "secp256k1",
            Self::Curve25519 => "curve25519",
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A curve that a Trezor does not have.
#[derive(Debug, thiserror::Error)]
#[error("unknown curve `{0}`, expected ed25519, nist256p1, secp256k1 or curve25519")]
pub struct UnknownCurve(String);

impl FromStr for Curve {
    type Err = UnknownCurve;

    fn from_str(name: &str) -> Result<Self, UnknownCurve> {
        Self::ALL
            .into_iter()
            .find(|curve| curve.name() == name)
            .ok_or_else(|| UnknownCurve(name.to_owned()))
    }
}

/// The name of a key on the device: `[proto://][user@]host[:port][path]` and an index.
///
/// ```
/// use bcm_keystore::identity::IdentityUri;
/// let uri: IdentityUri = "https://satoshi@bitcoin.org/login".parse()?;
/// assert_eq!(uri.path().to_string(), "m/13h/490267344h/697598796h/1613620211h/1858012177h");
/// # Ok::<_, bcm_keystore::identity::IdentityError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityUri {
    proto: Option<String>,
    user: Option<String>,
    host: String,
    port: Option<String>,
    path: Option<String>,
    index: u32,
}

impl IdentityUri {
    /// Makes the identity of `host` under `proto`, with no part of `host` taken as user or port.
    ///
    /// This is how trezor-gpg names an OpenPGP key: `gpg` and the whole user ID.
    ///
    /// # Errors
    ///
    /// Fails with [`IdentityError`] where [`IdentityUri::from_str`] would.
    pub fn new(proto: &str, host: &str) -> Result<Self, IdentityError> {
        let text = format!("{proto}://{host}");
        Self {
            proto: part(proto),
            user: None,
            host: host.to_owned(),
            port: None,
            path: None,
            index: 0,
        }
        .checked(&text)
    }

    /// Returns the identity of the same string with another index: another key.
    #[must_use]
    pub fn with_index(mut self, index: u32) -> Self {
        self.index = index;
        self
    }

    /// Returns the scheme, such as `ssh`.
    pub fn proto(&self) -> Option<&str> {
        self.proto.as_deref()
    }

    /// Returns the user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the host, or whatever stands in its place: an OpenPGP user ID, a label.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port as it was written.
    pub fn port(&self) -> Option<&str> {
        self.port.as_deref()
    }

    /// Returns the path within the host, with its leading slash.
    pub fn resource(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Returns the index, 0 for every key that bcm makes.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns the string that is hashed: transliterated to ASCII as trezor-agent does.
    pub fn ascii(&self) -> String {
        ascii(&self.to_string()).expect("the parts were checked when the identity was made")
    }

    /// Returns the path of the signing key (SLIP-13).
    pub fn path(&self) -> DerivationPath {
        self.path_for(13)
    }

    /// Returns the path of the ECDH key (SLIP-17).
    pub fn ecdh_path(&self) -> DerivationPath {
        self.path_for(17)
    }

    fn path_for(&self, purpose: u32) -> DerivationPath {
        let mut hash = Sha256::new();
        hash.update(self.index.to_le_bytes());
        hash.update(self.ascii());
        let hash = hash.finalize();
        let hashed = hash.chunks_exact(4).take(4).map(|word| {
            u32::from_le_bytes(word.try_into().expect("chunks of four bytes")) & 0x7fff_ffff
        });
        std::iter::once(purpose)
            .chain(hashed)
            .map(|index| ChildNumber::Hardened { index })
            .collect::<Vec<_>>()
            .into()
    }

    fn checked(self, text: &str) -> Result<Self, IdentityError> {
        if self.host.is_empty() {
            return Err(IdentityError::NoHost(quoted(text)));
        }
        let separators = ["://".len(), "@".len(), ":".len()];
        let mut length: usize = separators.iter().sum();
        let parts = [
            self.proto.as_deref(),
            self.user.as_deref(),
            Some(&*self.host),
            self.port.as_deref(),
            self.path.as_deref(),
        ];
        for part in parts.into_iter().flatten() {
            length += ascii(part)
                .map_err(|character| IdentityError::Character {
                    identity: quoted(text),
                    character,
                })?
                .len();
        }
        if length > MAX_IDENTITY {
            return Err(IdentityError::TooLong { length });
        }
        Ok(self)
    }
}

impl FromStr for IdentityUri {
    type Err = IdentityError;

    /// Takes a string apart as trezor-agent's regular expression does:
    /// `^(?:(?P<proto>.*)://)?(?:(?P<user>.*)@)?(?P<host>.*?)(?::(?P<port>\w*))?(?P<path>/.*)?$`.
    ///
    /// Greedy groups end at the *last* `://` and the *last* `@`; the host is as short as it can be;
    /// empty parts vanish. A line break, which ends that program in a stack trace, is refused, and
    /// so is a character that cannot be written in ASCII as it would.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let (proto, rest) = match text.rsplit_once("://") {
            Some((proto, rest)) => (part(proto), rest),
            None => (None, text),
        };
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (part(user), rest),
            None => (None, rest),
        };
        let (host, port, path) = split_host(rest);
        Self {
            proto,
            user,
            host: host.to_owned(),
            port: part(port),
            path: part(path),
            index: 0,
        }
        .checked(text)
    }
}

impl fmt::Display for IdentityUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(proto) = &self.proto {
            write!(f, "{proto}://")?;
        }
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = &self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.path.as_deref().unwrap_or_default())
    }
}

impl From<&IdentityUri> for IdentityType {
    /// Fills the message with the ASCII of each part, which the device joins to the same string.
    fn from(uri: &IdentityUri) -> Self {
        let field = |part: &str| ascii(part).expect("the parts were checked");
        let mut message = Self::new();
        message.proto = uri.proto.as_deref().map(field);
        message.user = uri.user.as_deref().map(field);
        message.host = Some(field(&uri.host));
        message.port = uri.port.as_deref().map(field);
        message.path = uri.path.as_deref().map(field);
        message.index = Some(uri.index);
        message
    }
}

/// Why a string does not name a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no host, which every key of trezor-agent has.
    #[error("identity `{0}` names no host")]
    NoHost(String),
    /// A character that has no ASCII form shared with trezor-agent, or a control character.
    #[error("identity `{identity}` holds the character U+{:04X}", u32::from(*character))]
    Character {
        /// The whole string, made printable.
        identity: String,
        /// The character.
        character: char,
    },
    /// Longer than [`MAX_IDENTITY`].
    #[error("identity of {length} bytes is too long, {MAX_IDENTITY} at most")]
    TooLong {
        /// Its length.
        length: usize,
    },
}

impl Hint for IdentityError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NoHost(_) => "write it as `ssh://user@host`",
                Self::Character { .. } => "write it in ASCII, in one line",
                Self::TooLong { .. } => "choose a shorter name",
            }
            .to_owned(),
        )
    }
}

fn part(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Splits `host[:port][path]` where the lazy host of the regular expression ends.
fn split_host(text: &str) -> (&str, &str, &str) {
    for (at, c) in text.char_indices() {
        let (host, rest) = text.split_at(at);
        match c {
            '/' => return (host, "", rest),
            ':' => {
                let port = &rest[1..];
                let word = |c: char| c.is_alphanumeric() || c == '_';
                let end = port.find(|c| !word(c)).unwrap_or(port.len());
                let (port, path) = port.split_at(end);
                if path.is_empty() || path.starts_with('/') {
                    return (host, port, path);
                }
            }
            _ => {}
        }
    }
    (text, "", "")
}

/// Transliterates, or names the first character for which there is no way.
fn ascii(text: &str) -> Result<String, char> {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        let ascii = transliterate::to_ascii(c).ok_or(c)?;
        if ascii.contains(|a: char| a.is_ascii_control()) {
            return Err(c);
        }
        result.push_str(ascii);
    }
    Ok(result)
}

/// Returns at most 80 characters of `text`, each that could disturb a terminal written as `?`.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let printable = |c: char| {
        if c.is_control() || !c.is_ascii() && !c.is_alphanumeric() {
            '?'
        } else {
            c
        }
    };
    let mut quoted: String = text.chars().take(SHOWN).map(printable).collect();
    if text.chars().nth(SHOWN).is_some() {
        quoted.push_str("...");
    }
    quoted
}
