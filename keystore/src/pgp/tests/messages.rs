//! Encrypted messages: which are opened, and what is said of the others.

use super::*;

#[test]
fn a_message_is_opened_by_every_recipient_and_costs_one_confirmation() {
    let mut wallet = Wallet::new();
    let alice = alice();
    for curve in [Curve::Ed25519, Curve::Nist256p1] {
        let own = wallet.make(curve);
        let message = encrypted(&[&alice, own.cert()], b"secret");
        let (content, opened) = wallet.decrypt(&message).unwrap();
        assert_eq!(content, b"secret");
        assert_eq!(
            opened.recipient,
            own.encryption_key().unwrap().fingerprint()
        );
        assert!(opened.signatures.is_empty());
    }
    let message = encrypted(&[&alice], b"secret");
    let error = wallet.decrypt(&message).unwrap_err();
    assert!(
        matches!(&error, PgpError::NotForUs(keys) if keys.len() == 1),
        "{error:?}"
    );
}

#[test]
fn a_flipped_bit_and_a_cut_off_end_are_refused() {
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Ed25519);
    let message = encrypted(&[own.cert()], b"a few words that are secret");
    assert!(wallet.decrypt(&message).is_ok());
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        let error = wallet.decrypt(&changed).unwrap_err();
        let other_recipient = matches!(error, PgpError::NotForUs(_));
        assert!(
            error.is_verification() || other_recipient,
            "{at}: {error:?}"
        );
    }
    for end in 0..message.len() {
        let error = wallet.decrypt(&message[..end]).unwrap_err();
        assert!(error.is_verification(), "{end}: {error:?}");
    }
}

#[test]
fn the_format_of_rfc_9580_is_opened_and_refused_when_it_is_cut_off_or_changed() {
    use openpgp::serialize::stream::{Encryptor, LiteralWriter, Message, Recipient};
    use std::io::Write as _;
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Nist256p1);
    let policy = openpgp::policy::StandardPolicy::at(now());
    let keys = own
        .cert()
        .keys()
        .with_policy(&policy, now())
        .for_storage_encryption();
    let mut message = Vec::new();
    let keys = keys.map(|key| {
        Recipient::new(
            openpgp::types::Features::sequoia(),
            key.key().key_handle(),
            key.key(),
        )
    });
    let writer = Encryptor::for_recipients(Message::new(&mut message), keys)
        .build()
        .unwrap();
    let mut writer = LiteralWriter::new(writer).build().unwrap();
    writer.write_all(b"a few words").unwrap();
    writer.finalize().unwrap();
    assert_eq!(wallet.decrypt(&message).unwrap().0, b"a few words");
    for end in 0..message.len() {
        let error = wallet.decrypt(&message[..end]).unwrap_err();
        assert!(error.is_verification(), "{end}: {error:?}");
    }
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 0x10;
        let error = wallet.decrypt(&changed).unwrap_err();
        let other_recipient = matches!(error, PgpError::NotForUs(_));
        assert!(
            error.is_verification() || other_recipient,
            "{at}: {error:?}"
        );
    }
}

#[test]
fn a_message_without_integrity_protection_is_refused() {
    use openpgp::serialize::MarshalInto;
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Ed25519);
    let message = encrypted(&[own.cert()], b"secret");
    let packets: Vec<_> = {
        use openpgp::parse::Parse;
        openpgp::PacketPile::from_bytes(&message)
            .unwrap()
            .into_children()
            .collect()
    };
    let mut old = packets[0].to_vec().unwrap();
    // packet 9, as PGP wrote it in the nineties
    old.extend([0xc0 | 9, 20]);
    old.extend([0x55; 20]);
    let error = wallet.decrypt(&old).unwrap_err();
    assert!(matches!(error, PgpError::NoIntegrity), "{error:?}");
}

#[test]
fn a_message_cannot_make_the_device_ask_over_and_over() {
    use crate::simulator::{Script, Shown};
    use openpgp::parse::Parse;
    use openpgp::serialize::MarshalInto;
    let person = Script::new([]);
    let simulator = Simulator::builder().person(person.clone()).build();
    let mut wallet = Wallet::on(&simulator, "bcm test");
    let own = wallet.make(Curve::Ed25519);
    let message = encrypted(&[own.cert()], b"secret");
    let packets: Vec<_> = openpgp::PacketPile::from_bytes(&message)
        .unwrap()
        .into_children()
        .collect();
    let mut wrong = packets[0].to_vec().unwrap();
    *wrong.last_mut().unwrap() ^= 1;
    let mut nagging = wrong.repeat(10);
    nagging.extend(packets[1].to_vec().unwrap());
    person.take_shown();
    let error = wallet.decrypt(&nagging).unwrap_err();
    assert!(matches!(error, PgpError::Malformed(_)), "{error:?}");
    let asked = person.take_shown();
    let asked = asked
        .iter()
        .filter(|shown| matches!(shown, Shown::Question(_)));
    assert_eq!(asked.count(), 4);
}

#[test]
fn a_recipient_that_cannot_encrypt_is_named() {
    let wallet = Wallet::new();
    let day = Duration::from_secs(86_400);
    let signer = CertBuilder::new()
        .add_userid("Signer <s@example.org>")
        .add_signing_subkey()
        .set_creation_time(now() - day)
        .generate()
        .unwrap()
        .0;
    let short = CertBuilder::general_purpose(Some("Short <s@example.org>"))
        .set_creation_time(now() - 2 * day)
        .set_validity_period(day)
        .generate()
        .unwrap()
        .0;
    let (revoked, revocation) = CertBuilder::general_purpose(Some("Gone <g@example.org>"))
        .set_creation_time(now() - day)
        .generate()
        .unwrap();
    let revoked = revoked.insert_packets(vec![revocation]).unwrap().0;
    let refused = |cert: &Cert| {
        let mut message = Vec::new();
        let recipients = [alice(), cert.clone()];
        let error = encrypt(&recipients, false, &mut &b"x"[..], &mut message, now());
        assert!(message.is_empty());
        error.unwrap_err()
    };
    let error = refused(&signer);
    assert!(matches!(error, PgpError::CannotEncrypt { .. }), "{error:?}");
    assert!(
        error.to_string().contains("Signer <s@example.org>"),
        "{error}"
    );
    let error = refused(&short);
    assert!(matches!(error, PgpError::Expired { .. }), "{error:?}");
    let error = refused(&revoked);
    assert!(matches!(error, PgpError::Revoked { .. }), "{error:?}");
    let mut message = Vec::new();
    let error = encrypt(&[], false, &mut &b"x"[..], &mut message, now()).unwrap_err();
    assert!(matches!(error, PgpError::NoRecipient), "{error:?}");
    drop(wallet);
}

#[test]
fn a_message_of_many_pieces_goes_through_in_both_directions() {
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Ed25519);
    let data: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let message = encrypted(&[own.cert()], &data);
    assert_eq!(wallet.decrypt(&message).unwrap().0, data);
    let signed = wallet.sign(&own, SignMode::Inline { armor: false }, &data);
    assert_eq!(wallet.verify_message(&signed).unwrap().0, data);
}
