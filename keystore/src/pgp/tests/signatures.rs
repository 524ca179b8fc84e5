//! Which signatures are good, and what is said of the others.

use super::*;

const DETACHED: SignMode = SignMode::Detached {
    text: false,
    armor: false,
};

#[test]
fn every_kind_of_signature_verifies_and_says_who_and_when() {
    let mut wallet = Wallet::new();
    for curve in [Curve::Ed25519, Curve::Nist256p1] {
        let own = wallet.make(curve);
        for (text, armor) in [(false, false), (false, true), (true, true)] {
            let signature = wallet.sign(&own, SignMode::Detached { text, armor }, b"a\nb\n");
            let good = wallet.verify(&signature, b"a\nb\n").unwrap();
            assert_eq!(good[0].user_id, SATOSHI);
            assert_eq!(good[0].primary, own.fingerprint());
            assert_eq!(good[0].fingerprint, own.fingerprint());
            assert_eq!(good[0].created, now());
            assert_eq!(good[0].trust, Trust::Own);
            assert_eq!(wallet.verify(&signature, b"a\r\nb\r\n").is_ok(), text);
        }
        for armor in [false, true] {
            let message = wallet.sign(&own, SignMode::Inline { armor }, b"content");
            let (content, good) = wallet.verify_message(&message).unwrap();
            assert_eq!((&content[..], good.len()), (&b"content"[..], 1));
        }
        let message = wallet.sign(&own, SignMode::Clear, b"content\n");
        let (content, _) = wallet.verify_message(&message).unwrap();
        assert_eq!(content.trim_ascii_end(), b"content");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Ed25519);
    let data = b"the data".to_vec();
    let signature = wallet.sign(&own, DETACHED, &data);
    assert!(wallet.verify(&signature, &data).is_ok());
    for at in 0..data.len() * 8 {
        let mut changed = data.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let error = wallet.verify(&signature, &changed).unwrap_err();
        assert!(matches!(error, PgpError::BadSignature { .. }), "{error:?}");
    }
    let hashed = usize::from(u16::from_be_bytes([signature[6], signature[7]]));
    let unhashed = 2 + 6 + hashed;
    let length = u16::from_be_bytes([signature[unhashed], signature[unhashed + 1]]);
    // what is not hashed names the issuer once more, and the digest's first bytes are a hint
    let free = unhashed..unhashed + 2 + usize::from(length) + 2;
    for at in 0..signature.len() * 8 {
        let mut changed = signature.clone();
        changed[at / 8] ^= 1 << (at % 8);
        match wallet.verify(&changed, &data) {
            Err(error) => assert!(error.is_verification(), "bit {at}: {error:?}"),
            Ok(good) => {
                assert!(free.contains(&(at / 8)), "bit {at}");
                assert_eq!(good[0].primary, own.fingerprint());
            }
        }
    }
}

#[test]
fn a_truncated_signature_or_message_is_refused() {
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Ed25519);
    let signature = wallet.sign(&own, DETACHED, b"x");
    for end in 0..signature.len() {
        let error = wallet.verify(&signature[..end], b"x").unwrap_err();
        assert!(error.is_verification(), "{end}: {error:?}");
    }
    for mode in [SignMode::Inline { armor: false }, SignMode::Clear] {
        let message = wallet.sign(&own, mode, b"a few words\n");
        for end in 0..message.len() {
            // the last line of the armor may lose its end
            if mode == SignMode::Clear && end + 40 > message.len() {
                continue;
            }
            let error = wallet.verify_message(&message[..end]).unwrap_err();
            assert!(error.is_verification(), "{mode:?} {end}: {error:?}");
        }
    }
}

