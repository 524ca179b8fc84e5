//! Labels, exchanged with other wallets as
//! [BIP-329](https://github.com/bitcoin/bips/blob/master/bip-0329.mediawiki) has them.

use serde::{Deserialize, Serialize};

use super::error::WalletError;

/// Longest label, in bytes.
const MAX_LABEL: usize = 4096;

/// Longest file of labels, in bytes.
pub const MAX_FILE: usize = 16 * 1024 * 1024;

const KINDS: [&str; 6] = ["tx", "addr", "pubkey", "input", "output", "xpub"];

/// A line of a file of labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// `tx`, `addr`, `pubkey`, `input`, `output` or `xpub`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is labelled: a txid, an address, `txid:0`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The label; empty where only the coin is frozen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// The descriptor that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Of an output: whether it may be spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spendable: Option<bool>,
}

/// Writes one label a line.
pub fn write(labels: &[Label]) -> String {
    let line = |label: &Label| serde_json::to_string(label).expect("strings always serialise");
    labels.iter().map(|label| line(label) + "\n").collect()
}

/// Reads one label a line; unknown fields are left out, empty lines skipped.
///
/// # Errors
///
/// [`WalletError::Label`] names the first line that is none.
pub fn read(text: &str) -> Result<Vec<Label>, WalletError> {
    let mut labels = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let refuse = |reason: String| WalletError::Label {
            line: index + 1,
            reason,
        };
        let label: Label = serde_json::from_str(line).map_err(|error| refuse(error.to_string()))?;
        if !KINDS.contains(&label.kind.as_str()) {
            return Err(refuse("its type is unknown".into()));
        }
        if label.label.len() > MAX_LABEL || label.reference.len() > MAX_LABEL {
            return Err(refuse("it is too long".into()));
        }
        labels.push(label);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of BIP-329.
    const EXAMPLE: &str = r#"{ "type": "tx", "ref": "f91d0a8a78462bc59398f2c5d7a84fcff491c26ba54c4833478b202796c8aafd", "label": "Transaction", "origin": "wpkh([d34db33f/84'/0'/0'])" }
{ "type": "addr", "ref": "bc1q34aq5drpuwy3wgl9lhup9892qp6svr8ldzyy7c", "label": "Address" }
{ "type": "pubkey", "ref": "0283409659355b6d1cc3c32decd5d561abaac86c37a353b52895a5e6c196d6f448", "label": "Public Key" }
{ "type": "input", "ref": "f91d0a8a78462bc59398f2c5d7a84fcff491c26ba54c4833478b202796c8aafd:0", "label": "Input" }
{ "type": "output", "ref": "f91d0a8a78462bc59398f2c5d7a84fcff491c26ba54c4833478b202796c8aafd:1", "label": "Output" , "spendable" : false }
{ "type": "xpub", "ref": "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8", "label": "Extended Public Key" }
{ "type": "tx", "ref": "f546156d9044844e02b181026a1a407abfca62e7ea1159f87bbeaa77b4286c74", "label": "Account #1 Transaction", "origin": "wpkh([d34db33f/84'/0'/1'])" }
"#;

    #[test]
    fn the_example_of_the_bip_is_read_and_written_back() {
        let labels = read(EXAMPLE).unwrap();
        assert_eq!(labels.len(), 7);
        assert_eq!(labels[4].spendable, Some(false));
        assert_eq!(read(&write(&labels)).unwrap(), labels);
    }

    #[test]
    fn a_line_that_is_no_label_is_named() {
        for bad in [
            "{",
            "{\"type\":\"tx\"}",
            "{\"type\":\"x\",\"ref\":\"y\"}",
            "[]",
        ] {
            let refused = read(&format!("\n{bad}\n")).unwrap_err();
            assert!(refused.to_string().starts_with("line 2 "), "{refused}");
        }
    }
}
