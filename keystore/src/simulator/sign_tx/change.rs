//! Which outputs come back to the wallet and need not be shown.
//!
//! An output is change where its path, its script type and its cosigners are those that all inputs
//! have in common. Where the inputs have nothing in common, nothing is change.

use bitcoin::hashes::{Hash, HashEngine, sha256};
use trezor_client::InputScriptType;
use trezor_client::protos::{
    HDNodeType, MultisigPubkeysOrder, MultisigRedeemScriptType, OutputScriptType,
};

use super::super::engine::Stop;
use super::{Input, Output};

/// Steps of a path below the account: chain and address.
const WALLET_DEPTH: usize = 2;

/// Highest chain of a change output.
const CHANGE_CHAIN: u32 = 1;

/// Highest address that can still be found by trying.
const MAX_ADDRESS: u32 = 1_000_000;

/// Something that all inputs have in common, as long as they have.
#[derive(Debug, Default, PartialEq, Eq)]
enum Common<T> {
    #[default]
    Undefined,
    Same(T),
    Mismatch,
}

impl<T: PartialEq> Common<T> {
    fn add(&mut self, attribute: Option<T>) {
        *self = match (std::mem::replace(self, Self::Mismatch), attribute) {
            (Self::Undefined, Some(new)) => Self::Same(new),
            (Self::Same(old), Some(new)) if old == new => Self::Same(old),
            _ => Self::Mismatch,
        };
    }

    fn is(&self, attribute: Option<&T>) -> bool {
        matches!((self, attribute), (Self::Same(common), Some(own)) if common == own)
    }
}

/// What the inputs of a transaction have in common.
#[derive(Debug, Default)]
pub(super) struct ChangeDetector {
    wallet: Common<Vec<u32>>,
    script: Common<InputScriptType>,
    multisig: Common<Option<sha256::Hash>>,
}

impl ChangeDetector {
    pub(super) fn add_input(&mut self, input: &Input) -> Result<(), Stop> {
        self.wallet
            .add(wallet(&input.address_n).map(<[u32]>::to_vec));
        self.script.add(Some(plain(input.script_type())));
        let multisig = input.multisig.as_ref();
        self.multisig
            .add(Some(multisig.map(fingerprint).transpose()?));
        Ok(())
    }

    /// Tells whether all inputs are of one account.
    pub(super) fn is_one_account(&self) -> bool {
        matches!(self.wallet, Common::Same(_))
    }

    pub(super) fn is_change(&self, output: &Output) -> Result<bool, Stop> {
        let Some(script) = input_script_type(output.script_type()) else {
            return Ok(false);
        };
        let multisig = output.multisig.as_ref();
        // keys on paths of their own make an address that its owners may never find again
        if multisig.is_some_and(|multisig| !uses_one_path(multisig)) {
            return Ok(false);
        }
        let multisig = multisig.map(fingerprint).transpose()?;
        let path = &output.address_n;
        let Some((account, &[chain, address])) = path.split_last_chunk::<WALLET_DEPTH>() else {
            return Ok(false);
        };
        Ok(self.multisig.is(Some(&multisig))
            && self.script.is(Some(&plain(script)))
            && !account.is_empty()
            && self.wallet.is(Some(&account.to_vec()))
            && chain <= CHANGE_CHAIN
            && address <= MAX_ADDRESS
            && output.amount() > 0)
    }
}

fn wallet(path: &[u32]) -> Option<&[u32]> {
    let (account, _) = path.split_last_chunk::<WALLET_DEPTH>()?;
    Some(account).filter(|account| !account.is_empty())
}

fn plain(script: InputScriptType) -> InputScriptType {
    match script {
        InputScriptType::SPENDMULTISIG => InputScriptType::SPENDADDRESS,
        other => other,
    }
}

/// Returns the input that spends an own output; `None` for what is never own.
pub(super) fn input_script_type(script: OutputScriptType) -> Option<InputScriptType> {
    match script {
        OutputScriptType::PAYTOADDRESS => Some(InputScriptType::SPENDADDRESS),
        OutputScriptType::PAYTOMULTISIG => Some(InputScriptType::SPENDMULTISIG),
        OutputScriptType::PAYTOP2SHWITNESS => Some(InputScriptType::SPENDP2SHWITNESS),
        OutputScriptType::PAYTOWITNESS => Some(InputScriptType::SPENDWITNESS),
        OutputScriptType::PAYTOTAPROOT => Some(InputScriptType::SPENDTAPROOT),
        OutputScriptType::PAYTOSCRIPTHASH | OutputScriptType::PAYTOOPRETURN => None,
    }
}

fn uses_one_path(multisig: &MultisigRedeemScriptType) -> bool {
    let mut paths = multisig.pubkeys.iter().map(|key| &key.address_n);
    let first = paths.next();
    paths.all(|path| Some(path) == first)
}

/// Hashes everything that names the cosigners and their policy.
pub(super) fn fingerprint(multisig: &MultisigRedeemScriptType) -> Result<sha256::Hash, Stop> {
    let mut nodes: Vec<&HDNodeType> = if multisig.nodes.is_empty() {
        let keys = multisig.pubkeys.iter();
        keys.filter_map(|key| key.node.as_ref()).collect()
    } else {
        multisig.nodes.iter().collect()
    };
    let keys = 1..=15;
    let number = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let whole = |node: &&HDNodeType| node.public_key().len() == 33 && node.chain_code().len() == 32;
    if !keys.contains(&number) || !keys.contains(&multisig.m()) || !nodes.iter().all(whole) {
        return Err(Stop::data("Invalid multisig parameters"));
    }
    let order = multisig.pubkeys_order();
    if order == MultisigPubkeysOrder::LEXICOGRAPHIC {
        nodes.sort_by_key(|node| (node.public_key().to_vec(), node.chain_code().to_vec()));
    }
    let mut engine = sha256::Hash::engine();
    for word in [multisig.m(), number, order as u32] {
        engine.input(&word.to_le_bytes());
    }
    for node in nodes {
        for word in [node.depth(), node.fingerprint(), node.child_num()] {
            engine.input(&word.to_le_bytes());
        }
        engine.input(node.chain_code());
        engine.input(node.public_key());
    }
    Ok(sha256::Hash::from_engine(engine))
}
