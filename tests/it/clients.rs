//! Public clients against our simulator: the same keys as bcm.

use std::io::Write as _;
use std::process::{Command, Stdio};

use bcm_keystore::wallet::Document;
use bcm_tests::{Bitcoind, PASSPHRASE, Peers, Simulator, TestEnv};
use serde_json::{Value, json};

use crate::support::{new_key, recording};
use crate::wallet::{Desk, shared_wallet};

/// Root fingerprint of the recorded seed and passphrase, `keystore/vectors/README.md`.
const ROOT_FINGERPRINT: &str = "dd53b9b4";

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A client that types the passphrase on the host.
fn client(env: &TestEnv, simulator: &Simulator, program: &str) -> Command {
    let mut command = Peers::ready().command(env, program);
    command
        .env("TREZOR_PATH", simulator.udp())
        .env("PASSPHRASE", PASSPHRASE)
        .env("TREZOR_PASSPHRASE", PASSPHRASE);
    command
}

#[test]
fn trezor_agent_prints_the_line_that_bcm_prints() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    for curve in ["ed25519", "nist256p1"] {
        for identity in ["satoshi@bitcoin.org", "bcm@node1.lan:2222"] {
            let theirs =
                run(client(&env, &simulator, "trezor-agent").args(["-e", curve, identity]));
            let ours = new_key(&env, &simulator, identity, curve);
            assert_eq!(ours, theirs.trim_end());
        }
    }
}

#[test]
fn trezorctl_finds_the_key_of_a_bcm_identity() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let line = new_key(&env, &simulator, "satoshi@bitcoin.org", "ed25519");
    let key: ssh_key::PublicKey = line.parse().unwrap();
    let ours = hex::encode(key.key_data().ed25519().unwrap().0);
    let path = "m/13h/1920927371h/533775077h/1113902379h/2013960660h";
    let words = ["get-public-node", "-e", "ed25519", "-n", path];
    let theirs = run(client(&env, &simulator, "trezorctl")
        .args(["--json", "btc"])
        .args(words));
    assert!(theirs.contains(&format!("00{ours}")), "{ours}\n{theirs}");
}

#[test]
fn trezorctl_sees_the_features_that_bcm_sees() {
    let env = TestEnv::new();
    let simulator = Simulator::start_with(&env, ["--label", "my bcm"]);
    let theirs = run(client(&env, &simulator, "trezorctl").arg("get-features"));
    let ours = env
        .bcm(["device", "info", "--json"])
        .device(&simulator.udp())
        .run();
    let ours: Value = serde_json::from_str(ours.success()).unwrap();
    assert_eq!(ours["label"], "my bcm");
    assert!(theirs.contains("label: 'my bcm'"), "{theirs}");
    let version: Vec<_> = ours["version"].as_str().unwrap().split('.').collect();
    for (part, number) in ["major", "minor", "patch"].iter().zip(version) {
        assert!(
            theirs.contains(&format!("{part}_version: {number}")),
            "{theirs}"
        );
    }
}

/// hwi looks for an emulator on one port only: this moves the port and changes nothing else.
const HWI: &str = "
import sys
from hwilib.devices.trezor import SIMULATOR_PATH, TrezorClient
from hwilib.devices.trezorlib.transport.udp import UdpTransport
UdpTransport.DEFAULT_PORT = int(sys.argv.pop(1))
moved = f'127.0.0.1:{UdpTransport.DEFAULT_PORT}'
init = TrezorClient.__init__
init.__defaults__ = tuple(moved if d == SIMULATOR_PATH else d for d in init.__defaults__)
from hwilib._cli import main
main()
";

