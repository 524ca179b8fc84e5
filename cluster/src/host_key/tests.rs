use proptest::prelude::*;
use ssh_key::public::{Ed25519PublicKey, KeyData};

use super::*;

fn key(seed: u8) -> HostKey {
    let data = KeyData::from(Ed25519PublicKey([seed; 32]));
    HostKey::new(&PublicKey::new(data, "comment")).unwrap()
}

fn node() -> Destination {
    "root@node1:2222".parse().unwrap()
}

fn known(seed: u8) -> KnownHosts {
    KnownHosts::new(&[HostPin {
        host: "[node1]:2222".into(),
        key: key(seed).0,
    }])
}

fn nobody(_: &HostKey) -> FirstContact {
    FirstContact::Nobody
}

fn never(_: &HostKey) -> FirstContact {
    panic!("nobody is to be asked")
}

#[test]
fn a_key_is_accepted_by_the_person_who_saw_it() {
    let unknown = KnownHosts::default();
    let pinned = unknown.pin(&node(), &[key(1)], None, |shown| {
        assert_eq!(*shown, key(1));
        FirstContact::Accept
    });
    let pinned = pinned.unwrap();
    assert_eq!(pinned.pin().host, "[node1]:2222");
    let known = KnownHosts::new(&[pinned.pin()]);
    assert_eq!(known.find(&node()).unwrap(), pinned);
    assert_eq!(
        known.find(&"root@node1".parse().unwrap()),
        None,
        "another port"
    );
    let declined = unknown.pin(&node(), &[key(1)], None, |_| FirstContact::Decline);
    assert!(matches!(declined, Err(HostKeyError::Declined { .. })));
}

#[test]
fn the_fingerprint_that_was_given_decides_alone() {
    let unknown = KnownHosts::default();
    let offered = [key(1), key(2)];
    let expected = Some(key(2).fingerprint());
    let pinned = unknown.pin(&node(), &offered, expected, never).unwrap();
    assert_eq!(*pinned.key(), key(2));

    let error = unknown
        .pin(&node(), &offered, Some(key(3).fingerprint()), never)
        .unwrap_err();
    let text = format!(
        "host key of `[node1]:2222` is not {}: it has {}, {}",
        key(3).fingerprint(),
        key(1).fingerprint(),
        key(2).fingerprint()
    );
    assert_eq!(error.to_string(), text);
}

#[test]
fn with_nobody_to_ask_an_unknown_host_is_refused_with_the_way_out() {
    let error = KnownHosts::default()
        .pin(&node(), &[key(1)], None, nobody)
        .unwrap_err();
    let fingerprint = key(1).fingerprint();
    assert_eq!(
        error.to_string(),
        format!("the host of `root@node1:2222` is not known; it offers {fingerprint}")
    );
    let command = format!("`ssh connect root@node1:2222 --fingerprint {fingerprint}`");
    assert!(error.hint().unwrap().ends_with(&command));
}

#[test]
fn a_changed_key_stops_even_a_person_who_would_accept_it() {
    for expected in [None, Some(key(2).fingerprint())] {
        let error = known(1)
            .pin(&node(), &[key(2)], expected, never)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "host key of `[node1]:2222` changed: pinned {}, offered {}",
                key(1).fingerprint(),
                key(2).fingerprint()
            )
        );
    }
}

#[test]
fn a_known_host_is_not_asked_about_again() {
    let offered = [key(2), key(1)];
    let pinned = known(1).pin(&node(), &offered, None, never).unwrap();
    assert_eq!(*pinned.key(), key(1));
    let pinned = known(1).pin(&node(), &offered, Some(key(1).fingerprint()), never);
    assert!(pinned.is_ok());
    let other = known(1).pin(&node(), &offered, Some(key(2).fingerprint()), never);
    assert!(matches!(other, Err(HostKeyError::Unexpected { .. })));
}

#[test]
fn a_host_without_keys_is_refused() {
    for known in [KnownHosts::default(), known(1)] {
        let error = known.pin(&node(), &[], None, never).unwrap_err();
        assert!(matches!(error, HostKeyError::NoKeys { .. }), "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn the_file_is_one_that_open_ssh_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    std::fs::write(&file, known(1).to_string()).unwrap();
    let output = std::process::Command::new("ssh-keygen")
        .args(["-l", "-F", "[node1]:2222", "-f"])
        .arg(&file)
        .output()
        .unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    let fingerprint = key(1).fingerprint().to_string();
    assert!(found.contains(&fingerprint), "{found}");
}

#[test]
fn only_sha256_fingerprints_as_open_ssh_writes_them_are_taken() {
    let good = key(1).fingerprint();
    assert_eq!(
        good.to_string().parse::<HostKeyFingerprint>().unwrap(),
        good
    );
    let text = good.to_string();
    for bad in [
        "",
        "SHA256:",
        &text[7..],
        &format!("{text}="),
        &format!(" {text}"),
        &text[..text.len() - 1],
        &text.replace("SHA256", "sha256"),
        "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
    ] {
        let error = bad.parse::<HostKeyFingerprint>().unwrap_err();
        assert!(error.hint().is_some(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_none_is_read_twice(text in any::<String>()) {
        if let Ok(fingerprint) = text.parse::<HostKeyFingerprint>() {
            prop_assert_eq!(fingerprint.to_string(), text);
        }
    }
}
