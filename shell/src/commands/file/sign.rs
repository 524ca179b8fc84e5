//! `file sign`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::format::{self, Format};
use super::{Work, in_session, pgp, signify, ssh};
use crate::app::App;
use crate::files::{self, Access, Overwrite, Source, Target};
use crate::report::Report;
use crate::ui;

/// What to sign, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to sign, `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the signature goes, `-` for standard output [default: FILE and a suffix]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the output
    #[arg(long)]
    pub force: bool,
    /// pgp, ssh or signify
    #[arg(long, default_value = "pgp", hide_possible_values = true)]
    pub format: Format,
    /// The key: a certificate of this wallet (pgp), a login (ssh), a name (signify)
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// pgp: the signature in a file of its own; this is the default
    #[arg(long, conflicts_with_all = ["inline", "clear"])]
    pub detached: bool,
    /// pgp: data and signature in one file
    #[arg(long, conflicts_with = "clear")]
    pub inline: bool,
    /// pgp: a text that stays readable, and its signature, in one file
    #[arg(long, conflicts_with_all = ["armor", "binary", "text"])]
    pub clear: bool,
    /// pgp: sign a text, whatever its line ends become
    #[arg(long, conflicts_with = "inline")]
    pub text: bool,
    /// pgp: in ASCII; the default for signatures in files of their own
    #[arg(long, conflicts_with = "binary")]
    pub armor: bool,
    /// pgp: in binary; the default with `--inline`
    #[arg(long)]
    pub binary: bool,
    /// ssh: what the signature is good for [default: file]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// signify: sign the hash of the file, for `minisign -V`; two confirmations
    #[arg(long)]
    pub prehash: bool,
    /// signify: with `--prehash`, a line that is signed too [default: time and file name]
    #[arg(long, value_name = "TEXT", requires = "prehash")]
    pub comment: Option<String>,
}

/// What was signed, for `--json`.
#[derive(Serialize)]
struct Signed {
    file: String,
    output: String,
    format: &'static str,
    key: String,
}

impl Args {
    /// Signs.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let output = format::output(&self.file, self.output.clone(), self.suffix());
        format::check_json(json, &output)?;
        let signed = in_session(app, move |work| self.sign(work, &output))?;
        if json {
            return ui::json(&signed);
        }
        ui::say(&ui::printable(&format!(
            "signed `{}` with {}: `{}`",
            signed.file, signed.key, signed.output
        )));
        Ok(())
    }

    /// Refuses what does not fit together, before anything is asked.
    pub fn check(&self) -> Result<(), Report> {
        let pgp = [
            ("--detached", self.detached),
            ("--inline", self.inline),
            ("--clear", self.clear),
            ("--text", self.text),
            ("--armor", self.armor),
            ("--binary", self.binary),
        ];
        let of = [
            (Format::Pgp, &pgp[..]),
            (Format::Ssh, &[("--namespace", self.namespace.is_some())]),
            (Format::Signify, &[("--prehash", self.prehash)]),
        ];
        if self.format == Format::Age {
            return Err(Report::usage("age encrypts, it does not sign")
                .with_hint("sign with `--format pgp`, `ssh` or `signify`"));
        }
        for (format, flags) in of {
            for (flag, given) in flags {
                if *given && format != self.format {
                    return Err(Report::usage(format!(
                        "`{flag}` belongs to `--format {}`, not to `--format {}`",
                        format.name(),
                        self.format.name()
                    ))
                    .with_hint(format!("leave `{flag}` out")));
                }
            }
        }
        Ok(())
    }

    /// Tells whether the output is text.
    fn is_text(&self) -> bool {
        self.format != Format::Pgp || self.clear || self.armor || !(self.binary || self.inline)
    }

    /// Returns the suffix that the programs of the format expect.
    fn suffix(&self) -> &'static str {
        match self.format {
            Format::Signify if self.prehash => ".minisig",
            Format::Ssh | Format::Signify => ".sig",
            _ if self.is_text() => ".asc",
            _ if self.inline => ".gpg",
            _ => ".sig",
        }
    }

    fn sign(&self, work: &Work<'_>, output: &Path) -> Result<Signed, Report> {
        let overwrite = Overwrite::when(self.force);
        let signer = match self.format {
            Format::Pgp | Format::Age => {
                Signer::Pgp(Box::new(pgp::Signer::choose(work, self.key.as_deref())?))
            }
            Format::Ssh => Signer::Ssh(ssh::choose(work, self.key.as_deref())?),
            Format::Signify => Signer::Signify(signify::choose(work, self.key.as_deref())?),
        };
        let source = Source::open(&self.file)?;
        let binary = !self.is_text();
        let target = Target::create(output, Access::Umask, overwrite, binary, &[&source])?;
        let signed = Signed {
            file: source.name().to_owned(),
            output: target.name().to_owned(),
            format: self.format.name(),
            key: signer.name(),
        };
        files::convert(source, target, work.cancelled, |input, output| {
            let text = match &signer {
                Signer::Pgp(signer) => {
                    let mode = pgp::Mode {
                        inline: self.inline,
                        clear: self.clear,
                        text: self.text,
                        armor: !binary,
                    };
                    return signer.sign(work, &signed.file, mode, input, output);
                }
                Signer::Ssh(key) => ssh::sign(work, key, self.namespace.as_deref(), input)?,
                Signer::Signify(key) => {
                    let comment = self.comment.as_deref();
                    let mode = signify::mode(self.prehash, comment, &self.file)?;
                    signify::sign(work, key, &mode, input)?
                }
            };
            // the writer tells of what goes wrong, at the latest at its end
            let _ = output.write_all(text.as_bytes());
            Ok(())
        })?;
        Ok(signed)
    }
}

/// The key that signs.
enum Signer {
    Pgp(Box<pgp::Signer>),
    Ssh(bcm_keystore::ssh::SshKey),
    Signify(bcm_keystore::signify::SignifyKey),
}

impl Signer {
    fn name(&self) -> String {
        match self {
            Self::Pgp(signer) => signer.name(),
            Self::Ssh(key) => format!("{} ({})", key.identity(), key.fingerprint()),
            Self::Signify(key) => format!(
                "signify://{} ({})",
                key.name(),
                signify::number(key.public())
            ),
        }
    }
}
