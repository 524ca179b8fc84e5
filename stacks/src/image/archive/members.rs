//! The entries of an archive: files by name, and links between them.

use std::collections::BTreeMap;
use std::io::Read;

use super::blob::{self, Blob, Content};
use super::error::{ArchiveError, TarFlaw};
use super::walk::{Entry, Kind, WalkError, inside, plain, shown, walk};
use super::{MAX_ALL_JSON, MAX_JSON, MAX_MEMBERS, Packages};
use crate::image::ImageDigest;

/// Where an OCI layout keeps its files.
pub(super) const BLOBS: &str = "blobs/sha256/";

/// Longest way over links to a file.
const MAX_LINKS: usize = 8;

/// What is in an archive.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: BTreeMap<String, Member>,
}

#[derive(Debug)]
enum Member {
    File(Blob),
    Link(String),
    Folder,
}

impl Members {
    /// Finds a file, over links where `docker save` made some.
    pub(super) fn find(&self, path: &str) -> Option<&Blob> {
        let mut path = path;
        for _ in 0..MAX_LINKS {
            match self.members.get(path)? {
                Member::File(blob) => return Some(blob),
                Member::Link(target) => path = target,
                Member::Folder => return None,
            }
        }
        None
    }

    /// Finds a file of the OCI layout.
    pub(super) fn blob(&self, digest: &ImageDigest) -> Option<&Blob> {
        self.find(&format!("{BLOBS}{}", digest.hex()))
    }

    /// Returns the JSON in a file that `what` names.
    pub(super) fn json(&self, what: &str, path: &str) -> Result<(&Blob, &[u8]), ArchiveError> {
        let blob = self.find(path).ok_or_else(|| ArchiveError::Missing {
            what: what.to_owned(),
            path: path.to_owned(),
        })?;
        match &blob.content {
            Content::Json(json) => Ok((blob, json)),
            Content::LongJson => Err(ArchiveError::Oversize {
                path: path.to_owned(),
                limit: MAX_JSON,
            }),
            _ => Err(ArchiveError::Malformed {
                path: path.to_owned(),
                flaw: "it is no JSON".into(),
            }),
        }
    }
}

/// Reads the tar of an archive to its end.
pub(super) fn read(tar: &mut dyn Read, packages: Packages) -> Result<Members, ArchiveError> {
    let mut members = Members::default();
    let mut json = 0;
    let walked = walk(tar, |entry, content| {
        let path = name(&entry.path)?;
        if members.members.len() >= MAX_MEMBERS {
            return Err(ArchiveError::Entries(MAX_MEMBERS));
        }
        let member = member(entry, &path, content, packages)?;
        if let Member::File(Blob {
            content: Content::Json(bytes),
            ..
        }) = &member
        {
            json += bytes.len() as u64;
            if json > MAX_ALL_JSON {
                return Err(ArchiveError::Oversize {
                    path,
                    limit: MAX_ALL_JSON,
                });
            }
        }
        let folder = matches!(member, Member::Folder);
        match members.members.insert(path.clone(), member) {
            // folders are written as often as somebody likes
            Some(Member::Folder) if folder => Ok(()),
            None => Ok(()),
            Some(_) => Err(ArchiveError::Duplicate(path)),
        }
    });
    match walked {
        Ok(()) => Ok(members),
        Err(WalkError::Tar(flaw)) => Err(ArchiveError::Tar(flaw)),
        Err(WalkError::Visitor(error)) => Err(error),
    }
}

fn name(path: &[u8]) -> Result<String, ArchiveError> {
    let outside = || ArchiveError::Tar(TarFlaw::Outside(shown(path)));
    let text = std::str::from_utf8(path).map_err(|_| outside())?;
    match text.chars().any(char::is_control) {
        true => Err(outside()),
        false => Ok(text.to_owned()),
    }
}

fn member(
    entry: &Entry,
    path: &str,
    content: &mut dyn Read,
    packages: Packages,
) -> Result<Member, ArchiveError> {
    match entry.kind {
        Kind::Folder => Ok(Member::Folder),
        Kind::Special => Err(ArchiveError::Special(shown(&entry.path))),
        Kind::Symlink => link(&entry.path, &entry.target, true).map(Member::Link),
        Kind::Hardlink => link(&entry.path, &entry.target, false).map(Member::Link),
        Kind::File => {
            let damaged = |error| ArchiveError::Tar(TarFlaw::Damaged(plain(&error)));
            let blob = blob::read(content, packages).map_err(damaged)?;
            let named = path.strip_prefix(BLOBS).map(ImageDigest::from_hex);
            match named {
                Some(named) if named != Some(blob.digest) => Err(ArchiveError::Name {
                    path: path.to_owned(),
                    found: blob.digest,
                }),
                _ => Ok(Member::File(blob)),
            }
        }
    }
}

/// Returns where a link leads: a symbolic one from its folder, a hard one from the root.
fn link(path: &[u8], target: &[u8], symbolic: bool) -> Result<String, ArchiveError> {
    let outside = || {
        ArchiveError::Tar(TarFlaw::LinkOutside {
            path: shown(path),
            target: shown(target),
        })
    };
    if target.starts_with(b"/") {
        return Err(outside());
    }
    let mut parts: Vec<&[u8]> = match symbolic {
        true => path.split(|byte| *byte == b'/').collect(),
        false => vec![b""],
    };
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or_else(outside)?;
            }
            part => parts.push(part),
        }
    }
    let joined = inside(&parts.join(&b'/')).ok_or_else(outside)?;
    name(&joined).map_err(|_| outside())
}
