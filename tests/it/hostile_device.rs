//! Whatever answers in place of a device: a clear error, no panic, no endless wait.

use std::time::Duration;

use bcm_tests::{FakeBridge, FakeDevice, Output, TestEnv};
use trezor_client::protos::Features;

fn look_at(device: &str) -> (TestEnv, Output) {
    let env = TestEnv::new();
    let output = env.bcm(["device", "info"]).device(device).run();
    (env, output)
}

#[track_caller]
fn refused(device: &str) -> Output {
    let (env, output) = look_at(device);
    output.failure(3);
    assert!(output.elapsed < Duration::from_secs(8), "{output}");
    let written = crate::support::files(&env.state());
    assert!(written.is_empty(), "{written:?}");
    output
}

fn packet(head: &[u8]) -> Vec<u8> {
    let mut packet = head.to_vec();
    packet.resize(64, 0);
    packet
}

/// The first packet of a Features message that claims this length.
fn claims(length: u32) -> Vec<u8> {
    packet(&[b"?##\x00\x11", &length.to_be_bytes()[..]].concat())
}

#[test]
fn a_peer_that_sends_rubbish_is_named() {
    for rubbish in [
        vec![b"PONGPONG".to_vec()],
        vec![Vec::new()],
        vec![vec![0xff; 64]],
        vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()],
        vec![vec![b'?'; 2000]],
    ] {
        let device = FakeDevice::packets(move |_| rubbish.clone());
        refused(&device.device());
    }
}

#[test]
fn a_message_with_the_wrong_magic_is_refused() {
    let device = FakeDevice::packets(|_| vec![packet(b"?#!\x00\x11\x00\x00\x00\x00")]);
    let output = refused(&device.device());
    assert!(output.error().unwrap().contains("Trezor"), "{output}");
}

#[test]
fn an_oversized_message_is_refused_before_it_is_read() {
    for length in [(1 << 20) + 1, u32::MAX] {
        let device = FakeDevice::packets(move |_| vec![claims(length)]);
        refused(&device.device());
    }
}

#[test]
fn a_truncated_message_does_not_hang() {
    let device = FakeDevice::packets(|_| vec![claims(500)]);
    refused(&device.device());
}

#[test]
fn a_message_that_is_no_protobuf_is_refused() {
    let device = FakeDevice::packets(|_| vec![packet(b"?##\x00\x11\x00\x00\x00\x03\xff\xff\xff")]);
    refused(&device.device());
}

#[test]
fn a_message_of_an_unknown_type_is_refused() {
    let device = FakeDevice::packets(|_| vec![packet(b"?##\xff\xfe\x00\x00\x00\x00")]);
    refused(&device.device());
}

#[test]
fn a_bridge_that_answers_500_is_quoted() {
    let bridge = FakeBridge::start(|_| (500, "out of \u{1b}[2Jcheese".into()));
    let output = refused(&bridge.device());
    assert!(output.error().unwrap().contains("500"), "{output}");
    assert!(!output.stderr.contains('\u{1b}'), "{output}");
}

#[test]
fn a_bridge_that_answers_rubbish_is_refused() {
    for rubbish in ["", "<html>", "{}", "[{\"path\":1}]", "null", "[[[[[["] {
        let bridge = FakeBridge::start(move |_| (200, rubbish.into()));
        refused(&bridge.device());
    }
}

#[test]
fn a_bridge_whose_device_answers_rubbish_is_refused() {
    for rubbish in ["", "zz", "0011", "0011ffffffff00", "001100000002ff"] {
        let bridge = FakeBridge::start(move |path| {
            let answer = match path.split('/').nth(1) {
                Some("enumerate") => {
                    r#"[{"path":"1","vendor":4617,"product":21441,"debug":false,"session":null,"debugSession":null}]"#
                }
                Some("acquire") => r#"{"session":"1"}"#,
                Some("call" | "read") => rubbish,
                _ => "{\"version\":\"2.0.33\"}",
            };
            (200, answer.into())
        });
        refused(&bridge.device());
    }
}

#[test]
fn a_bridge_without_a_device_says_so() {
    let bridge = FakeBridge::start(|_| (200, "[]".into()));
    let output = refused(&bridge.device());
    assert!(output.hint().is_some(), "{output}");
}

#[test]
fn a_label_cannot_repaint_the_terminal() {
    let mut features = Features::new();
    features.set_vendor("trezor.io".into());
    features.set_major_version(2);
    features.set_minor_version(12);
    features.set_patch_version(4);
    features.set_fw_vendor("EMULATOR".into());
    features.set_model("T\u{1b}]0;owned\u{7}".into());
    features.set_label("\u{1b}[2J\u{202e}safe\nerror: none\u{9b}31m".into());
    features.set_initialized(true);
    let device = FakeDevice::with_features(&features);
    let (_, output) = look_at(&device.device());
    let shown = output.success();
    for bad in ['\u{1b}', '\u{202e}', '\u{9b}', '\u{7}'] {
        assert!(!shown.contains(bad), "{shown:?}");
    }
    assert!(
        !shown.lines().any(|line| line.starts_with("error:")),
        "{shown}"
    );
}
