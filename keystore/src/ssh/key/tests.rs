use serde_json::Value;

use super::*;

const IDENTITIES: &str = include_str!("../../../vectors/identities.json");
const LINES: &str = include_str!("../../../vectors/peers/trezor-agent-ssh.txt");

/// The 100 bytes that the transcripts `sign-ssh-*` have signed.
fn challenge() -> Vec<u8> {
    (0..100).collect()
}

/// What the device answered in transcript `sign-ssh-ed25519`, key and signature.
const ED25519: (&str, &str) = (
    "007a135e86dfc97b211db9e4799ba35ea5a87b13a7b8bccea5f6df1693a09d31d8",
    "00153bd865fc8af34bb86c3c692129dfc4b237a1d662010ed5b1ae225575a1d5c7b95e78fdb6745f264f64a28c3271\
     5b72d1dcec825b0752c4a7343918c1208f07",
);

/// What the device answered in transcript `sign-ssh-nist256p1`, key and signature.
const NIST256P1: (&str, &str) = (
    "033dad6ed0a73b737804837965a0fde3002be231e9379e489852a4314d38711434",
    "00b5d11af83ad734ccb307ca23a60f719c17769d0ad7c67f5ee36d06ae3349b7d25d102ebfc1b3ab39cdc6de5a4389\
     d4d6508a4bde5d2eff6e55ef5c982a212c09",
);

fn key(curve: Curve, bytes: &str) -> SshKey {
    let data = key_data(curve, &hex::decode(bytes).unwrap()).unwrap();
    SshKey::new("satoshi@bitcoin.org".parse().unwrap(), curve, data).unwrap()
}

#[test]
fn lines_are_those_of_trezor_agent() {
    let identities: Value = serde_json::from_str(IDENTITIES).unwrap();
    let recorded = identities["keys"].as_array().unwrap();
    let mut compared = 0;
    for line in LINES.lines() {
        let mut words = line.splitn(3, ' ');
        let curve: Curve = words.next().unwrap().parse().unwrap();
        let identity: SshIdentity = words.next().unwrap().parse().unwrap();
        let expected = words.next().unwrap().trim();
        let vector = recorded.iter().find(|key| {
            key["identity"] == identity.to_string()
                && key["index"] == 0
                && key["slip"] == 13
                && key["curve"] == curve.name()
        });
        let bytes = hex::decode(vector.unwrap()["public_key"].as_str().unwrap()).unwrap();
        let key = SshKey::new(identity, curve, key_data(curve, &bytes).unwrap()).unwrap();
        assert_eq!(key.to_string(), expected);
        compared += 1;
    }
    assert_eq!(compared, 6);
}

#[test]
fn signatures_of_genuine_firmware_verify_in_the_form_of_ssh() {
    for (curve, (public, signed), length) in [
        (Curve::Ed25519, ED25519, 64),
        (Curve::Nist256p1, NIST256P1, 4 + 33 + 4 + 32),
    ] {
        let key = key(curve, public);
        let returned = hex::decode(public).unwrap();
        let signed = hex::decode(signed).unwrap();
        let signature = signature(&key, &returned, &signed, &challenge()).unwrap();
        assert_eq!(signature.as_bytes().len(), length);
        assert_eq!(signature.algorithm(), key.public_key().algorithm());
    }
}

#[test]
fn a_signature_with_another_key_is_refused_with_both_fingerprints() {
    let pinned = key(Curve::Ed25519, ED25519.0);
    let signed = hex::decode(ED25519.1).unwrap();
    let mut other = hex::decode(ED25519.0).unwrap();
    other[1] ^= 1;
    let error = signature(&pinned, &other, &signed, &challenge()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the device signed with SHA256:"), "{text}");
    assert!(text.contains(&pinned.fingerprint().to_string()), "{text}");
    assert!(error.hint().is_some());
    let error = signature(&pinned, b"", &signed, &challenge()).unwrap_err();
    assert!(matches!(error, SshError::Answer(_)), "{error}");
}

#[test]
fn a_signature_that_does_not_verify_is_thrown_away() {
    for (curve, (public, signed)) in [(Curve::Ed25519, ED25519), (Curve::Nist256p1, NIST256P1)] {
        let key = key(curve, public);
        let returned = hex::decode(public).unwrap();
        let signed = hex::decode(signed).unwrap();
        let sign = |signed: &[u8], data: &[u8]| signature(&key, &returned, signed, data);
        let other_data = sign(&signed, b"something else").unwrap_err();
        assert!(
            matches!(other_data, SshError::BadSignature(_)),
            "{other_data}"
        );
        for cut in [
            &[][..],
            &signed[..64],
            &signed[1..],
            &[0; 1],
            &[&signed[..], &[0]].concat(),
        ] {
            let error = sign(cut, &challenge()).unwrap_err();
            assert!(matches!(error, SshError::Answer(_)), "{error}");
        }
        assert!(sign(&[0; 65], &challenge()).is_err());
    }
}

#[test]
fn a_public_key_of_the_wrong_shape_is_an_error() {
    let ed25519 = hex::decode(ED25519.0).unwrap();
    let nist256p1 = hex::decode(NIST256P1.0).unwrap();
    for (curve, bytes) in [
        (Curve::Ed25519, &b""[..]),
        (Curve::Ed25519, &ed25519[1..]),
        (Curve::Ed25519, &nist256p1[..]),
        (Curve::Nist256p1, &b""[..]),
        (Curve::Nist256p1, &ed25519[..]),
        (Curve::Nist256p1, &[2; 33][..32]),
    ] {
        assert!(matches!(key_data(curve, bytes), Err(SshError::Answer(_))));
    }
    for curve in [Curve::Secp256k1, Curve::Curve25519] {
        assert!(matches!(key_data(curve, &ed25519), Err(SshError::Curve(_))));
    }
}

#[test]
fn a_stored_key_reads_as_it_was_written() {
    let key = key(Curve::Nist256p1, NIST256P1.0);
    let stored = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<SshKey>(&stored).unwrap(), key);
    let other_curve = stored.replace("\"nist256p1\"", "\"ed25519\"");
    assert_ne!(other_curve, stored);
    assert!(serde_json::from_str::<SshKey>(&other_curve).is_err());
}
