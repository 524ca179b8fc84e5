use std::os::unix::fs::symlink;

use ::age::x25519;

use super::*;
use crate::age::DeviceKey;

/// The key `backup` of the recorded wallet, which here nobody opens.
fn device() -> DeviceKey {
    serde_json::from_str(
        r#"{"name":"backup","recipient":"age13w833gw3nx8tvx6wudl6jzmhru7pc6d5zm6hpugjf94a8xums3eqfyk3qa"}"#,
    )
    .unwrap()
}

struct Store {
    store: PasswordStore,
    key: x25519::Identity,
    folder: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: PasswordStore::new(folder.path().join("store")),
            key: x25519::Identity::generate(),
            folder,
        }
    }

    fn write(&self, place: &str, secret: &[u8], replace: bool) -> Result<(), PasswordError> {
        let recipients: Vec<Box<dyn Recipient + Send>> = vec![Box::new(self.key.to_public())];
        self.store
            .write(&name(place), &Entry::of_secret(secret), recipients, replace)
    }

    fn read(&self, place: &str) -> Result<Entry, PasswordError> {
        self.store
            .read(&name(place), vec![Box::new(self.key.clone())])
    }

    fn names(&self, folder: Option<&str>) -> Vec<String> {
        let folder = folder.map(name);
        let names = self.store.list(folder.as_ref()).unwrap();
        names.iter().map(ToString::to_string).collect()
    }
}

fn name(text: &str) -> PasswordName {
    text.parse().unwrap()
}

#[test]
fn passwords_come_back_and_go() {
    let store = Store::new();
    assert!(store.names(None).is_empty());
    store
        .write("web/example.org/alice", b"hunter2", false)
        .unwrap();
    store.write("root", b"x", false).unwrap();
    assert_eq!(
        store.read("web/example.org/alice").unwrap().secret(),
        b"hunter2"
    );
    assert_eq!(store.read("root").unwrap().content(), b"x\n");
    assert_eq!(store.names(None), ["root", "web/example.org/alice"]);
    assert_eq!(store.names(Some("web")), ["web/example.org/alice"]);
    assert!(store.store.list(Some(&name("nothing"))).is_err());
    assert!(store.store.list(Some(&name("root"))).is_err());
    assert_eq!(store.store.count().unwrap(), 2);

    store.store.remove(&name("web/example.org/alice")).unwrap();
    assert!(!store.store.root().join("web").exists());
    assert!(matches!(
        store.store.remove(&name("rot")).unwrap_err(),
        PasswordError::NotFound { nearest: Some(nearest), .. } if nearest == "root"
    ));
    assert!(matches!(
        store.read("nothing/alike").unwrap_err(),
        PasswordError::NotFound { nearest: None, .. }
    ));
}

#[test]
fn files_are_private_and_nothing_else_is_left_behind() {
    let store = Store::new();
    store.write("a/b", b"secret", false).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.store.root()), 0o700);
    assert_eq!(mode(&store.store.root().join("a")), 0o700);
    assert_eq!(mode(&store.store.root().join("a/b.age")), 0o600);
    let entries = fs::read_dir(store.store.root().join("a")).unwrap();
    assert_eq!(entries.count(), 1);
}

#[test]
fn what_is_there_is_replaced_only_on_purpose() {
    let store = Store::new();
    store.write("a", b"old", false).unwrap();
    assert!(matches!(
        store.write("a", b"new", false).unwrap_err(),
        PasswordError::Exists(_)
    ));
    assert_eq!(store.read("a").unwrap().secret(), b"old");
    store
        .store
        .keep_as(&name("a"), &name("a.old"), false)
        .unwrap();
    store.write("a", b"new", true).unwrap();
    assert_eq!(store.read("a").unwrap().secret(), b"new");
    assert_eq!(store.read("a.old").unwrap().secret(), b"old");
    assert!(
        store
            .store
            .keep_as(&name("a"), &name("a.old"), false)
            .is_err()
    );
}

