//! PSBTs from a file to a transaction, on the simulated device.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use bcm_keystore::wallet::Document;
use bcm_keystore::wallet::psbt::Encoding;
use bcm_tests::{Bcm, PASSPHRASE, Simulator, TestEnv};
use serde_json::Value;

use crate::support::recording;

/// The recording that most tests take: one input, a payment and change.
const SIMPLE: &str = "tx-p2wpkh-change";

fn psbt(name: &str) -> String {
    recording(name)["psbt"].as_str().unwrap().to_owned()
}

fn sign(env: &TestEnv, simulator: &Simulator, file: &Path) -> Bcm {
    env.bcm(["psbt", "sign"])
        .word(file)
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
}

#[test]
fn a_psbt_is_shown_in_plain_words_without_a_device() {
    let env = TestEnv::new();
    let file = env.write("payment.psbt", psbt(SIMPLE));
    let output = env.bcm(["psbt", "show"]).word(&file).run();
    let shown = output.success();
    for words in [
        "on regtest, version 2, about 141 vB",
        "p2wpkh",
        "m/84h/1h/0h/0/0",
        "bcrt1ql3e9pgs3mmwuwrh95fecme0s0qtn2880hlwwpw",
        "payment",
        "back to this wallet, m/84h/1h/0h/1/0",
        "fee 0.00001000 BTC, about 7 sat/vB",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    assert!(!shown.contains("warning"), "{shown}");

    let mut show = env
        .bcm(["psbt", "show", "-", "--json"])
        .spawn_with(Stdio::piped());
    show.input(&psbt(SIMPLE));
    let shown: Value = serde_json::from_str(show.wait().success()).unwrap();
    assert_eq!(shown["fee"], 1000);
    assert_eq!(shown["outputs"][1]["is_change"], true);
    assert_eq!(shown["warnings"].as_array().unwrap().len(), 0);
}

#[test]
fn a_psbt_becomes_the_transaction_that_genuine_firmware_signed() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    for (name, binary) in [(SIMPLE, false), ("tx-mixed-all", true)] {
        let text = psbt(name);
        let bytes = Document::parse(text.as_bytes()).unwrap().to_bytes();
        let file = if binary {
            env.write("unsigned.psbt", bytes)
        } else {
            env.write("unsigned.psbt", &text)
        };
        let [signed, done, hex] =
            ["signed", "final", "hex"].map(|end| env.path().join(format!("{name}.{end}")));
        let output = sign(&env, &simulator, &file).word("-o").word(&signed).run();
        assert_eq!(output.success(), "");
        let written = Document::parse(&fs::read(&signed).unwrap()).unwrap();
        assert_eq!(written.encoding == Encoding::Binary, binary);

        let finalize = env.bcm(["psbt", "finalize"]).word(&signed);
        assert_eq!(finalize.word("-o").word(&done).run().success(), "");
        let extract = env.bcm(["psbt", "extract"]).word(&done);
        assert_eq!(extract.word("-o").word(&hex).run().success(), "");
        let transaction = fs::read_to_string(&hex).unwrap();
        let recorded = recording(name);
        assert_eq!(transaction.trim_end(), recorded["result"]["serialized_tx"]);
    }
}

