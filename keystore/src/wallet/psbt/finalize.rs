//! From signatures to what satisfies a script.

use bitcoin::opcodes::OP_FALSE;
use bitcoin::psbt::Input;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::sighash::SighashCache;
use bitcoin::{Psbt, PublicKey, ScriptBuf, TxOut, Witness};

use super::PsbtError;
use crate::wallet::sign_tx::{ScriptKind, Signature, Template, verify_signature};

/// Returns the script and the witness that satisfy `template`, with signatures in the order of keys.
pub(crate) fn spend(template: &Template, signatures: &[Signature]) -> (ScriptBuf, Witness) {
    let bytes = signatures.iter().map(|signature| match signature {
        Signature::Ecdsa(key, signature) => (Some(key), signature.to_vec()),
        Signature::Taproot(signature) => (None, signature.to_vec()),
    });
    let bytes: Vec<(Option<&PublicKey>, Vec<u8>)> = bytes.collect();
    let mut items: Vec<Vec<u8>> = Vec::new();
    if template.multisig.is_some() {
        // OP_CHECKMULTISIG takes one item too many off the stack
        items.push(Vec::new());
        items.extend(bytes.into_iter().map(|(_, signature)| signature));
        items.push(template.inner.to_bytes());
    } else if let Some((key, signature)) = bytes.into_iter().next() {
        items.push(signature);
        items.extend(key.map(|key| key.to_bytes()));
    }
    match template.kind {
        ScriptKind::P2pkh | ScriptKind::P2shMultisig => (script_of(items), Witness::new()),
        ScriptKind::P2wpkh | ScriptKind::P2tr | ScriptKind::P2wshMultisig => {
            (ScriptBuf::new(), Witness::from_slice(&items))
        }
        ScriptKind::P2shP2wpkh => {
            let script = script_of(vec![template.inner.to_bytes()]);
            (script, Witness::from_slice(&items))
        }
        ScriptKind::P2shP2wshMultisig => {
            let program = template.inner.to_p2wsh();
            (
                script_of(vec![program.into_bytes()]),
                Witness::from_slice(&items),
            )
        }
    }
}

fn script_of(items: Vec<Vec<u8>>) -> ScriptBuf {
    let builder = items.into_iter().fold(Builder::new(), |builder, item| {
        if item.is_empty() {
            return builder.push_opcode(OP_FALSE);
        }
        let item = PushBytesBuf::try_from(item).expect("far less than 4 GiB");
        builder.push_slice(item)
    });
    builder.into_script()
}

/// Makes every input final that is not yet; each signature is verified first.
///
/// # Errors
///
/// Names the first input that lacks signatures or has a wrong one. Nothing is changed then.
pub fn finalize(psbt: &mut Psbt) -> Result<(), PsbtError> {
    let unsigned = psbt.unsigned_tx.clone();
    let mut spent = Vec::with_capacity(psbt.inputs.len());
    for index in 0..psbt.inputs.len() {
        let output = psbt
            .spend_utxo(index)
            .map_err(|_| PsbtError::NoUtxo(index))?;
        spent.push(output.clone());
    }
    let mut cache = SighashCache::new(&unsigned);
    let mut finals = Vec::new();
    for (index, input) in psbt.inputs.iter().enumerate() {
        if input.final_script_sig.is_some() || input.final_script_witness.is_some() {
            continue;
        }
        let (template, signatures) = signatures(index, input, &spent[index])?;
        for signature in &signatures {
            if !verify_signature(&mut cache, index, &template, &spent, signature) {
                return Err(PsbtError::BadSignature(index));
            }
        }
        finals.push((index, spend(&template, &signatures)));
    }
    for (index, (script_sig, witness)) in finals {
        let input = &mut psbt.inputs[index];
        let kept = Input {
            non_witness_utxo: input.non_witness_utxo.take(),
            witness_utxo: input.witness_utxo.take(),
            proprietary: std::mem::take(&mut input.proprietary),
            unknown: std::mem::take(&mut input.unknown),
            final_script_sig: Some(script_sig).filter(|script| !script.is_empty()),
            final_script_witness: Some(witness).filter(|witness| !witness.is_empty()),
            ..Input::default()
        };
        *input = kept;
    }
    Ok(())
}

fn signatures(
    index: usize,
    input: &Input,
    spent: &TxOut,
) -> Result<(Template, Vec<Signature>), PsbtError> {
    let template = Template::of(
        &spent.script_pubkey,
        input.redeem_script.as_ref(),
        input.witness_script.as_ref(),
    );
    let template = template.map_err(|source| PsbtError::Script {
        input: index,
        source,
    })?;
    let of_key = |key: &PublicKey| {
        let signature = input.partial_sigs.get(key)?;
        Some(Signature::Ecdsa(*key, *signature))
    };
    let (need, found): (usize, Vec<Signature>) = match (&template.multisig, template.kind) {
        (Some((need, keys)), _) => (*need, keys.iter().filter_map(of_key).take(*need).collect()),
        (None, ScriptKind::P2tr) => {
            let signature = input.tap_key_sig.map(Signature::Taproot);
            (1, signature.into_iter().collect())
        }
        (None, _) => {
            let mut keys = input.partial_sigs.keys();
            let key = keys.find(|key| template.holds(key));
            (1, key.and_then(of_key).into_iter().collect())
        }
    };
    if found.len() < need {
        return Err(PsbtError::Incomplete {
            input: index,
            have: found.len(),
            need,
        });
    }
    Ok((template, found))
}
