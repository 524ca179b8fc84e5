//! Whoever makes a PSBT, and whatever sits between bcm and the device, may lie.

use bitcoin::secp256k1::Message as Digest;
use bitcoin::{EcdsaSighashType, Psbt, PublicKey, ScriptBuf};
use trezor_client::protos::TxRequest;
use trezor_client::protos::tx_request::RequestType;

use super::devices::{
    LEGAL, Open, Root, ZOO, funding, output, secp, simple, spending, stranger, wpkh,
};
use super::flows::{Cosigners, Form};
use crate::chain::Chain;
use crate::device::DeviceError;
use crate::hint::Hint;
use crate::wallet::sign_tx::{ClaimError, SignError, SignRequest, sign_psbt};

/// Signs, expects to be refused, and that neither the device nor the PSBT saw anything of it.
async fn refused(psbt: &Psbt, change: impl FnOnce(&mut SignRequest)) -> SignError {
    let open = Open::recorded().await;
    let mut request = open.request();
    change(&mut request);
    let mut after = psbt.clone();
    let error = sign_psbt(open.device(), &mut after, request)
        .await
        .unwrap_err();
    assert_eq!(after, *psbt);
    assert!(open.script.take_shown().is_empty(), "{error}");
    error
}

#[tokio::test]
async fn a_payment_that_is_presented_as_change_is_refused() {
    let root = Root::recorded();
    let (ours, source) = root.key("m/84h/1h/0h/1/0");
    let thief = Root::new(ZOO, "thief").key("m/84h/1h/0h/1/0").0;

    // the thief's key, said to be ours
    let mut psbt = simple();
    psbt.unsigned_tx.output[1].script_pubkey = wpkh(thief);
    psbt.outputs[1].bip32_derivation = [(thief, source.clone())].into();
    let error = refused(&psbt, |_| {}).await;
    let expected = ClaimError::NotOurKey(source.1.clone().into());
    assert!(
        matches!(&error, SignError::Output { output: 1, source } if *source == expected),
        "{error}"
    );
    assert!(error.is_verification());
    assert!(error.hint().unwrap().contains("look like change"));

    // our key, beside a script that it has nothing to do with
    let mut psbt = simple();
    psbt.unsigned_tx.output[1].script_pubkey = wpkh(thief);
    psbt.outputs[1].bip32_derivation = [(ours, source)].into();
    let error = refused(&psbt, |_| {}).await;
    assert!(
        matches!(
            &error,
            SignError::Output {
                output: 1,
                source: ClaimError::NotInScript(_)
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_taproot_output_that_is_presented_as_change_is_refused() {
    let root = Root::recorded();
    let thief = Root::new(ZOO, "thief").key("m/86h/1h/0h/1/0").0;
    let (_, source) = root.key("m/86h/1h/0h/1/0");
    let internal = thief.x_only_public_key().0;
    let mut psbt = simple();
    psbt.unsigned_tx.output[1].script_pubkey = ScriptBuf::new_p2tr(&secp(), internal, None);
    psbt.outputs[1].bip32_derivation.clear();
    psbt.outputs[1].tap_internal_key = Some(internal);
    psbt.outputs[1].tap_key_origins = [(internal, (Vec::new(), source))].into();
    let error = refused(&psbt, |_| {}).await;
    assert!(
        matches!(
            &error,
            SignError::Output {
                output: 1,
                source: ClaimError::NotOurKey(_)
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_swapped_cosigner_is_refused() {
    let cosigners = Cosigners::new(Form::P2wsh);
    let honest = cosigners.psbt();
    let thief = Root::new(LEGAL, "thief");
    let (stolen, _) = thief.key("m/48h/1h/0h/2h/1/0");
    let (swapped, source) = cosigners.roots[2].key("m/48h/1h/0h/2h/1/0");

    // in the change, under the name of the cosigner whose key it was
    let mut psbt = honest.clone();
    let witness = psbt.outputs[1].witness_script.clone().unwrap();
    let bytes = hex::encode(witness.as_bytes()).replace(&swapped.to_string(), &stolen.to_string());
    let script = ScriptBuf::from_hex(&bytes).unwrap();
    psbt.unsigned_tx.output[1].script_pubkey = script.to_p2wsh();
    psbt.outputs[1].witness_script = Some(script.clone());
    psbt.outputs[1].bip32_derivation.remove(&swapped);
    psbt.outputs[1].bip32_derivation.insert(stolen, source);
    let known = cosigners.accounts();
    let error = refused(&psbt, |request| request.accounts = known.clone()).await;
    let fingerprint = cosigners.roots[2].fingerprint();
    let expected = ClaimError::NotCosignersKey(fingerprint);
    assert!(
        matches!(&error, SignError::Output { output: 1, source } if *source == expected),
        "{error}"
    );

    // in the change, under a name of its own
    let (_, own) = thief.key("m/48h/1h/0h/2h/1/0");
    psbt.outputs[1].bip32_derivation.insert(stolen, own);
    let error = refused(&psbt, |request| request.accounts = known.clone()).await;
    assert!(
        matches!(
            &error,
            SignError::Output {
                source: ClaimError::UnknownCosigner(_),
                ..
            }
        ),
        "{error}"
    );

    // with an account key for that name in the PSBT itself
    let account = thief.account("m/48h/1h/0h/2h");
    psbt.xpub
        .insert(account.xpub, (account.fingerprint, account.path));
    let error = refused(&psbt, |request| request.accounts = known).await;
    assert!(
        matches!(
            &error,
            SignError::Output {
                source: ClaimError::UnknownCosigner(_),
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_absurd_fee_needs_a_word() {
    let mut psbt = simple();
    psbt.unsigned_tx.output[1].value = bitcoin::Amount::from_sat(339_999);
    let error = refused(&psbt, |_| {}).await;
    let SignError::AbsurdFee(alarm) = &error else {
        panic!("{error}")
    };
    assert_eq!((alarm.percent, alarm.phrase()), (10, "60001".to_owned()));
    assert!(error.hint().unwrap().contains("60001"));

    let open = Open::recorded().await;
    let mut request = open.request();
    request.allow_fee = true;
    sign_psbt(open.device(), &mut psbt, request).await.unwrap();
}

#[tokio::test]
async fn a_fee_rate_over_1000_is_absurd_however_much_is_sent() {
    let root = Root::recorded();
    let (key, source) = root.key("m/84h/1h/0h/0/0");
    let previous = funding(1, 1_000_000_000, &wpkh(key));
    let mut psbt = spending(&[previous], vec![output(999_800_000, &stranger())]);
    psbt.inputs[0].bip32_derivation.insert(key, source);
    let error = refused(&psbt, |_| {}).await;
    assert!(
        matches!(&error, SignError::AbsurdFee(alarm) if alarm.rate > 1000),
        "{error}"
    );
}

#[tokio::test]
async fn a_psbt_for_another_chain_is_refused() {
    let error = refused(&simple(), |request| request.chain = Chain::Mainnet).await;
    assert!(matches!(error, SignError::OtherChain { .. }), "{error}");
    assert!(error.hint().unwrap().contains("config set chain"));
}

#[tokio::test]
async fn a_sighash_type_that_leaves_something_open_needs_a_flag_and_is_signed_with_all() {
    let mut psbt = simple();
    psbt.inputs[0].sighash_type = Some(EcdsaSighashType::NonePlusAnyoneCanPay.into());
    let error = refused(&psbt, |_| {}).await;
    assert!(
        matches!(error, SignError::Sighash { input: 0, .. }),
        "{error}"
    );
    psbt.inputs[0].sighash_type = Some(EcdsaSighashType::All.into());
    let open = Open::recorded().await;
    sign_psbt(open.device(), &mut psbt.clone(), open.request())
        .await
        .unwrap();

    psbt.inputs[0].sighash_type = Some(EcdsaSighashType::Single.into());
    let mut request = open.request();
    request.allow_sighash = true;
    sign_psbt(open.device(), &mut psbt, request).await.unwrap();
    let signature = psbt.inputs[0].partial_sigs.values().next().unwrap();
    assert_eq!(signature.sighash_type, EcdsaSighashType::All);
    assert_eq!(
        psbt.inputs[0].sighash_type,
        Some(EcdsaSighashType::All.into())
    );
}

#[tokio::test]
async fn what_is_spent_has_to_be_known_and_true() {
    let mut psbt = simple();
    psbt.inputs[0].non_witness_utxo = None;
    let error = refused(&psbt, |_| {}).await;
    assert!(
        matches!(error, SignError::MissingPrevious { input: 0, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("input 0"));

    psbt.inputs[0].witness_utxo = None;
    let error = refused(&psbt, |_| {}).await;
    assert!(matches!(error, SignError::NoUtxo(0)), "{error}");

    let mut psbt = simple();
    psbt.inputs[0].non_witness_utxo = Some(funding(9, 1_000_000, &stranger()));
    let error = refused(&psbt, |_| {}).await;
    assert!(
        matches!(error, SignError::OtherPrevious { input: 0, .. }),
        "{error}"
    );

    let mut psbt = simple();
    psbt.unsigned_tx.input[0].previous_output.vout = 7;
    let error = refused(&psbt, |_| {}).await;
    assert!(
        matches!(error, SignError::NoSuchOutput { vout: 7, .. }),
        "{error}"
    );

    let mut psbt = simple();
    psbt.inputs[0].witness_utxo.as_mut().unwrap().script_pubkey = stranger();
    let error = refused(&psbt, |_| {}).await;
    assert!(matches!(error, SignError::ScriptLie(0)), "{error}");

    let mut psbt = simple();
    psbt.unsigned_tx.output[0].value = bitcoin::Amount::MAX;
    let error = refused(&psbt, |_| {}).await;
    assert!(matches!(error, SignError::TooMuch), "{error}");
}

#[tokio::test]
async fn a_psbt_of_another_wallet_is_refused() {
    let error = refused(&simple(), |request| {
        request.fingerprint = [1, 2, 3, 4].into();
    })
    .await;
    assert!(matches!(error, SignError::NothingToSign(_)), "{error}");
}

#[tokio::test]
async fn scripts_that_the_device_cannot_sign_are_named() {
    let mut psbt = simple();
    let anyone = ScriptBuf::from_hex("51").unwrap();
    psbt.unsigned_tx.output[0].script_pubkey = anyone;
    let error = refused(&psbt, |_| {}).await;
    assert!(matches!(error, SignError::UnknownOutput(0)), "{error}");

    let mut psbt = simple();
    psbt.unsigned_tx.output[0].script_pubkey = ScriptBuf::new_op_return([7; 3]);
    let error = refused(&psbt, |_| {}).await;
    assert!(matches!(error, SignError::DataOutput(0)), "{error}");
}

/// Changes the last signature, and what was serialized with it.
fn last(request: &mut TxRequest, change: impl Fn(&mut Vec<u8>, &mut Vec<u8>)) {
    let Some(part) = request.serialized.as_mut() else {
        return;
    };
    if let (Some(signature), Some(bytes)) = (&mut part.signature, &mut part.serialized_tx) {
        change(signature, bytes);
    }
}

async fn distrusted(spoil: impl Fn(&mut TxRequest) + Send + Sync + 'static) -> SignError {
    let open = Open::spoiled(spoil).await;
    let mut psbt = simple();
    let before = psbt.clone();
    let signed = sign_psbt(open.device(), &mut psbt, open.request()).await;
    let error = signed.unwrap_err();
    assert_eq!(psbt, before);
    let hint = error.hint().unwrap();
    assert!(hint.contains("not to be trusted"), "{error}: {hint}");
    error
}

#[tokio::test]
async fn a_signature_for_another_message_never_enters_the_psbt() {
    let error = distrusted(|request| {
        last(request, |signature, bytes| {
            let key = Root::recorded().secret("m/84h/1h/0h/0/0");
            let other = secp().sign_ecdsa(&Digest::from_digest([7; 32]), &key);
            let other = other.serialize_der().to_vec();
            let text = hex::encode(&*bytes);
            *bytes =
                hex::decode(text.replace(&hex::encode(&*signature), &hex::encode(&other))).unwrap();
            *signature = other;
        });
    })
    .await;
    assert!(matches!(error, SignError::BadSignature(0)), "{error}");
    assert!(error.is_verification());
    let error = distrusted(|request| last(request, |signature, _| signature.truncate(20))).await;
    assert!(matches!(error, SignError::BadSignature(0)), "{error}");
}

#[tokio::test]
async fn another_transaction_or_no_signature_at_all_is_a_hard_stop() {
    let error = distrusted(|request| {
        last(request, |_, bytes| {
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
        });
    })
    .await;
    assert!(matches!(error, SignError::OtherTransaction), "{error}");
    let error = distrusted(|request| {
        if let Some(part) = request.serialized.as_mut() {
            part.signature = None;
        }
    })
    .await;
    assert!(matches!(error, SignError::NoSignature(0)), "{error}");
    let error = distrusted(|request| {
        if let Some(part) = request.serialized.as_mut() {
            part.signature_index = part.signature_index.map(|_| 3);
        }
    })
    .await;
    assert!(matches!(error, SignError::NoSignature(3)), "{error}");
}

#[tokio::test]
async fn a_device_that_asks_for_what_cannot_be_is_told_to_stop() {
    for kind in [
        RequestType::TXEXTRADATA,
        RequestType::TXPAYMENTREQ,
        RequestType::TXORIGINPUT,
    ] {
        let error = distrusted(move |request| {
            if request.request_type() == RequestType::TXOUTPUT {
                request.set_request_type(kind);
            }
        })
        .await;
        let implausible = DeviceError::Implausible(String::new());
        assert!(
            matches!(&error, SignError::Device(error) if std::mem::discriminant(error) == std::mem::discriminant(&implausible)),
            "{error}"
        );
    }
    let error = distrusted(|request| {
        if let Some(details) = request.details.as_mut() {
            details.request_index = details.request_index.map(|_| 1000);
        }
    })
    .await;
    assert!(error.to_string().contains("part 1000"), "{error}");
}

#[tokio::test]
async fn a_device_that_never_stops_asking_is_told_to_stop() {
    let open = Open::endless().await;
    let error = sign_psbt(open.device(), &mut simple(), open.request())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("never stops asking"), "{error}");
    sign_psbt_again(&open).await;
}

/// A dialogue that was ended leaves the device free for another request.
async fn sign_psbt_again(open: &Open) {
    use trezor_client::protos::{GetPublicKey, PublicKey};
    let request = GetPublicKey::new();
    let prompt = crate::interaction::Prompt::new("look");
    let told: Result<PublicKey, _> = open.device().call(prompt, request).await;
    assert!(told.is_ok(), "{told:?}");
}

#[test]
fn a_key_that_is_not_compressed_is_not_one_of_a_witness_script() {
    let key = Root::recorded().key("m/84h/1h/0h/0/0").0;
    let template = crate::wallet::sign_tx::Template::of(&wpkh(key), None, None).unwrap();
    assert!(template.holds(&PublicKey::new(key)));
    assert!(!template.holds(&PublicKey::new_uncompressed(key)));
}
