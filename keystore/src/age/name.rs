//! Names of age keys on the device, and the identity lines that carry them.

use std::fmt;
use std::str::FromStr;

use bech32::{FromBase32, ToBase32, Variant};

use crate::hint::Hint;
use crate::identity::IdentityUri;

/// The plugin that opens files for such a key: age looks for `age-plugin-trezor`.
pub const PLUGIN: &str = "trezor";

/// The name of the key that is used where none is said.
pub const DEFAULT_NAME: &str = "bcm";

/// Longest name, in bytes: age-plugin-trezor reads identity lines of at most 90 characters.
pub const MAX_AGE_NAME: usize = 40;

/// What an identity line begins with, in lower case and without Bech32's separator.
const PREFIX: &str = "age-plugin-trezor-";

/// The name of an age key on the device, `age://NAME`: 1 to 40 printable ASCII characters.
///
/// The whole name stands in the place of the host, as age-plugin-trezor does it, so that
/// `me@example.org` is a name and no user at a host.
///
/// ```
/// use bcm_keystore::age::AgeName;
/// let name: AgeName = "backup".parse()?;
/// assert_eq!(name.identity_line(), "AGE-PLUGIN-TREZOR-1VFSKX6M4WQ5SUYMM");
/// # Ok::<_, bcm_keystore::age::AgeNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgeName(pub(super) String);

impl AgeName {
    /// Reads the name out of an identity line, `AGE-PLUGIN-TREZOR-1…`.
    ///
    /// # Errors
    ///
    /// [`AgeNameError::IdentityLine`] when it is none, else as for a name.
    pub fn from_identity_line(line: &str) -> Result<Self, AgeNameError> {
        let (prefix, data, variant) =
            bech32::decode(line).map_err(|_| AgeNameError::IdentityLine)?;
        if prefix != PREFIX || variant != Variant::Bech32 {
            return Err(AgeNameError::IdentityLine);
        }
        let name = Vec::from_base32(&data).map_err(|_| AgeNameError::IdentityLine)?;
        Self::from_bytes(name)
    }

    /// Reads the name out of the payload of an identity line.
    ///
    /// # Errors
    ///
    /// As for a name.
    pub fn from_bytes(name: Vec<u8>) -> Result<Self, AgeNameError> {
        String::from_utf8(name)
            .map_err(|_| AgeNameError::Character)?
            .parse()
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the line for an identity file, byte for byte that of age-plugin-trezor.
    ///
    /// It holds the name and no secret: whoever reads it can decrypt nothing without the device.
    pub fn identity_line(&self) -> String {
        bech32::encode(PREFIX, self.0.as_bytes().to_base32(), Variant::Bech32)
            .expect("the prefix is valid")
            .to_uppercase()
    }

    /// Returns the identity of the key.
    pub fn uri(&self) -> IdentityUri {
        IdentityUri::new("age", &self.0).expect("a name is short, printable and not empty")
    }
}

impl Default for AgeName {
    fn default() -> Self {
        Self(DEFAULT_NAME.to_owned())
    }
}

impl FromStr for AgeName {
    type Err = AgeNameError;

    fn from_str(name: &str) -> Result<Self, AgeNameError> {
        if name.is_empty() {
            return Err(AgeNameError::Empty);
        }
        if name.len() > MAX_AGE_NAME {
            return Err(AgeNameError::TooLong(name.len()));
        }
        if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(AgeNameError::Character);
        }
        if name.trim() != name {
            return Err(AgeNameError::Space);
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for AgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text names no age key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgeNameError {
    /// There is nothing.
    #[error("an age key needs a name")]
    Empty,
    /// More than age-plugin-trezor can read back.
    #[error("a name of {0} bytes is too long, {MAX_AGE_NAME} at most")]
    TooLong(usize),
    /// The device shows it unfiltered, so it has to be what it looks like.
    #[error("the name of an age key is printable ASCII")]
    Character,
    /// Two names would look the same.
    #[error("the name of an age key does not begin or end with a space")]
    Space,
    /// It is no identity line.
    #[error("this is no identity line of age-plugin-trezor")]
    IdentityLine,
}

impl Hint for AgeNameError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::IdentityLine => {
                "it begins with `AGE-PLUGIN-TREZOR-1`; `age recipient` prints it".into()
            }
            _ => "choose one such as `backup` or `me@example.org`".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identity_lines_equal_those_of_age_plugin_trezor() {
        let lines = include_str!("../../vectors/peers/age-plugin-trezor.txt");
        let lines: Vec<_> = lines.lines().collect();
        let mut compared = 0;
        for entry in lines.chunks(3) {
            let name = entry[1].strip_prefix("# SLIP-0017: ").unwrap();
            let name: AgeName = name.parse().unwrap();
            assert_eq!(name.identity_line(), entry[2]);
            assert_eq!(AgeName::from_identity_line(entry[2]).unwrap(), name);
            compared += 1;
        }
        assert_eq!(compared, 2);
    }

    #[test]
    fn what_the_device_would_not_show_as_it_is_is_no_name() {
        for (name, error) in [
            ("", AgeNameError::Empty),
            ("a\nb", AgeNameError::Character),
            ("a\u{202e}b", AgeNameError::Character),
            ("é", AgeNameError::Character),
            (" a", AgeNameError::Space),
            ("a ", AgeNameError::Space),
        ] {
            assert_eq!(name.parse::<AgeName>().unwrap_err(), error, "{name:?}");
        }
        let long = "x".repeat(MAX_AGE_NAME + 1);
        assert_eq!(
            long.parse::<AgeName>().unwrap_err(),
            AgeNameError::TooLong(41)
        );
        assert!("me@example.org".parse::<AgeName>().is_ok());
        assert!("My backups, 2026".parse::<AgeName>().is_ok());
    }

    #[test]
    fn the_longest_name_fits_what_age_plugin_trezor_reads() {
        let name: AgeName = "x".repeat(MAX_AGE_NAME).parse().unwrap();
        assert!(name.identity_line().len() <= 90);
    }

    #[test]
    fn an_identity_line_of_another_plugin_is_refused() {
        for line in [
            "AGE-PLUGIN-YUBIKEY-1QQQQQQ",
            "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33",
            "AGE-PLUGIN-TREZOR-1VFSKX6M4WQ5SUYMN",
            "",
        ] {
            let refused = AgeName::from_identity_line(line).unwrap_err();
            assert_eq!(refused, AgeNameError::IdentityLine, "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_names_come_back(text in any::<String>()) {
            let _ = AgeName::from_identity_line(&text);
            if let Ok(name) = text.parse::<AgeName>() {
                prop_assert_eq!(AgeName::from_identity_line(&name.identity_line()), Ok(name));
            }
        }
    }
}
