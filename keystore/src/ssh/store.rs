//! The SSH keys that a wallet has made and the host keys that its owner has accepted.

use serde::{Deserialize, Serialize};
use ssh_key::{Fingerprint, HashAlg, PublicKey};

use super::issued::Issued;
use super::key::SshKey;
use crate::hint::Hint;
use crate::identity::SshIdentity;
use crate::store::{StoreError, WalletStore};

/// Name of the sealed document.
const DOCUMENT: &str = "ssh";

/// A host key that the owner of the wallet has accepted, as `known_hosts` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPin {
    /// `node1.lan`, or `[node1.lan]:2222` where the port is not 22.
    pub host: String,
    /// Its key.
    pub key: PublicKey,
}

/// The SSH store of a wallet, sealed on disk.
#[derive(Debug)]
pub struct SshStore<'a> {
    store: &'a WalletStore,
    document: Document,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    keys: Vec<SshKey>,
    #[serde(default)]
    hosts: Vec<HostPin>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    issued: Vec<Issued>,
}

impl<'a> SshStore<'a> {
    /// Reads the SSH store of a wallet; a wallet without one has an empty one.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn open(store: &'a WalletStore) -> Result<Self, StoreError> {
        let document = store.read(DOCUMENT)?.unwrap_or_default();
        Ok(Self { store, document })
    }

    /// Returns the keys, oldest first.
    pub fn keys(&self) -> &[SshKey] {
        &self.document.keys
    }

    /// Returns the accepted host keys, oldest first.
    pub fn hosts(&self) -> &[HostPin] {
        &self.document.hosts
    }

    /// Finds a key by `user@host[:port]`, identity, fingerprint (or its beginning), or comment.
    ///
    /// # Errors
    ///
    /// [`SshStoreError::NotFound`] with the nearest name, [`SshStoreError::Ambiguous`].
    pub fn find(&self, name: &str) -> Result<&SshKey, SshStoreError> {
        let index = self.document.index(name)?;
        Ok(&self.document.keys[index])
    }

    /// Returns the keys for a login: those of this identity, else those of the same one with the
    /// default port written out or left out.
    pub fn for_login(&self, login: &SshIdentity) -> Vec<&SshKey> {
        self.document.for_login(login)
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`SshStoreError::Duplicate`], [`SshStoreError::Changed`], or any [`StoreError`]; nothing is
    /// changed then.
    pub fn add(&mut self, key: SshKey) -> Result<(), SshStoreError> {
        self.change(|document| document.add(key))
    }

    /// Removes the key of that name, as [`SshStore::find`] takes it, and returns it.
    ///
    /// The device can make it again: only the entry is gone.
    ///
    /// # Errors
    ///
    /// As [`SshStore::find`], or any [`StoreError`].
    pub fn remove(&mut self, name: &str) -> Result<SshKey, SshStoreError> {
        self.change(|document| {
            let index = document.index(name)?;
            Ok(document.keys.remove(index))
        })
    }

    /// Writes down the accepted host keys, in place of those of the same hosts.
    ///
    /// Deciding to accept them is the business of `bcm-cluster`.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn pin_hosts(&mut self, pins: Vec<HostPin>) -> Result<(), SshStoreError> {
        self.change(|document| {
            document
                .hosts
                .retain(|old| !pins.iter().any(|new| new.host == old.host));
            document.hosts.extend(pins);
            Ok(())
        })
    }

    /// Forgets every key of a host and tells whether there was one.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn unpin_host(&mut self, host: &str) -> Result<bool, SshStoreError> {
        self.change(|document| {
            let before = document.hosts.len();
            document.hosts.retain(|pin| pin.host != host);
            Ok(document.hosts.len() < before)
        })
    }

    /// Returns the certificates that were issued and had not ended when the last one was, oldest first.
    pub fn issued(&self) -> &[Issued] {
        &self.document.issued
    }

    /// Notes a certificate before it is used, and forgets those that have ended by `now`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn issue(&mut self, issued: Issued, now: u64) -> Result<(), SshStoreError> {
        self.change(|document| {
            document.issued.retain(|old| old.expires > now);
            document.issued.push(issued);
            Ok(())
        })
    }

    /// Marks the certificates that `wanted` tells of as revoked, and returns them.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn revoke(
        &mut self,
        wanted: impl Fn(&Issued) -> bool,
    ) -> Result<Vec<Issued>, SshStoreError> {
        self.change(|document| {
            let mut revoked = Vec::new();
            for issued in document.issued.iter_mut().filter(|issued| wanted(issued)) {
                issued.revoked = true;
                revoked.push(issued.clone());
            }
            Ok(revoked)
        })
    }

    /// Changes what is on disk, whatever another bcm has written there since.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Document) -> Result<T, SshStoreError>,
    ) -> Result<T, SshStoreError> {
        let (outcome, document) = self.store.update(DOCUMENT, |document: &mut Document| {
            let outcome = change(document)?;
            Ok::<_, SshStoreError>((outcome, document.clone()))
        })?;
        self.document = document;
        Ok(outcome)
    }
}

