//! Host keys: what a host offers, what its owner accepted, and the proof that they agree.

use std::fmt;
use std::str::FromStr;

use bcm_keystore::Hint;
use bcm_keystore::ssh::HostPin;
use serde::{Deserialize, Serialize};
use ssh_key::{Algorithm, Fingerprint, HashAlg, PublicKey};

use crate::host::Destination;

/// The public key of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PublicKey", into = "PublicKey")]
pub struct HostKey(PublicKey);

/// A public key of a kind that bcm does not accept for hosts.
#[derive(Debug, thiserror::Error)]
#[error("a host key is Ed25519, ECDSA or RSA")]
pub struct HostKeyKind;

impl TryFrom<PublicKey> for HostKey {
    type Error = HostKeyKind;

    fn try_from(key: PublicKey) -> Result<Self, HostKeyKind> {
        Self::new(&key).ok_or(HostKeyKind)
    }
}

impl From<HostKey> for PublicKey {
    fn from(key: HostKey) -> Self {
        key.0
    }
}

impl HostKey {
    /// Takes a public key of a kind that bcm accepts for hosts: Ed25519, ECDSA, RSA.
    pub fn new(key: &PublicKey) -> Option<Self> {
        let accepted = matches!(
            key.algorithm(),
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }
        );
        accepted.then(|| Self(key.key_data().clone().into()))
    }

    /// Returns the SHA-256 fingerprint, which a person compares.
    pub fn fingerprint(&self) -> HostKeyFingerprint {
        HostKeyFingerprint(self.0.fingerprint(HashAlg::Sha256))
    }

    /// Returns the name of the algorithm: `ssh-ed25519`.
    pub fn algorithm(&self) -> String {
        self.0.algorithm().as_str().to_owned()
    }

    /// Returns the key as it stands in a file.
    pub fn public_key(&self) -> &PublicKey {
        &self.0
    }

    /// Returns the signature algorithms that `ssh` may accept with this key.
    pub(crate) fn signature_algorithms(&self) -> String {
        match self.0.algorithm() {
            Algorithm::Rsa { .. } => "rsa-sha2-512,rsa-sha2-256".to_owned(),
            other => other.as_str().to_owned(),
        }
    }

    /// Ranks keys by how gladly bcm pins them, best first.
    fn rank(&self) -> u8 {
        match self.0.algorithm() {
            Algorithm::Ed25519 => 0,
            Algorithm::Ecdsa { .. } => 1,
            _ => 2,
        }
    }
}

/// SHA-256 fingerprint of a host key, `SHA256:…` in unpadded base64 as OpenSSH prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostKeyFingerprint(Fingerprint);

impl fmt::Display for HostKeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a SHA-256 fingerprint.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a fingerprint of the form SHA256:…")]
pub struct FingerprintError(String);

impl Hint for FingerprintError {
    fn hint(&self) -> Option<String> {
        Some("read it on the host: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`".into())
    }
}

impl FromStr for HostKeyFingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let parsed = text.parse::<Fingerprint>().ok();
        parsed
            .filter(|fingerprint| fingerprint.is_sha256() && fingerprint.to_string() == text)
            .map(Self)
            .ok_or_else(|| {
                let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
                FingerprintError(text.chars().take(80).map(printable).collect())
            })
    }
}

/// A host whose key was accepted: what [`crate::Connection`] demands. Made here only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedHost {
    destination: Destination,
    key: HostKey,
}

impl PinnedHost {
    /// Returns who logs in where.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns the accepted key.
    pub fn key(&self) -> &HostKey {
        &self.key
    }

    /// Returns the entry for the SSH store.
    pub fn pin(&self) -> HostPin {
        HostPin {
            host: self.destination.known_hosts_name(),
            key: self.key.0.clone(),
        }
    }

    /// Insists on the fingerprint that the person gave, if any.
    ///
    /// # Errors
    ///
    /// [`HostKeyError::Unexpected`] when the accepted key is another.
    pub fn expecting(self, expected: Option<HostKeyFingerprint>) -> Result<Self, HostKeyError> {
        match expected {
            Some(expected) if expected != self.key.fingerprint() => Err(HostKeyError::Unexpected {
                host: self.destination.known_hosts_name(),
                expected: Box::new(expected),
                offered: vec![self.key.fingerprint()],
            }),
            _ => Ok(self),
        }
    }

    /// Tells whether the host still offers the accepted key.
    ///
    /// # Errors
    ///
    /// [`HostKeyError::Changed`] or [`HostKeyError::NoKeys`].
    pub fn verify(&self, offered: &[HostKey]) -> Result<(), HostKeyError> {
        if offered.contains(&self.key) {
            return Ok(());
        }
        let host = self.destination.known_hosts_name();
        let same_kind = |key: &&HostKey| key.algorithm() == self.key.algorithm();
        let Some(other) = offered.iter().find(same_kind).or(offered.first()) else {
            return Err(HostKeyError::NoKeys { host });
        };
        Err(HostKeyError::Changed {
            host,
            pinned: Box::new(self.key.fingerprint()),
            offered: Box::new(other.fingerprint()),
        })
    }
}

/// What the person said about the key of a host that was never met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstContact {
    /// It is the fingerprint that the host shows on its own console.
    Accept,
    /// It is not, or the person does not know.
    Decline,
    /// There is nobody to ask.
    Nobody,
}

