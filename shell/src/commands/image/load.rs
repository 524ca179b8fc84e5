//! `image load`: an archive into engines, after it was verified.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bcm_stacks::image::archive::Packages;
use bcm_stacks::image::{ImageDigest, engine};
use futures::Stream;
use serde::Serialize;

use super::engines::{self, On};
use super::{statement, verify};
use crate::app::App;
use crate::files::{self, Source};
use crate::report::Report;
use crate::session::Cancelled;
use crate::ui;

/// Length of one piece on its way to an engine.
const PIECE: usize = 1 << 18;

/// What to load, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The archive; it is read once to verify it and once more for each engine
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The image that has to be in it, by the digest of its configuration or of its manifest
    #[arg(long, value_name = "sha256:…")]
    digest: Option<ImageDigest>,
    #[command(flatten)]
    on: On,
}

/// An image that an engine has now.
#[derive(Serialize)]
struct Loaded {
    host: String,
    id: ImageDigest,
    names: Vec<String>,
}

impl Args {
    /// Refuses what cannot be read twice.
    pub fn check(&self) -> Result<(), Report> {
        match files::is_standard(&self.file) {
            true => Err(
                Report::usage("an archive is read twice, which standard input is not")
                    .with_hint("write it to a file first"),
            ),
            false => Ok(()),
        }
    }

    /// Loads.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let keeper = app.keeper.clone();
        let file = self.file.clone();
        let reading = crate::session::blocking(None, move |cancelled| {
            verify::read(&file, Packages::Skip, cancelled)
        });
        let archive = app.runtime().block_on(keeper.interruptible(reading))?;
        if let Some(digest) = &self.digest {
            archive.image(digest)?;
        }
        let beside = statement::path(&self.file);
        if beside.exists() {
            statement::verify(app, &beside, &archive)?;
        }
        let file = self.file.clone();
        let loaded = engines::with(app, &self.on, async |engines| {
            let mut loaded = Vec::new();
            for engine in engines {
                let cancelled = Cancelled::default();
                let content = stream(&file, &cancelled)?;
                let ids = engine::load(&engine, &archive, content).await?;
                for (id, image) in ids.into_iter().zip(archive.images()) {
                    loaded.push(Loaded {
                        host: engine.host().to_owned(),
                        id,
                        names: image.names.clone(),
                    });
                }
            }
            Ok(loaded)
        })?;
        if json {
            return ui::json(&loaded);
        }
        ui::out(&ui::table(
            ["name", "id", "host"],
            loaded.into_iter().map(|loaded| {
                let name = loaded.names.first().cloned();
                [
                    name.unwrap_or_else(|| "-".into()),
                    loaded.id.to_string(),
                    loaded.host,
                ]
            }),
        ))
    }
}

/// Reads a file on a thread of its own, with a bar where that takes long.
fn stream(
    path: &Path,
    cancelled: &Cancelled,
) -> Result<impl Stream<Item = io::Result<Vec<u8>>> + Send + use<>, Report> {
    let mut reader = Source::open(path)?.reader(cancelled);
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = reader.read(&mut piece).map(|read| {
                piece.truncate(read);
                piece
            });
            let last = !matches!(&read, Ok(piece) if !piece.is_empty());
            let end = matches!(&read, Ok(piece) if piece.is_empty());
            // a file that was cut is no end
            let read = match reader.failure().filter(|_| end) {
                Some(error) => Err(io::Error::other(error.to_string())),
                None if end => return,
                None => read,
            };
            if sender.blocking_send(read).is_err() || last {
                return;
            }
        }
    });
    Ok(futures::stream::unfold(
        receiver,
        |mut receiver| async move {
            let piece = receiver.recv().await?;
            Some((piece, receiver))
        },
    ))
}
