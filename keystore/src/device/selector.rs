//! The `--device` flag: which way to look for a device.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Where the bridge listens unless told otherwise.
pub const DEFAULT_BRIDGE: &str = "http://127.0.0.1:21325";

/// Where an emulator listens unless told otherwise.
pub const DEFAULT_UDP: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 21324);

/// Which way to look for a device.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum DeviceSelector {
    /// USB, then the bridge, then UDP; never the simulator.
    #[default]
    Auto,
    /// WebUSB.
    Usb,
    /// A Trezor bridge at this URL.
    Bridge(String),
    /// An emulator at this address.
    Udp(SocketAddr),
    /// The simulator inside this program.
    Simulator,
}

/// A `--device` value that bcm does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown device `{0}`, expected auto, usb, bridge[:URL], udp[:HOST:PORT] or simulator")]
pub struct SelectorError(String);

impl FromStr for DeviceSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let unknown = || SelectorError(text.to_owned());
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        match (kind, rest) {
            ("auto", None) => Ok(Self::Auto),
            ("usb", None) => Ok(Self::Usb),
            ("simulator", None) => Ok(Self::Simulator),
            ("bridge", None) => Ok(Self::Bridge(DEFAULT_BRIDGE.to_owned())),
            ("bridge", Some(url)) if url.starts_with("http://") => {
                Ok(Self::Bridge(url.trim_end_matches('/').to_owned()))
            }
            ("udp", None) => Ok(Self::Udp(DEFAULT_UDP)),
            ("udp", Some(address)) => {
                let address = address.replace("localhost", "127.0.0.1");
                address.parse().map(Self::Udp).map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Usb => f.write_str("usb"),
            Self::Bridge(url) => write!(f, "bridge:{url}"),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Simulator => f.write_str("simulator"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_again() {
        for text in [
            "auto",
            "usb",
            "bridge",
            "bridge:http://10.0.0.1:99",
            "udp",
            "udp:127.0.0.1:1",
            "simulator",
        ] {
            let selector: DeviceSelector = text.parse().unwrap();
            assert_eq!(
                selector.to_string().parse::<DeviceSelector>().unwrap(),
                selector
            );
        }
    }

    #[test]
    fn other_words_are_refused_by_name() {
        for text in [
            "",
            "USB",
            "usb:1",
            "bridge:ftp://x",
            "udp:nowhere",
            "udp:127.0.0.1",
            "simulator:1",
        ] {
            let error = text.parse::<DeviceSelector>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("unknown device `{text}`")),
                "{error}"
            );
        }
    }
}
