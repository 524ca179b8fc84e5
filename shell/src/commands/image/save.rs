//! `image save`: an image of an engine as an archive, verified before it gets its name.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bcm_stacks::image::archive::Packages;
use bcm_stacks::image::{Archive, ImageDigest, engine};
use futures::{StreamExt, pin_mut};
use serde::Serialize;

use super::describe;
use super::engines::{self, On};
use crate::app::App;
use crate::files::{self, Access, FileError, Overwrite, Target};
use crate::report::{Kind, Report};
use crate::ui;

/// What to save, and where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, by name or ID
    #[arg(value_name = "NAME")]
    name: String,
    /// The archive
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Overwrite the archive
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    on: On,
}

/// What was saved.
#[derive(Serialize)]
struct Saved {
    file: String,
    id: ImageDigest,
    digest: ImageDigest,
    bytes: u64,
}

/// Returns the folder of a file, where temporary files of its size fit.
pub fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl Args {
    /// Saves.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let overwrite = Overwrite::when(self.force);
        files::check_free(&self.file, overwrite)?;
        if self.on.hosts.len() > 1 {
            return Err(Report::usage("an image is saved from one host")
                .with_hint("name one host with `--hosts`"));
        }
        let failed = |error| {
            Report::from(FileError::Write {
                name: files::name_of(&self.file),
                source: error,
            })
        };
        let mut temporary = tempfile::tempfile_in(folder_of(&self.file)).map_err(failed)?;
        let id = engines::with(app, &self.on, async |mut engines| {
            let engine = engines.remove(0);
            let (id, pieces) = engine::save(&engine, &self.name).await?;
            pin_mut!(pieces);
            while let Some(piece) = pieces.next().await {
                temporary.write_all(&piece?).map_err(failed)?;
            }
            Ok(id)
        })?;
        temporary.seek(SeekFrom::Start(0)).map_err(failed)?;
        let target = Target::create(&self.file, Access::Umask, overwrite, true, &[])?;
        let keeper = app.keeper.clone();
        let writing = crate::session::blocking(None, move |cancelled| {
            let archive = Archive::read(&temporary, Packages::Skip)?;
            let id: ImageDigest = id.parse().map_err(|_| {
                Report::text(
                    Kind::Verification,
                    format!("the engine calls the image `{id}`"),
                )
            })?;
            let image = archive.image(&id)?.clone();
            let read = |error| Report::text(Kind::Failed, format!("cannot read it again: {error}"));
            temporary.seek(SeekFrom::Start(0)).map_err(read)?;
            let mut writer = target.writer();
            let copied = io::copy(&mut temporary, &mut writer);
            if let Some(error) = writer.failure() {
                return Err(error.into());
            }
            copied.map_err(read)?;
            cancelled.check().map_err(read)?;
            writer.commit()?;
            Ok((archive, image))
        });
        let (archive, image) = app.runtime().block_on(keeper.interruptible(writing))?;
        if json {
            return ui::json(&Saved {
                file: files::name_of(&self.file),
                id: image.id,
                digest: archive.digest(),
                bytes: archive.bytes(),
            });
        }
        ui::out(&describe(&image))
    }
}
