//! What was signed, when, and what the person confirmed: one record for each PSBT.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::Txid;
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::chain::Chain;
use crate::store::{StoreError, WalletStore};

/// Name of the sealed document.
const DOCUMENT: &str = "spending";

/// A PSBT that the device signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The transaction.
    pub txid: Txid,
    /// Its chain.
    pub chain: Chain,
    /// When, in seconds of the Unix epoch.
    pub time: i64,
    /// The wallet, where one of bcm's paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
    /// What leaves, the fee counted, sat.
    pub leaving: u64,
    /// The fee, sat.
    pub fee: u64,
    /// The transaction that it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Txid>,
    /// SHA-256 of the PSBT before it was signed, hex.
    pub digest_before: String,
    /// SHA-256 of the PSBT after it was signed, hex.
    pub digest_after: String,
    /// What the person confirmed on the device, in order.
    pub confirmed: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    policies: BTreeMap<Chain, Policy>,
    records: Vec<Record>,
}

/// The rules and the records of one passphrase's wallets.
#[derive(Clone, Debug)]
pub struct Spending {
    store: Arc<WalletStore>,
    document: Document,
}

impl Spending {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn open(store: &Arc<WalletStore>) -> Result<Self, StoreError> {
        let document = store.read(DOCUMENT)?.unwrap_or_default();
        Ok(Self {
            store: store.clone(),
            document,
        })
    }

    /// Returns the rules for a chain.
    pub fn policy(&self, chain: Chain) -> Policy {
        self.document
            .policies
            .get(&chain)
            .cloned()
            .unwrap_or_default()
    }

    /// Returns the records, oldest first.
    pub fn records(&self) -> &[Record] {
        &self.document.records
    }

    /// Sets the rules for a chain.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn set_policy(&mut self, chain: Chain, policy: Policy) -> Result<(), StoreError> {
        self.change(|document| {
            if policy == Policy::default() {
                document.policies.remove(&chain);
            } else {
                document.policies.insert(chain, policy);
            }
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn add(&mut self, record: Record) -> Result<(), StoreError> {
        self.change(|document| document.records.push(record))
    }

    fn change(&mut self, change: impl FnOnce(&mut Document)) -> Result<(), StoreError> {
        self.document = self.store.update(DOCUMENT, |document: &mut Document| {
            change(document);
            Ok::<_, StoreError>(document.clone())
        })?;
        Ok(())
    }
}
