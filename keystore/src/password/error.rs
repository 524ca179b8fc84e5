//! Why a password store does not do what it is asked to.

use std::io;
use std::path::{Path, PathBuf};

use super::name::PasswordNameError;
use crate::age::AgeError;
use crate::hint::Hint;

/// Why a password store does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] PasswordNameError),
    /// There is no such password.
    #[error("no password `{name}`")]
    NotFound {
        /// What was looked for.
        name: String,
        /// The one that is spelled most alike.
        nearest: Option<String>,
    },
    /// There is no such folder.
    #[error("no folder `{0}` of passwords")]
    NoFolder(String),
    /// There is one already.
    #[error("there is a password `{0}` already")]
    Exists(String),
    /// A link stands where a file or folder of the store belongs.
    #[error("`{}` is a symbolic link", .0.display())]
    Symlink(PathBuf),
    /// There is no secret.
    #[error("an empty password is none")]
    Empty,
    /// More than 1 MiB.
    #[error("the password is longer than 1 MiB")]
    TooLong,
    /// What should be stored cannot be read.
    #[error("cannot read the password")]
    Input(#[source] io::Error),
    /// A list of recipients has a line that is none.
    #[error("line {line} of `{}` is no recipient: {error}", path.display())]
    Recipient {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        error: AgeError,
    },
    /// Somebody wrote it there who need not be the person.
    #[error("`{recipient}` in `{}` was not accepted as a recipient", path.display())]
    NotAccepted {
        /// The recipient.
        recipient: String,
        /// The list.
        path: PathBuf,
    },
    /// It is on the list.
    #[error("`{0}` is a recipient already")]
    RecipientThere(String),
    /// It is not on the list.
    #[error("`{0}` is not among the recipients")]
    RecipientNotThere(String),
    /// It cannot be encrypted or decrypted.
    #[error("`{name}`: {error}")]
    Age {
        /// The password.
        name: String,
        /// Why.
        error: AgeError,
    },
    /// The file system refused.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl PasswordError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl Hint for PasswordError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name(error) => return error.hint(),
            Self::NotFound {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::NotFound { .. } | Self::NoFolder(_) => "`password list` shows them".into(),
            Self::Exists(_) => "`--force` replaces it, for good".into(),
            Self::Symlink(_) => "replace it by what it points to".into(),
            Self::Empty | Self::TooLong | Self::Input(_) => return None,
            Self::Recipient { path, .. } => format!("correct it: `$EDITOR {}`", path.display()),
            Self::NotAccepted { .. } => {
                "whoever wrote it there would read the password; if it was you, run `password \
                 recipients accept`"
                    .into()
            }
            Self::RecipientThere(_) | Self::RecipientNotThere(_) => {
                "`password recipients list` shows them".into()
            }
            Self::Age { error, .. } => return error.hint(),
            Self::Io { .. } => "check who owns it and whether the disk is full".into(),
        })
    }
}
