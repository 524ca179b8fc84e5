//! `image`: container images without a registry.

mod build;
mod engines;
mod inputs;
mod load;
mod save;
mod scan;
mod statement;
mod verify;

use bcm_stacks::image::engine::EngineImage;
use bcm_stacks::image::{ArchivedImage, engine};
use clap::Subcommand;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::app::App;
use crate::report::Report;
use crate::ui;

pub use inputs::RECIPES;

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the images of an engine
    #[command(after_help = "\
Examples:
  bcm image list
  bcm image list --hosts node-1,node-2 --json")]
    List(List),
    /// Verify every digest in an archive, and the statement beside it
    #[command(after_help = "\
Examples:
  bcm image verify tor.tar
  bcm image verify tor.tar --digest sha256:5d0d…      and no other image

The archive is read as a stream and never unpacked. With FILE.json beside it, what the statement says
has to be so. Exit code 4 unless everything is right.")]
    Verify(verify::Args),
    /// Save an image of an engine as an archive
    #[command(after_help = "Example:\n  bcm image save bcm/tor:0.4.9.11 tor.tar")]
    Save(save::Args),
    /// Verify an archive and load it into engines
    #[command(after_help = "\
Examples:
  bcm image load tor.tar
  bcm image load tor.tar --digest sha256:5d0d… --hosts node-1,node-2

An image is loaded where it is missing and known by its ID, the digest of its configuration: a service
that names the ID is never pulled.")]
    Load(load::Args),
    /// Build an image out of Debian's signed packages, a release archive or crates.io
    #[command(after_help = "\
Examples:
  bcm image build tor
  bcm image build tor --mirror https://…/20261101T000000Z --snapshot    the same bytes each time
  bcm image build bitcoind --release bitcoin-31.1-x86_64-linux-gnu.tar.gz \\
      --sums all.SHA256SUMS --signatures guix.sigs/31.1 --keys guix.sigs/builder-keys
  bcm image build electrs

Without a release archive `bitcoind` is Debian's bitcoin-knots, for regtest alone. What was built is
stated in FILE.json and signed on the device.")]
    Build(Box<build::Args>),
    /// Compare the packages in an image with published holes
    #[command(after_help = "\
Examples:
  bcm image scan tor.tar --advisories tracker.json
  bcm image scan tor.tar --advisories osv/ --threshold medium --json

The advisories are the JSON of Debian's security tracker, or records of OSV, got beforehand.
Exit code 4 where there is a finding of the threshold or above.")]
    Scan(scan::Args),
}

/// Which images to show.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    on: engines::On,
}

impl Command {
    /// Refuses what does not fit together, before anything is unlocked for it.
    pub fn check(&self) -> Result<(), Report> {
        match self {
            Self::Build(arguments) => arguments.check(),
            Self::Load(arguments) => arguments.check(),
            Self::Verify(arguments) => arguments.check(),
            _ => Ok(()),
        }
    }

    /// Tells whether it needs an open wallet.
    pub fn needs_unlock(&self) -> bool {
        match self {
            Self::Verify(arguments) => arguments.needs_unlock(),
            Self::Build(arguments) => arguments.needs_unlock(),
            Self::Scan(_) => false,
            _ => true,
        }
    }

    /// Runs it and returns the exit code.
    pub fn run(self, app: &mut App, json: bool) -> Result<u8, Report> {
        let done = |()| 0;
        match self {
            Self::List(arguments) => arguments.run(app, json).map(done),
            Self::Verify(arguments) => arguments.run(app, json).map(done),
            Self::Save(arguments) => arguments.run(app, json).map(done),
            Self::Load(arguments) => arguments.run(app, json).map(done),
            Self::Build(arguments) => arguments.run(app, json).map(done),
            Self::Scan(arguments) => arguments.run(app, json),
        }
    }
}

impl List {
    fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        #[derive(Serialize)]
        struct OnHost {
            host: String,
            #[serde(flatten)]
            image: EngineImage,
        }
        let images = engines::with(app, &self.on, async |engines| {
            let mut images = Vec::new();
            for engine in engines {
                for image in engine::list(&engine).await? {
                    images.push(OnHost {
                        host: engine.host().to_owned(),
                        image,
                    });
                }
            }
            Ok(images)
        })?;
        if json {
            return ui::json(&images);
        }
        let row = |OnHost { host, image }: OnHost| {
            let name = image.names.first().cloned();
            [
                name.unwrap_or_else(|| "-".into()),
                image.id,
                HumanBytes(image.bytes.try_into().unwrap_or(0)).to_string(),
                host,
            ]
        };
        ui::out(&ui::table(
            ["name", "id", "size", "host"],
            images.into_iter().map(row),
        ))
    }
}

/// Describes an image of an archive, for a person.
fn describe(image: &ArchivedImage) -> String {
    let name = image
        .names
        .first()
        .map_or("an image without a name", String::as_str);
    let mut text = format!(
        "{name}\n  id        {}\n  platform  {}\n  layers    {}, {}",
        image.id,
        image.platform,
        image.layers.len(),
        HumanBytes(image.bytes()),
    );
    if let Some(user) = &image.user {
        text += &format!("\n  user      {user}");
    }
    if let Some(created) = &image.created {
        text += &format!("\n  created   {created}");
    }
    if let Some(chains) = image.chains() {
        let chains: Vec<_> = chains.into_iter().collect();
        text += &format!("\n  chains    {} alone", chains.join(", "));
    }
    ui::printable_lines(&text)
}
