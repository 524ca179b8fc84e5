//! What a build is given: files of a release, keys, signatures, and where packages come from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bcm_keystore::pgp::{Cert, Imported, PgpError, read_certs};
use bcm_stacks::image::release::{self, AttestedSums, MAX_SUMS, Release, Signers};
use bcm_stacks::image::{Programs, Recipe};

use crate::files::{self, FileError, name_of};
use crate::report::{Kind, Report};

/// The names of what can be built.
pub const RECIPES: [&str; 7] = [
    "tor",
    "bitcoind",
    "electrum",
    "wireguard",
    "relay",
    "electrs",
    "liquid",
];

/// Longest file of keys or signatures.
const MAX_KEYS: u64 = 4 << 20;

/// Deepest folder below the one that was named: `guix.sigs/31.1/NAME/all.SHA256SUMS.asc`.
const MAX_DEPTH: usize = 3;

/// Most files of keys or signatures.
const MAX_FILES: usize = 10_000;

/// The system's own sources, in both ways of writing them.
const SOURCES: [&str; 2] = [
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/sources.list",
];

/// The files of a release.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "of_release", multiple = true)]
pub struct ReleaseArgs {
    /// Take the programs out of this release archive, as upstream named it
    #[arg(long, value_name = "ARCHIVE", requires_all = ["sums", "signatures", "keys"])]
    pub release: Option<PathBuf>,
    /// The list of digests of the release: all.SHA256SUMS
    #[arg(long, value_name = "FILE", requires = "release")]
    pub sums: Option<PathBuf>,
    /// The signatures over the list: a file, or a folder as guix.sigs has it
    #[arg(long, value_name = "PATH", requires = "release")]
    pub signatures: Option<PathBuf>,
    /// The builders' certificates: a file, or a folder
    #[arg(long, value_name = "PATH", requires = "release")]
    pub keys: Option<PathBuf>,
    /// Count these builders instead of upstream's: a file with a fingerprint on each line
    #[arg(long, value_name = "FILE", requires = "release")]
    pub builders: Option<PathBuf>,
}

impl ReleaseArgs {
    /// Verifies the release and takes its programs out.
    pub fn open(&self, recipe: &Recipe) -> Result<Option<(AttestedSums, Release)>, Report> {
        let (Some(archive), Some(sums), Some(signatures), Some(keys)) =
            (&self.release, &self.sums, &self.signatures, &self.keys)
        else {
            return Ok(None);
        };
        let Programs::Release(programs) = recipe.programs else {
            return Ok(None);
        };
        let signers = match &self.builders {
            Some(path) => {
                let text =
                    String::from_utf8_lossy(&files::read_small(path, MAX_SUMS)?).into_owned();
                Signers::read(&text, 3)?
            }
            None if recipe.name == "liquid" => Signers::elements(),
            None => Signers::core(),
        };
        let list = files::read_small(sums, MAX_SUMS)?;
        let attested = release::attest(
            &list,
            &signature_files(signatures, sums)?,
            &certs(keys)?,
            &signers,
            SystemTime::now(),
        )?;
        let name = archive
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let file = File::open(archive).map_err(|source| FileError::Read {
            name: name_of(archive),
            source,
        })?;
        let release = release::open(&name.unwrap_or_default(), file, &attested, programs)?;
        Ok(Some((attested, release)))
    }
}

/// Reads signatures over the list `sums`: those over other lists lie beside them.
fn signature_files(path: &Path, sums: &Path) -> Result<Vec<(String, Vec<u8>)>, Report> {
    let list = sums
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let list = format!("{}.asc", list.unwrap_or_default());
    let over_list = |path: &Path| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let of_other = name.ends_with("SHA256SUMS.asc") && name != list;
        !of_other
            && [".asc", ".sig", ".gpg"]
                .iter()
                .any(|ending| name.ends_with(ending))
    };
    let mut signatures = Vec::new();
    for file in below(path, &over_list)? {
        signatures.push((name_of(&file), files::read_small(&file, MAX_KEYS)?));
    }
    Ok(signatures)
}

fn certs(path: &Path) -> Result<Vec<Cert>, Report> {
    let mut certs = Vec::new();
    for file in below(path, &|_| true)? {
        let read = read_certs(&files::read_small(&file, MAX_KEYS)?);
        let read = read.map_err(|error: PgpError| {
            Report::from(error).with_note(format!("`{}` was read for keys", name_of(&file)))
        })?;
        certs.extend(read.into_iter().filter_map(|imported| match imported {
            Imported::Cert(cert) => Some(*cert),
            Imported::Revocation(_) => None,
        }));
    }
    Ok(certs)
}

/// Returns a file, or the files below a folder that are wanted.
fn below(path: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Report> {
    if !path.exists() {
        return Err(FileError::NoFile(name_of(path)).into());
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    descend(path, wanted, MAX_DEPTH, &mut found)?;
    found.sort();
    Ok(found)
}

fn descend(
    folder: &Path,
    wanted: &dyn Fn(&Path) -> bool,
    depth: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), Report> {
    let failed = |source| FileError::Read {
        name: name_of(folder),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            descend(&path, wanted, depth - 1, found)?;
        } else if kind.is_file() && wanted(&path) {
            if found.len() >= MAX_FILES {
                let text = format!(
                    "there are more than {MAX_FILES} files below `{}`",
                    name_of(folder)
                );
                return Err(Report::text(Kind::Failed, text));
            }
            found.push(path);
        }
    }
    Ok(())
}

/// Returns the suite of Debian that this computer runs.
pub fn system_suite() -> Result<String, Report> {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned());
    suite.filter(|suite| !suite.is_empty()).ok_or_else(|| {
        Report::text(
            Kind::Failed,
            "this computer does not say which release of Debian it runs",
        )
        .with_hint("name one with `--suite`, for example `--suite bookworm`")
    })
}

/// Returns the system's own sources, where they name the suite.
pub fn system_sources(suite: &str) -> Option<String> {
    SOURCES.into_iter().map(str::to_owned).find(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .any(|line| line.split_whitespace().any(|word| word == suite))
    })
}
