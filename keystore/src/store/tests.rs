use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use super::*;

type Document = BTreeMap<String, String>;

fn open(home: &Home, xpub: &str, key: u8) -> Result<(WalletStore, bool), StoreError> {
    WalletStore::open(home, xpub, &SecretKey::new(&mut [key; 32]))
}

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::below(&folder.path().join("bcm"));
    (folder, home)
}

#[test]
fn a_wallet_is_known_from_its_second_unlock_on() {
    let (_folder, home) = home();
    let (first, seen) = open(&home, "xpub-1", 1).unwrap();
    assert!(!seen);
    let (again, seen) = open(&home, "xpub-1", 1).unwrap();
    assert!(seen);
    assert_eq!(first.id(), again.id());
    let (other, seen) = open(&home, "xpub-2", 2).unwrap();
    assert!(!seen);
    assert_ne!(first.id(), other.id());
}

#[test]
fn documents_survive_and_updates_that_fail_change_nothing() {
    let (_folder, home) = home();
    let (store, _) = open(&home, "xpub", 1).unwrap();
    assert_eq!(store.read::<Document>("ssh").unwrap(), None);
    store
        .update("ssh", |document: &mut Document| {
            document.insert("node-1".into(), "key".into());
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let refused: Result<(), StoreError> = store.update("ssh", |document: &mut Document| {
        document.clear();
        Err(StoreError::OtherWallet("x".into()))
    });
    assert!(refused.is_err());
    let (again, _) = open(&home, "xpub", 1).unwrap();
    let document: Document = again.read("ssh").unwrap().unwrap();
    assert_eq!(document["node-1"], "key");
}

#[test]
fn another_wallets_state_is_recognised_and_left_untouched() {
    let (_folder, home) = home();
    let (store, _) = open(&home, "xpub", 1).unwrap();
    store
        .write("ssh", &Document::from([("node".into(), "key".into())]))
        .unwrap();
    let path = store.path().join("ssh.sealed");
    let before = fs::read(&path).unwrap();

    assert!(matches!(
        open(&home, "xpub", 2).unwrap_err(),
        StoreError::OtherWallet(_)
    ));

    let stranger = WalletStore {
        sealer: Sealer::new(&SecretKey::new(&mut [2; 32])),
        ..store
    };
    assert!(matches!(
        stranger.write("ssh", &Document::new()).unwrap_err(),
        StoreError::OtherWallet(_)
    ));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn nothing_on_disk_names_a_wallet_or_a_host() {
    let (folder, home) = home();
    let (store, _) = open(&home, "xpub661MyMwAqRbcF", 1).unwrap();
    store
        .write(
            "ssh",
            &Document::from([("node-1.lan".into(), "key".into())]),
        )
        .unwrap();
    let mut files = 0;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            if path.is_dir() {
                assert_eq!(mode, 0o700, "{path:?}");
                folders.push(path);
                continue;
            }
            assert_eq!(mode, 0o600, "{path:?}");
            files += 1;
            let bytes = fs::read(&path).unwrap();
            for word in [&b"node-1"[..], b"xpub661"] {
                assert!(!bytes.windows(word.len()).any(|at| at == word), "{path:?}");
            }
        }
    }
    assert!(files >= 5, "the wallet, its decoys and the salt");
}

#[test]
fn a_new_wallet_comes_with_decoys_of_the_same_look() {
    let (_folder, home) = home();
    let (store, _) = open(&home, "xpub", 1).unwrap();
    store.write("ssh", &Document::new()).unwrap();
    let looks: Vec<_> = fs::read_dir(home.wallets())
        .unwrap()
        .map(|entry| entry.unwrap().path().join("ssh.sealed"))
        .filter(|path| path.exists())
        .map(|path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.len(), metadata.modified().unwrap())
        })
        .collect();
    assert!((4..=8).contains(&looks.len()));
    assert!(looks.iter().all(|look| *look == looks[0]), "{looks:?}");
}

#[test]
fn a_damaged_salt_is_named_and_kept() {
    let (_folder, home) = home();
    open(&home, "xpub", 1).unwrap();
    let salt = home.wallets().join("salt");
    fs::write(&salt, b"short").unwrap();
    let error = open(&home, "xpub", 1).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("salt` is damaged: it has 5 bytes"),
        "{error}"
    );
    assert_eq!(fs::read(&salt).unwrap(), b"short");
}
