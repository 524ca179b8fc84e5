//! Payments: which coins pay whom, as an unsigned PSBT.

use std::collections::BTreeMap;
use std::sync::Arc;

use bdk_wallet::KeychainKind;
use bdk_wallet::error::{BuildFeeBumpError, CreateTxError};
use bdk_wallet::tx_builder::TxOrdering;
use bitcoin::bip32::{ChildNumber, Fingerprint, KeySource};
use bitcoin::{
    Address, Amount, FeeRate, OutPoint, Psbt, Script, ScriptBuf, Sequence, Transaction, TxIn,
    TxOut, Txid,
};

use super::ledger::Ledger;
use super::sign_tx::PreviousTransactions;
use crate::hint::Hint;

/// What a transaction pays for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fee {
    /// By weight.
    Rate(FeeRate),
    /// In all.
    Absolute(Amount),
}

/// Whom to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// This much to this address.
    Amount(Address, Amount),
    /// Everything to this address, less the fee.
    Everything(Address),
}

/// Why no payment could be made out of the wallet's coins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentError {
    /// There is not enough.
    #[error("the wallet can spend {available}, {needed} are needed with the fee")]
    NotEnough {
        /// What can be spent.
        available: Amount,
        /// Payment and fee.
        needed: Amount,
    },
    /// An output that no node would relay.
    #[error("{0} is too little to be relayed")]
    Dust(Amount),
    /// A coin that is not in the wallet, or spent.
    #[error("`{0}` is no unspent coin of this wallet")]
    NoCoin(OutPoint),
    /// The transaction is not known.
    #[error("the wallet does not know the transaction `{0}`")]
    Unknown(Txid),
    /// It is in a block already.
    #[error("the transaction `{0}` is confirmed and cannot be replaced")]
    Confirmed(Txid),
    /// It is not one of ours, or does not signal that it may be replaced.
    #[error("the transaction `{0}` cannot be replaced: {1}")]
    NotReplaceable(Txid, String),
    /// The replacement has to pay more.
    #[error("the replacement has to pay at least {0}")]
    FeeTooLow(String),
    /// Anything else that bdk refuses.
    #[error("no transaction can be made: {0}")]
    Refused(String),
}

impl Hint for PaymentError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotEnough { .. } => Some(
                "look at `wallet balance` and `wallet utxos`; frozen coins are left out".into(),
            ),
            Self::NoCoin(_) => Some("list the coins with `wallet utxos`".into()),
            Self::Unknown(_) => Some("list the transactions with `wallet history`".into()),
            Self::FeeTooLow(_) => Some("give a higher `--fee-rate`".into()),
            _ => None,
        }
    }
}

impl Ledger {
    /// Makes a payment; of `coins` alone where there are any, else of whatever is not frozen.
    ///
    /// # Errors
    ///
    /// Any [`PaymentError`]; the wallet is then as it was.
    pub fn pay(
        &mut self,
        recipient: &Recipient,
        fee: Fee,
        coins: &[OutPoint],
    ) -> Result<Psbt, PaymentError> {
        let height = self.height();
        let multisig = self.kind().is_multisig();
        let mut builder = self.wallet.build_tx();
        if !coins.is_empty() {
            builder.add_utxos(coins).map_err(|error| match error {
                bdk_wallet::tx_builder::AddUtxoError::UnknownUtxo(coin) => {
                    PaymentError::NoCoin(coin)
                }
            })?;
            builder.manually_selected_only();
        }
        match recipient {
            Recipient::Amount(address, amount) => {
                builder.add_recipient(address.script_pubkey(), *amount);
            }
            Recipient::Everything(address) => {
                if coins.is_empty() {
                    builder.drain_wallet();
                }
                builder.drain_to(address.script_pubkey());
            }
        }
        match fee {
            Fee::Rate(rate) => builder.fee_rate(rate),
            Fee::Absolute(fee) => builder.fee_absolute(fee),
        };
        // as Bitcoin Core does against fee sniping
        builder.current_height(height);
        builder.set_exact_sequence(Sequence::ENABLE_RBF_NO_LOCKTIME);
        if multisig {
            builder.add_global_xpubs();
        }
        builder.finish().map_err(|error| match (error, recipient) {
            (CreateTxError::OutputBelowDustLimit(_), Recipient::Amount(_, amount)) => {
                PaymentError::Dust(*amount)
            }
            (error, _) => refused(error),
        })
    }

    /// Replaces a transaction of ours by the same payments at a higher fee rate.
    ///
    /// # Errors
    ///
    /// Any [`PaymentError`]; the wallet is then as it was.
    pub fn bump(&mut self, txid: Txid, rate: FeeRate) -> Result<Psbt, PaymentError> {
        let multisig = self.kind().is_multisig();
        let replaced = self.transaction(txid).ok_or(PaymentError::Unknown(txid))?;
        let change = replaced
            .output
            .iter()
            .find(|output| self.is_change(&output.script_pubkey))
            .map(|output| output.script_pubkey.clone());
        let mut builder = self
            .wallet
            .build_fee_bump(txid)
            .map_err(|error| not_bumped(txid, error))?;
        builder.fee_rate(rate);
        // what the device knows from before stands where it stood, so that it shows a rise of the
        // fee and no new payment
        if let Some(change) = change {
            builder.drain_to(change);
        }
        builder.ordering(in_order_of(&replaced));
        if multisig {
            builder.add_global_xpubs();
        }
        builder.finish().map_err(refused)
    }

