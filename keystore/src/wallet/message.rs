//! Messages signed with the key of an address, and their verification.
//!
//! The device signs as [BIP-137](https://github.com/bitcoin/bips/blob/master/bip-0137.mediawiki)
//! says, for addresses of one key other than taproot. Signatures of
//! [BIP-322](https://github.com/bitcoin/bips/blob/master/bip-0322.mediawiki) are verified, but no
//! Trezor makes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bitcoin::address::{AddressData, NetworkUnchecked};
use bitcoin::bip32::ChildNumber;
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use bitcoin::secp256k1::{Message, Secp256k1};
use bitcoin::sign_message::signed_msg_hash;
use bitcoin::{Address, CompressedPublicKey, PublicKey};
use trezor_client::protos;

use super::descriptor::WalletDescriptor;
use super::error::WalletError;
use super::script::ScriptKind;
use crate::chain::Chain;
use crate::device::{Device, DeviceError};
use crate::hint::Hint;
use crate::interaction::Prompt;

/// Longest signature that is looked at, in characters.
const MAX_SIGNATURE: usize = 16 * 1024;

/// A message with its signature, as `verify` takes them back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedMessage {
    /// Whose key signed.
    pub address: Address,
    /// Base64.
    pub signature: String,
}

/// How a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFormat {
    /// A recoverable ECDSA signature over the message.
    Bip137,
    /// A witness that would spend from the address.
    Bip322,
}

impl MessageFormat {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bip137 => "BIP-137",
            Self::Bip322 => "BIP-322",
        }
    }
}

/// Why a signature of a message is not good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Neither format.
    #[error("this is no signature of a message: {0}")]
    Malformed(String),
    /// It is a signature, of another message or by another key.
    #[error("the signature is not one of `{0}` for this message")]
    Bad(String),
}

impl Hint for MessageError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed(_) => Some("it is written in base64, on one line".into()),
            Self::Bad(_) => {
                Some("compare message and address to the letter, spaces and line ends too".into())
            }
        }
    }
}

/// Signs `message` on the device with the key of the address at this place.
///
/// # Errors
///
/// [`WalletError::Unsupported`] for kinds that the device does not sign messages with, and
/// [`WalletError::Device`] when what it made does not verify.
pub async fn sign(
    device: &Device,
    descriptor: &WalletDescriptor,
    chain: Chain,
    place: (bdk_wallet::KeychainKind, u32),
    message: &[u8],
) -> Result<SignedMessage, WalletError> {
    let kind = descriptor.kind();
    if kind.is_multisig() || kind == ScriptKind::P2tr {
        return Err(WalletError::Unsupported(format!(
            "sign messages for {kind} addresses: use a p2wpkh, p2sh-p2wpkh or p2pkh wallet"
        )));
    }
    let (keychain, index) = place;
    let address = descriptor.address(keychain, index, chain);
    let step = u32::from(keychain == bdk_wallet::KeychainKind::Internal);
    let mut request = protos::SignMessage::new();
    request.address_n = descriptor.keys()[0].path().address_n();
    request
        .address_n
        .extend([step, index].map(|index| u32::from(ChildNumber::Normal { index })));
    request.set_message(message.to_vec());
    request.set_coin_name(chain.coin_name().to_owned());
    request.set_script_type(kind.on_device());
    request.set_no_script_type(false);
    let prompt = Prompt::new(format!("sign a message as {address}"));
    let answer: protos::MessageSignature = device.call(prompt, request).await?;
    let signature = BASE64.encode(answer.signature());
    let good = verify(&address, message, &signature);
    if answer.address() != address.to_string() || good.is_err() {
        let wrong = "its signature of the message does not verify; it, or the path to it, is not \
                     to be trusted";
        return Err(DeviceError::Implausible(wrong.into()).into());
    }
    Ok(SignedMessage { address, signature })
}

/// Parses an address of `chain`.
///
/// # Errors
///
/// [`WalletError::Address`], or [`WalletError::OtherChain`].
pub fn parse_address(text: &str, chain: Chain) -> Result<Address, WalletError> {
    let shown = || Prompt::new(text.chars().take(120).collect::<String>()).to_string();
    let address: Address<NetworkUnchecked> =
        text.parse().map_err(|_| WalletError::Address(shown()))?;
    address
        .require_network(chain.network())
        .map_err(|_| WalletError::OtherChain {
            what: format!("the address `{}`", shown()),
            chain,
        })
}

/// Verifies a signature of either format.
///
/// # Errors
///
/// Any [`MessageError`].
pub fn verify(
    address: &Address,
    message: &[u8],
    signature: &str,
) -> Result<MessageFormat, MessageError> {
    let signature = signature.trim();
    if signature.len() > MAX_SIGNATURE {
        return Err(MessageError::Malformed("it is too long".into()));
    }
    let bare = signature.strip_prefix("smp").unwrap_or(signature);
    let bytes = BASE64
        .decode(bare)
        .map_err(|_| MessageError::Malformed("it is not base64".into()))?;
    let bad = || MessageError::Bad(address.to_string());
    if bytes.len() == 65 && bare == signature {
        return match verify_recoverable(address, message, &bytes)? {
            true => Ok(MessageFormat::Bip137),
            false => Err(bad()),
        };
    }
    let witness = bitcoin::consensus::deserialize(&bytes)
        .map_err(|_| MessageError::Malformed("it is neither BIP-137 nor BIP-322".into()))?;
    bip322::verify_simple(address, message, witness).map_err(|_| bad())?;
    Ok(MessageFormat::Bip322)
}

