//! Known holes of the packages in an image: what is installed, against what Debian's security tracker or OSV say.
//!
//! The advisories come from files: the tracker's own JSON, or records of [OSV](https://ossf.github.io/osv-schema/).
//! Debian speaks of source packages, and compares versions as `dpkg` does.

mod advisories;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use bcm_keystore::Hint;
use debversion::Version;
use serde::Serialize;

use super::{Installed, Package};

pub use advisories::Advisories;

/// How bad a hole is, as those say who publish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nobody has to care.
    Unimportant,
    /// Nobody has said yet. It stands below `low`, so that a threshold can leave it out.
    Unknown,
    /// A little.
    Low,
    /// Something.
    Medium,
    /// Much.
    High,
    /// Everything.
    Critical,
}

impl Severity {
    /// Every severity, the worst last.
    pub const ALL: [Self; 6] = [
        Self::Unimportant,
        Self::Unknown,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// Returns the word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unimportant => "unimportant",
            Self::Unknown => "unknown",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads what Debian and OSV write.
    fn read(text: &str) -> Self {
        let text = text.trim_end_matches('*').to_ascii_lowercase();
        match text.as_str() {
            "unimportant" | "negligible" => Self::Unimportant,
            "low" => Self::Low,
            "medium" | "moderate" => Self::Medium,
            "high" | "important" => Self::High,
            "critical" => Self::Critical,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no severity.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no severity, expected unimportant, unknown, low, medium, high or critical", .0.escape_debug())]
pub struct SeverityError(String);

impl FromStr for Severity {
    type Err = SeverityError;

    fn from_str(text: &str) -> Result<Self, SeverityError> {
        let mut all = Self::ALL.into_iter();
        all.find(|severity| severity.name() == text)
            .ok_or_else(|| SeverityError(text.chars().take(60).collect()))
    }
}

/// A hole that an installed package has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `CVE-…`, or what OSV calls it.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// The source package.
    pub source: String,
    /// The version of it that is installed.
    pub version: String,
    /// The version in which it is closed, if there is one.
    pub fixed: Option<String>,
    /// The packages of that source in the image.
    pub packages: Vec<String>,
}

/// Why advisories cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// They are not the JSON of Debian's tracker, nor records of OSV.
    #[error("`{name}` is neither the JSON of Debian's security tracker nor OSV's: {flaw}")]
    Malformed {
        /// The file.
        name: String,
        /// What is wrong.
        flaw: String,
    },
    /// The file cannot be read.
    #[error("cannot read `{name}`")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The image has packages that the advisories do not speak of.
    #[error("the image keeps its packages as `{0}` does, and only Debian's are scanned")]
    Unread(&'static str),
    /// The image has no list of packages.
    #[error("the image has no list of packages: nothing can be said of it")]
    NoPackages,
    /// The image does not say which release of Debian it is.
    #[error("the image does not say which release of Debian it is")]
    NoRelease,
}

impl Hint for ScanError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Malformed { .. } => "get the file anew; it may have been cut".into(),
            Self::Read { .. } => "check who owns it".into(),
            Self::NoRelease => "name it with `--release`, for example `--release bookworm`".into(),
            _ => "build the image with `image build`, which lists its packages".into(),
        })
    }
}

/// Finds the holes of what is installed, the worst first; `release` is the one that advisories are asked for.
///
/// # Errors
///
/// [`ScanError::Unread`], [`ScanError::NoPackages`]: silence would look like safety.
pub fn scan(installed: &Installed, advisories: &Advisories) -> Result<Vec<Finding>, ScanError> {
    if let (Some(kind), true) = (installed.unread, installed.packages.is_empty()) {
        return Err(ScanError::Unread(kind));
    }
    if installed.packages.is_empty() {
        return Err(ScanError::NoPackages);
    }
    let mut findings: Vec<Finding> = Vec::new();
    for package in &installed.packages {
        for advisory in advisories.of(&package.source) {
            if !advisory.concerns(&package.source_version) {
                continue;
            }
            let same = findings.iter_mut().find(|finding| {
                finding.id == advisory.id
                    && finding.source == package.source
                    && finding.version == package.source_version
            });
            match same {
                Some(finding) => {
                    if !finding.packages.contains(&package.name) {
                        finding.packages.push(package.name.clone());
                    }
                }
                None => findings.push(finding(advisory, package)),
            }
        }
    }
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (std::cmp::Reverse(finding.severity), finding.source.clone());
        key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
    });
    Ok(findings)
}

fn finding(advisory: &advisories::Advisory, package: &Package) -> Finding {
    Finding {
        id: advisory.id.clone(),
        severity: advisory.severity,
        source: package.source.clone(),
        version: package.source_version.clone(),
        fixed: advisory.fixed().map(str::to_owned),
        packages: vec![package.name.clone()],
    }
}

/// Reads a version; one that cannot be read is compared with nothing.
fn parse(version: &str) -> Option<Version> {
    version.parse().ok()
}
