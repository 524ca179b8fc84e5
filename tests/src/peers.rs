//! The public Python clients: trezorctl, trezor-agent, hwi, in pinned versions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::environment::TestEnv;

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
        let folder = FOLDER.get_or_init(|| {
            let prepare = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/prepare");
            let output = Command::new(prepare)
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()
                .unwrap();
            assert!(output.status.success(), "the Python peers cannot be made");
            String::from_utf8(output.stdout).unwrap().trim_end().into()
        });
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
