//! git with signatures of the device, checked by stock git with GnuPG and with `ssh-keygen`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use bcm_tests::{Bcm, PASSPHRASE, Simulator, TestEnv};

use crate::support::new_key;

const USER_ID: &str = "Satoshi Nakamoto <satoshi@bitcoin.org>";

/// A repository, a device, and a GnuPG that knows nobody yet.
struct Stage {
    env: TestEnv,
    simulator: Simulator,
}

impl Stage {
    fn new() -> Self {
        let env = TestEnv::new();
        let simulator = Simulator::start(&env);
        let stage = Self { env, simulator };
        fs::create_dir(stage.repository()).unwrap();
        let gnupg = stage.env.path().join("gnupg");
        fs::create_dir(&gnupg).unwrap();
        fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).unwrap();
        stage.git(&["init", "-q", "-b", "main"]);
        stage.git(&["config", "--global", "user.name", "Satoshi"]);
        stage.git(&["config", "--global", "user.email", "satoshi@bitcoin.org"]);
        stage.git(&["config", "--global", "advice.mergeConflict", "false"]);
        stage
    }

    fn repository(&self) -> PathBuf {
        self.env.path().join("repository")
    }

    fn bcm(&self, words: &[&str]) -> Bcm {
        let bcm = self.env.bcm(words.iter().copied());
        bcm.folder(&self.repository())
            .device(&self.simulator.udp())
            .passphrase(PASSPHRASE)
    }

    /// Stock git, in the repository, with a GnuPG of its own.
    fn try_git(&self, words: &[&str]) -> Output {
        let mut git = self.env.command("git");
        git.env("GNUPGHOME", self.env.path().join("gnupg"))
            .current_dir(self.repository())
            .args(words);
        git.output().unwrap()
    }

    #[track_caller]
    fn git(&self, words: &[&str]) -> String {
        let output = self.try_git(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "git {words:?}: {said}");
        String::from_utf8(output.stdout).unwrap() + &said
    }

    fn gpg(&self) -> Command {
        let mut gpg = self.env.command("gpg");
        gpg.env("GNUPGHOME", self.env.path().join("gnupg"))
            .args(["--batch", "--quiet"]);
        gpg
    }

    fn certificate(&self) -> String {
        let made = self.bcm(&["pgp", "init", "--user-id", USER_ID]).run();
        made.success();
        let exported = self.bcm(&["pgp", "export"]).run();
        let file = self.env.write("cert.asc", exported.success());
        let imported = self.gpg().arg("--import").arg(file).status().unwrap();
        assert!(imported.success());
        let listed = self.bcm(&["pgp", "list", "--json"]).run();
        let certs: serde_json::Value = serde_json::from_str(listed.success()).unwrap();
        certs[0]["fingerprint"].as_str().unwrap().to_owned()
    }

    fn file(&self, name: &str) {
        fs::write(self.repository().join(name), name).unwrap();
        self.git(&["add", name]);
    }

    /// Makes a topic branch with a file of its own, and goes back to main.
    fn topic(&self) {
        self.git(&["switch", "-q", "-c", "topic"]);
        self.file("topic");
        self.git(&["commit", "-q", "-m", "Work on a topic"]);
        self.git(&["switch", "-q", "main"]);
    }
}

#[test]
fn gnupg_verifies_a_commit_a_tag_and_a_merge() {
    let stage = Stage::new();
    let fingerprint = stage.certificate();
    stage.file("first");
    let commit = ["git", "commit", "-q", "-m", "Begin"];
    let output = stage.bcm(&commit).run();
    output.success();
    assert!(output.stderr.contains("sign git commit: Begin"), "{output}");
    stage.topic();
    let merge = ["git", "merge", "-q", "--no-ff", "-m", "Merge it", "topic"];
    stage.bcm(&merge).run().success();
    let tag = ["git", "tag", "-m", "First release", "v1"];
    stage.bcm(&tag).run().success();
    for object in ["HEAD", "HEAD^1"] {
        let said = stage.git(&["verify-commit", "--raw", object]);
        assert!(
            said.contains("GOODSIG") && said.contains(&fingerprint),
            "{said}"
        );
    }
    let said = stage.git(&["verify-tag", "--raw", "v1"]);
    assert!(said.contains("GOODSIG"), "{said}");
    let said = stage.git(&["log", "-1", "--show-signature"]);
    assert!(said.contains("Good signature from \"Satoshi"), "{said}");
}

