//! A wallet that is open: its coins, its history, its addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bdk_wallet::chain::{ChainPosition, ConfirmationBlockTime};
use bdk_wallet::{Balance, ChangeSet, KeychainKind, Wallet};
use bitcoin::{Address, Amount, OutPoint, ScriptBuf, SignedAmount, Transaction, Txid};

use super::book::NewWallet;
use super::book::WalletName;
use super::descriptor::WalletDescriptor;
use super::error::WalletError;
use super::labels::Label;
use super::script::ScriptKind;
use crate::chain::Chain;

/// A wallet that is open.
///
/// What changes stays in memory until [`super::WalletBook::save`].
pub struct Ledger {
    id: i64,
    new: NewWallet,
    chain: Chain,
    pub(super) wallet: Wallet,
    labels: Vec<Label>,
    changed_labels: Vec<Label>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({} on {})", self.new.name, self.chain)
    }
}

/// An unspent output of the wallet.
#[derive(Clone, Debug)]
pub struct Coin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// How much.
    pub value: Amount,
    /// Whose.
    pub address: Address,
    /// It came back as change.
    pub is_change: bool,
    /// Blocks on top of its own, that one counted; 0 while unconfirmed.
    pub confirmations: u32,
    /// It is spent only when it is named.
    pub frozen: bool,
    /// Of the output, else of its address, else of its transaction.
    pub label: Option<String>,
}

/// A transaction of the wallet.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which.
    pub txid: Txid,
    /// What it did to the balance.
    pub change: SignedAmount,
    /// The fee, where every input is known.
    pub fee: Option<Amount>,
    /// The block; `None` while unconfirmed.
    pub height: Option<u32>,
    /// Of the block, else first seen; seconds of the Unix epoch.
    pub time: Option<u64>,
    /// Of the transaction.
    pub label: Option<String>,
}

/// An address to be paid to.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// The address.
    pub address: Address,
    /// Its place in the descriptor.
    pub index: u32,
}

impl Ledger {
    pub(super) fn new(
        id: i64,
        new: NewWallet,
        chain: Chain,
        wallet: Wallet,
        labels: Vec<Label>,
    ) -> Self {
        Self {
            id,
            new,
            chain,
            wallet,
            labels,
            changed_labels: Vec::new(),
        }
    }

    pub(super) fn id(&self) -> i64 {
        self.id
    }

    pub(super) fn take_changes(&mut self) -> ChangeSet {
        self.wallet.take_staged().unwrap_or_default()
    }

    pub(super) fn take_labels(&mut self) -> Vec<Label> {
        std::mem::take(&mut self.changed_labels)
    }

    /// Returns the name.
    pub fn name(&self) -> &WalletName {
        &self.new.name
    }

    /// Returns the descriptor.
    pub fn descriptor(&self) -> &WalletDescriptor {
        &self.new.descriptor
    }

    /// Returns the chain.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Returns the first block that can hold a payment to it.
    pub fn birthday(&self) -> u32 {
        self.new.birthday
    }

    /// Returns the height up to which the chain is known.
    pub fn height(&self) -> u32 {
        self.wallet.latest_checkpoint().height()
    }

    /// Returns bdk's wallet, for those who bring blocks and transactions.
    pub fn chain_state(&mut self) -> &mut Wallet {
        &mut self.wallet
    }

    /// Returns the balance.
    pub fn balance(&self) -> Balance {
        self.wallet.balance()
    }

    /// Sums the unspent coins that are frozen.
    pub fn frozen_value(&self) -> Amount {
        let frozen = self.wallet.list_locked_unspent();
        let coins = frozen.filter_map(|outpoint| self.wallet.get_utxo(outpoint));
        coins.map(|coin| coin.txout.value).sum()
    }

