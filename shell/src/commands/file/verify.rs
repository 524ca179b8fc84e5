//! `file verify`: who signed, when, with which key, over what, and what is known of that key.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::format::{Content, Format, check_json, with_suffix};
use super::{Work, in_session, pgp, signify, ssh};
use crate::app::App;
use crate::files::{self, Access, FileError, Overwrite, Source, Target, is_standard, name_of};
use crate::report::{Kind, Report};
use crate::ui::{self, Style};

/// Longest signature that stands in a file of its own.
const MAX_SIGNATURE: u64 = 1 << 20;

/// What to verify, and whom to expect.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What was signed, `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The signature, unless it is inside [default: FILE.asc, FILE.sig or FILE.minisig]
    #[arg(value_name = "SIGNATURE")]
    pub signature: Option<PathBuf>,
    /// Accept this format alone: pgp, ssh or signify
    #[arg(long, hide_possible_values = true)]
    pub format: Option<Format>,
    /// Who has to have signed: fingerprint or user ID (pgp), principal (ssh), key name (signify)
    #[arg(long, value_name = "WHO")]
    pub signer: Option<String>,
    /// ssh, signify: the file of the public key that has to have signed
    #[arg(long, value_name = "FILE", conflicts_with = "allowed_signers")]
    pub public_key: Option<PathBuf>,
    /// ssh: who may sign, in the format of `ssh-keygen -Y verify`
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    /// ssh: what the signature has to be good for [default: file]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// pgp: where the content goes that carries its signature
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the output
    #[arg(long)]
    pub force: bool,
}

/// Who made a good signature.
#[derive(Debug, Serialize)]
pub struct Signer {
    /// A name that somebody vouches for, or that the key says of itself.
    pub who: Option<String>,
    /// The key that signed.
    pub key: String,
    /// pgp: the key that a person compares, where it is another one.
    pub primary: Option<String>,
    /// When, as the signer says.
    pub created: Option<String>,
    /// `own`, `trusted` or `unmarked`.
    pub trust: &'static str,
}

/// What was verified.
#[derive(Debug, Serialize)]
struct Verified {
    file: String,
    signature: Option<String>,
    format: &'static str,
    signers: Vec<Signer>,
    /// signify: the comment that was signed too.
    comment: Option<String>,
    output: Option<String>,
}

