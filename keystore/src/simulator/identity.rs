//! Keys that belong to an identity: `SignIdentity`
//! ([SLIP-0013](https://github.com/satoshilabs/slips/blob/master/slip-0013.md)) and
//! `GetECDHSessionKey` ([SLIP-0017](https://github.com/satoshilabs/slips/blob/master/slip-0017.md)).

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{CompressedPublicKey, Network};
use trezor_client::protos::button_request::ButtonRequestType;
use trezor_client::protos::{
    ECDHSessionKey, GetECDHSessionKey, IdentityType, SignIdentity, SignedIdentity,
};

use super::engine::{Engine, Stop, TEXT_ROOM};
use super::keys::HARDENED;
use super::message::bitcoin_message_digest;
use super::screen::Screen;

const OTHER: ButtonRequestType = ButtonRequestType::ButtonRequest_Other;

impl Engine {
    pub(super) fn sign_identity(&mut self, request: &SignIdentity) -> Result<SignedIdentity, Stop> {
        let identity = request.identity.get_or_default();
        let curve = curve_name(request.ecdsa_curve_name.as_deref());
        let keychain = self.keychain()?;

        let visual = request.challenge_visual();
        let named = without_proto(identity);
        let text = if visual.is_empty() {
            named
        } else {
            format!("{visual}: {named}")
        };
        let title = format!("Sign {}", shown_proto(identity));
        self.confirm(
            OTHER,
            &Screen::new("sign_identity", title, &text, TEXT_ROOM),
        )?;

        let node = keychain.derive(curve, &identity_path(identity, 13))?;
        let hidden = request.challenge_hidden();
        let proto = identity.proto();
        let mut signature = match (proto, curve) {
            ("gpg", _) | ("signify" | "ssh", "ed25519") => node.sign(hidden)?,
            ("signify", _) => return Err(Stop::data("Unsupported curve")),
            ("ssh", _) => node.sign(sha256::Hash::hash(hidden).as_byte_array())?,
            _ => node.sign(&bound_digest(hidden, visual))?,
        };
        if matches!(proto, "gpg" | "ssh") {
            signature[0] = 0;
        }

        let mut told = SignedIdentity::new();
        if curve == "secp256k1" {
            let key = CompressedPublicKey(node.secp_public());
            told.set_address(bitcoin::Address::p2pkh(key, Network::Bitcoin).to_string());
        }
        told.set_public_key(node.public_key().to_vec());
        told.set_signature(signature.to_vec());
        Ok(told)
    }

    pub(super) fn ecdh(&mut self, request: &GetECDHSessionKey) -> Result<ECDHSessionKey, Stop> {
        let identity = request.identity.get_or_default();
        let curve = curve_name(request.ecdsa_curve_name.as_deref());
        let keychain = self.keychain()?;

        let title = format!("Decrypt {}", shown_proto(identity));
        let text = without_proto(identity);
        self.confirm(
            OTHER,
            &Screen::new("confirm_address", title, &text, TEXT_ROOM),
        )?;

        let node = keychain.derive(curve, &identity_path(identity, 17))?;
        let peer = request.peer_public_key();
        let failed = || Stop::firmware("Multiply failed");
        let shared = match curve {
            "secp256k1" | "nist256p1" => node.multiply(peer).ok_or_else(failed)?,
            "curve25519" => {
                let (prefix, point) = peer.split_first().ok_or_else(failed)?;
                if *prefix != 0x40 {
                    let text = "Curve25519 public key should start with 0x40";
                    return Err(Stop::data(text));
                }
                let mut shared = node.multiply(point).ok_or_else(failed)?;
                shared.insert(0, 0x04);
                shared
            }
            _ => return Err(Stop::data("Unsupported curve for ECDH")),
        };
        let mut told = ECDHSessionKey::new();
        told.set_session_key(shared);
        told.set_public_key(node.public_key().to_vec());
        Ok(told)
    }
}

fn curve_name(asked: Option<&str>) -> &str {
    asked.filter(|name| !name.is_empty()).unwrap_or("secp256k1")
}

fn shown_proto(identity: &IdentityType) -> String {
    match identity.proto() {
        "" => "identity".to_owned(),
        proto => proto.to_uppercase(),
    }
}

fn without_proto(identity: &IdentityType) -> String {
    let mut text = String::new();
    if !identity.user().is_empty() {
        text.push_str(identity.user());
        text.push('@');
    }
    text.push_str(identity.host());
    if !identity.port().is_empty() {
        text.push(':');
        text.push_str(identity.port());
    }
    text.push_str(identity.path());
    text
}

fn identity_path(identity: &IdentityType, purpose: u32) -> [u32; 5] {
    let mut engine = sha256::Hash::engine();
    engine.input(&identity.index().to_le_bytes());
    if !identity.proto().is_empty() {
        engine.input(identity.proto().as_bytes());
        engine.input(b"://");
    }
    engine.input(without_proto(identity).as_bytes());
    let hash = sha256::Hash::from_engine(engine).to_byte_array();
    let mut path = [purpose | HARDENED; 5];
    for (place, four) in path[1..].iter_mut().zip(hash.chunks_exact(4)) {
        *place = u32::from_le_bytes([four[0], four[1], four[2], four[3]]) | HARDENED;
    }
    path
}

/// What is signed for any protocol that firmware does not know: it covers what the screen showed.
fn bound_digest(hidden: &[u8], visual: &str) -> [u8; 32] {
    let hidden = sha256::Hash::hash(hidden);
    let visual = sha256::Hash::hash(visual.as_bytes());
    bitcoin_message_digest(&[hidden.to_byte_array(), visual.to_byte_array()].concat())
}