#[test]
fn a_psbt_from_stdin_goes_signed_to_stdout() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sign = sign(&env, &simulator, Path::new("-")).word("--json");
    let mut sign = sign.spawn_with(Stdio::piped());
    sign.input(&psbt(SIMPLE));
    let output = sign.wait();
    let signed: Value = serde_json::from_str(output.success()).unwrap();
    assert_eq!(signed["signed_inputs"][0], 0);
    let confirmed = signed["confirmed"][0].as_str().unwrap();
    assert!(
        confirmed.starts_with("0.00600000 BTC to bcrt1q"),
        "{confirmed}"
    );
    assert_ne!(signed["digest_before"], signed["digest_after"]);
    let document = Document::parse(signed["psbt"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(document.psbt.inputs[0].partial_sigs.len(), 1);
    assert_eq!(document.encoding, Encoding::Base64);
}

#[test]
fn a_replacement_is_signed_with_the_transaction_that_it_replaces() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let original = recording(SIMPLE)["result"]["serialized_tx"]
        .as_str()
        .unwrap()
        .to_owned();
    let known = env.write("original.hex", &original);
    // the same payment, 5000 satoshi more for the fee
    let mut document = Document::parse(psbt(SIMPLE).as_bytes()).unwrap();
    let change = &mut document.psbt.unsigned_tx.output[1].value;
    *change = change.checked_sub("0.00005 BTC".parse().unwrap()).unwrap();
    let txid = document_txid(&original);
    let file = env.write("bump.psbt", document.to_base64());
    let output = sign(&env, &simulator, &file)
        .word("--json")
        .word("--previous")
        .word(&known)
        .word("--replaces")
        .word(&txid)
        .run();
    let signed: Value = serde_json::from_str(output.success()).unwrap();
    assert_eq!(
        signed["confirmed"][0],
        format!("replace transaction {txid}")
    );

    let output = sign(&env, &simulator, &file)
        .word("--replaces")
        .word(&txid)
        .run();
    output.failure(1);
    assert!(output.error().unwrap().contains("is not known"), "{output}");
}

/// Asks bcm for the id of a transaction that was signed.
fn document_txid(hex: &str) -> String {
    let text = psbt(SIMPLE);
    let document = Document::parse(text.as_bytes()).unwrap();
    let txid = document.psbt.unsigned_tx.compute_txid().to_string();
    // inputs with witnesses: the id is that of the unsigned transaction
    assert!(hex.starts_with("0200000000010"));
    txid
}

#[test]
fn what_is_declined_on_the_device_is_not_signed() {
    let env = TestEnv::new();
    let simulator = Simulator::start_with(&env, ["--confirm", "deny"]);
    let file = env.write("payment.psbt", psbt(SIMPLE));
    let signed = env.path().join("signed.psbt");
    let output = env
        .bcm(["psbt", "sign", "-o"])
        .word(&signed)
        .word(&file)
        .device(&simulator.udp())
        .run();
    output.failure(3);
    assert_eq!(output.error(), Some("declined on the device"));
    assert!(!signed.exists());
}

#[test]
fn a_lie_about_an_amount_ends_with_exit_code_4() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let mut document = Document::parse(psbt(SIMPLE).as_bytes()).unwrap();
    let told = document.psbt.inputs[0].witness_utxo.as_mut().unwrap();
    told.value = "0.5 BTC".parse().unwrap();
    let file = env.write("lie.psbt", document.to_base64());
    let output = sign(&env, &simulator, &file).run();
    output.failure(4);
    assert!(
        output.hint().unwrap().contains("do not sign it"),
        "{output}"
    );
    let shown = env.bcm(["psbt", "show"]).word(&file).run();
    assert!(shown.success().contains("is said to hold"), "{shown}");
}

#[test]
fn an_absurd_fee_is_typed_before_it_is_paid() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let file = env.write("fee.psbt", psbt("tx-high-fee"));
    let output = sign(&env, &simulator, &file).run();
    output.failure(1);
    assert!(output.error().unwrap().contains("900 %"), "{output}");
    assert!(
        output.hint().unwrap().contains("--accept-fee 9000000"),
        "{output}"
    );

    let accept = |satoshi| {
        sign(&env, &simulator, &file)
            .word("--accept-fee")
            .word(satoshi)
    };
    accept("8999999").run().failure(1);
    accept("9000000").run().success();

    for (typed, signed) in [("9000000", true), ("yes", false)] {
        let mut pty = sign(&env, &simulator, &file).pty();
        pty.expect("type the fee in satoshi");
        pty.line(typed);
        pty.expect(if signed { "signed 1 input" } else { "error:" });
    }
}

