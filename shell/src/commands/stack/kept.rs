//! What is wanted of each cluster's stacks, and their secrets: one sealed document.

use std::collections::BTreeMap;

use bcm_keystore::{Chain, WalletStore};
use bcm_stacks::{Catalog, Configuration, Secrets, render::needed_secrets};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::report::{Kind, Report};

/// Its name.
const DOCUMENT: &str = "stacks";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    clusters: BTreeMap<String, Kept>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(default)]
    chains: BTreeMap<Chain, Configuration>,
    #[serde(default)]
    secrets: Hidden,
}

/// Secrets as they are written down.
#[derive(Default)]
struct Hidden(Zeroizing<String>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden([redacted])")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Kept {
    fn secrets(&self) -> Result<Secrets, Report> {
        let read = Secrets::from_bytes(self.secrets.0.as_bytes());
        read.map_err(|error| Report::text(Kind::Verification, error.to_string()))
    }

    fn keep(&mut self, secrets: &Secrets) {
        let text = std::str::from_utf8(&secrets.to_bytes()).map(str::to_owned);
        self.secrets = Hidden(Zeroizing::new(text.expect("names and hexadecimal digits")));
    }
}

/// The stacks of one cluster.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    store: &'a WalletStore,
    cluster: String,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(store: &'a WalletStore, cluster: &str) -> Self {
        let cluster = cluster.to_owned();
        Self { store, cluster }
    }

    /// Returns what is wanted on a chain.
    pub(super) fn on(&self, chain: Chain) -> Result<Configuration, Report> {
        let document: Document = self.store.read(DOCUMENT)?.unwrap_or_default();
        let kept = document.clusters.get(&self.cluster);
        let kept = kept.and_then(|kept| kept.chains.get(&chain).cloned());
        Ok(kept.unwrap_or_else(|| Configuration::new(chain, [])))
    }

    /// Keeps what is wanted on a chain.
    pub(super) fn keep(&self, configuration: &Configuration) -> Result<(), Report> {
        self.change(|kept| {
            kept.chains
                .insert(configuration.chain, configuration.clone());
            Ok(())
        })
    }

    /// Returns the secrets, with those that a configuration needs made where they are missing.
    pub(super) fn secrets(
        &self,
        catalog: &Catalog,
        configuration: &Configuration,
    ) -> Result<Secrets, Report> {
        let needed = needed_secrets(catalog, configuration)?;
        self.change(|kept| {
            let mut secrets = kept.secrets()?;
            if !secrets.generate(needed, &mut rand::rngs::OsRng).is_empty() {
                kept.keep(&secrets);
            }
            Ok(secrets)
        })
    }

    /// Makes secrets of a stack anew, and returns how many; the next plan gives them to who uses them.
    pub(super) fn rotate(&self, chain: Chain, stack: &str) -> Result<usize, Report> {
        self.change(|kept| {
            let mut secrets = kept.secrets()?;
            // the key of an onion service is its address: a new one is another place
            let rotated = |id: &&bcm_stacks::SecretId| {
                let onion = id.name.as_str().starts_with("onion-");
                id.chain == chain && id.stack.as_str() == stack && !onion
            };
            let ids: Vec<_> = secrets.ids().filter(rotated).cloned().collect();
            for id in &ids {
                secrets.rotate(id.clone(), &mut rand::rngs::OsRng);
            }
            kept.keep(&secrets);
            Ok(ids.len())
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> Result<T, Report>) -> Result<T, Report> {
        self.store.update(DOCUMENT, |document: &mut Document| {
            change(document.clusters.entry(self.cluster.clone()).or_default())
        })
    }
}
