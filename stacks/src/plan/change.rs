//! What a plan changes, told to a person.

use serde::Serialize;
use similar::TextDiff;

use crate::stack::StackName;

/// What happens to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It is made.
    Create,
    /// It becomes another.
    Change,
    /// It goes.
    Remove,
}

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Thing {
    /// An image on a host.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// A configuration file.
    Config,
    /// A secret file.
    Secret,
    /// A service.
    Service,
}

/// One thing that a plan makes, changes or removes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The stack.
    pub stack: StackName,
    /// What happens.
    pub verb: Verb,
    /// To what kind of thing.
    pub thing: Thing,
    /// Its name; of a file where the service finds it.
    pub name: String,
    /// How a text changes, as a unified diff; empty where nothing can be shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub diff: String,
}

/// Returns the unified diff of two texts.
pub(super) fn diff(name: &str, old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(2)
        .header(&format!("a/{name}"), &format!("b/{name}"))
        .to_string()
}
