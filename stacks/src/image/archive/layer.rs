//! What is in a layer: every name checked, and the files that tell of packages.

use std::collections::BTreeMap;
use std::io::Read;

use super::Packages;
use super::error::TarFlaw;
use super::walk::{Kind, WalkError, plain, walk};
use crate::image::digest::ImageDigest;

/// The files that tell which packages are in an image; a name that ends in `/` stands for all below it.
pub const PACKAGE_FILES: [&str; 5] = [
    "etc/os-release",
    "lib/apk/db/installed",
    "usr/lib/os-release",
    "var/lib/dpkg/status",
    "var/lib/dpkg/status.d/",
];

/// Longest list of packages of one layer.
const MAX_FILES: u64 = 64 << 20;

/// The prefix of a file that removes another, and the name of one that removes all others of a folder, from
/// the [image specification](https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// A layer that was read to its end.
#[derive(Debug)]
pub(super) struct LayerFacts {
    pub(super) diff_id: ImageDigest,
    pub(super) unpacked: u64,
    pub(super) found: Found,
}

/// What a layer does to the files that tell of packages.
#[derive(Debug, Default)]
pub(super) struct Found {
    files: BTreeMap<String, Vec<u8>>,
    /// Paths that are removed, with all below them.
    removed: Vec<String>,
    /// Folders whose content of lower layers is removed.
    emptied: Vec<String>,
}

impl Found {
    /// Applies this layer to what those below it left.
    pub(super) fn apply(&self, files: &mut BTreeMap<String, Vec<u8>>) {
        let below = |path: &str, folder: &str| {
            let rest = path.strip_prefix(folder);
            folder.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        files.retain(|path, _| {
            let removed = |gone: &String| path == gone || below(path, gone);
            let emptied = |folder: &String| below(path, folder);
            !self.removed.iter().any(removed) && !self.emptied.iter().any(emptied)
        });
        files.extend(
            self.files
                .iter()
                .map(|(path, bytes)| (path.clone(), bytes.clone())),
        );
    }
}

fn tells_of_packages(path: &str) -> bool {
    PACKAGE_FILES.iter().any(|file| match file.ends_with('/') {
        true => path
            .strip_prefix(file)
            .is_some_and(|rest| !rest.contains('/')),
        false => path == *file,
    })
}

/// Reads the tar of a layer.
pub(super) fn read(tar: impl Read, packages: Packages) -> Result<Found, WalkError<TarFlaw>> {
    let mut found = Found::default();
    let mut kept = 0;
    walk(tar, |entry, content| {
        let Ok(path) = std::str::from_utf8(&entry.path) else {
            return Ok(());
        };
        if packages == Packages::Skip {
            return Ok(());
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name == OPAQUE {
            found.emptied.push(folder.to_owned());
        } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
            let gone = match folder {
                "" => gone.to_owned(),
                folder => format!("{folder}/{gone}"),
            };
            found.removed.push(gone);
        } else if entry.kind == Kind::File && tells_of_packages(path) {
            kept += entry.size;
            if kept > MAX_FILES {
                let flaw = format!("its lists of packages are longer than {MAX_FILES} bytes");
                return Err(TarFlaw::Damaged(flaw));
            }
            let mut bytes = Vec::new();
            content
                .read_to_end(&mut bytes)
                .map_err(|error| TarFlaw::Damaged(plain(&error)))?;
            found.files.insert(path.to_owned(), bytes);
        }
        Ok(())
    })?;
    Ok(found)
}
