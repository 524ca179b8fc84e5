//! Advisories out of files of any length: only those of the packages that are asked for are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{ScanError, Severity, parse};
use crate::image::Installed;

/// The advisories about some source packages.
#[derive(Clone, Debug, Default)]
pub struct Advisories {
    by_source: BTreeMap<String, Vec<Advisory>>,
}

/// One advisory about one source package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advisory {
    pub(super) id: String,
    pub(super) severity: Severity,
    /// From which version to before which: open where nothing closes it.
    ranges: Vec<(Option<String>, Option<String>)>,
}

impl Advisory {
    /// Tells whether it is about this version; one that cannot be compared is taken for concerned.
    pub(super) fn concerns(&self, version: &str) -> bool {
        let Some(version) = parse(version) else {
            return true;
        };
        self.ranges.iter().any(|(introduced, fixed)| {
            let from = introduced.as_deref().and_then(parse);
            let to = fixed.as_deref().and_then(parse);
            let begun = from.is_none_or(|from| version >= from);
            begun && to.is_none_or(|to| version < to)
        })
    }

    /// Returns the version that closes it.
    pub(super) fn fixed(&self) -> Option<&str> {
        let mut ranges = self.ranges.iter().rev();
        ranges.find_map(|(_, fixed)| fixed.as_deref())
    }
}

/// What advisories are asked for.
struct Wanted<'a> {
    sources: BTreeSet<&'a str>,
    release: &'a str,
}

impl Advisories {
    /// Reads the advisories about what is installed, of this release of Debian (`bookworm`), from a file in either
    /// format: the tracker's JSON, one record of OSV, a list of them, or one in each line.
    ///
    /// # Errors
    ///
    /// [`ScanError::Malformed`].
    pub fn read(
        name: &str,
        input: impl Read,
        installed: &Installed,
        release: &str,
    ) -> Result<Self, ScanError> {
        let wanted = Wanted {
            sources: installed
                .packages
                .iter()
                .map(|package| package.source.as_str())
                .collect(),
            release,
        };
        let mut found = Self::default();
        let mut documents = serde_json::Deserializer::from_reader(std::io::BufReader::new(input));
        let malformed = |error: serde_json::Error| match error.io_error_kind() {
            Some(kind) => ScanError::Read {
                name: name.to_owned(),
                source: kind.into(),
            },
            None => ScanError::Malformed {
                name: name.to_owned(),
                flaw: error.to_string(),
            },
        };
        let mut any = false;
        loop {
            match (DocumentSeed {
                wanted: &wanted,
                found: &mut found,
            })
            .deserialize(&mut documents)
            {
                Ok(()) => any = true,
                Err(error) if error.is_eof() && any && documents.end().is_ok() => break,
                Err(error) => return Err(malformed(error)),
            }
            if documents.end().is_ok() {
                break;
            }
        }
        Ok(found)
    }

    /// Adds what another file says.
    pub fn extend(&mut self, other: Self) {
        for (source, advisories) in other.by_source {
            self.by_source.entry(source).or_default().extend(advisories);
        }
    }

    /// Returns those about a source package.
    pub(super) fn of(&self, source: &str) -> &[Advisory] {
        self.by_source.get(source).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, source: &str, advisory: Advisory) {
        let known = self.by_source.entry(source.to_owned()).or_default();
        if !known.contains(&advisory) {
            known.push(advisory);
        }
    }
}

/// What the tracker says of one hole in one source package.
#[derive(Deserialize)]
struct TrackerHole {
    #[serde(default)]
    releases: BTreeMap<String, TrackerRelease>,
}

#[derive(Deserialize)]
struct TrackerRelease {
    status: String,
    #[serde(default)]
    urgency: String,
    fixed_version: Option<String>,
}

