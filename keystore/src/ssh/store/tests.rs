use ssh_key::public::{Ed25519PublicKey, KeyData};

use super::*;
use crate::identity::Curve;
use crate::secret::SecretKey;
use crate::store::Home;

fn key(login: &str, seed: u8) -> SshKey {
    let data = KeyData::from(Ed25519PublicKey([seed; 32]));
    SshKey::new(login.parse().unwrap(), Curve::Ed25519, data).unwrap()
}

fn wallet(folder: &std::path::Path) -> WalletStore {
    let key = SecretKey::new(&mut [7; 32]);
    WalletStore::open(&Home::below(folder), "xpub", &key)
        .unwrap()
        .0
}

#[test]
fn keys_and_hosts_are_there_again_when_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = wallet(folder.path());
    let mut store = SshStore::open(&wallet).unwrap();
    assert!(store.keys().is_empty());
    store.add(key("root@node1", 1)).unwrap();
    let pin = |seed| HostPin {
        host: "node1".into(),
        key: PublicKey::from(KeyData::from(Ed25519PublicKey([seed; 32]))),
    };
    store.pin_hosts(vec![pin(5)]).unwrap();
    store.pin_hosts(vec![pin(6)]).unwrap();

    let mut again = SshStore::open(&wallet).unwrap();
    assert_eq!(again.keys(), [key("root@node1", 1)]);
    assert_eq!(again.hosts(), [pin(6)]);
    assert!(again.unpin_host("node1").unwrap());
    assert!(!again.unpin_host("node1").unwrap());
    assert_eq!(again.remove("root@node1").unwrap(), key("root@node1", 1));
    assert!(SshStore::open(&wallet).unwrap().keys().is_empty());
}

#[test]
fn two_open_stores_do_not_overwrite_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = wallet(folder.path());
    let mut one = SshStore::open(&wallet).unwrap();
    let mut two = SshStore::open(&wallet).unwrap();
    one.add(key("root@node1", 1)).unwrap();
    two.add(key("root@node2", 2)).unwrap();
    assert_eq!(two.keys().len(), 2);
    assert_eq!(SshStore::open(&wallet).unwrap().keys().len(), 2);
}

#[test]
fn a_key_is_added_once() {
    let mut document = Document::default();
    document.add(key("root@node1", 1)).unwrap();
    let error = document.add(key("root@node1", 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key `<ssh://root@node1|ed25519>` is already in the ssh store"
    );
    let error = document.add(key("root@node1", 2)).unwrap_err();
    assert!(matches!(error, SshStoreError::Changed { .. }), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(document.keys.len(), 1);
}

#[test]
fn a_key_is_found_by_each_of_its_names() {
    let mut document = Document::default();
    document.add(key("root@node1", 1)).unwrap();
    document.add(key("root@node2:2222", 2)).unwrap();
    let fingerprint = document.keys[1].fingerprint().to_string();
    for name in [
        "root@node2:2222",
        "ssh://root@node2:2222",
        "<ssh://root@node2:2222|ed25519>",
        "root@node2:2222|ed25519",
        &fingerprint,
        &fingerprint[..14],
        &fingerprint[7..12],
    ] {
        assert_eq!(document.index(name).unwrap(), 1, "{name}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let mut document = Document::default();
    document.add(key("root@node1", 1)).unwrap();
    let error = document.index("root@nod1").unwrap_err();
    assert_eq!(error.to_string(), "no SSH key `root@nod1`");
    assert_eq!(error.hint().unwrap(), "did you mean `root@node1`?");
    let error = document.index("").unwrap_err();
    assert!(error.hint().unwrap().contains("ssh newkey"));
}

#[test]
fn a_name_of_two_keys_is_ambiguous() {
    let mut document = Document::default();
    document.add(key("root@node1", 1)).unwrap();
    let point = p256::SecretKey::from_slice(&[1; 32]).unwrap().public_key();
    let point = ssh_key::public::EcdsaPublicKey::from(p256::ecdsa::VerifyingKey::from(point));
    let identity: SshIdentity = "root@node1".parse().unwrap();
    let second = SshKey::new(identity.clone(), Curve::Nist256p1, point.into()).unwrap();
    document.add(second).unwrap();
    let error = document.index("root@node1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`root@node1` names 2 keys: <ssh://root@node1|ed25519>, <ssh://root@node1|nist256p1>"
    );
    assert_eq!(document.index("root@node1|nist256p1").unwrap(), 1);
    assert_eq!(document.for_login(&identity).len(), 2);
}

#[test]
fn a_login_takes_its_own_key_else_the_one_that_differs_in_the_default_port() {
    let mut document = Document::default();
    document.add(key("root@node1:22", 1)).unwrap();
    document.add(key("root@node1:2222", 2)).unwrap();
    for (login, found) in [
        ("root@node1", vec![1]),
        ("root@node1:22", vec![1]),
        ("root@node1:2222", vec![2]),
        ("root@node1:23", vec![]),
        ("bcm@node1", vec![]),
    ] {
        let keys = document.for_login(&login.parse().unwrap());
        let expected: Vec<_> = found
            .iter()
            .map(|seed| key("x@y", *seed).fingerprint())
            .collect();
        let fingerprints: Vec<_> = keys.iter().map(|key| key.fingerprint()).collect();
        assert_eq!(fingerprints, expected, "{login}");
    }
}
