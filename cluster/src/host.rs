//! Who logs in where.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bcm_keystore::Hint;
use bcm_keystore::ssh::{SshIdentity, SshIdentityError};
use serde::{Deserialize, Serialize};

/// The port of SSH.
pub const DEFAULT_PORT: u16 = 22;

/// `user@host[:port]`: a login, parsed once.
///
/// The names are those of [`SshIdentity`], whose rules keep a host from being taken for an option,
/// a pattern of `known_hosts` or a piece of shell; a login and its key are written the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination(SshIdentity);

/// What stands for a host in a [`Destination`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// A name to resolve.
    Name,
    /// An IP address.
    Address(IpAddr),
    /// An onion service, reached through Tor; its name must never be asked of a resolver
    /// ([RFC 7686](https://www.rfc-editor.org/rfc/rfc7686)).
    Onion,
}

impl Destination {
    /// Returns the login name.
    pub fn user(&self) -> &str {
        self.0.user()
    }

    /// Returns the host as programs take it: an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        let host = self.0.host();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// Returns the port, [`DEFAULT_PORT`] unless one was written.
    pub fn port(&self) -> u16 {
        self.0.port().map_or(DEFAULT_PORT, u16::from)
    }

    /// Tells what the host is.
    pub fn kind(&self) -> HostKind {
        let host = self.host();
        if let Ok(address) = host.parse() {
            return HostKind::Address(address);
        }
        let onion = host.to_ascii_lowercase();
        if onion.trim_end_matches('.').ends_with(".onion") {
            return HostKind::Onion;
        }
        HostKind::Name
    }

    /// Tells whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        match self.kind() {
            HostKind::Address(address) => address.is_loopback(),
            HostKind::Name => self.host().eq_ignore_ascii_case("localhost"),
            HostKind::Onion => false,
        }
    }

    /// Returns the name of the SSH key that belongs to this login.
    pub fn identity(&self) -> &SshIdentity {
        &self.0
    }

    /// Returns the name under which `known_hosts` has the host: `node1`, or `[node1]:2222` where
    /// the port is not 22; in lower case, as `ssh` looks it up.
    pub fn known_hosts_name(&self) -> String {
        let host = self.host().to_ascii_lowercase();
        match self.port() {
            DEFAULT_PORT => host,
            port => format!("[{host}]:{port}"),
        }
    }
}

impl FromStr for Destination {
    type Err = SshIdentityError;

    fn from_str(text: &str) -> Result<Self, SshIdentityError> {
        text.parse().map(Self)
    }
}

impl From<SshIdentity> for Destination {
    fn from(identity: SshIdentity) -> Self {
        Self(identity)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.login())
    }
}

/// An onion service that would be looked for outside Tor. Nothing was looked up.
#[derive(Debug, thiserror::Error)]
#[error("there is no way to the onion service `{host}`")]
pub struct OnionError {
    host: String,
}

impl OnionError {
    pub(crate) fn new(destination: &Destination) -> Self {
        Self {
            host: destination.host().to_owned(),
        }
    }
}

impl Hint for OnionError {
    fn hint(&self) -> Option<String> {
        Some("start Tor, and say where: `config set tor.socks=127.0.0.1:9050`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(text: &str) -> Destination {
        text.parse().unwrap()
    }

    #[test]
    fn each_program_gets_the_form_that_it_takes() {
        for (text, host, port, known) in [
            ("root@node1", "node1", 22, "node1"),
            ("root@Node1:22", "Node1", 22, "node1"),
            ("root@node1:2222", "node1", 2222, "[node1]:2222"),
            ("root@[2001:db8::1]", "2001:db8::1", 22, "2001:db8::1"),
            ("root@[::1]:2222", "::1", 2222, "[::1]:2222"),
        ] {
            let destination = destination(text);
            assert_eq!(destination.host(), host);
            assert_eq!(destination.port(), port);
            assert_eq!(destination.known_hosts_name(), known);
            assert_eq!(destination.to_string(), text);
        }
    }

    #[test]
    fn onions_and_addresses_are_told_from_names() {
        let v4 = IpAddr::from([10, 0, 0, 5]);
        for (text, kind) in [
            ("a@node1.lan", HostKind::Name),
            ("a@10.0.0.5", HostKind::Address(v4)),
            ("a@[::1]", HostKind::Address("::1".parse().unwrap())),
            ("a@abcdefghijklmnop.onion", HostKind::Onion),
            ("a@www.abc.ONION.", HostKind::Onion),
            ("a@onion", HostKind::Name),
        ] {
            assert_eq!(destination(text).kind(), kind, "{text}");
        }
        assert!(destination("a@127.0.0.1").is_loopback());
        assert!(destination("a@localhost").is_loopback());
        assert!(!destination("a@node1").is_loopback());
    }

    #[test]
    fn what_ssh_could_take_for_something_else_is_refused() {
        for text in [
            "node1",
            "-oProxyCommand=x@h",
            "a@-h",
            "a@h*",
            "a@h,g",
            "a@h g",
            "a@b@c",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
