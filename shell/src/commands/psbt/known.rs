//! What the person knows besides the PSBT: account keys and transactions.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use bcm_keystore::wallet::Known;
use bcm_keystore::wallet::sign_tx::{AccountKey, PreviousTransactions};
use bitcoin::bip32::{DerivationPath, Fingerprint, KeySource, Xpub};
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Script, Transaction, Txid};

use super::file;
use crate::report::{Kind, Report};

/// Reads an account key as descriptors write it: `[fingerprint/path]xpub`.
pub(super) fn account(text: &str) -> Result<AccountKey, String> {
    let wrong =
        || "expected `[fingerprint/48h/0h/0h/2h]xpub…`, without what follows the key".to_owned();
    let (origin, key) = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .ok_or_else(wrong)?;
    let (fingerprint, path) = origin.split_once('/').unwrap_or((origin, ""));
    let path = path.replace('\'', "h");
    Ok(AccountKey {
        fingerprint: Fingerprint::from_str(fingerprint).map_err(|_| wrong())?,
        path: DerivationPath::from_str(&path).map_err(|_| wrong())?,
        xpub: Xpub::from_str(key).map_err(|_| wrong())?,
    })
}

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

#[cfg(test)]
mod tests {
    use super::*;

    const XPUB: &str = "tpubDFCvhQ5pq3s8do6rGPhghho3bM4eGTR83BPt33e3D7i66eRsmQeuNbTWJHVCzcBsaTG3v8qxrTcDUC2ky1HXzdpEUTcd8s8Yn86W7BMw7Md";

    #[test]
    fn an_account_key_is_read_as_descriptors_write_it() {
        for path in ["48h/1h/0h/2h", "48'/1'/0'/2'"] {
            let key = account(&format!("[dd53b9b4/{path}]{XPUB}")).unwrap();
            assert_eq!(key.fingerprint.to_string(), "dd53b9b4");
            assert_eq!(
                key.path.to_u32_vec(),
                [48, 1, 0, 2].map(|step| step | 1 << 31)
            );
            assert_eq!(key.xpub.to_string(), XPUB);
        }
        for text in ["", XPUB, "[dd53b9b4]", "[x/48h]xpub", "[dd53b9b4/x]y"] {
            assert!(account(text).is_err(), "{text}");
        }
        assert!(account(&format!("[dd53b9b4/48h]{XPUB}/0/*")).is_err());
    }
}
