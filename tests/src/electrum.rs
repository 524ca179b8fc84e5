//! A real Electrum, on no network: it opens wallets, makes PSBTs and reads transactions.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use crate::environment::TestEnv;
use crate::peers::prepared;

/// Electrum with one wallet file open, in regtest.
#[derive(Clone, Debug)]
pub struct Electrum<'a> {
    env: &'a TestEnv,
    wallet: PathBuf,
}

impl<'a> Electrum<'a> {
    /// Takes this wallet file, and fetches Electrum first where it is missing.
    pub fn open(env: &'a TestEnv, wallet: &Path) -> Self {
        let wallet = wallet.to_owned();
        Self { env, wallet }
    }

    /// Gives it a command and returns what it prints.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn run<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> String {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| prepared("electrum"));
        let output = self
            .env
            .command(folder.join("bin/electrum"))
            .args(["--regtest", "--offline", "-D"])
            .arg(self.env.path().join("electrum"))
            .arg("-w")
            .arg(&self.wallet)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        String::from_utf8(output.stdout).unwrap().trim_end().into()
    }
}
