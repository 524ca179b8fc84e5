//! A terminal with `bcm` on it, and a person who reads and types.

use std::process::Command;

use rexpect::process::{Signal, WaitStatus};
use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};

/// How long a person waits for what should appear.
const PATIENCE_MS: u64 = 20_000;

/// A program on a pseudo-terminal. Killed when dropped.
pub struct Pty {
    session: PtySession,
}

impl Pty {
    pub(crate) fn spawn(command: Command) -> Self {
        let options = Options::new()
            .timeout_ms(Some(PATIENCE_MS))
            .strip_ansi_escape_codes(true);
        let mut session = spawn_with_options(command, options).expect("bcm starts on a terminal");
        session.process_mut().set_kill_timeout(Some(2_000));
        Self { session }
    }

    /// Reads until `text` appears and returns what came before it.
    ///
    /// # Panics
    ///
    /// With what did appear, when `text` does not.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        match self.session.exp_string(text) {
            Ok(before) => before,
            Err(error) => panic!("`{text}` did not appear: {error}"),
        }
    }

    /// Types a line.
    pub fn line(&mut self, line: &str) {
        self.session.send_line(line).unwrap();
    }

    /// Waits until the shell has done all that it was told, by having it answer one more question.
    ///
    /// The prompt shows nothing: it is drawn anew with every key.
    #[track_caller]
    pub fn settle(&mut self) {
        self.line("config get lock.idle");
        self.expect("\n10m\r");
    }

    /// Presses Ctrl and a letter.
    pub fn control(&mut self, letter: char) {
        self.session.send_control(letter).unwrap();
    }

    /// Types without Enter.
    pub fn keys(&mut self, keys: &str) {
        self.session.send(keys).unwrap();
        self.session.flush().unwrap();
    }

    /// Kills the program at once.
    pub fn kill(&mut self) {
        self.session.process_mut().kill(Signal::SIGKILL).unwrap();
    }

    /// Reads to the end and returns what came and the exit code.
    ///
    /// # Panics
    ///
    /// When a signal ended it.
    pub fn end(mut self) -> (String, i32) {
        let rest = self.session.exp_eof().expect("the program ends");
        match self.session.process().wait().unwrap() {
            WaitStatus::Exited(_, code) => (rest, code),
            other => panic!("{other:?} after\n{rest}"),
        }
    }
}

impl std::fmt::Debug for Pty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pty").finish_non_exhaustive()
    }
}
