//! What is remembered of the lines that were typed, and what never is.
//!
//! Lines name hosts and stacks, so they are kept sealed, one document per wallet: whoever opens
//! another wallet, or none, does not see them.

use bcm_keystore::WalletStore;
use bcm_keystore::store::StoreError;

use crate::split::split;

/// The document that holds the lines.
const DOCUMENT: &str = "history";

/// How flags begin that name where a secret comes from, or that a person takes for one that takes
/// the secret itself.
const SECRET_FLAGS: [&str; 5] = ["--pass", "--mnemonic", "--pin", "--seed", "--secret"];

/// Lines that the editor holds.
pub const MAX_LINES: usize = 1_000;

/// Bytes of lines that are remembered: what fits one block of a sealed document, so that its size
/// does not tell how much a wallet is used.
const MAX_BYTES: usize = 12_000;

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

/// Returns the lines that were remembered in this wallet, oldest first.
pub fn load(store: &WalletStore) -> Result<Vec<String>, StoreError> {
    Ok(store.read(DOCUMENT)?.unwrap_or_default())
}

/// Remembers `line` in this wallet, behind what other prompts have remembered meanwhile.
pub fn append(store: &WalletStore, line: &str) -> Result<(), StoreError> {
    store.update(DOCUMENT, |lines: &mut Vec<String>| {
        lines.push(line.to_owned());
        trim(lines);
        Ok(())
    })
}

/// Drops the oldest lines that are too much.
fn trim(lines: &mut Vec<String>) {
    let mut bytes = 0;
    let kept = lines.iter().rev().take_while(|line| {
        // quotes, comma and escapes of JSON
        bytes += line.len() * 2 + 3;
        bytes <= MAX_BYTES
    });
    let surplus = lines.len() - kept.count();
    lines.drain(..surplus);
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
    fn the_newest_lines_stay() {
        let mut lines: Vec<_> = (0..5_000).map(|n| format!("info {n}")).collect();
        trim(&mut lines);
        assert_eq!(lines.last().unwrap(), "info 4999");
        assert!(lines.len() > 300);
        assert!(serde_json::to_vec(&lines).unwrap().len() <= MAX_BYTES);

        let mut one = vec!["x".repeat(MAX_BYTES)];
        trim(&mut one);
        assert!(one.is_empty());
    }
}
