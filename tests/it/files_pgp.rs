//! Files for GnuPG and from GnuPG, with Sequoia's `sq` as the second opinion.

use std::fs;
use std::process::{Command, Output as PeerOutput};

use bcm_tests::{Output, TestEnv};

use crate::files::{damaged, file, names, session};

const OURS: &str = "Satoshi <satoshi@example.org>";
const PEER: &str = "Peer <peer@example.org>";

/// GnuPG with a home of its own; its agent ends with it.
struct Gnupg<'a>(&'a TestEnv);

impl<'a> Gnupg<'a> {
    fn new(env: &'a TestEnv) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let home = env.home().join(".gnupg");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        Self(env)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.0.command("/usr/bin/gpg");
        command.args(["--batch", "--yes", "--trust-model", "always"]);
        command.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
        command.args(words);
        command
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> PeerOutput {
        let output = self.command(words).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {words:?}\n{stderr}");
        output
    }

    /// Makes a key that signs, and unless `usage` says otherwise, one that encrypts.
    fn key(&self, user_id: &str, usage: &str) {
        let algorithm = if usage == "sign" {
            "ed25519"
        } else {
            "future-default"
        };
        self.run(&["--quick-gen-key", user_id, algorithm, usage, "never"]);
    }

    fn export(&self, user_id: &str, path: &str) {
        self.run(&["--export", "--armor", "--output", path, user_id]);
    }
}

impl Drop for Gnupg<'_> {
    fn drop(&mut self) {
        let _ = self
            .0
            .command("/usr/bin/gpgconf")
            .args(["--kill", "all"])
            .output();
    }
}

/// Makes a certificate on the device and gives it to GnuPG.
#[track_caller]
fn init(env: &TestEnv, gnupg: &Gnupg<'_>, curve: &str) {
    let commands =
        format!("pgp init --user-id '{OURS}' --curve {curve}; pgp export -o cert.asc --force");
    session(env, &commands).success();
    gnupg.run(&["--import", "cert.asc"]);
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    assert!(output.failure(4).contains(why), "{output}");
}

fn gpg_verifies_every_mode(curve: &str) {
    let env = TestEnv::new();
    let gnupg = Gnupg::new(&env);
    init(&env, &gnupg, curve);
    let text = "some text \nwith blanks at its ends\t\n- and a dash\nFrom me";
    env.write("text", text);
    env.write(
        "bytes",
        (0..=255).cycle().take(300_000).collect::<Vec<u8>>(),
    );
    let commands = "file sign bytes; file sign --binary bytes; \
                    file sign --text text; file sign --text --binary text; \
                    file sign --inline bytes; file sign --inline --armor bytes -o inline.asc; \
                    file sign --clear text -o clear.asc";
    session(&env, commands).success();
    for (signature, data) in [
        ("bytes.asc", "bytes"),
        ("bytes.sig", "bytes"),
        ("text.asc", "text"),
        ("text.sig", "text"),
    ] {
        gnupg.run(&["--verify", signature, data]);
        let mut sq = env.command("/usr/bin/sq");
        sq.args([
            "verify",
            "--signer-cert",
            "cert.asc",
            "--detached",
            signature,
            data,
        ]);
        let output = sq.output().unwrap();
        assert!(output.status.success(), "{signature}: {output:?}");
    }
    for message in ["bytes.gpg", "inline.asc"] {
        gnupg.run(&["--output", "opened", "--decrypt", message]);
        let same = fs::read(env.path().join("opened")).unwrap()
            == fs::read(env.path().join("bytes")).unwrap();
        assert!(same, "{message}");
    }
    gnupg.run(&["--verify", "clear.asc"]);
    let verified = session(
        &env,
        "file verify bytes bytes.sig; file verify text text.asc; file verify bytes.gpg -o again; \
         file verify inline.asc; file verify clear.asc",
    );
    let good = verified.success().matches("a key of this wallet").count();
    assert_eq!(good, 5, "{verified}");
    let same =
        fs::read(env.path().join("again")).unwrap() == fs::read(env.path().join("bytes")).unwrap();
    assert!(same);
}

#[test]
fn gpg_verifies_every_mode_on_ed25519() {
    gpg_verifies_every_mode("ed25519");
}

#[test]
fn gpg_verifies_every_mode_on_nist256p1() {
    gpg_verifies_every_mode("nist256p1");
}

