//! Account keys: with them the host itself can tell which keys are the wallet's.

use std::collections::{BTreeMap, HashMap};

use bitcoin::bip32::{ChainCode, ChildNumber, DerivationPath, Fingerprint, KeySource, Xpub};
use bitcoin::{NetworkKind, Psbt, secp256k1};
use trezor_client::protos::{GetPublicKey, HDNodeType, PublicKey};

use super::error::SignError;
use super::verify::secp;
use super::{AccountKey, coin_name, network};
use crate::chain::Chain;
use crate::device::{Device, DeviceError};
use crate::interaction::Prompt;

/// Returns the part of a path down to the last hardened step: what an account key is given out for.
pub(super) fn account_of(path: &DerivationPath) -> &[ChildNumber] {
    let steps: &[ChildNumber] = path.as_ref();
    let hardened = steps
        .iter()
        .rposition(bitcoin::bip32::ChildNumber::is_hardened);
    hardened.map_or(&[], |last| &steps[..=last])
}

/// Writes the whole way from the root where a PSBT gives only the way from an account key.
///
/// Whoever watches a bare account key names that key as the root: Electrum and Bitcoin Core do. A
/// claim is rewritten only where the account gives the very key.
pub fn complete_origins(psbt: &mut Psbt, accounts: &[AccountKey]) {
    let whole = |source: &KeySource, key: [u8; 32]| -> Option<KeySource> {
        let of_account = |account: &&AccountKey| account.xpub.fingerprint() == source.0;
        let account = accounts.iter().find(of_account)?;
        let derived = account.xpub.derive_pub(secp(), &source.1).ok()?;
        let is_same = derived.public_key.x_only_public_key().0.serialize() == key;
        let path = account.path.extend(&source.1);
        is_same.then_some((account.fingerprint, path))
    };
    let complete = |sources: &mut BTreeMap<secp256k1::PublicKey, KeySource>| {
        for (key, source) in sources {
            let x_only = key.x_only_public_key().0.serialize();
            if let Some(found) = whole(source, x_only) {
                *source = found;
            }
        }
    };
    for input in &mut psbt.inputs {
        complete(&mut input.bip32_derivation);
    }
    for output in &mut psbt.outputs {
        complete(&mut output.bip32_derivation);
    }
    let of_inputs = psbt
        .inputs
        .iter_mut()
        .map(|input| &mut input.tap_key_origins);
    let of_outputs = psbt
        .outputs
        .iter_mut()
        .map(|output| &mut output.tap_key_origins);
    for (key, (_, source)) in of_inputs.chain(of_outputs).flatten() {
        if let Some(found) = whole(source, key.serialize()) {
            *source = found;
        }
    }
}

/// Asks the device for its account keys at `paths`, quietly.
pub(super) async fn ask(
    device: &Device,
    chain: Chain,
    fingerprint: Fingerprint,
    paths: Vec<DerivationPath>,
) -> Result<Vec<AccountKey>, SignError> {
    let prompt = Prompt::new("read the account keys of the wallet");
    let told = device.dialogue(prompt, move |device| {
        let mut keys = Vec::new();
        for path in paths {
            let mut request = GetPublicKey::new();
            request.address_n = path.to_u32_vec();
            request.set_coin_name(coin_name(chain).to_owned());
            let told: PublicKey = device.call(&request)?;
            if told
                .root_fingerprint
                .is_some_and(|root| root.to_be_bytes() != fingerprint.to_bytes())
            {
                let text = "its key is of another wallet than the one that is open";
                return Err(DeviceError::Implausible(text.to_owned()));
            }
            let kind = NetworkKind::from(network(chain));
            let xpub = xpub(&told.node, kind)
                .ok_or_else(|| DeviceError::Damaged("PublicKey".to_owned()))?;
            keys.push(AccountKey {
                fingerprint,
                path,
                xpub,
            });
        }
        Ok(keys)
    });
    Ok(told.await?)
}

fn xpub(node: &HDNodeType, network: NetworkKind) -> Option<Xpub> {
    Some(Xpub {
        network,
        depth: u8::try_from(node.depth()).ok()?,
        parent_fingerprint: Fingerprint::from(node.fingerprint().to_be_bytes()),
        child_number: ChildNumber::from(node.child_num()),
        public_key: secp256k1::PublicKey::from_slice(node.public_key()).ok()?,
        chain_code: ChainCode::from(<[u8; 32]>::try_from(node.chain_code()).ok()?),
    })
}

