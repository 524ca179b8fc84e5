//! Every question that the keystore has for a person, asked through one trait.
//!
//! The shell implements it for a terminal, the tests for a script. Calls come from the thread that
//! owns the device, one at a time, and may block while the person thinks.

use std::fmt;

use crate::hint::Hint;
use crate::secret::{Passphrase, Pin, ReadPassphraseError};

/// The words shown to the person with a request to the device: what it is for.
///
/// Always printable ASCII on one line: a host, a user or a file name that holds anything else is
/// shown with `?` in its place, so that nothing can repaint the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt(String);

impl Prompt {
    /// Makes a prompt out of `words`, replacing what is not printable ASCII.
    pub fn new(words: impl AsRef<str>) -> Self {
        let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
        Self(words.as_ref().chars().map(printable).collect())
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the device is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceWait {
    /// A decision on the screen.
    Confirm,
    /// The PIN, typed on the device.
    Pin,
    /// The passphrase, typed on the device.
    Passphrase,
}

/// Where the passphrase of this unlock is typed.
#[derive(Debug)]
pub enum PassphraseEntry {
    /// On the device itself: the host never sees it.
    OnDevice,
    /// On the host.
    Host(Passphrase),
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The person gave up.
    #[error("given up by the person")]
    GivenUp,
    /// There is nobody to ask: no terminal, and no flag that answers.
    #[error("there is no terminal to ask on")]
    Nobody,
    /// This device has no screen to type a passphrase on.
    #[error("this device cannot take the passphrase on its own screen")]
    NoEntryOnDevice,
    /// What was given is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] ReadPassphraseError),
}

impl Hint for NoAnswer {
    fn hint(&self) -> Option<String> {
        match self {
            Self::GivenUp => None,
            Self::Nobody => Some("give the passphrase with `--passphrase-fd N`".into()),
            Self::NoEntryOnDevice => Some("type it here: `--passphrase-on host`".into()),
            Self::Passphrase(error) => error.hint(),
        }
    }
}

/// Every question to a person.
pub trait Interaction: Send + Sync + fmt::Debug {
    /// The device waits for the person, who reads `prompt` on the terminal to know what for.
    fn device_waits(&self, prompt: &Prompt, wait: DeviceWait);

    /// The device waits no longer.
    fn device_done(&self) {}

    /// Asks where the passphrase is typed, and for the passphrase where that is the host.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`] gives the unlock up; the device is told.
    fn passphrase(&self, prompt: &Prompt) -> Result<PassphraseEntry, NoAnswer>;

    /// Asks for the PIN as positions on the scrambled matrix that an older device shows.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`] gives the request up; the device is told.
    fn pin_matrix(&self, prompt: &Prompt) -> Result<Pin, NoAnswer>;
}

/// Refuses every question: for requests that must not need a person.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInteraction;

impl Interaction for NoInteraction {
    fn device_waits(&self, _prompt: &Prompt, _wait: DeviceWait) {}

    fn passphrase(&self, _prompt: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        Err(NoAnswer::Nobody)
    }

    fn pin_matrix(&self, _prompt: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_cannot_carry_terminal_escapes() {
        let prompt = Prompt::new("log in to \u{1b}[2Jnode\n\u{202e}1");
        assert_eq!(prompt.to_string(), "log in to ?[2Jnode??1");
    }
}
