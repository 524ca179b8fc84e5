//! `SignMessage`.

use bitcoin::CompressedPublicKey;
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use trezor_client::InputScriptType;
use trezor_client::protos::button_request::ButtonRequestType;
use trezor_client::protos::{MessageSignature, SignMessage};

use super::address::single_address;
use super::coin::Coin;
use super::engine::{BLOB_ROOM, Engine, Stop};
use super::path;
use super::screen::Screen;

impl Engine {
    pub(super) fn sign_message(&mut self, request: &SignMessage) -> Result<MessageSignature, Stop> {
        let coin = Coin::by_name(request.coin_name.as_deref())
            .ok_or_else(|| Stop::data("Unsupported coin type"))?;
        let path = &request.address_n;
        let script = request.script_type();
        let message = request.message();
        let keychain = self.keychain()?;
        self.check_path(coin, path, path::fits(coin, script, false, path))?;

        let node = keychain.derive("secp256k1", path)?;
        let address = single_address(coin, script, CompressedPublicKey(node.secp_public()))?;
        let other = ButtonRequestType::ButtonRequest_Other;
        let signer = Screen::new("sign_message", "Signing address", &address, BLOB_ROOM);
        self.confirm(other, &signer)?;
        let text = match std::str::from_utf8(message) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("hex({})", hex::encode(message)),
        };
        let shown = Screen::new("sign_message", "Confirm message", &text, BLOB_ROOM);
        self.confirm(other, &shown)?;

        let mut signature = node.sign(&bitcoin_message_digest(message))?;
        let kind = match script {
            InputScriptType::SPENDADDRESS => 0,
            InputScriptType::SPENDP2SHWITNESS => 4,
            InputScriptType::SPENDWITNESS => 8,
            _ => return Err(Stop::process("Unsupported script type")),
        };
        if !request.no_script_type() {
            signature[0] += kind;
        }
        let mut told = MessageSignature::new();
        told.set_address(address);
        told.set_signature(signature.to_vec());
        Ok(told)
    }
}

/// Hashes a message as Bitcoin Core's `signmessage` does, whatever its bytes.
pub(super) fn bitcoin_message_digest(message: &[u8]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(b"\x18Bitcoin Signed Message:\n");
    engine.input(&bitcoin::consensus::serialize(&bitcoin::VarInt::from(
        message.len(),
    )));
    engine.input(message);
    sha256d::Hash::from_engine(engine).to_byte_array()
}
