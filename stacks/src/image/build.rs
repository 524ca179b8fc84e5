//! Builds images out of Debian's signed packages, and of programs that were verified or built here.
//!
//! `mmdebstrap` downloads, checks and unpacks the packages; no script of theirs runs. What it wrote is put in
//! order, freed of what differs from run to run, and packed: two builds from one snapshot are the same bytes.

mod cargo;
mod error;
mod layer;
mod rootfs;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::archive::{Archive, ArchivedImage, Packages};
use super::pack::{ImageSpec, LayerTar, pack};
use super::packages::{Installed, Package};
use super::recipe::{Programs, Recipe};
use super::{ImageDigest, Platform};

pub use cargo::{CargoProgram, build as build_with_cargo, library_packages};
pub use error::BuildError;
pub use rootfs::Sources;

/// The label that holds the digest of an added program.
const PROGRAM_LABEL: &str = "org.bitcoincachemachine.program";

/// The label that names the recipe.
const RECIPE_LABEL: &str = "org.bitcoincachemachine.recipe";

/// The label that names the suite of Debian.
const SUITE_LABEL: &str = "org.bitcoincachemachine.suite";

/// What a build has to be given.
pub struct Build<'a> {
    /// What is built.
    pub recipe: &'static Recipe,
    /// What machine it is for.
    pub platform: Platform,
    /// Where packages come from.
    pub sources: Sources,
    /// Packages beside those of the recipe: the libraries of an added program.
    pub packages: Vec<String>,
    /// Programs that are added.
    pub programs: Vec<Program>,
    /// The version, where an added program decides on it.
    pub version: Option<String>,
    /// Where temporary files may lie; an image takes three times its size.
    pub folder: &'a Path,
    /// The environment of the programs that it runs.
    pub env: &'a BuildEnv,
    /// Fails once nobody waits for it any more.
    pub check: &'a dyn Fn() -> io::Result<()>,
}

impl std::fmt::Debug for Build<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Build")
            .field("recipe", &self.recipe.name)
            .field("platform", &self.platform)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

/// A program that is added to Debian's packages, in `/usr/local/bin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The variables that the programs of a build get to see; everything else is cleared.
#[derive(Clone, Debug, Default)]
pub struct BuildEnv(Vec<(OsString, OsString)>);

impl BuildEnv {
    /// The variables that are passed on: where programs and temporary files are, and the ways to the network.
    pub const PASSED: [&'static str; 14] = [
        "ALL_PROXY",
        "CARGO_HOME",
        "FTP_PROXY",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "PATH",
        "RUSTUP_HOME",
        "TMPDIR",
        "all_proxy",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];

    /// Picks them from an environment, such as `std::env::vars_os()`.
    pub fn pick(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let passed = |name: &OsString| Self::PASSED.iter().any(|passed| name == *passed);
        Self(
            variables
                .into_iter()
                .filter(|(name, _)| passed(name))
                .collect(),
        )
    }

    fn apply(&self, command: &mut std::process::Command) {
        command.env_clear().env("LC_ALL", "C");
        command.envs(self.0.iter().map(|(name, value)| (name, value)));
    }
}

/// An image that was built, before it has a place.
#[derive(Debug)]
pub struct Built {
    /// The image, read back out of the archive and verified.
    pub image: ArchivedImage,
    /// The packages in it.
    pub packages: Vec<Package>,
    /// The digest of the archive.
    pub archive: ImageDigest,
    /// The length of the archive.
    pub bytes: u64,
    file: File,
}

impl Built {
    /// Writes the archive.
    ///
    /// # Errors
    ///
    /// What reading the temporary file or writing said.
    pub fn write(&mut self, output: &mut dyn Write) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        io::copy(&mut self.file, output).map(drop)
    }
}

