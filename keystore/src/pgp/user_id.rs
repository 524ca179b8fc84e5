//! User IDs: the names in a cert. The first one also names the keys on the device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hint::Hint;
use crate::identity::{IdentityError, IdentityUri};

/// The scheme under which trezor-gpg keeps OpenPGP keys.
const PROTO: &str = "gpg";

/// A user ID that bcm puts into a cert: one printable line, such as `Satoshi <s@example.org>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct UserId(String);

impl UserId {
    /// Returns it as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the identity under which the device keeps the keys of a cert that starts with it.
    pub fn identity(&self) -> IdentityUri {
        IdentityUri::new(PROTO, &self.0).expect("it was checked when it was made")
    }
}

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(text: &str) -> Result<Self, UserIdError> {
        if text.trim().is_empty() {
            return Err(UserIdError::Empty);
        }
        if text.trim() != text {
            return Err(UserIdError::Blank);
        }
        if let Some(character) = text.chars().find(|c| is_invisible(*c)) {
            return Err(UserIdError::Invisible(character));
        }
        IdentityUri::new(PROTO, text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<UserId> for String {
    fn from(user_id: UserId) -> Self {
        user_id.0
    }
}

impl TryFrom<String> for UserId {
    type Error = UserIdError;

    fn try_from(text: String) -> Result<Self, UserIdError> {
        text.parse()
    }
}

/// Tells whether a character cannot be seen or turns the text around it: one name would pass for
/// another.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Why a text is no user ID.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserIdError {
    /// There is nothing in it.
    #[error("an empty user ID names nobody")]
    Empty,
    /// It begins or ends with a blank, which nobody sees and which makes other keys.
    #[error("the user ID begins or ends with a blank")]
    Blank,
    /// A line break, a control character, or one that is not seen.
    #[error("the user ID holds the character U+{:04X}, which cannot be seen", u32::from(*.0))]
    Invisible(char),
    /// The device cannot keep keys under it.
    #[error("the user ID cannot name a key on the device")]
    Identity(#[from] IdentityError),
}

impl Hint for UserIdError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Identity(error) => error.hint(),
            _ => Some("write it in one line, as in `Satoshi <satoshi@example.org>`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_one_line_that_can_be_seen() {
        for good in [
            "Satoshi Nakamoto <satoshi@bitcoin.org>",
            "Jörg Müller <jm@example.org>",
            "s",
        ] {
            assert_eq!(good.parse::<UserId>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a\nb",
            "a\u{7}b",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{0}",
        ] {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
        }
        let long = "a".repeat(600).parse::<UserId>().unwrap_err();
        assert!(
            matches!(long, UserIdError::Identity(IdentityError::TooLong { .. })),
            "{long}"
        );
    }

    #[test]
    fn the_identity_is_that_of_trezor_gpg() {
        let user_id: UserId = "Satoshi Nakamoto <satoshi@bitcoin.org>".parse().unwrap();
        let identity = user_id.identity().to_string();
        assert_eq!(identity, "gpg://Satoshi Nakamoto <satoshi@bitcoin.org>");
    }
}
