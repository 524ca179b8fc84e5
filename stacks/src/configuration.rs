//! What a person chose: which stacks run on a chain, and how.

use std::collections::{BTreeMap, BTreeSet};

use bcm_keystore::Chain;
use serde::{Deserialize, Serialize};

use crate::stack::{ImageReference, OptionValue, PartName, StackName, Version};

/// What is wanted on one chain of a cluster. With the catalogue and the secrets it says all that will run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The chain.
    pub chain: Chain,
    /// The stacks that are wanted; what they need comes along.
    pub stacks: BTreeSet<StackName>,
    /// What was chosen for each.
    #[serde(default)]
    pub options: BTreeMap<StackName, BTreeMap<PartName, OptionValue>>,
    /// Other images than the catalogue's, by stack and service.
    #[serde(default)]
    pub images: BTreeMap<StackName, BTreeMap<PartName, ImageChoice>>,
    /// The host of every stack that has none of its own; the swarm's choice among the chain's when absent.
    #[serde(default)]
    pub host: Option<PartName>,
    /// The hosts of single stacks.
    #[serde(default)]
    pub hosts: BTreeMap<StackName, PartName>,
    /// The stacks that run below their oldest safe version on mainnet: typed out, and recorded in the plan.
    #[serde(default)]
    pub below_minimum: BTreeSet<StackName>,
    /// The stacks that are there and do not run.
    #[serde(default)]
    pub stopped: BTreeSet<StackName>,
    /// How often each stack was restarted on purpose.
    #[serde(default)]
    pub restarts: BTreeMap<StackName, u64>,
    /// Who may find an onion service that asks for a key: by its id (`STACK-NAME`), then by person.
    #[serde(default)]
    pub onion_clients: BTreeMap<PartName, BTreeMap<PartName, OnionClient>>,
    /// The stacks whose volumes go when the stack goes: typed out.
    #[serde(default)]
    pub delete_data: BTreeSet<StackName>,
}

impl Configuration {
    /// Wants `stacks` on `chain`, with nothing chosen.
    pub fn new(chain: Chain, stacks: impl IntoIterator<Item = StackName>) -> Self {
        Self {
            chain,
            stacks: stacks.into_iter().collect(),
            options: BTreeMap::new(),
            images: BTreeMap::new(),
            host: None,
            hosts: BTreeMap::new(),
            below_minimum: BTreeSet::new(),
            stopped: BTreeSet::new(),
            restarts: BTreeMap::new(),
            onion_clients: BTreeMap::new(),
            delete_data: BTreeSet::new(),
        }
    }

    /// Returns the host of a stack.
    pub fn host_of(&self, stack: &StackName) -> Option<&PartName> {
        self.hosts.get(stack).or(self.host.as_ref())
    }
}

/// Another image than the catalogue's first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageChoice {
    /// Which of the catalogue's.
    #[serde(default)]
    pub variant: Option<PartName>,
    /// By what it contains: built or loaded here.
    #[serde(default)]
    pub reference: Option<ImageReference>,
    /// The release in it, when it is not the catalogue's.
    #[serde(default)]
    pub version: Option<Version>,
}

/// The public key of a person who may find an onion service: x25519, base32 without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OnionClient(String);

impl OnionClient {
    /// Returns it as tor writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OnionClient {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
        if text.len() == 52 && text.bytes().all(base32) {
            Ok(Self(text))
        } else {
            Err("a client's public key is 52 characters of base32".into())
        }
    }
}

impl From<OnionClient> for String {
    fn from(client: OnionClient) -> Self {
        client.0
    }
}
