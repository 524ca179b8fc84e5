//! `pgp`: certificates at the prompt, their life, and what is refused.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use bcm_tests::{Gpg, Output, PASSPHRASE, Simulator, TestEnv};
use serde_json::Value;

pub(crate) const SATOSHI: &str = "Satoshi Nakamoto <satoshi@bitcoin.org>";
const ED25519: &str = "F858E564AA2AC64A4D309CCFAA6C5695908235BB";
const NIST256P1: &str = "A0B6DF934C71016E07A749FA5C5BFCC0B5087B47";

/// A wallet, and the device behind it.
pub(crate) struct Wallet {
    pub(crate) env: TestEnv,
    pub(crate) simulator: Simulator,
}

impl Wallet {
    pub(crate) fn new() -> Self {
        let env = TestEnv::new();
        let simulator = Simulator::start(&env);
        Self { env, simulator }
    }

    pub(crate) fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        self.env
            .bcm(words)
            .device(&self.simulator.udp())
            .passphrase(PASSPHRASE)
            .run()
    }

    /// Runs several commands in one session.
    pub(crate) fn session(&self, commands: &str) -> Output {
        self.run(["-c", commands])
    }

    pub(crate) fn init(&self, curve: &str) {
        self.run(["pgp", "init", "--user-id", SATOSHI, "--curve", curve])
            .success();
    }

    pub(crate) fn show(&self, name: &str) -> Value {
        serde_json::from_str(self.run(["pgp", "show", name, "--json"]).success()).unwrap()
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        serde_json::from_str(self.run(["pgp", "list", "--json"]).success()).unwrap()
    }

    pub(crate) fn export(&self, name: &str) -> String {
        self.run(["pgp", "export", name]).success().to_owned()
    }
}

#[test]
fn certificates_are_made_listed_chosen_and_forgotten() {
    let wallet = Wallet::new();
    let none = wallet.session("pgp list; pgp export");
    assert!(none.failure(1).contains("pgp init"), "{none}");

    let made = wallet.run(["pgp", "init", "--user-id", SATOSHI, "--json"]);
    let made: Value = serde_json::from_str(made.success()).unwrap();
    assert_eq!(made["fingerprint"], ED25519);
    assert_eq!(made["identity"], format!("gpg://{SATOSHI}"));
    assert_eq!(made["created"], "2009-01-03T18:15:05Z");
    assert_eq!(made["expires"], Value::Null);
    assert_eq!(made["keys"][1]["uses"][0], "encrypt");
    let again = wallet.run(["pgp", "init", "--user-id", SATOSHI]);
    assert!(again.failure(1).contains(ED25519), "{again}");
    assert!(
        !again.stderr.contains("certify"),
        "the device was not asked: {again}"
    );

    wallet.init("nist256p1");
    assert_eq!(wallet.list().len(), 2);
    let which = wallet.session("pgp show");
    assert!(which.failure(1).contains("pgp use"), "{which}");
    let chosen = wallet.session(&format!("pgp use {NIST256P1}; pgp show --json"));
    let chosen: Value = serde_json::from_str(chosen.success()).unwrap();
    assert_eq!(chosen["fingerprint"], NIST256P1);
    assert_eq!(chosen["default"], true);
    let unclear = wallet.session("pgp show satoshi@bitcoin.org");
    assert!(
        unclear.failure(1).contains("names 2 certificates"),
        "{unclear}"
    );

    let info = wallet.run(["info", "--json"]);
    let info: Value = serde_json::from_str(info.success()).unwrap();
    assert_eq!(info["stores"]["certificates"], 2);

    let forgotten = wallet.session(&format!("pgp remove {NIST256P1}; pgp show --json"));
    let left: Value = serde_json::from_str(forgotten.success()).unwrap();
    assert_eq!(left["fingerprint"], ED25519, "the only one is the default");
    let gone = wallet.run(["pgp", "show", NIST256P1]);
    assert!(gone.failure(1).contains("no certificate"), "{gone}");
}

