//! Names, marks and merges.

use std::time::{Duration, UNIX_EPOCH};

use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::packet::UserID;

use super::*;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn cert(user_id: &str) -> Cert {
    let made = CertBuilder::general_purpose(Some(user_id))
        .set_creation_time(now() - Duration::from_secs(86_400))
        .generate();
    made.unwrap().0.strip_secret_key_material()
}

fn document(certs: &[&Cert]) -> Document {
    let mut document = Document::default();
    for cert in certs {
        assert_eq!(document.import((*cert).clone()).unwrap(), Change::New);
    }
    document
}

#[test]
fn a_cert_goes_by_many_names_and_never_by_a_wrong_one() {
    let (alice, bob) = (
        cert("Alice <alice@example.org>"),
        cert("Bob <bob@example.org>"),
    );
    let document = document(&[&alice, &bob]);
    let fingerprint = alice.fingerprint();
    let subkey = alice.keys().subkeys().next().unwrap().key().fingerprint();
    for name in [
        fingerprint.to_hex(),
        fingerprint.to_hex().to_lowercase(),
        fingerprint.to_spaced_hex(),
        format!("0x{}", alice.keyid().to_hex()),
        subkey.to_hex(),
        "Alice <alice@example.org>".into(),
        "ALICE@example.org".into(),
        "alic".into(),
    ] {
        let found = document
            .find(&name)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.cert().fingerprint(), fingerprint, "{name}");
    }
    for name in [
        "",
        "al",
        "carol",
        &fingerprint.to_hex()[..8],
        &fingerprint.to_hex()[..32],
    ] {
        let error = document.find(name).unwrap_err();
        assert!(
            matches!(error, PgpStoreError::NotFound { .. }),
            "{name}: {error}"
        );
    }
    let error = document.find("example.org").unwrap_err();
    assert!(matches!(error, PgpStoreError::Ambiguous { .. }), "{error}");
    let error = document.find("Alice <alice@exampel.org>").unwrap_err();
    assert!(
        matches!(
            error,
            PgpStoreError::NotFound {
                nearest: Some(_),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_cert_that_claims_to_be_another_by_mail_is_not_taken_for_it() {
    let (alice, mallory) = (
        cert("Alice <alice@example.org>"),
        cert("Alice <alice@example.org>"),
    );
    let document = document(&[&alice, &mallory]);
    let error = document.find("alice@example.org").unwrap_err();
    assert!(matches!(error, PgpStoreError::Ambiguous { .. }), "{error}");
    let found = document.find(&mallory.fingerprint().to_hex()).unwrap();
    assert_eq!(found.cert().fingerprint(), mallory.fingerprint());
}

#[test]
fn packets_of_another_key_do_not_get_into_a_cert() {
    let (alice, mallory) = (
        cert("Alice <alice@example.org>"),
        cert("Mallory <m@example.org>"),
    );
    let mut document = document(&[&alice]);
    let mut packets: Vec<sequoia_openpgp::Packet> = alice.clone().into_packets().collect();
    let foreign = mallory.clone().into_packets().skip(1);
    packets.extend(foreign);
    let forged = Cert::from_packets(packets.into_iter()).unwrap();
    document.import(forged).unwrap();
    let state = crate::pgp::state(&document.others[0].cert, now());
    assert_eq!(state.user_ids, ["Alice <alice@example.org>"]);
    let unbound = alice
        .clone()
        .insert_packets(vec![UserID::from("Eve <eve@example.org>")])
        .unwrap()
        .0;
    document.import(unbound).unwrap();
    let state = crate::pgp::state(&document.others[0].cert, now());
    assert_eq!(state.user_ids, ["Alice <alice@example.org>"]);
}

#[test]
fn a_revocation_by_another_key_revokes_nothing() {
    use sequoia_openpgp::cert::CertRevocationBuilder;
    use sequoia_openpgp::types::ReasonForRevocation;
    let alice = cert("Alice <alice@example.org>");
    let mallory = CertBuilder::general_purpose(Some("Mallory <m@example.org>"))
        .generate()
        .unwrap()
        .0;
    let mut document = document(&[&alice]);
    let mut signer = mallory
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .unwrap()
        .into_keypair()
        .unwrap();
    let forged = CertRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"")
        .unwrap()
        .build(&mut signer, &alice, None)
        .unwrap();
    let error = document.import_revocation(forged).unwrap_err();
    assert!(matches!(error, PgpStoreError::Revocation(_)), "{error}");
    assert!(
        crate::pgp::state(&document.others[0].cert, now())
            .problem
            .is_none()
    );
}

#[test]
fn a_cert_that_was_flooded_is_not_taken() {
    let mut flooded = cert("Alice <alice@example.org>");
    let long = "x".repeat(2000);
    let names = (0..600).map(|number| UserID::from(format!("{number} {long}")));
    flooded = flooded.insert_packets(names).unwrap().0;
    let error = Document::default().import(flooded).unwrap_err();
    assert!(matches!(error, PgpStoreError::TooLarge { .. }), "{error}");
}

#[test]
fn the_document_comes_back_as_it_was_written() {
    let alice = cert("Alice <alice@example.org>");
    let mut document = document(&[&alice]);
    let fingerprint = alice.fingerprint().to_hex();
    document.trust("alice", &fingerprint, now()).unwrap();
    let text = serde_json::to_string(&document).unwrap();
    let read: Document = serde_json::from_str(&text).unwrap();
    assert_eq!(read.others[0].cert, alice);
    assert_eq!(read.others[0].mark, document.others[0].mark);
    assert!(serde_json::from_str::<Document>(&text.replace("PGP", "PGQ")).is_err());
}
