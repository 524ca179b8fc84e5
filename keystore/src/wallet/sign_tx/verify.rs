//! Nothing that the device returns is believed: each signature is verified against the transaction,
//! and the transaction that it serialized is compared with the one that it was to sign.

use std::sync::LazyLock;

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{self, Secp256k1, VerifyOnly, XOnlyPublicKey, schnorr};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::{
    EcdsaSighashType, Psbt, PublicKey, ScriptBuf, TapSighashType, Transaction, TxOut, Txid, ecdsa,
    taproot,
};

use super::check::Checked;
use super::dialogue::Outcome;
use super::error::SignError;
use super::template::{Own, ScriptKind, Template};
use crate::wallet::psbt::spend;

static SECP: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

/// Returns the shared context, whose making takes a while.
pub(crate) fn secp() -> &'static Secp256k1<VerifyOnly> {
    &SECP
}

/// A signature of this wallet that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Of one key of a script.
    Ecdsa(PublicKey, ecdsa::Signature),
    /// Of a taproot output.
    Taproot(taproot::Signature),
}

/// Signatures for all inputs of this wallet, all of them good.
#[derive(Debug)]
pub(super) struct Verified {
    signatures: Vec<(usize, Signature)>,
    txid: Txid,
}

impl Verified {
    pub(super) fn txid(&self) -> Txid {
        self.txid
    }

    /// Puts the signatures into `psbt` and returns the inputs that they are for.
    pub(super) fn insert(self, psbt: &mut Psbt) -> Vec<usize> {
        let mut signed = Vec::with_capacity(self.signatures.len());
        for (index, signature) in self.signatures {
            let input = &mut psbt.inputs[index];
            match signature {
                Signature::Ecdsa(key, signature) => {
                    input.partial_sigs.insert(key, signature);
                    input.sighash_type = input.sighash_type.map(|_| EcdsaSighashType::All.into());
                }
                Signature::Taproot(signature) => {
                    input.tap_key_sig = Some(signature);
                    // the signature says DEFAULT itself: by being short
                    input.sighash_type = None;
                }
            }
            signed.push(index);
        }
        signed
    }
}

/// Verifies everything that the device returned.
pub(super) fn verify(
    psbt: &Psbt,
    checked: &Checked,
    outcome: &Outcome,
) -> Result<Verified, SignError> {
    let mut cache = SighashCache::new(&checked.transaction);
    let mut signed = checked.transaction.clone();
    let mut verified = Vec::new();
    let parts = checked.inputs.iter().zip(&outcome.signatures);
    for (index, (own, bytes)) in parts.enumerate() {
        let Some(own) = own else {
            let given = &psbt.inputs[index];
            let (script_sig, witness) = (&given.final_script_sig, &given.final_script_witness);
            signed.input[index].script_sig = script_sig.clone().unwrap_or_default();
            signed.input[index].witness = witness.clone().unwrap_or_default();
            continue;
        };
        let bytes = bytes.as_ref().ok_or(SignError::NoSignature(index))?;
        let signature = parse(own, bytes).ok_or(SignError::BadSignature(index))?;
        if !verify_signature(&mut cache, index, &own.template, &checked.spent, &signature) {
            return Err(SignError::BadSignature(index));
        }
        let (script_sig, witness) = spend(&own.template, std::slice::from_ref(&signature));
        signed.input[index].script_sig = script_sig;
        signed.input[index].witness = witness;
        verified.push((index, signature));
    }
    if serialize(&signed) != outcome.serialized {
        return Err(SignError::OtherTransaction);
    }
    Ok(Verified {
        signatures: verified,
        txid: signed.compute_txid(),
    })
}

fn parse(own: &Own, bytes: &[u8]) -> Option<Signature> {
    if own.template.kind == ScriptKind::P2tr {
        let signature = schnorr::Signature::from_slice(bytes).ok()?;
        let sighash_type = TapSighashType::Default;
        return Some(Signature::Taproot(taproot::Signature {
            signature,
            sighash_type,
        }));
    }
    let signature = secp256k1::ecdsa::Signature::from_der(bytes).ok()?;
    Some(Signature::Ecdsa(
        own.key,
        ecdsa::Signature::sighash_all(signature),
    ))
}

/// Tells whether `signature` is one for input `index`.
pub(crate) fn verify_signature(
    cache: &mut SighashCache<&Transaction>,
    index: usize,
    template: &Template,
    spent: &[TxOut],
    signature: &Signature,
) -> bool {
    match signature {
        Signature::Ecdsa(key, signature) => {
            let kind = signature.sighash_type;
            let digest = ecdsa_digest(cache, index, template, &spent[index], kind);
            digest.is_some_and(|digest| {
                let message = secp256k1::Message::from_digest(digest);
                let verified = secp().verify_ecdsa(&message, &signature.signature, &key.inner);
                verified.is_ok() && template.holds(key)
            })
        }
        Signature::Taproot(signature) => {
            let spent = Prevouts::All(spent);
            let kind = signature.sighash_type;
            let digest = cache.taproot_key_spend_signature_hash(index, &spent, kind);
            let key = template.inner.as_bytes().get(2..);
            let key = key.and_then(|key| XOnlyPublicKey::from_slice(key).ok());
            let (Ok(digest), Some(key)) = (digest, key) else {
                return false;
            };
            let message = secp256k1::Message::from_digest(digest.to_byte_array());
            let verified = secp().verify_schnorr(&signature.signature, &message, &key);
            verified.is_ok()
        }
    }
}

fn ecdsa_digest(
    cache: &mut SighashCache<&Transaction>,
    index: usize,
    template: &Template,
    spent: &TxOut,
    kind: EcdsaSighashType,
) -> Option<[u8; 32]> {
    let inner: &ScriptBuf = &template.inner;
    let digest = match template.kind {
        ScriptKind::P2pkh | ScriptKind::P2shMultisig => {
            let digest = cache.legacy_signature_hash(index, inner, kind.to_u32());
            digest.ok()?.to_byte_array()
        }
        ScriptKind::P2wpkh | ScriptKind::P2shP2wpkh => {
            let digest = cache.p2wpkh_signature_hash(index, inner, spent.value, kind);
            digest.ok()?.to_byte_array()
        }
        ScriptKind::P2wshMultisig | ScriptKind::P2shP2wshMultisig => {
            let digest = cache.p2wsh_signature_hash(index, inner, spent.value, kind);
            digest.ok()?.to_byte_array()
        }
        ScriptKind::P2tr => return None,
    };
    Some(digest)
}