#[test]
fn text_around_the_signed_part_is_refused() {
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Ed25519);
    let clear = wallet.sign(
        &own,
        SignMode::Clear,
        b"pay 1\n-----END PGP SIGNATURE-----\n",
    );
    let inline = wallet.sign(&own, SignMode::Inline { armor: true }, b"pay 1\n");
    for start in ["é pay 2\n", "\u{feff}pay 2\n", "日本\n", "ñ\n"] {
        let surrounded = [start.as_bytes(), &clear[..]].concat();
        let error = wallet.verify_message(&surrounded).unwrap_err();
        assert!(error.is_verification(), "{error:?}");
    }
    for message in [clear, inline] {
        assert!(wallet.verify_message(&message).is_ok());
        let blanks = [b"\n \n", &message[..], b"\r\n\n"].concat();
        assert!(wallet.verify_message(&blanks).is_ok());
        for surrounded in [
            [b"pay 2\n", &message[..]].concat(),
            [&message[..], b"pay 2\n"].concat(),
            [&message[..], b"\n\npay 2, without a line end"].concat(),
            [&message[..], b"x"].concat(),
        ] {
            let error = wallet.verify_message(&surrounded).unwrap_err();
            assert!(matches!(error, PgpError::Surrounded), "{error:?}");
        }
    }
}

#[test]
fn an_unknown_signer_is_named_and_a_mark_is_told() {
    let mut wallet = Wallet::new();
    let alice = alice();
    let signature = signed_by(&alice, b"x", now());
    let error = wallet.verify(&signature, b"x").unwrap_err();
    let PgpError::UnknownSigner { issuer } = &error else {
        panic!("{error:?}");
    };
    let signing = alice
        .keys()
        .subkeys()
        .map(|key| key.key().fingerprint().to_hex());
    assert!(signing.collect::<Vec<_>>().contains(issuer));
    assert!(error.is_verification());

    assert!(wallet.import(&alice));
    assert!(!wallet.import(&alice), "nothing new");
    assert_eq!(
        wallet.verify(&signature, b"x").unwrap()[0].trust,
        Trust::Unmarked
    );
    let fingerprint = alice.fingerprint().to_spaced_hex();
    let store = wallet.session.store().clone();
    wallet
        .store
        .trust(&store, "alice@example.org", &fingerprint, now())
        .unwrap();
    let good = wallet.verify(&signature, b"x").unwrap();
    assert_eq!(good[0].trust, Trust::Trusted);
    assert_eq!(good[0].primary, alice.fingerprint());
    assert_ne!(good[0].fingerprint, alice.fingerprint(), "made by a subkey");
    let lines = status_lines(&Verdict::Good(good[0].clone()));
    assert!(lines[1].starts_with("[GNUPG:] GOODSIG "), "{lines:?}");
    assert!(
        lines[2].ends_with(&alice.fingerprint().to_hex()),
        "{lines:?}"
    );
    assert_eq!(lines[3], "[GNUPG:] TRUST_FULLY 0 bcm");
}

#[test]
fn an_expired_cert_is_refused_even_for_what_it_signed_before() {
    let mut wallet = Wallet::new();
    let year = Duration::from_secs(365 * 86_400);
    let age = now().duration_since(UNIX_EPOCH + TREZOR_TIME).unwrap();
    let own = wallet
        .try_make(SATOSHI, Curve::Ed25519, Some(age + year))
        .unwrap();
    wallet
        .store
        .add_own(wallet.session.store(), own.clone())
        .unwrap();
    let signature = wallet.sign(&own, DETACHED, b"x");
    assert!(wallet.verify(&signature, b"x").is_ok());
    let later = now() + 2 * year;
    let error = verify_detached(&wallet.store, &mut &*signature, &mut &b"x"[..], later);
    let error = error.unwrap_err();
    assert!(matches!(error, PgpError::Expired { .. }), "{error:?}");
    assert!(error.to_string().contains(SATOSHI), "{error}");
    let verdicts = examine_detached(&wallet.store, &mut &*signature, &mut &b"x"[..], later);
    let lines = status_lines(&verdicts.unwrap()[0]);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("[GNUPG:] EXPKEYSIG "))
    );
    let purpose = Purpose::new("x");
    let mut out = Vec::new();
    let refused = sign(
        wallet.device(),
        &own,
        DETACHED,
        &purpose,
        &mut &b"x"[..],
        &mut out,
        later,
    );
    assert!(matches!(refused.unwrap_err(), PgpError::Expired { .. }));
    assert!(out.is_empty());
}

