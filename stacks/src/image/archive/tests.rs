use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::error::{ArchiveError, LayerFlaw, TarFlaw};
use super::{Archive, MAX_JSON, Packages};
use crate::image::pack::{ImageSpec, LayerTar, pack};
use crate::image::{ImageDigest, Platform};

/// Members of a tar: name and content.
type Members = Vec<(String, Vec<u8>)>;

fn header(kind: tar::EntryType, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size as u64);
    header
}

/// Writes names as they are: the crate's own writer refuses the bad ones.
fn raw_entry(
    tar: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    name: &str,
    link: &str,
    data: &[u8],
) {
    let mut header = header(kind, data.len());
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..name.len()].copy_from_slice(name.as_bytes());
    gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, data).unwrap();
}

fn tar_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = header(tar::EntryType::Regular, content.len());
        tar.append_data(&mut header, name, content.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn layer(status: &str) -> Vec<u8> {
    tar_of(&[
        ("etc/os-release".into(), b"ID=debian\n".to_vec()),
        ("var/lib/dpkg/status".into(), status.as_bytes().to_vec()),
    ])
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| ImageDigest::of(layer)).collect();
    serde_json::to_vec(&serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Labels": {"a": "b"}, "User": "1:1"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))
    .unwrap()
}

/// An archive as `docker save` of Docker 20 writes it, its layers packed by `pack`.
fn docker(layers: &[&[u8]], pack: impl Fn(&[u8]) -> Vec<u8>) -> Members {
    let config = config(layers);
    let id = ImageDigest::of(&config).hex();
    let mut members = Vec::new();
    let mut paths = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        paths.push(format!("{number}/layer.tar"));
        members.push((format!("{number}/layer.tar"), pack(layer)));
    }
    let manifest = serde_json::json!([
        {"Config": format!("{id}.json"), "RepoTags": ["a/b:1"], "Layers": paths}
    ]);
    members.push((format!("{id}.json"), config));
    members.push((
        "manifest.json".into(),
        serde_json::to_vec(&manifest).unwrap(),
    ));
    members
}

fn read(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    Archive::read(bytes, Packages::Keep)
}

#[track_caller]
fn refused(members: &[(String, Vec<u8>)]) -> ArchiveError {
    let error = read(&tar_of(members)).unwrap_err();
    assert!(error.is_verification(), "{error:?}");
    error
}

fn packed() -> Vec<u8> {
    let layer = layer("Package: x\n");
    let spec = ImageSpec {
        name: "bcm/x:1".into(),
        platform: "linux/amd64".parse().unwrap(),
        created: 1_700_000_000,
        user: "1000:1000".into(),
        entrypoint: vec!["x".into()],
        env: Vec::new(),
        folder: "/".into(),
        stop_signal: None,
        labels: BTreeMap::from([(crate::image::CHAINS_LABEL.to_owned(), "regtest".to_owned())]),
    };
    let mut out = Vec::new();
    let tar = LayerTar {
        digest: ImageDigest::of(&layer),
        bytes: layer.len() as u64,
        tar: Cursor::new(layer),
    };
    pack(&spec, tar, &mut out).unwrap();
    out
}

#[test]
fn what_docker_saves_is_verified_packed_or_not() {
    let (one, two) = (layer("one"), layer("two"));
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    for members in [
        docker(&[&one, &two], <[u8]>::to_vec),
        docker(&[&one, &two], gz),
        docker(&[&one, &two], zstd),
    ] {
        let plain = tar_of(&members);
        for file in [plain.clone(), gz(&plain), zstd(&plain)] {
            let archive = read(&file).unwrap();
            let image = archive.only().unwrap();
            assert_eq!(image.id, ImageDigest::of(&config(&[&one, &two])));
            assert_eq!(image.names, ["a/b:1"]);
            assert_eq!(image.user.as_deref(), Some("1:1"));
            assert_eq!(image.labels["a"], "b");
            assert_eq!(image.layers[1].diff_id, ImageDigest::of(&two));
            assert_eq!(image.files["var/lib/dpkg/status"], b"two");
            assert_eq!(archive.digest(), ImageDigest::of(&file));
            assert_eq!(archive.bytes(), file.len() as u64);
        }
    }
}