impl Args {
    /// Verifies.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        if let Some(output) = &self.output {
            check_json(json, output)?;
        }
        let to_stdout = self.output.as_deref().is_some_and(is_standard);
        let verified = in_session(app, move |work| self.verify(work))?;
        if json {
            return ui::json(&verified);
        }
        let text = verified.text();
        if to_stdout {
            ui::say(&text);
            return Ok(());
        }
        ui::out(&text)
    }

    fn verify(&self, work: &Work<'_>) -> Result<Verified, Report> {
        let (source, signature) = self.find()?;
        let mut verified = Verified {
            file: source.name().to_owned(),
            signature: signature.as_deref().map(name_of),
            format: "",
            signers: Vec::new(),
            comment: None,
            output: None,
        };
        let Some(signature) = signature else {
            self.accept(Format::Pgp)?;
            verified.format = Format::Pgp.name();
            self.message(work, source, &mut verified)?;
            return Ok(verified);
        };
        if self.output.is_some() {
            return Err(Report::usage(
                "`-o` is for content that carries its signature",
            ));
        }
        let bytes = files::read_small(&signature, MAX_SIGNATURE)?;
        let content = Content::of(&bytes);
        let Some(format) = content.format().filter(|format| *format != Format::Age) else {
            return Err(Report::text(
                Kind::Verification,
                format!("`{}` is no signature that bcm knows", name_of(&signature)),
            ));
        };
        self.accept(format)?;
        verified.format = format.name();
        verified.signers = files::read(source, work.cancelled, |input| match format {
            Format::Ssh => ssh::verify(work, self, &bytes, input).map(|signer| vec![signer]),
            Format::Signify => {
                let (signer, comment) = signify::verify(work, self, &bytes, input)?;
                verified.comment = comment;
                Ok(vec![signer])
            }
            Format::Pgp | Format::Age => pgp::verify_detached(work, self, &mut &*bytes, input),
        })?;
        Ok(verified)
    }

    /// Verifies what carries its signature, and writes its content where that was asked for.
    fn message(
        &self,
        work: &Work<'_>,
        source: Source,
        verified: &mut Verified,
    ) -> Result<(), Report> {
        let Some(output) = &self.output else {
            verified.signers = files::read(source, work.cancelled, |input| {
                pgp::verify_message(work, self, input, None)
            })?;
            return Ok(());
        };
        let overwrite = Overwrite::when(self.force);
        let target = Target::create(output, Access::Umask, overwrite, false, &[&source])?;
        verified.output = Some(target.name().to_owned());
        let streams = target.is_stream();
        verified.signers = files::convert(source, target, work.cancelled, |input, output| {
            pgp::verify_message(work, self, input, Some(output as &mut dyn Write))
        })
        .map_err(|report| if streams { unusable(report) } else { report })?;
        Ok(())
    }

    /// Opens what was signed, and finds the signature unless it is inside.
    fn find(&self) -> Result<(Source, Option<PathBuf>), Report> {
        if let Some(signature) = &self.signature {
            if is_standard(signature) && is_standard(&self.file) {
                return Err(Report::usage(
                    "standard input cannot be both file and signature",
                ));
            }
            return Ok((Source::open(&self.file)?, Some(signature.clone())));
        }
        let source = Source::open(&self.file)?;
        if is_standard(&self.file) {
            return Ok((source, None));
        }
        match beginning(&self.file)? {
            Content::PgpMessage => return Ok((source, None)),
            Content::PgpSignature | Content::SshSignature | Content::Signify => {
                let data = self.file.with_extension("");
                if data != self.file && data.is_file() {
                    ui::say(&ui::printable(&format!(
                        "`{}` is a signature; verifying it over `{}`",
                        name_of(&self.file),
                        name_of(&data)
                    )));
                    return Ok((Source::open(&data)?, Some(self.file.clone())));
                }
            }
            Content::Age | Content::Other => {}
        }
        let candidates = [".asc", ".sig", ".minisig"].map(|end| with_suffix(&self.file, end));
        let found: Vec<_> = candidates
            .into_iter()
            .filter(|path| path.exists())
            .collect();
        match &*found {
            [signature] => Ok((source, Some(signature.clone()))),
            [] => Err(Report::text(
                Kind::Verification,
                format!("there is no signature of `{}`", name_of(&self.file)),
            )
            .with_hint("name it: `file verify FILE SIGNATURE`")),
            several => {
                let names: Vec<_> = several.iter().map(|path| name_of(path)).collect();
                Err(Report::usage(format!(
                    "`{}` has several signatures: {}",
                    name_of(&self.file),
                    names.join(", ")
                ))
                .with_hint("name one: `file verify FILE SIGNATURE`"))
            }
        }
    }

    fn accept(&self, found: Format) -> Result<(), Report> {
        match self.format {
            Some(asked) if asked != found => Err(Report::text(
                Kind::Verification,
                format!(
                    "the signature is of format {}, not {}",
                    found.name(),
                    asked.name()
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn beginning(path: &Path) -> Result<Content, FileError> {
    let name = name_of(path);
    // a pipe can be read once only
    if !path.is_file() {
        return Ok(Content::Other);
    }
    let mut bytes = Vec::new();
    Source::open(path)?
        .into_read()
        .take(4096)
        .read_to_end(&mut bytes)
        .map_err(|source| FileError::Read { name, source })?;
    Ok(Content::of(&bytes))
}

/// Says that what was shown before the failure is worth nothing.
pub fn unusable(report: Report) -> Report {
    report.with_note("what was printed before this must not be used")
}

/// Compares whom the person expects with the names that the signer goes by.
pub fn expect(expected: Option<&str>, names: &[&str]) -> Result<(), Report> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let plain = |text: &str| text.replace(' ', "").to_lowercase();
    let same = |name: &&str| plain(name) == plain(expected);
    if names.iter().any(same) {
        return Ok(());
    }
    let who = names.first().copied().unwrap_or("somebody else");
    Err(Report::text(
        Kind::Verification,
        format!("signed by {who}, not by `{expected}`"),
    ))
}

impl Verified {
    fn text(&self) -> String {
        let good = ui::paint_stdout(Style::Name, "good signature");
        let mut lines = Vec::new();
        for signer in &self.signers {
            lines.push(format!("{good} of `{}`", ui::printable(&self.file)));
            if let Some(signature) = &self.signature {
                lines.push(field("file", signature));
            }
            if let Some(who) = &signer.who {
                lines.push(field("by", who));
            }
            lines.push(field("key", &signer.key));
            if let Some(primary) = &signer.primary {
                lines.push(field("cert", primary));
            }
            if let Some(created) = &signer.created {
                lines.push(field("made", created));
            }
            lines.push(match signer.trust {
                "own" => field("trust", "a key of this wallet"),
                "trusted" => field("trust", "you vouch for the key"),
                _ => ui::paint_stdout(
                    Style::Attention,
                    &field(
                        "trust",
                        "NOT marked as trusted: nobody has compared the fingerprint",
                    ),
                ),
            });
        }
        if let Some(comment) = &self.comment {
            lines.push(field("says", comment));
        }
        lines.join("\n")
    }
}

fn field(name: &str, value: &str) -> String {
    format!("  {name:6}{}", ui::printable(value))
}
