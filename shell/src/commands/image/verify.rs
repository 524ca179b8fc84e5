//! `image verify`: everything in an archive, and what a statement says of it.

use std::path::{Path, PathBuf};

use bcm_stacks::image::archive::Packages;
use bcm_stacks::image::{Archive, ArchivedImage, ImageDigest, Platform};
use serde::Serialize;

use super::{describe, statement};
use crate::app::App;
use crate::files::{self, Source, name_of};
use crate::report::Report;
use crate::session::Cancelled;
use crate::ui::{self, Style};

/// What to verify.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The archive, `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The image that has to be in it, by the digest of its configuration or of its manifest
    #[arg(long, value_name = "sha256:…")]
    digest: Option<ImageDigest>,
    /// The machine that every image in it has to be for
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// The statement about it [default: FILE.json, where that is]
    #[arg(long, value_name = "FILE", conflicts_with = "no_statement")]
    statement: Option<PathBuf>,
    /// Leave the statement beside it unread
    #[arg(long)]
    no_statement: bool,
}

/// What was verified.
#[derive(Serialize)]
struct Verified<'a> {
    file: String,
    digest: ImageDigest,
    bytes: u64,
    images: &'a [ArchivedImage],
    statement: Option<statement::Stated>,
}

/// Reads an archive to its end.
pub fn read(path: &Path, packages: Packages, cancelled: &Cancelled) -> Result<Archive, Report> {
    let source = Source::open(path)?;
    files::read(source, cancelled, |input| {
        let archive = Archive::read(input, packages);
        archive.map_err(|error| Report::from(error).at(name_of(path)))
    })
}

impl Args {
    /// Refuses a statement that is not there.
    pub fn check(&self) -> Result<(), Report> {
        match &self.statement {
            Some(path) if !path.exists() => Err(files::FileError::NoFile(name_of(path)).into()),
            _ => Ok(()),
        }
    }

    /// Tells whether there is a statement, which is measured by the wallet's certificates.
    pub fn needs_unlock(&self) -> bool {
        self.found().is_some()
    }

    fn found(&self) -> Option<PathBuf> {
        let beside = || Some(statement::path(&self.file)).filter(|path| path.exists());
        match self.no_statement || files::is_standard(&self.file) {
            true => self.statement.clone(),
            false => self.statement.clone().or_else(beside),
        }
    }

    /// Verifies.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let keeper = app.keeper.clone();
        let file = self.file.clone();
        let reading = crate::session::blocking(None, move |cancelled| {
            read(&file, Packages::Skip, cancelled)
        });
        let archive = app.runtime().block_on(keeper.interruptible(reading))?;
        if let Some(digest) = &self.digest {
            archive.image(digest)?;
        }
        if let Some(platform) = &self.platform {
            archive.check_platform(platform)?;
        }
        let stated = match self.found() {
            Some(path) => Some(statement::verify(app, &path, &archive)?),
            None => None,
        };
        let verified = Verified {
            file: name_of(&self.file),
            digest: archive.digest(),
            bytes: archive.bytes(),
            images: archive.images(),
            statement: stated,
        };
        if json {
            return ui::json(&verified);
        }
        for image in verified.images {
            ui::out(&describe(image))?;
        }
        match verified.statement {
            Some(stated) => ui::out(&stated.text()),
            None => {
                ui::say(&ui::paint_stderr(
                    Style::Dim,
                    "no statement vouches for it: compare the id with one that you trust",
                ));
                Ok(())
            }
        }
    }
}
