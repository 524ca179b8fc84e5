//! The device's questions, on a terminal.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bcm_keystore::interaction::{DeviceWait, NoAnswer, PassphraseEntry};
use bcm_keystore::secret::{LockedPage, Passphrase, Pin, ReadPassphraseError};
use bcm_keystore::{Hint, Interaction, Prompt};
use zeroize::Zeroizing;

use super::tty::{EntryError, Tty};
use crate::session::Activity;

use super::{Style, is_editing, lock, paint_stderr, say};

/// How often a passphrase that is none may be typed again.
const TRIES: usize = 3;

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

/// Where the passphrase comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The device's own screen.
    Device,
    /// This terminal.
    Host,
    /// An inherited descriptor.
    Descriptor(u32),
}

/// Who is at the device, for the words of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A person with a Trezor.
    Person,
    /// The simulator shows its screen on this terminal.
    SimulatorAsks,
    /// The simulator decides by itself.
    SimulatorDecides,
}

/// The device's questions, on a terminal.
#[derive(Debug)]
pub struct TerminalInteraction {
    source: PassphraseSource,
    holder: Holder,
    activity: Arc<Activity>,
    shown: Mutex<Option<(Prompt, DeviceWait)>>,
}

impl TerminalInteraction {
    /// Asks on this terminal; `activity` learns of every question.
    pub fn new(source: PassphraseSource, holder: Holder, activity: Arc<Activity>) -> Self {
        Self {
            source,
            holder,
            activity,
            shown: Mutex::default(),
        }
    }
}

impl Interaction for TerminalInteraction {
    fn device_waits(&self, prompt: &Prompt, wait: DeviceWait) {
        self.activity.touch();
        let asked = Some((prompt.clone(), wait));
        // several screens in a row are one question to the person
        if std::mem::replace(&mut *lock(&self.shown), asked.clone()) == asked {
            return;
        }
        let what = match (self.holder, wait) {
            (Holder::SimulatorDecides, DeviceWait::Confirm) => "the simulator decides by itself",
            (Holder::SimulatorAsks, DeviceWait::Confirm) => "confirm on the simulated Trezor",
            (Holder::SimulatorAsks | Holder::SimulatorDecides, DeviceWait::Passphrase) => {
                "enter the passphrase on the simulated Trezor"
            }
            (Holder::SimulatorAsks | Holder::SimulatorDecides, _) => {
                "enter the PIN on the simulated Trezor"
            }
            (Holder::Person, DeviceWait::Confirm) => "confirm on the Trezor",
            (Holder::Person, DeviceWait::Pin) => "enter the PIN on the Trezor",
            (Holder::Person, DeviceWait::Passphrase) => "enter the passphrase on the Trezor",
            (Holder::Person, _) => "look at the Trezor",
        };
        say(&format!(
            "{} {prompt} — {what}",
            paint_stderr(Style::Attention, "device:")
        ));
    }

    fn device_done(&self) {
        lock(&self.shown).take();
    }

    fn passphrase(&self, _prompt: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        match self.source {
            PassphraseSource::Device => Ok(PassphraseEntry::OnDevice),
            PassphraseSource::Host => typed_passphrase().map(PassphraseEntry::Host),
            PassphraseSource::Descriptor(number) => {
                let source = descriptor(number).map_err(ReadPassphraseError::from)?;
                Ok(PassphraseEntry::Host(Passphrase::read_line(source)?))
            }
        }
    }

    fn pin_matrix(&self, prompt: &Prompt) -> Result<Pin, NoAnswer> {
        let _terminal = free_terminal()?;
        say(&format!(
            "{} {prompt} — the Trezor shows where each digit is; type positions:\n  \
             7 8 9\n  4 5 6\n  1 2 3",
            paint_stderr(Style::Attention, "device:")
        ));
        for _ in 0..TRIES {
            match Pin::parse(Tty::open()?.secret("PIN positions: ", &|| false)?) {
                Ok(pin) => return Ok(pin),
                Err(error) => say(&format!("{error}")),
            }
        }
        Err(NoAnswer::GivenUp)
    }
}

impl From<EntryError> for NoAnswer {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::GivenUp => Self::GivenUp,
            EntryError::NoTerminal => Self::Nobody,
        }
    }
}

fn free_terminal() -> Result<MutexGuard<'static, ()>, NoAnswer> {
    if is_editing() {
        return Err(NoAnswer::Nobody);
    }
    Ok(terminal())
}

/// Asks for a passphrase with no echo, again where it is none.
fn typed_passphrase() -> Result<Passphrase, NoAnswer> {
    let _terminal = free_terminal()?;
    let mut last = NoAnswer::GivenUp;
    for _ in 0..TRIES {
        let question = "Passphrase (not shown): ";
        match Passphrase::parse(&Tty::open()?.secret(question, &|| false)?) {
            Ok(passphrase) => return Ok(passphrase),
            Err(error) => {
                say(&format!("{error}"));
                if let Some(hint) = error.hint() {
                    say(&format!("{} {hint}", paint_stderr(Style::Hint, "hint:")));
                }
                last = NoAnswer::Passphrase(ReadPassphraseError::Passphrase(error));
            }
        }
    }
    Err(last)
}

/// Asks for a secret that the simulated device's person types, with no echo.
pub fn typed_secret(question: &str, off: &dyn Fn() -> bool) -> Option<LockedPage> {
    let _terminal = free_terminal().ok()?;
    Tty::open().ok()?.secret(question, off).ok()
}

/// Opens an inherited descriptor by its number.
fn descriptor(number: u32) -> io::Result<File> {
    File::open(format!("/dev/fd/{number}"))
}

/// Reads one line from an inherited descriptor, up to what a page holds.
pub fn descriptor_line(number: u32) -> io::Result<LockedPage> {
    let mut source = descriptor(number)?;
    let mut line = LockedPage::new();
    let mut byte = Zeroizing::new([0_u8; 1]);
    while source.read(&mut *byte)? == 1 && byte[0] != b'\n' {
        if !line.push(byte[0]) {
            return Err(io::Error::other("the line is too long"));
        }
    }
    if line.as_bytes().last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
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
            return self.ask_key(off);
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

    fn ask_key(&self, off: &dyn Fn() -> bool) -> Asking {
        let question = format!("{} [y/n] ", self.question);
        loop {
            match Tty::open().and_then(|tty| tty.key(&question, off)) {
                Ok('y' | 'Y') => return Asking::Yes,
                Ok('n' | 'N') | Err(EntryError::GivenUp) => return Asking::No,
                Ok(_) => {}
                Err(EntryError::NoTerminal) => return Asking::Nobody,
            }
        }
    }
}

/// Takes `line` as the answer to the pending question, if there is one and it is an answer.
pub fn answer(line: &str) -> bool {
    let yes = match line.trim() {
        "y" | "Y" | "yes" => true,
        "n" | "N" | "no" => false,
        _ => return false,
    };
    let pending = lock(&PENDING).take();
    // who asked may have given up meanwhile
    pending.is_some_and(|sender| sender.send(yes).is_ok())
}

/// Declines the pending question, if there is one.
pub fn decline() -> bool {
    lock(&PENDING).take().is_some()
}
