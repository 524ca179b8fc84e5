//! A root file system as a layer: in order, with one owner of time, and without what differs from run to run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Program;
use super::error::BuildError;
use super::rootfs::EPOCH;
use crate::image::ImageDigest;
use crate::image::archive::walk::{Kind, WalkError, inside, walk};
use crate::image::digest::Hashing;
use crate::image::recipe::Recipe;

/// What is left out, with all below it; the folder itself stays where an image needs it.
const LEFT_OUT: [&str; 24] = [
    "boot/",
    "dev/",
    "etc/apt/",
    "media/",
    "mnt/",
    "proc/",
    "run/",
    "srv/",
    "sys/",
    "tmp/",
    "usr/share/bash-completion/",
    "usr/share/bug/",
    "usr/share/doc-base/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "var/backups/",
    "var/cache/",
    "var/lib/apt/",
    "var/lib/dpkg/",
    "var/log/",
    "var/mail/",
    "var/tmp/",
];

/// Files that are this machine's, and files of whose content the time of the build is a part.
const LEFT_OUT_FILES: [&str; 6] = [
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/mtab",
    "etc/resolv.conf",
    "var/lib/dbus/machine-id",
];

/// Where the list of packages lies.
const STATUS: &str = "var/lib/dpkg/status";

/// Longest list of packages.
const MAX_STATUS: u64 = 64 << 20;

/// A layer that was written.
#[derive(Debug)]
pub(super) struct Laid {
    pub(super) digest: ImageDigest,
    pub(super) bytes: u64,
    /// The time of the snapshot.
    pub(super) epoch: u64,
    /// The list of packages.
    pub(super) status: Vec<u8>,
}

/// A file or a folder that a layer will hold.
#[derive(Clone, Debug)]
pub(super) struct Node {
    what: What,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: u64,
}

#[derive(Clone, Debug)]
enum What {
    Folder,
    Symlink(Vec<u8>),
    /// Content at this place of the tar that is read.
    Found {
        position: u64,
        size: u64,
    },
    Bytes(Vec<u8>),
    /// Another name of a file.
    Hardlink(Vec<u8>),
}

type Nodes = BTreeMap<Vec<u8>, Node>;

fn owned(what: What, mode: u32, uid: u32, gid: u32) -> Node {
    Node {
        what,
        mode,
        uid: uid.into(),
        gid: gid.into(),
        mtime: 0,
    }
}

/// Returns what a recipe adds to packages: accounts, folders, programs.
pub(super) fn additions(recipe: &Recipe, programs: &[Program]) -> Nodes {
    let mut nodes = Nodes::new();
    let mut add = |path: &str, node: Node| {
        nodes.insert(path.trim_start_matches('/').as_bytes().to_vec(), node);
    };
    for folder in [
        "dev", "etc", "proc", "root", "run", "sys", "usr", "var", "var/lib",
    ] {
        add(folder, owned(What::Folder, 0o755, 0, 0));
    }
    add("root", owned(What::Folder, 0o700, 0, 0));
    for folder in ["tmp", "var/tmp"] {
        add(folder, owned(What::Folder, 0o1777, 0, 0));
    }
    let mut passwd = "root:x:0:0:root:/root:/usr/sbin/nologin\n".to_owned();
    let mut group = "root:x:0:\n".to_owned();
    if let Some(account) = recipe.account {
        let (uid, gid, home) = (recipe.uid, recipe.gid, recipe.home);
        passwd += &format!("{account}:x:{uid}:{gid}::{home}:/usr/sbin/nologin\n");
        group += &format!("{account}:x:{gid}:\n");
    }
    passwd += "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    group += "nogroup:x:65534:\n";
    let files = [
        ("etc/passwd", passwd),
        ("etc/group", group),
        (
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n".to_owned(),
        ),
    ];
    for (path, text) in files {
        add(path, owned(What::Bytes(text.into_bytes()), 0o644, 0, 0));
    }
    for folder in [Some(recipe.home), recipe.data].into_iter().flatten() {
        if !["/", "/tmp", "/root"].contains(&folder) {
            add(folder, owned(What::Folder, 0o700, recipe.uid, recipe.gid));
        }
    }
    for program in programs {
        let path = format!("usr/local/bin/{}", program.name);
        add(
            &path,
            owned(What::Bytes(program.bytes.clone()), 0o755, 0, 0),
        );
    }
    nodes
}

