//! What opens a wallet, and what does not.

use bcm_keystore::device::Message;
use bcm_tests::{FakeDevice, PASSPHRASE, Simulator, TestEnv};
use expect_test::expect;
use trezor_client::protos::failure::FailureType;
use trezor_client::protos::{Failure, Features, GetPublicKey};

fn features() -> Features {
    let mut features = Features::new();
    features.set_vendor("trezor.io".into());
    features.set_model("T".into());
    features.set_fw_vendor("EMULATOR".into());
    features.set_major_version(2);
    features.set_minor_version(12);
    features.set_patch_version(4);
    features.set_initialized(true);
    features.set_passphrase_protection(true);
    features.set_pin_protection(true);
    features.set_unlocked(false);
    features.set_session_id(vec![7; 32]);
    features
}

#[test]
fn an_unlocked_shell_shows_what_it_is_unlocked_with() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let output = env
        .bcm(["info"])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    let info = output.success();
    for fact in ["SIMULATED", "regtest", &simulator.udp()] {
        assert!(
            info.contains(fact) || output.stderr.contains(fact),
            "{fact}: {output}"
        );
    }
}

#[test]
fn the_passphrase_is_typed_on_the_device_by_default() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let words = ["ssh", "newkey", "satoshi@bitcoin.org"];
    let on_device = env.bcm(words).device(&simulator.udp()).run();
    let on_host = env
        .bcm(words)
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    assert_eq!(on_device.success(), on_host.success());
}

#[test]
fn a_mistyped_passphrase_is_a_wallet_never_seen_before() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let unlock = |passphrase: &str| {
        let output = env
            .bcm(["info"])
            .device(&simulator.udp())
            .passphrase(passphrase)
            .run();
        output.success();
        output.stderr
    };
    let first = unlock(PASSPHRASE);
    let again = unlock(PASSPHRASE);
    let mistyped = unlock("bcm tset");
    assert!(first.contains("new to this computer"), "{first}");
    assert!(!again.contains("new to this computer"), "{again}");
    assert!(mistyped.contains("new to this computer"), "{mistyped}");
}

#[test]
fn an_empty_passphrase_is_refused_on_the_host() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    for empty in ["", "\n"] {
        let output = env
            .bcm(["info"])
            .device(&simulator.udp())
            .passphrase(empty)
            .run();
        output.failure(2);
        let what = if empty.is_empty() {
            "at its end"
        } else {
            "empty"
        };
        assert!(output.error().unwrap().contains(what), "{output}");
    }
    assert!(!env.state().join("wallets").exists());
}

#[test]
fn an_empty_passphrase_is_refused_on_the_device() {
    let env = TestEnv::new();
    let simulator = Simulator::with_typed(&env, "");
    let output = env.bcm(["info"]).device(&simulator.udp()).run();
    output.failure(3);
    assert!(
        output.error().unwrap().contains("standard wallet"),
        "{output}"
    );
    assert!(!env.state().join("wallets").exists());
}

#[test]
fn a_passphrase_of_50_bytes_is_the_longest() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let unlock = |passphrase: String| {
        env.bcm(["info"])
            .device(&simulator.udp())
            .passphrase(passphrase)
            .run()
    };
    unlock("p".repeat(50)).success();
    // Each of these 26 is two bytes long, and three in NFKD form.
    for long in ["p".repeat(51), "é".repeat(26), "p".repeat(1 << 20)] {
        let output = unlock(long);
        output.failure(2);
        assert!(output.error().unwrap().contains("at most 50"), "{output}");
    }
}

#[test]
fn a_passphrase_that_is_no_text_is_refused() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    for (bytes, why) in [
        (&b"caf\xe9"[..], "not UTF-8"),
        (b"one\x07two", "control character"),
        (b"one\x00two", "control character"),
    ] {
        let output = env
            .bcm(["info"])
            .device(&simulator.udp())
            .passphrase(bytes)
            .run();
        output.failure(2);
        assert!(output.error().unwrap().contains(why), "{output}");
    }
}

#[test]
fn a_passphrase_is_normalised_as_the_device_and_other_wallets_do() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let key = |passphrase: &str| {
        let output = env
            .bcm(["ssh", "newkey", "alice@node-1"])
            .device(&simulator.udp())
            .passphrase(passphrase)
            .run();
        output.success().to_owned()
    };
    assert_eq!(key("caf\u{e9}"), key("cafe\u{301}"));
    assert_ne!(key("caf\u{e9}"), key("cafe"));
}

#[test]
fn a_closed_passphrase_descriptor_is_named() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let output = env
        .bcm(["info"])
        .device(&simulator.udp())
        .flag("--passphrase-fd")
        .flag("77")
        .run();
    output.failure(2);
    assert!(
        output.hint().unwrap().contains("--passphrase-fd"),
        "{output}"
    );
}

