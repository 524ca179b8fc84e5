//! `bcm-gpg`: what git runs in place of `gpg`, as far as git runs it.
//!
//! git signs with `--status-fd=2 -bsau KEY` and verifies with `--keyid-format=long --status-fd=1
//! --verify SIGNATURE -`; it reads the lines of
//! [doc/DETAILS](https://github.com/gpg/gnupg/blob/master/doc/DETAILS) from the descriptor. The
//! session of a running bcm does both, so that it is the person's own marks that decide on trust.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::client::Client;
use crate::report::{Kind, Report};
use crate::session::protocol::{Answer, Request};
use crate::ui;

/// Longest commit, tag or signature that is taken.
const MAX_BYTES: u64 = 500_000;

/// The part of GnuPG's grammar that git uses.
#[derive(Args, Debug)]
pub struct Gpg {
    /// Write status lines to this descriptor
    #[arg(long, value_name = "N")]
    status_fd: Option<u32>,
    /// Make a detached signature
    #[arg(short = 'b', long = "detach-sign")]
    detached: bool,
    /// Sign
    #[arg(short = 's', long = "sign")]
    sign: bool,
    /// In ASCII armor
    #[arg(short = 'a', long = "armor")]
    armor: bool,
    /// The key that signs
    #[arg(short = 'u', long = "local-user", value_name = "KEY")]
    key: Option<String>,
    /// How key IDs are shown, which are always shown long
    #[arg(long, value_name = "FORMAT")]
    keyid_format: Option<String>,
    /// Verify this signature
    #[arg(long, value_name = "SIGNATURE", conflicts_with = "sign")]
    verify: Option<PathBuf>,
    /// `-`: the data comes on stdin
    #[arg(value_name = "DATA")]
    data: Option<PathBuf>,
}

impl Gpg {
    /// Does what git asks for and returns the exit code of GnuPG.
    pub fn run(self) -> Result<u8, Report> {
        let from_stdin = self
            .data
            .as_deref()
            .is_none_or(|data| data == Path::new("-"));
        match &self.verify {
            Some(signature) if from_stdin => self.verify(signature),
            None if self.sign && self.detached && self.armor && from_stdin => {
                self.sign().map(|()| 0)
            }
            _ => Err(Report::usage(
                "this is for git, and does no more than detached signatures over stdin",
            )
            .with_hint("for anything else use `bcm file`")),
        }
    }

    fn sign(&self) -> Result<(), Report> {
        let data = read("stdin", io::stdin().lock())?;
        let client = Client::find()?;
        let request = Request::PgpSign {
            key: self.key.clone(),
            data,
        };
        let Answer::PgpSignature { armored, status } = client.ask(&request)? else {
            return Err(client.unexpected());
        };
        ui::out(armored.trim_end())?;
        self.report(&[status])
    }

    fn verify(&self, signature: &Path) -> Result<u8, Report> {
        let name = signature.display().to_string();
        let file = File::open(signature).map_err(|error| unreadable(&name, &error))?;
        let client = Client::find()?;
        let request = Request::PgpVerify {
            signature: read(&name, file)?,
            data: read("stdin", io::stdin().lock())?,
        };
        let Answer::PgpVerdict {
            good,
            status,
            lines,
        } = client.ask(&request)?
        else {
            return Err(client.unexpected());
        };
        self.report(&status)?;
        for line in lines {
            ui::say(&format!("bcm: {}", ui::printable(&line)));
        }
        // what GnuPG returns for a signature that is not good
        Ok(u8::from(!good))
    }

    fn report(&self, lines: &[String]) -> Result<(), Report> {
        let Some(number) = self.status_fd else {
            return Ok(());
        };
        let write = || {
            let mut descriptor = ui::inherited(number)?;
            lines
                .iter()
                .try_for_each(|line| writeln!(descriptor, "{line}"))
        };
        write().map_err(|error: io::Error| {
            Report::text(
                Kind::Failed,
                format!("cannot write to descriptor {number}: {error}"),
            )
        })
    }
}

fn read(name: &str, source: impl Read) -> Result<Vec<u8>, Report> {
    let mut bytes = Vec::new();
    source
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Report::text(
            Kind::Failed,
            format!("`{name}` has more than {MAX_BYTES} bytes, too many for a commit or a tag"),
        ));
    }
    Ok(bytes)
}

fn unreadable(name: &str, error: &io::Error) -> Report {
    Report::text(Kind::Failed, format!("cannot read `{name}`: {error}"))
}
