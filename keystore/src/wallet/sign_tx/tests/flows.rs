//! What no recording shows: cosigners together, inputs of others, replacement, size.

use std::time::Instant;

use bitcoin::bip32::KeySource;
use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::OP_CHECKMULTISIG;
use bitcoin::script::Builder;
use bitcoin::secp256k1::Message as Digest;
use bitcoin::sighash::SighashCache;
use bitcoin::{
    EcdsaSighashType, Psbt, PublicKey, Script, ScriptBuf, Transaction, Txid, Witness, ecdsa,
};
use trezor_client::protos::{TxAck, TxRequest};

use super::devices::{
    ALL, LEGAL, Open, Root, ZOO, funding, output, secp, simple, spending, stranger, wpkh,
};
use crate::chain::Chain;
use crate::simulator::Shown;
use crate::wallet::psbt::{Document, PsbtError, extract, finalize};
use crate::wallet::sign_tx::review::Review;
use crate::wallet::sign_tx::{AccountKey, PreviousTransactions, SignError, sign_psbt};

#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    P2sh,
    P2shP2wsh,
    P2wsh,
}

/// Three wallets of which two have to sign.
pub(super) struct Cosigners {
    pub(super) roots: [Root; 3],
    form: Form,
}

impl Cosigners {
    pub(super) fn new(form: Form) -> Self {
        let roots = [
            Root::new(ALL, "bcm test"),
            Root::new(ZOO, "cosigner"),
            Root::new(LEGAL, "cosigner"),
        ];
        Self { roots, form }
    }

    fn path(&self) -> &'static str {
        match self.form {
            Form::P2sh => "m/48h/1h/0h/0h",
            Form::P2shP2wsh => "m/48h/1h/0h/1h",
            Form::P2wsh => "m/48h/1h/0h/2h",
        }
    }

    pub(super) fn accounts(&self) -> Vec<AccountKey> {
        let roots = self.roots.iter();
        roots.map(|root| root.account(self.path())).collect()
    }

    fn keys(&self, place: &str) -> Vec<(bitcoin::secp256k1::PublicKey, KeySource)> {
        let path = format!("{}/{place}", self.path());
        let mut keys: Vec<_> = self.roots.iter().map(|root| root.key(&path)).collect();
        keys.sort_by_key(|(key, _)| key.serialize());
        keys
    }

    fn script(&self, place: &str) -> ScriptBuf {
        let builder = Builder::new().push_int(2);
        let builder = self.keys(place).iter().fold(builder, |builder, (key, _)| {
            builder.push_key(&PublicKey::new(*key))
        });
        let builder = builder.push_int(3).push_opcode(OP_CHECKMULTISIG);
        builder.into_script()
    }

    fn output(&self, place: &str) -> ScriptBuf {
        let script = self.script(place);
        match self.form {
            Form::P2sh => script.to_p2sh(),
            Form::P2shP2wsh => script.to_p2wsh().to_p2sh(),
            Form::P2wsh => script.to_p2wsh(),
        }
    }

    fn scripts(&self, place: &str) -> (Option<ScriptBuf>, Option<ScriptBuf>) {
        let script = self.script(place);
        match self.form {
            Form::P2sh => (Some(script), None),
            Form::P2shP2wsh => (Some(script.to_p2wsh()), Some(script)),
            Form::P2wsh => (None, Some(script)),
        }
    }

    pub(super) fn psbt(&self) -> Psbt {
        let previous = [
            funding(1, 500_000, &self.output("0/0")),
            funding(2, 500_000, &self.output("0/1")),
        ];
        let outputs = vec![
            output(600_000, &stranger()),
            output(399_000, &self.output("1/0")),
        ];
        let mut psbt = spending(&previous, outputs);
        for (input, place) in psbt.inputs.iter_mut().zip(["0/0", "0/1"]) {
            (input.redeem_script, input.witness_script) = self.scripts(place);
            input.bip32_derivation = self.keys(place).into_iter().collect();
        }
        let change = &mut psbt.outputs[1];
        (change.redeem_script, change.witness_script) = self.scripts("1/0");
        change.bip32_derivation = self.keys("1/0").into_iter().collect();
        psbt
    }
}

