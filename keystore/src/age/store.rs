//! The age keys that a wallet has made, sealed on disk.

use serde::{Deserialize, Serialize};

use super::key::DeviceKey;
use super::name::AgeName;
use crate::hint::Hint;
use crate::store::{StoreError, WalletStore};

/// Name of the sealed document.
const DOCUMENT: &str = "age";

/// The age store of a wallet.
#[derive(Debug)]
pub struct AgeStore<'a> {
    store: &'a WalletStore,
    document: Document,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    keys: Vec<DeviceKey>,
    /// Recipients of others that the person accepted for what bcm encrypts by itself.
    #[serde(default)]
    accepted: Vec<String>,
}

impl<'a> AgeStore<'a> {
    /// Reads the age store of a wallet; a wallet without one has an empty one.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn open(store: &'a WalletStore) -> Result<Self, StoreError> {
        let document = store.read(DOCUMENT)?.unwrap_or_default();
        Ok(Self { store, document })
    }

    /// Returns the keys, oldest first.
    pub fn keys(&self) -> &[DeviceKey] {
        &self.document.keys
    }

    /// Finds a key.
    pub fn get(&self, name: &AgeName) -> Option<&DeviceKey> {
        self.document.keys.iter().find(|key| key.name() == name)
    }

    /// Returns the recipients of others that the person accepted.
    pub fn accepted(&self) -> &[String] {
        &self.document.accepted
    }

    /// Accepts recipients of others: lists of them lie on disk where any program can write.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn accept(
        &mut self,
        recipients: impl IntoIterator<Item = String>,
    ) -> Result<(), AgeStoreError> {
        self.change(|document| {
            for recipient in recipients {
                if !document.accepted.contains(&recipient) {
                    document.accepted.push(recipient);
                }
            }
            Ok(())
        })
    }

    /// Accepts a recipient no longer.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn forget(&mut self, recipient: &str) -> Result<(), AgeStoreError> {
        self.change(|document| {
            document.accepted.retain(|accepted| accepted != recipient);
            Ok(())
        })
    }

    /// Adds a key; one that is there already is left as it is.
    ///
    /// # Errors
    ///
    /// [`AgeStoreError::Changed`] when the name stands for another key there, or any [`StoreError`].
    pub fn add(&mut self, key: &DeviceKey) -> Result<(), AgeStoreError> {
        match self.get(key.name()) {
            Some(old) if old == key => return Ok(()),
            _ => {}
        }
        self.change(|document| {
            match document.keys.iter().find(|old| old.name() == key.name()) {
                Some(old) if old == key => {}
                Some(old) => {
                    return Err(AgeStoreError::Changed {
                        name: key.name().to_string(),
                        stored: old.to_string(),
                        derived: key.to_string(),
                    });
                }
                None => document.keys.push(key.clone()),
            }
            Ok(())
        })
    }

    /// Forgets a key; the device can make it again.
    ///
    /// # Errors
    ///
    /// [`AgeStoreError::NotFound`], or any [`StoreError`].
    pub fn remove(&mut self, name: &AgeName) -> Result<DeviceKey, AgeStoreError> {
        self.change(|document| {
            let place = document.keys.iter().position(|key| key.name() == name);
            let place = place.ok_or_else(|| AgeStoreError::NotFound(name.to_string()))?;
            Ok(document.keys.remove(place))
        })
    }

    /// Changes what is on disk, whatever another bcm has written there since.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Document) -> Result<T, AgeStoreError>,
    ) -> Result<T, AgeStoreError> {
        let (outcome, document) = self.store.update(DOCUMENT, |document: &mut Document| {
            let outcome = change(document)?;
            Ok::<_, AgeStoreError>((outcome, document.clone()))
        })?;
        self.document = document;
        Ok(outcome)
    }
}

/// Why the age store of a wallet does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgeStoreError {
    /// The file is not to be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device now derives another key than the one that was stored under this name.
    #[error("the device derives {derived} for `age://{name}`, the age store holds {stored}")]
    Changed {
        /// Its name.
        name: String,
        /// Recipient in the store.
        stored: String,
        /// Recipient that was to be added.
        derived: String,
    },
    /// No key goes by that name.
    #[error("no age key `{0}` is stored")]
    NotFound(String),
}

impl Hint for AgeStoreError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Changed { .. } => {
                Some("this is not the wallet that made the store; nothing was changed".into())
            }
            Self::NotFound(_) => Some("`age list` shows what is stored".into()),
        }
    }
}