#[test]
fn gpg_and_bcm_open_what_the_other_encrypts_on_ed25519() {
    each_opens_what_the_other_encrypts("ed25519");
}

#[test]
fn gpg_and_bcm_open_what_the_other_encrypts_on_nist256p1() {
    each_opens_what_the_other_encrypts("nist256p1");
}

fn each_opens_what_the_other_encrypts(curve: &str) {
    let env = TestEnv::new();
    let gnupg = Gnupg::new(&env);
    gnupg.key(PEER, "default");
    gnupg.export(PEER, "peer.asc");
    env.write("file", vec![7; 2 << 20]);
    let opened = || fs::read(env.path().join("opened")).unwrap() == vec![7; 2 << 20];
    init(&env, &gnupg, curve);
    for words in [&["--armor"][..], &["-z", "0"]] {
        let to = ["--encrypt", "-r", OURS, "-o", "file.gpg"];
        gnupg.run(&[words, &to, &["file"]].concat());
        let words = ["decrypt", "file.gpg", "-o", "opened", "--force"];
        let decrypted = file(&env, words).run();
        decrypted.success();
        assert_eq!(decrypted.stderr.matches("decrypt a message").count(), 1);
        assert!(opened());
    }
    let encrypt = "file encrypt -r peer.asc --force file; file decrypt file.gpg -o opened --force";
    let encrypted = session(&env, encrypt);
    encrypted.success();
    assert!(
        encrypted.stderr.contains("nobody has compared"),
        "{encrypted}"
    );
    assert!(opened());
    fs::remove_file(env.path().join("opened")).unwrap();
    gnupg.run(&["-o", "opened", "--decrypt", "file.gpg"]);
    assert!(opened());
    // who wrote it is said with the content
    session(&env, "pgp import peer.asc").success();
    gnupg.run(&[
        "--sign",
        "--encrypt",
        "-u",
        PEER,
        "-r",
        OURS,
        "-o",
        "file.gpg",
        "file",
    ]);
    let words = ["decrypt", "file.gpg", "-o", "opened", "--force", "--json"];
    let decrypted = file(&env, words).run();
    let json: serde_json::Value = serde_json::from_str(decrypted.success()).unwrap();
    assert_eq!(json["signers"][0]["who"], PEER);
    assert_eq!(json["signers"][0]["trust"], "unmarked");
}

#[test]
fn a_signature_says_who_when_and_whether_the_key_is_trusted() {
    let env = TestEnv::new();
    let gnupg = Gnupg::new(&env);
    gnupg.key(PEER, "default");
    gnupg.export(PEER, "peer.asc");
    env.write("file", "text");
    gnupg.run(&["-u", PEER, "--armor", "--detach-sign", "file"]);
    refused(&file(&env, ["verify", "file"]).run(), "not known");
    session(&env, "pgp import peer.asc").success();
    let unmarked = file(&env, ["verify", "file"]).run();
    let stdout = unmarked.success();
    for told in [PEER, "made  20", "file.asc", "NOT marked as trusted"] {
        assert!(stdout.contains(told), "{told}\n{unmarked}");
    }
    let json = file(&env, ["verify", "file.asc", "--json"]).run();
    let json: serde_json::Value = serde_json::from_str(json.success()).unwrap();
    let fingerprint = json["signers"][0]["key"].as_str().unwrap();
    assert_eq!(json["signers"][0]["trust"], "unmarked");
    session(
        &env,
        &format!("pgp trust peer@example.org --fingerprint {fingerprint}"),
    )
    .success();
    for signer in [PEER, "peer@example.org", fingerprint] {
        let trusted = file(&env, ["verify", "file", "--signer", signer]).run();
        assert!(
            trusted.success().contains("you vouch for the key"),
            "{trusted}"
        );
    }
    let other = file(&env, ["verify", "file", "--signer", "satoshi@example.org"]).run();
    refused(&other, "not by `satoshi@example.org`");
    for words in [&["--clearsign"][..], &["--sign"], &["--sign", "--armor"]] {
        let make = [&["-u", PEER, "-o", "message"][..], words, &["file"]].concat();
        gnupg.run(&make);
        let words = ["verify", "message", "-o", "opened", "--force"];
        assert!(file(&env, words).run().success().contains(PEER));
        let opened = fs::read_to_string(env.path().join("opened")).unwrap();
        assert_eq!(opened.trim_end(), "text");
    }
    env.write("file", "texT");
    refused(&file(&env, ["verify", "file"]).run(), "BAD signature");
    fs::remove_file(env.path().join("file.asc")).unwrap();
    refused(
        &file(&env, ["verify", "file"]).run(),
        "there is no signature",
    );
}