fn titles(open: &Open) -> Vec<String> {
    let shown = open.script.take_shown();
    let titles = shown.into_iter().map(|shown| match shown {
        Shown::Question(screen) => screen.title().to_owned(),
        other => panic!("{other:?}"),
    });
    titles.collect()
}

async fn two_of_three(form: Form) {
    let cosigners = Cosigners::new(form);
    let unsigned = cosigners.psbt();
    let mut parts = Vec::new();
    for (words, passphrase) in [(ALL, "bcm test"), (LEGAL, "cosigner")] {
        let open = Open::new(words, passphrase).await;
        let mut request = open.request();
        request.accounts = cosigners.accounts();
        let mut psbt = unsigned.clone();
        let report = sign_psbt(open.device(), &mut psbt, request).await.unwrap();
        assert_eq!(report.signed_inputs, [0, 1]);
        // the change is not shown
        assert_eq!(
            titles(&open),
            ["Recipient #1", "Amount #1", "Summary"],
            "{form:?}"
        );
        parts.push(psbt);
    }
    let error = finalize(&mut parts[0].clone()).unwrap_err();
    let incomplete = matches!(
        error,
        PsbtError::Incomplete {
            have: 1,
            need: 2,
            ..
        }
    );
    assert!(incomplete, "{error}");
    let mut whole = Document::parse(&parts[0].serialize()).unwrap();
    whole
        .combine(Document::parse(&parts[1].serialize()).unwrap())
        .unwrap();
    assert!(matches!(extract(&whole.psbt), Err(PsbtError::NotFinal(0))));
    finalize(&mut whole.psbt).unwrap();
    let transaction = extract(&whole.psbt).unwrap();
    assert_eq!(transaction.compute_txid().to_string().len(), 64);
    let other = Document::parse(&simple().serialize()).unwrap();
    assert!(matches!(
        whole.combine(other),
        Err(PsbtError::OtherTransaction(_))
    ));
}

#[tokio::test]
async fn two_of_three_cosigners_complete_p2sh() {
    two_of_three(Form::P2sh).await;
}

#[tokio::test]
async fn two_of_three_cosigners_complete_p2sh_p2wsh() {
    two_of_three(Form::P2shP2wsh).await;
}

#[tokio::test]
async fn two_of_three_cosigners_complete_p2wsh() {
    two_of_three(Form::P2wsh).await;
}

#[tokio::test]
async fn without_the_cosigners_accounts_change_is_shown_as_a_payment() {
    let open = Open::recorded().await;
    let mut psbt = Cosigners::new(Form::P2wsh).psbt();
    sign_psbt(open.device(), &mut psbt, open.request())
        .await
        .unwrap();
    let expected = [
        "Recipient #1",
        "Amount #1",
        "Recipient #2",
        "Amount #2",
        "Summary",
    ];
    assert_eq!(titles(&open), expected);
    // with them, from the PSBT itself, it is recognised
    let open = Open::recorded().await;
    let cosigners = Cosigners::new(Form::P2wsh);
    let mut psbt = cosigners.psbt();
    let accounts = cosigners.accounts().into_iter();
    psbt.xpub = accounts
        .map(|key| (key.xpub, (key.fingerprint, key.path)))
        .collect();
    sign_psbt(open.device(), &mut psbt, open.request())
        .await
        .unwrap();
    assert_eq!(titles(&open), ["Recipient #1", "Amount #1", "Summary"]);
}