#[test]
fn a_weak_hash_and_an_unsigned_message_are_refused() {
    let mut wallet = Wallet::new();
    let alice = alice();
    wallet.import(&alice);
    let mut literal = Vec::new();
    {
        use openpgp::serialize::stream::{LiteralWriter, Message};
        use std::io::Write as _;
        let mut message = LiteralWriter::new(Message::new(&mut literal))
            .build()
            .unwrap();
        message.write_all(b"unsigned").unwrap();
        message.finalize().unwrap();
    }
    let error = wallet.verify_message(&literal).unwrap_err();
    assert!(matches!(error, PgpError::NotSigned), "{error:?}");
    let error = wallet.decrypt(&literal).unwrap_err();
    assert!(matches!(error, PgpError::NotEncrypted), "{error:?}");
    let weak = signed_with(&alice, b"x", now(), openpgp::types::HashAlgorithm::SHA1);
    let error = wallet.verify(&weak, b"x").unwrap_err();
    assert!(matches!(error, PgpError::BadSignature { .. }), "{error:?}");
    for rubbish in [
        &b""[..],
        b"hello",
        b"-----BEGIN PGP SIGNATURE-----\n",
        &[0xff; 64],
    ] {
        let error = wallet.verify(rubbish, b"x").unwrap_err();
        assert!(error.is_verification(), "{error:?}");
        assert!(
            wallet
                .verify_message(rubbish)
                .unwrap_err()
                .is_verification()
        );
        assert!(wallet.decrypt(rubbish).unwrap_err().is_verification());
    }
    let future = signed_by(&alice, b"x", now() + Duration::from_secs(3600));
    assert!(wallet.verify(&future, b"x").is_err());
}

#[test]
fn an_input_that_cannot_be_read_is_no_bad_signature() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Ed25519);
    let signature = wallet.sign(&own, DETACHED, b"x");
    let error = verify_detached(&wallet.store, &mut &*signature, &mut Broken, now()).unwrap_err();
    assert!(matches!(error, PgpError::Read(_)), "{error:?}");
    let error = verify_message(&wallet.store, &mut Broken, None, now()).unwrap_err();
    assert!(matches!(error, PgpError::Read(_)), "{error:?}");
    let error = decrypt(
        wallet.device(),
        &wallet.store,
        &mut Broken,
        &mut std::io::sink(),
        now(),
    );
    assert!(matches!(error.unwrap_err(), PgpError::Read(_)));
}

fn signed_by(cert: &Cert, data: &[u8], at: SystemTime) -> Vec<u8> {
    signed_with(cert, data, at, openpgp::types::HashAlgorithm::SHA512)
}

fn signed_with(
    cert: &Cert,
    data: &[u8],
    at: SystemTime,
    hash: openpgp::types::HashAlgorithm,
) -> Vec<u8> {
    use openpgp::serialize::MarshalInto;
    let policy = openpgp::policy::StandardPolicy::at(now());
    let key = cert
        .keys()
        .secret()
        .with_policy(&policy, now())
        .for_signing()
        .next()
        .unwrap();
    let mut pair = key.key().clone().into_keypair().unwrap();
    let builder =
        openpgp::packet::signature::SignatureBuilder::new(openpgp::types::SignatureType::Binary);
    let signature = builder
        .set_signature_creation_time(at)
        .unwrap()
        .set_hash_algo(hash)
        .sign_message(&mut pair, data)
        .unwrap();
    openpgp::Packet::from(signature).to_vec().unwrap()
}
