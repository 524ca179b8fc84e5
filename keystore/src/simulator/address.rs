//! `GetAddress`: one key or several, in every script that Bitcoin has for them.

use bitcoin::bip32::{ChainCode, ChildNumber, Fingerprint, Xpub};
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::{Address as BitcoinAddress, CompressedPublicKey, PublicKey, ScriptBuf};
use trezor_client::InputScriptType;
use trezor_client::protos::button_request::ButtonRequestType;
use trezor_client::protos::{
    Address, GetAddress, HDNodeType, MultisigPubkeysOrder, MultisigRedeemScriptType,
};

use super::coin::Coin;
use super::engine::{BLOB_ROOM, Engine, Stop, TEXT_ROOM};
use super::keys::{HARDENED, Keychain, secp};
use super::path;
use super::screen::Screen;

/// Most keys that a multisig script may have on this device.
const MAX_KEYS: usize = 15;

impl Engine {
    pub(super) fn get_address(&mut self, request: &GetAddress) -> Result<Address, Stop> {
        let coin = Coin::by_name(request.coin_name.as_deref())
            .ok_or_else(|| Stop::data("Unsupported coin type"))?;
        let path = &request.address_n;
        let script = request.script_type();
        let multisig = request.multisig.as_ref();
        let keychain = self.keychain()?;
        let fits = path::fits(coin, script, multisig.is_some(), path);
        self.check_path(coin, path, fits || !request.show_display())?;

        let key = CompressedPublicKey(keychain.derive("secp256k1", path)?.secp_public());
        let address = match multisig {
            Some(multisig) => multisig_address(coin, script, key, multisig)?,
            None => single_address(coin, script, key)?,
        };
        let mut told = Address::new();
        told.set_address(address.clone());
        if multisig.is_none() && (request.show_display() || fits) {
            told.set_mac(address_mac(&keychain, coin, path, &address).to_vec());
        }
        if request.show_display() {
            self.show_address(&address, multisig.is_some())?;
        }
        Ok(told)
    }

    /// Refuses a path that the device does not derive for `coin`, and warns of one that does not fit
    /// what is asked for there.
    pub(super) fn check_path(&mut self, coin: &Coin, path: &[u32], fits: bool) -> Result<(), Stop> {
        if !path::is_allowed(coin, path) {
            return Err(Stop::data("Forbidden key path"));
        }
        if fits {
            Ok(())
        } else {
            self.warn_of_path(path)
        }
    }

    fn show_address(&mut self, address: &str, multisig: bool) -> Result<(), Stop> {
        let mut title = "Receive address".to_owned();
        if multisig {
            title.push_str("\n(MULTISIG)");
            let text = "Receiving to a multisig address. Continue anyway?";
            let warning = Screen::new("warning_multisig", "", text, TEXT_ROOM);
            self.confirm(ButtonRequestType::ButtonRequest_Warning, &warning)?;
        }
        let screen = Screen::new("show_address", title, address, BLOB_ROOM);
        self.confirm(ButtonRequestType::ButtonRequest_Address, &screen)
    }
}

/// Returns the address of one key.
pub(super) fn single_address(
    coin: &Coin,
    script: InputScriptType,
    key: CompressedPublicKey,
) -> Result<String, Stop> {
    use InputScriptType as S;
    let network = coin.network;
    let address = match script {
        S::SPENDADDRESS => BitcoinAddress::p2pkh(key, network),
        S::SPENDP2SHWITNESS => BitcoinAddress::p2shwpkh(&key, network),
        S::SPENDWITNESS => BitcoinAddress::p2wpkh(&key, network),
        S::SPENDTAPROOT => {
            let internal = key.0.x_only_public_key().0;
            BitcoinAddress::p2tr(secp(), internal, None, network)
        }
        S::SPENDMULTISIG => return Err(Stop::process("Multisig details required")),
        S::EXTERNAL => return Err(Stop::process("Invalid script type")),
    };
    Ok(address.to_string())
}

