//! Why an image was not built.

use std::io;

use bcm_keystore::Hint;

use crate::image::ArchiveError;

/// Why an image was not built. No archive was written then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A temporary file cannot be used.
    #[error("cannot use a temporary file")]
    Files(#[source] io::Error),
    /// A program that the build needs cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program that the build needs failed.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// The program.
        program: &'static str,
        /// The last of what it said.
        said: String,
    },
    /// Nobody waits for it any more.
    #[error("the build was cancelled")]
    Cancelled,
    /// What was unpacked is no root file system.
    #[error("what `mmdebstrap` wrote is wrong: {0}")]
    Root(String),
    /// A package of the recipe was not installed.
    #[error("the package `{0}` did not come with the others")]
    NoPackage(String),
    /// A name that apt would take for something else.
    #[error("`{}` is no name of a {what}", name.escape_debug())]
    Name {
        /// What it should name.
        what: &'static str,
        /// What was given.
        name: String,
    },
    /// A program of the recipe is not there.
    #[error("there is no program `{0}` for this machine in what was given")]
    Program(String),
    /// A library of a program belongs to no package.
    #[error("no package has the library `{0}`")]
    Library(String),
    /// The archive that came of it was not accepted.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Hint for BuildError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Files(_) => "free some space: a build takes three times the size of the image".into(),
            Self::Start { program, .. } => format!("install it: `apt install {program}`"),
            Self::Failed { program: "mmdebstrap", said } if said.contains("Release file") => {
                "if you build from a snapshot, say so with `--snapshot`".into()
            }
            Self::Failed { .. } => {
                "look at what it said; `--mirror` or `config set image.mirror=…` names another source".into()
            }
            Self::Program(_) => "give the release archive, or the program, for the image's platform".into(),
            Self::Library(_) => "build the program against libraries of Debian".into(),
            Self::Archive(error) => return error.hint(),
            _ => return None,
        })
    }
}