    /// Lists the unspent coins, the largest first.
    pub fn coins(&self) -> Vec<Coin> {
        let tip = self.height();
        let mut coins: Vec<Coin> = self
            .wallet
            .list_unspent()
            .map(|output| {
                let address = self.address_of(&output.txout.script_pubkey);
                let label = self
                    .label("output", &output.outpoint.to_string())
                    .or_else(|| self.label("addr", &address.to_string()))
                    .or_else(|| self.label("tx", &output.outpoint.txid.to_string()));
                Coin {
                    outpoint: output.outpoint,
                    value: output.txout.value,
                    is_change: output.keychain == KeychainKind::Internal,
                    confirmations: height(&output.chain_position)
                        .map_or(0, |height| tip.saturating_sub(height) + 1),
                    frozen: self.wallet.is_outpoint_locked(output.outpoint),
                    label,
                    address,
                }
            })
            .collect();
        coins.sort_by_key(|coin| (std::cmp::Reverse(coin.value), coin.outpoint));
        coins
    }

    /// Lists the transactions, the newest first.
    pub fn history(&self) -> Vec<Event> {
        let labels: BTreeMap<&str, &str> = self
            .labels
            .iter()
            .filter(|label| label.kind == "tx")
            .map(|label| (label.reference.as_str(), label.label.as_str()))
            .collect();
        let mut events: Vec<Event> = self
            .wallet
            .transactions()
            .map(|known| {
                let transaction = &known.tx_node.tx;
                let txid = known.tx_node.txid;
                let (sent, received) = self.wallet.sent_and_received(transaction);
                let signed = |amount: Amount| amount.to_signed().unwrap_or(SignedAmount::MAX);
                let (height, time) = match known.chain_position {
                    ChainPosition::Confirmed { anchor, .. } => {
                        (Some(anchor.block_id.height), Some(anchor.confirmation_time))
                    }
                    ChainPosition::Unconfirmed { first_seen, .. } => (None, first_seen),
                };
                Event {
                    txid,
                    change: signed(received) - signed(sent),
                    fee: self.wallet.calculate_fee(transaction).ok(),
                    height,
                    time,
                    label: labels.get(txid.to_string().as_str()).map(|&l| l.to_owned()),
                }
            })
            .collect();
        events.sort_by_key(|event| {
            let height = event.height.unwrap_or(u32::MAX);
            std::cmp::Reverse((height, event.time, event.txid))
        });
        events
    }

    /// Gives out an address that nobody has paid to yet; `fresh` one that was never given out.
    pub fn receive(&mut self, fresh: bool) -> Receiving {
        let keychain = KeychainKind::External;
        let info = match fresh {
            true => self.wallet.reveal_next_address(keychain),
            false => self.wallet.next_unused_address(keychain),
        };
        Receiving {
            address: info.address,
            index: info.index,
        }
    }

    /// Finds the place of an address of the wallet.
    ///
    /// # Errors
    ///
    /// [`WalletError::NotOurs`].
    pub fn place(&self, address: &Address) -> Result<(KeychainKind, u32), WalletError> {
        self.wallet
            .derivation_of_spk(address.script_pubkey())
            .ok_or_else(|| WalletError::NotOurs(address.to_string()))
    }

    /// Tells whether a script is one of the wallet's.
    pub fn is_ours(&self, script: &ScriptBuf) -> bool {
        self.wallet.is_mine(script.clone())
    }

    /// Tells whether a script is a change script of the wallet.
    pub fn is_change(&self, script: &ScriptBuf) -> bool {
        let place = self.wallet.derivation_of_spk(script.clone());
        place.is_some_and(|(keychain, _)| keychain == KeychainKind::Internal)
    }

    /// Returns a transaction that is known.
    pub fn transaction(&self, txid: Txid) -> Option<Transaction> {
        let found = self.wallet.tx_graph().get_tx(txid)?;
        Some(found.as_ref().clone())
    }

    /// Returns every transaction that is known, for whoever has to show them to the device.
    pub fn transactions(&self) -> BTreeMap<Txid, Transaction> {
        let known = self.wallet.tx_graph().full_txs();
        known
            .map(|node| (node.txid, node.tx.as_ref().clone()))
            .collect()
    }

