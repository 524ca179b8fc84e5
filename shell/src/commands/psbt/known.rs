//! What is known besides the PSBT: transactions.

use std::collections::HashMap;
use std::path::PathBuf;

use bcm_keystore::wallet::Known;
use bcm_keystore::wallet::sign_tx::PreviousTransactions;
use bitcoin::bip32::KeySource;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Script, Transaction, Txid};

use super::file;
use crate::report::{Kind, Report};

/// Transactions from files, and what bcm's own wallets know.
#[derive(Clone, Debug, Default)]
pub(super) struct Transactions {
    files: HashMap<Txid, Transaction>,
    wallets: Known,
}

impl Transactions {
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Report> {
        let mut known = HashMap::new();
        for path in files {
            let bytes = file::bytes(path)?;
            let text = String::from_utf8_lossy(&bytes);
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() {
                    continue;
                }
                let place = format!("{}:{}", path.display(), number + 1);
                let transaction: Transaction = deserialize_hex(line).map_err(|_| {
                    Report::text(Kind::Failed, "this is no transaction in hexadecimal").at(place)
                })?;
                known.insert(transaction.compute_txid(), transaction);
            }
        }
        Ok(Self {
            files: known,
            wallets: Known::default(),
        })
    }

    /// Adds what the wallets know.
    pub(super) fn beside(self, wallets: Known) -> Self {
        Self { wallets, ..self }
    }
}

impl PreviousTransactions for Transactions {
    fn get(&self, txid: &Txid) -> Option<Transaction> {
        let given = self.files.get(txid).cloned();
        given.or_else(|| self.wallets.get(txid))
    }

    fn origin(&self, script: &Script) -> Option<KeySource> {
        self.wallets.origin(script)
    }
}
