use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

use super::*;

const CONTENT: &[u8] = b"what is signed";

fn armor(namespace: &str) -> String {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    SshSig::sign(&key, namespace, HashAlg::Sha512, CONTENT)
        .unwrap()
        .to_pem(LineEnding::LF)
        .unwrap()
}

/// Armors bytes that need not be a signature.
fn armored(bytes: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(bytes).into_bytes();
    let lines: Vec<_> = text
        .chunks(70)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let (begin, end) = (
        "-----BEGIN SSH SIGNATURE-----",
        "-----END SSH SIGNATURE-----",
    );
    format!("{begin}\n{}\n{end}\n", lines.join("\n"))
}

fn verify(armor: &[u8], content: &[u8]) -> Result<GoodSshSig, SshSigError> {
    verify_file(armor, &Namespace::default(), &mut &*content)
}

#[test]
fn a_good_signature_names_its_key() {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    let good = verify(armor("file").as_bytes(), CONTENT).unwrap();
    assert_eq!(good.key(), key.public_key().key_data());
}

#[test]
fn the_layout_is_that_of_the_crate() {
    let digest = Sha256::digest(CONTENT);
    let ours = signed_data("git", &[], HashAlg::Sha256, &digest);
    let theirs = SshSig::signed_data("git", HashAlg::Sha256, CONTENT).unwrap();
    assert_eq!(ours, theirs);
}

#[test]
fn a_signature_for_something_else_is_refused_with_its_name() {
    let error = verify(armor("git").as_bytes(), CONTENT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the signature is for the namespace `git`, not for `file`"
    );
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let signature = SshSig::from_pem(armor("file")).unwrap();
    let mut bytes = Vec::new();
    signature.encode(&mut bytes).unwrap();
    assert!(verify(armored(&bytes).as_bytes(), CONTENT).is_ok());
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(
            verify(armored(&bytes).as_bytes(), CONTENT).is_err(),
            "bit {bit}"
        );
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    let armor = armor("file");
    for bit in 0..CONTENT.len() * 8 {
        let mut content = CONTENT.to_vec();
        content[bit / 8] ^= 1 << (bit % 8);
        let error = verify(armor.as_bytes(), &content).unwrap_err();
        assert!(matches!(error, SshSigError::Bad(_)), "{error}");
    }
}

#[test]
fn a_signature_that_is_cut_is_refused() {
    let armor = armor("file");
    for length in 0..armor.trim_end().len() {
        assert!(verify(&armor.as_bytes()[..length], CONTENT).is_err());
    }
}

#[test]
fn a_namespace_is_one_visible_word() {
    for wrong in ["", "a b", "a\n", "\u{1b}[2J", &"a".repeat(65)] {
        assert!(wrong.parse::<Namespace>().is_err(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_on_any_bytes(bytes: Vec<u8>) {
        let _ = verify(&bytes, CONTENT);
        let _ = verify(armored(&bytes).as_bytes(), CONTENT);
    }
}