impl Document {
    fn add(&mut self, key: SshKey) -> Result<(), SshStoreError> {
        let same = |old: &&SshKey| old.identity() == key.identity() && old.curve() == key.curve();
        match self.keys.iter().find(same) {
            Some(old) if old.fingerprint() == key.fingerprint() => Err(SshStoreError::Duplicate(
                key.public_key().comment().to_owned(),
            )),
            Some(old) => Err(SshStoreError::Changed {
                name: key.public_key().comment().to_owned(),
                stored: Box::new(old.fingerprint()),
                derived: Box::new(key.fingerprint()),
            }),
            None => {
                self.keys.push(key);
                Ok(())
            }
        }
    }

    fn index(&self, name: &str) -> Result<usize, SshStoreError> {
        let matches = |exact: bool| -> Vec<usize> {
            let matching = self.keys.iter().enumerate();
            matching
                .filter(|(_, key)| {
                    let fingerprint = key.fingerprint().to_string();
                    let hash = fingerprint.trim_start_matches("SHA256:");
                    let login = key.identity().login();
                    let whole = [&login, &key.identity().to_string(), &fingerprint]
                        .contains(&&name.to_owned())
                        || name == key.public_key().comment()
                        || name == format!("{login}|{}", key.curve());
                    let part = name.trim_start_matches("SHA256:");
                    whole || !exact && part.len() >= 4 && hash.starts_with(part)
                })
                .map(|(index, _)| index)
                .collect()
        };
        let mut found = matches(true);
        if found.is_empty() {
            found = matches(false);
        }
        match *found {
            [index] => Ok(index),
            [] => Err(SshStoreError::NotFound {
                name: name.chars().take(80).collect(),
                nearest: self.nearest(name),
            }),
            _ => {
                let comment = |i: &usize| self.keys[*i].public_key().comment().to_owned();
                Err(SshStoreError::Ambiguous {
                    name: name.to_owned(),
                    matches: found.iter().map(comment).collect(),
                })
            }
        }
    }

    fn for_login(&self, login: &SshIdentity) -> Vec<&SshKey> {
        let of = |wanted: &dyn Fn(&SshIdentity) -> bool| -> Vec<&SshKey> {
            let keys = self.keys.iter();
            keys.filter(|key| wanted(key.identity())).collect()
        };
        let exact = of(&|identity| identity == login);
        if !exact.is_empty() {
            return exact;
        }
        let port = |identity: &SshIdentity| identity.port().map_or(22, std::num::NonZeroU16::get);
        of(&|identity| {
            identity.user() == login.user()
                && identity.host() == login.host()
                && port(identity) == port(login)
        })
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let logins = self.keys.iter().map(|key| key.identity().login());
        let close = |login: &String| strsim::jaro_winkler(login, name);
        let best = logins.max_by(|a, b| close(a).total_cmp(&close(b)))?;
        (close(&best) > 0.8).then_some(best)
    }
}

impl HostPin {
    /// Returns the SHA-256 fingerprint of the key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint(HashAlg::Sha256)
    }
}

/// Why the SSH store of a wallet does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SshStoreError {
    /// The file is not to be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is there already.
    #[error("the key `{0}` is already in the ssh store")]
    Duplicate(String),
    /// The device now derives another key than the one that was stored under this name.
    #[error("the device derives {derived} for `{name}`, the ssh store holds {stored}")]
    Changed {
        /// The comment of the key.
        name: String,
        /// Fingerprint in the store.
        stored: Box<Fingerprint>,
        /// Fingerprint that was to be added.
        derived: Box<Fingerprint>,
    },
    /// No key goes by that name.
    #[error("no SSH key `{name}`")]
    NotFound {
        /// What was looked for.
        name: String,
        /// The login that is spelled most alike.
        nearest: Option<String>,
    },
    /// Several keys go by that name.
    #[error("`{name}` names {} keys: {}", matches.len(), matches.join(", "))]
    Ambiguous {
        /// What was looked for.
        name: String,
        /// The comments of those keys.
        matches: Vec<String>,
    },
}

impl Hint for SshStoreError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Duplicate(_) => Some("show it with `ssh show`".into()),
            Self::Changed { .. } => {
                Some("this is not the wallet that made the store; nothing was changed".into())
            }
            Self::NotFound {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`?")),
            Self::NotFound { .. } => {
                Some("list the keys with `ssh list`, make one with `ssh newkey user@host`".into())
            }
            Self::Ambiguous { .. } => Some("use the fingerprint, or `user@host|curve`".into()),
        }
    }
}

#[cfg(test)]
mod tests;
