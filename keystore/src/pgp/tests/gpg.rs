//! GnuPG: opens what we write, writes what we open.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use sequoia_openpgp::serialize::SerializeInto;

use super::*;

/// A GnuPG with a home of its own.
struct Gpg(tempfile::TempDir);

impl Gpg {
    fn new() -> Self {
        let home = tempfile::Builder::new()
            .prefix("bcm-")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    fn run(&self, words: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
        let mut child = Command::new("gpg")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("GNUPGHOME", self.0.path())
            .env("LC_ALL", "C.UTF-8")
            .args(["--batch", "--no-tty", "--trust-model", "always"])
            .args(["--passphrase", "", "--pinentry-mode", "loopback"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg is installed (Debian: gnupg)");
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), output.stdout, said)
    }

    fn ok(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        let (success, out, said) = self.run(words, input);
        assert!(success, "gpg {words:?}: {said}");
        out
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .env("GNUPGHOME", self.0.path())
            .args(["--kill", "all"])
            .output();
    }
}

const DATA: &[u8] = b"first line\r\nsecond \n- third\nlast without an end";

#[test]
fn gpg_verifies_every_kind_of_signature_on_both_curves() {
    let mut wallet = Wallet::new();
    let gpg = Gpg::new();
    for curve in [Curve::Ed25519, Curve::Nist256p1] {
        let own = wallet.make(curve);
        gpg.ok(&["--import"], &own.cert().armored().to_vec().unwrap());
        let data = gpg.file("data", DATA);
        for (text, armor) in [(false, false), (false, true), (true, true)] {
            let mode = SignMode::Detached { text, armor };
            let signature = gpg.file("data.sig", &wallet.sign(&own, mode, DATA));
            gpg.ok(&["--verify", &signature, &data], b"");
        }
        for armor in [false, true] {
            let message = wallet.sign(&own, SignMode::Inline { armor }, DATA);
            assert_eq!(gpg.ok(&["--decrypt"], &message), DATA);
        }
        let clear = wallet.sign(&own, SignMode::Clear, b"a text\n- with a dash\n");
        assert!(clear.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n"));
        gpg.ok(&["--verify"], &clear);
        let changed = String::from_utf8(clear)
            .unwrap()
            .replace("a text", "no text");
        assert!(!gpg.run(&["--verify"], changed.as_bytes()).0);
    }
}

#[test]
fn what_gpg_encrypts_is_opened_on_both_curves_and_the_other_way_round() {
    let mut wallet = Wallet::new();
    let gpg = Gpg::new();
    let words = [
        "--quick-gen-key",
        "Bob <bob@example.org>",
        "ed25519",
        "cert,sign",
        "never",
    ];
    gpg.ok(&words, b"");
    let listed = gpg.ok(&["--list-keys", "--with-colons", "bob@example.org"], b"");
    let listed = String::from_utf8(listed).unwrap();
    let line = listed.lines().find(|line| line.starts_with("fpr")).unwrap();
    let bob = line.split(':').nth(9).unwrap().to_owned();
    gpg.ok(&["--quick-add-key", &bob, "cv25519", "encr", "never"], b"");
    let cert: Cert = {
        use openpgp::parse::Parse;
        Cert::from_bytes(&gpg.ok(&["--export", &bob], b"")).unwrap()
    };
    wallet.import(&cert);
    let later = SystemTime::now() + Duration::from_secs(60);
    let mut message = Vec::new();
    encrypt(&[cert], true, &mut &*DATA, &mut message, later).unwrap();
    assert_eq!(gpg.ok(&["--decrypt"], &message), DATA);

    for curve in [Curve::Ed25519, Curve::Nist256p1] {
        let own = wallet.make(curve);
        gpg.ok(&["--import"], &own.cert().armored().to_vec().unwrap());
        let fingerprint = own.fingerprint().to_hex();
        for (to, named) in [("-r", true), ("-R", false)] {
            let message = gpg.ok(&["--encrypt", "--sign", "-u", &bob, to, &fingerprint], DATA);
            let mut content = Vec::new();
            let device = wallet.device();
            let opened =
                decrypt(device, &wallet.store, &mut &*message, &mut content, later).unwrap();
            assert_eq!(content, DATA, "named: {named}");
            assert_eq!(opened.signatures[0].user_id, "Bob <bob@example.org>");
            assert_eq!(opened.signatures[0].trust, Trust::Unmarked);
            assert_ne!(opened.recipient, own.fingerprint(), "it is the subkey");
        }
    }
    for words in [&["--sign"][..], &["--clear-sign"], &["--sign", "--armor"]] {
        let message = gpg.ok(&[words, &["-u", &bob]].concat(), b"a text\n");
        let mut content = Vec::new();
        let good = verify_message(&wallet.store, &mut &*message, Some(&mut content), later);
        assert_eq!(good.unwrap()[0].user_id, "Bob <bob@example.org>");
        assert_eq!(content.trim_ascii_end(), b"a text");
    }
}
