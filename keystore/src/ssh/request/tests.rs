use proptest::prelude::*;
use ssh_agent_lib::ssh_encoding::Encode;
use ssh_key::public::Ed25519PublicKey;

use super::*;

fn key(seed: u8) -> KeyData {
    KeyData::from(Ed25519PublicKey([seed; 32]))
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    bytes.encode(out).unwrap();
}

fn blob(key: &KeyData) -> Vec<u8> {
    let mut blob = Vec::new();
    key.encode(&mut blob).unwrap();
    blob
}

fn login_request(method: &str, service: &str, algorithm: &str, host: Option<&KeyData>) -> Vec<u8> {
    let mut data = Vec::new();
    string(&mut data, &[9; 32]);
    data.push(50);
    for text in ["root", service, method] {
        string(&mut data, text.as_bytes());
    }
    data.push(1);
    string(&mut data, algorithm.as_bytes());
    string(&mut data, &blob(&key(1)));
    if let Some(host) = host {
        string(&mut data, &blob(host));
    }
    data
}

fn hostbound() -> Vec<u8> {
    let method = "publickey-hostbound-v00@openssh.com";
    login_request(method, "ssh-connection", "ssh-ed25519", Some(&key(2)))
}

fn file_request(namespace: &str, hash: &str, digest: &[u8]) -> Vec<u8> {
    let mut data = SSHSIG.to_vec();
    string(&mut data, namespace.as_bytes());
    string(&mut data, b"");
    string(&mut data, hash.as_bytes());
    string(&mut data, digest);
    data
}

#[test]
fn both_methods_of_login_are_read() {
    let plain = login_request("publickey", "ssh-connection", "ssh-ed25519", None);
    for (data, host_key) in [(plain, None), (hostbound(), Some(key(2)))] {
        let expected = Login {
            certificate: None,
            session_id: vec![9; 32],
            user: "root".into(),
            key: key(1),
            host_key,
        };
        assert_eq!(
            SignedData::parse(&data).unwrap(),
            SignedData::Login(Box::new(expected))
        );
    }
}

#[test]
fn a_file_signature_is_read() {
    for (hash, length) in [("sha256", 32), ("sha512", 64)] {
        let data = file_request("git", hash, &vec![3; length]);
        let expected = FileSignature {
            namespace: "git".into(),
            hash: hash.into(),
            digest: vec![3; length],
        };
        assert_eq!(
            SignedData::parse(&data).unwrap(),
            SignedData::File(expected)
        );
    }
}

#[test]
fn what_only_looks_like_a_login_is_malformed() {
    let mut trailing = hostbound();
    trailing.push(0);
    let no_host = login_request(
        "publickey-hostbound-v00@openssh.com",
        "ssh-connection",
        "ssh-ed25519",
        None,
    );
    for data in [
        trailing,
        no_host,
        login_request("password", "ssh-connection", "ssh-ed25519", None),
        login_request("publickey", "ssh-userauth", "ssh-ed25519", None),
        login_request("publickey", "ssh-connection", "ssh-rsa", None),
        login_request("publickey", "ssh-connection", "ssh-ed25519", Some(&key(2))),
    ] {
        let error = SignedData::parse(&data).unwrap_err();
        assert_eq!(error.to_string(), "the login is malformed");
    }
}

#[test]
fn what_only_looks_like_a_file_signature_is_malformed() {
    let mut trailing = file_request("git", "sha256", &[3; 32]);
    trailing.push(0);
    for data in [
        trailing,
        file_request("", "sha256", &[3; 32]),
        file_request("git", "md5", &[3; 16]),
        file_request("git", "sha512", &[3; 32]),
        file_request(&"n".repeat(MAX_TEXT + 1), "sha256", &[3; 32]),
        SSHSIG.to_vec(),
    ] {
        let error = SignedData::parse(&data).unwrap_err();
        assert_eq!(error.to_string(), "the file signature is malformed");
    }
}

#[test]
fn more_than_a_device_should_be_sent_is_refused() {
    let error = SignedData::parse(&[0; MAX_SIGNED + 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4097 bytes are too many to sign, 4096 at most"
    );
}

#[test]
fn everything_else_is_unknown() {
    let certificate = b"\0\0\0\x20ssh-ed25519-cert-v01@openssh.com\0\0\0\x20nonce";
    for data in [
        &b""[..],
        b"\0",
        b"hello",
        &[0xff; 100],
        &[0; 100],
        certificate,
    ] {
        let error = SignedData::parse(data).unwrap_err();
        assert!(matches!(error, RequestError::Unknown), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = SignedData::parse(&data);
        let _ = SignedData::parse(&[SSHSIG, &data].concat());
    }

    #[test]
    fn a_cut_request_is_refused(at in 0_usize..1000, file in any::<bool>()) {
        let whole = if file { file_request("git", "sha256", &[3; 32]) } else { hostbound() };
        prop_assert!(SignedData::parse(&whole).is_ok());
        prop_assert!(SignedData::parse(&whole[..at % whole.len()]).is_err());
    }

    #[test]
    fn a_damaged_request_panics_nobody(at in 0_usize..1000, byte in any::<u8>()) {
        let mut data = hostbound();
        let at = at % data.len();
        data[at] = byte;
        let _ = SignedData::parse(&data);
    }
}
