//! The history file, and what is never remembered.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bcm_keystore::store::create_private_dir;

use crate::split::split;

/// How flags begin that name where a secret comes from, or that a person takes for one that takes
/// the secret itself.
const SECRET_FLAGS: [&str; 5] = ["--pass", "--mnemonic", "--pin", "--seed", "--secret"];

/// Lines that are remembered.
pub const MAX_LINES: usize = 10_000;

/// Tells whether `line` may be remembered: commands only, none with a secret flag, no line with a
/// space before it.
///
/// What begins with no command may be a passphrase, typed where none was asked for.
pub fn may_remember(line: &str, is_command: impl Fn(&str) -> bool) -> bool {
    if line.starts_with(char::is_whitespace) {
        return false;
    }
    let Ok(commands) = split(line) else {
        return false;
    };
    let words = || commands.iter().flatten();
    !commands.is_empty()
        && commands.iter().all(|words| is_command(&words[0]))
        && !words().any(|word| SECRET_FLAGS.iter().any(|flag| word.starts_with(flag)))
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

    fn remembers(line: &str) -> bool {
        may_remember(line, |word| ["info", "ssh", "simulator"].contains(&word))
    }

    #[test]
    fn secret_flags_and_lines_that_begin_with_a_space_are_forgotten() {
        for line in [
            "",
            "   ",
            "# comment",
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
            assert!(!remembers(line), "{line}");
        }
        assert!(remembers("ssh newkey alice@node-1"));
        assert!(remembers("ssh newky alice@node-1; info"));
        assert!(remembers("simulator serve --confirm ask"));
    }

    #[test]
    fn what_is_no_command_may_be_a_passphrase() {
        for line in [
            "hunter2",
            "correct horse; battery",
            "info; hunter2",
            "it's",
            "y",
        ] {
            assert!(!remembers(line), "{line}");
        }
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