#[tokio::test]
async fn a_wrong_signature_in_a_psbt_is_not_made_final() {
    let open = Open::recorded().await;
    let mut psbt = simple();
    sign_psbt(open.device(), &mut psbt, open.request())
        .await
        .unwrap();
    let mut spoiled = psbt.clone();
    let key = Root::recorded().secret("m/84h/1h/0h/0/0");
    let other = secp().sign_ecdsa(&Digest::from_digest([7; 32]), &key);
    let other = ecdsa::Signature::sighash_all(other);
    *spoiled.inputs[0].partial_sigs.values_mut().next().unwrap() = other;
    let before = spoiled.clone();
    let error = finalize(&mut spoiled).unwrap_err();
    assert!(matches!(error, PsbtError::BadSignature(0)), "{error}");
    assert!(error.is_verification());
    assert_eq!(spoiled, before);
    finalize(&mut psbt).unwrap();
    assert!(psbt.inputs[0].partial_sigs.is_empty());
    let again = sign_psbt(open.device(), &mut psbt, open.request()).await;
    assert!(matches!(again, Err(SignError::AllFinal)));
}

/// Adds an input of somebody else to the simple transaction.
fn with_another() -> (Psbt, Root) {
    let root = Root::recorded();
    let other = Root::new(ZOO, "other");
    let (key, source) = root.key("m/84h/1h/0h/0/0");
    let (theirs, _) = other.key("m/84h/1h/0h/0/0");
    let previous = [
        funding(1, 1_000_000, &wpkh(key)),
        funding(2, 500_000, &wpkh(theirs)),
    ];
    let mut psbt = spending(&previous, vec![output(1_499_000, &stranger())]);
    psbt.inputs[0].bip32_derivation.insert(key, source);
    (psbt, other)
}

#[tokio::test]
async fn an_input_of_another_who_has_signed_is_sent_along() {
    let (mut psbt, other) = with_another();
    let secret = other.secret("m/84h/1h/0h/0/0");
    let spent = psbt.inputs[1].witness_utxo.clone().unwrap();
    let mut cache = SighashCache::new(&psbt.unsigned_tx);
    let all = EcdsaSighashType::All;
    let digest = cache
        .p2wpkh_signature_hash(1, &spent.script_pubkey, spent.value, all)
        .unwrap();
    let signature = secp().sign_ecdsa(&Digest::from_digest(digest.to_byte_array()), &secret);
    let signature = ecdsa::Signature::sighash_all(signature);
    let witness = Witness::p2wpkh(&signature, &secret.public_key(&secp()));
    psbt.inputs[1].final_script_witness = Some(witness);
    let open = Open::recorded().await;
    let report = sign_psbt(open.device(), &mut psbt, open.request())
        .await
        .unwrap();
    assert_eq!(report.signed_inputs, [0]);
    assert_eq!(
        titles(&open),
        ["Recipient #1", "Amount #1", "Joint transaction"]
    );
    finalize(&mut psbt).unwrap();
    extract(&psbt).unwrap();
}

#[tokio::test]
async fn an_input_of_another_who_has_not_signed_is_refused_by_the_device() {
    let (mut psbt, _) = with_another();
    let open = Open::recorded().await;
    let error = sign_psbt(open.device(), &mut psbt, open.request())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("Unverifiable external input"),
        "{error}"
    );
}

/// A wallet that knows its own transactions and scripts.
struct Wallet {
    transaction: Transaction,
    own: Vec<(ScriptBuf, KeySource)>,
}

impl PreviousTransactions for Wallet {
    fn get(&self, txid: &Txid) -> Option<Transaction> {
        (self.transaction.compute_txid() == *txid).then(|| self.transaction.clone())
    }

    fn origin(&self, script: &Script) -> Option<KeySource> {
        let found = self.own.iter().find(|(own, _)| **own == *script);
        found.map(|(_, source)| source.clone())
    }
}

