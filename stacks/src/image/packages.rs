//! The packages inside an image, as its `dpkg` status tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An installed package of Debian.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The source package that it was built from: what advisories speak of.
    pub source: String,
    /// The version of that.
    pub source_version: String,
}

/// What is installed in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The packages, by name.
    pub packages: Vec<Package>,
    /// The distribution, as its `os-release` says: `debian`.
    pub distribution: Option<String>,
    /// The release, as its `os-release` says: `bookworm`.
    pub release: Option<String>,
    /// Another way to keep packages than `dpkg` was found, which is not read.
    pub unread: Option<&'static str>,
}

impl Installed {
    /// Reads the files that [`ArchivedImage::files`](super::ArchivedImage::files) holds.
    pub fn read(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut packages = Vec::new();
        for (path, bytes) in files {
            // `.md5sums` and the like lie beside
            let name = path.strip_prefix("var/lib/dpkg/");
            let beside = path.ends_with(".md5sums") || path.ends_with(".list");
            if name.is_some_and(|name| name.starts_with("status")) && !beside {
                let alone = path.contains("/status.d/");
                packages.extend(stanzas(&String::from_utf8_lossy(bytes), alone));
            }
        }
        packages.sort();
        packages.dedup();
        let os = files
            .get("etc/os-release")
            .filter(|bytes| !bytes.is_empty());
        let os = os.or_else(|| files.get("usr/lib/os-release"));
        let os = os.map(|bytes| String::from_utf8_lossy(bytes));
        let says = |key: &str| {
            let line = os.as_ref()?.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                (name == key).then(|| value.trim_matches('"').to_owned())
            })?;
            let word = line
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            (word && !line.is_empty()).then_some(line)
        };
        Self {
            packages,
            distribution: says("ID"),
            release: says("VERSION_CODENAME"),
            unread: files.contains_key("lib/apk/db/installed").then_some("apk"),
        }
    }

    /// Finds the version of a package.
    pub fn version_of(&self, name: &str) -> Option<&str> {
        let mut packages = self.packages.iter();
        let found = packages.find(|package| package.name == name)?;
        Some(&found.version)
    }
}

/// Reads the paragraphs of a status file; `alone` is one that lies in a file of its own and has no status.
fn stanzas(text: &str, alone: bool) -> Vec<Package> {
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let installed = field("Status").map_or(alone, |status| status.ends_with(" installed"));
        let (Some(name), Some(version), true) = (field("Package"), field("Version"), installed)
        else {
            continue;
        };
        // `Source: name` or `Source: name (version)`
        let (source, source_version) = match field("Source").map(|source| source.split_once(' ')) {
            Some(Some((source, version))) => (source, version.trim_matches(['(', ')', ' '])),
            Some(None) => (field("Source").unwrap_or(name), version),
            None => (name, version),
        };
        found.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            source: source.to_owned(),
            source_version: source_version.to_owned(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_known_by_its_source() {
        let status = "Package: libssl3\nStatus: install ok installed\nSource: openssl (3.0.1-1)\n\
                      Version: 3.0.1-1+b1\nDescription: x\n Package: no\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: tor\nStatus: install ok installed\nVersion: 0.4\n";
        let files = BTreeMap::from([
            ("var/lib/dpkg/status".to_owned(), status.as_bytes().to_vec()),
            (
                "var/lib/dpkg/status.d/a".to_owned(),
                b"Package: a\nVersion: 2\nSource: b\n".to_vec(),
            ),
            (
                "var/lib/dpkg/status.d/a.md5sums".to_owned(),
                b"Package: z\nVersion: 2\n".to_vec(),
            ),
            (
                "etc/os-release".to_owned(),
                b"ID=debian\nVERSION_CODENAME=\"bookworm\"\n".to_vec(),
            ),
        ]);
        let installed = Installed::read(&files);
        let told: Vec<_> = installed
            .packages
            .iter()
            .map(|p| {
                (
                    p.name.as_str(),
                    p.source.as_str(),
                    p.source_version.as_str(),
                )
            })
            .collect();
        let expected = [
            ("a", "b", "2"),
            ("libssl3", "openssl", "3.0.1-1"),
            ("tor", "tor", "0.4"),
        ];
        assert_eq!(told, expected);
        assert_eq!(installed.distribution.as_deref(), Some("debian"));
        assert_eq!(installed.release.as_deref(), Some("bookworm"));
        assert_eq!(installed.version_of("tor"), Some("0.4"));
    }
}