fn verify_recoverable(
    address: &Address,
    message: &[u8],
    bytes: &[u8],
) -> Result<bool, MessageError> {
    let malformed = |what: &str| MessageError::Malformed(what.to_owned());
    let header = bytes[0];
    if !(27..=42).contains(&header) {
        return Err(malformed("its first byte is not one of BIP-137"));
    }
    let recovery = RecoveryId::from_i32(i32::from((header - 27) & 3))
        .map_err(|_| malformed("its first byte is not one of BIP-137"))?;
    let signature = RecoverableSignature::from_compact(&bytes[1..], recovery)
        .map_err(|_| malformed("its numbers are out of range"))?;
    let digest = Message::from_digest(signed_digest(message));
    let Ok(key) = Secp256k1::verification_only().recover_ecdsa(&digest, &signature) else {
        return Ok(false);
    };
    let compressed = CompressedPublicKey(key);
    Ok(match address.to_address_data() {
        AddressData::P2pkh { pubkey_hash } if header < 31 => {
            PublicKey::new_uncompressed(key).pubkey_hash() == pubkey_hash
        }
        AddressData::P2pkh { pubkey_hash } => compressed.pubkey_hash() == pubkey_hash,
        AddressData::P2sh { script_hash } if header >= 31 => {
            bitcoin::ScriptBuf::new_p2wpkh(&compressed.wpubkey_hash()).script_hash() == script_hash
        }
        AddressData::Segwit { witness_program } if header >= 31 => {
            witness_program.is_p2wpkh()
                && witness_program.program().as_bytes()
                    == AsRef::<[u8]>::as_ref(&compressed.wpubkey_hash())
        }
        _ => false,
    })
}

/// Hashes a message as Bitcoin Core's `signmessage` does, whatever its bytes.
pub(crate) fn signed_digest(message: &[u8]) -> [u8; 32] {
    use bitcoin::hashes::{Hash, HashEngine, sha256d};
    if let Ok(text) = std::str::from_utf8(message) {
        return signed_msg_hash(text).to_byte_array();
    }
    let mut engine = sha256d::Hash::engine();
    engine.input(b"\x18Bitcoin Signed Message:\n");
    let length = bitcoin::VarInt::from(message.len());
    engine.input(&bitcoin::consensus::serialize(&length));
    engine.input(message);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<Address<NetworkUnchecked>>()
            .unwrap()
            .assume_checked()
    }

    /// The vectors of BIP-322, "Simple".
    #[test]
    fn signatures_of_bip_322_verify() {
        let p2wpkh = address("bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l");
        for (message, signature) in [
            (
                "",
                "AkcwRAIgM2gBAQqvZX15ZiysmKmQpDrG83avLIT492QBzLnQIxYCIBaTpOaD20qRlEylyxFSeEA2ba9YOixpX8z46TSDtS40ASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=",
            ),
            (
                "Hello World",
                "AkcwRAIgZRfIY3p7/DoVTty6YZbWS71bc5Vct9p9Fia83eRmw2QCICK/ENGfwLtptFluMGs2KsqoNSk89pO7F29zJLUx9a/sASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=",
            ),
        ] {
            let verified = verify(&p2wpkh, message.as_bytes(), signature).unwrap();
            assert_eq!(verified, MessageFormat::Bip322);
            assert!(matches!(
                verify(&p2wpkh, b"other", signature),
                Err(MessageError::Bad(_))
            ));
        }
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let any = address("bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l");
        let zeros = BASE64.encode([0; 65]);
        let long = "A".repeat(MAX_SIGNATURE + 4);
        for text in ["", "!", "AAAA", &zeros, &long] {
            assert!(verify(&any, b"", text).is_err(), "{text}");
        }
    }

    /// What genuine firmware signed, for each kind of address.
    #[test]
    fn signatures_of_the_genuine_device_verify() {
        for (kind, text) in [
            (
                "p2pkh",
                include_str!("../../vectors/transcripts/sign-message-p2pkh.json"),
            ),
            (
                "p2sh-p2wpkh",
                include_str!("../../vectors/transcripts/sign-message-p2sh-p2wpkh.json"),
            ),
            (
                "p2wpkh",
                include_str!("../../vectors/transcripts/sign-message-p2wpkh.json"),
            ),
        ] {
            let transcript: serde_json::Value = serde_json::from_str(text).unwrap();
            let last = transcript["messages"].as_array().unwrap().last().unwrap();
            let payload = hex::decode(last["payload"].as_str().unwrap()).unwrap();
            let told: protos::MessageSignature =
                protobuf::Message::parse_from_bytes(&payload).unwrap();
            let signature = BASE64.encode(told.signature());
            let ours = address(told.address());
            let message = b"bcm: I own this address";
            assert_eq!(
                verify(&ours, message, &signature).unwrap(),
                MessageFormat::Bip137,
                "{kind}"
            );
            assert!(verify(&ours, b"bcm: I own that address", &signature).is_err());
        }
    }
}
