//! The person in front of a simulated device: at this terminal, or nobody.

use std::io;

use bcm_keystore::device::Transport;
use bcm_keystore::secret::LockedPage;
use bcm_keystore::simulator::{Decision, Interrupt, Person, Screen, Simulator};

use crate::cli::{Confirm, Flags};
use crate::config::PassphraseOn;
use crate::report::{Kind, Report};
use crate::ui::{self, Asking, Holder, Question, Style};

/// Width of the simulated screen in characters, about that of a Trezor T.
const WIDTH: usize = 40;

/// Screens that are part of typing a passphrase on the host, and show it.
const PASSPHRASE_SCREENS: &str = "passphrase_host";

/// The simulator inside this program, switched on until the program ends.
#[derive(Debug)]
pub struct Embedded(Simulator);

impl Embedded {
    /// Switches it on.
    pub fn new(flags: &Flags) -> Self {
        let person = TerminalPerson {
            confirm: confirm(flags.simulator_confirm),
            passphrase: None,
            pin: None,
        };
        Self(Simulator::builder().person(person).build())
    }

    /// Makes a way to it.
    pub fn transport(&self) -> Box<dyn Transport> {
        self.0.transport()
    }
}

/// Refuses an unlock for which nobody can type the passphrase.
pub fn check_typist(flags: &Flags, place: PassphraseOn) -> Result<(), Report> {
    let given = flags.passphrase_fd.is_some() || place == PassphraseOn::Host;
    if given || ui::tty::Tty::exists() {
        return Ok(());
    }
    Err(Report::text(
        Kind::Usage,
        "there is no terminal to type the passphrase of the simulated device on",
    )
    .with_hint("give it: `--passphrase-fd 3 3<FILE`"))
}

/// Decides what the simulated device does where a Trezor asks.
pub fn confirm(flag: Option<Confirm>) -> Confirm {
    match flag {
        Some(how) => how,
        None if ui::tty::Tty::exists() => Confirm::Ask,
        None => Confirm::Auto,
    }
}

/// Says who answers, for the words of a prompt.
pub fn holder(flags: &Flags) -> Holder {
    Holder {
        device: "simulated Trezor",
        decides: confirm(flags.simulator_confirm) != Confirm::Ask,
    }
}

/// The person at the simulated device.
#[derive(Debug)]
pub struct TerminalPerson {
    /// How questions are decided.
    pub confirm: Confirm,
    /// Typed where the device asks for a passphrase; asked for on the terminal without it.
    pub passphrase: Option<LockedPage>,
    /// Typed where the device asks for its PIN; asked for on the terminal without it.
    pub pin: Option<LockedPage>,
}

impl Person for TerminalPerson {
    fn confirm(&self, screen: &Screen, interrupt: &Interrupt<'_>) -> Decision {
        let unlocks = screen.name().starts_with(PASSPHRASE_SCREENS);
        let yes = match self.confirm {
            Confirm::Auto => true,
            Confirm::Deny => unlocks,
            Confirm::Ask => {
                let text = draw(screen, unlocks);
                let question = Question {
                    text: &text,
                    question: "confirm?",
                };
                question.ask(&|| interrupt.is_raised()) == Asking::Yes
            }
        };
        if yes {
            Decision::Confirm
        } else {
            Decision::Reject
        }
    }

    fn passphrase(&self, interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        typed(
            &self.passphrase,
            "Passphrase, typed on the simulated Trezor (not shown): ",
            interrupt,
        )
    }

    fn pin(&self, interrupt: &Interrupt<'_>) -> Option<LockedPage> {
        typed(
            &self.pin,
            "PIN, typed on the simulated Trezor (not shown): ",
            interrupt,
        )
    }
}

fn typed(
    given: &Option<LockedPage>,
    question: &str,
    interrupt: &Interrupt<'_>,
) -> Option<LockedPage> {
    let Some(given) = given else {
        return ui::typed_secret(question, &|| interrupt.is_raised());
    };
    copy(given)
}

/// Copies a secret into locked memory of its own.
pub fn copy(given: &LockedPage) -> Option<LockedPage> {
    let mut page = LockedPage::new();
    page.extend(given.as_bytes()).then_some(page)
}

/// Reads a secret that the person types, from an inherited descriptor.
pub fn given(flag: &str, number: Option<u32>) -> Result<Option<LockedPage>, Report> {
    number
        .map(ui::descriptor_line)
        .transpose()
        .map_err(|error: io::Error| {
            Report::usage(format!("cannot read `{flag}`: {error}"))
                .with_hint(format!("give an open descriptor: `{flag} 3 3<FILE`"))
        })
}

/// Draws the device's screen; what holds a passphrase is not shown.
fn draw(screen: &Screen, hide: bool) -> String {
    let mut lines = vec![screen.title().to_owned()];
    for (number, page) in screen.pages().enumerate() {
        if number > 0 {
            lines.push(format!("— page {} —", number + 1));
        }
        if hide {
            lines.push("(the device shows the passphrase here)".into());
            continue;
        }
        for line in page.lines() {
            let letters: Vec<char> = line.chars().collect();
            lines.extend(letters.chunks(WIDTH).map(|part| part.iter().collect()));
        }
    }
    let mut drawn = vec![format!("┌{}┐", "─".repeat(WIDTH + 2))];
    for (number, line) in lines.iter().enumerate() {
        let text = format!("{:WIDTH$}", ui::printable(line));
        let text = if number == 0 {
            ui::paint_stderr(Style::Name, &text)
        } else {
            text
        };
        drawn.push(format!("│ {text} │"));
    }
    drawn.push(format!("└{}┘", "─".repeat(WIDTH + 2)));
    drawn.join("\n")
}
