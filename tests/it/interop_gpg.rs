//! GnuPG, Sequoia's `sq` and trezor-gpg: they read what bcm makes, bcm reads what they make.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bcm_keystore::device::discovery::find;
use bcm_keystore::device::{Device, DeviceSelector};
use bcm_keystore::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry, Prompt};
use bcm_keystore::pgp::{self, Imported, PgpStore, Purpose, SignMode, Trust};
use bcm_keystore::secret::{Passphrase, Pin};
use bcm_keystore::session::Session;
use bcm_keystore::store::Home;
use bcm_tests::{Gpg, PASSPHRASE, Peers, TestEnv};

use crate::pgp::{SATOSHI, Wallet};

const CURVES: [&str; 2] = ["ed25519", "nist256p1"];
const DATA: &[u8] = b"first line\r\n- second \nlast without an end";

/// What `gpg --list-keys --with-keygrip` printed of the cert that trezor-gpg made.
fn recorded(curve: &str) -> Vec<String> {
    let vectors = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../keystore/vectors/peers"
    ));
    let text = fs::read_to_string(vectors.join(format!("trezor-gpg-{curve}.txt"))).unwrap();
    comparable(&text)
}

/// Leaves out how far GnuPG trusts a key, and empty lines.
fn comparable(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| match line.starts_with("uid") {
        true => line
            .split_once(']')
            .map_or(line, |(_, name)| name)
            .trim()
            .to_owned(),
        false => line.split_whitespace().collect::<Vec<_>>().join(" "),
    });
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn gpg_sees_the_fingerprints_and_keygrips_of_trezor_gpg() {
    let wallet = Wallet::new();
    for curve in CURVES {
        let gpg = Gpg::new(&wallet.env, &format!("gpg-{curve}"));
        wallet.init(curve);
        let fingerprint = fingerprint(&wallet, curve);
        for words in [
            &["pgp", "export", &fingerprint][..],
            &["pgp", "export", &fingerprint, "--minimal"],
        ] {
            let exported = wallet.run(words.iter().copied());
            gpg.ok(&["--import"], exported.success().as_bytes());
            let words = ["--fingerprint", "--fingerprint", "--with-keygrip"];
            let listed = String::from_utf8(gpg.ok(&words, b"")).unwrap();
            let at = listed.find("pub ").unwrap();
            assert_eq!(comparable(&listed[at..]), recorded(curve));
        }
    }
}

