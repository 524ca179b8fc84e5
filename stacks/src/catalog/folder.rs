//! Folders of stacks, compiled in or on disk.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use include_dir::Dir;

use super::CatalogError;
use crate::stack::FileName;

/// Longest file that is read; the longest of ours has a tenth.
const MAX_BYTES: u64 = 64 << 10;
/// Most files of a stack, and most stacks of a folder.
const MAX_FILES: usize = 64;

/// The folder of one stack: its name, its `stack.toml`, its other files.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The name of the folder.
    pub name: String,
    /// The text of its `stack.toml`.
    pub stack: String,
    /// Its other files.
    pub templates: BTreeMap<FileName, String>,
}

/// The description in each folder.
const STACK: &str = "stack.toml";

/// Returns the folders that are compiled in.
pub(super) fn compiled_in(dir: &Dir<'static>) -> Vec<Folder> {
    let text = |file: &include_dir::File<'_>| file.contents_utf8().unwrap_or_default().to_owned();
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let folder = |folder: &Dir<'static>| {
        let (stack, others): (Vec<_>, Vec<_>) =
            folder.files().partition(|file| name(file.path()) == STACK);
        Folder {
            name: name(folder.path()),
            stack: stack.first().map(|file| text(file)).unwrap_or_default(),
            templates: others
                .iter()
                .filter_map(|file| Some((name(file.path()).parse().ok()?, text(file))))
                .collect(),
        }
    };
    dir.dirs().map(folder).collect()
}

/// Reads every folder of stacks in `path`; files beside them (a README) are left alone.
pub(super) fn read_all(path: &Path) -> Result<Vec<Folder>, CatalogError> {
    let mut folders = Vec::new();
    for entry in entries(path)? {
        if entry.is_dir() && !hidden(&entry) {
            folders.push(read(&entry)?);
        }
    }
    Ok(folders)
}

/// Reads the folder of one stack. A link in it is refused: it could lead anywhere.
pub(super) fn read(path: &Path) -> Result<Folder, CatalogError> {
    let mut folder = Folder {
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        stack: String::new(),
        templates: BTreeMap::new(),
    };
    let mut found = false;
    for entry in entries(path)?.into_iter().filter(|entry| !hidden(entry)) {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name == STACK {
            folder.stack = text(&entry)?;
            found = true;
        } else {
            let name: FileName = name.parse().map_err(|source| CatalogError::FileName {
                folder: folder.name.clone(),
                source,
            })?;
            folder.templates.insert(name, text(&entry)?);
        }
    }
    if found {
        Ok(folder)
    } else {
        Err(CatalogError::NoStack {
            path: path.to_owned(),
        })
    }
}

fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn entries(path: &Path) -> Result<Vec<std::path::PathBuf>, CatalogError> {
    let refuse = |source| CatalogError::Io {
        path: path.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(refuse)? {
        found.push(entry.map_err(refuse)?.path());
        if found.len() > MAX_FILES {
            return Err(CatalogError::TooMany {
                path: path.to_owned(),
                most: MAX_FILES,
            });
        }
    }
    found.sort();
    Ok(found)
}

fn text(path: &Path) -> Result<String, CatalogError> {
    let refuse = |source| CatalogError::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = std::fs::symlink_metadata(path).map_err(refuse)?;
    if !metadata.is_file() {
        return Err(CatalogError::NoFile {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(refuse)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CatalogError::TooLong {
            path: path.to_owned(),
            most: MAX_BYTES,
        });
    }
    String::from_utf8(bytes).map_err(|_| CatalogError::NotText {
        path: path.to_owned(),
    })
}