fn left_out(path: &[u8]) -> bool {
    let Ok(path) = std::str::from_utf8(path) else {
        return false;
    };
    // the licences stay
    if path.starts_with("usr/share/doc/") {
        let in_package = path
            .splitn(4, '/')
            .nth(3)
            .is_some_and(|rest| rest.contains('/'));
        return in_package && !path.ends_with("/copyright");
    }
    LEFT_OUT.iter().any(|folder| path.starts_with(folder)) || LEFT_OUT_FILES.contains(&path)
}

/// Writes the root file system in `root` as a layer into `output`, with `additions`.
pub(super) fn lay(root: &mut File, output: &File, additions: &Nodes) -> Result<Laid, BuildError> {
    let wrong = |what: &str| BuildError::Root(what.to_owned());
    root.seek(SeekFrom::Start(0)).map_err(BuildError::Files)?;
    let mut nodes = Nodes::new();
    let mut status = Vec::new();
    let mut epoch = Vec::new();
    let walked = walk(BufReader::new(&*root), |entry, content| {
        if entry.path == STATUS.as_bytes() || entry.path == EPOCH.as_bytes() {
            let kept = if entry.path == STATUS.as_bytes() {
                &mut status
            } else {
                &mut epoch
            };
            content.take(MAX_STATUS).read_to_end(kept)?;
            return Ok(());
        }
        let what = match entry.kind {
            Kind::Folder => What::Folder,
            Kind::Symlink => What::Symlink(entry.target.clone()),
            Kind::File => What::Found {
                position: entry.position,
                size: entry.size,
            },
            Kind::Hardlink => What::Hardlink(inside(&entry.target).unwrap_or_default()),
            Kind::Special => return Ok(()),
        };
        let node = Node {
            what,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
        };
        nodes.insert(entry.path.clone(), node);
        Ok::<_, io::Error>(())
    });
    walked.map_err(|error| match error {
        WalkError::Tar(flaw) => BuildError::Root(flaw.to_string()),
        WalkError::Visitor(error) => BuildError::Files(error),
    })?;
    let epoch = std::str::from_utf8(&epoch)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let epoch: u64 = epoch.ok_or_else(|| wrong("its lists of packages have no date"))?;
    if status.is_empty() {
        return Err(wrong("it has no packages"));
    }
    resolve_hardlinks(&mut nodes);
    nodes.retain(|path, _| !path.is_empty() && !left_out(path));
    nodes.extend(additions.clone());
    let list = owned(What::Bytes(status.clone()), 0o644, 0, 0);
    nodes.insert(STATUS.as_bytes().to_vec(), list);
    add_parents(&mut nodes);
    let written = write(root, output, &nodes, epoch).map_err(BuildError::Files)?;
    let (digest, bytes) = written;
    Ok(Laid {
        digest,
        bytes,
        epoch,
        status,
    })
}

/// Gives each other name of a file the place of its content, since the first name may be left out.
fn resolve_hardlinks(nodes: &mut Nodes) {
    let found = nodes.clone();
    for node in nodes.values_mut() {
        let mut target = match &node.what {
            What::Hardlink(target) => found.get(target),
            _ => continue,
        };
        // a link to a link
        for _ in 0..8 {
            match target.map(|node| &node.what) {
                Some(What::Hardlink(next)) => target = found.get(next),
                _ => break,
            }
        }
        if let Some(target) = target {
            *node = target.clone();
        }
    }
    nodes.retain(|_, node| !matches!(node.what, What::Hardlink(_)));
}

fn add_parents(nodes: &mut Nodes) {
    let paths: Vec<_> = nodes.keys().cloned().collect();
    for path in paths {
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let folder = owned(What::Folder, 0o755, 0, 0);
            nodes.entry(path[..at].to_vec()).or_insert(folder);
        }
    }
}

