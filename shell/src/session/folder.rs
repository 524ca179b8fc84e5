//! The private folder of this process for its sockets, and those that others left behind.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

/// How the names of all of them begin.
const PREFIX: &str = "bcm-";

/// Locked for as long as the process lives, whatever ends it.
const LOCK: &str = "lock";

/// A folder of mode 0700 that goes with the process.
#[derive(Debug)]
pub struct RuntimeFolder {
    folder: TempDir,
    _lock: File,
}

impl RuntimeFolder {
    /// Makes one in `parent`, and removes those of processes that were killed.
    pub fn make(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let lock = File::create_new(folder.path().join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what nobody holds the lock of; what cannot be removed is somebody else's.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| {
            let number = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.split_once('-'));
            number.is_some_and(|(pid, _)| pid.parse::<u32>().is_ok())
        });
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // one without a lock is being made just now
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_away() {
        let parent = tempfile::tempdir().unwrap();
        let folder = RuntimeFolder::make(parent.path()).unwrap();
        let path = folder.path().to_owned();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, lock: bool| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            if lock {
                fs::write(path.join(LOCK), "").unwrap();
            }
            path
        };
        let left = make("bcm-1-abcdef", true);
        let begun = make("bcm-2-abcdef", false);
        let foreign = make("bcm-demo.abcdef", true);
        let lives = RuntimeFolder::make(parent.path()).unwrap();
        let _second = RuntimeFolder::make(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(begun.exists() && foreign.exists() && lives.path().exists());
    }
}