#[test]
fn a_device_without_passphrase_protection_is_refused_with_the_remedy() {
    let env = TestEnv::new();
    let simulator = Simulator::start_with(&env, ["--no-passphrase-protection"]);
    let device = simulator.udp();
    let output = env
        .bcm(["info"])
        .device(&device)
        .passphrase(PASSPHRASE)
        .run();
    let expected = expect![[r#"
        error: passphrase protection is off on this device
        hint: run `bcm device enable-passphrase` and confirm on the device
    "#]];
    expected.assert_eq(output.failure(3));

    // The remedy, as it is written there, works.
    env.bcm(["device", "enable-passphrase"])
        .device(&device)
        .run()
        .success();
    let output = env
        .bcm(["info"])
        .device(&device)
        .passphrase(PASSPHRASE)
        .run();
    output.success();
}

#[test]
fn enabling_the_passphrase_can_be_declined_on_the_device() {
    let env = TestEnv::new();
    let flags = ["--no-passphrase-protection", "--confirm", "deny"];
    let simulator = Simulator::start_with(&env, flags);
    let device = simulator.udp();
    let output = env
        .bcm(["device", "enable-passphrase"])
        .device(&device)
        .run();
    output.failure(3);
    assert!(output.error().unwrap().contains("declined"), "{output}");
    let output = env
        .bcm(["info"])
        .device(&device)
        .passphrase(PASSPHRASE)
        .run();
    assert!(output.failure(3).contains("passphrase protection is off"));
}

#[test]
fn a_wrong_pin_is_refused() {
    let env = TestEnv::new();
    let device = FakeDevice::messages(|request| {
        if request.is::<GetPublicKey>() {
            let mut failure = Failure::new();
            failure.set_code(FailureType::Failure_PinInvalid);
            failure.set_message("PIN invalid".into());
            return vec![Message::encode(&failure)];
        }
        vec![Message::encode(&features())]
    });
    let output = env
        .bcm(["info"])
        .device(&device.device())
        .passphrase(PASSPHRASE)
        .run();
    let stderr = output.failure(3);
    assert_eq!(output.error(), Some("wrong PIN"), "{stderr}");
}

#[test]
fn an_uninitialised_device_is_refused() {
    let env = TestEnv::new();
    let mut features = features();
    features.set_initialized(false);
    let device = FakeDevice::with_features(&features);
    let output = env
        .bcm(["info"])
        .device(&device.device())
        .passphrase(PASSPHRASE)
        .run();
    let expected = expect![[r#"
        error: the device is not initialised
        hint: create or recover a wallet on it with Trezor Suite first
    "#]];
    expected.assert_eq(output.failure(3));
}

#[test]
fn a_device_in_bootloader_mode_is_refused() {
    let env = TestEnv::new();
    let mut features = features();
    features.set_bootloader_mode(true);
    let device = FakeDevice::with_features(&features);
    let output = env
        .bcm(["info"])
        .device(&device.device())
        .passphrase(PASSPHRASE)
        .run();
    let expected = expect![[r#"
        error: the device is in bootloader mode
        hint: unplug it and connect it again without touching the screen
    "#]];
    expected.assert_eq(output.failure(3));
}

#[test]
fn a_simulated_device_refuses_mainnet() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    env.bcm(["config", "set", "chain=mainnet"]).run().success();
    for device in [&simulator.udp(), &simulator.bridge(), "simulator"] {
        let output = env
            .bcm(["info"])
            .device(device)
            .passphrase(PASSPHRASE)
            .run();
        output.failure(1);
        assert!(output.error().unwrap().contains("mainnet"), "{output}");
    }
    env.bcm(["config", "set", "chain=regtest"]).run().success();
    let output = env
        .bcm(["config", "set", "chain=mainnet"])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    output.success();
    let output = env
        .bcm([])
        .flag("-c")
        .flag("config set chain=regtest; info; config set chain=mainnet")
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    assert_eq!(output.code(), 1, "{output}");
    assert!(output.error().unwrap().contains("mainnet"), "{output}");
    let output = env.bcm(["config", "get", "chain"]).run();
    assert_eq!(output.success().trim_end(), "regtest");
}

#[test]
fn an_absent_device_is_named_with_every_way_that_was_tried() {
    let env = TestEnv::new();
    let output = env.bcm(["device", "info"]).device("udp:127.0.0.1:1").run();
    output.failure(3);
    assert!(
        output.error().unwrap().contains("udp:127.0.0.1:1"),
        "{output}"
    );
    let output = env
        .bcm(["device", "info"])
        .device("bridge:http://127.0.0.1:1")
        .run();
    output.failure(3);
    assert!(output.error().unwrap().contains("127.0.0.1:1"), "{output}");
}

#[test]
fn a_silent_port_costs_at_most_half_a_second() {
    let env = TestEnv::new();
    let silent = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let device = format!("udp:{}", silent.local_addr().unwrap());
    let output = env.bcm(["device", "info"]).device(&device).run();
    output.failure(3);
    // Half a second for the device, and what it takes to start a debug build on a busy machine.
    assert!(output.elapsed.as_millis() < 1500, "{:?}", output.elapsed);
}
