//! Certs on their way to and from other people.

use std::time::SystemTime;

use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::{Cert, Packet, PacketPile};

use super::cert::{name_of, policy};
use super::error::PgpError;

/// What begins a block of ASCII armor.
const ARMOR: &str = "-----BEGIN PGP ";

/// What a file with public keys may hold.
#[derive(Clone, Debug)]
pub enum Imported {
    /// A cert.
    Cert(Box<Cert>),
    /// A revocation without the cert that it revokes.
    Revocation(Box<Signature>),
}

/// Reads every cert and every revocation certificate in a file, in armor or not.
///
/// # Errors
///
/// [`PgpError::Malformed`] when anything in it is something else: nothing is taken then.
pub fn read_certs(bytes: &[u8]) -> Result<Vec<Imported>, PgpError> {
    let mut found = Vec::new();
    for block in blocks(bytes) {
        read_block(block, &mut found)?;
    }
    if found.is_empty() {
        return Err(PgpError::Malformed("there is no certificate in it".into()));
    }
    Ok(found)
}

/// Splits concatenated blocks of armor, of which the library reads the first.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let Some(text) = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.contains(ARMOR))
    else {
        return vec![bytes];
    };
    let mut starts: Vec<_> = text.match_indices(ARMOR).map(|(at, _)| at).collect();
    starts.push(text.len());
    let pairs = starts.windows(2);
    pairs.map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn read_block(block: &[u8], found: &mut Vec<Imported>) -> Result<(), PgpError> {
    let is_revocation = |packet: &Packet| match packet {
        Packet::Signature(signature) => signature.typ() == SignatureType::KeyRevocation,
        _ => false,
    };
    if let Ok(pile) = PacketPile::from_bytes(block)
        && pile.children().next().is_some_and(is_revocation)
    {
        if !pile.children().all(is_revocation) {
            return Err(PgpError::Malformed(
                "something else follows a revocation certificate".into(),
            ));
        }
        found.extend(pile.into_children().filter_map(|packet| match packet {
            Packet::Signature(signature) => Some(Imported::Revocation(Box::new(signature))),
            _ => None,
        }));
        return Ok(());
    }
    for cert in CertParser::from_bytes(block).map_err(PgpError::of)? {
        let cert = cert.map_err(PgpError::of)?;
        found.push(Imported::Cert(Box::new(cert)));
    }
    Ok(())
}

/// Writes a cert for other people, in ASCII armor; what is for one keyring alone is left out.
///
/// # Panics
///
/// Never: a cert always serialises.
pub fn export(cert: &Cert) -> String {
    let bytes = cert.armored().export_to_vec();
    String::from_utf8(bytes.expect("a cert always serialises")).expect("armor is ASCII")
}

/// Returns a cert with nothing in it but what is good now: its keys and user IDs, each with the
/// newest self-signature, and its revocations.
///
/// # Errors
///
/// [`PgpError::Unusable`] when it has no valid self-signature at `now`.
pub fn minimal(cert: &Cert, now: SystemTime) -> Result<Cert, PgpError> {
    let policy = policy(now);
    let valid = cert
        .with_policy(&policy, now)
        .map_err(|error| PgpError::Unusable {
            user_id: name_of(cert, now),
            fingerprint: cert.fingerprint().to_hex(),
            reason: super::error::plain(&error),
        })?;
    let primary = cert.primary_key();
    let mut packets = vec![Packet::from(primary.key().clone())];
    packets.extend(primary.self_revocations().cloned().map(Packet::from));
    if let Ok(signature) = valid.direct_key_signature() {
        packets.push(signature.clone().into());
    }
    for user_id in valid.userids() {
        packets.push(user_id.userid().clone().into());
        packets.push(user_id.binding_signature().clone().into());
        packets.extend(user_id.self_revocations().cloned().map(Packet::from));
    }
    for subkey in valid.keys().subkeys() {
        packets.push(subkey.key().clone().into());
        packets.push(subkey.binding_signature().clone().into());
        packets.extend(subkey.self_revocations().cloned().map(Packet::from));
    }
    Cert::from_packets(packets.into_iter()).map_err(PgpError::library)
}
