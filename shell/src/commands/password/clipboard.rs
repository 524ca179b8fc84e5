//! The clipboard, through the program that this desktop has for it.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::env;
use crate::report::{Kind, Report};
use crate::ui::{self, lock};

/// What was copied and is to be cleared, at the latest when the program ends.
static HELD: Mutex<Option<Arc<Secret>>> = Mutex::new(None);

/// A way to the clipboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clipboard {
    /// `wl-copy` and `wl-paste`.
    Wayland,
    /// `xclip`.
    Xclip,
    /// `xsel`.
    Xsel,
    /// The terminal's, by an escape sequence; it cannot be read back.
    Terminal,
}

/// A secret in the clipboard.
#[derive(Debug)]
pub struct Held(Arc<Secret>);

struct Secret {
    clipboard: Clipboard,
    secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

impl Clipboard {
    /// Finds the way there is, or takes the terminal when the person wants that.
    pub fn find(terminal: bool) -> Result<Self, Report> {
        if terminal {
            return match ui::tty::Tty::exists() {
                true => Ok(Self::Terminal),
                false => Err(Report::usage("there is no terminal")),
            };
        }
        let (wayland, x11) = env::clipboards();
        let wayland = wayland.then_some(Self::Wayland);
        let x11 = [Self::Xclip, Self::Xsel].into_iter().filter(|_| x11);
        let ways = wayland.into_iter().chain(x11);
        ways.into_iter().find(|way| way.is_installed()).ok_or_else(|| {
            Report::text(Kind::Failed, "there is no way to a clipboard").with_hint(
                "install wl-clipboard (Wayland) or xclip (X11), or use `--terminal`, which lets the \
                 terminal see the secret",
            )
        })
    }

    /// Copies a secret and remembers to clear it.
    pub fn hold(self, secret: &[u8]) -> Result<Held, Report> {
        self.set(secret).map_err(|error| {
            Report::text(Kind::Failed, format!("cannot use the clipboard: {error}"))
        })?;
        let held = Arc::new(Secret {
            clipboard: self,
            secret: Zeroizing::new(secret.to_vec()),
        });
        *lock(&HELD) = Some(held.clone());
        Ok(Held(held))
    }

    fn is_installed(self) -> bool {
        let [program, ..] = self.words(Act::Get) else {
            return false;
        };
        let version = Command::new(program)
            .arg(if self == Self::Xclip {
                "-version"
            } else {
                "--version"
            })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok()
    }

    fn words(self, act: Act) -> &'static [&'static str] {
        match (self, act) {
            (Self::Wayland, Act::Set) => &["wl-copy"],
            (Self::Wayland, Act::Get) => &["wl-paste", "--no-newline"],
            (Self::Wayland, Act::Clear) => &["wl-copy", "--clear"],
            (Self::Xclip, Act::Set | Act::Clear) => &["xclip", "-selection", "clipboard"],
            (Self::Xclip, Act::Get) => &["xclip", "-selection", "clipboard", "-o"],
            (Self::Xsel, Act::Set) => &["xsel", "--clipboard", "--input"],
            (Self::Xsel, Act::Get) => &["xsel", "--clipboard", "--output"],
            (Self::Xsel, Act::Clear) => &["xsel", "--clipboard", "--clear"],
            (Self::Terminal, _) => &[],
        }
    }

    fn command(self, act: Act) -> Option<Command> {
        let (program, words) = self.words(act).split_first()?;
        let mut command = Command::new(program);
        command.args(words).stderr(Stdio::null());
        Some(command)
    }

    fn set(self, secret: &[u8]) -> io::Result<()> {
        let act = if secret.is_empty() {
            Act::Clear
        } else {
            Act::Set
        };
        let Some(mut command) = self.command(act) else {
            return through_terminal(secret);
        };
        // the program stays behind to serve the clipboard: it must not hold our stdout
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // one that only clears reads nothing
            let written = stdin.write_all(secret);
            if act == Act::Set {
                written?;
            }
        }
        match child.wait()? {
            status if status.success() => Ok(()),
            status => Err(io::Error::other(status.to_string())),
        }
    }

    /// Reads it; `None` where it cannot be read.
    fn get(self) -> Option<Zeroizing<Vec<u8>>> {
        let mut command = self.command(Act::Get)?;
        let output = command.stdin(Stdio::null()).output().ok()?;
        let content = Zeroizing::new(output.stdout);
        output.status.success().then_some(content)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Set,
    Get,
    Clear,
}

impl Held {
    /// Clears the clipboard, unless something else was copied since; tells whether it did.
    pub fn clear(self) -> bool {
        let mut held = lock(&HELD);
        // another copy has taken over
        if !held.as_ref().is_some_and(|held| Arc::ptr_eq(held, &self.0)) {
            return false;
        }
        *held = None;
        self.0.clear()
    }
}

impl Secret {
    fn clear(&self) -> bool {
        let now = self.clipboard.get();
        if now.is_some_and(|now| *now != *self.secret) {
            return false;
        }
        self.clipboard.set(b"").is_ok()
    }
}

/// Clears what is still to be cleared, because the program ends.
pub fn forget() {
    if let Some(held) = lock(&HELD).take()
        && held.clear()
    {
        ui::say("cleared the clipboard");
    }
}

/// Sets the terminal's clipboard:
/// [OSC 52](https://invisible-island.net/xterm/ctlseqs/ctlseqs.html#h3-Operating-System-Commands).
fn through_terminal(secret: &[u8]) -> io::Result<()> {
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(secret));
    let mut tty = std::fs::OpenOptions::new().write(true).open("/dev/tty")?;
    tty.write_all(b"\x1b]52;c;")?;
    tty.write_all(encoded.as_bytes())?;
    tty.write_all(b"\x07")
}