#[tokio::test]
async fn a_replacement_without_change_shows_the_fee_and_no_payment_again() {
    let open = Open::recorded().await;
    let mut first = simple();
    sign_psbt(open.device(), &mut first, open.request())
        .await
        .unwrap();
    finalize(&mut first).unwrap();
    let original = extract(&first).unwrap();
    titles(&open);
    let change = Root::recorded().key("m/84h/1h/0h/1/0");
    let wallet = |own| Wallet {
        transaction: original.clone(),
        own,
    };

    let mut psbt = simple();
    psbt.unsigned_tx.output.truncate(1);
    psbt.outputs.truncate(1);
    let mut request = open.request();
    request.allow_fee = true;
    request.replaces = Some(original.compute_txid());
    request.previous = Box::new(wallet(vec![(wpkh(change.0), change.1)]));
    let report = sign_psbt(open.device(), &mut psbt, request).await.unwrap();
    assert_eq!(titles(&open), ["Update transaction", "Update transaction"]);
    assert!(report.confirmed[0].starts_with("replace transaction"));

    // an output that was nobody's change may not go
    let mut psbt = simple();
    psbt.unsigned_tx.output.truncate(1);
    psbt.outputs.truncate(1);
    let mut request = open.request();
    request.allow_fee = true;
    request.replaces = Some(original.compute_txid());
    request.previous = Box::new(wallet(Vec::new()));
    let error = sign_psbt(open.device(), &mut psbt, request)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Removal of original external outputs"),
        "{error}"
    );
}

#[tokio::test]
async fn a_legacy_transaction_is_replaced_once_the_device_has_read_it_again() {
    let root = Root::recorded();
    let (key, source) = root.key("m/44h/1h/0h/0/0");
    let (change, change_source) = root.key("m/44h/1h/0h/1/0");
    let script = |key| ScriptBuf::new_p2pkh(&PublicKey::new(key).pubkey_hash());
    let paying = |fee: u64| {
        let previous = [1, 2].map(|number| funding(number, 500_000, &script(key)));
        let outputs = vec![
            output(600_000, &stranger()),
            output(400_000 - fee, &script(change)),
        ];
        let mut psbt = spending(&previous, outputs);
        for input in &mut psbt.inputs {
            input.bip32_derivation.insert(key, source.clone());
        }
        let claims = &mut psbt.outputs[1].bip32_derivation;
        claims.insert(change, change_source.clone());
        psbt
    };
    let open = Open::recorded().await;
    let mut first = paying(1000);
    let report = sign_psbt(open.device(), &mut first, open.request())
        .await
        .unwrap();
    finalize(&mut first).unwrap();
    let original = extract(&first).unwrap();
    // the id of a legacy transaction is known once it is signed
    assert_eq!(original.compute_txid(), report.txid);
    assert_ne!(first.unsigned_tx.compute_txid(), report.txid);
    titles(&open);
    let mut request = open.request();
    request.replaces = Some(original.compute_txid());
    request.previous = Box::new(Wallet {
        transaction: original,
        own: Vec::new(),
    });
    let mut second = paying(3000);
    sign_psbt(open.device(), &mut second, request)
        .await
        .unwrap();
    assert_eq!(titles(&open), ["Update transaction", "Update transaction"]);
    finalize(&mut second).unwrap();
}

#[tokio::test]
async fn real_money_is_signed_for_at_its_own_paths() {
    let root = Root::recorded();
    let (key, source) = root.key("m/84h/0h/0h/0/0");
    let previous = funding(1, 1_000_000, &wpkh(key));
    let mut psbt = spending(&[previous], vec![output(999_000, &stranger())]);
    psbt.inputs[0].bip32_derivation.insert(key, source);
    let open = Open::recorded().await;
    let mut request = open.request();
    let refused = sign_psbt(open.device(), &mut psbt, open.request()).await;
    assert!(matches!(refused, Err(SignError::OtherChain { .. })));
    request.chain = Chain::Mainnet;
    let report = sign_psbt(open.device(), &mut psbt, request).await.unwrap();
    assert!(
        report.confirmed[0].contains(" to bc1q"),
        "{:?}",
        report.confirmed
    );
    finalize(&mut psbt).unwrap();
}

