//! Descriptors: whose keys a wallet has, in the notation that other wallets read.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bdk_wallet::KeychainKind;
use bdk_wallet::miniscript::descriptor::checksum::desc_checksum;
use bdk_wallet::miniscript::descriptor::{Descriptor, DescriptorPublicKey};
use bitcoin::bip32::Fingerprint;
use bitcoin::{Address, secp256k1::Secp256k1};

use super::error::WalletError;
use super::script::ScriptKind;
use super::xpub::AccountXpub;
use crate::chain::Chain;

/// Most keys that a script of the device's may have.
const MAX_KEYS: usize = 15;

/// Who has to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spender {
    /// The key of one device.
    Single(Box<AccountXpub>),
    /// Some of several devices, `sortedmulti` of
    /// [BIP-383](https://github.com/bitcoin/bips/blob/master/bip-0383.mediawiki).
    Multisig {
        /// Signatures needed.
        needed: usize,
        /// Every key, the own one among them.
        keys: Vec<AccountXpub>,
    },
}

/// The descriptor of a wallet, receiving and change in one as in
/// [BIP-389](https://github.com/bitcoin/bips/blob/master/bip-0389.mediawiki).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletDescriptor {
    kind: ScriptKind,
    spender: Spender,
}

impl WalletDescriptor {
    /// Makes the descriptor of one account.
    pub fn single(kind: ScriptKind, key: AccountXpub) -> Self {
        Self {
            kind,
            spender: Spender::Single(Box::new(key)),
        }
    }

    /// Makes the descriptor of `needed` out of several accounts.
    ///
    /// # Errors
    ///
    /// [`WalletError::Multisig`] where the numbers do not fit, or a key is there twice.
    pub fn multisig(
        kind: ScriptKind,
        needed: usize,
        keys: Vec<AccountXpub>,
    ) -> Result<Self, WalletError> {
        let refuse = |reason: &str| WalletError::Multisig {
            m: needed,
            n: keys.len(),
            reason: reason.to_owned(),
        };
        if !kind.is_multisig() {
            return Err(refuse(&format!("{kind} takes a single key")));
        }
        if !(2..=MAX_KEYS).contains(&keys.len()) || !(1..=keys.len()).contains(&needed) {
            return Err(refuse(
                "it takes 2 to 15 keys, and 1 to that many signatures",
            ));
        }
        let distinct: BTreeSet<_> = keys.iter().map(|key| key.xpub().public_key).collect();
        if distinct.len() < keys.len() {
            return Err(refuse("a key is there twice"));
        }
        Ok(Self {
            kind,
            spender: Spender::Multisig { needed, keys },
        })
    }

    /// Returns the kind of script.
    pub fn kind(&self) -> ScriptKind {
        self.kind
    }

    /// Returns who has to sign.
    pub fn spender(&self) -> &Spender {
        &self.spender
    }

    /// Returns every key.
    pub fn keys(&self) -> &[AccountXpub] {
        match &self.spender {
            Spender::Single(key) => std::slice::from_ref(key),
            Spender::Multisig { keys, .. } => keys,
        }
    }

    /// Returns how many signatures a payment needs.
    pub fn needed(&self) -> usize {
        match &self.spender {
            Spender::Single(_) => 1,
            Spender::Multisig { needed, .. } => *needed,
        }
    }

    /// Returns the key of the wallet with this root.
    pub fn own(&self, root: Fingerprint) -> Option<&AccountXpub> {
        self.keys().iter().find(|key| key.fingerprint() == root)
    }

    /// Refuses keys of another chain.
    pub(crate) fn check_chain(&self, chain: Chain) -> Result<(), WalletError> {
        self.keys()
            .iter()
            .try_for_each(|key| key.check_chain(chain))
    }

    /// Returns the descriptor of one keychain.
    pub(crate) fn keychain(&self, keychain: KeychainKind) -> Descriptor<DescriptorPublicKey> {
        self.body(step(keychain))
            .parse()
            .expect("keys that were parsed make a descriptor")
    }

    /// Derives the address at this place.
    pub(crate) fn address(&self, keychain: KeychainKind, index: u32, chain: Chain) -> Address {
        self.keychain(keychain)
            .at_derivation_index(index)
            .expect("a ranged descriptor, derived without hardening")
            .derived_descriptor(&Secp256k1::verification_only())
            .expect("its steps are not hardened")
            .address(chain.network())
            .expect("each of these kinds has addresses")
    }

    /// Writes the descriptor of one keychain, with its checksum.
    pub(crate) fn keychain_text(&self, keychain: KeychainKind) -> String {
        with_checksum(&self.body(step(keychain)))
    }

    fn body(&self, step: &str) -> String {
        let key = |key: &AccountXpub| format!("{key}/{step}/*");
        let inner = match &self.spender {
            Spender::Single(single) => key(single),
            Spender::Multisig { needed, keys } => {
                let keys: Vec<String> = keys.iter().map(key).collect();
                format!("sortedmulti({needed},{})", keys.join(","))
            }
        };
        self.kind.wrap(&inner)
    }
}

impl fmt::Display for WalletDescriptor {
    /// With the checksum of BIP-380, always.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_checksum(&self.body("<0;1>")))
    }
}

impl FromStr for WalletDescriptor {
    type Err = WalletError;

