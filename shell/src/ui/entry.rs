//! What a command asks the person to type.

use bcm_keystore::secret::LockedPage;

use super::question::terminal;
use super::tty::{EntryError, Tty};
use crate::report::{Kind, Report};

/// Asks for a secret with no echo.
pub fn secret(question: &str) -> Result<LockedPage, Report> {
    let _terminal = terminal();
    let typed = Tty::open().and_then(|tty| tty.secret(question, &|| false));
    typed.map_err(report)
}

/// Asks for a phrase, which is shown while it is typed.
pub fn phrase(question: &str) -> Result<String, Report> {
    let _terminal = terminal();
    let typed = Tty::open().and_then(|tty| tty.phrase(question));
    typed.map_err(report)
}

fn report(error: EntryError) -> Report {
    match error {
        EntryError::GivenUp => Report::text(Kind::Failed, "cancelled"),
        EntryError::NoTerminal => Report::usage("there is no terminal to ask on"),
    }
}
