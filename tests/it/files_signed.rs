//! Signatures for OpenSSH, signify and minisign, made and verified in both directions.

use std::fs;
use std::process::{Command, Stdio};

use bcm_tests::{Output, PASSPHRASE, Peers, Simulator, TestEnv};

use crate::files::{damaged, file, names, session};

/// Runs a peer that has to succeed and returns its output.
#[track_caller]
fn peer(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a peer whose input is a file.
fn with_input(env: &TestEnv, program: &str, words: &[&str], input: &str) -> Command {
    let mut command = env.command(program);
    let input = fs::File::open(env.path().join(input)).unwrap();
    command.args(words).stdin(Stdio::from(input));
    command
}

fn ssh_verify(env: &TestEnv, namespace: &str) -> Command {
    let words = [
        "-Y", "verify", "-f", "allowed", "-I", "alice", "-n", namespace, "-s", "file.sig",
    ];
    with_input(env, "/usr/bin/ssh-keygen", &words, "file")
}

/// Makes a software key and a file of allowed signers.
fn ssh_keys(env: &TestEnv, kinds: &[&str]) {
    for kind in kinds {
        let words = ["-q", "-t", kind, "-N", "", "-C", kind, "-f", kind];
        peer(env.command("/usr/bin/ssh-keygen").args(words));
    }
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    assert!(output.failure(4).contains(why), "{output}");
}

#[test]
fn ssh_keygen_verifies_what_bcm_signs() {
    let env = TestEnv::new();
    env.write("file", vec![7; 3 << 20]);
    for (curve, namespace) in [("ed25519", "file"), ("nist256p1", "release@example.org")] {
        let commands = format!(
            "ssh newkey alice@node --curve {curve}; file sign --format ssh --namespace {namespace} \
             --key alice@node|{curve} --force file; file verify --namespace {namespace} file"
        );
        let signed = session(&env, &commands.replace('|', "\\|"));
        let stdout = signed.success();
        let (line, verified) = stdout.split_once('\n').unwrap();
        assert!(verified.contains("a key of this wallet"), "{verified}");
        env.write("allowed", format!("alice {line}\n"));
        let good = peer(&mut ssh_verify(&env, namespace));
        assert!(good.starts_with("Good "), "{good}");
        let other = ssh_verify(&env, "git").output().unwrap();
        assert!(!other.status.success());
    }
}

#[test]
fn bcm_verifies_what_ssh_keygen_signs_and_says_whose_it_is() {
    let env = TestEnv::new();
    env.write("file", "text");
    let kinds = ["ed25519", "ecdsa", "rsa"];
    ssh_keys(&env, &kinds);
    for kind in kinds {
        let public = fs::read_to_string(env.path().join(format!("{kind}.pub"))).unwrap();
        env.write(
            "allowed",
            format!("alice@example.org namespaces=\"file\" {public}"),
        );
        let _ = fs::remove_file(env.path().join("file.sig"));
        let words = ["-q", "-Y", "sign", "-n", "file", "-f", kind, "file"];
        peer(env.command("/usr/bin/ssh-keygen").args(words));
        let good = file(
            &env,
            ["verify", "file", "--allowed-signers", "allowed", "--json"],
        )
        .run();
        let json: serde_json::Value = serde_json::from_str(good.success()).unwrap();
        assert_eq!(json["format"], "ssh", "{good}");
        assert_eq!(json["signers"][0]["who"], "alice@example.org", "{good}");
        assert_eq!(json["signers"][0]["trust"], "trusted", "{good}");
        let key = format!("{kind}.pub");
        file(&env, ["verify", "file", "--public-key", &key])
            .run()
            .success();
    }
    let words = ["verify", "file", "--allowed-signers", "allowed"];
    let other = file(
        &env,
        words.into_iter().chain(["--signer", "bob@example.org"]),
    )
    .run();
    refused(&other, "may not sign for `bob@example.org`");
    refused(
        &file(&env, ["verify", "file"]).run(),
        "nothing says whose it is",
    );
    refused(
        &file(&env, ["verify", "file", "--public-key", "ed25519.pub"]).run(),
        "not by SHA256:",
    );
    refused(
        &file(&env, words.into_iter().chain(["--namespace", "git"])).run(),
        "for the namespace `file`, not for `git`",
    );
    let old = fs::read_to_string(env.path().join("rsa.pub")).unwrap();
    env.write("allowed", format!("alice valid-before=\"20200101Z\" {old}"));
    refused(&file(&env, words).run(), "nothing says whose it is");
    env.write("file", "texT");
    env.write("allowed", format!("alice {old}"));
    refused(&file(&env, words).run(), "BAD signature");
}

#[test]
fn a_damaged_ssh_signature_is_exit_4() {
    let env = TestEnv::new();
    env.write("file", "text");
    session(&env, "ssh newkey a@b; file sign --format ssh file").success();
    let signature = fs::read(env.path().join("file.sig")).unwrap();
    let signature = signature.trim_ascii_end();
    damaged(signature, |what, changed| {
        env.write("file.sig", changed);
        let output = file(&env, ["verify", "file"]).run();
        assert_eq!(output.code(), 4, "{what}\n{output}");
    });
}

#[test]
fn signify_and_minisign_verify_what_bcm_signs() {
    let env = TestEnv::new();
    env.write("file", "text");
    let commands = "file signify-key me -o me.pub; file sign --format signify --key me file; \
                    file sign --format signify --key me --prehash --comment 'release 1' file";
    session(&env, commands).success();
    let words = ["-V", "-p", "me.pub", "-m", "file", "-x", "file.sig"];
    let good = peer(env.command("/usr/bin/signify-openbsd").args(words));
    assert_eq!(good.trim(), "Signature Verified");
    let words = ["-V", "-p", "me.pub", "-m", "file"];
    let good = peer(env.command("/usr/bin/minisign").args(words));
    assert!(good.contains("Trusted comment: release 1"), "{good}");
    for signature in ["file.sig", "file.minisig"] {
        let words = [
            "verify",
            "file",
            signature,
            "--public-key",
            "me.pub",
            "--json",
        ];
        let verified = file(&env, words).run();
        let json: serde_json::Value = serde_json::from_str(verified.success()).unwrap();
        assert_eq!(json["format"], "signify");
    }
}

#[test]
fn bcm_verifies_what_signify_and_minisign_sign() {
    let env = TestEnv::new();
    env.write("file", vec![7; 1 << 20]);
    let keys = ["-G", "-n", "-p", "key.pub", "-s", "key.sec"];
    peer(env.command("/usr/bin/signify-openbsd").args(keys));
    let words = ["-S", "-s", "key.sec", "-m", "file", "-x", "file.sig"];
    peer(env.command("/usr/bin/signify-openbsd").args(words));
    let keys = ["-G", "-W", "-p", "mini.pub", "-s", "mini.sec"];
    peer(env.command("/usr/bin/minisign").args(keys));
    let words = ["-S", "-s", "mini.sec", "-m", "file", "-t", "told"];
    peer(env.command("/usr/bin/minisign").args(words));
    let by = |signature, key| file(&env, ["verify", "file", signature, "--public-key", key]).run();
    by("file.sig", "key.pub").success();
    let told = by("file.minisig", "mini.pub");
    assert!(told.success().contains("told"), "{told}");
    refused(&by("file.sig", "mini.pub"), "the signature is by the key");
    refused(
        &file(&env, ["verify", "file", "file.sig"]).run(),
        "whose it is",
    );
    let signature = fs::read_to_string(env.path().join("file.minisig")).unwrap();
    env.write("other", signature.replace("told", "lied"));
    refused(&by("other", "mini.pub"), "trusted comment");
    env.write("file", vec![8; 1 << 20]);
    refused(&by("file.sig", "key.pub"), "BAD signature");
    refused(&by("file.minisig", "mini.pub"), "BAD signature");
}

#[test]
fn keys_and_signatures_are_those_of_trezor_signify() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    env.write("file", "text");
    let trezor = |words: &[&str]| {
        let mut command = Peers::ready().command(&env, "trezor-signify");
        command.args(words).env("TREZOR_PASSPHRASE", PASSPHRASE);
        command.env("TREZOR_PATH", simulator.udp());
        command
    };
    let name = "Satoshi <s@example.org>";
    let theirs = peer(&mut trezor(&["pubkey", name]));
    let bcm = |words: &[&str]| {
        env.bcm(words.iter().copied())
            .device(&simulator.udp())
            .passphrase(PASSPHRASE)
            .run()
    };
    let ours = bcm(&["file", "signify-key", name]);
    assert_eq!(ours.success().lines().nth(1), theirs.lines().nth(1));
    for flags in [
        &["sign", name, "-c", "told"][..],
        &["sign", name, "-H", "-c", "told"],
    ] {
        let mut command = trezor(flags);
        command.stdin(fs::File::open(env.path().join("file")).unwrap());
        env.write("theirs.sig", peer(&mut command));
        let words = ["file", "verify", "file", "theirs.sig", "--signer", name];
        let verified = bcm(&words);
        assert!(verified.success().contains("told"), "{verified}");
    }
}

