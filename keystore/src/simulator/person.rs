//! Who answers the screens of the simulated device.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::screen::Screen;
use super::wire::Interrupt;
use crate::secret::{LockedPage, Passphrase};

/// What the person does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Presses the green button.
    Confirm,
    /// Presses the red button.
    Reject,
}

/// The person in front of the simulated device.
///
/// Calls come from the device's thread, one at a time, and may take as long as a person takes. Who
/// waits must look at the [`Interrupt`] every tenth of a second or so and return when it is raised:
/// the host went on without the person, and what is returned then does not matter.
pub trait Person: Send + Sync + fmt::Debug {
    /// Reads `screen` and decides.
    fn confirm(&self, screen: &Screen, interrupt: &Interrupt<'_>) -> Decision;

    /// Types a passphrase on the device, which may be empty; `None` cancels.
    fn passphrase(&self, interrupt: &Interrupt<'_>) -> Option<LockedPage>;

    /// Types the PIN on the device, digits as bytes; `None` cancels.
    fn pin(&self, interrupt: &Interrupt<'_>) -> Option<LockedPage>;
}

impl<P: Person + ?Sized> Person for Arc<P> {
    fn confirm(&self, screen: &Screen, interrupt: &Interrupt<'_>) -> Decision {
        (**self).confirm(screen, interrupt)
    }

    fn passphrase(&self, interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        (**self).passphrase(interrupt)
    }

    fn pin(&self, interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        (**self).pin(interrupt)
    }
}

/// Confirms everything at once; types what it was given, and cancels where it was given nothing.
#[derive(Debug, Default)]
pub struct AutoConfirm {
    /// What is typed where the device asks for a passphrase.
    pub passphrase: Option<Passphrase>,
    /// What is typed where the device asks for its PIN.
    pub pin: Option<LockedPage>,
}

impl Person for AutoConfirm {
    fn confirm(&self, _screen: &Screen, _interrupt: &Interrupt<'_>) -> Decision {
        Decision::Confirm
    }

    fn passphrase(&self, _interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        self.passphrase.as_ref().map(|typed| copy(typed.as_bytes()))
    }

    fn pin(&self, _interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        self.pin.as_ref().map(|typed| copy(typed.as_bytes()))
    }
}

/// Rejects everything at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deny;

impl Person for Deny {
    fn confirm(&self, _screen: &Screen, _interrupt: &Interrupt<'_>) -> Decision {
        Decision::Reject
    }

    fn passphrase(&self, _interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        None
    }

    fn pin(&self, _interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        None
    }
}

/// One act of a [`Script`].
#[derive(Debug)]
pub enum Act {
    /// Confirms the next question.
    Confirm,
    /// Rejects the next question.
    Reject,
    /// Types this passphrase (or nothing at all).
    Passphrase(LockedPage),
    /// Types this PIN.
    Pin(LockedPage),
    /// Stares at whatever comes until the host goes on without the person.
    Stare,
}

/// What a [`Script`] was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A question.
    Question(Screen),
    /// The keyboard for a passphrase.
    PassphraseKeyboard,
    /// The keypad for the PIN.
    PinKeypad,
}

/// Acts as it was told, in order, and remembers what it was shown: for tests.
///
/// At the end of the script questions are confirmed and keyboards are left. An act that does not
/// fit what is shown (a PIN for a question) rejects it.
#[derive(Clone, Debug, Default)]
pub struct Script(Arc<Mutex<Played>>);

#[derive(Debug, Default)]
struct Played {
    acts: VecDeque<Act>,
    shown: Vec<Shown>,
}

impl Script {
    /// Returns a person who acts so. Clones share the script and the memory.
    pub fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let script = Self::default();
        script.then(acts);
        script
    }

    /// Appends acts.
    pub fn then(&self, acts: impl IntoIterator<Item = Act>) {
        self.played(|played| played.acts.extend(acts));
    }

    /// Takes what was shown since the last time.
    pub fn take_shown(&self) -> Vec<Shown> {
        self.played(|played| std::mem::take(&mut played.shown))
    }

    fn played<T>(&self, act: impl FnOnce(&mut Played) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self, shown: Shown) -> Option<Act> {
        self.played(|played| {
            played.shown.push(shown);
            played.acts.pop_front()
        })
    }
}

impl Person for Script {
    fn confirm(&self, screen: &Screen, interrupt: &Interrupt<'_>) -> Decision {
        match self.next(Shown::Question(screen.clone())) {
            Some(Act::Confirm) | None => Decision::Confirm,
            Some(Act::Stare) => {
                interrupt.wait();
                Decision::Reject
            }
            Some(Act::Reject | Act::Passphrase(_) | Act::Pin(_)) => Decision::Reject,
        }
    }

    fn passphrase(&self, interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        match self.next(Shown::PassphraseKeyboard)? {
            Act::Passphrase(typed) => Some(typed),
            Act::Stare => {
                interrupt.wait();
                None
            }
            Act::Confirm | Act::Reject | Act::Pin(_) => None,
        }
    }

    fn pin(&self, interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        match self.next(Shown::PinKeypad)? {
            Act::Pin(typed) => Some(typed),
            Act::Stare => {
                interrupt.wait();
                None
            }
            Act::Confirm | Act::Reject | Act::Passphrase(_) => None,
        }
    }
}

fn copy(bytes: &[u8]) -> LockedPage {
    let mut page = LockedPage::new();
    assert!(page.extend(bytes), "it came out of one page");
    page
}
