//! The public Python clients: trezorctl, trezor-agent, hwi, in pinned versions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::environment::TestEnv;

/// Returns the path of `rage`, and builds it first where it is missing.
///
/// # Panics
///
/// When it cannot be built.
pub fn rage() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| prepared("rage"))
}

/// Returns the archive of a root file system with tor, Bitcoin Knots and electrs, and makes it first where it is
/// missing.
///
/// # Panics
///
/// When it cannot be made.
pub fn stack_image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| prepared("stackimage"))
}

/// Runs a script that makes a peer and says where it is.
pub(crate) fn prepared(script: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(script);
    let output = Command::new(&script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{} fails", script.display());
    String::from_utf8(output.stdout).unwrap().trim_end().into()
}

/// The folder of the Python peers, kept in the cache of the person who runs the tests.
#[derive(Clone, Copy, Debug)]
pub struct Peers {
    folder: &'static Path,
}

impl Peers {
    /// Finds them, and makes them first where they are missing.
    ///
    /// # Panics
    ///
    /// When they cannot be made.
    pub fn ready() -> Self {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| prepared("prepare"));
        Self { folder }
    }

    /// Prepares a run of one of them in `env`.
    pub fn command(&self, env: &TestEnv, program: &str) -> Command {
        let bin = self.folder.join("bin");
        let mut command = env.command(bin.join(program));
        let path = format!("{}:/usr/bin:/bin", bin.display());
        command.env("PATH", path).stdin(Stdio::null());
        command
    }
}
