//! What is done on a host, exactly.

use std::fmt;

use bcm_keystore::statement::Sha256Digest;
use serde::{Deserialize, Serialize};

/// One step of a preparation.
///
/// There are few kinds, and none that leaves anything to whoever carries it out: the content of a file and the
/// words of a command stand in the statement that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Operation {
    /// Writes a file whole: beside its place, to the disk, then over it.
    File {
        /// What it is for.
        why: String,
        /// Where, absolute.
        path: String,
        /// Who owns it, `user:group`.
        owner: String,
        /// Its mode, octal.
        mode: String,
        /// What it holds.
        content: Content,
        /// The SHA-256 of what it holds.
        sha256: Sha256Digest,
        /// The SHA-256 of what lies there now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<Sha256Digest>,
        /// A command that has to accept it; else what was there before is put back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        check: Vec<String>,
    },
    /// Removes a file.
    Remove {
        /// Why.
        why: String,
        /// Where, absolute.
        path: String,
    },
    /// Runs a program as root.
    Run {
        /// What it does.
        why: String,
        /// The program and its arguments.
        words: Vec<String>,
    },
    /// Proves from outside that this user can log in and become root.
    Login {
        /// What has been done up to here.
        why: String,
        /// The user.
        user: String,
        /// Commands that open the old way again when it fails, run over the connection that is still open.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        otherwise: Vec<Vec<String>>,
    },
}

impl Operation {
    pub(super) fn run(why: &str, words: &[&str]) -> Self {
        Self::Run {
            why: why.to_owned(),
            words: owned(words),
        }
    }

    /// Returns what it is for, in a few words.
    pub fn why(&self) -> &str {
        match self {
            Self::File { why, .. }
            | Self::Remove { why, .. }
            | Self::Run { why, .. }
            | Self::Login { why, .. } => why,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                owner,
                mode,
                replaces,
                ..
            } => {
                let verb = if replaces.is_some() {
                    "replace"
                } else {
                    "write"
                };
                write!(f, "{verb} {path} ({owner} {mode})")
            }
            Self::Remove { path, .. } => write!(f, "remove {path}"),
            Self::Run { words, .. } => {
                let quoted = shlex::try_join(words.iter().map(String::as_str));
                write!(f, "run {}", quoted.unwrap_or_else(|_| words.join(" ")))
            }
            Self::Login { user, .. } => write!(f, "log in as {user}"),
        }
    }
}

pub(super) fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// What a file holds: text where it is text, so that a person can read the statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// UTF-8.
    Text(String),
    /// Anything else, in hexadecimal.
    Hex(#[serde(with = "hex::serde")] Vec<u8>),
}

impl Content {
    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Hex(bytes) => bytes,
        }
    }

    /// Returns their SHA-256.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.bytes())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Hex(error.into_bytes()),
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