/// A record of OSV.
#[derive(Deserialize)]
struct Osv {
    id: String,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    affected: Vec<OsvAffected>,
    #[serde(default)]
    database_specific: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct OsvAffected {
    package: Option<OsvPackage>,
    #[serde(default)]
    ranges: Vec<OsvRange>,
    #[serde(default)]
    ecosystem_specific: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct OsvPackage {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct OsvRange {
    #[serde(default)]
    events: Vec<BTreeMap<String, serde_json::Value>>,
}

/// The number of a release, as OSV has it.
fn number(release: &str) -> Option<&'static str> {
    Some(match release {
        "bullseye" => "11",
        "bookworm" => "12",
        "trixie" => "13",
        "forky" => "14",
        _ => return None,
    })
}

impl Osv {
    fn add_to(self, found: &mut Advisories, wanted: &Wanted<'_>) {
        if self.withdrawn.is_some() {
            return;
        }
        let cve = self
            .aliases
            .into_iter()
            .find(|alias| alias.starts_with("CVE-"));
        let id = cve.unwrap_or(self.id);
        let severity_in = |value: &Option<serde_json::Value>| {
            let value = value.as_ref()?;
            let word = ["severity", "urgency"]
                .iter()
                .find_map(|key| value.get(*key)?.as_str());
            word.map(Severity::read)
        };
        for affected in self.affected {
            let Some(package) = affected.package else {
                continue;
            };
            let (system, version) = package
                .ecosystem
                .split_once(':')
                .unwrap_or((&package.ecosystem, ""));
            let of_release = version == wanted.release || Some(version) == number(wanted.release);
            let all = version.is_empty();
            if system != "Debian"
                || !(of_release || all)
                || !wanted.sources.contains(package.name.as_str())
            {
                continue;
            }
            let severity = severity_in(&affected.ecosystem_specific)
                .or_else(|| severity_in(&self.database_specific))
                .unwrap_or(Severity::Unknown);
            let mut ranges = Vec::new();
            for range in affected.ranges {
                let mut introduced = None;
                let mut open = false;
                for event in range.events {
                    for (kind, version) in event {
                        let version = version.as_str().unwrap_or_default().to_owned();
                        match kind.as_str() {
                            "introduced" => {
                                introduced = (version != "0").then_some(version);
                                open = true;
                            }
                            "fixed" if open => {
                                ranges.push((introduced.take(), Some(version)));
                                open = false;
                            }
                            _ => {}
                        }
                    }
                }
                if open {
                    ranges.push((introduced, None));
                }
            }
            found.add(
                &package.name,
                Advisory {
                    id: id.clone(),
                    severity,
                    ranges,
                },
            );
        }
    }
}

/// One document of a file.
struct DocumentSeed<'a, 'w> {
    wanted: &'a Wanted<'w>,
    found: &'a mut Advisories,
}

impl<'de> DeserializeSeed<'de> for DocumentSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DocumentSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list of objects")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(record) = seq.next_element::<Osv>()? {
            record.add_to(self.found, self.wanted);
        }
        Ok(())
    }

    /// A record of OSV has an `id` that is a text; in the tracker's file every value is an object.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut record = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "vulns" {
                for record in map.next_value::<Vec<Osv>>()? {
                    record.add_to(self.found, self.wanted);
                }
            } else if self.wanted.sources.contains(key.as_str()) {
                let holes: BTreeMap<String, TrackerHole> = map.next_value()?;
                for (id, hole) in holes {
                    add_hole(self.found, self.wanted, &key, id, hole);
                }
            } else if OSV_FIELDS.contains(&key.as_str()) {
                record.insert(key, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if !record.is_empty() {
            let record: Osv =
                serde_json::from_value(record.into()).map_err(serde::de::Error::custom)?;
            record.add_to(self.found, self.wanted);
        }
        Ok(())
    }
}

/// The fields of a record of OSV that are read; none is the name of a source package of Debian.
const OSV_FIELDS: [&str; 5] = [
    "affected",
    "aliases",
    "database_specific",
    "id",
    "withdrawn",
];

fn add_hole(
    found: &mut Advisories,
    wanted: &Wanted<'_>,
    source: &str,
    id: String,
    hole: TrackerHole,
) {
    let Some(release) = hole.releases.get(wanted.release) else {
        return;
    };
    let fixed = match (release.status.as_str(), release.fixed_version.as_deref()) {
        // version 0: this release never had it
        ("resolved", Some("0")) => return,
        ("resolved", fixed) => fixed.map(str::to_owned),
        ("undetermined", _) => return,
        _ => None,
    };
    let advisory = Advisory {
        id,
        severity: Severity::read(&release.urgency),
        ranges: vec![(None, fixed)],
    };
    found.add(source, advisory);
}