#[test]
fn what_is_packed_here_is_one_image_in_both_ways_of_writing() {
    let bytes = packed();
    let archive = read(&bytes).unwrap();
    let image = archive.only().unwrap();
    assert!(image.manifest.is_some());
    assert_eq!(image.names, ["bcm/x:1"]);
    assert_eq!(image.created.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(
        image.chains().unwrap().into_iter().collect::<Vec<_>>(),
        ["regtest"]
    );
    assert_eq!(archive.image(&image.manifest.unwrap()).unwrap(), image);
    assert_eq!(packed(), bytes);
    let other = archive
        .image(&ImageDigest::of(b""))
        .unwrap_err()
        .to_string();
    assert!(other.contains(&image.id.to_string()), "{other}");
    let arm = Platform::new("linux", "aarch64", None);
    let error = archive.check_platform(&arm).unwrap_err().to_string();
    assert!(
        error.contains("is for linux/amd64, expected linux/arm64"),
        "{error}"
    );
    archive
        .check_platform(&Platform::new("linux", "x86_64", None))
        .unwrap();
}

#[test]
fn a_layer_that_removes_packages_removes_them_from_the_scan() {
    let lower = layer("one");
    let upper = tar_of(&[
        ("var/lib/dpkg/.wh.status".into(), Vec::new()),
        ("etc/.wh..wh..opq".into(), Vec::new()),
        ("var/lib/dpkg/status.d/x".into(), b"x".to_vec()),
    ]);
    let archive = read(&tar_of(&docker(&[&lower, &upper], gz))).unwrap();
    let files = &archive.only().unwrap().files;
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["var/lib/dpkg/status.d/x"]
    );
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let one = layer("one");
    let mut members = docker(&[&one], <[u8]>::to_vec);
    members[0].1 = layer("two");
    let error = refused(&members);
    let differs = matches!(
        error,
        ArchiveError::Layer {
            flaw: LayerFlaw::DiffId { .. },
            ..
        }
    );
    assert!(differs, "{error}");
    // the right content, packed and cut
    for pack in [gz(&one), zstd::encode_all(&*one, 1).unwrap()] {
        members[0].1 = pack[..pack.len() - 5].to_vec();
        assert!(matches!(refused(&members), ArchiveError::Layer { .. }));
    }
    members[0].1 = b"something else".to_vec();
    let error = refused(&members);
    let form = matches!(
        error,
        ArchiveError::Layer {
            flaw: LayerFlaw::Form,
            ..
        }
    );
    assert!(form, "{error}");
}

#[test]
fn a_configuration_under_a_wrong_name_is_refused() {
    let one = layer("one");
    let mut members = docker(&[&one], gz);
    members[1].1.push(b' ');
    assert!(matches!(refused(&members), ArchiveError::Name { .. }));
    let name = format!("blobs/sha256/{}", "0".repeat(64));
    members[1].1.pop();
    members.push((name, b"x".to_vec()));
    assert!(matches!(refused(&members), ArchiveError::Name { .. }));
}

