//! A wallet in the words of other programs: none of it can spend.

use std::str::FromStr;

use bdk_wallet::KeychainKind::{External, Internal};
use bitcoin::bip32::{DerivationPath, Xpub};
use serde_json::{Map, Value, json};

use super::book::NewWallet;
use super::descriptor::Spender;
use super::error::WalletError;
use super::script::ScriptKind;
use super::xpub::AccountXpub;

/// How many addresses Bitcoin Core watches ahead.
const RANGE: u32 = 999;

/// Of a file that Electrum 4 reads and brings up to date by itself. From an older one it would drop
/// the fingerprint of the root, and its PSBTs would name keys that no device finds.
const ELECTRUM_VERSION: u32 = 20;

/// A notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One line, with checksum, receiving and change in one.
    Descriptor,
    /// The argument of Bitcoin Core's `importdescriptors`.
    Bitcoind,
    /// A file that Sparrow imports as "Output Descriptor".
    Sparrow,
    /// A watch-only wallet file of Electrum.
    Electrum,
}

/// A notation that bcm does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown format `{0}`, expected descriptor, bitcoind, sparrow or electrum")]
pub struct UnknownFormat(String);

impl FromStr for ExportFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Ok(match name {
            "descriptor" => Self::Descriptor,
            "bitcoind" => Self::Bitcoind,
            "sparrow" => Self::Sparrow,
            "electrum" => Self::Electrum,
            _ => return Err(UnknownFormat(name.chars().take(40).collect())),
        })
    }
}

impl NewWallet {
    /// Writes the wallet out for another program.
    ///
    /// # Errors
    ///
    /// [`WalletError::Unsupported`] for a kind that the other program does not have.
    pub fn export(&self, format: ExportFormat) -> Result<String, WalletError> {
        let both = &self.descriptor;
        let (receiving, change) = (both.keychain_text(External), both.keychain_text(Internal));
        Ok(match format {
            ExportFormat::Descriptor => both.to_string(),
            ExportFormat::Bitcoind => {
                let item = |descriptor: String, internal: bool| {
                    json!({"desc": descriptor, "active": true, "internal": internal,
                           "timestamp": self.created, "range": [0, RANGE]})
                };
                pretty(&json!([item(receiving, false), item(change, true)]))
            }
            ExportFormat::Sparrow => format!(
                "# Receive and change descriptor (BIP389):\n{both}\n\n\
                 # Receive descriptor (Bitcoin Core):\n{receiving}\n\n\
                 # Change descriptor (Bitcoin Core):\n{change}"
            ),
            ExportFormat::Electrum => self.electrum()?,
        })
    }

    fn electrum(&self) -> Result<String, WalletError> {
        let kind = self.descriptor.kind();
        if kind == ScriptKind::P2tr {
            return Err(WalletError::Unsupported(
                "be used for taproot from Electrum, which has no such wallets".into(),
            ));
        }
        let keystore = |key: &AccountXpub| {
            let path: &DerivationPath = key.path().as_ref();
            json!({
                "type": "hardware", "hw_type": "trezor", "label": self.name.as_str(),
                "xpub": slip_132(kind, key.xpub()),
                "derivation": format!("m/{}", path.to_string().replace('h', "'")),
                "root_fingerprint": key.fingerprint().to_string(),
                "soft_device_id": null,
            })
        };
        let mut file = Map::new();
        file.insert("seed_version".into(), ELECTRUM_VERSION.into());
        file.insert("use_encryption".into(), false.into());
        match self.descriptor.spender() {
            Spender::Single(key) => {
                file.insert("wallet_type".into(), "standard".into());
                file.insert("keystore".into(), keystore(key));
            }
            Spender::Multisig { needed, keys } => {
                let name = format!("{needed}of{}", keys.len());
                file.insert("wallet_type".into(), name.into());
                for (index, key) in keys.iter().enumerate() {
                    file.insert(format!("x{}/", index + 1), keystore(key));
                }
            }
        }
        Ok(pretty(&Value::Object(file)))
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("strings and numbers always serialise")
}

/// Writes a key with the version that tells the script, see
/// [SLIP-132](https://github.com/satoshilabs/slips/blob/master/slip-0132.md).
fn slip_132(kind: ScriptKind, xpub: &Xpub) -> String {
    let main = xpub.network.is_mainnet();
    let version: [u8; 4] = match (kind, main) {
        (ScriptKind::P2shP2wpkh, true) => [0x04, 0x9d, 0x7c, 0xb2],
        (ScriptKind::P2shP2wpkh, false) => [0x04, 0x4a, 0x52, 0x62],
        (ScriptKind::P2wpkh, true) => [0x04, 0xb2, 0x47, 0x46],
        (ScriptKind::P2wpkh, false) => [0x04, 0x5f, 0x1c, 0xf6],
        (ScriptKind::P2shP2wsh, true) => [0x02, 0x95, 0xb4, 0x3f],
        (ScriptKind::P2shP2wsh, false) => [0x02, 0x42, 0x89, 0xef],
        (ScriptKind::P2wsh, true) => [0x02, 0xaa, 0x7e, 0xd3],
        (ScriptKind::P2wsh, false) => [0x02, 0x57, 0x54, 0x83],
        _ => return xpub.to_string(),
    };
    let mut bytes = xpub.encode();
    bytes[..4].copy_from_slice(&version);
    bitcoin::base58::encode_check(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wallet(descriptor: &str) -> NewWallet {
        NewWallet {
            name: "savings".parse().unwrap(),
            descriptor: descriptor.parse().unwrap(),
            created: 1_700_000_000,
            birthday: 0,
        }
    }

    #[test]
    fn keys_carry_the_version_that_trezor_shows() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../vectors/wallets.json")).unwrap();
        for account in vectors["accounts"].as_array().unwrap() {
            let Some(text) = account["descriptor"].as_str() else {
                continue;
            };
            let wallet = wallet(text);
            let kind = wallet.descriptor.kind();
            if kind == ScriptKind::P2tr {
                assert!(wallet.export(ExportFormat::Electrum).is_err());
                continue;
            }
            let key = wallet.descriptor.keys()[0].xpub();
            assert_eq!(account["xpub_as_shown"], slip_132(kind, key));
            let file = wallet.export(ExportFormat::Electrum).unwrap();
            let file: Value = serde_json::from_str(&file).unwrap();
            assert_eq!(file["keystore"]["xpub"], account["xpub_as_shown"]);
            assert_eq!(file["keystore"]["derivation"], account["path"]);
        }
    }
}
