//! Signatures that were there before: of other people, or of a transaction that is replaced.

use bitcoin::opcodes::all::OP_CHECKMULTISIG;
use bitcoin::script::Instruction;
use bitcoin::secp256k1::{Message, XOnlyPublicKey, schnorr};
use bitcoin::{CompressedPublicKey, EcdsaSighashType, PublicKey, Script, ScriptBuf, Witness};

use super::super::engine::Stop;
use super::super::keys::secp;
use super::streamed::Streamed;

fn invalid() -> Stop {
    Stop::data("Invalid signature")
}

fn unsupported() -> Stop {
    Stop::data("Unsupported signature script")
}

/// Who has to sign an ECDSA digest, and who did.
struct Signed {
    keys: Vec<PublicKey>,
    threshold: usize,
    signatures: Vec<Vec<u8>>,
}

/// Verifies the signatures of input `index`.
pub(super) fn input(
    tx: &mut Streamed,
    index: usize,
    script_sig: &[u8],
    witness: &[u8],
) -> Result<(), Stop> {
    let spent = tx.spent(index).script_pubkey.clone();
    let witness: Witness = match witness {
        [] => Witness::new(),
        bytes => {
            bitcoin::consensus::deserialize(bytes).map_err(|_| Stop::data("Invalid witness."))?
        }
    };
    if witness.is_empty() && script_sig.is_empty() {
        return Err(Stop::data("Signature data not provided"));
    }
    if spent.is_p2tr() && script_sig.is_empty() {
        return taproot(tx, index, &spent, &witness);
    }
    let script_sig = Script::from_bytes(script_sig);
    let (signed, digest) = if witness.is_empty() {
        legacy(tx, index, &spent, script_sig)?
    } else {
        let program = match redeem(script_sig) {
            Some(program) if spent.is_p2sh() => {
                if program.to_p2sh() != spent {
                    return Err(Stop::data("Invalid script hash"));
                }
                program
            }
            None if script_sig.is_empty() => spent,
            _ => return Err(unsupported()),
        };
        segwit(tx, index, &program, &witness)?
    };
    ecdsa(&signed, &digest)
}

fn taproot(tx: &mut Streamed, index: usize, spent: &Script, witness: &Witness) -> Result<(), Stop> {
    let signature = witness.nth(0).filter(|_| witness.len() == 1);
    let signature = signature
        .and_then(|bytes| schnorr::Signature::from_slice(bytes).ok())
        .ok_or_else(|| Stop::data("Invalid witness."))?;
    let key = XOnlyPublicKey::from_slice(&spent.as_bytes()[2..]).map_err(|_| invalid())?;
    let digest = Message::from_digest(tx.taproot_digest(index)?);
    let verified = secp().verify_schnorr(&signature, &digest, &key);
    verified.map_err(|_| invalid())
}

fn segwit(
    tx: &mut Streamed,
    index: usize,
    program: &Script,
    witness: &Witness,
) -> Result<(Signed, [u8; 32]), Stop> {
    let items: Vec<&[u8]> = witness.iter().collect();
    if program.is_p2wpkh() {
        let [signature, key] = items[..] else {
            return Err(Stop::data("Invalid witness."));
        };
        let key = CompressedPublicKey::from_slice(key).map_err(|_| invalid())?;
        if ScriptBuf::new_p2wpkh(&key.wpubkey_hash()) != *program {
            return Err(Stop::data("Invalid public key hash"));
        }
        let digest = tx.segwit_key_digest(index, &key.0)?;
        return Ok((one(PublicKey::new(key.0), signature), digest));
    }
    let [[], signatures @ .., script] = &items[..] else {
        return Err(Stop::data("Invalid witness."));
    };
    let script = Script::from_bytes(script);
    if !program.is_p2wsh() || script.to_p2wsh() != *program {
        return Err(Stop::data("Invalid script hash"));
    }
    let signed = several(script, signatures)?;
    let digest = tx.segwit_script_digest(index, &script.to_owned())?;
    Ok((signed, digest))
}

