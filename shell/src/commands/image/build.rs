//! `image build`: out of Debian's packages, a release archive, or crates.io.

use std::path::{Path, PathBuf};

use bcm_keystore::pgp::{OwnCert, PgpStore};
use bcm_stacks::image::build::{
    Build, BuildEnv, Built, CargoProgram, Program, Sources, build_with_cargo, library_packages,
};
use bcm_stacks::image::{ImageDigest, Platform, Programs, Recipe, Suite};
use serde::Serialize;

use super::describe;
use super::inputs::{self, RECIPES, ReleaseArgs};
use super::save::folder_of;
use super::statement::{self, Body};
use crate::app::App;
use crate::files::{self, Access, FileError, Overwrite, Target};
use crate::report::{Kind, Report};
use crate::session::Cancelled;
use crate::ui;

/// Longest program that is added by hand.
const MAX_PROGRAM: u64 = 512 << 20;

/// What to build, out of what.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to build: tor, bitcoind, electrum, wireguard, relay, electrs or liquid
    #[arg(value_name = "RECIPE", value_parser = RECIPES, hide_possible_values = true)]
    recipe: String,
    /// The archive [default: RECIPE.tar]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the archive
    #[arg(long)]
    force: bool,
    /// The suite of Debian [default: this system's; sid for bitcoind and electrum]
    #[arg(long, value_name = "SUITE")]
    suite: Option<String>,
    /// Where packages come from: an address, a line or a file of sources [default: `image.mirror`]
    #[arg(long, value_name = "SOURCE")]
    mirror: Vec<String>,
    /// The source is a snapshot, whose lists may be past the date until which they are good
    #[arg(long)]
    snapshot: bool,
    /// The machine that it is for [default: this one's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    of: ReleaseArgs,
    /// electrs: this program, built before on this system
    #[arg(long, value_name = "FILE", conflicts_with = "release")]
    binary: Option<PathBuf>,
    /// electrs: the version
    #[arg(long, value_name = "VERSION", default_value = "0.11.1")]
    crate_version: String,
    /// Sign what was built with this certificate [default: the wallet's]
    #[arg(long, value_name = "CERT", conflicts_with = "unsigned")]
    key: Option<String>,
    /// Build without a device: nothing vouches for the archive then
    #[arg(long)]
    unsigned: bool,
}

/// What was built.
#[derive(Serialize)]
struct Told {
    file: String,
    statement: Option<String>,
    id: ImageDigest,
    name: Option<String>,
    archive: ImageDigest,
    bytes: u64,
    packages: usize,
    attested_by: Vec<String>,
}

/// An image and what is stated of it.
struct Done {
    built: Built,
    body: Body,
}

impl Args {
    /// Refuses what does not fit together, before anything is unlocked for it.
    pub fn check(&self) -> Result<(), Report> {
        let recipe = self.recipe()?;
        if self.binary.is_some() && !matches!(recipe.programs, Programs::Cargo(_)) {
            return Err(Report::usage(format!(
                "`--binary` is for electrs, not for {}",
                self.recipe
            )));
        }
        if let (Programs::Cargo(_), Some(platform)) = (recipe.programs, &self.platform)
            && *platform != Platform::here()
        {
            return Err(Report::usage(format!(
                "{} is built for this machine alone",
                self.recipe
            )));
        }
        files::check_free(&self.output(), Overwrite::when(self.force))?;
        if !self.unsigned && !self.force {
            files::check_free(&statement::path(&self.output()), Overwrite::Never)?;
        }
        Ok(())
    }

    /// Tells whether the device signs.
    pub fn needs_unlock(&self) -> bool {
        !self.unsigned
    }

    fn output(&self) -> PathBuf {
        let name = || PathBuf::from(format!("{}.tar", self.recipe));
        self.output.clone().unwrap_or_else(name)
    }

