//! GnuPG verifies what the ledger exports.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn gpg_verifies_a_statement_and_refuses_a_changed_one() {
    let owner = Owner::new().await;
    let signed = owner.sign(&deployment(Position::FIRST)).await;
    // short, because the agent's socket has to fit into 108 bytes
    let folder = tempfile::Builder::new()
        .prefix("bcm-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = folder.path().join("X.json");
    signed.write(&path).unwrap();
    let cert = folder.path().join("cert.asc");
    std::fs::write(&cert, String::from(owner.anchors.cert.clone())).unwrap();
    let gpg = |words: &[&str]| {
        let output = Command::new("gpg")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("GNUPGHOME", folder.path())
            .args([
                "--batch",
                "--no-tty",
                "--no-autostart",
                "--trust-model",
                "always",
            ])
            .args(words)
            .current_dir(folder.path())
            .output()
            .expect("gpg is installed (Debian: gnupg)");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (imported, said) = gpg(&["--import", "cert.asc"]);
    assert!(imported, "{said}");
    // the clock of the test is ahead of none: GnuPG judges by its own
    let verify = [
        "--faked-system-time",
        "1790000100",
        "--verify",
        "X.json.asc",
        "X.json",
    ];
    let (good, said) = gpg(&verify);
    assert!(
        good && said.contains("Good signature from \"Satoshi"),
        "{said}"
    );
    let mut json = signed.json.clone();
    let end = json.len() - 3;
    json[end] ^= 1;
    std::fs::write(&path, json).unwrap();
    let (good, said) = gpg(&verify);
    assert!(!good && said.contains("BAD signature"), "{said}");
}
