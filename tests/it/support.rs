//! What several test files do alike.

use std::fs;
use std::path::{Path, PathBuf};

use bcm_tests::{PASSPHRASE, Simulator, TestEnv};

/// Makes an SSH key and returns its public key line.
#[track_caller]
pub(crate) fn new_key(env: &TestEnv, simulator: &Simulator, identity: &str, curve: &str) -> String {
    let output = env
        .bcm(["ssh", "newkey", identity, "--curve", curve])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    output.success().trim_end().to_owned()
}

/// Returns every file below a folder, sockets included.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Reads what genuine firmware said in a recorded dialogue.
pub(crate) fn recording(name: &str) -> serde_json::Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keystore/vectors/transcripts");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}