#[test]
fn ssh_keygen_verifies_a_commit_a_tag_and_a_merge() {
    let stage = Stage::new();
    let line = new_key(&stage.env, &stage.simulator, "git@forge", "ed25519");
    let signers = format!("satoshi@bitcoin.org {line}\n");
    let signers = stage.env.write("allowed_signers", signers);
    let signers = signers.to_string_lossy();
    stage.git(&["config", "gpg.ssh.allowedSignersFile", &signers]);
    stage.file("first");
    let commit = ["git", "commit", "--format", "ssh", "-q", "-m", "Begin"];
    stage.bcm(&commit).run().success();
    stage.topic();
    let merge = [
        "git", "merge", "--format", "ssh", "-q", "--no-ff", "-m", "Merge", "topic",
    ];
    stage.bcm(&merge).run().success();
    let tag = [
        "git",
        "tag",
        "--format",
        "ssh",
        "--key",
        "git@forge",
        "-m",
        "First",
        "v1",
    ];
    stage.bcm(&tag).run().success();
    for words in [
        ["verify-commit", "HEAD"],
        ["verify-commit", "HEAD^1"],
        ["verify-tag", "v1"],
    ] {
        let said = stage.git(&words);
        assert!(
            said.contains("Good \"git\" signature for satoshi@bitcoin.org"),
            "{said}"
        );
    }
}

#[test]
fn plain_git_signs_and_verifies_through_an_open_session() {
    let stage = Stage::new();
    let fingerprint = stage.certificate();
    stage.bcm(&["git", "config"]).run().success();
    stage.file("first");
    let script = stage.env.write(
        "work.sh",
        "set -e\ngit commit -q -m Begin\ngit tag -m First v1\ngit verify-commit --raw HEAD\n\
         git verify-tag v1\ngit log -1 --format=%G?:%GF:%GP\n\
         git cat-file commit HEAD | sed s/Begin/Begun/ >forged\n\
         git verify-commit $(git hash-object -t commit -w forged) || echo refused\n",
    );
    let script = script.to_string_lossy();
    let output = stage.bcm(&["serve", "--", "sh", &script]).run();
    output.success();
    let expected = format!("G:{fingerprint}:{fingerprint}\nrefused\n");
    assert!(output.stdout.ends_with(&expected), "{output}");
    assert!(output.stderr.contains("TRUST_ULTIMATE"), "{output}");
    // with nothing to ask it says so, and nothing is committed
    stage.file("second");
    let output = stage.try_git(&["commit", "-m", "Go on"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no bcm session is running"), "{said}");
    stage
        .env
        .bcm(["git", "config", "--unset"])
        .folder(&stage.repository())
        .run()
        .success();
    stage.git(&["commit", "-q", "-m", "Go on"]);
}

#[test]
fn a_signature_that_is_declined_leaves_no_commit() {
    let stage = Stage::new();
    stage.certificate();
    stage.file("first");
    drop(stage.simulator);
    let simulator = Simulator::start_with(&stage.env, ["--confirm", "deny"]);
    let output = stage
        .env
        .bcm(["git", "commit", "-q", "-m", "Begin"])
        .folder(&stage.env.path().join("repository"))
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    assert_ne!(output.code(), 0, "{output}");
    assert!(output.stderr.contains("declined on the device"), "{output}");
    let mut log = stage.env.command("git");
    log.current_dir(stage.env.path().join("repository"));
    assert!(
        !log.args(["rev-parse", "-q", "--verify", "HEAD"])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn what_git_never_asks_for_is_refused() {
    let env = TestEnv::new();
    for words in [
        &["gpg", "-s"][..],
        &["gpg", "--verify", "a", "b"],
        &["gpg", "--decrypt"],
    ] {
        env.bcm(words.iter().copied()).run().failure(2);
    }
    let output = env.bcm(["gpg", "--verify", "absent", "-"]).run();
    assert!(output.failure(1).contains("absent"), "{output}");
}
