//! Certificates in and out of files.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use bcm_keystore::pgp::{Change, export as armored, minimal, read_certs};
use serde::Serialize;

use super::view::View;
use super::{Output, named, run};
use crate::app::App;
use crate::files::{self, Access, Overwrite};
use crate::report::{Kind, Report};
use crate::ui;

/// Largest file that is imported.
const MAX_FILE: u64 = 16 << 20;

pub fn export(
    app: &mut App,
    name: Option<String>,
    is_minimal: bool,
    output: &Output,
) -> Result<(), Report> {
    let text = run(app, move |work| {
        let name = named(&work.store, name)?;
        let cert = work.store.find(&name)?.cert();
        Ok(match is_minimal {
            true => armored(&minimal(cert, work.now)?),
            false => armored(cert),
        })
    })?;
    write(&text, output)
}

/// Fails where [`write`] would, before the device is asked for what is to be written.
pub fn check(output: &Output) -> Result<(), Report> {
    let Some(path) = &output.output else {
        return Ok(());
    };
    Ok(files::check_free(path, Overwrite::when(output.force))?)
}

/// Writes a text to a file that a person named, or to standard output.
pub fn write(text: &str, output: &Output) -> Result<(), Report> {
    let Some(path) = &output.output else {
        return ui::out(text.trim_end());
    };
    // public, as the person's other files are
    let overwrite = Overwrite::when(output.force);
    Ok(files::put(path, Access::Umask, overwrite, text.as_bytes())?)
}

/// What came of one thing in the file.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    cert: View,
    /// `new`, `updated`, `unchanged` or `revoked`.
    outcome: &'static str,
}

pub fn import(app: &mut App, file: &Path, json: bool) -> Result<(), Report> {
    let bytes = read(file)?;
    let lines = run(app, move |work| {
        let found = read_certs(&bytes)?;
        let wallet = work.wallet.clone();
        let changes = work.store.import(&wallet, found)?;
        let lines = changes.into_iter().map(|(fingerprint, change)| {
            Ok(Line {
                cert: work.view(&fingerprint.to_hex())?,
                outcome: word(change),
            })
        });
        lines.collect::<Result<Vec<_>, Report>>()
    })?;
    if json {
        return ui::json(&lines);
    }
    for Line { cert, outcome } in &lines {
        let name = ui::printable(cert.name());
        ui::say(&format!("{outcome}: `{name}` {}", cert.fingerprint));
        if *outcome == "new" && cert.trust == "unmarked" {
            ui::say("whose it is nobody checked: compare the fingerprint, then `pgp trust`");
        }
        if let Some(problem) = &cert.problem {
            ui::say(&ui::printable(problem));
        }
    }
    Ok(())
}

fn word(change: Change) -> &'static str {
    match change {
        Change::New => "new",
        Change::Updated => "updated",
        Change::Unchanged => "unchanged",
        Change::Revoked => "revoked",
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Report> {
    let name = path.display();
    let failed =
        |error: io::Error| Report::text(Kind::Failed, format!("cannot read `{name}`: {error}"));
    let is_stdin = path.as_os_str() == "-";
    if is_stdin && io::stdin().is_terminal() {
        return Err(Report::usage("standard input is a terminal")
            .with_hint("name a file, or pipe the certificates in"));
    }
    let source: Box<dyn Read> = match is_stdin {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    let mut bytes = Vec::new();
    source
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        let limit = MAX_FILE >> 20;
        return Err(
            Report::text(Kind::Failed, format!("`{name}` is larger than {limit} MiB"))
                .with_hint("export single certificates"),
        );
    }
    Ok(bytes)
}
