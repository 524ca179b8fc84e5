//! `image scan`: the packages in an image, against published holes.

use std::fs::File;
use std::path::{Path, PathBuf};

use bcm_stacks::image::archive::Packages;
use bcm_stacks::image::scan::{Advisories, Finding, ScanError, Severity, scan};
use bcm_stacks::image::{ArchivedImage, ImageDigest, Installed};
use serde::Serialize;

use super::verify;
use crate::app::App;
use crate::files::{FileError, name_of};
use crate::report::{Kind, Report};
use crate::ui;

/// Most files of advisories in one folder.
const MAX_FILES: usize = 200_000;

/// What to scan, and with what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The archive, `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The advisories: a file, or a folder of such
    #[arg(long, value_name = "FILE", required = true)]
    advisories: Vec<PathBuf>,
    /// The image, where the archive holds several
    #[arg(long, value_name = "sha256:…")]
    digest: Option<ImageDigest>,
    /// The release of Debian [default: what the image says]
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// Fail from this severity on: unimportant, unknown, low, medium, high or critical
    #[arg(long, value_name = "SEVERITY", default_value = "high")]
    threshold: Severity,
}

/// What was found.
#[derive(Serialize)]
struct Scanned {
    id: ImageDigest,
    release: String,
    packages: usize,
    threshold: Severity,
    /// Findings of the threshold or above.
    failing: usize,
    findings: Vec<Finding>,
}

impl Args {
    /// Scans and returns the exit code.
    pub fn run(self, app: &mut App, json: bool) -> Result<u8, Report> {
        let keeper = app.keeper.clone();
        let scanning = crate::session::blocking(None, move |cancelled| {
            let archive = verify::read(&self.file, Packages::Keep, cancelled)?;
            let image = match &self.digest {
                Some(digest) => archive.image(digest)?,
                None => archive.only()?,
            };
            self.scan(image)
        });
        let scanned = app.runtime().block_on(keeper.interruptible(scanning))?;
        let code = if scanned.failing > 0 {
            Kind::Verification as u8
        } else {
            0
        };
        if json {
            ui::json(&scanned)?;
            return Ok(code);
        }
        ui::say(&format!(
            "{} packages of Debian {}: {} findings, {} of severity {} or above",
            scanned.packages,
            ui::printable(&scanned.release),
            scanned.findings.len(),
            scanned.failing,
            scanned.threshold
        ));
        if !scanned.findings.is_empty() {
            let row = |finding: Finding| {
                [
                    finding.id,
                    finding.severity.to_string(),
                    format!("{} {}", finding.source, finding.version),
                    finding.fixed.unwrap_or_else(|| "-".into()),
                    finding.packages.join(" "),
                ]
            };
            ui::out(&ui::table(
                ["id", "severity", "source", "fixed in", "packages"],
                scanned.findings.into_iter().map(row),
            ))?;
        }
        Ok(code)
    }

    fn scan(&self, image: &ArchivedImage) -> Result<Scanned, Report> {
        let installed = Installed::read(&image.files);
        let release = self.release.clone().or_else(|| installed.release.clone());
        // an image without packages says so before it is asked for its release
        scan(&installed, &Advisories::default())?;
        let release = release.ok_or(ScanError::NoRelease)?;
        let mut advisories = Advisories::default();
        for path in &self.advisories {
            for file in files_in(path)? {
                let name = name_of(&file);
                let input = File::open(&file).map_err(|source| FileError::Read {
                    name: name.clone(),
                    source,
                })?;
                advisories.extend(Advisories::read(&name, input, &installed, &release)?);
            }
        }
        let findings = scan(&installed, &advisories)?;
        let failing = findings
            .iter()
            .filter(|finding| finding.severity >= self.threshold);
        Ok(Scanned {
            id: image.id,
            release,
            packages: installed.packages.len(),
            threshold: self.threshold,
            failing: failing.count(),
            findings,
        })
    }
}

/// Returns a file, or the `.json` files of a folder.
fn files_in(path: &Path) -> Result<Vec<PathBuf>, Report> {
    let failed = |source| FileError::Read {
        name: name_of(path),
        source,
    };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)?.take(MAX_FILES) {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|ending| ending == "json") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(FileError::NoFile(format!("{}/*.json", path.display())).into()),
        false => Ok(files),
    }
}