    /// Replaces a transaction of ours by one that pays everything back to the wallet.
    ///
    /// # Errors
    ///
    /// Any [`PaymentError`]; the wallet is then as it was.
    pub fn cancel(&mut self, txid: Txid, rate: FeeRate) -> Result<Psbt, PaymentError> {
        let multisig = self.kind().is_multisig();
        let back = self.wallet.next_unused_address(KeychainKind::Internal);
        let mut builder = self
            .wallet
            .build_fee_bump(txid)
            .map_err(|error| not_bumped(txid, error))?;
        builder.set_recipients(Vec::new());
        builder.drain_to(back.address.script_pubkey());
        builder.manually_selected_only();
        builder.fee_rate(rate);
        if multisig {
            builder.add_global_xpubs();
        }
        builder.finish().map_err(refused)
    }
}

/// Sorts inputs and outputs as `replaced` has them, new ones behind.
fn in_order_of(replaced: &Transaction) -> TxOrdering {
    let inputs: BTreeMap<OutPoint, usize> = replaced
        .input
        .iter()
        .enumerate()
        .map(|(index, input)| (input.previous_output, index))
        .collect();
    let outputs: BTreeMap<ScriptBuf, usize> = replaced
        .output
        .iter()
        .enumerate()
        .map(|(index, output)| (output.script_pubkey.clone(), index))
        .collect();
    let of_input = move |input: &TxIn| inputs.get(&input.previous_output).copied();
    let of_output = move |output: &TxOut| outputs.get(&output.script_pubkey).copied();
    TxOrdering::Custom {
        input_sort: Arc::new(move |a, b| place(of_input(a)).cmp(&place(of_input(b)))),
        output_sort: Arc::new(move |a, b| place(of_output(a)).cmp(&place(of_output(b)))),
    }
}

fn place(known: Option<usize>) -> usize {
    known.unwrap_or(usize::MAX)
}

/// What the device may ask of the host while it signs: transactions, and where keys live.
#[derive(Clone, Debug, Default)]
pub struct Known {
    transactions: BTreeMap<Txid, Transaction>,
    origins: BTreeMap<ScriptBuf, KeySource>,
}

impl PreviousTransactions for Known {
    fn get(&self, txid: &Txid) -> Option<Transaction> {
        self.transactions.get(txid).cloned()
    }

    fn origin(&self, script: &Script) -> Option<KeySource> {
        self.origins.get(script).cloned()
    }
}

impl Known {
    /// Adds what `ledger` knows of the transactions that `psbt` spends and of the one that it
    /// replaces.
    pub fn add(&mut self, ledger: &Ledger, psbt: &Psbt, replaces: Option<Txid>, root: Fingerprint) {
        let spent = |transaction: &Transaction| -> Vec<Txid> {
            let inputs = transaction.input.iter();
            inputs.map(|input| input.previous_output.txid).collect()
        };
        let mut wanted = spent(&psbt.unsigned_tx);
        if let Some(replaced) = replaces.and_then(|txid| ledger.transaction(txid)) {
            wanted.extend(spent(&replaced));
            wanted.push(replaced.compute_txid());
            for output in &replaced.output {
                let script = &output.script_pubkey;
                let place = ledger.wallet.derivation_of_spk(script.clone());
                let own = ledger.descriptor().own(root);
                if let (Some((keychain, index)), Some(own)) = (place, own) {
                    let step = u32::from(keychain == KeychainKind::Internal);
                    let steps = [step, index].map(|index| ChildNumber::Normal { index });
                    let path = own.path().as_ref().extend(steps);
                    self.origins.insert(script.clone(), (root, path));
                }
            }
        }
        for txid in wanted {
            if let Some(transaction) = ledger.transaction(txid) {
                self.transactions.insert(txid, transaction);
            }
        }
    }
}

fn refused(error: CreateTxError) -> PaymentError {
    match error {
        CreateTxError::CoinSelection(error) => PaymentError::NotEnough {
            available: error.available,
            needed: error.needed,
        },
        CreateTxError::NoUtxosSelected => PaymentError::NotEnough {
            available: Amount::ZERO,
            needed: Amount::ZERO,
        },
        CreateTxError::FeeTooLow { required } => PaymentError::FeeTooLow(required.to_string()),
        CreateTxError::FeeRateTooLow { required } => {
            let rate = required.to_sat_per_vb_ceil();
            PaymentError::FeeTooLow(format!("{rate} sat/vB"))
        }
        error => PaymentError::Refused(error.to_string()),
    }
}

fn not_bumped(txid: Txid, error: BuildFeeBumpError) -> PaymentError {
    match error {
        BuildFeeBumpError::TransactionNotFound(_) => PaymentError::Unknown(txid),
        BuildFeeBumpError::TransactionConfirmed(_) => PaymentError::Confirmed(txid),
        error => PaymentError::NotReplaceable(txid, error.to_string()),
    }
}
