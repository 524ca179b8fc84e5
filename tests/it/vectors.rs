//! What genuine firmware answered, answered again: by the simulator, over UDP, through the bridge.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bcm_keystore::device::discovery::find;
use bcm_keystore::device::{Device, DeviceSelector, Transport};
use bcm_keystore::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry, Prompt};
use bcm_keystore::secret::{Passphrase, Pin};
use bcm_keystore::session::Session;
use bcm_keystore::store::Home;
use bcm_tests::{PASSPHRASE, Simulator, TestEnv};
use serde::Deserialize;
use trezor_client::protos::{GetPublicKey, PublicKey};

const HARDENED: u32 = 1 << 31;

#[derive(Deserialize)]
struct Recorded {
    passphrase: String,
    keys: Vec<RecordedKey>,
}

#[derive(Deserialize)]
struct RecordedKey {
    identity: String,
    index: u32,
    slip: u32,
    curve: String,
    path: Vec<String>,
    public_key: String,
}

fn vectors() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../keystore/vectors"))
}

fn recorded() -> Recorded {
    let text = fs::read_to_string(vectors().join("identities.json")).unwrap();
    let recorded: Recorded = serde_json::from_str(&text).unwrap();
    assert_eq!(recorded.passphrase, PASSPHRASE);
    recorded
}

/// A person who types the passphrase on the host.
#[derive(Debug)]
struct Typist;

impl Interaction for Typist {
    fn device_waits(&self, _: &Prompt, _: DeviceWait) {}

    fn passphrase(&self, _: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        Ok(PassphraseEntry::Host(Passphrase::read_line(
            PASSPHRASE.as_bytes(),
        )?))
    }

    fn pin_matrix(&self, _: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

fn steps(path: &[String]) -> Vec<u32> {
    let step = |text: &String| match text.strip_suffix('\'') {
        Some(number) => number.parse::<u32>().unwrap() | HARDENED,
        None => text.parse().unwrap(),
    };
    path.iter().map(step).collect()
}

async fn equal_the_recorded_ones(env: &TestEnv, transport: Box<dyn Transport>) {
    let device = Device::spawn(transport, Arc::new(Typist));
    let home = Home::below(&env.state());
    let session = Session::new(device, home).unlock().await.unwrap();
    let recorded = recorded();
    assert!(recorded.keys.len() >= 11 * 6);
    let mut identities = std::collections::BTreeSet::new();
    for key in &recorded.keys {
        let mut request = GetPublicKey::new();
        request.address_n = steps(&key.path);
        request.set_ecdsa_curve_name(key.curve.clone());
        let answer: PublicKey = session
            .device()
            .call(Prompt::new("compare with the vectors"), request)
            .await
            .unwrap();
        assert_eq!(
            hex::encode(answer.node.public_key()),
            key.public_key,
            "{} index {} SLIP-{} {}",
            key.identity,
            key.index,
            key.slip,
            key.curve
        );
        identities.insert(&key.identity);
    }
    assert!(identities.len() >= 10, "{identities:?}");
    session.lock().await;
}

#[tokio::test]
async fn public_keys_over_udp_equal_the_recorded_ones() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let selector: DeviceSelector = simulator.udp().parse().unwrap();
    equal_the_recorded_ones(&env, find(&selector, false).unwrap()).await;
}

#[tokio::test]
async fn public_keys_through_the_bridge_equal_the_recorded_ones() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let selector: DeviceSelector = simulator.bridge().parse().unwrap();
    equal_the_recorded_ones(&env, find(&selector, false).unwrap()).await;
}

#[tokio::test]
async fn public_keys_of_the_embedded_simulator_equal_the_recorded_ones() {
    let env = TestEnv::new();
    let simulator = bcm_keystore::simulator::Simulator::builder().build();
    equal_the_recorded_ones(&env, simulator.transport()).await;
}

#[test]
fn ssh_key_lines_equal_those_of_trezor_agent() {
    let lines = fs::read_to_string(vectors().join("peers/trezor-agent-ssh.txt")).unwrap();
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let mut compared = 0;
    for line in lines.lines() {
        let (curve, rest) = line.split_once(' ').unwrap();
        let (identity, expected) = rest.split_once("  ").unwrap();
        let printed = env
            .bcm(["ssh", "newkey", identity, "--curve", curve])
            .device(&simulator.udp())
            .passphrase(PASSPHRASE)
            .run();
        assert_eq!(printed.success().trim_end(), expected.trim_end());
        compared += 1;
    }
    assert_eq!(compared, 6);
}