    /// Freezes a coin, or thaws it.
    ///
    /// # Errors
    ///
    /// [`WalletError::NoCoin`].
    pub fn set_frozen(&mut self, outpoint: OutPoint, frozen: bool) -> Result<(), WalletError> {
        let known = self.wallet.get_utxo(outpoint).is_some();
        match frozen {
            true if known => self.wallet.lock_outpoint(outpoint),
            false if known || self.wallet.is_outpoint_locked(outpoint) => {
                self.wallet.unlock_outpoint(outpoint);
            }
            _ => return Err(WalletError::NoCoin(outpoint.to_string())),
        }
        Ok(())
    }

    /// Sets a label; an empty one removes it.
    pub fn set_label(&mut self, label: Label) {
        let same = |old: &Label| old.kind == label.kind && old.reference == label.reference;
        self.labels.retain(|old| !same(old));
        if !label.label.is_empty() {
            self.labels.push(label.clone());
        }
        self.changed_labels.push(label);
    }

    /// Returns every label, and the frozen coins as BIP-329 tells them.
    pub fn labels(&self) -> Vec<Label> {
        let frozen: BTreeSet<String> = self
            .wallet
            .list_locked_outpoints()
            .map(|outpoint| outpoint.to_string())
            .collect();
        let mut labels = self.labels.clone();
        for label in &mut labels {
            if label.kind == "output" && frozen.contains(&label.reference) {
                label.spendable = Some(false);
            }
        }
        let named: BTreeSet<String> = labels
            .iter()
            .filter(|label| label.kind == "output")
            .map(|label| label.reference.clone())
            .collect();
        labels.extend(frozen.difference(&named).map(|outpoint| Label {
            kind: "output".into(),
            reference: outpoint.clone(),
            label: String::new(),
            origin: None,
            spendable: Some(false),
        }));
        labels.sort_by(|a, b| (&a.kind, &a.reference).cmp(&(&b.kind, &b.reference)));
        labels
    }

    /// Takes labels over, and freezes the coins that they say may not be spent.
    ///
    /// Returns how many there were.
    pub fn import_labels(&mut self, labels: Vec<Label>) -> usize {
        let count = labels.len();
        for mut label in labels {
            let outpoint = match label.kind.as_str() {
                "output" => label.reference.parse::<OutPoint>().ok(),
                _ => None,
            };
            match (outpoint, label.spendable.take()) {
                // a coin that is not known yet is frozen before it comes
                (Some(outpoint), Some(false)) => self.wallet.lock_outpoint(outpoint),
                (Some(outpoint), Some(true)) => self.wallet.unlock_outpoint(outpoint),
                _ => {}
            }
            if !label.label.is_empty() {
                self.set_label(label);
            }
        }
        count
    }

    /// Notes a transaction that was sent, so that its coins are not spent twice.
    pub fn note_sent(&mut self, transaction: Transaction, now: u64) {
        self.wallet.apply_unconfirmed_txs([(transaction, now)]);
    }

    /// Returns the kind of script.
    pub fn kind(&self) -> ScriptKind {
        self.new.descriptor.kind()
    }

    fn label(&self, kind: &str, reference: &str) -> Option<String> {
        let of = |label: &&Label| label.kind == kind && label.reference == reference;
        self.labels.iter().find(of).map(|label| label.label.clone())
    }

    fn address_of(&self, script: &ScriptBuf) -> Address {
        Address::from_script(script, self.chain.network())
            .expect("a script of the wallet has an address")
    }
}

fn height(position: &ChainPosition<ConfirmationBlockTime>) -> Option<u32> {
    match position {
        ChainPosition::Confirmed { anchor, .. } => Some(anchor.block_id.height),
        ChainPosition::Unconfirmed { .. } => None,
    }
}