/// The host keys that the owner of a wallet accepted.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts(Vec<HostPin>);

impl KnownHosts {
    /// Takes the entries of the SSH store.
    pub fn new(pins: &[HostPin]) -> Self {
        Self(pins.to_vec())
    }

    /// Returns the proof that the key of `destination` was accepted before, if it was.
    ///
    /// `ssh` itself insists on that key, so that a known host need not be scanned first.
    pub fn find(&self, destination: &Destination) -> Option<PinnedHost> {
        let name = destination.known_hosts_name();
        let pin = self.0.iter().find(|pin| pin.host == name)?;
        Some(PinnedHost {
            destination: destination.clone(),
            key: HostKey::new(&pin.key)?,
        })
    }

    /// Returns the proof for a host whose key is kept with the host itself, in the sealed store.
    pub(crate) fn accepted(destination: &Destination, key: &HostKey) -> PinnedHost {
        PinnedHost {
            destination: destination.clone(),
            key: key.clone(),
        }
    }

    /// Decides about the keys that `destination` offers.
    ///
    /// A host that is known must offer the key that was accepted. Of one that is not, the key with
    /// the `expected` fingerprint is accepted, or else the best of the offered ones if the person,
    /// shown exactly that one, accepts it. Nothing is ever accepted unseen.
    ///
    /// # Errors
    ///
    /// Any [`HostKeyError`].
    pub fn pin(
        &self,
        destination: &Destination,
        offered: &[HostKey],
        expected: Option<HostKeyFingerprint>,
        ask: impl FnOnce(&HostKey) -> FirstContact,
    ) -> Result<PinnedHost, HostKeyError> {
        let host = destination.known_hosts_name();
        if let Some(known) = self.find(destination) {
            known.verify(offered)?;
            return known.expecting(expected);
        }
        let Some(best) = offered.iter().min_by_key(|key| key.rank()) else {
            return Err(HostKeyError::NoKeys { host });
        };
        let key = match expected {
            Some(expected) => offered
                .iter()
                .find(|key| key.fingerprint() == expected)
                .ok_or_else(|| HostKeyError::Unexpected {
                    host,
                    expected: Box::new(expected),
                    offered: offered.iter().map(HostKey::fingerprint).collect(),
                })?,
            None => match ask(best) {
                FirstContact::Accept => best,
                FirstContact::Decline => return Err(HostKeyError::Declined { host }),
                FirstContact::Nobody => {
                    return Err(HostKeyError::Unknown {
                        destination: destination.to_string(),
                        offered: Box::new(best.fingerprint()),
                    });
                }
            },
        };
        Ok(PinnedHost {
            destination: destination.clone(),
            key: key.clone(),
        })
    }
}

impl fmt::Display for KnownHosts {
    /// Writes the file that OpenSSH reads: one host and one key to a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for HostPin { host, key } in &self.0 {
            let key = PublicKey::from(key.key_data().clone());
            let key = key.to_openssh().map_err(|_| fmt::Error)?;
            writeln!(f, "{host} {}", key.trim_end())?;
        }
        Ok(())
    }
}

/// Why a host is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// The key differs from the accepted one: a reinstalled host, or someone in between.
    #[error("host key of `{host}` changed: pinned {pinned}, offered {offered}")]
    Changed {
        /// The host, as in `known_hosts`.
        host: String,
        /// The accepted key.
        pinned: Box<HostKeyFingerprint>,
        /// The key that it offers now.
        offered: Box<HostKeyFingerprint>,
    },
    /// The host does not have the key that was named for it.
    #[error("host key of `{host}` is not {expected}: it has {}", listed(offered))]
    Unexpected {
        /// The host, as in `known_hosts`.
        host: String,
        /// The fingerprint that was given.
        expected: Box<HostKeyFingerprint>,
        /// The keys that it has.
        offered: Vec<HostKeyFingerprint>,
    },
    /// The host was never met, and there is nobody to compare its key.
    #[error("the host of `{destination}` is not known; it offers {offered}")]
    Unknown {
        /// The login.
        destination: String,
        /// The key that would have been shown.
        offered: Box<HostKeyFingerprint>,
    },
    /// The person did not accept the key.
    #[error("the host key of `{host}` was not accepted")]
    Declined {
        /// The host, as in `known_hosts`.
        host: String,
    },
    /// The host offers no key that bcm accepts.
    #[error("`{host}` offers no Ed25519, ECDSA or RSA host key")]
    NoKeys {
        /// The host, as in `known_hosts`.
        host: String,
    },
}

impl Hint for HostKeyError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Changed { host, .. } => format!(
                "nothing was sent; if you reinstalled it, read the new key on its own console, run \
                 `ssh unpin {host}`, then connect with `--fingerprint`"
            ),
            Self::Unexpected { .. } => {
                "nothing was sent; read the fingerprint again on its own console".into()
            }
            Self::Unknown {
                destination,
                offered,
            } => format!(
                "compare it with the host's own console, then run `ssh connect {destination} --fingerprint {offered}`"
            ),
            Self::Declined { .. } => "nothing was sent, and nothing was pinned".into(),
            Self::NoKeys { .. } => "give it one: `ssh-keygen -A` on the host".into(),
        })
    }
}

fn listed(fingerprints: &[HostKeyFingerprint]) -> String {
    let texts: Vec<_> = fingerprints.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