#[test]
fn a_damaged_message_is_exit_4_and_leaves_no_plaintext() {
    let env = TestEnv::new();
    env.write("file", vec![7; 100_000]);
    fs::create_dir(env.path().join("work")).unwrap();
    let made = format!("pgp init --user-id '{OURS}'; file encrypt file");
    session(&env, &made).success();
    let encrypted = fs::read(env.path().join("file.gpg")).unwrap();
    damaged(&encrypted, |what, changed| {
        env.write("file.gpg", changed);
        let output = file(&env, ["decrypt", "file.gpg", "-o", "work/opened"]).run();
        assert_eq!(output.code(), 4, "{what}\n{output}");
        assert_eq!(names(&env.path().join("work")), Vec::<String>::new());
    });
}

#[test]
fn a_damaged_signature_or_signed_message_is_exit_4() {
    let env = TestEnv::new();
    env.write("file", vec![7; 5000]);
    fs::create_dir(env.path().join("work")).unwrap();
    let made =
        format!("pgp init --user-id '{OURS}'; file sign --binary file; file sign --inline file");
    session(&env, &made).success();
    let signature = fs::read(env.path().join("file.sig")).unwrap();
    damaged(&signature, |what, changed| {
        env.write("bad.sig", changed);
        let output = file(&env, ["verify", "file", "bad.sig"]).run();
        assert_eq!(output.code(), 4, "{what}\n{output}");
    });
    let message = fs::read(env.path().join("file.gpg")).unwrap();
    damaged(&message, |what, changed| {
        env.write("bad.gpg", changed);
        let output = file(&env, ["verify", "bad.gpg", "-o", "work/opened"]).run();
        assert_eq!(output.code(), 4, "{what}\n{output}");
        assert_eq!(names(&env.path().join("work")), Vec::<String>::new());
    });
}

#[test]
fn an_expired_or_revoked_certificate_is_exit_4_and_nothing_is_encrypted_to_it() {
    let env = TestEnv::new();
    let gnupg = Gnupg::new(&env);
    fs::create_dir(env.path().join("work")).unwrap();
    env.write("file", "text");
    let old = "Old <old@example.org>";
    let then = ["--faked-system-time", "20200101T000000"];
    gnupg.run(
        &[
            &then[..],
            &["--quick-gen-key", old, "future-default", "default", "1y"],
        ]
        .concat(),
    );
    gnupg.run(
        &[
            &then[..],
            &["-u", old, "-o", "old.sig", "--detach-sign", "file"],
        ]
        .concat(),
    );
    gnupg.export(old, "old.asc");
    gnupg.key("Signer <signer@example.org>", "sign");
    gnupg.export("signer@example.org", "signer.asc");
    let made = format!(
        "pgp init --user-id '{OURS}'; pgp import old.asc; file sign file; \
         pgp revoke satoshi@example.org --reason compromised -o revocation.asc"
    );
    session(&env, &made).success();
    refused(
        &file(&env, ["verify", "file", "old.sig"]).run(),
        "expired on 20",
    );
    for (recipient, why) in [
        ("old@example.org", "expired on 20"),
        ("old.asc", "expired on 20"),
        ("signer.asc", "no key to encrypt to"),
        ("nobody@example.org", "no certificate"),
        ("file", "holds no OpenPGP certificate"),
    ] {
        let words = ["encrypt", "-r", recipient, "file", "-o", "work/out"];
        let output = file(&env, words).run();
        assert_ne!(output.code(), 0, "{output}");
        assert!(output.stderr.contains(why), "{output}");
        assert!(output.hint().is_some(), "{output}");
    }
    file(&env, ["verify", "file", "file.asc"]).run().success();
    session(&env, "pgp import revocation.asc").success();
    refused(
        &file(&env, ["verify", "file", "file.asc"]).run(),
        "is revoked",
    );
    let words = ["encrypt", "file", "-o", "work/out"];
    assert!(file(&env, words).run().stderr.contains("is revoked"));
    assert_eq!(names(&env.path().join("work")), Vec::<String>::new());
}