#[tokio::test]
async fn a_replacement_has_to_spend_what_the_original_spends() {
    let open = Open::recorded().await;
    let mut request = open.request();
    let unknown = simple().unsigned_tx.compute_txid();
    request.replaces = Some(unknown);
    let error = sign_psbt(open.device(), &mut simple(), request)
        .await
        .unwrap_err();
    assert!(
        matches!(error, SignError::UnknownOriginal(txid) if txid == unknown),
        "{error}"
    );

    let mut request = open.request();
    let original = funding(5, 1, &stranger());
    request.replaces = Some(original.compute_txid());
    request.previous = Box::new(Wallet {
        transaction: original,
        own: Vec::new(),
    });
    let error = sign_psbt(open.device(), &mut simple(), request)
        .await
        .unwrap_err();
    assert!(
        matches!(error, SignError::OriginalInput { input: 0, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_thousand_inputs_take_as_many_messages_as_they_have_parts() {
    const INPUTS: usize = 1000;
    const OUTPUTS: usize = 200;
    let root = Root::recorded();
    let keys: Vec<_> = (0..INPUTS)
        .map(|index| root.key(&format!("m/84h/1h/0h/0/{index}")))
        .collect();
    let previous: Vec<Transaction> = keys
        .iter()
        .zip(0..)
        .map(|((key, _), number)| funding(number, 100_000, &wpkh(*key)))
        .collect();
    let outputs = (0..OUTPUTS).map(|_| output(499_000, &stranger())).collect();
    let mut psbt = spending(&previous, outputs);
    for (input, (key, source)) in psbt.inputs.iter_mut().zip(keys) {
        input.bip32_derivation.insert(key, source);
    }
    let open = Open::recorded().await;
    let start = Instant::now();
    let report = sign_psbt(open.device(), &mut psbt, open.request())
        .await
        .unwrap();
    assert_eq!(report.signed_inputs.len(), INPUTS);
    let log = open.log.lock().unwrap();
    let acks = log.iter().filter(|message| message.is::<TxAck>()).count();
    // read, verify with the transaction that is spent (three parts), serialize, sign; and outputs twice
    assert_eq!(acks, INPUTS * (1 + 1 + 3 + 1 + 1) + OUTPUTS * 2);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    drop(log);
    assert!(!open.script.take_shown().is_empty());
}

#[test]
fn a_review_says_what_goes_where() {
    let mut psbt = simple();
    let review = Review::of(&psbt, Chain::Regtest, None);
    assert_eq!(review.fee, Some(1000));
    assert_eq!(review.inputs[0].script.as_deref(), Some("p2wpkh"));
    assert_eq!(review.inputs[0].path.as_deref(), Some("m/84h/1h/0h/0/0"));
    assert!(!review.outputs[0].is_change);
    assert!(review.outputs[0].to.starts_with("bcrt1q"));
    assert!(review.outputs[1].is_change);
    assert!(review.warnings.is_empty(), "{:?}", review.warnings);
    psbt.unsigned_tx.output[0].value = bitcoin::Amount::from_sat(1000);
    psbt.inputs[0].sighash_type = Some(EcdsaSighashType::None.into());
    psbt.inputs[0].witness_utxo.as_mut().unwrap().value = bitcoin::Amount::from_sat(7);
    let review = Review::of(&psbt, Chain::Regtest, None);
    assert_eq!(review.warnings.len(), 3, "{:?}", review.warnings);
}

#[test]
fn the_size_is_known_before_it_is_signed() {
    let review = Review::of(&simple(), Chain::Regtest, None);
    assert!(
        (140..=142).contains(&review.virtual_size),
        "{}",
        review.virtual_size
    );
}

#[test]
fn what_the_device_asks_is_a_message_of_ours() {
    assert_eq!(crate::device::Message::name_of::<TxRequest>(), "TxRequest");
}

#[test]
fn signing_can_be_waited_for_on_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    fn check(device: &crate::device::Device, psbt: &mut Psbt, request: crate::wallet::SignRequest) {
        is_send(&sign_psbt(device, psbt, request));
    }
    let _: fn(&crate::device::Device, &mut Psbt, crate::wallet::SignRequest) = check;
}