fn write(
    root: &mut File,
    output: &File,
    nodes: &Nodes,
    epoch: u64,
) -> io::Result<(ImageDigest, u64)> {
    let mut tar = tar::Builder::new(Hashing::new(BufWriter::new(output)));
    // where the content of each file lies, and the name under which it was written
    let mut first: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for (path, node) in nodes {
        let mut header = tar::Header::new_gnu();
        // nobody becomes somebody else in a container
        header.set_mode(node.mode & 0o1777);
        header.set_uid(node.uid);
        header.set_gid(node.gid);
        let time = match (&node.what, node.mtime) {
            (What::Found { .. } | What::Symlink(_), 1..) => node.mtime.min(epoch),
            // a folder has the time at which something was put into it
            _ => epoch,
        };
        header.set_mtime(time);
        header.set_size(0);
        let name = Path::new(OsStr::from_bytes(path));
        match &node.what {
            What::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, name.join(""), io::empty())?;
            }
            What::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                tar.append_link(&mut header, name, OsStr::from_bytes(target))?;
            }
            What::Found { position, size } => {
                if let Some(before) = first.get(position).filter(|_| *size > 0) {
                    header.set_entry_type(tar::EntryType::Link);
                    tar.append_link(&mut header, name, OsStr::from_bytes(before))?;
                    continue;
                }
                first.insert(*position, path.clone());
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(*size);
                root.seek(SeekFrom::Start(*position))?;
                tar.append_data(&mut header, name, BufReader::new(&*root).take(*size))?;
            }
            What::Bytes(bytes) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, name, bytes.as_slice())?;
            }
            What::Hardlink(_) => {}
        }
    }
    let mut hashing = tar.into_inner()?;
    hashing.flush()?;
    Ok(hashing.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(order: &[usize], mtime: u64) -> File {
        let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
        let entries: [(&str, tar::EntryType, &str, &[u8]); 8] = [
            ("./usr/bin/b", tar::EntryType::Regular, "", b"program"),
            ("./usr/bin/a", tar::EntryType::Link, "usr/bin/b", b""),
            ("./etc/machine-id", tar::EntryType::Regular, "", b"random"),
            (
                "./usr/share/doc/x/changelog",
                tar::EntryType::Regular,
                "",
                b"long",
            ),
            (
                "./usr/share/doc/x/copyright",
                tar::EntryType::Regular,
                "",
                b"MIT",
            ),
            ("./bin", tar::EntryType::Symlink, "usr/bin", b""),
            (STATUS, tar::EntryType::Regular, "", b"Package: x\n"),
            (EPOCH, tar::EntryType::Regular, "", b"1700000000\n"),
        ];
        for at in order {
            let (path, kind, link, bytes) = entries[*at];
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o4755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(mtime);
            header.set_size(bytes.len() as u64);
            match link {
                "" => tar.append_data(&mut header, path, bytes).unwrap(),
                link => tar.append_link(&mut header, path, link).unwrap(),
            }
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_layer_depends_on_neither_order_nor_time_of_the_build() {
        let recipe = Recipe::find("tor").unwrap();
        let mut seen = Vec::new();
        for (order, now) in [
            ([0, 1, 2, 3, 4, 5, 6, 7], 1_800_000_000),
            ([7, 5, 4, 6, 0, 3, 1, 2], 1_900_000_000),
        ] {
            let mut output = tempfile::tempfile().unwrap();
            let laid = lay(&mut root(&order, now), &output, &additions(recipe, &[])).unwrap();
            assert_eq!(laid.epoch, 1_700_000_000);
            output.seek(SeekFrom::Start(0)).unwrap();
            let mut bytes = Vec::new();
            output.read_to_end(&mut bytes).unwrap();
            assert_eq!(laid.digest, ImageDigest::of(&bytes));
            seen.push(bytes);
        }
        assert_eq!(seen[0], seen[1]);
        let mut names = Vec::new();
        walk(seen[0].as_slice(), |entry, _| {
            names.push(entry.name());
            assert_eq!(entry.mode & 0o6000, 0, "{}", entry.name());
            assert_eq!(entry.mtime, 1_700_000_000);
            match entry.name().as_str() {
                "usr/bin/a" => assert_eq!((entry.kind, entry.size), (Kind::File, 7)),
                "usr/bin/b" => assert_eq!(entry.target, b"usr/bin/a"),
                "var/lib/tor" => assert_eq!((entry.uid, entry.mode), (1000, 0o700)),
                _ => {}
            }
            Ok::<_, io::Error>(())
        })
        .unwrap();
        let has = |name: &str| names.iter().any(|found| found == name);
        assert!(has("usr/share/doc/x/copyright") && has("var/lib/tor") && has("bin"));
        assert!(!has("etc/machine-id") && !has("usr/share/doc/x/changelog") && !has(EPOCH));
    }

    #[test]
    fn a_root_without_packages_is_refused() {
        let recipe = Recipe::find("tor").unwrap();
        let output = tempfile::tempfile().unwrap();
        let error = lay(&mut root(&[0], 1), &output, &additions(recipe, &[])).unwrap_err();
        assert!(matches!(error, BuildError::Root(_)), "{error:?}");
    }
}
