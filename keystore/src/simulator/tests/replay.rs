//! Replays each recorded dialogue, and compares what the device says byte for byte.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use trezor_client::protos::{Failure, Features, Initialize};

use super::host::{Host, PASSPHRASE, typed};
use crate::device::Message;
use crate::simulator::{Act, Builder, Script, Shown, Simulator};

#[derive(Deserialize)]
struct Transcript {
    messages: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
enum Step {
    Host {
        r#type: u16,
        #[serde(with = "hex::serde")]
        payload: Vec<u8>,
    },
    Device {
        r#type: u16,
        #[serde(with = "hex::serde")]
        payload: Vec<u8>,
    },
    Person {
        action: String,
        #[serde(default)]
        value: Value,
        #[serde(default)]
        screen: Vec<RecordedPage>,
    },
}

#[derive(Deserialize)]
struct RecordedPage {
    title: String,
    text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/transcripts")
}

/// The device as it was when the recording began.
fn device(name: &str) -> Builder {
    let device = Simulator::builder();
    match name {
        "state-no-passphrase" | "apply-settings-passphrase-on" => {
            device.passphrase_protection(false)
        }
        name if name.starts_with("state-uninitialized") => device.uninitialized(),
        name if name.starts_with("pin-") => device.pin(typed("1234")),
        _ => device,
    }
}

struct Replay {
    host: Host,
    script: Script,
    /// Recorded session id to ours.
    sessions: HashMap<Vec<u8>, Vec<u8>>,
}

impl Replay {
    fn prepare(name: &str, steps: &[Step]) -> Self {
        let script = Script::default();
        let simulator = device(name).person(script.clone()).build();
        let mut replay = Self {
            host: Host::of(&simulator),
            script,
            sessions: HashMap::new(),
        };
        let locked = name.starts_with("pin-");
        for id in live_sessions(steps) {
            let ours = replay.open_session(!locked);
            replay.sessions.insert(id, ours);
        }
        let starts = matches!(steps[0], Step::Host { r#type: 0, .. });
        if !starts {
            replay.open_session(true);
        }
        replay.script.take_shown();
        replay.script.then(steps.iter().filter_map(act));
        replay
    }

    fn open_session(&mut self, with_wallet: bool) -> Vec<u8> {
        let id = self.host.initialize(None).session_id().to_vec();
        if with_wallet {
            self.host.open(PASSPHRASE);
        }
        id
    }

    fn send(&mut self, kind: u16, payload: &[u8]) {
        let mut message = Message::new(kind, payload.to_vec());
        if message.is::<Initialize>() {
            let mut request: Initialize = message.decode().unwrap();
            if let Some(ours) = self.sessions.get(request.session_id()) {
                request.set_session_id(ours.clone());
                message = Message::encode(&request);
            }
        }
        self.host.send(&message);
    }

    fn expect(&mut self, kind: u16, payload: &[u8]) {
        let answer = self.host.receive();
        let recorded = Message::new(kind, payload.to_vec());
        assert_eq!(answer.kind(), kind, "{answer:?} instead of {recorded:?}");
        if answer.is::<Failure>() {
            let code = |message: &Message| message.decode::<Failure>().unwrap().code();
            assert_eq!(code(&answer), code(&recorded));
            return;
        }
        let mut bytes = answer.payload().to_vec();
        if answer.is::<Features>() {
            let ours: Features = answer.decode().unwrap();
            let theirs: Features = recorded.decode().unwrap();
            put(
                &mut bytes,
                ours.device_id().as_bytes(),
                theirs.device_id().as_bytes(),
            );
            put(&mut bytes, ours.session_id(), theirs.session_id());
            if theirs.session_id.is_some() {
                let known = self
                    .sessions
                    .insert(theirs.session_id().to_vec(), ours.session_id().to_vec());
                assert!(known.is_none_or(|known| known == ours.session_id()));
            }
        }
        assert_eq!(hex::encode(bytes), hex::encode(payload), "{answer:?}");
    }

    fn compare_screen(&self, action: &str, screen: &[RecordedPage]) {
        let shown = self.script.take_shown();
        let [shown] = &shown[..] else {
            panic!("{shown:?} was shown where the person saw one thing");
        };
        match (action, shown) {
            ("pin", Shown::PinKeypad) | ("passphrase", Shown::PassphraseKeyboard) => {}
            ("confirm" | "reject", Shown::Question(ours)) => {
                assert_eq!(ours.title(), screen[0].title);
                let theirs: String = screen.iter().map(|page| &page.text[..]).collect();
                assert_eq!(facts(&ours.pages().collect::<String>()), facts(&theirs));
            }
            _ => panic!("{shown:?} was shown where the person did {action}"),
        }
    }
}

/// What a screen says, however its lines are broken. The firmware leaves the colon out where the
/// text before it fills a line.
fn facts(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .collect()
}

fn put(bytes: &mut [u8], ours: &[u8], theirs: &[u8]) {
    assert_eq!(ours.len(), theirs.len());
    if ours.is_empty() {
        return;
    }
    let at = bytes
        .windows(ours.len())
        .position(|window| window == ours)
        .unwrap();
    bytes[at..at + ours.len()].copy_from_slice(theirs);
}

fn act(step: &Step) -> Option<Act> {
    let Step::Person { action, value, .. } = step else {
        return None;
    };
    let text = || typed(value.as_str().unwrap());
    Some(match &action[..] {
        "confirm" => Act::Confirm,
        "reject" => Act::Reject,
        "pin" => Act::Pin(text()),
        "passphrase" => Act::Passphrase(text()),
        other => panic!("the person did {other}"),
    })
}

/// Session ids that the device already knew when the recording began.
fn live_sessions(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut live = Vec::new();
    for pair in steps.windows(2) {
        let [
            Step::Host { r#type: 0, payload },
            Step::Device {
                payload: answer, ..
            },
        ] = pair
        else {
            continue;
        };
        let asked: Initialize = Message::new(0, payload.clone()).decode().unwrap();
        let told: Features = Message::new(17, answer.clone()).decode().unwrap();
        let id = asked.session_id().to_vec();
        if asked.session_id == told.session_id && !live.contains(&id) {
            live.push(id);
        }
    }
    live
}

fn replay(name: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let steps = serde_json::from_str::<Transcript>(&text).unwrap().messages;
    let mut replay = Replay::prepare(name, &steps);
    let mut seen = None;
    for step in &steps {
        match step {
            Step::Host { r#type, payload } => replay.send(*r#type, payload),
            Step::Device { r#type, payload } => {
                replay.expect(*r#type, payload);
                // what the device says next tells that the person is done
                if let Some((action, screen)) = seen.take() {
                    replay.compare_screen(action, screen);
                }
            }
            Step::Person { action, screen, .. } => seen = Some((action, screen)),
        }
    }
    assert!(seen.is_none(), "the recording ends with the person");
}

macro_rules! replays {
    ($($test:ident $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                replay($name);
            }
        )*

        #[test]
        fn every_transcript_is_replayed() {
            let mut recorded: Vec<String> = std::fs::read_dir(folder())
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            recorded.sort_unstable();
            let mut replayed = vec![$($name),*];
            replayed.sort_unstable();
            assert_eq!(recorded, replayed);
        }
    };
}

replays! {
    address_forbidden_path "address-forbidden-path",
    address_multisig_p2sh_p2wsh "address-multisig-p2sh-p2wsh",
    address_multisig_p2wsh "address-multisig-p2wsh",
    address_quiet "address-quiet",
    address_shown_p2pkh "address-shown-p2pkh",
    address_shown_p2sh_p2wpkh "address-shown-p2sh-p2wpkh",
    address_shown_p2tr "address-shown-p2tr",
    address_shown_p2wpkh "address-shown-p2wpkh",
    apply_settings_passphrase_on "apply-settings-passphrase-on",
    approval_deploy "approval-deploy",
    approval_restore "approval-restore",
    approval_two_pages "approval-two-pages",
    cipher_bad_length "cipher-bad-length",
    cipher_decrypt_ask "cipher-decrypt-ask",
    cipher_encrypt_ask "cipher-encrypt-ask",
    cipher_encrypt_silent "cipher-encrypt-silent",
    ecdh_age_curve25519 "ecdh-age-curve25519",
    ecdh_bad_prefix "ecdh-bad-prefix",
    ecdh_gpg_curve25519 "ecdh-gpg-curve25519",
    ecdh_gpg_nist256p1 "ecdh-gpg-nist256p1",
    ecdh_point_not_on_curve "ecdh-point-not-on-curve",
    ecdh_rejected "ecdh-rejected",
    getpublickey_slip13_ed25519 "getpublickey-slip13-ed25519",
    pin_locked_features "pin-locked-features",
    pin_unlock "pin-unlock",
    pin_wrong_then_right "pin-wrong-then-right",
    ping_button "ping-button",
    reject_passphrase_screen "reject-passphrase-screen",
    session_end "session-end",
    session_resume "session-resume",
    session_unknown "session-unknown",
    sign_bcm_ed25519 "sign-bcm-ed25519",
    sign_bcm_nist256p1 "sign-bcm-nist256p1",
    sign_bcm_secp256k1 "sign-bcm-secp256k1",
    sign_gpg_ed25519 "sign-gpg-ed25519",
    sign_gpg_nist256p1 "sign-gpg-nist256p1",
    sign_https_secp256k1 "sign-https-secp256k1",
    sign_message_p2pkh "sign-message-p2pkh",
    sign_message_p2sh_p2wpkh "sign-message-p2sh-p2wpkh",
    sign_message_p2tr "sign-message-p2tr",
    sign_message_p2wpkh "sign-message-p2wpkh",
    sign_ssh_1500 "sign-ssh-1500",
    sign_ssh_ca_800 "sign-ssh-ca-800",
    sign_ssh_ed25519 "sign-ssh-ed25519",
    sign_ssh_nist256p1 "sign-ssh-nist256p1",
    sign_ssh_port_path "sign-ssh-port-path",
    sign_ssh_rejected "sign-ssh-rejected",
    sign_unknown_curve "sign-unknown-curve",
    state_no_passphrase "state-no-passphrase",
    state_ready "state-ready",
    state_uninitialized_getpublickey "state-uninitialized-getpublickey",
    state_uninitialized "state-uninitialized",
    tx_amount_lie "tx-amount-lie",
    tx_change_other_kind "tx-change-other-kind",
    tx_high_fee "tx-high-fee",
    tx_locktime "tx-locktime",
    tx_mixed_all "tx-mixed-all",
    tx_multisig_p2sh_p2wsh "tx-multisig-p2sh-p2wsh",
    tx_multisig_p2wsh "tx-multisig-p2wsh",
    tx_not_enough "tx-not-enough",
    tx_op_return "tx-op-return",
    tx_p2pkh_two "tx-p2pkh-two",
    tx_p2sh_p2wpkh "tx-p2sh-p2wpkh",
    tx_p2tr_change "tx-p2tr-change",
    tx_p2wpkh_change "tx-p2wpkh-change",
    tx_rejected_output "tx-rejected-output",
    tx_replace_p2sh_p2wpkh "tx-replace-p2sh-p2wpkh",
    tx_replace_p2tr "tx-replace-p2tr",
    tx_replace_p2wpkh "tx-replace-p2wpkh",
    tx_sweep "tx-sweep",
    tx_ten_in_twenty_out "tx-ten-in-twenty-out",
    tx_two_changes "tx-two-changes",
    tx_version_1 "tx-version-1",
    unlock_cancelled "unlock-cancelled",
    unlock_host_empty "unlock-host-empty",
    unlock_host_too_long "unlock-host-too-long",
    unlock_host_unicode "unlock-host-unicode",
    unlock_host "unlock-host",
    unlock_on_device "unlock-on-device",
    xpub_shown "xpub-shown",
}
