//! What a host is.

use std::collections::{BTreeMap, BTreeSet};

use bcm_keystore::statement::Sha256Digest;
use serde::Serialize;

/// What a host is, as far as a preparation has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Its distribution.
    pub system: System,
    /// The kind of container that it is, where it is one: its kernel is then another's to govern.
    pub container: Option<String>,
    /// The packages that are there whole.
    pub packages: BTreeSet<String>,
    /// Packages are half there: a run of dpkg was cut.
    pub packages_broken: bool,
    /// Bytes that are free where packages go.
    pub free: u64,
    /// The account.
    pub user: Option<UserFacts>,
    /// The files that were asked for and are there.
    pub files: BTreeMap<String, FileFacts>,
    /// The folders that were asked for and are there, as `owner:group mode`.
    pub folders: BTreeMap<String, String>,
    /// The units that systemd knows.
    pub units: BTreeMap<String, Unit>,
    /// Where it swaps to.
    pub swaps: BTreeSet<String>,
    /// The ports of its sshd.
    pub ssh_ports: BTreeSet<u16>,
    /// The kernel holds our table.
    pub firewall: bool,
    /// The name of the onion service of its sshd.
    pub onion: Option<String>,
}

/// A distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct System {
    /// `ID` of [os-release](https://www.freedesktop.org/software/systemd/man/os-release.html).
    pub id: String,
    /// `VERSION_ID`.
    pub version: String,
    /// systemd runs it.
    pub systemd: bool,
}

impl System {
    /// Tells whether bcm knows how to prepare it: Debian from 12, Ubuntu from 22.04.
    pub fn is_supported(&self) -> bool {
        let numbers = |text: &str| -> Option<Vec<u32>> {
            text.split('.').map(|part| part.parse().ok()).collect()
        };
        let oldest = match &*self.id {
            "debian" => vec![12],
            "ubuntu" => vec![22, 4],
            _ => return false,
        };
        self.systemd && numbers(&self.version).is_some_and(|found| found >= oldest)
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserFacts {
    /// Its home.
    pub home: String,
    /// Its shell.
    pub shell: String,
    /// Its groups.
    pub groups: BTreeSet<String>,
    /// Its field of `/etc/shadow` is `*`: no password opens it, and sshd does not take it for locked.
    pub no_password: bool,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileFacts {
    /// Who owns it, `user:group`.
    pub owner: String,
    /// Its mode, four octal digits.
    pub mode: String,
    /// What it holds; `None` for what is no file of its own, such as a link.
    pub sha256: Option<Sha256Digest>,
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// What `systemctl is-enabled` says.
    pub enabled: String,
    /// What `systemctl is-active` says.
    pub active: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_foreign_systems_are_told() {
        let system = |id: &str, version: &str| System {
            id: id.into(),
            version: version.into(),
            systemd: true,
        };
        for (id, version) in [
            ("debian", "12"),
            ("debian", "13"),
            ("ubuntu", "22.04"),
            ("ubuntu", "24.04"),
            ("ubuntu", "26.04"),
        ] {
            assert!(system(id, version).is_supported(), "{id} {version}");
        }
        for (id, version) in [
            ("debian", "11"),
            ("debian", ""),
            ("debian", "12; rm"),
            ("ubuntu", "20.04"),
            ("ubuntu", "22"),
            ("fedora", "43"),
            ("", ""),
        ] {
            assert!(!system(id, version).is_supported(), "{id} {version}");
        }
        let sysv = System {
            systemd: false,
            ..system("debian", "12")
        };
        assert!(!sysv.is_supported());
    }
}
