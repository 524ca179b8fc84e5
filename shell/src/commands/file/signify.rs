//! Signatures of signify and minisign, and `file signify-key`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bcm_keystore::signify::{self, Mode, PublicKey, SignatureFile, SignifyError, SignifyKey};
use serde::Serialize;

use super::format::{check_json, seconds};
use super::verify::Signer;
use super::{Work, in_session, verify};
use crate::app::App;
use crate::files::{self, Access, Overwrite, STANDARD, Target, is_standard};
use crate::report::{Kind, Report};
use crate::ui;

/// Longest public key file.
const MAX_KEY: u64 = 4096;

/// Which key.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    /// The name that the key is derived for, as trezor-signify takes it
    #[arg(value_name = "NAME")]
    name: String,
    /// Where the public key goes [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the output
    #[arg(long)]
    force: bool,
}

/// A public key, for `--json`.
#[derive(Serialize)]
struct Line {
    name: String,
    number: String,
    public_key: String,
}

impl KeyArgs {
    /// Prints the public key.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let output = self.output.unwrap_or_else(|| STANDARD.into());
        if !is_standard(&output) {
            check_json(json, &output)?;
        }
        let (name, force) = (self.name, self.force);
        let line = in_session(app, move |work| {
            let key = signify::derive(work.device, &name)?;
            let file = key.public_file();
            if !is_standard(&output) {
                let overwrite = Overwrite::when(force);
                let target = Target::create(&output, Access::Umask, overwrite, false, &[])?;
                let mut writer = target.writer();
                // what goes wrong is told when it is put in its place
                let _ = writer.write_all(file.as_bytes());
                writer.commit()?;
            } else if !json {
                ui::out(file.trim_end())?;
            }
            Ok(Line {
                name,
                number: number(key.public()),
                public_key: file,
            })
        })?;
        if json { ui::json(&line) } else { Ok(()) }
    }
}

/// Writes a key's number as minisign does.
pub fn number(key: &PublicKey) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in key.number().iter().rev() {
        write!(text, "{byte:02X}").expect("a string takes all");
    }
    text
}

/// Derives the key that signs.
pub fn choose(work: &Work<'_>, name: Option<&str>) -> Result<SignifyKey, Report> {
    let name = name.ok_or_else(|| {
        Report::usage("which signify key signs?")
            .with_hint("name it with `--key`; `file signify-key NAME` prints its public half")
    })?;
    Ok(signify::derive(work.device, name)?)
}

/// Chooses between signify's way and minisign's.
pub fn mode(prehash: bool, comment: Option<&str>, file: &Path) -> Result<Mode, Report> {
    if !prehash {
        return Ok(Mode::Whole);
    }
    let comment = match comment {
        Some(comment) => comment.to_owned(),
        None => {
            let now = seconds(SystemTime::now());
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let name = ui::printable(&name);
            format!("timestamp:{now} file:{name} hashed")
        }
    };
    Ok(Mode::Hashed { comment })
}

/// Signs and returns the signature file.
pub fn sign(
    work: &Work<'_>,
    key: &SignifyKey,
    mode: &Mode,
    input: &mut dyn Read,
) -> Result<String, Report> {
    Ok(signify::sign(work.device, key, mode, input)?)
}

/// Verifies with a public key file, or with a key of this wallet; returns the trusted comment too.
pub fn verify(
    work: &Work<'_>,
    arguments: &verify::Args,
    signature: &[u8],
    input: &mut dyn Read,
) -> Result<(Signer, Option<String>), Report> {
    let signature = std::str::from_utf8(signature)
        .map_err(|_| SignifyError::Malformed("signature"))?
        .parse::<SignatureFile>()?;
    let (key, who, trust) = match (&arguments.public_key, &arguments.signer) {
        (Some(path), None) => {
            let bytes = files::read_small(path, MAX_KEY)?;
            let text = String::from_utf8(bytes).unwrap_or_default();
            let key: PublicKey = text.parse()?;
            (key, None, "trusted")
        }
        (None, Some(name)) => {
            let key = signify::derive(work.device, name)?;
            (key.public().clone(), Some(name.clone()), "own")
        }
        (Some(_), Some(_)) => {
            return Err(Report::usage(
                "`--signer` names a key of this wallet, `--public-key` one of somebody else",
            )
            .with_hint("leave one of them out"));
        }
        (None, None) => {
            return Err(Report::text(
                Kind::Verification,
                "a signify signature does not tell whose it is",
            )
            .with_hint(
                "give the public key with `--public-key FILE`, or `--signer NAME` for your own",
            ));
        }
    };
    signify::verify(&key, &signature, input)?;
    let signer = Signer {
        who,
        key: number(&key),
        primary: None,
        created: None,
        trust,
    };
    Ok((signer, signature.trusted_comment().map(str::to_owned)))
}
