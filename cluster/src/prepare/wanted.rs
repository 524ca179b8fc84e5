//! What a host is to become.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bcm_keystore::Hint;
use ssh_key::PublicKey;

/// Longest name of a principal or a client.
const MAX_NAME: usize = 64;

/// What a host is to become.
#[derive(Clone, Debug)]
pub struct Wanted {
    ca: PublicKey,
    principals: BTreeSet<String>,
    /// The key revocation list of
    /// [OpenSSH](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.krl), or an empty file.
    pub revoked: Vec<u8>,
    /// Where the cluster's other hosts are: the swarm's ports are open to them.
    pub members: BTreeSet<IpAddr>,
    /// Makes sshd an onion service as well.
    pub onion: Option<OnionAccess>,
}

impl Wanted {
    /// Lets in who has a certificate of `ca` with one of `principals`, and nobody else.
    ///
    /// # Errors
    ///
    /// [`WantedError::Principal`], [`WantedError::NoPrincipal`].
    pub fn new(
        ca: PublicKey,
        principals: impl IntoIterator<Item = String>,
    ) -> Result<Self, WantedError> {
        let principals: BTreeSet<_> = principals.into_iter().collect();
        if principals.is_empty() {
            return Err(WantedError::NoPrincipal);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-@:/".contains(c);
        let bad = principals
            .iter()
            .find(|name| name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain));
        if let Some(bad) = bad {
            return Err(WantedError::Principal(bad.clone()));
        }
        Ok(Self {
            ca,
            principals,
            revoked: Vec::new(),
            members: BTreeSet::new(),
            onion: None,
        })
    }

    pub(super) fn ca_line(&self) -> String {
        // whatever the comment says, it is no part of the key
        let ca = PublicKey::new(self.ca.key_data().clone(), "");
        let line = ca.to_openssh().expect("a public key always encodes");
        format!("{}\n", line.trim_end())
    }

    pub(super) fn principal_lines(&self) -> String {
        self.principals
            .iter()
            .map(|name| format!("{name}\n"))
            .collect()
    }
}

/// Who may find the onion service of a host's sshd: clients with a key, and nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnionAccess {
    clients: BTreeMap<String, ClientKey>,
}

impl OnionAccess {
    /// Takes `NAME=KEY` for each client, its key being the 52 characters of base32 that stand behind
    /// `descriptor:x25519:` in Tor's files.
    ///
    /// # Errors
    ///
    /// [`WantedError::Client`], [`WantedError::NoClient`].
    pub fn new<'a>(clients: impl IntoIterator<Item = &'a str>) -> Result<Self, WantedError> {
        let mut all = BTreeMap::new();
        for text in clients {
            let bad = || WantedError::Client(text.to_owned());
            let (name, key) = text.split_once('=').ok_or_else(bad)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
                return Err(bad());
            }
            let key = key.parse().map_err(|()| bad())?;
            if all.insert(name.to_owned(), key).is_some() {
                return Err(bad());
            }
        }
        match all.is_empty() {
            true => Err(WantedError::NoClient),
            false => Ok(Self { clients: all }),
        }
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = (&str, &ClientKey)> {
        self.clients.iter().map(|(name, key)| (&**name, key))
    }
}

/// The public x25519 key of a client of an onion service, in base32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientKey(String);

impl FromStr for ClientKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.strip_prefix("descriptor:x25519:").unwrap_or(text);
        let base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
        match text.len() == 52 && text.bytes().all(base32) {
            true => Ok(Self(text.to_owned())),
            false => Err(()),
        }
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor:x25519:{}", self.0)
    }
}

/// Why that cannot be wanted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WantedError {
    /// There is no principal: nobody could log in.
    #[error("no principal may log in")]
    NoPrincipal,
    /// A principal's name would mean something else to sshd.
    #[error("the principal `{0}` is not 1 to {MAX_NAME} letters, digits and `._-@:/`")]
    Principal(String),
    /// An onion service without a client authorisation is open to whoever learns its name.
    #[error("the onion service has no client")]
    NoClient,
    /// A client is not written as it should be.
    #[error(
        "`{0}` is no client of an onion service, expected NAME=KEY with a key of 52 characters"
    )]
    Client(String),
}

impl Hint for WantedError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoPrincipal | Self::Principal(_) => None,
            Self::NoClient | Self::Client(_) => Some(
                "the key is what stands behind `descriptor:x25519:` in the client's public line: \
                 see CLIENT AUTHORIZATION in `man tor`"
                    .into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mean_something_else_to_a_server_is_refused() {
        let ca = || {
            PublicKey::from_openssh(
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti ca",
            )
            .unwrap()
        };
        for bad in ["", "a b", "a,b", "*", "a\nb", "#a"] {
            assert!(Wanted::new(ca(), [bad.to_owned()]).is_err(), "{bad:?}");
        }
        assert_eq!(Wanted::new(ca(), []).unwrap_err(), WantedError::NoPrincipal);
        let wanted = Wanted::new(ca(), ["bcm".to_owned()]).unwrap();
        assert!(wanted.ca_line().ends_with("XFSqti\n"));

        let key = "A".repeat(52);
        for bad in ["", "a", "a=b", &format!("../x={key}"), &format!("a={key}=")] {
            assert!(OnionAccess::new([bad]).is_err(), "{bad:?}");
        }
        assert_eq!(OnionAccess::new([]), Err(WantedError::NoClient));
        assert!(OnionAccess::new([&*format!("a={key}")]).is_ok());
        let twice = format!("a={key}");
        assert!(OnionAccess::new([&*twice, &*twice]).is_err());
    }
}
