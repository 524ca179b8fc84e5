//! What a `stack.toml` says, schema 1. `SCHEMA.md` tells it to authors.

mod image;
mod service;
mod text;
mod version;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bcm_keystore::Chain;
use serde::{Deserialize, Serialize};

pub use image::{Build, Confidence, Image, ImageReference, ImageReferenceError, Platform};
pub use service::{
    Backup, Consistent, Expect, File, HttpProbe, Limits, Mode, Onion, Pointer, PortRef, PortsOn,
    Probe, Scalar, SecretFile, Service, Tmpfs, Tor, Volume, VolumeMount,
};
pub use text::{
    Capability, ContainerPath, EnvName, EnvValue, FileName, FingerprintHex, Line, PartName,
    Sha256Hex, Signal, TextError, Url, UserId, Word,
};
pub(crate) use text::{is_path, is_plain_word};
pub use version::{Version, VersionError};

/// One stack of the catalogue, as its `stack.toml` describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Version of the file format; always [`Stack::SCHEMA`].
    schema: u32,
    /// The name, equal to that of its folder.
    pub name: StackName,
    /// What it is for, in one line.
    pub summary: Line,
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
    /// The stacks out of these that have to run on the same host: they share a volume.
    #[serde(default)]
    pub same_host: Vec<StackName>,
    /// Whether it needs every block, so that bitcoind must not be pruned.
    #[serde(default)]
    pub unpruned: bool,
    /// Where it comes from.
    pub upstream: Upstream,
    /// Whether somebody looks after it.
    pub maintenance: Maintenance,
    /// How its programs call things on each chain, for its templates and others'.
    #[serde(default)]
    pub words: BTreeMap<Chain, BTreeMap<PartName, Line>>,
    /// What can be chosen with `config set stack.NAME.OPTION`.
    #[serde(default, rename = "option")]
    pub options: Vec<StackOption>,
    /// The secrets that are made for it.
    #[serde(default, rename = "secret")]
    pub secrets: Vec<Secret>,
    /// What it may ask other stacks for.
    #[serde(default, rename = "client")]
    pub clients: Vec<Client>,
    /// The images of its services.
    #[serde(default, rename = "image")]
    pub images: Vec<Image>,
    /// Its volumes.
    #[serde(default, rename = "volume")]
    pub volumes: Vec<Volume>,
    /// Its services.
    #[serde(default, rename = "service")]
    pub services: Vec<Service>,
    /// The programs that a person may run in its containers.
    #[serde(default, rename = "cli")]
    pub cli: Vec<Passthrough>,
    /// What `stack open` shows.
    #[serde(default)]
    pub open: Option<Open>,
    /// What runs on the person's own machine.
    #[serde(default)]
    pub desktop: Option<Desktop>,
    /// How to come back after a loss.
    pub restore: Line,
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

    /// Returns the service of that name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services
            .iter()
            .find(|service| service.name.as_str() == name)
    }

    /// Returns the images of a service on `chain`, the default first.
    pub fn images_of(&self, service: &Service, chain: Chain) -> impl Iterator<Item = &Image> {
        let name = service.name.clone();
        self.images
            .iter()
            .filter(move |image| image.service == name && image.runs_on(chain))
    }

    /// Returns what its programs say on `chain`.
    pub fn words_on(&self, chain: Chain) -> BTreeMap<&str, &str> {
        let words = self.words.get(&chain).into_iter().flatten();
        words
            .map(|(name, word)| (name.as_str(), word.as_str()))
            .collect()
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
    pub url: Url,
    /// The licence, as an SPDX expression.
    pub license: Line,
    /// The newest release when the catalogue was made.
    pub version: Version,
    /// The oldest release without a published hole, where upstream published any.
    #[serde(default)]
    pub minimum_safe_version: Option<Version>,
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
        note: Line,
        /// What does its task today.
        successors: Vec<Line>,
    },
}

/// Something that can be chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackOption {
    /// Its name.
    pub name: PartName,
    /// What it does.
    pub about: Line,
    /// What it is unless chosen; its kind is the kind of every value.
    pub default: OptionValue,
    /// The values that a text may have.
    #[serde(default)]
    pub choices: Vec<PartName>,
    /// The smallest number.
    #[serde(default)]
    pub min: Option<i64>,
    /// The largest number.
    #[serde(default)]
    pub max: Option<i64>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(EnvValue),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value}"),
        }
    }
}

impl StackOption {
    /// Tells whether the option may have that value.
    pub fn takes(&self, value: &OptionValue) -> bool {
        match (&self.default, value) {
            (OptionValue::Bool(_), OptionValue::Bool(_)) => true,
            (OptionValue::Number(_), OptionValue::Number(number)) => {
                self.min.is_none_or(|min| *number >= min)
                    && self.max.is_none_or(|max| *number <= max)
            }
            (OptionValue::Text(_), OptionValue::Text(text)) => {
                self.choices.is_empty()
                    || self
                        .choices
                        .iter()
                        .any(|choice| choice.as_str() == text.as_str())
            }
            _ => false,
        }
    }
}

/// A secret that is made for a stack on each chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Its name within the stack.
    pub name: PartName,
    /// What it is for.
    pub purpose: Line,
}

/// A right to ask another stack: its user there, and what it may call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The stack that is asked.
    pub of: StackName,
    /// The user's name there.
    pub user: PartName,
    /// The secret of this stack that is the password.
    pub secret: PartName,
    /// What may be called; everything when empty.
    #[serde(default)]
    pub allow: Vec<Word>,
}

/// A program that a person may run in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passthrough {
    /// What it is called at the prompt.
    pub name: PartName,
    /// The service in whose container it runs.
    pub service: PartName,
    /// The program and its first words.
    pub command: Vec<Word>,
}

/// A web page that is reached through a tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The service.
    pub service: PartName,
    /// Its port.
    pub port: PartName,
    /// The path of the first page, by default `/`.
    #[serde(default)]
    pub path: Option<Word>,
    /// The secret that opens it, where it asks for one.
    #[serde(default)]
    pub password: Option<PartName>,
}

/// A program on the person's own machine, connected to one service of the data centre.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desktop {
    /// The program; absent where bcm only shows how to connect.
    #[serde(default)]
    pub program: Option<Word>,
    /// What it is called with; `tunnel.host` and `tunnel.port` are the near end of the tunnel.
    #[serde(default)]
    pub args: Vec<Word>,
    /// The stack, service and port at the far end.
    pub tunnel: Tunnel,
    /// The files that are rendered for it.
    #[serde(default, rename = "file")]
    pub files: Vec<DesktopFile>,
    /// What a person should know first.
    pub note: Line,
}

/// The far end of a tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// The stack.
    pub stack: StackName,
    /// Its service.
    pub service: PartName,
    /// The port of that.
    pub port: PartName,
}

/// A file of a program on the person's own machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DesktopFile {
    /// The template, in the folder of the stack.
    pub template: FileName,
    /// Its name in the folder that bcm makes for the program.
    pub name: FileName,
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
