//! The device's questions, on a terminal.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bcm_keystore::interaction::{DeviceWait, NoAnswer, PassphraseEntry};
use bcm_keystore::secret::{Passphrase, Pin, ReadPassphraseError};
use bcm_keystore::{Hint, Interaction, Prompt};

use super::tty::{EntryError, Tty};
use crate::session::Activity;

use super::question::terminal;
use super::{Style, is_editing, lock, paint_stderr, say};

/// How often a passphrase that is none may be typed again.
const TRIES: usize = 3;

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

/// Who is at which device, for the words of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What the device is called.
    pub device: &'static str,
    /// It decides without a person.
    pub decides: bool,
}

impl Holder {
    /// A person with a Trezor.
    pub const PERSON: Self = Self {
        device: "Trezor",
        decides: false,
    };

    /// Says what the person has to do.
    fn what(self, wait: DeviceWait) -> String {
        let device = self.device;
        match wait {
            DeviceWait::Confirm if self.decides => format!("the {device} decides by itself"),
            DeviceWait::Confirm => format!("confirm on the {device}"),
            DeviceWait::Pin => format!("enter the PIN on the {device}"),
            DeviceWait::Passphrase => format!("enter the passphrase on the {device}"),
            _ => format!("look at the {device}"),
        }
    }
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
        let what = self.holder.what(wait);
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

pub(super) fn free_terminal() -> Result<MutexGuard<'static, ()>, NoAnswer> {
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

/// Opens an inherited descriptor by its number.
pub fn descriptor(number: u32) -> io::Result<File> {
    File::open(format!("/dev/fd/{number}"))
}
