//! `file encrypt`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::format::{self, Format};
use super::{Work, age, in_session, pgp};
use crate::app::App;
use crate::files::{self, Access, Overwrite, Source, Target};
use crate::report::Report;
use crate::ui;

/// What to encrypt, and to whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to encrypt, `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Encrypt to this certificate (name, fingerprint or file) or age recipient too
    #[arg(short, long, value_name = "RECIPIENT")]
    pub recipient: Vec<String>,
    /// Encrypt to those in this file too: a certificate (pgp), or one recipient a line (age)
    #[arg(short = 'R', long, value_name = "FILE")]
    pub recipients_file: Vec<PathBuf>,
    /// Leave out this device: nothing here can decrypt the file any more
    #[arg(long)]
    pub no_self: bool,
    /// The key of this device that can decrypt: a certificate (pgp), a name (age)
    #[arg(long, value_name = "KEY", conflicts_with = "no_self")]
    pub key: Option<String>,
    /// Where it goes, `-` for standard output [default: FILE and a suffix]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the output
    #[arg(long)]
    pub force: bool,
    /// pgp or age
    #[arg(long, default_value = "pgp", hide_possible_values = true)]
    pub format: Format,
    /// In ASCII
    #[arg(long)]
    pub armor: bool,
}

/// What was encrypted, for `--json`.
#[derive(Serialize)]
struct Encrypted {
    file: String,
    output: String,
    format: &'static str,
    recipients: Vec<String>,
}

impl Args {
    /// Encrypts.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let suffix = self.suffix()?;
        let output = format::output(&self.file, self.output.clone(), suffix);
        format::check_json(json, &output)?;
        let encrypted = in_session(app, move |work| self.encrypt(work, &output))?;
        if json {
            return ui::json(&encrypted);
        }
        ui::say(&ui::printable(&format!(
            "encrypted `{}` to {}: `{}`",
            encrypted.file,
            encrypted.recipients.join(", "),
            encrypted.output
        )));
        Ok(())
    }

    /// Returns the suffix that the programs of the format expect.
    pub fn suffix(&self) -> Result<&'static str, Report> {
        Ok(match (self.format, self.armor) {
            (Format::Pgp, false) => ".gpg",
            (Format::Pgp, true) => ".asc",
            (Format::Age, _) => ".age",
            (Format::Ssh | Format::Signify, _) => {
                let name = self.format.name();
                return Err(Report::usage(format!("{name} signs, it does not encrypt"))
                    .with_hint("encrypt with `--format pgp` or `--format age`"));
            }
        })
    }

    fn encrypt(&self, work: &Work<'_>, output: &Path) -> Result<Encrypted, Report> {
        enum Recipients {
            Pgp(pgp::Recipients),
            Age(age::Recipients),
        }
        let recipients = match self.format {
            Format::Age => Recipients::Age(age::Recipients::choose(work, self)?),
            _ => Recipients::Pgp(pgp::Recipients::choose(work, self)?),
        };
        let source = Source::open(&self.file)?;
        let overwrite = Overwrite::when(self.force);
        let target = Target::create(output, Access::Umask, overwrite, !self.armor, &[&source])?;
        let (file, output) = (source.name().to_owned(), target.name().to_owned());
        let armor = self.armor;
        let recipients =
            files::convert(
                source,
                target,
                work.cancelled,
                |input, output| match recipients {
                    Recipients::Pgp(recipients) => recipients.encrypt(armor, input, output),
                    Recipients::Age(recipients) => recipients.encrypt(armor, input, output),
                },
            )?;
        Ok(Encrypted {
            file,
            output,
            format: self.format.name(),
            recipients,
        })
    }
}
