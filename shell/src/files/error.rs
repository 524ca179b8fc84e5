//! Why a file that a person named was not read or not written.

use std::io;

use bcm_keystore::Hint;

/// Why a file that a person named was not read or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is nothing of that name.
    #[error("there is no file `{0}`")]
    NoFile(String),
    /// The folder that the file is to be in is not there.
    #[error("there is no folder `{0}`")]
    NoFolder(String),
    /// A folder where a file is expected.
    #[error("`{0}` is a folder")]
    Folder(String),
    /// A disk or a socket.
    #[error("`{0}` is neither a file nor a pipe")]
    Special(String),
    /// The file cannot be read.
    #[error("cannot read `{name}`")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file got shorter while it was read: another program cut it.
    #[error("`{name}` was cut from {expected} to {found} bytes while it was read")]
    Shrank {
        /// The file.
        name: String,
        /// Its length when it was opened.
        expected: u64,
        /// How much there was to read.
        found: u64,
    },
    /// It is longer than a file of its kind can be.
    #[error("`{name}` is longer than {most} bytes")]
    TooLong {
        /// The file.
        name: String,
        /// The limit.
        most: u64,
    },
    /// The file cannot be written.
    #[error("cannot write `{name}`")]
    Write {
        /// The file.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is something of that name.
    #[error("`{0}` exists")]
    Exists(String),
    /// There is a symbolic link of that name.
    #[error("`{0}` is a symbolic link")]
    Link(String),
    /// Reading and writing the same file would destroy it.
    #[error("`{target}` is the file that is read (`{source_name}`)")]
    Same {
        /// What was to be written.
        target: String,
        /// What is read.
        source_name: String,
    },
    /// Bytes that are no text, on a terminal.
    #[error("the output is no text and would disturb the terminal")]
    Terminal,
}

impl FileError {
    pub(super) fn read(name: &str, error: io::Error) -> Self {
        let name = name.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoFile(name),
            io::ErrorKind::IsADirectory => Self::Folder(name),
            _ => Self::Read {
                name,
                source: error,
            },
        }
    }

    pub(super) fn write(name: &str, error: io::Error) -> Self {
        let name = name.to_owned();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists(name),
            io::ErrorKind::IsADirectory => Self::Folder(name),
            _ => Self::Write {
                name,
                source: error,
            },
        }
    }
}

impl Hint for FileError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NoFolder(folder) => return Some(format!("make it: `mkdir -p {folder}`")),
                Self::NoFile(_) | Self::Folder(_) | Self::Special(_) => {
                    "name a file, or `-` for standard input or output"
                }
                Self::Read { .. } => "nothing was written; check who may read it, and the disk",
                Self::Shrank { .. } => {
                    "nothing was written; wait until nobody writes to it any more"
                }
                Self::TooLong { .. } => "check that it is the right file",
                Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                    "nothing was left behind; make room, or name another disk with `-o`"
                }
                Self::Write { .. } => "nothing was left behind; check who may write there",
                Self::Exists(_) => "choose another name with `-o`, or overwrite it with `--force`",
                Self::Link(_) => {
                    "`--force` replaces the link itself; what it points to is never written"
                }
                Self::Same { .. } => "choose another name with `-o`",
                Self::Terminal => "write it to a file with `-o`, or show it with `--force`",
            }
            .to_owned(),
        )
    }
}
