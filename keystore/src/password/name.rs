//! Names of passwords: paths below the store, which cannot leave it.

use std::fmt;
use std::str::FromStr;

use crate::hint::Hint;

/// Longest part between two slashes, in bytes: with its ending it is the name of a file.
const MAX_PART: usize = 200;

/// Longest name, in bytes.
const MAX_NAME: usize = 1024;

/// The name of a password, or of a folder of passwords: `web/example.org`.
///
/// No part of it is empty, begins with a dot or holds a control character: what is hidden belongs to
/// passage and git, and `..` would leave the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PasswordName(String);

impl PasswordName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the folder that it is in, `None` for the root.
    pub fn folder(&self) -> Option<Self> {
        Some(Self(self.folders().next()?.to_owned()))
    }

    /// Returns the folders that it is in, the innermost first, without the root.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            rest = rest.rsplit_once('/')?.0;
            Some(rest)
        })
    }
}

impl FromStr for PasswordName {
    type Err = PasswordNameError;

    fn from_str(name: &str) -> Result<Self, PasswordNameError> {
        if name.is_empty() {
            return Err(PasswordNameError::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(PasswordNameError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(PasswordNameError::ControlCharacter);
        }
        for part in name.split('/') {
            if part.is_empty() || part.starts_with('.') || part.trim() != part {
                return Err(PasswordNameError::Part(name.to_owned()));
            }
            if part.len() > MAX_PART {
                return Err(PasswordNameError::TooLong);
            }
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for PasswordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text names no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordNameError {
    /// There is nothing.
    #[error("a password needs a name")]
    Empty,
    /// No file system takes it.
    #[error("the name is too long")]
    TooLong,
    /// It could repaint the terminal.
    #[error("the name holds a control character")]
    ControlCharacter,
    /// It leads out of the store, or to what is hidden there.
    #[error("`{0}` is no name: no part of it may be empty or begin with a dot or a space")]
    Part(String),
}

impl Hint for PasswordNameError {
    fn hint(&self) -> Option<String> {
        Some("choose one such as `web/example.org`".into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_leaves_the_store_is_no_name() {
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "a//b",
            "a/",
            "./a",
            ".git/config",
            "a/.age-recipients",
            "a\nb",
            "a\0b",
            " a",
            "a /b",
        ] {
            assert!(name.parse::<PasswordName>().is_err(), "{name:?}");
        }
        for name in [
            "a",
            "web/example.org",
            "mail/me@example.org",
            "älter",
            "-x",
            "a b",
            "a..b",
        ] {
            assert!(name.parse::<PasswordName>().is_ok(), "{name:?}");
        }
    }

    #[test]
    fn folders_come_from_the_inside() {
        let name: PasswordName = "a/b/c".parse().unwrap();
        assert_eq!(name.folders().collect::<Vec<_>>(), ["a/b", "a"]);
        let name: PasswordName = "a".parse().unwrap();
        assert_eq!(name.folders().count(), 0);
    }

    proptest! {
        #[test]
        fn a_name_is_a_path_of_plain_parts(text in any::<String>()) {
            if let Ok(name) = text.parse::<PasswordName>() {
                let path = Path::new(name.as_str());
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
