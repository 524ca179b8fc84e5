//! The kinds of statements: what each is called, and which signatures stand behind it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::identity::IdentityUri;

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatementKind {
    /// Stacks that are to run: the exact calls to the engines, in order.
    Deployment,
    /// Hosts that are to be made members of a cluster.
    Preparation,
    /// Volumes that are to be put back.
    Restore,
    /// An image that was built or imported.
    Image,
    /// Volumes that were saved.
    Backup,
    /// What was done in a session.
    SessionLog,
}

impl StatementKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Deployment,
        Self::Preparation,
        Self::Restore,
        Self::Image,
        Self::Backup,
        Self::SessionLog,
    ];

    /// Returns the name, as it stands in the predicate's type and in names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Preparation => "preparation",
            Self::Restore => "restore",
            Self::Image => "image",
            Self::Backup => "backup",
            Self::SessionLog => "session-log",
        }
    }

    /// Returns the domain tag: the word after `bcm v1` on the device, and the name of the approval's key.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Deployment => "deploy",
            Self::Preparation => "prepare",
            other => other.name(),
        }
    }

    /// Returns the `predicateType`.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Deployment => "https://bitcoincachemachine.org/deployment/v1",
            Self::Preparation => "https://bitcoincachemachine.org/preparation/v1",
            Self::Restore => "https://bitcoincachemachine.org/restore/v1",
            Self::Image => "https://bitcoincachemachine.org/image/v1",
            Self::Backup => "https://bitcoincachemachine.org/backup/v1",
            Self::SessionLog => "https://bitcoincachemachine.org/session-log/v1",
        }
    }

    pub(super) fn of_predicate_type(text: &str) -> Result<Self, String> {
        let mut kinds = Self::ALL.into_iter();
        kinds
            .find(|kind| kind.predicate_type() == text)
            .ok_or_else(|| format!("its `predicateType` `{}` is not known", super::shown(text)))
    }

    /// Tells whether it acts on a cluster: then the bound approval stands behind it, and it expires.
    ///
    /// Images, backups and session logs say what was done. Their OpenPGP signature stands alone.
    pub fn needs_approval(self) -> bool {
        matches!(self, Self::Deployment | Self::Preparation | Self::Restore)
    }

    /// Returns the identity of the key that approves this kind: `bcm://deploy`, index 0.
    pub fn approval_identity(self) -> IdentityUri {
        IdentityUri::new("bcm", self.tag()).expect("the tags are ASCII words")
    }
}

impl fmt::Display for StatementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no kind of statement.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown kind `{0}`, expected deployment, preparation, restore, image, backup or session-log"
)]
pub struct UnknownKind(String);

impl FromStr for StatementKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let mut kinds = Self::ALL.into_iter();
        kinds
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownKind(super::shown(name)))
    }
}
