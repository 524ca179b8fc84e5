//! Questions with yes or no, also while a line is being edited.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::tty::{EntryError, Tty};
use super::{is_editing, lock, say};

/// How often a question at the prompt looks whether it was withdrawn.
const GLANCE: Duration = Duration::from_millis(100);

/// One question at a time; the line editor waits for it too.
static TERMINAL: Mutex<()> = Mutex::new(());

/// A question that is answered at the prompt, because a line is being edited.
static PENDING: Mutex<Option<mpsc::Sender<bool>>> = Mutex::new(None);

/// Takes the terminal for a question, or waits until there is none.
pub(super) fn terminal() -> MutexGuard<'static, ()> {
    lock(&TERMINAL)
}

/// What a person at the terminal said to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Yes.
    Yes,
    /// No, or gave up.
    No,
    /// There is nobody.
    Nobody,
}

/// A question that is answered with yes or no.
#[derive(Debug)]
pub struct Question<'a> {
    /// Shown above it.
    pub text: &'a str,
    /// The last line, without the `[y/n]`.
    pub question: &'a str,
}

impl Question<'_> {
    /// Asks; while a line is being edited the answer is typed there. `off` withdraws the question.
    pub fn ask(&self, off: &dyn Fn() -> bool) -> Asking {
        let terminal = if is_editing() { None } else { Some(terminal()) };
        if terminal.is_some() && !Tty::exists() {
            return Asking::Nobody;
        }
        if !self.text.is_empty() {
            say(self.text);
        }
        if terminal.is_some() {
            return self.ask_word(off);
        }
        let (sender, answer) = mpsc::channel();
        *lock(&PENDING) = Some(sender);
        say(&format!(
            "{} answer with `y` or `n` and Enter",
            self.question
        ));
        loop {
            match answer.recv_timeout(GLANCE) {
                Ok(true) => return Asking::Yes,
                Err(RecvTimeoutError::Timeout) if !off() => {}
                _ => return Asking::No,
            }
        }
    }

    fn ask_word(&self, off: &dyn Fn() -> bool) -> Asking {
        let question = format!("{} [y/n] ", self.question);
        loop {
            let typed = Tty::open().and_then(|tty| tty.word(&question, off));
            match typed.as_deref().map(yes_or_no) {
                Ok(Some(true)) => return Asking::Yes,
                Ok(Some(false)) | Err(EntryError::GivenUp) => return Asking::No,
                Ok(None) => {}
                Err(EntryError::NoTerminal) => return Asking::Nobody,
            }
        }
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

/// Takes `line` as the answer to the pending question, if there is one and it is an answer.
pub fn answer(line: &str) -> bool {
    let Some(yes) = yes_or_no(line) else {
        return false;
    };
    let pending = lock(&PENDING).take();
    // who asked may have given up meanwhile
    pending.is_some_and(|sender| sender.send(yes).is_ok())
}

/// Declines the pending question, if there is one.
pub fn decline() -> bool {
    lock(&PENDING).take().is_some()
}
