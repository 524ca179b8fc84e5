//! Where a node or a server is, and how it is reached.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use bcm_keystore::Hint;

/// Names that no public resolver answers.
const PRIVATE_ENDINGS: [&str; 5] = [".local", ".lan", ".internal", ".home.arpa", ".localhost"];

/// Where the chain is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// bitcoind's RPC, `http://HOST:PORT`.
    Node(HostPort),
    /// An Electrum server, `tcp://HOST:PORT`.
    Electrum(HostPort),
    /// A file of blocks, `file:PATH`.
    File(PathBuf),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl HostPort {
    /// Tells whether it is reached through Tor only.
    pub fn is_onion(&self) -> bool {
        self.host.ends_with(".onion")
    }

    /// Tells whether what is sent there in the clear stays in one's own network.
    fn is_private(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            Ok(IpAddr::V6(ip)) => {
                let first = ip.segments()[0];
                ip.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
            }
            Err(_) => {
                let name = bare.to_ascii_lowercase();
                !name.contains('.') || PRIVATE_ENDINGS.iter().any(|end| name.ends_with(end))
            }
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// None of the three.
    #[error(
        "`{0}` is no source of blocks, expected http://HOST:PORT, tcp://HOST:PORT or file:PATH"
    )]
    Unknown(String),
    /// It would need TLS.
    #[error("`{0}` needs TLS, which bcm has not")]
    Tls(String),
    /// It goes over the internet in the clear.
    #[error("`{0}` is on the internet: it would see, in the clear, what the wallet owns")]
    Public(String),
    /// A password in a place that others see.
    #[error("a user or a password does not belong into the address of a node")]
    Secret,
}

impl Hint for EndpointError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) => "for example http://127.0.0.1:8332".into(),
            Self::Tls(_) | Self::Public(_) => {
                "use its onion address, or an ssh tunnel: `ssh -L 50001:127.0.0.1:50001 HOST`"
                    .into()
            }
            Self::Secret => "name the cookie file: `config set wallet.cookie=PATH`".into(),
        })
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let unknown = || EndpointError::Unknown(crate::ui::printable(text));
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        if rest.contains('@') {
            return Err(EndpointError::Secret);
        }
        let place = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = place.rsplit_once(':').ok_or_else(unknown)?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(unknown)?;
        let sane = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        if host.is_empty() || !host.chars().all(sane) {
            return Err(unknown());
        }
        let place = HostPort {
            host: host.to_owned(),
            port,
        };
        let shown = || crate::ui::printable(text);
        match scheme {
            "http" | "tcp" if !place.is_onion() && !place.is_private() => {
                Err(EndpointError::Public(shown()))
            }
            "http" => Ok(Self::Node(place)),
            "tcp" => Ok(Self::Electrum(place)),
            "https" | "ssl" | "tls" => Err(EndpointError::Tls(shown())),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(place) => write!(f, "http://{place}"),
            Self::Electrum(place) => write!(f, "tcp://{place}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// How an endpoint is reached.
#[derive(Clone, Debug)]
pub struct Via {
    /// `user:password` of bitcoind's RPC is in this file.
    pub cookie: Option<PathBuf>,
    /// SOCKS port of Tor, for onions.
    pub tor: String,
    /// Told to Tor, which gives every word a circuit of its own.
    pub isolation: String,
}

impl Via {
    /// Makes the way of one run: its circuits are shared with no other.
    pub fn new(cookie: Option<PathBuf>, tor: String) -> Self {
        Self {
            cookie,
            tor,
            isolation: format!("bcm{}", rand::random::<u64>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_go_over_the_internet_in_the_clear_is_refused() {
        for sound in [
            "http://127.0.0.1:8332",
            "http://[::1]:8332",
            "tcp://192.168.1.7:50001",
            "tcp://node.lan:50001",
            "tcp://umbrel:50001",
            "http://explorerzydxu5ecjrkwceayqybizmpjjznk5izmitf2modhcusuqlid.onion:8332",
        ] {
            assert_eq!(sound.parse::<Endpoint>().unwrap().to_string(), sound);
        }
        for public in ["http://8.8.8.8:8332", "tcp://electrum.example.org:50001"] {
            let refused = public.parse::<Endpoint>().unwrap_err();
            assert!(matches!(refused, EndpointError::Public(_)), "{refused}");
        }
        for wrong in [
            "",
            "http://",
            "http://x",
            "http://x:0",
            "ftp://x:1",
            "file:",
            "http://a b:1",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
        assert!(matches!(
            "ssl://x:1".parse::<Endpoint>(),
            Err(EndpointError::Tls(_))
        ));
        let secret = "http://alice:hunter2@127.0.0.1:1"
            .parse::<Endpoint>()
            .unwrap_err();
        assert!(!secret.to_string().contains("hunter2"));
    }
}
