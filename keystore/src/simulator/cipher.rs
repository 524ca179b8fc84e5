//! `CipherKeyValue`: values sealed under a key of the device
//! ([SLIP-0011](https://github.com/satoshilabs/slips/blob/master/slip-0011.md)).

use aes::Aes256;
use cbc::cipher::{Block, BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use hmac::{Hmac, Mac};
use sha2::Sha512;
use trezor_client::protos::button_request::ButtonRequestType;
use trezor_client::protos::{CipherKeyValue, CipheredKeyValue};
use zeroize::{Zeroize, Zeroizing};

use super::engine::{Engine, Stop, TEXT_ROOM};
use super::screen::Screen;

const BLOCK: usize = 16;

impl Engine {
    pub(super) fn cipher(&mut self, mut request: CipherKeyValue) -> Result<CipheredKeyValue, Stop> {
        let mut value = Zeroizing::new(request.value.take().unwrap_or_default());
        let keychain = self.keychain()?;
        if !value.len().is_multiple_of(BLOCK) {
            return Err(Stop::data("Value length must be a multiple of 16"));
        }
        let (title, ask) = if request.encrypt() {
            ("Encrypt value", request.ask_on_encrypt())
        } else {
            ("Decrypt value", request.ask_on_decrypt())
        };
        if ask {
            let screen = Screen::new("cipher_key_value", title, request.key(), TEXT_ROOM);
            self.confirm(ButtonRequestType::ButtonRequest_Other, &screen)?;
        }

        let node = keychain.derive("secp256k1", &request.address_n)?;
        let mut mac = Hmac::<Sha512>::new_from_slice(node.private_key())
            .expect("HMAC takes keys of any length");
        mac.update(request.key().as_bytes());
        mac.update(if request.ask_on_encrypt() {
            b"E1"
        } else {
            b"E0"
        });
        mac.update(if request.ask_on_decrypt() {
            b"D1"
        } else {
            b"D0"
        });
        let mut derived = mac.finalize().into_bytes();
        let (key, rest) = derived.split_at(32);
        let iv = if request.iv().len() == BLOCK {
            request.iv()
        } else {
            &rest[..BLOCK]
        };

        let sized = "32 bytes of key and 16 of vector";
        let blocks = value
            .chunks_exact_mut(BLOCK)
            .map(Block::<Aes256>::from_mut_slice);
        if request.encrypt() {
            let mut cipher = cbc::Encryptor::<Aes256>::new_from_slices(key, iv).expect(sized);
            blocks.for_each(|block| cipher.encrypt_block_mut(block));
        } else {
            let mut cipher = cbc::Decryptor::<Aes256>::new_from_slices(key, iv).expect(sized);
            blocks.for_each(|block| cipher.decrypt_block_mut(block));
        }
        derived.zeroize();

        let mut told = CipheredKeyValue::new();
        told.set_value(std::mem::take(&mut *value));
        Ok(told)
    }
}
