//! One pass over a tar, with every name checked and every length compared.
//!
//! The `tar` crate reads blocks; names in extended headers are put together here, because it would keep a header
//! of any length in memory.

use std::io::{self, Read};

use tar::EntryType;

use super::error::TarFlaw;

/// Longest extended header.
const MAX_EXTENSION: u64 = 1 << 20;

/// What kind of entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file with content.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// Another name of a file that came before.
    Hardlink,
    /// A device or a pipe.
    Special,
}

/// One entry, its name checked.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Without `./` and `/` around it; empty for the root.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Where a link leads, as written.
    pub(crate) target: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
    pub(crate) size: u64,
    /// Where its content begins in the tar.
    pub(crate) position: u64,
}

impl Entry {
    /// Returns the name as text, for messages and for names that are ASCII.
    pub(crate) fn name(&self) -> String {
        shown(&self.path)
    }
}

/// Why a walk ended.
#[derive(Debug)]
pub(crate) enum WalkError<E> {
    /// The tar is wrong.
    Tar(TarFlaw),
    /// Whoever was shown an entry gave up.
    Visitor(E),
}

/// What extended headers said of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Shows each entry of `tar` to `visit`, which reads as much of its content as it wants.
pub(crate) fn walk<R: Read, E>(
    tar: R,
    mut visit: impl FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), WalkError<E>> {
    let damaged = |error: io::Error| WalkError::Tar(TarFlaw::Damaged(plain(&error)));
    let mut archive = tar::Archive::new(tar);
    let mut extended = Extended::default();
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if is_extension(kind) {
            let size = entry.size();
            if size > MAX_EXTENSION {
                return Err(WalkError::Tar(TarFlaw::Extension(MAX_EXTENSION)));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            if bytes.len() as u64 != size {
                return Err(WalkError::Tar(TarFlaw::Truncated("a header".into())));
            }
            extended.take(kind, &bytes).map_err(WalkError::Tar)?;
            continue;
        }
        let described = describe(&entry, std::mem::take(&mut extended)).map_err(WalkError::Tar)?;
        let mut content = Content {
            inner: &mut entry,
            read: 0,
        };
        visit(&described, &mut content).map_err(WalkError::Visitor)?;
        io::copy(&mut content, &mut io::sink()).map_err(damaged)?;
        if content.read != described.size {
            return Err(WalkError::Tar(TarFlaw::Truncated(described.name())));
        }
    }
    Ok(())
}

fn is_extension(kind: EntryType) -> bool {
    kind.is_gnu_longname()
        || kind.is_gnu_longlink()
        || kind.is_pax_local_extensions()
        || kind.is_pax_global_extensions()
}

impl Extended {
    fn take(&mut self, kind: EntryType, bytes: &[u8]) -> Result<(), TarFlaw> {
        let text = |bytes: &[u8]| {
            bytes
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or(&[])
                .to_vec()
        };
        if kind.is_gnu_longname() {
            self.path = Some(text(bytes));
        } else if kind.is_gnu_longlink() {
            self.target = Some(text(bytes));
        } else if kind.is_pax_local_extensions() {
            for extension in tar::PaxExtensions::new(bytes) {
                let extension = extension
                    .map_err(|_| TarFlaw::Damaged("an extended header is malformed".into()))?;
                let value = extension.value_bytes();
                match extension.key_bytes() {
                    b"path" => self.path = Some(value.to_vec()),
                    b"linkpath" => self.target = Some(value.to_vec()),
                    b"size" => {
                        let size = std::str::from_utf8(value).ok().and_then(|t| t.parse().ok());
                        self.size = Some(size.ok_or_else(|| {
                            TarFlaw::Damaged("an extended header has no number as size".into())
                        })?);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn describe<R: Read>(entry: &tar::Entry<'_, R>, extended: Extended) -> Result<Entry, TarFlaw> {
    let header = entry.header();
    let written = extended
        .path
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let path = inside(&written).ok_or_else(|| TarFlaw::Outside(shown(&written)))?;
    let header_target = || header.link_name_bytes().map(std::borrow::Cow::into_owned);
    let target = extended.target.or_else(header_target).unwrap_or_default();
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => Kind::File,
        // an old way to write a folder
        _ if header.entry_type().as_byte() == 0 => match written.ends_with(b"/") {
            true => Kind::Folder,
            false => Kind::File,
        },
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::Hardlink,
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        _ => return Err(TarFlaw::Kind(shown(&path))),
    };
    let size = entry.size();
    if extended.size.is_some_and(|extended| extended != size) {
        return Err(TarFlaw::Kind(shown(&path)));
    }
    if kind == Kind::Hardlink && inside(&target).is_none() {
        return Err(TarFlaw::LinkOutside {
            path: shown(&path),
            target: shown(&target),
        });
    }
    Ok(Entry {
        mode: header.mode().unwrap_or(0),
        uid: header.uid().unwrap_or(0),
        gid: header.gid().unwrap_or(0),
        mtime: header.mtime().unwrap_or(0),
        position: entry.raw_file_position(),
        path,
        kind,
        target,
        size,
    })
}

/// Returns a path without what does not count in it, or `None` where it leads outside.
pub(crate) fn inside(path: &[u8]) -> Option<Vec<u8>> {
    if path.starts_with(b"/") || path.contains(&0) {
        return None;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// Returns a name for a message.
pub(crate) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let cut: String = text.chars().take(120).collect();
    cut.escape_debug().to_string()
}

/// Says what a reader said, without the words of the system.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".into(),
        _ => {
            let text: String = error.to_string().chars().take(120).collect();
            text.to_lowercase().escape_debug().to_string()
        }
    }
}

/// Counts what is read of an entry: the crate does not tell when the tar ends within it.
struct Content<'a, R> {
    inner: &'a mut R,
    read: u64,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}
