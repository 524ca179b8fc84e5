//! The configuration file, by hand and by command.

use std::fs;

use bcm_tests::{Output, TestEnv};
use expect_test::expect;

fn config(env: &TestEnv, words: &[&str]) -> Output {
    env.bcm(["config"].iter().chain(words).copied()).run()
}

#[test]
fn what_is_set_is_got_and_unset_again() {
    let env = TestEnv::new();
    config(&env, &["set", "chain=signet"]).success();
    assert_eq!(config(&env, &["get", "chain"]).success(), "signet\n");
    config(&env, &["unset", "chain"]).success();
    assert_ne!(config(&env, &["get", "chain"]).stdout, "signet\n");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    let env = TestEnv::new();
    let output = config(&env, &["set", "chian=regtest"]);
    let stderr = output.failure(2);
    assert!(
        stderr.contains("`chian`") && stderr.contains("`chain`"),
        "{stderr}"
    );
    assert!(!env.state().join("config.toml").exists());

    env.write("state/config.toml", "chian = \"regtest\"\n");
    let output = env.bcm(["config", "list"]).run();
    output.failure(1);
    let stderr = &output.stderr;
    assert!(
        stderr.contains("chian") && stderr.contains("config.toml"),
        "{output}"
    );
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    for damaged in [
        &b"chain = \"regtest\"\nchain = \"signet\"\n"[..],
        b"chain = \"moon\"\n",
        b"chain = 7\n",
        b"chain = \"regtest\n",
        b"\xff\xfe\x00",
        b"[chain]\n",
    ] {
        let env = TestEnv::new();
        let path = env.write("state/config.toml", damaged);
        for words in [&["list"][..], &["set", "chain=regtest"]] {
            let output = config(&env, words);
            output.failure(1);
            assert!(output.stderr.contains("config.toml"), "{output}");
        }
        assert_eq!(fs::read(path).unwrap(), damaged);
    }
}

#[test]
fn a_value_that_is_no_chain_is_refused_with_those_there_are() {
    let env = TestEnv::new();
    let output = config(&env, &["set", "chain=testnet"]);
    let stderr = output.failure(2);
    assert!(
        stderr.contains("testnet4") && stderr.contains("regtest"),
        "{stderr}"
    );
}

#[test]
fn the_list_can_be_read_by_a_program() {
    let env = TestEnv::new();
    config(&env, &["set", "chain=signet"]).success();
    let output = config(&env, &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(output.success()).unwrap();
    assert!(list.to_string().contains("signet"), "{list}");
}

#[test]
fn the_stacks_are_listed_without_a_device() {
    let env = TestEnv::new();
    let output = env.bcm(["stack", "list"]).run();
    let list = output.success();
    for name in ["tor", "bitcoind", "ridethelightning", "liquid"] {
        assert!(list.contains(name), "{list}");
    }
    let output = env.bcm(["stack", "list", "--json"]).run();
    let list: serde_json::Value = serde_json::from_str(output.success()).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(14));
}

#[test]
fn the_version_is_one_line_of_data() {
    let env = TestEnv::new();
    let output = env.bcm(["--version"]).run();
    expect![[r#"
        bcm 0.1.0
    "#]]
    .assert_eq(output.success());
    assert_eq!(output.stderr, "");
}
