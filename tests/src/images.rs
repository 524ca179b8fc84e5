//! Images that bcm built, kept in the cache of the person who runs the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::environment::binary;

/// Returns the archive of an image, and builds all of them first where they are missing: `tor`, `relay`, `bitcoind` or
/// `electrs`.
///
/// # Panics
///
/// When they cannot be built.
pub fn image(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/images");
        let output = Command::new(script)
            .arg(binary())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the images cannot be built");
        String::from_utf8(output.stdout).unwrap().trim_end().into()
    });
    folder.join(format!("{name}.tar"))
}