#[test]
fn hwi_enumerates_the_wallet_that_bcm_opens() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let port = simulator.udp_port().to_string();
    let mut hwi = client(&env, &simulator, "python");
    hwi.args([
        "-c",
        HWI,
        &port,
        "--emulators",
        "-p",
        PASSPHRASE,
        "enumerate",
    ]);
    let found: Value = serde_json::from_str(&run(&mut hwi)).unwrap();
    let trezor = found
        .as_array()
        .unwrap()
        .iter()
        .find(|device| device["type"] == "trezor")
        .unwrap_or_else(|| panic!("{found}"));
    assert_eq!(trezor["fingerprint"], ROOT_FINGERPRINT, "{found}");
    assert_eq!(trezor["path"], simulator.udp());
    let output = env
        .bcm(["info", "--json"])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    let info: Value = serde_json::from_str(output.success()).unwrap();
    assert!(info.to_string().contains(ROOT_FINGERPRINT), "{info}");
}

/// Runs hwi on the simulator, with `input` on its standard input.
fn hwi(env: &TestEnv, simulator: &Simulator, input: &str) -> Value {
    let port = simulator.udp_port().to_string();
    let mut hwi = client(env, simulator, "python");
    hwi.args(["-c", HWI, &port, "--emulators", "-p", PASSPHRASE])
        .args(["-t", "trezor", "-d", &simulator.udp()])
        .args(["--chain", "regtest", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = hwi.spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = running.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// Returns the signatures in a PSBT, one for an input.
fn signatures(psbt: &str) -> Vec<String> {
    let document = Document::parse(psbt.as_bytes()).unwrap();
    let inputs = document.psbt.inputs.iter();
    let signatures =
        inputs.map(
            |input| match (input.partial_sigs.values().next(), input.tap_key_sig) {
                (Some(ecdsa), None) => hex::encode(ecdsa.signature.serialize_der()),
                (None, Some(taproot)) => hex::encode(taproot.signature.serialize()),
                other => panic!("{other:?}"),
            },
        );
    signatures.collect()
}

#[test]
fn hwi_gives_the_signatures_that_bcm_and_genuine_firmware_give() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    for name in [
        "tx-p2wpkh-change",
        "tx-mixed-all",
        "tx-multisig-p2wsh",
        "tx-multisig-p2sh-p2wsh",
        "tx-op-return",
    ] {
        let recorded = recording(name);
        let psbt = recorded["psbt"].as_str().unwrap();
        let told = hwi(&env, &simulator, &format!("signtx {psbt}\n"));
        assert_eq!(told["signed"], true, "{name}: {told}");
        let theirs = signatures(told["psbt"].as_str().unwrap());
        let file = env.write("unsigned.psbt", psbt);
        let output = env
            .bcm(["psbt", "sign"])
            .word(&file)
            .device(&simulator.udp())
            .passphrase(PASSPHRASE)
            .run();
        assert_eq!(signatures(output.success()), theirs, "{name}");
        let genuine = recorded["result"]["signatures"].as_array().unwrap();
        assert_eq!(
            genuine
                .iter()
                .map(|s| s.as_str().unwrap())
                .collect::<Vec<_>>(),
            theirs
        );
    }
}

#[test]
fn hwi_signs_what_bcm_made_for_each_script_as_bcm_does() {
    let desks = [
        Desk::new(),
        Desk::with_seed("zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"),
    ];
    let desk = &desks[0];
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    let single = ["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2tr"];
    let shared = ["p2sh", "p2sh-p2wsh", "p2wsh"];
    for script in single {
        desk.text(&["wallet", "create", script, "--script", script]);
    }
    for script in shared {
        shared_wallet(&desks, script);
    }
    let scripts = single.into_iter().chain(shared);
    for script in scripts.clone() {
        node.pay(&desk.address(script), "0.1");
    }
    node.mine(1);
    let to = node.address();
    for script in scripts {
        desk.text(&["wallet", "sync", script]);
        let send = [
            "wallet",
            "send",
            &to,
            "0.05",
            "--fee-rate",
            "2",
            "--unsigned",
        ];
        let psbt = desk.text(&[&send[..], &["--wallet", script]].concat());
        let theirs = hwi(&desk.env, &desk.simulator, &format!("signtx {psbt}\n"));
        assert_eq!(theirs["signed"], true, "{script}: {theirs}");
        let file = desk.env.write("unsigned.psbt", &psbt);
        let ours = desk.text(&["psbt", "sign", file.to_str().unwrap()]);
        let theirs = signatures(theirs["psbt"].as_str().unwrap());
        assert_eq!(signatures(&ours), theirs, "{script}");
    }
}

#[test]
fn trezorctl_signs_the_transaction_that_genuine_firmware_signed() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    for (name, scripts) in [
        ("tx-p2pkh-two", &["SPENDADDRESS"; 2][..]),
        (
            "tx-mixed-all",
            &[
                "SPENDADDRESS",
                "SPENDP2SHWITNESS",
                "SPENDWITNESS",
                "SPENDTAPROOT",
            ],
        ),
    ] {
        let recorded = recording(name);
        let file = env.write("unsigned.psbt", recorded["psbt"].as_str().unwrap());
        let shown = env.bcm(["psbt", "show", "--json"]).word(&file).run();
        let shown: Value = serde_json::from_str(shown.success()).unwrap();
        let request = trezorctl_request(&recorded, &shown, scripts);
        let file = env.write("request.json", request.to_string());
        let mut sign = client(&env, &simulator, "trezorctl");
        let theirs = run(sign.args(["btc", "sign-tx"]).arg(&file));
        let genuine = recorded["result"]["serialized_tx"].as_str().unwrap();
        assert!(theirs.contains(genuine), "{name}\n{theirs}");
    }
}

/// Writes a recorded transaction as trezorctl reads it.
fn trezorctl_request(recorded: &Value, shown: &Value, scripts: &[&str]) -> Value {
    let document = Document::parse(recorded["psbt"].as_str().unwrap().as_bytes()).unwrap();
    let psbt = &document.psbt;
    let number = |path: &str| {
        let steps = path.split('/').skip(1);
        let step = |step: &str| match step.strip_suffix('h') {
            Some(number) => number.parse::<u32>().unwrap() | 1 << 31,
            None => step.parse().unwrap(),
        };
        steps.map(step).collect::<Vec<u32>>()
    };
    let inputs = psbt
        .unsigned_tx
        .input
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let told = &shown["inputs"][index];
            json!({
                "address_n": number(told["path"].as_str().unwrap()),
                "prev_hash": input.previous_output.txid.to_string(),
                "prev_index": input.previous_output.vout,
                "amount": told["amount"],
                "script_type": scripts[index],
                "sequence": input.sequence.0,
            })
        });
    let outputs =
        shown["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|told| match told["path"].as_str() {
                Some(path) => json!({
                    "address_n": number(path),
                    "amount": told["amount"],
                    "script_type": "PAYTOADDRESS",
                }),
                None => json!({
                    "address": told["to"],
                    "amount": told["amount"],
                    "script_type": "PAYTOADDRESS",
                }),
            });
    let previous = psbt.inputs.iter().map(|input| {
        let previous = input.non_witness_utxo.as_ref().unwrap();
        let inputs = previous.input.iter().map(|input| {
            json!({
                "prev_hash": input.previous_output.txid.to_string(),
                "prev_index": input.previous_output.vout,
                "script_sig": hex::encode(input.script_sig.as_bytes()),
                "sequence": input.sequence.0,
            })
        });
        let outputs = previous.output.iter().map(|output| {
            json!({
                "amount": output.value.to_sat(),
                "script_pubkey": hex::encode(output.script_pubkey.as_bytes()),
            })
        });
        let transaction = json!({
            "version": previous.version.0,
            "lock_time": previous.lock_time.to_consensus_u32(),
            "inputs": inputs.collect::<Vec<_>>(),
            "bin_outputs": outputs.collect::<Vec<_>>(),
        });
        (previous.compute_txid().to_string(), transaction)
    });
    json!({
        "coin_name": "Regtest",
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
        "details": {
            "version": psbt.unsigned_tx.version.0,
            "lock_time": psbt.unsigned_tx.lock_time.to_consensus_u32(),
        },
        "prev_txes": previous.collect::<serde_json::Map<_, _>>(),
    })
}