fn fingerprint(wallet: &Wallet, curve: &str) -> String {
    let algorithm = if curve == "ed25519" { "EdDSA" } else { "ECDSA" };
    let certs = wallet.list();
    let cert = certs
        .iter()
        .find(|cert| cert["keys"][0]["algorithm"].to_string().contains(algorithm));
    cert.unwrap()["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn gpg_and_sq_follow_new_names_another_end_and_a_revocation() {
    let wallet = Wallet::new();
    let gpg = Gpg::new(&wallet.env, "gnupg");
    wallet.init("ed25519");
    let own = fingerprint(&wallet, "ed25519");
    gpg.ok(&["--import"], wallet.export(&own).as_bytes());
    let colons =
        || String::from_utf8(gpg.ok(&["--list-keys", "--with-colons", &own], b"")).unwrap();
    assert!(!colons().contains("s@example.org"));
    wallet
        .session(&format!(
            "pgp add-user-id {own} 'Satoshi <s@example.org>'; pgp expire {own} 2y"
        ))
        .success();
    let exported = wallet.export(&own);
    gpg.ok(&["--import"], exported.as_bytes());
    let listed = colons();
    let names: Vec<_> = listed
        .lines()
        .filter(|line| line.starts_with("uid:"))
        .collect();
    assert!(names[0].contains("satoshi@bitcoin.org"), "{listed}");
    assert!(names[1].contains("s@example.org"), "{listed}");
    let public = listed
        .lines()
        .find(|line| line.starts_with("pub:"))
        .unwrap();
    assert!(!public.split(':').nth(6).unwrap().is_empty(), "{listed}");

    let file = wallet.env.write("cert.asc", &exported);
    let mut sq = wallet.env.command("sq");
    let seen = sq
        .arg("inspect")
        .arg(&file)
        .output()
        .expect("sq is installed");
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    for part in [
        &*own,
        "satoshi@bitcoin.org",
        "s@example.org",
        "Expiration time",
        "encryption",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(!seen.contains("Invalid"), "{seen}");

    let revocation = wallet.run(["pgp", "revoke", &own, "--reason", "superseded"]);
    gpg.ok(&["--import"], revocation.success().as_bytes());
    assert!(colons().contains("pub:r:"), "{}", colons());
    let revoked = gpg.ok(&["--export", &own], b"");
    let file = wallet.env.write("revoked.gpg", revoked);
    wallet
        .run(["pgp", "import", file.to_str().unwrap()])
        .success();
    let problem = wallet.show(&own)["problem"].to_string();
    assert!(problem.contains("superseded"), "{problem}");
}

/// A person who types the passphrase on the host.
#[derive(Debug)]
struct Typist;

impl Interaction for Typist {
    fn device_waits(&self, _: &Prompt, _: DeviceWait) {}

    fn passphrase(&self, _: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        Ok(PassphraseEntry::Host(Passphrase::read_line(
            PASSPHRASE.as_bytes(),
        )?))
    }

    fn pin_matrix(&self, _: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

/// Makes the home of trezor-gpg for a wallet's device, with the agent that asks the device.
fn trezor_gpg<'a>(wallet: &'a Wallet, curve: &str) -> Gpg<'a> {
    let env: &TestEnv = &wallet.env;
    let home = env.path().join(format!("trezor-{curve}"));
    let path = wallet.simulator.udp();
    let output = Peers::ready()
        .command(env, "trezor-gpg")
        .env("TREZOR_PATH", &path)
        .env("TREZOR_PASSPHRASE", PASSPHRASE)
        .args([
            "init",
            SATOSHI,
            "-e",
            curve,
            "-t",
            "1231006505",
            "--homedir",
        ])
        .arg(&home)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Gpg::at(env, home)
        .env("TREZOR_PATH", &path)
        .env("TREZOR_PASSPHRASE", PASSPHRASE)
}

#[tokio::test(flavor = "multi_thread")]
async fn trezor_gpg_opens_and_verifies_what_bcm_makes_and_the_other_way_round() {
    let wallet = Wallet::new();
    for curve in CURVES {
        wallet.init(curve);
        let own = fingerprint(&wallet, curve);
        let theirs = trezor_gpg(&wallet, curve);
        assert_eq!(theirs.fingerprint("satoshi@bitcoin.org"), own);
        theirs.ok(&["--import"], wallet.export(&own).as_bytes());

        let selector: DeviceSelector = wallet.simulator.udp().parse().unwrap();
        let device = Device::spawn(find(&selector, false).unwrap(), Arc::new(Typist));
        let session = Session::new(device, Home::below(&wallet.env.state()));
        let session = session.unlock().await.unwrap();
        tokio::task::block_in_place(|| {
            let device = session.device();
            let store = PgpStore::open(session.store()).unwrap();
            let key = store.signer(Some(&own)).unwrap();
            let now = SystemTime::now() + Duration::from_secs(1);

            let mut message = Vec::new();
            let recipients = [key.cert().clone()];
            pgp::encrypt(&recipients, true, &mut &*DATA, &mut message, now).unwrap();
            assert_eq!(theirs.ok(&["--decrypt"], &message), DATA);
            let purpose = Purpose::new("sign for the interop test");
            for mode in [SignMode::Inline { armor: true }, SignMode::Clear] {
                let mut signed = Vec::new();
                let now = SystemTime::now();
                pgp::sign(device, key, mode, &purpose, &mut &*DATA, &mut signed, now).unwrap();
                theirs.ok(&["--decrypt"], &signed);
            }

            let message = theirs.ok(&["--encrypt", "--sign", "-r", &own, "-u", &own], DATA);
            let mut content = Vec::new();
            let opened = pgp::decrypt(device, &store, &mut &*message, &mut content, now).unwrap();
            assert_eq!(content, DATA);
            assert_eq!(opened.signatures[0].trust, Trust::Own);
            let signature = theirs.ok(&["--detach-sign", "--armor", "-u", &own], DATA);
            let good = pgp::verify_detached(&store, &mut &*signature, &mut &*DATA, now).unwrap();
            assert_eq!(good[0].primary.to_hex(), own);
        });
        session.lock().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gpg_and_sq_and_bcm_agree_on_signatures_and_messages() {
    let wallet = Wallet::new();
    let gpg = Gpg::new(&wallet.env, "gnupg");
    let bob = gpg.new_key("Bob <bob@example.org>");
    let bob_cert = gpg.ok(&["--export", &bob], b"");
    for curve in CURVES {
        wallet.init(curve);
        gpg.ok(
            &["--import"],
            wallet.export(&fingerprint(&wallet, curve)).as_bytes(),
        );
    }
    let selector: DeviceSelector = wallet.simulator.udp().parse().unwrap();
    let device = Device::spawn(find(&selector, false).unwrap(), Arc::new(Typist));
    let session = Session::new(device, Home::below(&wallet.env.state()));
    let session = session.unlock().await.unwrap();
    tokio::task::block_in_place(|| {
        let device = session.device();
        let mut store = PgpStore::open(session.store()).unwrap();
        let found = pgp::read_certs(&bob_cert).unwrap();
        let Imported::Cert(bob_cert) = &found[0] else {
            panic!("a cert");
        };
        let bob_cert = (**bob_cert).clone();
        store.import(session.store(), found).unwrap();
        let now = SystemTime::now() + Duration::from_secs(1);
        let purpose = Purpose::new("sign for the interop test");
        let data = wallet.env.write("data", DATA);
        for key in store.own() {
            let own = key.fingerprint().to_hex();
            for (text, armor) in [(false, true), (true, true), (false, false)] {
                let mode = SignMode::Detached { text, armor };
                let mut signature = Vec::new();
                let now = SystemTime::now();
                pgp::sign(
                    device,
                    key,
                    mode,
                    &purpose,
                    &mut &*DATA,
                    &mut signature,
                    now,
                )
                .unwrap();
                let signature = wallet.env.write("data.sig", signature);
                let (signature, data) = (signature.to_str().unwrap(), data.to_str().unwrap());
                let status = gpg.ok(&["--status-fd", "1", "--verify", signature, data], b"");
                let status = String::from_utf8_lossy(&status);
                assert!(status.contains(&format!("VALIDSIG {own}")), "{status}");
                let cert = wallet.env.write("own.asc", pgp::export(key.cert()));
                let mut sq = wallet.env.command("sq");
                sq.args(["verify", "--detached", signature, data, "--signer-cert"]);
                let checked = sq.arg(cert).output().unwrap();
                assert!(checked.status.success(), "{checked:?}");
            }
            // the same lines that gpg writes, but for how far it trusts
            let mut signature = Vec::new();
            let mode = SignMode::Detached {
                text: false,
                armor: true,
            };
            pgp::sign(
                device,
                key,
                mode,
                &purpose,
                &mut &*DATA,
                &mut signature,
                now,
            )
            .unwrap();
            let verdicts =
                pgp::examine_detached(&store, &mut &*signature, &mut &*DATA, now).unwrap();
            let ours = pgp::status_lines(&verdicts[0]);
            let file = wallet.env.write("data.sig", signature);
            let words = ["--status-fd", "1", "--verify", file.to_str().unwrap()];
            std::thread::sleep(Duration::from_secs(1));
            let theirs = gpg.ok(&[&words[..], &[data.to_str().unwrap()]].concat(), b"");
            let theirs = String::from_utf8_lossy(&theirs).into_owned();
            for line in ours.iter().filter(|line| !line.contains("TRUST")) {
                assert!(
                    theirs.lines().any(|theirs| theirs == line),
                    "{line}\n{theirs}"
                );
            }
            let message = gpg.ok(&["--encrypt", "--sign", "-u", &bob, "-r", &own], DATA);
            let mut content = Vec::new();
            let opened = pgp::decrypt(device, &store, &mut &*message, &mut content, now).unwrap();
            assert_eq!(content, DATA);
            assert_eq!(opened.signatures[0].primary.to_hex(), bob);
            assert_eq!(opened.signatures[0].trust, Trust::Unmarked);
        }
        let mut message = Vec::new();
        pgp::encrypt(&[bob_cert], false, &mut &*DATA, &mut message, now).unwrap();
        assert_eq!(gpg.ok(&["--decrypt"], &message), DATA);
    });
    session.lock().await;
}