#[test]
fn a_certificate_gets_names_another_end_and_is_revoked() {
    let wallet = Wallet::new();
    wallet.init("ed25519");
    let session = wallet.session(
        "pgp add-user-id satoshi@bitcoin.org 'Satoshi <s@example.org>'; \
         pgp expire satoshi@bitcoin.org 2y",
    );
    session.success();
    let shown = wallet.show("s@example.org");
    assert_eq!(shown["fingerprint"], ED25519);
    assert_eq!(
        shown["user_ids"][0], SATOSHI,
        "the first one stays the first"
    );
    assert_eq!(shown["user_ids"][1], "Satoshi <s@example.org>");
    assert_eq!(shown["identity"], format!("gpg://{SATOSHI}"));
    assert!(shown["expires"].is_string(), "{shown}");
    let never = wallet.run(["pgp", "expire", ED25519, "never", "--json"]);
    let never: Value = serde_json::from_str(never.success()).unwrap();
    assert_eq!(never["expires"], Value::Null);
    let twice = wallet.run(["pgp", "add-user-id", ED25519, "Satoshi <s@example.org>"]);
    assert!(twice.failure(1).contains("already"), "{twice}");

    let file = wallet.env.path().join("revocation.asc");
    let revoke = format!(
        "pgp revoke {ED25519} --reason compromised --message 'lost the seed' --output {}",
        file.display()
    );
    let made = wallet.session(&revoke);
    made.success();
    assert_eq!(
        wallet.show(ED25519)["problem"],
        Value::Null,
        "not revoked yet"
    );
    let there = wallet.session(&revoke);
    assert!(there.failure(1).contains("exists"), "{there}");
    assert!(
        !there.stderr.contains("REVOKE"),
        "the device was not asked: {there}"
    );

    let imported = wallet.run(["pgp", "import", file.to_str().unwrap()]);
    imported.success();
    let problem = wallet.show(ED25519)["problem"].to_string();
    assert!(
        problem.contains("revoked: compromised, lost the seed"),
        "{problem}"
    );
    let refused = wallet.run(["pgp", "expire", ED25519, "1y"]);
    assert!(refused.failure(4).contains("revoked"), "{refused}");
}

#[test]
fn an_expired_certificate_is_told_and_can_be_extended() {
    let wallet = Wallet::new();
    let words = ["pgp", "init", "--user-id", SATOSHI, "--expires", "2s"];
    wallet.run(words).success();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let shown = wallet.show(ED25519);
    assert!(
        shown["problem"].to_string().contains("expired on"),
        "{shown}"
    );
    wallet.run(["pgp", "expire", ED25519, "1y"]).success();
    assert_eq!(wallet.show(ED25519)["problem"], Value::Null);
}

#[test]
fn only_the_whole_fingerprint_makes_a_certificate_trusted() {
    let wallet = Wallet::new();
    let gpg = Gpg::new(&wallet.env, "gnupg");
    let alice = gpg.new_key("Alice <alice@example.org>");
    let file = wallet
        .env
        .write("alice.asc", gpg.ok(&["--export", "--armor", &alice], b""));
    let file = file.to_str().unwrap();
    let imported = wallet.run(["pgp", "import", file]);
    imported.success();
    assert!(
        imported.stderr.contains("compare the fingerprint"),
        "{imported}"
    );
    assert_eq!(wallet.show(&alice)["trust"], "unmarked");

    for wrong in [
        &alice[..39],
        &alice[24..],
        "F858E564AA2AC64A4D309CCFAA6C5695908235BB",
    ] {
        let refused = wallet.run(["pgp", "trust", "alice@example.org", "--fingerprint", wrong]);
        assert!(refused.failure(4).contains("do not trust it"), "{refused}");
    }
    assert_eq!(wallet.show(&alice)["trust"], "unmarked");
    let grouped: Vec<_> = alice
        .as_bytes()
        .chunks(4)
        .map(String::from_utf8_lossy)
        .collect();
    let grouped = grouped.join(" ");
    let marked = wallet.run([
        "pgp",
        "trust",
        "alice@example.org",
        "--fingerprint",
        &grouped,
    ]);
    marked.success();
    let shown = wallet.show(&alice);
    assert_eq!(
        (&shown["trust"], &shown["marked_as"]),
        (
            &Value::from("trusted"),
            &Value::from("Alice <alice@example.org>"),
        )
    );

    // a new name and a new first place for it change nothing of what was marked
    gpg.ok(&["--quick-add-uid", &alice, "Bob <bob@example.org>"], b"");
    gpg.ok(
        &["--quick-set-primary-uid", &alice, "Bob <bob@example.org>"],
        b"",
    );
    wallet
        .env
        .write("alice.asc", gpg.ok(&["--export", "--armor", &alice], b""));
    let updated = wallet.run(["pgp", "import", file, "--json"]);
    let updated: Value = serde_json::from_str(updated.success()).unwrap();
    assert_eq!(updated[0]["outcome"], "updated");
    assert_eq!(updated[0]["user_ids"][0], "Bob <bob@example.org>");
    assert_eq!(updated[0]["marked_as"], "Alice <alice@example.org>");

    wallet.run(["pgp", "trust", &alice, "--remove"]).success();
    assert_eq!(wallet.show(&alice)["trust"], "unmarked");
    let signer = wallet.run(["pgp", "use", &alice]);
    assert!(signer.failure(1).contains("not of this wallet"), "{signer}");
}

