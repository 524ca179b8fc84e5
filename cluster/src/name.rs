//! Names that a person gives to clusters, hosts and instances, and the id of a cluster.

use std::fmt;
use std::str::FromStr;

use bcm_keystore::Hint;
use serde::{Deserialize, Serialize};

/// Longest name; with it a label, a volume and a line of the device's screen still fit.
pub const MAX_NAME: usize = 32;

/// Words that commands take in place of a name.
const RESERVED: [&str; 2] = ["all", "none"];

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name: {why}")]
pub struct NameError {
    text: String,
    why: &'static str,
}

impl Hint for NameError {
    fn hint(&self) -> Option<String> {
        Some(format!(
            "use a to z, 0 to 9 and `-`, a letter first, at most {MAX_NAME} characters: `node-1`"
        ))
    }
}

/// Takes a label of [RFC 1123](https://www.rfc-editor.org/rfc/rfc1123#section-2), lower case, that
/// begins with a letter: it can stand in a file name, an option, a label and a hostname.
fn check(text: &str) -> Result<String, NameError> {
    let refuse = |why| {
        let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        Err(NameError {
            text: text.chars().take(80).map(printable).collect(),
            why,
        })
    };
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() {
        refuse("it is empty")
    } else if text.len() > MAX_NAME {
        refuse("it is too long")
    } else if !text.chars().all(allowed) {
        refuse("it has other characters than a to z, 0 to 9 and `-`")
    } else if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        refuse("it does not begin with a letter")
    } else if text.ends_with('-') {
        refuse("it ends with `-`")
    } else if RESERVED.contains(&text) {
        refuse("commands take this word for something else")
    } else {
        Ok(text.to_owned())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a cluster: `home`.
    ClusterName
}
name! {
    /// The name of a host within its cluster: `node-1`.
    HostName
}
name! {
    /// The name of a system container or VM on an LXD or Incus server.
    InstanceName
}

/// What tells a cluster from every other, whatever its name: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// Takes bytes that were just drawn at random.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// A text that is no [`ClusterId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a cluster is not 32 lower-case hex digits")]
pub struct ClusterIdError;

impl FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, ClusterIdError> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let mut id = [0; 16];
        if text.len() != 2 * id.len() {
            return Err(ClusterIdError);
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let [high, low] = [pair[0], pair[1]].map(digit);
            *byte = high.ok_or(ClusterIdError)? << 4 | low.ok_or(ClusterIdError)?;
        }
        Ok(Self(id))
    }
}

impl TryFrom<String> for ClusterId {
    type Error = ClusterIdError;

    fn try_from(text: String) -> Result<Self, ClusterIdError> {
        text.parse()
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_labels_and_nothing_else() {
        for sound in ["a", "node-1", "n0", &"x".repeat(MAX_NAME)] {
            assert_eq!(sound.parse::<HostName>().unwrap().as_str(), sound);
        }
        for (wrong, why) in [
            ("", "empty"),
            (&*"x".repeat(MAX_NAME + 1), "too long"),
            ("-x", "begin"),
            ("1x", "begin"),
            ("x-", "ends"),
            ("Node", "other characters"),
            ("a.b", "other characters"),
            ("a b", "other characters"),
            ("all", "something else"),
        ] {
            let error = wrong.parse::<ClusterName>().unwrap_err();
            assert!(error.to_string().contains(why), "{wrong}: {error}");
            assert!(error.hint().is_some());
        }
    }

    proptest! {
        #[test]
        fn an_id_is_read_as_it_is_written(bytes in any::<[u8; 16]>(), noise in "\\PC{0,40}") {
            let id = ClusterId::new(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let _ = noise.parse::<ClusterId>();
            let _ = noise.parse::<HostName>();
        }
    }
}