    fn recipe(&self) -> Result<&'static Recipe, Report> {
        let name = self.recipe.as_str();
        let found = match self.of.release.is_some() {
            true => Recipe::find_release(name),
            false => Recipe::find(name),
        };
        found.ok_or_else(|| match self.of.release.is_some() {
            true => Report::usage(format!("{name} is not built from a release archive")),
            false => Report::usage(format!("{name} is built from its release archive"))
                .with_hint("give `--release`, `--sums`, `--signatures` and `--keys`"),
        })
    }

    fn sources(&self, app: &App, recipe: &Recipe) -> Result<Sources, Report> {
        let suite = match (&self.suite, recipe.suite) {
            (Some(suite), _) => suite.clone(),
            (None, Suite::Named(suite)) => suite.to_owned(),
            (None, Suite::System) => inputs::system_suite()?,
        };
        let mut mirrors = self.mirror.clone();
        if mirrors.is_empty() {
            let configured = app.config()?.image_mirror();
            mirrors.extend(configured.or_else(|| inputs::system_sources(&suite)));
        }
        Ok(Sources {
            suite,
            mirrors,
            snapshot: self.snapshot,
        })
    }

    /// Builds.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let recipe = self.recipe()?;
        let sources = self.sources(app, recipe)?;
        let output = self.output();
        let overwrite = Overwrite::when(self.force);
        let keeper = app.keeper.clone();
        let signer = match self.unsigned {
            true => None,
            false => Some(app.runtime().block_on(keeper.with_open(async |open| {
                let store = PgpStore::open(open.session.store())?;
                Ok(store.signer(self.key.as_deref())?.clone())
            }))?),
        };
        ui::say(&format!(
            "building {} from Debian {}",
            recipe.name,
            ui::printable(&sources.suite)
        ));
        let target = Target::create(&output, Access::Umask, overwrite, true, &[])?;
        let folder = folder_of(&output);
        let arguments = self.clone();
        let work = move |cancelled: &Cancelled| {
            let mut done = arguments.build(recipe, sources, &folder, cancelled)?;
            let mut writer = target.writer();
            let written = done.built.write(&mut writer);
            if let Some(error) = writer.failure() {
                return Err(error.into());
            }
            written
                .map_err(|error| Report::text(Kind::Failed, format!("cannot write it: {error}")))?;
            cancelled
                .check()
                .map_err(|error| Report::text(Kind::Failed, error.to_string()))?;
            writer.commit()?;
            Ok(done)
        };
        let (done, stated) = match signer {
            None => {
                let building = crate::session::blocking(None, work);
                let done = app.runtime().block_on(keeper.interruptible(building))?;
                (done, None)
            }
            Some(signer) => app.runtime().block_on(keeper.with_open(async |open| {
                let done = crate::session::blocking(None, work).await?;
                let stated = state(open, &signer, &done, &output).await?;
                Ok((done, Some(stated)))
            }))?,
        };
        tell(&done, &output, stated.as_deref(), json)
    }

    fn build(
        &self,
        recipe: &'static Recipe,
        sources: Sources,
        folder: &Path,
        cancelled: &Cancelled,
    ) -> Result<Done, Report> {
        let env = BuildEnv::pick(crate::env::variables());
        let check = || cancelled.check();
        let released = self.of.open(recipe)?;
        let mut programs = Vec::new();
        let mut packages = Vec::new();
        let mut version = None;
        let mut attested = Vec::new();
        let mut release = None;
        if let Some((sums, opened)) = released {
            attested = sums.signers().to_vec();
            release = Some(opened.digest);
            version = Some(opened.version);
            programs = opened.programs;
        } else if let Programs::Cargo(name) = recipe.programs {
            let temporary = tempfile::tempdir_in(folder).map_err(|source| FileError::Write {
                name: files::name_of(folder),
                source,
            })?;
            let program = match &self.binary {
                Some(path) => Program {
                    name: name.to_owned(),
                    bytes: files::read_small(path, MAX_PROGRAM)?,
                },
                None => {
                    let program = CargoProgram {
                        name,
                        version: &self.crate_version,
                    };
                    build_with_cargo(program, temporary.path(), &env, &check)?
                }
            };
            let built = temporary.path().join("bin").join(name);
            let path = self.binary.as_deref().unwrap_or(&built);
            packages = library_packages(path, &env, &check)?;
            version = Some(self.crate_version.clone());
            programs.push(program);
        }
        recipe.check_programs(&programs)?;
        let suite = sources.suite.clone();
        let built = Build {
            recipe,
            platform: self.platform.clone().unwrap_or_else(Platform::here),
            sources,
            packages,
            programs,
            version,
            folder,
            env: &env,
            check: &check,
        }
        .run()?;
        let body = Body {
            recipe: recipe.name.to_owned(),
            platform: built.image.platform.clone(),
            archive: built.archive,
            suite,
            packages: built.packages.clone(),
            release,
            attested_by: attested
                .into_iter()
                .map(|signer| signer.fingerprint)
                .collect(),
        };
        Ok(Done { built, body })
    }
}

async fn state(
    open: &mut crate::session::Open,
    signer: &OwnCert,
    done: &Done,
    output: &Path,
) -> Result<PathBuf, Report> {
    let stated = statement::state(open, signer, &done.built, &done.body, output).await;
    stated.map_err(|report| {
        report.with_note(format!(
            "`{}` was written, and nothing vouches for it",
            output.display()
        ))
    })
}

fn tell(done: &Done, output: &Path, stated: Option<&Path>, json: bool) -> Result<(), Report> {
    let image = &done.built.image;
    if json {
        return ui::json(&Told {
            file: files::name_of(output),
            statement: stated.map(files::name_of),
            id: image.id,
            name: image.names.first().cloned(),
            archive: done.built.archive,
            bytes: done.built.bytes,
            packages: done.built.packages.len(),
            attested_by: done.body.attested_by.clone(),
        });
    }
    ui::out(&describe(image))?;
    let vouched = match stated {
        Some(path) => format!("stated in `{}`", path.display()),
        None => "unsigned: nothing vouches for it".to_owned(),
    };
    let attested = match done.body.attested_by.len() {
        0 => String::new(),
        number => format!(", the release attested by {number} builders"),
    };
    ui::say(&ui::printable(&format!(
        "wrote `{}`, {vouched}{attested}",
        output.display()
    )));
    Ok(())
}
