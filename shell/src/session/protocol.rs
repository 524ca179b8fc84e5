//! What a bcm session and the programs that use it say to each other.
//!
//! One request and one answer on a connection: a length of four bytes, big-endian, and that much
//! JSON. The socket is for this user's programs alone, and of the same version of bcm: a field that
//! is not known is a mistake.

use std::fmt;

use bcm_keystore::age::{ExposeSecret, FileKey, Stanza};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::report::{Kind, Report};

/// Longest request or answer.
pub const MAX_MESSAGE: usize = 1 << 20;

/// What a program asks of the session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Request {
    /// The recipient of an age key; nothing is confirmed.
    AgeRecipient {
        /// The name of the key.
        name: String,
    },
    /// The file key of an age file: each of its X25519 stanzas may cost a confirmation.
    AgeUnwrap {
        /// The name of the key.
        name: String,
        /// The stanzas of the file, in their order.
        stanzas: Vec<WireStanza>,
    },
}

/// What the session answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::AgeRecipient`].
    AgeRecipient {
        /// `age1…`.
        recipient: String,
    },
    /// To [`Request::AgeUnwrap`].
    AgeFileKey {
        /// The file key, absent when no stanza is for this key of this wallet.
        file_key: Option<Secret>,
    },
    /// It was not done.
    Refused(Refusal),
}

/// Why it was not done, in the words and with the exit code that a command would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// As of [`Report::exit_code`].
    pub code: u8,
    /// What is wrong.
    pub what: String,
    /// The next act.
    pub hint: Option<String>,
}

impl From<Report> for Refusal {
    fn from(report: Report) -> Self {
        let (what, hint) = report.words();
        Self {
            code: report.exit_code(),
            what,
            hint,
        }
    }
}

impl From<Refusal> for Report {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.code {
            2 => Kind::Usage,
            3 => Kind::Device,
            4 => Kind::Verification,
            _ => Kind::Failed,
        };
        let report = Self::text(kind, refusal.what);
        match refusal.hint {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }
}

/// A stanza of an age header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireStanza {
    /// Its type.
    pub tag: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl From<&Stanza> for WireStanza {
    fn from(stanza: &Stanza) -> Self {
        Self {
            tag: stanza.tag.clone(),
            args: stanza.args.clone(),
            body: stanza.body.clone(),
        }
    }
}

impl From<WireStanza> for Stanza {
    fn from(stanza: WireStanza) -> Self {
        Self {
            tag: stanza.tag,
            args: stanza.args,
            body: stanza.body,
        }
    }
}

/// A file key on its way to the program that asked for it, wiped on both sides.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Secret([u8; 16]);

impl Secret {
    /// Returns the file key.
    pub fn file_key(&self) -> FileKey {
        FileKey::init_with_mut(|key| key.copy_from_slice(&self.0))
    }
}

impl From<&FileKey> for Secret {
    fn from(key: &FileKey) -> Self {
        Self(*key.expose_secret())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came is no message of a bcm session")]
pub struct Malformed;

/// Writes a message with its length before it; `None` when it is too long.
pub fn encode(message: &impl Serialize) -> Option<Zeroizing<Vec<u8>>> {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, message).ok()?;
    let length = u32::try_from(counter.0).ok()?;
    if counter.0 > MAX_MESSAGE {
        return None;
    }
    // taken at its full length: what grows leaves copies behind that nobody wipes
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + counter.0));
    bytes.extend_from_slice(&length.to_be_bytes());
    serde_json::to_writer(&mut *bytes, message).ok()?;
    Some(bytes)
}

/// Reads the length of a message.
pub fn length(bytes: [u8; 4]) -> Result<usize, Malformed> {
    match usize::try_from(u32::from_be_bytes(bytes)) {
        Ok(length) if length <= MAX_MESSAGE => Ok(length),
        _ => Err(Malformed),
    }
}

/// Reads a message.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|_| Malformed)
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_does_not_panic(bytes in any::<Vec<u8>>(), text in "[{}\\[\\]\":,a-z0-9-]*") {
            let _ = decode::<Request>(&bytes);
            let _ = decode::<Request>(text.as_bytes());
            let _ = decode::<Answer>(&bytes);
        }
    }

    #[test]
    fn messages_come_back() {
        let request = Request::AgeUnwrap {
            name: "bcm".into(),
            stanzas: vec![WireStanza {
                tag: "X25519".into(),
                args: vec!["a".into()],
                body: vec![0, 255],
            }],
        };
        let bytes = encode(&request).unwrap();
        let (start, body) = bytes.split_first_chunk::<4>().unwrap();
        assert_eq!(length(*start).unwrap(), body.len());
        let read: Request = decode(body).unwrap();
        assert_eq!(format!("{read:?}"), format!("{request:?}"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let key = FileKey::new(Box::new([7; 16]));
        let secret = Secret::from(&key);
        assert_eq!(format!("{secret:?}"), "Secret([redacted])");
        assert_eq!(secret.file_key().expose_secret(), &[7; 16]);
        let bytes = encode(&Answer::AgeFileKey {
            file_key: Some(secret),
        });
        let read: Answer = decode(&bytes.unwrap()[4..]).unwrap();
        let Answer::AgeFileKey { file_key } = read else {
            panic!("another answer");
        };
        assert_eq!(file_key.unwrap().file_key().expose_secret(), &[7; 16]);
    }

    #[test]
    fn what_is_not_known_is_a_mistake() {
        for text in [
            r#"{"age-recipient":{"name":"a","more":1}}"#,
            r#"{"age-recipients":{"name":"a"}}"#,
            r#"{"age-recipient":{}}"#,
            r#""age-recipient""#,
            "[]",
            "",
        ] {
            assert_eq!(decode::<Request>(text.as_bytes()).unwrap_err(), Malformed);
        }
        assert_eq!(length([0, 16, 0, 1]), Err(Malformed));
        assert_eq!(length([255; 4]), Err(Malformed));
    }

    #[test]
    fn what_is_too_long_is_not_sent() {
        let name = "x".repeat(MAX_MESSAGE);
        assert!(encode(&Request::AgeRecipient { name }).is_none());
    }
}
