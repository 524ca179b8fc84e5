//! What a person can type wrongly.

use bcm_tests::{PASSPHRASE, Simulator, TestEnv};

#[test]
fn malformed_identities_are_refused_by_name() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    for identity in [
        "",
        "@",
        "@node-1",
        "alice@",
        "a@b@c",
        "alice@node/1",
        "alice/x@node-1",
        "gpg://alice@node-1",
        "alice@node-1:",
        "alice@node-1:0",
        "alice@node-1:65536",
        "alice@node-1:22:22",
        "alice@node 1",
        "alice@node\u{1b}[2J",
        "alice@-oProxyCommand=x",
        "-oProxyCommand=x@node-1",
    ] {
        let output = env
            .bcm(["ssh", "newkey", "--", identity])
            .device(&simulator.udp())
            .passphrase(PASSPHRASE)
            .run();
        output.failure(2);
        assert!(!output.stderr.contains('\u{1b}'), "{output}");
    }
}

#[test]
fn an_identity_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let env = TestEnv::new();
    let word = std::ffi::OsStr::from_bytes(b"alice@n\xffde");
    let output = env
        .bcm(["ssh", "newkey"])
        .word(word)
        .device("simulator")
        .passphrase(PASSPHRASE)
        .run();
    output.failure(2);
}

#[test]
fn a_user_who_would_share_the_key_of_another_is_refused() {
    // trezor-agent writes both as `jurgen`: one key for two users.
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let output = env
        .bcm(["ssh", "newkey", "j\u{fc}rgen@node-1"])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    output.failure(2);
    assert!(output.error().unwrap().contains("U+00FC"), "{output}");
}

#[test]
fn unknown_words_are_usage_errors() {
    let env = TestEnv::new();
    for words in [
        &["nonsense"][..],
        &["ssh"],
        &["ssh", "nonsense"],
        &["ssh", "newkey"],
        &["ssh", "newkey", "alice@node-1", "--curve", "secp256k1"],
        &["config", "set", "chain"],
        &["config", "set", "chain=testnet3"],
        &["info", "extra"],
        &["--nonsense"],
    ] {
        let output = env.bcm(words.iter().copied()).run();
        output.failure(2);
        assert!(output.hint().is_some(), "{output}");
    }
    for device in ["nonsense", "udp:", "udp:nowhere", "bridge:ftp://x", "usb:1"] {
        env.bcm(["device", "info"]).device(device).run().failure(2);
    }
}

#[test]
fn no_flag_and_no_variable_takes_a_secret() {
    let env = TestEnv::new();
    for flag in [
        "--passphrase",
        "--passphrase=x",
        "--pin=1",
        "--mnemonic=all",
    ] {
        env.bcm(["info"]).flag(flag).run().failure(2);
    }
    let output = env
        .bcm(["info"])
        .device("simulator")
        .env("BCM_PASSPHRASE", PASSPHRASE)
        .env("PASSPHRASE", PASSPHRASE)
        .flag("--passphrase-on")
        .flag("host")
        .run();
    assert_ne!(output.code(), 0, "{output}");
}

#[test]
fn a_script_stops_at_the_first_failure_and_names_the_line() {
    let env = TestEnv::new();
    let script = env.write(
        "script",
        "config set chain=regtest\nnonsense\nconfig set chain=signet\n",
    );
    let output = env
        .bcm([])
        .flag("--script")
        .flag(script)
        .device("simulator")
        .run();
    assert_eq!(output.code(), 2, "{output}");
    assert!(output.error().unwrap().contains(":2"), "{output}");
    let chain = env.bcm(["config", "get", "chain"]).run();
    assert_eq!(chain.success().trim_end(), "regtest");
}

#[test]
fn a_script_that_is_missing_or_no_text_is_named() {
    let env = TestEnv::new();
    let binary = env.write("binary", b"info\n\xff\xfe\n");
    for script in [env.path().join("none"), binary] {
        let output = env
            .bcm([])
            .flag("--script")
            .flag(&script)
            .device("simulator")
            .run();
        assert_ne!(output.code(), 0);
        let name = script.to_string_lossy().into_owned();
        assert!(output.error().unwrap().contains(&name), "{output}");
    }
}

#[test]
fn a_closed_stdout_is_no_crash() {
    let env = TestEnv::new();
    let bcm = env.bcm(["help"]);
    let mut running = bcm.spawn_with(std::process::Stdio::piped());
    running.input("");
    assert!(!running.wait().stderr.contains("panicked"));
}