fn legacy(
    tx: &Streamed,
    index: usize,
    spent: &ScriptBuf,
    script_sig: &Script,
) -> Result<(Signed, [u8; 32]), Stop> {
    let pushes = pushes(script_sig).ok_or_else(|| Stop::data("Invalid scriptSig."))?;
    if spent.is_p2pkh() {
        let [signature, key] = pushes[..] else {
            return Err(Stop::data("Invalid scriptSig."));
        };
        let key = PublicKey::from_slice(key).map_err(|_| invalid())?;
        if ScriptBuf::new_p2pkh(&key.pubkey_hash()) != *spent {
            return Err(Stop::data("Invalid public key hash"));
        }
        return Ok((one(key, signature), tx.legacy_digest(index, spent)?));
    }
    let [[], signatures @ .., script] = &pushes[..] else {
        return Err(Stop::data("Invalid scriptSig."));
    };
    let script = Script::from_bytes(script);
    if !spent.is_p2sh() || script.to_p2sh() != *spent {
        return Err(Stop::data("Invalid script hash"));
    }
    let digest = tx.legacy_digest(index, &script.to_owned())?;
    Ok((several(script, signatures)?, digest))
}

fn one(key: PublicKey, signature: &[u8]) -> Signed {
    Signed {
        keys: vec![key],
        threshold: 1,
        signatures: vec![signature.to_vec()],
    }
}

fn several(script: &Script, signatures: &[&[u8]]) -> Result<Signed, Stop> {
    let (threshold, keys) = multisig(script).ok_or_else(unsupported)?;
    Ok(Signed {
        keys,
        threshold,
        signatures: signatures.iter().map(|bytes| bytes.to_vec()).collect(),
    })
}

fn ecdsa(signed: &Signed, digest: &[u8; 32]) -> Result<(), Stop> {
    if signed.signatures.len() != signed.threshold {
        return Err(invalid());
    }
    let digest = Message::from_digest(*digest);
    let mut keys = signed.keys.iter();
    for bytes in &signed.signatures {
        let signature = bitcoin::ecdsa::Signature::from_slice(bytes).map_err(|_| invalid())?;
        if signature.sighash_type != EcdsaSighashType::All {
            return Err(Stop::data("Unsupported sighash type"));
        }
        // signatures stand in the order of their keys
        let signature = signature.signature;
        let fits = |key: &PublicKey| {
            let verified = secp().verify_ecdsa(&digest, &signature, &key.inner);
            verified.is_ok()
        };
        if !keys.any(fits) {
            return Err(invalid());
        }
    }
    Ok(())
}

/// Returns the one script that a script of P2SH's kind pushes.
fn redeem(script_sig: &Script) -> Option<ScriptBuf> {
    match pushes(script_sig)?[..] {
        [script] => Some(ScriptBuf::from_bytes(script.to_vec())),
        _ => None,
    }
}

fn pushes(script: &Script) -> Option<Vec<&[u8]>> {
    let mut pushes = Vec::new();
    for instruction in script.instructions() {
        let Ok(Instruction::PushBytes(bytes)) = instruction else {
            return None;
        };
        pushes.push(bytes.as_bytes());
    }
    Some(pushes)
}

/// Takes a script of bare multisig apart.
fn multisig(script: &Script) -> Option<(usize, Vec<PublicKey>)> {
    let instructions: Vec<Instruction<'_>> =
        script.instructions().collect::<Result<_, _>>().ok()?;
    let [needed, keys @ .., number, Instruction::Op(OP_CHECKMULTISIG)] = &instructions[..] else {
        return None;
    };
    let small = |instruction: &Instruction<'_>| {
        let number = instruction.script_num()?;
        usize::try_from(number).ok()
    };
    let keys: Option<Vec<PublicKey>> = keys
        .iter()
        .map(|key| PublicKey::from_slice(key.push_bytes()?.as_bytes()).ok())
        .collect();
    let keys = keys?;
    let whole = small(number)? == keys.len();
    Some((small(needed)?, keys)).filter(|_| whole)
}