/// Returns the address of several keys, of which `own` is one.
pub(super) fn multisig_address(
    coin: &Coin,
    script: InputScriptType,
    own: CompressedPublicKey,
    multisig: &MultisigRedeemScriptType,
) -> Result<String, Stop> {
    use InputScriptType as S;
    let redeem = multisig_script(own, multisig)?;
    let network = coin.network;
    let address = match script {
        S::SPENDADDRESS | S::SPENDMULTISIG => BitcoinAddress::p2sh(&redeem, network)
            .map_err(|_| Stop::data("Invalid multisig parameters"))?,
        S::SPENDWITNESS => BitcoinAddress::p2wsh(&redeem, network),
        S::SPENDP2SHWITNESS => BitcoinAddress::p2shwsh(&redeem, network),
        S::SPENDTAPROOT => return Err(Stop::process("Multisig not supported for taproot")),
        S::EXTERNAL => return Err(Stop::process("Invalid script type")),
    };
    Ok(address.to_string())
}

/// Returns the script of several keys, of which `own` is one.
pub(super) fn multisig_script(
    own: CompressedPublicKey,
    multisig: &MultisigRedeemScriptType,
) -> Result<ScriptBuf, Stop> {
    let invalid = || Stop::data("Invalid multisig parameters");
    let mut keys = if multisig.nodes.is_empty() {
        let cosigners = multisig.pubkeys.iter();
        let keys = cosigners.map(|cosigner| cosigner_key(&cosigner.node, &cosigner.address_n));
        keys.collect::<Result<Vec<_>, _>>()?
    } else {
        let cosigners = multisig.nodes.iter();
        let keys = cosigners.map(|node| cosigner_key(node, &multisig.address_n));
        keys.collect::<Result<Vec<_>, _>>()?
    };
    if !keys.contains(&own) {
        return Err(Stop::data("Pubkey not found in multisig script"));
    }
    let needed = usize::try_from(multisig.m()).map_err(|_| invalid())?;
    if keys.len() > MAX_KEYS || !(1..=keys.len()).contains(&needed) {
        return Err(invalid());
    }
    if multisig.pubkeys_order() == MultisigPubkeysOrder::LEXICOGRAPHIC {
        keys.sort_by_key(CompressedPublicKey::to_bytes);
    }
    let number = |n: usize| i64::try_from(n).expect("at most 15");
    let builder = bitcoin::script::Builder::new().push_int(number(needed));
    let builder = keys.iter().fold(builder, |builder, key| {
        builder.push_key(&PublicKey::new(key.0))
    });
    let builder = builder.push_int(number(keys.len()));
    Ok(builder
        .push_opcode(bitcoin::opcodes::all::OP_CHECKMULTISIG)
        .into_script())
}

fn cosigner_key(node: &HDNodeType, path: &[u32]) -> Result<CompressedPublicKey, Stop> {
    if path.iter().any(|number| number & HARDENED != 0) {
        return Err(Stop::data("Cannot perform hardened derivation from XPUB"));
    }
    let invalid = || Stop::data("Invalid multisig parameters");
    let xpub = Xpub {
        network: bitcoin::NetworkKind::Test,
        depth: 0,
        parent_fingerprint: Fingerprint::default(),
        child_number: ChildNumber::from(0),
        public_key: bitcoin::secp256k1::PublicKey::from_slice(node.public_key())
            .map_err(|_| invalid())?,
        chain_code: <[u8; 32]>::try_from(node.chain_code())
            .map(ChainCode::from)
            .map_err(|_| invalid())?,
    };
    let path: Vec<ChildNumber> = path
        .iter()
        .map(|&number| ChildNumber::from(number))
        .collect();
    let derived = xpub.derive_pub(secp(), &path).map_err(|_| invalid())?;
    Ok(CompressedPublicKey(derived.public_key))
}

/// Computes what proves to this device later that it gave this address out, see
/// [SLIP-0024](https://github.com/satoshilabs/slips/blob/master/slip-0024.md).
fn address_mac(keychain: &Keychain, coin: &Coin, path: &[u32], address: &str) -> [u8; 32] {
    let key = keychain.symmetric(&["SLIP-0024", "Address MAC key"]);
    let mut engine = HmacEngine::<sha256::Hash>::new(&*key);
    engine.input(&coin.slip44.to_le_bytes());
    engine.input(&compact_size(path.len()));
    for number in path {
        engine.input(&number.to_le_bytes());
    }
    engine.input(&compact_size(address.len()));
    engine.input(address.as_bytes());
    Hmac::from_engine(engine).to_byte_array()
}

fn compact_size(length: usize) -> Vec<u8> {
    bitcoin::consensus::serialize(&bitcoin::VarInt::from(length))
}
