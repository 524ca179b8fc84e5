//! The one writer to the terminal: data on stdout, everything else on stderr.
//!
//! While a line is edited at the prompt, what others say goes through the line editor so that the
//! line is not torn apart.

mod descriptor;
mod entry;
mod interaction;
mod question;
#[cfg(feature = "simulator")]
mod simulated;
mod style;
mod table;
pub mod tty;

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::ExternalPrinter;
use serde::Serialize;

use crate::config::Color;
use crate::report::{Kind, Report};

pub use descriptor::inherited;
pub use entry::{phrase, secret};
pub use interaction::{Holder, PassphraseSource, TerminalInteraction};
pub use question::{Asking, Question, answer, decline};
#[cfg(feature = "simulator")]
pub use simulated::{descriptor_line, typed_secret};
pub use style::Style;
pub use table::table;

static PRINTER: Mutex<Option<Box<dyn ExternalPrinter + Send>>> = Mutex::new(None);
static EDITING: AtomicBool = AtomicBool::new(false);
static COLOR_OUT: AtomicBool = AtomicBool::new(false);
static COLOR_ERR: AtomicBool = AtomicBool::new(false);

/// Decides for stdout and stderr whether there are colours.
pub fn set_color(color: Color) {
    let auto = |terminal: bool| match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !crate::env::no_color(),
    };
    COLOR_OUT.store(auto(io::stdout().is_terminal()), Ordering::Relaxed);
    COLOR_ERR.store(auto(io::stderr().is_terminal()), Ordering::Relaxed);
}

/// Tells whether the prompt has colours.
pub fn has_color() -> bool {
    COLOR_ERR.load(Ordering::Relaxed)
}

/// Colours a text for stderr.
pub fn paint_stderr(style: Style, text: &str) -> String {
    style.paint(text, COLOR_ERR.load(Ordering::Relaxed))
}

/// Colours a text for stdout.
pub fn paint_stdout(style: Style, text: &str) -> String {
    style.paint(text, COLOR_OUT.load(Ordering::Relaxed))
}

/// Replaces what could repaint the terminal: control and bidirectional characters.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_printable(c) { c } else { '?' })
        .collect()
}

/// As [`printable`], of several lines.
pub fn printable_lines(text: &str) -> String {
    let lines = text.lines().map(printable);
    lines.collect::<Vec<_>>().join("\n")
}

/// Takes what a program on a host printed: no escapes, no control characters but ends of lines and tabs.
pub fn printable_output(bytes: &[u8]) -> String {
    // what strips escapes takes tabs for escapes too
    const TAB: &str = "\u{f8ff}";
    let text = String::from_utf8_lossy(bytes).replace('\t', TAB);
    let text = strip_ansi_escapes::strip_str(text).replace(TAB, "\t");
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if is_printable(c) => c,
            _ => '?',
        })
        .collect()
}

fn is_printable(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !invisible
}

/// Writes a line of data to stdout; a reader that went away is no error.
pub fn out(text: &str) -> Result<(), Report> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Report::text(
            Kind::Failed,
            format!("cannot write to stdout: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes a secret to stdout as it is.
pub fn out_secret(secret: &[u8]) -> Result<(), Report> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(secret).and_then(|()| stdout.flush());
    written.map_err(|error| Report::text(Kind::Failed, format!("cannot write to stdout: {error}")))
}

/// Writes `value` to stdout as one JSON document.
pub fn json(value: &impl Serialize) -> Result<(), Report> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Report::text(Kind::Failed, format!("cannot write JSON: {error}")))?;
    out(&text)
}

/// Writes a line to stderr, or above the line that is being edited.
pub fn say(text: &str) {
    if EDITING.load(Ordering::Acquire)
        && let Some(printer) = lock(&PRINTER).as_mut()
        && printer.print(format!("{text}\n")).is_ok()
    {
        return;
    }
    // a terminal that a program below us holds in raw mode needs the carriage return
    let text = if tty::is_raw() {
        text.replace('\n', "\r\n") + "\r"
    } else {
        text.to_owned()
    };
    // nobody is left to be told that stderr is gone
    let _ = crate::files::suspended(|| writeln!(io::stderr().lock(), "{text}"));
}

/// Gives what is said from now on to the line editor while it reads.
pub fn attach(printer: Box<dyn ExternalPrinter + Send>) {
    *lock(&PRINTER) = Some(printer);
}

/// Marks that a line is being edited, until dropped.
#[derive(Debug)]
pub struct Editing(());

impl Editing {
    /// Begins to edit, once no question is open.
    pub fn begin() -> Self {
        let _free = question::terminal();
        EDITING.store(true, Ordering::Release);
        Self(())
    }
}

impl Drop for Editing {
    fn drop(&mut self) {
        EDITING.store(false, Ordering::Release);
    }
}

/// Tells whether a line is being edited now.
pub fn is_editing() -> bool {
    EDITING.load(Ordering::Acquire)
}

/// Writes past the line editor from now on, because the program ends; tells whether it was reading.
pub fn stop_editing() -> bool {
    let was = EDITING.swap(false, Ordering::AcqRel);
    if was {
        say("");
    }
    was
}

/// Locks what no panic can leave half done.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_made_printable() {
        assert_eq!(printable("node\u{1b}[31m\u{202e}1\n"), "node?[31m?1?");
        assert_eq!(printable("příliš 日本"), "příliš 日本");
    }

    #[test]
    fn what_a_host_printed_is_made_printable() {
        let said = "\u{1b}[31mred\u{1b}[0m\ta\u{1b}]0;title\u{7}b\r\n\u{202e}x\n";
        assert_eq!(printable_output(said.as_bytes()), "red\tab\n?x\n");
        assert_eq!(printable_output(b"\xff\x00z"), "\u{fffd}z");
    }
}
