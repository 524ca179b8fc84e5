use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn create(path: &Path, overwrite: Overwrite, sources: &[&Source]) -> Result<Target, FileError> {
    Target::create(path, Access::Private, overwrite, true, sources)
}

fn write(target: Target, content: &[u8]) {
    let mut writer = target.writer();
    writer.write_all(content).unwrap();
    writer.commit().unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<_> = entries.map(|entry| name(entry).unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_has_no_name_until_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut writer = create(&path, Overwrite::Never, &[]).unwrap().writer();
    writer.write_all(&vec![7; 5 * PIECE]).unwrap();
    writer.flush().unwrap();
    assert!(names(folder.path()).is_empty());
    drop(writer);
    assert!(names(folder.path()).is_empty());
    write(create(&path, Overwrite::Never, &[]).unwrap(), b"whole");
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    assert_eq!(names(folder.path()), ["x"]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn without_force_nothing_is_overwritten_however_it_got_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let target = create(&path, Overwrite::Never, &[]).unwrap();
    fs::write(&path, "another program was faster").unwrap();
    let mut writer = target.writer();
    writer.write_all(b"new").unwrap();
    let error = writer.commit().unwrap_err();
    assert!(matches!(error, FileError::Exists(_)), "{error}");
    let error = create(&path, Overwrite::Never, &[]).unwrap_err();
    assert!(matches!(error, FileError::Exists(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"another program was faster");
    write(create(&path, Overwrite::Force, &[]).unwrap(), b"new");
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(names(folder.path()), ["x"]);
}

#[test]
fn a_link_is_replaced_and_never_followed() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    fs::write(&there, "old").unwrap();
    for (name, to) in [("link", &*there), ("nowhere", Path::new("none"))] {
        let path = folder.path().join(name);
        symlink(to, &path).unwrap();
        let error = create(&path, Overwrite::Never, &[]).unwrap_err();
        assert!(matches!(error, FileError::Link(_)), "{error}");
        write(create(&path, Overwrite::Force, &[]).unwrap(), b"new");
        assert!(!path.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
    assert_eq!(fs::read(&there).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["link", "nowhere", "there"]);
}

#[test]
fn what_is_read_is_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::write(&input, "old").unwrap();
    let source = Source::open(&input).unwrap();
    symlink(&input, folder.path().join("soft")).unwrap();
    fs::hard_link(&input, folder.path().join("hard")).unwrap();
    for name in ["input", "./input", "soft", "hard"] {
        let path = folder.path().join(name);
        let error = create(&path, Overwrite::Force, &[&source]).unwrap_err();
        assert!(matches!(error, FileError::Same { .. }), "{name}: {error}");
    }
    assert_eq!(fs::read(&input).unwrap(), b"old");
}

#[test]
fn folders_and_missing_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, expected) in [
        ("", "is a folder"),
        ("new/", "is a folder"),
        ("none/x", "there is no folder"),
    ] {
        let error = create(&path.join(name), Overwrite::Force, &[]).unwrap_err();
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
    let error = Source::open(path).unwrap_err();
    assert!(matches!(error, FileError::Folder(_)), "{error}");
    let error = Source::open(&path.join("none")).unwrap_err();
    assert!(matches!(error, FileError::NoFile(_)), "{error}");
    fs::write(path.join("file"), "").unwrap();
    let error = create(&path.join("file/x"), Overwrite::Never, &[]).unwrap_err();
    assert!(matches!(error, FileError::NoFolder(_)), "{error}");
    assert_eq!(names(path), ["file"]);
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    let error = create("/dev/null".as_ref(), Overwrite::Never, &[]).unwrap_err();
    assert!(matches!(error, FileError::Exists(_)), "{error}");
    let target = create("/dev/null".as_ref(), Overwrite::Force, &[]).unwrap();
    assert!(target.is_stream());
    write(target, b"gone");
    let full = create("/dev/full".as_ref(), Overwrite::Force, &[]).unwrap();
    let mut writer = full.writer();
    writer.write_all(b"x").unwrap();
    let error = writer.commit().unwrap_err();
    let text = bcm_keystore::Hint::hint(&error).unwrap();
    assert!(text.contains("make room"), "{error}: {text}");
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::write(&input, vec![7; 256 * PIECE]).unwrap();
    let source = Source::open(&input).unwrap();
    let output = folder.path().join("output");
    let target = create(&output, Overwrite::Never, &[&source]).unwrap();
    let file = fs::File::options().write(true).open(&input).unwrap();
    let report = convert(source, target, &Cancelled::default(), |input, output| {
        file.set_len(10).unwrap();
        std::io::copy(input, output).map_err(|error| Report::text(Kind::Failed, error.to_string()))
    });
    let text = report.unwrap_err().to_string();
    assert!(text.contains("was cut from 67108864 to "), "{text}");
    assert_eq!(names(folder.path()), ["input"]);
}

#[test]
fn a_file_that_vanishes_while_it_is_read_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::write(&input, vec![7; 8 * PIECE]).unwrap();
    let source = Source::open(&input).unwrap();
    fs::remove_file(&input).unwrap();
    let read = read(source, &Cancelled::default(), |reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        Ok(bytes.len())
    });
    assert_eq!(read.unwrap(), 8 * PIECE);
}

#[test]
fn every_byte_comes_through_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    let bytes: Vec<u8> = (0..3 * PIECE + 17).map(|at| (at % 251) as u8).collect();
    fs::write(&input, &bytes).unwrap();
    let source = Source::open(&input).unwrap();
    let output = folder.path().join("output");
    let target = create(&output, Overwrite::Never, &[&source]).unwrap();
    convert(source, target, &Cancelled::default(), |input, output| {
        let mut piece = [0; 1000];
        loop {
            let read = input.read(&mut piece).unwrap();
            if read == 0 {
                return Ok(());
            }
            output.write_all(&piece[..read]).unwrap();
        }
    })
    .unwrap();
    assert!(fs::read(&output).unwrap() == bytes);
}

#[test]
fn a_file_of_unusual_rights_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    // root may read it all the same
    match Source::open(&secret) {
        Ok(_) => assert!(rustix::process::geteuid().is_root()),
        Err(error) => assert!(matches!(error, FileError::Read { .. }), "{error}"),
    }
    assert!(read_small(&folder.path().join("none"), 10).is_err());
    let long = folder.path().join("long");
    fs::write(&long, "12345678901").unwrap();
    let error = read_small(&long, 10).unwrap_err();
    assert!(matches!(error, FileError::TooLong { .. }), "{error}");
}