#[test]
fn what_the_device_cannot_sign_as_it_is_wants_prehash() {
    let env = TestEnv::new();
    env.write("work/file", vec![7; 4097]);
    let words = ["sign", "--format", "signify", "--key", "me", "work/file"];
    let refused = file(&env, words).run();
    refused.failure(2);
    assert!(refused.hint().unwrap().contains("--prehash"), "{refused}");
    assert_eq!(names(&env.path().join("work")), ["file"]);
    env.write("work/file", vec![7; 4096]);
    file(&env, words).run().success();
}

#[test]
fn flags_of_another_format_are_usage_errors() {
    let env = TestEnv::new();
    env.write("file", "text");
    for words in [
        &["sign", "--format", "age", "file"][..],
        &["sign", "--format", "ssh", "--clear", "file"],
        &["sign", "--format", "ssh", "--prehash", "file"],
        &["sign", "--namespace", "git", "file"],
        &["sign", "--detached", "--clear", "file"],
        &["sign", "--format", "signify", "file"],
        &[
            "sign",
            "--format",
            "signify",
            "--key",
            "me",
            "--comment",
            "x",
            "file",
        ],
        &["sign", "--format", "pdf", "file"],
        &["encrypt", "--format", "ssh", "file"],
        &["encrypt", "--format", "age", "-r", "age1nonsense", "file"],
        &["encrypt", "--format", "age", "-R", "file", "file"],
        &["encrypt", "--format", "age", "--no-self", "file"],
        &["decrypt", "file"],
    ] {
        let output = file(&env, words.iter().copied()).run();
        output.failure(2);
        assert!(output.hint().is_some(), "{output}");
    }
    assert!(!env.path().join("file.sig").exists());
}
