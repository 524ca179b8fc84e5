//! Account keys: with them the host itself can tell which keys are the wallet's.

use std::collections::HashMap;

use bitcoin::bip32::{ChainCode, ChildNumber, DerivationPath, Fingerprint, KeySource, Xpub};
use bitcoin::{NetworkKind, secp256k1};
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
