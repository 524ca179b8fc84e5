//! The history file, and what is never remembered.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bcm_keystore::store::create_private_dir;

/// How flags begin that name where a secret comes from, or that a person takes for one that takes
/// the secret itself.
const SECRET_FLAGS: [&str; 5] = ["--pass", "--mnemonic", "--pin", "--seed", "--secret"];

/// Lines that are remembered.
pub const MAX_LINES: usize = 10_000;

/// Tells whether `line` may be remembered: not with a secret flag, not with a space before it.
pub fn may_remember(line: &str) -> bool {
    if line.trim().is_empty() || line.starts_with(char::is_whitespace) {
        return false;
    }
    // also as clap would take it: quoted, or with a quote inside
    let bare: String = line
        .chars()
        .filter(|c| !matches!(c, '\'' | '"' | '\\'))
        .collect();
    !SECRET_FLAGS.iter().any(|flag| bare.contains(flag))
}

/// Makes the history file, private, where there is none; makes it private where it is not.
pub fn prepare(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        create_private_dir(folder)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_flags_and_lines_that_begin_with_a_space_are_forgotten() {
        for line in [
            "",
            "   ",
            " info",
            "\tinfo",
            "simulator serve --mnemonic-fd 3",
            "simulator serve --pin-fd=3",
            "unlock --passphrase=correct-horse",
            "unlock --password correct-horse",
            "info; simulator serve --passphrase-fd 3",
            "simulator serve '--mnemonic-fd' 3",
            r"simulator serve --mnemonic\-fd 3",
        ] {
            assert!(!may_remember(line), "{line}");
        }
        assert!(may_remember("ssh newkey alice@node-1"));
        assert!(may_remember("simulator serve --confirm ask"));
    }

    #[test]
    fn the_file_is_private_also_when_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/history");
        prepare(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        prepare(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
