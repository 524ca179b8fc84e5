use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

use super::*;

const CONTENT: &[u8] = b"what is signed";

fn pair() -> (SigningKey, PublicKey) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = PublicKey::of_device(key.verifying_key());
    (key, public)
}

fn whole() -> (PublicKey, SignatureFile) {
    let (key, public) = pair();
    let file = SignatureFile::whole(&public, &key.sign(CONTENT));
    (public, file)
}

fn hashed(comment: &str) -> (PublicKey, SignatureFile) {
    let (key, public) = pair();
    let signature = key.sign(&Blake2b512::digest(CONTENT));
    let bound = [&signature.to_bytes()[..], comment.as_bytes()].concat();
    let file = SignatureFile::hashed(&public, &signature, comment, &key.sign(&bound));
    (public, file)
}

#[test]
fn files_read_as_they_were_written() {
    for (public, file) in [whole(), hashed("timestamp:1"), hashed("")] {
        assert_eq!(file.to_file("x").parse::<SignatureFile>().unwrap(), file);
        assert_eq!(public.to_file("x").parse::<PublicKey>().unwrap(), public);
        verify(&public, &file, &mut &*CONTENT).unwrap();
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    for (public, file) in [whole(), hashed("timestamp:1\tfile:a")] {
        let text = file.to_file("x");
        let begin = text.find('\n').unwrap() + 1;
        for at in begin..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else {
                    continue;
                };
                let Ok(changed) = text.parse::<SignatureFile>() else {
                    continue;
                };
                // a line may end in another kind of blank
                let same = changed == file;
                let refused = verify(&public, &changed, &mut &*CONTENT).is_err();
                assert!(same || refused, "byte {at}, bit {bit}: {text}");
            }
        }
        for bit in 0..CONTENT.len() * 8 {
            let mut content = CONTENT.to_vec();
            content[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&public, &file, &mut &*content).is_err());
        }
    }
}

#[test]
fn a_file_that_is_cut_is_refused() {
    let (public, file) = hashed("timestamp:1");
    let text = file.to_file("x");
    for length in 0..text.trim_end().len() {
        assert!(text[..length].parse::<SignatureFile>().is_err(), "{length}");
    }
    let text = public.to_file("x");
    for length in 0..text.trim_end().len() {
        assert!(text[..length].parse::<PublicKey>().is_err(), "{length}");
    }
}

#[test]
fn another_key_and_a_weak_key_are_refused() {
    let (_, file) = whole();
    let other = PublicKey::of_device(SigningKey::from_bytes(&[8; 32]).verifying_key());
    let error = verify(&other, &file, &mut &*CONTENT).unwrap_err();
    assert!(matches!(error, SignifyError::OtherKey { .. }), "{error}");
    let mut point = [0; 32];
    point[0] = 1;
    let weak = PublicKey::of_device(VerifyingKey::from_bytes(&point).unwrap());
    assert!(weak.to_file("x").parse::<PublicKey>().is_err());
}

#[test]
fn a_signature_of_the_device_that_is_not_right_is_thrown_away() {
    let (signer, public) = pair();
    let key = SignifyKey {
        identity: IdentityUri::new("signify", "test").unwrap(),
        public: public.clone(),
    };
    let returned = [&[0][..], signer.verifying_key().as_bytes()].concat();
    let good = [&[0][..], &signer.sign(CONTENT).to_bytes()].concat();
    assert!(signature(&key, &returned, &good, CONTENT).is_ok());
    let error = signature(&key, &returned, &good, b"else").unwrap_err();
    assert!(matches!(error, SignifyError::Unverified(_)), "{error}");
    for cut in [&good[1..], &good[..64], &[][..]] {
        let error = signature(&key, &returned, cut, CONTENT).unwrap_err();
        assert!(matches!(error, SignifyError::Answer(_)), "{error}");
    }
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    let other = [&[0][..], other.as_bytes()].concat();
    let error = signature(&key, &other, &good, CONTENT).unwrap_err();
    assert!(matches!(error, SignifyError::KeyChanged { .. }), "{error}");
}

proptest! {
    #[test]
    fn nothing_panics_on_any_text(text in ".{0,300}") {
        let _ = text.parse::<SignatureFile>();
        let _ = text.parse::<PublicKey>();
        let _ = format!("untrusted comment: x\n{text}").parse::<SignatureFile>();
    }
}
