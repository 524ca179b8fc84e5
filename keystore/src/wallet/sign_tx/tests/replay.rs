//! Each recorded transaction through the host's flow: the same messages, signatures and transaction.

use std::collections::HashMap;
use std::path::Path;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, Psbt, ScriptBuf, Transaction, Txid, Witness};
use serde::Deserialize;
use trezor_client::protos::SignTx;

use super::devices::{ALL, Open, Root, wpkh};
use crate::device::{DeviceError, Message};
use crate::simulator::Act;
use crate::wallet::psbt::{Document, extract, finalize};
use crate::wallet::sign_tx::{PreviousTransactions, SignError, SignReport, sign_psbt};

#[derive(Deserialize)]
struct Transcript {
    psbt: Option<String>,
    previous_transactions: HashMap<String, String>,
    result: Option<Recorded>,
    cosigners: Option<Vec<Cosigner>>,
    original_transaction: Option<String>,
    messages: Vec<Step>,
}

#[derive(Deserialize)]
struct Recorded {
    signatures: Vec<String>,
    serialized_tx: String,
}

#[derive(Deserialize)]
struct Cosigner {
    mnemonic: String,
    passphrase: String,
}

#[derive(Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
enum Step {
    Host {
        r#type: u16,
        #[serde(with = "hex::serde")]
        payload: Vec<u8>,
    },
    Device {},
    Person {
        action: String,
    },
}

struct Known(HashMap<Txid, Transaction>);

impl PreviousTransactions for Known {
    fn get(&self, txid: &Txid) -> Option<Transaction> {
        self.0.get(txid).cloned()
    }
}