#[test]
fn what_is_no_psbt_is_refused_before_the_device_is_asked() {
    let env = TestEnv::new();
    let text = psbt(SIMPLE);
    let bytes = Document::parse(text.as_bytes()).unwrap().to_bytes();
    let huge = [b"psbt\xff".as_slice(), &vec![0; 16 << 20]].concat();
    for (content, words) in [
        (&b"hello"[..], "this is no PSBT"),
        (&text.as_bytes()[..400], "cut off"),
        (&bytes[..300], "cut off"),
        (
            &[&bytes[..], b"\0\0"].concat(),
            "2 bytes stand behind the end",
        ),
        (&huge, "longer than 16 MiB"),
    ] {
        let file = env.write("bad.psbt", content);
        for command in ["show", "sign", "finalize", "extract"] {
            let output = env.bcm(["psbt", command]).word(&file).run();
            output.failure(1);
            assert!(output.error().unwrap().contains(words), "{output}");
        }
    }
    let output = env.bcm(["psbt", "show", "nowhere.psbt"]).run();
    output.failure(1);
    assert!(
        output
            .error()
            .unwrap()
            .contains("cannot read `nowhere.psbt`"),
        "{output}"
    );
    env.bcm(["psbt", "combine", "-", "-"]).run().failure(2);
    env.bcm(["psbt", "combine", "one.psbt"]).run().failure(2);
}

#[test]
fn what_is_not_complete_is_neither_final_nor_a_transaction() {
    let env = TestEnv::new();
    let file = env.write("unsigned.psbt", psbt("tx-multisig-p2wsh"));
    let output = env.bcm(["psbt", "finalize"]).word(&file).run();
    output.failure(1);
    assert_eq!(output.error(), Some("input 0 has 0 of 2 signatures"));
    let output = env.bcm(["psbt", "extract"]).word(&file).run();
    output.failure(1);
    assert!(output.hint().unwrap().contains("psbt finalize"), "{output}");
}

#[test]
fn a_file_that_exists_is_not_replaced_unless_told() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let file = env.write("payment.psbt", psbt(SIMPLE));
    let kept = env.write("kept", "precious");
    let again = || sign(&env, &simulator, &file).word("-o").word(&kept);
    let output = again().run();
    output.failure(1);
    assert!(output.hint().unwrap().contains("--force"), "{output}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "precious");
    again().word("--force").run().success();
    assert!(Document::parse(&fs::read(&kept).unwrap()).is_ok());
}

#[test]
fn two_halves_of_a_multisig_are_put_together() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let recorded = recording("tx-multisig-p2wsh");
    let file = env.write("unsigned.psbt", recorded["psbt"].as_str().unwrap());
    let signed = env.path().join("signed.psbt");
    sign(&env, &simulator, &file)
        .word("-o")
        .word(&signed)
        .run()
        .success();
    let document = Document::parse(&fs::read(&signed).unwrap()).unwrap();
    let signature = document.psbt.inputs[0]
        .partial_sigs
        .values()
        .next()
        .unwrap();
    let hex = hex::encode(signature.signature.serialize_der());
    assert_eq!(hex, recorded["result"]["signatures"][0]);
    let output = env.bcm(["psbt", "combine"]).word(&file).word(&signed).run();
    let combined = Document::parse(output.success().as_bytes()).unwrap();
    assert_eq!(combined.psbt, document.psbt);
    let other = env.write("other.psbt", psbt(SIMPLE));
    let output = env.bcm(["psbt", "combine"]).word(&file).word(&other).run();
    output.failure(1);
    assert!(
        output
            .error()
            .unwrap()
            .contains("not of the same transaction"),
        "{output}"
    );
}

#[test]
fn a_payment_that_is_presented_as_change_names_the_path_and_stops() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let mut document = Document::parse(psbt(SIMPLE).as_bytes()).unwrap();
    // the change goes where the payment goes, and is still said to be this wallet's
    let transaction = &mut document.psbt.unsigned_tx;
    transaction.output[1].script_pubkey = transaction.output[0].script_pubkey.clone();
    let file = env.write("forged.psbt", document.to_base64());
    let output = sign(&env, &simulator, &file).run();
    output.failure(4);
    let error = output.error().unwrap();
    assert!(
        error.contains("output 1 is presented as this wallet's"),
        "{output}"
    );
    assert!(error.contains("`m/84h/1h/0h/1/0`"), "{output}");
}
