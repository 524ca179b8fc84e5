//! Files that a person named: read in one stream, written as a whole or not at all.
//!
//! A [`Source`] is read ahead and a [`Target`] written behind, each on a thread of its own, so that the
//! cryptography between them waits for neither; what is in flight is bounded. A target has no name
//! until it is whole and on the disk: whatever ends bcm before, `kill -9` included, leaves nothing.

mod error;
mod progress;
mod source;
mod target;
#[cfg(test)]
mod tests;

use std::io::{Read, Write};
use std::path::Path;

use crate::report::{Kind, Report};
use crate::session::Cancelled;

pub use error::FileError;
pub use progress::suspended;
pub use source::{Reader, Source};
pub use target::{Access, Overwrite, Target};

/// Size of one piece on its way between a file and the cryptography: the cache holds all in flight.
const PIECE: usize = 1 << 18;

/// Pieces that may wait on either side.
const WAITING: usize = 4;

/// Stands for standard input or output.
pub const STANDARD: &str = "-";

/// Tells whether `path` means standard input or output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD
}

/// Names a path in a message.
pub fn name_of(path: &Path) -> String {
    path.display().to_string()
}

/// Reads `source` through `work`.
///
/// What went wrong with the file is reported before what `work` made of it.
pub fn read<T>(
    source: Source,
    cancelled: &Cancelled,
    work: impl FnOnce(&mut Reader) -> Result<T, Report>,
) -> Result<T, Report> {
    let mut reader = source.reader(cancelled);
    let outcome = work(&mut reader);
    match reader.failure() {
        Some(error) => Err(error.into()),
        None => outcome,
    }
}

/// Turns `source` into `target` through `work`, and gives `target` its name at the end.
///
/// On any error the target is gone.
pub fn convert<T>(
    source: Source,
    target: Target,
    cancelled: &Cancelled,
    work: impl FnOnce(
        &mut (dyn Read + Send + Sync),
        &mut (dyn Write + Send + Sync),
    ) -> Result<T, Report>,
) -> Result<T, Report> {
    let mut writer = target.writer();
    let outcome = read(source, cancelled, |reader| {
        let outcome = work(reader, &mut writer);
        match writer.failure() {
            Some(error) => Err(error.into()),
            None => outcome,
        }
    })?;
    cancelled
        .check()
        .map_err(|error| Report::text(Kind::Failed, error.to_string()))?;
    writer.commit()?;
    Ok(outcome)
}

/// Fails where [`put`] would because of what is there, before anybody is asked for anything.
pub fn check_free(path: &Path, overwrite: Overwrite) -> Result<(), FileError> {
    let taken = !is_standard(path) && path.symlink_metadata().is_ok();
    match overwrite {
        Overwrite::Never if taken => Err(FileError::Exists(name_of(path))),
        _ => Ok(()),
    }
}

/// Writes something small as a whole; `-` is standard output.
pub fn put(
    path: &Path,
    access: Access,
    overwrite: Overwrite,
    bytes: &[u8],
) -> Result<(), FileError> {
    let target = Target::create(path, access, overwrite, false, &[])?;
    let name = target.name().to_owned();
    let mut writer = target.writer();
    let written = writer.write_all(bytes);
    if let Some(error) = writer.failure() {
        return Err(error);
    }
    written.map_err(|error| FileError::write(&name, error))?;
    writer.commit()
}

/// Reads a small file as a whole: a key, a signature.
pub fn read_small(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let source = Source::open(path)?;
    let name = source.name().to_owned();
    let mut bytes = Vec::new();
    source
        .into_read()
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| FileError::read(&name, error))?;
    if bytes.len() as u64 > most {
        return Err(FileError::TooLong { name, most });
    }
    Ok(bytes)
}