#[test]
fn links_are_not_followed() {
    let store = Store::new();
    store.write("a", b"x", false).unwrap();
    let outside = store.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, store.store.root().join("out")).unwrap();
    symlink(
        store.store.root().join("a.age"),
        store.store.root().join("b.age"),
    )
    .unwrap();
    assert!(matches!(
        store.write("out/x", b"x", true).unwrap_err(),
        PasswordError::Symlink(_)
    ));
    assert!(matches!(
        store.read("b").unwrap_err(),
        PasswordError::Symlink(_)
    ));
    assert!(matches!(
        store.write("b", b"y", true).unwrap_err(),
        PasswordError::Symlink(_)
    ));
    assert_eq!(store.names(None), ["a"]);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn recipients_are_those_of_the_nearest_list_with_the_device_first() {
    let store = Store::new();
    let device = device();
    let other = x25519::Identity::generate().to_public().to_string();
    assert!(store.store.begin(&device).unwrap());
    assert!(!store.store.begin(&device).unwrap());
    assert_eq!(store.store.recipients(None).unwrap(), [device.to_string()]);
    let work = name("work");
    store
        .store
        .add_recipient(Some(&work), &other, &device)
        .unwrap();
    assert_eq!(
        store.store.recipients(Some(&name("work/deep/er"))).unwrap(),
        [device.to_string(), other.clone()]
    );
    assert_eq!(
        store.store.recipients(Some(&name("home"))).unwrap().len(),
        1
    );
    let count = |place: &str| {
        let recipients =
            store
                .store
                .recipients_for(&name(place), &device, std::slice::from_ref(&other));
        recipients.unwrap().len()
    };
    assert_eq!(count("work/x"), 2);
    assert_eq!(count("x"), 1);
    assert!(matches!(
        store
            .store
            .add_recipient(Some(&work), &other, &device)
            .unwrap_err(),
        PasswordError::RecipientThere(_)
    ));
    store.store.remove_recipient(Some(&work), &other).unwrap();
    assert_eq!(count("work/x"), 1);
    assert!(store.store.remove_recipient(Some(&work), &other).is_err());
    assert!(
        store
            .store
            .add_recipient(None, "age1nonsense", &device)
            .is_err()
    );
    assert!(store.names(None).is_empty());
}

#[test]
fn a_list_without_the_device_or_with_nonsense_is_noticed() {
    let store = Store::new();
    let device = device();
    fs::create_dir_all(store.store.root()).unwrap();
    let list = store.store.root().join(".age-recipients");
    let other = store.key.to_public();
    fs::write(&list, format!("# friends\n\n{other}\n")).unwrap();
    let accepted = [other.to_string(), "nonsense".to_owned()];
    let recipients = || store.store.recipients_for(&name("x"), &device, &accepted);
    assert_eq!(recipients().unwrap().len(), 2);
    let stranger = store.store.recipients_for(&name("x"), &device, &[]);
    assert!(matches!(
        stranger.map(|_| ()).unwrap_err(),
        PasswordError::NotAccepted { .. }
    ));
    fs::write(&list, format!("{other}\nnonsense\n")).unwrap();
    assert!(matches!(
        recipients().map(|_| ()).unwrap_err(),
        PasswordError::Recipient { line: 2, .. }
    ));
    // a store that passage uses without a list stays without one
    fs::remove_file(&list).unwrap();
    store.write("x", b"x", false).unwrap();
    assert!(!store.store.begin(&device).unwrap());
    assert!(!list.exists());
}

#[test]
fn what_was_written_before_the_list_changed_is_outdated() {
    let store = Store::new();
    store.write("a", b"x", false).unwrap();
    store.write("b", b"x", false).unwrap();
    assert!(store.store.outdated(None).unwrap().is_empty());
    let other = x25519::Identity::generate().to_public().to_string();
    store.store.add_recipient(None, &other, &device()).unwrap();
    assert_eq!(store.store.outdated(None).unwrap().len(), 2);
    std::thread::sleep(std::time::Duration::from_millis(20));
    store.write("a", b"x", true).unwrap();
    assert_eq!(store.store.outdated(None).unwrap(), [name("b")]);
}

#[test]
fn the_first_line_is_the_secret() {
    let entry = Entry::read(&b"secret\r\nuser: alice\n"[..]).unwrap();
    assert_eq!(entry.secret(), b"secret");
    let changed = entry.with_secret(b"new");
    assert_eq!(changed.content(), b"new\nuser: alice\n");
    assert_eq!(Entry::read(&b"one"[..]).unwrap().content(), b"one\n");
    assert_eq!(format!("{entry:?}"), "Entry([redacted])");
    assert!(matches!(Entry::read(&b""[..]), Err(PasswordError::Empty)));
    assert!(matches!(
        Entry::read(&b"\nx"[..]),
        Err(PasswordError::Empty)
    ));
    assert!(matches!(
        Entry::read(io::repeat(b'x')),
        Err(PasswordError::TooLong)
    ));
    let longest = io::repeat(b'x').take(MAX_SECRET as u64);
    assert_eq!(
        Entry::read(longest).unwrap().content().len(),
        MAX_SECRET + 1
    );
}

#[test]
fn a_file_that_is_damaged_or_huge_is_refused() {
    let store = Store::new();
    store.write("a", b"x", false).unwrap();
    let path = store.store.root().join("a.age");
    let mut file = fs::read(&path).unwrap();
    *file.last_mut().unwrap() ^= 1;
    fs::write(&path, &file).unwrap();
    assert!(matches!(
        store.read("a").unwrap_err(),
        PasswordError::Age {
            error: AgeError::Damaged(_),
            ..
        }
    ));
    let mut huge = Vec::new();
    let recipients: Vec<Box<dyn Recipient + Send>> = vec![Box::new(store.key.to_public())];
    encrypt(
        recipients,
        false,
        &mut io::repeat(b'x').take(3 << 20),
        &mut huge,
    )
    .unwrap();
    fs::write(&path, huge).unwrap();
    assert!(matches!(
        store.read("a").unwrap_err(),
        PasswordError::TooLong
    ));
}