fn read(name: &str) -> Transcript {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/transcripts");
    let text = std::fs::read_to_string(path.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Makes the PSBT of a recording that has none: a replacement of an own transaction.
fn replacement(name: &str, recorded: &Transcript) -> Psbt {
    let result = recorded.result.as_ref().unwrap();
    let mut transaction: Transaction = deserialize_hex(&result.serialized_tx).unwrap();
    for input in &mut transaction.input {
        input.script_sig = ScriptBuf::new();
        input.witness = Witness::new();
    }
    let (account, taproot) = match name {
        "tx-replace-p2tr" => ("m/86h/1h/0h", true),
        "tx-replace-p2sh-p2wpkh" => ("m/49h/1h/0h", false),
        _ => ("m/84h/1h/0h", false),
    };
    let root = Root::recorded();
    let (key, source) = root.key(&format!("{account}/0/30"));
    let (change, change_source) = root.key(&format!("{account}/1/30"));
    let mut psbt = Psbt::from_unsigned_tx(transaction).unwrap();
    let previous = recorded.previous_transactions.values().next().unwrap();
    psbt.inputs[0].non_witness_utxo = Some(deserialize_hex(previous).unwrap());
    if taproot {
        let x_only = |key: PublicKey| key.x_only_public_key().0;
        psbt.inputs[0].tap_key_origins = [(x_only(key), (Vec::new(), source))].into();
        psbt.outputs[1].tap_key_origins = [(x_only(change), (Vec::new(), change_source))].into();
        return psbt;
    }
    if name == "tx-replace-p2sh-p2wpkh" {
        psbt.inputs[0].redeem_script = Some(wpkh(key));
        psbt.outputs[1].redeem_script = Some(wpkh(change));
    }
    psbt.inputs[0].bip32_derivation = [(key, source)].into();
    psbt.outputs[1].bip32_derivation = [(change, change_source)].into();
    psbt
}

struct Replayed {
    before: Psbt,
    psbt: Psbt,
    outcome: Result<SignReport, SignError>,
    sent: Vec<Message>,
    recorded: Transcript,
}

async fn replay(name: &str) -> Replayed {
    let recorded = read(name);
    let open = Open::recorded().await;
    open.script
        .then(recorded.messages.iter().filter_map(|step| match step {
            Step::Person { action } if action == "reject" => Some(Act::Reject),
            Step::Person { .. } => Some(Act::Confirm),
            _ => None,
        }));
    let mut psbt = match &recorded.psbt {
        Some(text) => Document::parse(text.as_bytes()).unwrap().psbt,
        None => replacement(name, &recorded),
    };
    if name == "tx-amount-lie" {
        let told = psbt.inputs[0].witness_utxo.as_mut().unwrap();
        told.value += Amount::from_sat(1000);
    }
    let before = psbt.clone();
    let mut request = open.request();
    request.allow_fee = name == "tx-high-fee";
    let known = recorded.previous_transactions.values();
    let mut known: HashMap<Txid, Transaction> = known
        .chain(&recorded.original_transaction)
        .map(|text| deserialize_hex::<Transaction>(text).unwrap())
        .map(|transaction| (transaction.compute_txid(), transaction))
        .collect();
    if let Some(original) = &recorded.original_transaction {
        let original: Transaction = deserialize_hex(original).unwrap();
        request.replaces = Some(original.compute_txid());
        known.insert(original.compute_txid(), original);
    }
    request.previous = Box::new(Known(known));
    if let Some(cosigners) = &recorded.cosigners {
        let path = match name {
            "tx-multisig-p2wsh" => "m/48h/1h/0h/2h",
            _ => "m/48h/1h/0h/1h",
        };
        request
            .accounts
            .push(Root::new(ALL, "bcm test").account(path));
        let roots = cosigners
            .iter()
            .map(|c| Root::new(&c.mnemonic, &c.passphrase));
        request
            .accounts
            .extend(roots.map(|root| root.account(path)));
    }
    let outcome = sign_psbt(open.device(), &mut psbt, request).await;
    let sent = open.log.lock().unwrap();
    let from = sent.iter().position(Message::is::<SignTx>);
    Replayed {
        before,
        psbt,
        outcome,
        sent: from.map_or_else(Vec::new, |from| sent[from..].to_vec()),
        recorded,
    }
}

impl Replayed {
    fn compare_messages(&self) {
        let recorded = self.recorded.messages.iter().filter_map(|step| match step {
            Step::Host { r#type, payload } => Some(Message::new(*r#type, payload.clone())),
            _ => None,
        });
        let recorded: Vec<Message> = recorded.collect();
        for (ours, theirs) in self.sent.iter().zip(&recorded) {
            assert_eq!(hex::encode(ours.payload()), hex::encode(theirs.payload()));
            assert_eq!(ours.kind(), theirs.kind());
        }
        assert_eq!(self.sent.len(), recorded.len());
    }

    fn compare_result(&self) {
        let recorded = self.recorded.result.as_ref().unwrap();
        let report = self.outcome.as_ref().unwrap();
        let signed: Vec<usize> = (0..self.psbt.inputs.len()).collect();
        assert_eq!(report.signed_inputs, signed);
        assert_ne!(report.digest_before, report.digest_after);
        for (input, signature) in self.psbt.inputs.iter().zip(&recorded.signatures) {
            let ecdsa = input.partial_sigs.values().next();
            let ours = match (ecdsa, input.tap_key_sig) {
                (Some(ecdsa), None) => ecdsa.signature.serialize_der().to_vec(),
                (None, Some(taproot)) => taproot.signature.serialize().to_vec(),
                other => panic!("{other:?}"),
            };
            assert_eq!(hex::encode(ours), *signature);
        }
        if self.recorded.cosigners.is_some() {
            return;
        }
        let mut psbt = self.psbt.clone();
        finalize(&mut psbt).unwrap();
        let transaction = extract(&psbt).unwrap();
        assert_eq!(serialize_hex(&transaction), recorded.serialized_tx);
        assert_eq!(transaction.compute_txid().to_string().len(), 64);
    }
}

macro_rules! signed {
    ($($test:ident $name:literal,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let replayed = replay($name).await;
                replayed.compare_result();
                replayed.compare_messages();
            }
        )*

        #[test]
        fn every_recorded_transaction_is_replayed() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/transcripts");
            let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let names = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
            let mut recorded: Vec<String> = names.filter(|name| name.starts_with("tx-")).collect();
            recorded.sort_unstable();
            let mut replayed = vec!["tx-amount-lie", "tx-not-enough", "tx-rejected-output", $($name),*];
            replayed.sort_unstable();
            assert_eq!(recorded, replayed);
        }
    };
}

signed! {
    change_other_kind "tx-change-other-kind",
    high_fee "tx-high-fee",
    locktime "tx-locktime",
    mixed_all "tx-mixed-all",
    multisig_p2sh_p2wsh "tx-multisig-p2sh-p2wsh",
    multisig_p2wsh "tx-multisig-p2wsh",
    op_return "tx-op-return",
    p2pkh_two "tx-p2pkh-two",
    p2sh_p2wpkh "tx-p2sh-p2wpkh",
    p2tr_change "tx-p2tr-change",
    p2wpkh_change "tx-p2wpkh-change",
    replace_p2sh_p2wpkh "tx-replace-p2sh-p2wpkh",
    replace_p2tr "tx-replace-p2tr",
    replace_p2wpkh "tx-replace-p2wpkh",
    sweep "tx-sweep",
    ten_in_twenty_out "tx-ten-in-twenty-out",
    two_changes "tx-two-changes",
    version_1 "tx-version-1",
}

#[tokio::test]
async fn a_declined_output_leaves_the_psbt_as_it_was() {
    let replayed = replay("tx-rejected-output").await;
    replayed.compare_messages();
    let error = replayed.outcome.as_ref().unwrap_err();
    assert!(
        matches!(error, SignError::Device(DeviceError::Declined)),
        "{error}"
    );
    assert_eq!(replayed.psbt, replayed.before);
}

#[tokio::test]
async fn a_lie_about_an_amount_is_found_before_the_device_is_asked() {
    let replayed = replay("tx-amount-lie").await;
    let error = replayed.outcome.unwrap_err();
    assert!(
        matches!(error, SignError::AmountLie { input: 0, .. }),
        "{error}"
    );
    assert!(error.is_verification());
    assert!(replayed.sent.is_empty());
}

#[tokio::test]
async fn outputs_that_pay_too_much_are_found_before_the_device_is_asked() {
    let replayed = replay("tx-not-enough").await;
    let error = replayed.outcome.unwrap_err();
    assert!(matches!(error, SignError::NotEnough { .. }), "{error}");
    assert!(replayed.sent.is_empty());
}
