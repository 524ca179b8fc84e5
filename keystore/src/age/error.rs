//! Why an age key, an encryption or a decryption came to nothing.

use std::io;

use ::age::{DecryptError, EncryptError};

use super::name::AgeNameError;
use crate::device::DeviceError;
use crate::hint::Hint;

/// Why an age key, an encryption or a decryption came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgeError {
    /// The request did not end in an answer.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] AgeNameError),
    /// The device's answer is not what the request asks for.
    #[error("the device's answer cannot be right: {0}")]
    Answer(String),
    /// The device used another key than the one that was derived before.
    #[error("the device has another key for `age://{0}` than the one that was derived before")]
    KeyChanged(String),
    /// It is no recipient that anything can be encrypted to.
    #[error("`{recipient}` cannot be encrypted to: {reason}")]
    Recipient {
        /// What was given, printable and cut.
        recipient: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody could open the file.
    #[error("there is no recipient to encrypt to")]
    NoRecipients,
    /// Some recipients refuse to stand beside others, such as post-quantum ones.
    #[error("these recipients cannot be mixed: one of them would weaken the others")]
    Mixed,
    /// The program for a recipient or identity is not there.
    #[error("there is no `{0}` on the PATH")]
    MissingPlugin(String),
    /// The program for a recipient or identity failed.
    #[error("an age plugin failed: {0}")]
    Plugin(String),
    /// The file is of no age format that bcm knows.
    #[error("this is no age file")]
    NotAge,
    /// The file is encrypted to a passphrase.
    #[error("the file is encrypted to a passphrase, not to a key")]
    Passphrase,
    /// None of the keys opens the file.
    #[error("the file is not encrypted to this key, or its header was changed")]
    NoMatch,
    /// The file is not as it was written.
    #[error("the age file is damaged: {0}")]
    Damaged(String),
    /// What should be encrypted or decrypted cannot be read.
    #[error("cannot read the input")]
    Read(#[source] io::Error),
    /// The result cannot be written.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
}

impl Hint for AgeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Device(error) => error.hint(),
            Self::Name(error) => error.hint(),
            Self::Answer(_) => Some("check the device and its firmware".into()),
            Self::KeyChanged(_) => Some("lock, and unlock the wallet that made the key".into()),
            Self::Recipient { .. } => {
                Some("give `age1…`, `age1PLUGIN1…`, `ssh-ed25519 …` or `ssh-rsa …`".into())
            }
            Self::MissingPlugin(name) => Some(format!("install `{name}`")),
            Self::Passphrase => Some("decrypt it with `age -d`".into()),
            Self::NoMatch => {
                Some("name the key, or unlock the wallet, that it was encrypted to".into())
            }
            Self::Damaged(_) => Some("nothing of it can be relied on; get it again".into()),
            Self::NoRecipients
            | Self::Mixed
            | Self::Plugin(_)
            | Self::NotAge
            | Self::Read(_)
            | Self::Write(_) => None,
        }
    }
}

impl AgeError {
    /// Carries the error through the traits of the crate `age`, which know no device.
    pub(super) fn into_decrypt_error(self) -> DecryptError {
        match self {
            Self::Damaged(_) => DecryptError::InvalidHeader,
            error => DecryptError::Io(io::Error::other(error)),
        }
    }

    /// Tells what stopped a decryption: what [`Self::into_decrypt_error`] and [`failed_read`] hid, or
    /// the file.
    pub(super) fn of_io(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged("it ends too early".into())
            }
            Err(error) => Self::Damaged(error.to_string()),
        }
    }
}

/// Marks what the input said, so that it is told from what the decryption says.
pub(super) fn failed_read(error: io::Error) -> io::Error {
    match error.kind() {
        // readers try again after it
        io::ErrorKind::Interrupted => error,
        kind => io::Error::new(kind, AgeError::Read(error)),
    }
}

impl From<EncryptError> for AgeError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::IncompatibleRecipients { .. }
            | EncryptError::MixedRecipientAndPassphrase => Self::Mixed,
            EncryptError::Io(error) => Self::Write(error),
            EncryptError::MissingPlugin { binary_name } => Self::MissingPlugin(binary_name),
            EncryptError::MissingRecipients => Self::NoRecipients,
            error => Self::Plugin(one_line(&error.to_string())),
        }
    }
}

impl From<DecryptError> for AgeError {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::Io(error) => Self::of_io(error),
            DecryptError::NoMatchingKeys => Self::NoMatch,
            DecryptError::UnknownFormat => Self::NotAge,
            DecryptError::MissingPlugin { binary_name } => Self::MissingPlugin(binary_name),
            DecryptError::Plugin(_) => Self::Plugin(one_line(&error.to_string())),
            DecryptError::InvalidHeader => Self::Damaged("its header is malformed".into()),
            DecryptError::InvalidMac => Self::Damaged("its header was changed".into()),
            error => Self::Damaged(one_line(&error.to_string())),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