#[test]
fn what_is_no_certificate_is_not_imported_and_nothing_of_it_is() {
    let wallet = Wallet::new();
    let gpg = Gpg::new(&wallet.env, "gnupg");
    let alice = gpg.new_key("Alice <alice@example.org>");
    let public = gpg.ok(&["--export", &alice], b"");
    let mut changed = public.clone();
    *changed.last_mut().unwrap() ^= 1;
    let armored = gpg.ok(&["--export", "--armor", &alice], b"");
    let secret = gpg.ok(&["--export-secret-keys", "--armor", &alice], b"");
    let both = [armored.clone(), secret.clone()].concat();
    for (name, bytes, code) in [
        ("empty", Vec::new(), 4),
        ("text", b"hello".to_vec(), 4),
        ("cut", public[..public.len() / 2].to_vec(), 4),
        ("secret", secret, 1),
        ("both", both, 1),
    ] {
        let file = wallet.env.write(name, bytes);
        let refused = wallet.run(["pgp", "import", file.to_str().unwrap()]);
        refused.failure(code);
        assert!(wallet.list().is_empty(), "{name}: {refused}");
    }
    // a self-signature that does not verify takes its key with it
    let file = wallet.env.write("changed", changed);
    wallet.run(["pgp", "import", file.to_str().unwrap()]);
    if let [cert] = &*wallet.list() {
        let keys = cert["keys"].as_array().unwrap();
        assert!(keys.iter().all(|key| key["uses"][0] != "encrypt"), "{cert}");
    }
    let missing = wallet.run(["pgp", "import", "/nowhere"]);
    assert!(missing.failure(1).contains("`/nowhere`"), "{missing}");
}

#[test]
fn user_ids_that_cannot_be_read_are_refused() {
    let wallet = Wallet::new();
    let long = "a".repeat(600);
    for bad in [
        "",
        "  ",
        " a",
        "a\nb",
        "a\rb",
        "a\u{7}b",
        "a\u{202e}b",
        "a\u{200b}b",
        &long,
    ] {
        let refused = wallet.run(["pgp", "init", "--user-id", bad]);
        assert!(refused.hint().is_some(), "{refused}");
        refused.failure(2);
    }
    let refused = wallet
        .env
        .bcm(["pgp", "init", "--user-id"])
        .word(OsString::from_vec(b"a\xff".to_vec()))
        .device(&wallet.simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    assert!(
        refused.failure(2).to_lowercase().contains("utf-8"),
        "{refused}"
    );
    for words in [
        ["--curve", "secp256k1"],
        ["--created", "yesterday"],
        ["--created", "2105-01-01"],
        ["--expires", "soon"],
        ["--expires", "-1y"],
        ["--expires", "500y"],
    ] {
        let init = ["pgp", "init", "--user-id", SATOSHI];
        wallet.run(init.into_iter().chain(words)).failure(2);
    }
    assert!(wallet.list().is_empty());
}

#[test]
fn a_file_is_replaced_only_by_force() {
    let wallet = Wallet::new();
    wallet.init("ed25519");
    let file = wallet.env.path().join("cert.asc");
    let path = file.to_str().unwrap();
    wallet.run(["pgp", "export", "--output", path]).success();
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----"));
    std::fs::write(&file, "mine").unwrap();
    wallet.run(["pgp", "export", "-o", path]).failure(1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    wallet
        .run(["pgp", "export", "-o", path, "--force"])
        .success();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
    wallet.run(["pgp", "export", "-o", "/nowhere/x"]).failure(1);
}

#[test]
fn what_the_person_declines_changes_nothing() {
    let mut wallet = Wallet::new();
    wallet.init("ed25519");
    let before = wallet.export(ED25519);
    let env = &wallet.env;
    wallet.simulator = Simulator::start_with(env, ["--confirm", "deny"]);
    for words in [
        &["pgp", "init", "--user-id", "Other <o@example.org>"][..],
        &["pgp", "add-user-id", ED25519, "Other <o@example.org>"],
        &["pgp", "expire", ED25519, "1y"],
        &["pgp", "revoke", ED25519],
    ] {
        let refused = wallet.run(words.iter().copied());
        assert!(refused.failure(3).contains("declined"), "{refused}");
    }
    assert_eq!(wallet.list().len(), 1);
    wallet.simulator = Simulator::start(&wallet.env);
    assert_eq!(wallet.export(ED25519), before);
}
