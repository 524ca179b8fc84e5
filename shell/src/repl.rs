//! The prompt: opens on an unlocked wallet and not before.

mod complete;
mod editor;
mod history;
mod prompt;

use rustyline::error::ReadlineError;

use crate::app::{App, Outcome};
use crate::report::{Kind, Report};
use crate::ui;

pub use complete::Names;
use editor::Editor;

/// Exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Unlocks, then reads and runs lines until the person leaves; returns the exit code.
pub fn run(app: &mut App) -> Result<u8, Report> {
    ui::tty::remember();
    app.unlock()?;
    app.interactive = true;
    if let Err(report) = app.offer_socket() {
        report
            .with_note("other programs cannot use this session")
            .print();
    }
    let mut editor = Editor::new()?;
    ui::say(&ui::paint_stderr(
        ui::Style::Dim,
        "type `help` for the commands, Tab completes, Ctrl-C cancels, Ctrl-D leaves",
    ));
    loop {
        let line = match editor.read(app) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                if ui::decline() {
                    ui::say("declined");
                }
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(0),
            Err(error) => {
                return Err(Report::text(
                    Kind::Failed,
                    format!("cannot read from the terminal: {error}"),
                ));
            }
        };
        if ui::answer(&line) {
            continue;
        }
        match app.run_line(&line) {
            Ok(Outcome::Done(0)) => {}
            Ok(Outcome::Done(INTERRUPTED)) => ui::say("cancelled"),
            Ok(Outcome::Done(code)) => ui::say(&format!("exit status {code}")),
            Ok(Outcome::Leave) => return Ok(0),
            Err(report) if app.keeper.is_ending() => return Err(report),
            Err(report) => report.print(),
        }
    }
}
