//! Public clients against our simulator: the same keys as bcm.

use std::process::Command;

use bcm_tests::{PASSPHRASE, Peers, Simulator, TestEnv};
use serde_json::Value;

use crate::support::new_key;

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