#[test]
fn what_is_named_has_to_be_there_once_and_be_short_enough() {
    let one = layer("one");
    let members = docker(&[&one], gz);
    let error = refused(&members[1..]);
    assert!(matches!(error, ArchiveError::Missing { .. }), "{error}");
    assert!(matches!(refused(&members[..2]), ArchiveError::NoImage));
    let mut twice = members.clone();
    twice.push(members[0].clone());
    assert!(matches!(refused(&twice), ArchiveError::Duplicate(_)));
    let mut long = members.clone();
    long[2].1.extend(vec![b' '; MAX_JSON as usize]);
    assert!(matches!(refused(&long), ArchiveError::Oversize { .. }));
    let mut wrong = members.clone();
    wrong[2].1 = b"[{\"Config\": 1}]".to_vec();
    assert!(matches!(refused(&wrong), ArchiveError::Malformed { .. }));
    let mut named = members;
    let text = String::from_utf8(named[2].1.clone()).unwrap();
    named[2].1 = text.replace("a/b:1", "a\\u001b[2J").into_bytes();
    let error = refused(&named).to_string();
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn names_and_links_that_lead_outside_are_refused() {
    use tar::EntryType::{Char, Link, Regular, Symlink};
    for (kind, name, link) in [
        (Regular, "/etc/passwd", ""),
        (Regular, "../x", ""),
        (Regular, "a/../../x", ""),
        (Symlink, "x", "/etc/passwd"),
        (Symlink, "a/x", "../../etc/passwd"),
        (Link, "x", "../etc/passwd"),
        (Link, "x", "/etc/passwd"),
        (Char, "x", ""),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        raw_entry(&mut tar, kind, name, link, b"");
        let error = read(&tar.into_inner().unwrap()).unwrap_err();
        let refused = matches!(
            &error,
            ArchiveError::Tar(TarFlaw::Outside(_) | TarFlaw::LinkOutside { .. })
                | ArchiveError::Special(_)
        );
        assert!(refused, "{name} {link} {error:?}");
    }
    // and in a layer, where an engine would write it
    let mut evil = tar::Builder::new(Vec::new());
    raw_entry(&mut evil, Regular, "a/../../x", "", b"x");
    let evil = evil.into_inner().unwrap();
    let error = refused(&docker(&[&evil], gz));
    assert!(error.to_string().contains("lies outside"), "{error}");
}

#[test]
fn a_layer_that_docker_saved_as_a_link_to_an_equal_one_is_found() {
    let one = layer("one");
    let members = docker(&[&one, &one], <[u8]>::to_vec);
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in &members {
        if name == "1/layer.tar" {
            raw_entry(
                &mut tar,
                tar::EntryType::Symlink,
                name,
                "../0/layer.tar",
                b"",
            );
        } else {
            let mut header = header(tar::EntryType::Regular, content.len());
            tar.append_data(&mut header, name, content.as_slice())
                .unwrap();
        }
    }
    let archive = read(&tar.into_inner().unwrap()).unwrap();
    assert_eq!(archive.only().unwrap().layers.len(), 2);
    let mut circle = tar::Builder::new(Vec::new());
    raw_entry(
        &mut circle,
        tar::EntryType::Symlink,
        "manifest.json",
        "manifest.json",
        b"",
    );
    let error = read(&circle.into_inner().unwrap()).unwrap_err();
    assert!(matches!(error, ArchiveError::NoImage), "{error:?}");
}

#[test]
fn a_header_of_any_length_is_not_kept_in_memory() {
    let mut tar = tar::Builder::new(Vec::new());
    let name = vec![b'a'; 2 << 20];
    let mut long = header(tar::EntryType::GNULongName, name.len());
    long.set_cksum();
    tar.append(&long, name.as_slice()).unwrap();
    let error = read(&gz(&tar.into_inner().unwrap())).unwrap_err();
    assert!(
        matches!(error, ArchiveError::Tar(TarFlaw::Extension(_))),
        "{error:?}"
    );
}

#[test]
fn a_failing_disk_is_not_called_a_bad_archive() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk"))
        }
    }
    let bytes = packed();
    for part in [0, 100, 600, 5000] {
        let input = std::io::Read::chain(&bytes[..part], Broken);
        let error = Archive::read(input, Packages::Skip).unwrap_err();
        assert!(matches!(error, ArchiveError::Read(_)), "{part} {error:?}");
    }
    assert!(matches!(read(b"").unwrap_err(), ArchiveError::Form));
    assert!(matches!(read(b"{}").unwrap_err(), ArchiveError::Form));
}

#[test]
fn an_archive_that_is_cut_anywhere_is_refused() {
    let one = layer("one");
    let bytes = tar_of(&docker(&[&one], gz));
    let last = bytes.len() - 1024;
    for end in (1..last).step_by(97) {
        assert!(read(&bytes[..end]).is_err(), "{end}");
        let packed = gz(&bytes);
        assert!(read(&packed[..end.min(packed.len() - 1)]).is_err(), "{end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_archive_is_refused_or_is_the_same_image(
        changes in prop::collection::vec((0usize..20_000, any::<u8>()), 1..6),
        packed_form in any::<bool>(),
    ) {
        let bytes = packed();
        let image = read(&bytes).unwrap().images()[0].clone();
        let mut changed = if packed_form { gz(&bytes) } else { bytes };
        for (at, byte) in changes {
            let at = at % changed.len();
            changed[at] ^= byte;
        }
        if let Ok(archive) = read(&changed) {
            for found in archive.images() {
                // what the ID vouches for cannot have changed
                if found.id == image.id {
                    prop_assert_eq!(&found.layers[0].diff_id, &image.layers[0].diff_id);
                    prop_assert_eq!(&found.labels, &image.labels);
                    prop_assert_eq!(&found.files, &image.files);
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read(&bytes);
    }
}
