//! What was signed, when, and what the person confirmed: one record for each PSBT.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::Txid;
use serde::{Deserialize, Serialize};

use super::book::WalletName;
use super::policy::{Policy, PolicyError, Review};
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
    /// Which of bcm's wallets paid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wallets: Vec<String>,
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

/// Whether one's own node has to know the coins of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnNode {
    /// A rule wants it.
    Required,
    /// No rule wants it.
    NotNeeded,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    policies: BTreeMap<Chain, Policy>,
    /// By the name of the wallet; they outlive it, for it can be made again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    wallet_policies: BTreeMap<Chain, BTreeMap<String, Policy>>,
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

    /// Returns the rules for a chain, or those for one wallet on it besides.
    pub fn policy(&self, chain: Chain, wallet: Option<&WalletName>) -> Policy {
        let found = match wallet {
            None => self.document.policies.get(&chain),
            Some(name) => {
                let wallets = self.document.wallet_policies.get(&chain);
                wallets.and_then(|wallets| wallets.get(name.as_str()))
            }
        };
        found.cloned().unwrap_or_default()
    }

    /// Checks a transaction that these wallets pay, and that would replace `replaces`, at the time
    /// `now`: against the rules of the chain, then against those of each wallet.
    ///
    /// Tells whether one's own node has to know the coins, too.
    ///
    /// # Errors
    ///
    /// The first rule that forbids it.
    pub fn check(
        &self,
        chain: Chain,
        wallets: &[WalletName],
        review: &Review,
        replaces: Option<Txid>,
        now: i64,
    ) -> Result<OwnNode, PolicyError> {
        let records = self.records().iter();
        let on_chain: Vec<&Record> = records.filter(|record| record.chain == chain).collect();
        let rules = self.policy(chain, None);
        rules.check(review, replaces, &on_chain, now)?;
        let mut own_node = rules.own_node;
        for wallet in wallets {
            let rules = self.policy(chain, Some(wallet));
            let paid =
                |record: &&&Record| record.wallets.iter().any(|name| name == wallet.as_str());
            let records: Vec<&Record> = on_chain.iter().filter(paid).copied().collect();
            let checked = rules.check(review, replaces, &records, now);
            checked.map_err(|rule| PolicyError::Wallet {
                wallet: wallet.clone(),
                rule: Box::new(rule),
            })?;
            own_node |= rules.own_node;
        }
        Ok(if own_node {
            OwnNode::Required
        } else {
            OwnNode::NotNeeded
        })
    }

    /// Returns the records, oldest first.
    pub fn records(&self) -> &[Record] {
        &self.document.records
    }

    /// Changes the rules for a chain, or those for one wallet on it, and returns them.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn change_policy(
        &mut self,
        chain: Chain,
        wallet: Option<&WalletName>,
        change: impl FnOnce(&mut Policy),
    ) -> Result<Policy, StoreError> {
        self.change(|document| match wallet {
            None => change(document.policies.entry(chain).or_default()),
            Some(name) => {
                let wallets = document.wallet_policies.entry(chain).or_default();
                change(wallets.entry(name.to_string()).or_default());
            }
        })?;
        Ok(self.policy(chain, wallet))
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