/// The account keys that are known, and what was derived from them.
#[derive(Debug)]
pub(super) struct Accounts<'a> {
    known: Vec<&'a AccountKey>,
    chains: HashMap<(usize, ChildNumber), Xpub>,
}

impl<'a> Accounts<'a> {
    pub(super) fn new(known: impl IntoIterator<Item = &'a AccountKey>) -> Self {
        Self {
            known: known.into_iter().collect(),
            chains: HashMap::new(),
        }
    }

    /// Finds the account that a key belongs to, and the steps from there to the key.
    pub(super) fn find<'s>(
        &self,
        source: &'s KeySource,
    ) -> Option<(usize, &'a AccountKey, &'s [ChildNumber])> {
        let (fingerprint, path) = source;
        let steps: &[ChildNumber] = path.as_ref();
        self.known.iter().enumerate().find_map(|(place, account)| {
            let prefix: &[ChildNumber] = account.path.as_ref();
            let rest = steps.strip_prefix(prefix)?;
            let fits = account.fingerprint == *fingerprint
                && rest.iter().all(bitcoin::bip32::ChildNumber::is_normal);
            fits.then_some((place, *account, rest))
        })
    }

    /// Derives the key that lives there; `None` where the account is not known.
    pub(super) fn derive(&mut self, source: &KeySource) -> Option<secp256k1::PublicKey> {
        let (place, account, rest) = self.find(source)?;
        let Some((first, rest)) = rest.split_first() else {
            return Some(account.xpub.public_key);
        };
        let chain = match self.chains.get(&(place, *first)) {
            Some(chain) => *chain,
            None => {
                let chain = account.xpub.derive_pub(secp(), first).ok()?;
                self.chains.insert((place, *first), chain);
                chain
            }
        };
        Some(chain.derive_pub(secp(), &rest).ok()?.public_key)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, ScriptBuf, Transaction, TxOut, absolute, transaction};

    use super::*;
    use crate::wallet::AccountXpub;

    const KEY: &str = "[dd53b9b4/84h/1h/0h]tpubDDA54BFhBqkPQx35nYmVprcLhnDMfizT333d5AHtc8KohAcz5ffrhhWNfo88Ayjr1dMTrBf6KwY2f82tNs9tVxcpJSktBchM2Hu9X2jRHev";

    #[test]
    fn only_a_key_that_the_account_gives_is_said_to_be_of_it() {
        let account = AccountKey::from(&KEY.parse::<AccountXpub>().unwrap());
        let output = TxOut {
            value: Amount::ONE_BTC,
            script_pubkey: ScriptBuf::new(),
        };
        let transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: Vec::new(),
            output: vec![output],
        };
        let (change, other): (DerivationPath, DerivationPath) =
            ("m/1/0".parse().unwrap(), "m/1/1".parse().unwrap());
        let key = |path| account.xpub.derive_pub(secp(), path).unwrap().public_key;
        let completed = |key: secp256k1::PublicKey, root: Fingerprint| {
            let mut psbt = Psbt::from_unsigned_tx(transaction.clone()).unwrap();
            let source = (root, change.clone());
            psbt.outputs[0].bip32_derivation.insert(key, source.clone());
            let x_only = key.x_only_public_key().0;
            let origins = &mut psbt.outputs[0].tap_key_origins;
            origins.insert(x_only, (Vec::new(), source));
            complete_origins(&mut psbt, std::slice::from_ref(&account));
            let told = &psbt.outputs[0];
            assert_eq!(told.bip32_derivation[&key], told.tap_key_origins[&x_only].1);
            told.bip32_derivation[&key].clone()
        };
        let bare = account.xpub.fingerprint();
        let whole = (account.fingerprint, account.path.extend(&change));
        assert_eq!(completed(key(&change), bare), whole);
        assert_eq!(completed(key(&other), bare), (bare, change.clone()));
        let stranger = Fingerprint::from([7; 4]);
        assert_eq!(
            completed(key(&change), stranger),
            (stranger, change.clone())
        );
    }
}
