//! Certificates of the simulated device, with OpenSSH as the second opinion.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::identity::Curve;
use crate::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry};
use crate::secret::{Passphrase, Pin};
use crate::session::{Session, Unlocked};
use crate::simulator::Simulator;
use crate::ssh::{derive, krl};
use crate::store::Home;

#[derive(Debug)]
struct Typist;

impl Interaction for Typist {
    fn device_waits(&self, _: &Prompt, _: DeviceWait) {}

    fn passphrase(&self, _: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        let passphrase = Passphrase::read_line(&b"bcm test"[..])?;
        Ok(PassphraseEntry::Host(passphrase))
    }

    fn pin_matrix(&self, _: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

async fn unlocked(home: &Path) -> Session<Unlocked> {
    let simulator = Simulator::builder().build();
    let device = Device::spawn(simulator.transport(), Arc::new(Typist));
    let session = Session::new(device, Home::below(home)).unlock().await;
    session.unwrap()
}

fn wanted() -> Certify {
    Certify {
        principals: vec!["bcm".into(), "root".into()],
        ttl: DEFAULT_TTL,
        pty: false,
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn keygen(folder: &Path, words: &[&str]) -> (bool, String) {
    let output = Command::new("/usr/bin/ssh-keygen")
        .env_clear()
        .env("TZ", "UTC")
        .args(words)
        .current_dir(folder)
        .output()
        .expect("ssh-keygen is installed (Debian: openssh-client)");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_keygen_reads_what_the_device_certified_on_both_curves() {
    let folder = tempfile::tempdir().unwrap();
    let session = unlocked(folder.path()).await;
    for (curve, name) in [(Curve::Ed25519, "ED25519"), (Curve::Nist256p1, "ECDSA")] {
        let ca = derive(session.device(), &ca_identity("home").unwrap(), curve)
            .await
            .unwrap();
        let made = SessionCertificate::make(session.device(), &ca, &wanted(), now())
            .await
            .unwrap();
        let certificate = made.certificate();
        certificate.verify_signature().unwrap();
        let signature = made.sign(b"a record");
        use p256::ecdsa::signature::Verifier;
        certificate
            .public_key()
            .verify(b"a record", &signature)
            .unwrap();

        std::fs::write(
            folder.path().join("key-cert.pub"),
            certificate.to_openssh().unwrap(),
        )
        .unwrap();
        let (good, said) = keygen(folder.path(), &["-L", "-f", "key-cert.pub"]);
        assert!(good, "{said}");
        for line in [
            "Type: ssh-ed25519-cert-v01@openssh.com user certificate".to_owned(),
            format!("Signing CA: {name} {}", ca.fingerprint()),
            format!("Key ID: \"bcm session {:016x}\"", certificate.serial()),
            format!("Serial: {}", certificate.serial()),
            "Valid: from 2026-09-21T14:08:20 to 2026-09-21T22:13:20".to_owned(),
            "Critical Options: (none)".to_owned(),
        ] {
            assert!(said.contains(&line), "{line} in {said}");
        }
        let lines: Vec<_> = said.lines().map(str::trim).collect();
        let at = |words: &str| {
            lines
                .iter()
                .position(|line| line.starts_with(words))
                .unwrap()
        };
        let principals = &lines[at("Principals:") + 1..at("Critical")];
        assert_eq!(principals, ["bcm", "root"]);
        assert_eq!(lines[at("Extensions:") + 1..], ["permit-port-forwarding"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_certificates_share_key_nonce_or_serial() {
    let folder = tempfile::tempdir().unwrap();
    let session = unlocked(folder.path()).await;
    let device = session.device();
    let ca = derive(device, &ca_identity("home").unwrap(), Curve::Ed25519)
        .await
        .unwrap();
    let one = SessionCertificate::make(device, &ca, &wanted(), now())
        .await
        .unwrap();
    let two = SessionCertificate::make(device, &ca, &wanted(), now())
        .await
        .unwrap();
    let (one, two) = (one.certificate(), two.certificate());
    assert_ne!(one.public_key(), two.public_key());
    assert_ne!(one.nonce(), two.nonce());
    assert_ne!(one.serial(), two.serial());
    // the CA is the same on every computer, and another one for every cluster
    let other = derive(device, &ca_identity("office").unwrap(), Curve::Ed25519)
        .await
        .unwrap();
    assert_ne!(other.public_key(), ca.public_key());
    assert_eq!(one.signature_key(), ca.public_key().key_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_good_for_everybody_or_for_ever_is_not_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let session = unlocked(folder.path()).await;
    let device = session.device();
    let ca = derive(device, &ca_identity("home").unwrap(), Curve::Ed25519)
        .await
        .unwrap();
    let with = |principals: &[&str], ttl| Certify {
        principals: principals.iter().map(|name| (*name).to_owned()).collect(),
        ttl: Duration::from_secs(ttl),
        pty: false,
    };
    for wrong in [
        with(&[], 3600),
        with(&["a"; 17], 3600),
        with(&[""], 3600),
        with(&["bcm,root"], 3600),
        with(&["*"], 3600),
        with(&["-bcm"], 3600),
        with(&["bcm"], 9),
        with(&["bcm"], 12 * 3600 + 1),
    ] {
        let key = ca.public_key().key_data();
        let error = certify(device, &ca, key, &wrong, now()).await.unwrap_err();
        assert!(
            !matches!(error, CertificateError::Ssh(_)),
            "{wrong:?}: {error}"
        );
    }
    assert!(ca_identity("two words").is_err());
}

#[test]
fn the_device_shows_for_whom_and_how_long() {
    let visual = |certify: &Certify| certify.visual(0x3f9a_02c1_d2e4_a5b6);
    assert_eq!(
        visual(&wanted()),
        "bcm v1 certify 8 h as bcm,root serial 3f9a02c1d2e4a5b6"
    );
    let many = Certify {
        principals: (0..16)
            .map(|at| format!("{at:x}{}", "x".repeat(31)))
            .collect(),
        ttl: Duration::from_secs(43_199),
        pty: true,
    };
    let shown = visual(&many);
    assert!(shown.contains(" and 15 more serial "), "{shown}");
    assert!(shown.len() <= crate::ssh::MAX_VISUAL, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_takes_the_list_of_what_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let session = unlocked(folder.path()).await;
    let device = session.device();
    let ca = derive(device, &ca_identity("home").unwrap(), Curve::Ed25519)
        .await
        .unwrap();
    let mut serials = Vec::new();
    for name in ["revoked-cert.pub", "good-cert.pub", "second-cert.pub"] {
        let made = SessionCertificate::make(device, &ca, &wanted(), now())
            .await
            .unwrap();
        let line = made.certificate().to_openssh().unwrap();
        std::fs::write(folder.path().join(name), line).unwrap();
        serials.push(made.certificate().serial());
    }
    let list = krl(
        ca.public_key().key_data(),
        &[serials[0], serials[2]],
        1_790_000_000,
        "home",
    );
    std::fs::write(folder.path().join("krl"), list).unwrap();
    let query = |name: &str| keygen(folder.path(), &["-Q", "-f", "krl", name]);
    for (name, revoked) in [
        ("revoked-cert.pub", true),
        ("good-cert.pub", false),
        ("second-cert.pub", true),
    ] {
        let (ok, said) = query(name);
        assert_eq!(ok, !revoked, "{name}: {said}");
        assert_eq!(said.contains("REVOKED"), revoked, "{name}: {said}");
    }
    let (ok, said) = keygen(folder.path(), &["-Q", "-l", "-f", "krl"]);
    assert!(
        ok && said.contains(&format!("serial: {}", serials[0])),
        "{said}"
    );
    // a list of nothing revokes nothing
    std::fs::write(
        folder.path().join("krl"),
        krl(ca.public_key().key_data(), &[], 1, ""),
    )
    .unwrap();
    assert!(query("revoked-cert.pub").0);
}
