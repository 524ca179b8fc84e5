//! Where a test runs `bcm`: nothing of the person's own environment, everything in one folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::bcm::Bcm;

/// A cleared environment with a home of its own; gone when dropped.
#[derive(Debug)]
pub struct TestEnv {
    dir: TempDir,
}

impl TestEnv {
    /// Makes an empty one.
    pub fn new() -> Self {
        // Short, because the path of a unix socket has to fit into 108 bytes.
        let dir = tempfile::Builder::new()
            .prefix("bcm-")
            .tempdir_in("/tmp")
            .unwrap();
        for name in ["home", "state", "run"] {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        Self { dir }
    }

    /// Returns the folder that holds everything of this test.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns `$HOME`.
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// Returns `$BCM_HOME`.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Writes a file below the folder of this test.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Prepares a run of `bcm` with these words.
    pub fn bcm<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Bcm {
        let words = words.into_iter().map(Into::into).collect();
        Bcm::new(self.command(binary()), words)
    }

    /// Prepares a run of any program in this environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.home())
            .env("BCM_HOME", self.state())
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(self.path());
        command
    }

    /// Replaces what differs from run to run: this test's folder, and ports on loopback.
    pub fn filter(&self, text: &str) -> String {
        let text = text.replace(&*self.path().to_string_lossy(), "[DIR]");
        let mut filtered = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("127.0.0.1:") {
            filtered.push_str(before);
            filtered.push_str("127.0.0.1:[PORT]");
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        filtered.push_str(rest);
        filtered
    }
}

impl Default for TestEnv {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the `bcm` under test, built on first use.
///
/// `BCM_TEST_BINARY` names another one.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("BCM_TEST_BINARY") {
            return binary.into();
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        escargot::CargoBuild::new()
            .manifest_path(manifest)
            .arg("--locked")
            .package("bcm-shell")
            .bin("bcm")
            .run()
            .expect("bcm builds")
            .path()
            .to_owned()
    })
}