impl Build<'_> {
    /// Builds.
    ///
    /// # Errors
    ///
    /// Any [`BuildError`].
    pub fn run(self) -> Result<Built, BuildError> {
        let temporary = || tempfile::tempfile_in(self.folder).map_err(BuildError::Files);
        let mut root = temporary()?;
        let packages: Vec<_> = (self.recipe.packages.iter().copied())
            .chain(self.packages.iter().map(String::as_str))
            .collect();
        rootfs::make(&self, &packages, &root)?;
        let mut tar = temporary()?;
        let laid = layer::lay(
            &mut root,
            &tar,
            &layer::additions(self.recipe, &self.programs),
        )?;
        drop(root);
        let installed = Installed::read(&BTreeMap::from([(
            "var/lib/dpkg/status".to_owned(),
            laid.status,
        )]));
        let spec = self.spec(&installed, laid.epoch)?;
        let mut file = temporary()?;
        tar.seek(SeekFrom::Start(0)).map_err(BuildError::Files)?;
        let layer = LayerTar {
            tar: &tar,
            digest: laid.digest,
            bytes: laid.bytes,
        };
        let id = pack(&spec, layer, io::BufWriter::new(&file)).map_err(BuildError::Files)?;
        file.seek(SeekFrom::Start(0)).map_err(BuildError::Files)?;
        let archive = Archive::read(&file, Packages::Keep)?;
        let image = archive.image(&id)?.clone();
        Ok(Built {
            packages: Installed::read(&image.files).packages,
            image,
            archive: archive.digest(),
            bytes: archive.bytes(),
            file,
        })
    }

    fn spec(&self, installed: &Installed, epoch: u64) -> Result<ImageSpec, BuildError> {
        let recipe = self.recipe;
        let of_package = || installed.version_of(recipe.versioned_by).map(str::to_owned);
        let version = self.version.clone().or_else(of_package);
        let version = version.ok_or_else(|| BuildError::NoPackage(recipe.versioned_by.into()))?;
        let mut labels = BTreeMap::from([
            (
                "org.opencontainers.image.title".to_owned(),
                recipe.name.to_owned(),
            ),
            (
                "org.opencontainers.image.description".to_owned(),
                recipe.summary.to_owned(),
            ),
            (
                "org.opencontainers.image.version".to_owned(),
                version.clone(),
            ),
            (RECIPE_LABEL.to_owned(), recipe.name.to_owned()),
            (SUITE_LABEL.to_owned(), self.sources.suite.clone()),
        ]);
        labels.extend(
            recipe
                .chains_label()
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        for program in &self.programs {
            let digest = ImageDigest::of(&program.bytes).to_string();
            labels.insert(format!("{PROGRAM_LABEL}.{}", program.name), digest);
        }
        let text = |text: &&str| (*text).to_owned();
        Ok(ImageSpec {
            name: format!("bcm/{}:{}", recipe.name, tag(&version)),
            platform: self.platform.clone(),
            created: epoch,
            user: format!("{}:{}", recipe.uid, recipe.gid),
            entrypoint: recipe.entrypoint.iter().map(text).collect(),
            env: vec![
                format!("HOME={}", recipe.home),
                "LANG=C.UTF-8".into(),
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            ],
            folder: recipe.data.unwrap_or("/").to_owned(),
            stop_signal: recipe.stop_signal.map(str::to_owned),
            labels,
        })
    }
}

impl Recipe {
    /// Fails unless the programs that it wants are the ones that were found.
    ///
    /// # Errors
    ///
    /// [`BuildError::Program`].
    pub fn check_programs(&self, programs: &[Program]) -> Result<(), BuildError> {
        let wanted: &[&str] = match &self.programs {
            Programs::None => &[],
            Programs::Release(names) => names,
            Programs::Cargo(name) => std::slice::from_ref(name),
        };
        for name in wanted {
            let found = programs.iter().find(|program| program.name == *name);
            if !found.is_some_and(|program| program.bytes.starts_with(b"\x7fELF")) {
                return Err(BuildError::Program((*name).to_owned()));
            }
        }
        Ok(())
    }
}

/// Writes a version as the [tag of an image](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
fn tag(version: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let tag: String = version
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .take(128)
        .collect();
    tag.trim_start_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_debian_is_a_tag() {
        assert_eq!(tag("1:0.4.9.11-0+deb12u1~x"), "1_0.4.9.11-0_deb12u1_x");
    }

    #[test]
    fn a_program_that_is_missing_or_is_none_is_refused() {
        let recipe = Recipe::find_release("bitcoind").unwrap();
        let program = |name: &str, bytes: &[u8]| Program {
            name: name.into(),
            bytes: bytes.to_vec(),
        };
        let both = [
            program("bitcoind", b"\x7fELF1"),
            program("bitcoin-cli", b"\x7fELF2"),
        ];
        recipe.check_programs(&both).unwrap();
        assert!(recipe.check_programs(&both[..1]).is_err());
        let script = [program("bitcoind", b"#!/bin/sh"), both[1].clone()];
        assert!(recipe.check_programs(&script).is_err());
    }

    #[test]
    fn the_environment_holds_nothing_of_the_person() {
        let variables = [("PATH", "/bin"), ("AWS_SECRET", "x"), ("http_proxy", "p")];
        let env = BuildEnv::pick(variables.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(env.0.len(), 2);
    }
}