    fn from_str(text: &str) -> Result<Self, WalletError> {
        let refuse = |reason: &str| WalletError::Descriptor(reason.to_owned());
        let text = text.trim();
        let (body, _checksum) = text
            .rsplit_once('#')
            .ok_or_else(|| refuse("it has no checksum"))?;
        // miniscript compares the checksum
        let _: Descriptor<DescriptorPublicKey> = text
            .parse()
            .map_err(|error| WalletError::Descriptor(format!("{error}")))?;
        let kinds = ScriptKind::ALL.into_iter();
        // the longer wrappings first: `sh(wsh(` begins as `sh(` does
        let mut found: Vec<(ScriptKind, &str)> = kinds
            .filter_map(|kind| Some((kind, unwrap(kind, body)?)))
            .collect();
        found.sort_by_key(|(_, inner)| inner.len());
        let Some((kind, inner)) = found.first() else {
            return Err(refuse("bcm does not have wallets of this form"));
        };
        if !kind.is_multisig() {
            return Ok(Self::single(*kind, key(inner)?));
        }
        let list = inner
            .strip_prefix("sortedmulti(")
            .and_then(|rest| rest.strip_suffix(')'))
            .ok_or_else(|| refuse("several keys are `sortedmulti` in bcm"))?;
        let mut parts = list.split(',');
        let needed = parts.next().and_then(|needed| needed.parse().ok());
        let needed = needed.ok_or_else(|| refuse("it does not say how many sign"))?;
        let keys = parts.map(key).collect::<Result<Vec<_>, _>>()?;
        Self::multisig(*kind, needed, keys)
    }
}

fn step(keychain: KeychainKind) -> &'static str {
    match keychain {
        KeychainKind::External => "0",
        KeychainKind::Internal => "1",
    }
}

fn with_checksum(body: &str) -> String {
    let checksum = desc_checksum(body).expect("keys and names are in the checksum's alphabet");
    format!("{body}#{checksum}")
}

/// Takes the script of `kind` off, if that is what `body` is.
fn unwrap(kind: ScriptKind, body: &str) -> Option<&str> {
    let wrapped = kind.wrap("\0");
    let (before, after) = wrapped.split_once('\0')?;
    let inner = body.strip_prefix(before)?.strip_suffix(after)?;
    let is_multisig = inner.starts_with("sortedmulti(");
    (is_multisig == kind.is_multisig() && (is_multisig || inner.starts_with('['))).then_some(inner)
}

fn key(text: &str) -> Result<AccountXpub, WalletError> {
    let key = text
        .strip_suffix("/<0;1>/*")
        .ok_or_else(|| WalletError::Descriptor("its keys do not end in `/<0;1>/*`".to_owned()))?;
    key.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../vectors/wallets.json")).unwrap()
    }

    #[test]
    fn descriptors_and_addresses_are_those_of_the_genuine_device() {
        let vectors = vectors();
        let mut compared = 0;
        for account in vectors["accounts"].as_array().unwrap() {
            let Some(text) = account["descriptor"].as_str() else {
                continue;
            };
            let descriptor: WalletDescriptor = text.parse().unwrap();
            assert_eq!(descriptor.to_string(), text);
            assert_eq!(account["script"], descriptor.kind().name());
            let chain = match account["coin"].as_str().unwrap() {
                "Bitcoin" => Chain::Mainnet,
                "Testnet" => Chain::Testnet4,
                _ => Chain::Regtest,
            };
            for (place, address) in account["addresses"].as_object().unwrap() {
                let (keychain, index) = place.split_once('/').unwrap();
                let keychain = match keychain {
                    "0" => KeychainKind::External,
                    _ => KeychainKind::Internal,
                };
                let derived = descriptor.address(keychain, index.parse().unwrap(), chain);
                assert_eq!(*address, derived.to_string(), "{text} {place}");
                compared += 1;
            }
        }
        assert!(compared > 100, "{compared}");
    }

    #[test]
    fn a_multisig_descriptor_is_read_back() {
        let vectors = vectors();
        let keys: Vec<AccountXpub> = vectors["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|account| account["coin"] == "Regtest" && account["script"] == "p2wpkh")
            .map(|account| {
                let text = account["descriptor"].as_str().unwrap();
                text.parse::<WalletDescriptor>().unwrap().keys()[0].clone()
            })
            .collect();
        for kind in [ScriptKind::P2sh, ScriptKind::P2shP2wsh, ScriptKind::P2wsh] {
            let made = WalletDescriptor::multisig(kind, 2, keys.clone()).unwrap();
            assert_eq!(made.to_string().parse::<WalletDescriptor>().unwrap(), made);
        }
        let twice = vec![keys[0].clone(), keys[0].clone()];
        assert!(WalletDescriptor::multisig(ScriptKind::P2wsh, 2, twice).is_err());
        assert!(WalletDescriptor::multisig(ScriptKind::P2wsh, 3, keys.clone()).is_err());
        assert!(WalletDescriptor::multisig(ScriptKind::P2tr, 2, keys).is_err());
    }

    #[test]
    fn a_wrong_or_missing_checksum_is_refused() {
        let vectors = vectors();
        let text = vectors["accounts"][0]["descriptor"].as_str().unwrap();
        let (body, checksum) = text.split_once('#').unwrap();
        for wrong in [
            body.to_owned(),
            format!("{body}#"),
            format!("{body}#{}", checksum.to_uppercase()),
            format!("{body}#qqqqqqqq"),
            text.replace("pkh(", "wpkh("),
        ] {
            let refused = wrong.parse::<WalletDescriptor>();
            assert!(
                matches!(refused, Err(WalletError::Descriptor(_))),
                "{wrong}"
            );
        }
    }
}
