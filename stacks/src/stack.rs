//! What a `stack.toml` says, schema 1.

use std::fmt;
use std::str::FromStr;

use bcm_keystore::Chain;
use serde::{Deserialize, Serialize};

/// One stack of the catalogue, as its `stack.toml` describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Version of the file format; always [`Stack::SCHEMA`].
    schema: u32,
    /// The name, equal to that of its folder.
    pub name: StackName,
    /// What it is for, in one line.
    pub summary: String,
    /// Where it runs.
    pub kind: Kind,
    /// The chains that it can run on.
    pub chains: Vec<Chain>,
    /// What has to run before it.
    #[serde(default)]
    pub depends: Vec<StackName>,
    /// What it makes use of when that runs too, and is then started after.
    #[serde(default)]
    pub optional: Vec<StackName>,
    /// Where it comes from.
    pub upstream: Upstream,
    /// Whether somebody looks after it.
    pub maintenance: Maintenance,
}

impl Stack {
    /// The only version of the file format so far.
    pub const SCHEMA: u32 = 1;

    pub(crate) fn schema(&self) -> u32 {
        self.schema
    }

    /// Tells whether the stack can run on `chain`.
    pub fn runs_on(&self, chain: Chain) -> bool {
        self.chains.contains(&chain)
    }
}

/// Where a stack runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// In the data centre, for other programs.
    Service,
    /// In the data centre, for a person with a browser.
    Web,
    /// On the person's own machine.
    Desktop,
}

/// Where a stack comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The repository.
    pub url: String,
    /// The licence, as an SPDX expression.
    pub license: String,
    /// The newest release when the catalogue was made.
    pub version: String,
    /// The oldest release without a published hole, where upstream published any.
    pub minimum_safe_version: Option<String>,
}

/// Whether somebody looks after a stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase", deny_unknown_fields)]
pub enum Maintenance {
    /// Upstream publishes fixes. (With braces, or serde would let unknown fields pass.)
    Maintained {},
    /// Upstream does not.
    Unmaintained {
        /// What that means for whoever wants it nevertheless.
        note: String,
        /// What does its task today.
        successors: Vec<String>,
    },
}

/// The name of a stack: lower-case letters, digits and `-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StackName(String);

impl StackName {
    /// Longest name, so that `bcm-testnet4-NAME-…` still fits into a DNS label.
    pub const MAX_LEN: usize = 32;

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A word that cannot name a stack.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{}` cannot name a stack: a lower-case letter, then lower-case letters, digits and `-`, at most {} in all",
    .0.escape_debug(),
    StackName::MAX_LEN
)]
pub struct StackNameError(String);

impl TryFrom<String> for StackName {
    type Error = StackNameError;

    fn try_from(name: String) -> Result<Self, StackNameError> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= Self::MAX_LEN
            && name.chars().all(inner)
        {
            Ok(Self(name))
        } else {
            Err(StackNameError(name))
        }
    }
}

impl FromStr for StackName {
    type Err = StackNameError;

    fn from_str(name: &str) -> Result<Self, StackNameError> {
        name.to_owned().try_into()
    }
}

impl From<StackName> for String {
    fn from(name: StackName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_in_paths_and_dns_labels() {
        for good in ["tor", "lightning-charge", "a1"] {
            assert_eq!(good.parse::<StackName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            "1a",
            "Tor",
            "a/b",
            "..",
            "a.b",
            "a\n",
            &"a".repeat(33),
        ] {
            let error = bad.parse::<StackName>().unwrap_err().to_string();
            assert!(error.contains("cannot name a stack"), "{error}");
            assert!(!error.contains('\n'));
        }
    }
}
