//! What an instance is to be.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use bcm_keystore::Hint;
use serde_json::{Map, Value, json};

use crate::name::InstanceName;

/// What kind of instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceKind {
    /// It shares the host's kernel.
    Container,
    /// It has a kernel of its own.
    Vm,
}

/// An amount of memory or disk, as LXD writes it: `4GiB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size(String);

/// An IPv4 address with its network, and the way out of it: `10.0.0.5/24` or `10.0.0.5/24,10.0.0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticAddress {
    address: Ipv4Addr,
    prefix: u8,
    gateway: Option<Ipv4Addr>,
}

/// A text that is no size, or no address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected {expected}, found `{found}`")]
pub struct SpecError {
    expected: &'static str,
    found: String,
}

impl Hint for SpecError {
    fn hint(&self) -> Option<String> {
        None
    }
}

fn refused(expected: &'static str, found: &str) -> SpecError {
    SpecError {
        expected,
        found: crate::docker::engine::shown(found),
    }
}

impl FromStr for Size {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[digits.len()..];
        let known = ["MiB", "GiB", "TiB"].contains(&unit);
        if !known || digits.parse::<u32>().is_ok_and(|n| n == 0) || digits.parse::<u32>().is_err() {
            return Err(refused("a size such as 512MiB, 4GiB or 2TiB", text));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StaticAddress {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let read = || {
            let (network, gateway) = match text.split_once(',') {
                Some((network, gateway)) => (network, Some(gateway.parse().ok()?)),
                None => (text, None),
            };
            let (address, prefix) = network.split_once('/')?;
            let prefix = prefix
                .parse()
                .ok()
                .filter(|prefix| (1..=32).contains(prefix))?;
            Some(Self {
                address: address.parse().ok()?,
                prefix,
                gateway,
            })
        };
        read().ok_or_else(|| refused("IP/PREFIX[,GATEWAY] such as 10.0.0.5/24,10.0.0.1", text))
    }
}

/// An instance as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Its name.
    pub name: InstanceName,
    /// Its kind.
    pub kind: InstanceKind,
    /// The alias or the fingerprint of an image that the server has, with sshd in it.
    pub image: String,
    /// How many processors it may use; every one unless given.
    pub cpus: Option<u16>,
    /// How much memory.
    pub memory: Option<Size>,
    /// How much disk.
    pub disk: Option<Size>,
    /// The bridge that it is plugged to; as the server's default profile says unless given.
    pub bridge: Option<InstanceName>,
    /// Its address; that which DHCP gives it unless given.
    pub address: Option<StaticAddress>,
}

impl InstanceSpec {
    /// Returns what to ask of the server for it: with an engine inside, limits, and no privileges on the
    /// host beyond what an engine needs.
    pub fn request(&self) -> Value {
        let mut config = Map::new();
        let mut devices = Map::new();
        if self.kind == InstanceKind::Container {
            // an engine inside makes containers of its own
            config.insert("security.nesting".into(), "true".into());
            config.insert("security.syscalls.intercept.mknod".into(), "true".into());
            config.insert("security.syscalls.intercept.setxattr".into(), "true".into());
        }
        config.insert("boot.autostart".into(), "true".into());
        if let Some(cpus) = self.cpus {
            config.insert("limits.cpu".into(), cpus.to_string().into());
        }
        if let Some(memory) = &self.memory {
            config.insert("limits.memory".into(), memory.to_string().into());
        }
        if let Some(StaticAddress {
            address,
            prefix,
            gateway,
        }) = self.address
        {
            let mut lines = format!("lxc.net.0.ipv4.address={address}/{prefix}");
            if let Some(gateway) = gateway {
                lines += &format!("\nlxc.net.0.ipv4.gateway={gateway}");
            }
            config.insert("raw.lxc".into(), lines.into());
        }
        if let Some(disk) = &self.disk {
            let root = json!({
                "type": "disk", "path": "/", "pool": "default", "size": disk.to_string(),
            });
            devices.insert("root".into(), root);
        }
        if let Some(bridge) = &self.bridge {
            let nic = json!({
                "type": "nic", "nictype": "bridged", "name": "eth0", "parent": bridge.as_str(),
            });
            devices.insert("eth0".into(), nic);
        }
        let hex = |c: char| c.is_ascii_hexdigit();
        let by = if self.image.len() == 64 && self.image.chars().all(hex) {
            "fingerprint"
        } else {
            "alias"
        };
        json!({
            "name": self.name.as_str(),
            "type": match self.kind {
                InstanceKind::Container => "container",
                InstanceKind::Vm => "virtual-machine",
            },
            "source": { "type": "image", by: self.image },
            "config": config,
            "devices": devices,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_addresses_are_read_and_nothing_else() {
        assert_eq!("4GiB".parse::<Size>().unwrap().to_string(), "4GiB");
        for text in ["", "4", "GiB", "0GiB", "4GB", "-1GiB", "1.5GiB", "4GiB\n"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert!("10.0.0.5/24".parse::<StaticAddress>().is_ok());
        assert!("10.0.0.5/24,10.0.0.1".parse::<StaticAddress>().is_ok());
        for text in [
            "",
            "10.0.0.5",
            "10.0.0.5/0",
            "10.0.0.5/33",
            "x/24",
            "10.0.0.5/24,\nlxc.a=b",
        ] {
            assert!(text.parse::<StaticAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_says_what_was_asked_for() {
        let spec = InstanceSpec {
            name: "signet-1".parse().unwrap(),
            kind: InstanceKind::Container,
            image: "bare".into(),
            cpus: Some(2),
            memory: Some("4GiB".parse().unwrap()),
            disk: None,
            bridge: None,
            address: Some("10.0.0.5/24".parse().unwrap()),
        };
        let request = spec.request();
        assert_eq!(
            request["source"],
            json!({ "type": "image", "alias": "bare" })
        );
        let config = &request["config"];
        assert_eq!(config["limits.memory"], "4GiB");
        assert_eq!(config["security.nesting"], "true");
        assert_eq!(config["raw.lxc"], "lxc.net.0.ipv4.address=10.0.0.5/24");
        let vm = InstanceSpec {
            kind: InstanceKind::Vm,
            ..spec
        };
        assert_eq!(vm.request()["config"].get("security.nesting"), None);
    }
}
