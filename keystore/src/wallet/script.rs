//! The kinds of script that a wallet of the device can have, and where their keys live.

use std::fmt;
use std::str::FromStr;

use bitcoin::bip32::ChildNumber;
use trezor_client::InputScriptType;

use crate::chain::Chain;
use crate::path::DerivationPath;

/// The highest account that the device lets through without a warning.
pub const MAX_ACCOUNT: u32 = 100;

/// A kind of script: of one key of the device, or of sorted keys of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptKind {
    /// One key, [BIP-44](https://github.com/bitcoin/bips/blob/master/bip-0044.mediawiki).
    P2pkh,
    /// One key, [BIP-49](https://github.com/bitcoin/bips/blob/master/bip-0049.mediawiki).
    #[serde(rename = "p2sh-p2wpkh")]
    P2shP2wpkh,
    /// One key, [BIP-84](https://github.com/bitcoin/bips/blob/master/bip-0084.mediawiki).
    P2wpkh,
    /// One key, [BIP-86](https://github.com/bitcoin/bips/blob/master/bip-0086.mediawiki).
    P2tr,
    /// Several keys, script type 0 of
    /// [BIP-48](https://github.com/bitcoin/bips/blob/master/bip-0048.mediawiki) as Trezor has it.
    P2sh,
    /// Several keys, script type 1 of
    /// [BIP-48](https://github.com/bitcoin/bips/blob/master/bip-0048.mediawiki).
    #[serde(rename = "p2sh-p2wsh")]
    P2shP2wsh,
    /// Several keys, script type 2 of
    /// [BIP-48](https://github.com/bitcoin/bips/blob/master/bip-0048.mediawiki).
    P2wsh,
}

impl ScriptKind {
    /// Every kind, those of one key first.
    pub const ALL: [Self; 7] = [
        Self::P2pkh,
        Self::P2shP2wpkh,
        Self::P2wpkh,
        Self::P2tr,
        Self::P2sh,
        Self::P2shP2wsh,
        Self::P2wsh,
    ];

    /// Returns its name, `p2sh-p2wpkh`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P2pkh => "p2pkh",
            Self::P2shP2wpkh => "p2sh-p2wpkh",
            Self::P2wpkh => "p2wpkh",
            Self::P2tr => "p2tr",
            Self::P2sh => "p2sh",
            Self::P2shP2wsh => "p2sh-p2wsh",
            Self::P2wsh => "p2wsh",
        }
    }

    /// Tells whether it takes keys of several devices.
    pub fn is_multisig(self) -> bool {
        matches!(self, Self::P2sh | Self::P2shP2wsh | Self::P2wsh)
    }

    /// Returns where the account key lives: `m/84h/0h/0h`, `m/48h/0h/0h/2h`.
    pub fn account_path(self, chain: Chain, account: u32) -> DerivationPath {
        let (purpose, script) = match self {
            Self::P2pkh => (44, None),
            Self::P2shP2wpkh => (49, None),
            Self::P2wpkh => (84, None),
            Self::P2tr => (86, None),
            Self::P2sh => (48, Some(0)),
            Self::P2shP2wsh => (48, Some(1)),
            Self::P2wsh => (48, Some(2)),
        };
        let coin = u32::from(chain != Chain::Mainnet);
        let steps = [Some(purpose), Some(coin), Some(account), script];
        let hardened = |step| ChildNumber::Hardened { index: step };
        let steps: Vec<ChildNumber> = steps.into_iter().flatten().map(hardened).collect();
        steps.into()
    }

    /// Returns the script type of the device's messages.
    pub(crate) fn on_device(self) -> InputScriptType {
        match self {
            Self::P2pkh => InputScriptType::SPENDADDRESS,
            Self::P2shP2wpkh | Self::P2shP2wsh => InputScriptType::SPENDP2SHWITNESS,
            Self::P2wpkh | Self::P2wsh => InputScriptType::SPENDWITNESS,
            Self::P2tr => InputScriptType::SPENDTAPROOT,
            Self::P2sh => InputScriptType::SPENDMULTISIG,
        }
    }

    /// Writes the descriptor around a key or a `sortedmulti`, without a checksum.
    pub(crate) fn wrap(self, inner: &str) -> String {
        match self {
            Self::P2pkh => format!("pkh({inner})"),
            Self::P2shP2wpkh => format!("sh(wpkh({inner}))"),
            Self::P2wpkh => format!("wpkh({inner})"),
            Self::P2tr => format!("tr({inner})"),
            Self::P2sh => format!("sh({inner})"),
            Self::P2shP2wsh => format!("sh(wsh({inner}))"),
            Self::P2wsh => format!("wsh({inner})"),
        }
    }
}

impl fmt::Display for ScriptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A kind of script that bcm does not know.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown script `{0}`, expected p2pkh, p2sh-p2wpkh, p2wpkh, p2tr, p2sh, p2sh-p2wsh or p2wsh"
)]
pub struct UnknownScript(String);

impl FromStr for ScriptKind {
    type Err = UnknownScript;

    fn from_str(name: &str) -> Result<Self, UnknownScript> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownScript(name.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_live_where_the_bips_say() {
        let path = |kind: ScriptKind, chain, account| kind.account_path(chain, account).to_string();
        assert_eq!(path(ScriptKind::P2wpkh, Chain::Mainnet, 0), "m/84h/0h/0h");
        assert_eq!(path(ScriptKind::P2tr, Chain::Regtest, 7), "m/86h/1h/7h");
        assert_eq!(path(ScriptKind::P2wsh, Chain::Signet, 0), "m/48h/1h/0h/2h");
        assert_eq!(
            path(ScriptKind::P2shP2wsh, Chain::Mainnet, 1),
            "m/48h/0h/1h/1h"
        );
    }

    #[test]
    fn every_kind_parses_from_its_own_name() {
        for kind in ScriptKind::ALL {
            assert_eq!(kind.name().parse::<ScriptKind>().unwrap(), kind);
        }
        assert!("p2ms".parse::<ScriptKind>().is_err());
    }
}
