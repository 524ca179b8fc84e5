//! `file decrypt`.
//!
//! A file gets its name when all of it was authenticated. On standard output age shows what it has
//! authenticated piece by piece; of an OpenPGP message, whose check comes at the end, at most one MiB is
//! held back. A failure after that exits 4 and says that what was printed must not be used.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::format::{self, Content, Format};
use super::verify::{Signer, unusable};
use super::{Work, age, in_session, pgp};
use crate::app::App;
use crate::files::{self, Access, Overwrite, Source, Target};
use crate::report::{Kind, Report};
use crate::ui;

/// What to decrypt.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to decrypt, `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where it goes, `-` for standard output [default: FILE without its suffix]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the output
    #[arg(long)]
    pub force: bool,
    /// Accept this format alone: pgp or age
    #[arg(long, hide_possible_values = true)]
    pub format: Option<Format>,
    /// age: the name of the key that it was encrypted to
    #[arg(long, value_name = "NAME")]
    pub key: Vec<String>,
}

/// What was decrypted, for `--json`.
#[derive(Debug, Serialize)]
struct Outcome {
    file: String,
    output: String,
    format: &'static str,
    signers: Vec<Signer>,
    unknown_signers: Vec<String>,
}

/// What is said about the content of a message.
#[derive(Debug, Default)]
pub struct Inside {
    /// Who signed it.
    pub signers: Vec<Signer>,
    /// Keys that signed it, of nobody who is known.
    pub unknown_signers: Vec<String>,
}

impl Args {
    /// Decrypts.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let output = format::without_suffix(&self.file, self.output.clone())?;
        format::check_json(json, &output)?;
        let outcome = in_session(app, move |work| self.decrypt(work, &output))?;
        if json {
            return ui::json(&outcome);
        }
        let mut lines = vec![format!(
            "decrypted `{}`: `{}`",
            outcome.file, outcome.output
        )];
        for signer in &outcome.signers {
            let who = signer.who.as_deref().unwrap_or("nobody who is named");
            let made = signer.created.as_deref().unwrap_or("unknown");
            let trust = match signer.trust {
                "own" => "a key of this wallet",
                "trusted" => "which you vouch for",
                _ => "NOT marked as trusted",
            };
            lines.push(format!(
                "signed by {who}, {made}, key {}: {trust}",
                signer.key
            ));
        }
        for key in &outcome.unknown_signers {
            lines.push(format!(
                "signed by {key}, which is not known: it was not checked"
            ));
        }
        for line in lines {
            ui::say(&ui::printable(&line));
        }
        Ok(())
    }

    fn decrypt(&self, work: &Work<'_>, output: &Path) -> Result<Outcome, Report> {
        let source = Source::open(&self.file)?;
        let file = source.name().to_owned();
        let overwrite = Overwrite::when(self.force);
        let target = Target::create(output, Access::Private, overwrite, false, &[&source])?;
        let (output, streams) = (target.name().to_owned(), target.is_stream());
        let mut found = Format::Pgp;
        let inside = files::convert(source, target, work.cancelled, |input, output| {
            let (content, mut input) = Content::peek(input)
                .map_err(|error| Report::text(Kind::Failed, error.to_string()))?;
            found = self.accept(content, &file)?;
            match found {
                Format::Age => {
                    age::decrypt(work, &self.key, &file, input, output).map(|()| Inside::default())
                }
                _ => pgp::decrypt(work, &mut input, output),
            }
        })
        .map_err(|report| if streams { unusable(report) } else { report })?;
        Ok(Outcome {
            file,
            output,
            format: found.name(),
            signers: inside.signers,
            unknown_signers: inside.unknown_signers,
        })
    }

    fn accept(&self, content: Content, file: &str) -> Result<Format, Report> {
        let refused = |text| Err(Report::text(Kind::Verification, text));
        match (content, self.format) {
            (Content::Age, None | Some(Format::Age)) => Ok(Format::Age),
            (Content::PgpMessage, None | Some(Format::Pgp)) => Ok(Format::Pgp),
            (Content::Age, Some(_)) => refused(format!("`{file}` is an age file")),
            (Content::PgpMessage, Some(_)) => refused(format!("`{file}` is an OpenPGP message")),
            _ => refused(format!(
                "`{file}` is neither an OpenPGP message nor an age file"
            )),
        }
    }
}
