use std::io::Write;
use std::time::SystemTime;

use super::*;

fn archive(content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in [
        ("bitcoin-31.1/bin/bitcoind", content),
        ("bitcoin-31.1/bin/bitcoin-qt", b"no"),
        ("bitcoin-31.1/README.md", b"no"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, bytes).unwrap();
    }
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar.into_inner().unwrap()).unwrap();
    gz.finish().unwrap()
}

const NAME: &str = "bitcoin-31.1-x86_64-linux-gnu.tar.gz";

fn sums(archive: &[u8]) -> AttestedSums {
    let list = format!("{}  {NAME}\n", ImageDigest::of(archive).hex());
    AttestedSums {
        digests: parse(list.as_bytes()).unwrap(),
        signers: Vec::new(),
    }
}

#[test]
fn programs_come_out_of_the_attested_archive_alone() {
    let good = archive(b"\x7fELF");
    let release = open(NAME, good.as_slice(), &sums(&good), &["bitcoind"]).unwrap();
    assert_eq!(release.version, "31.1");
    assert_eq!(release.programs.len(), 1);
    assert_eq!(release.programs[0].bytes, b"\x7fELF");
    let other = archive(b"\x7fELG");
    let error = open(NAME, other.as_slice(), &sums(&good), &["bitcoind"]).unwrap_err();
    assert!(
        matches!(error, ReleaseError::OtherArchive { .. }),
        "{error}"
    );
    let error = open(NAME, &good[..100], &sums(&good), &["bitcoind"]).unwrap_err();
    assert!(
        matches!(error, ReleaseError::OtherArchive { .. }),
        "{error}"
    );
    let error = open("bitcoin-30.0.tar.gz", good.as_slice(), &sums(&good), &[]).unwrap_err();
    assert!(
        error.to_string().ends_with("it is of version 31.1"),
        "{error}"
    );
}

#[test]
fn a_list_of_digests_is_read_strictly() {
    let hex = "0".repeat(64);
    for good in [
        format!("{hex}  a\n{hex} *b\n"),
        format!("{hex}  a\n\n{hex}  a\n"),
    ] {
        parse(good.as_bytes()).unwrap();
    }
    for bad in [
        format!("{hex} a"),
        format!("{}  a", &hex[1..]),
        format!("{hex}  a\n{}  a", "1".repeat(64)),
        "\u{0}".into(),
    ] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn without_signatures_nobody_attests() {
    let error = attest(b"", &[], &[], &Signers::core(), SystemTime::now()).unwrap_err();
    assert_eq!(error.to_string(), "0 of 3 builders attest it");
}

#[test]
fn a_list_of_signers_has_each_once() {
    let one = "982A193E3CE0EED535E09023188CBB2648416AD5";
    let signers =
        Signers::read(&format!("# mine\n{} me and you\n", one.to_lowercase()), 1).unwrap();
    assert_eq!(
        (
            signers.who[0].fingerprint.as_str(),
            signers.who[0].name.as_str()
        ),
        (one, "me and you")
    );
    assert!(Signers::read(&format!("{one}\n{one}\n"), 1).is_err());
    assert!(Signers::read(one, 2).is_err());
    assert!(Signers::read(one, 0).is_err());
    assert!(Signers::read("982A193E", 1).is_err());
    let core = Signers::core();
    let distinct: std::collections::BTreeSet<_> = core.who.iter().map(|s| &s.fingerprint).collect();
    assert_eq!((distinct.len(), core.needed), (core.who.len(), 3));
}
