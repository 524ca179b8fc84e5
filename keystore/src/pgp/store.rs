//! The certs of a wallet: its own, and those of other people that its owner has imported.

mod document;
mod error;

use std::time::SystemTime;

use sequoia_openpgp::{Cert, Fingerprint, KeyHandle};

use super::cert::OwnCert;
use super::exchange::Imported;
use super::user_id::UserId;
use super::verdict::Trust;
use crate::identity::Curve;
use crate::store::{StoreError, WalletStore};

use document::{DOCUMENT, Document};
pub use document::{OtherCert, TrustMark};
pub use error::PgpStoreError;

/// The certs that one wallet knows, as they were when it was read.
#[derive(Clone, Debug, Default)]
pub struct PgpStore {
    document: Document,
}

/// A cert of the store.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Of this wallet.
    Own(&'a OwnCert),
    /// Of somebody else.
    Other(&'a OtherCert),
}

/// What an import did to a cert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not known.
    New,
    /// Something in it was not known.
    Updated,
    /// Nothing in it was new.
    Unchanged,
    /// It is revoked from now on.
    Revoked,
}

impl<'a> Entry<'a> {
    /// Returns the cert.
    pub fn cert(self) -> &'a Cert {
        match self {
            Self::Own(own) => own.cert(),
            Self::Other(other) => &other.cert,
        }
    }

    /// Returns what the person thinks of it.
    pub fn trust(self) -> Trust {
        match self {
            Self::Own(_) => Trust::Own,
            Self::Other(other) if other.mark.is_some() => Trust::Trusted,
            Self::Other(_) => Trust::Unmarked,
        }
    }

    /// Returns the mark that the person made.
    pub fn mark(self) -> Option<&'a TrustMark> {
        match self {
            Self::Own(_) => None,
            Self::Other(other) => other.mark.as_ref(),
        }
    }
}

impl PgpStore {
    /// Reads the certs of a wallet; a wallet without any has an empty store.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn open(wallet: &WalletStore) -> Result<Self, StoreError> {
        let document = wallet.read(DOCUMENT)?.unwrap_or_default();
        Ok(Self { document })
    }

    /// Makes a store that knows one cert, marked by nobody.
    pub(super) fn of(cert: Cert) -> Self {
        let mut store = Self::default();
        store.document.others.push(OtherCert { cert, mark: None });
        store
    }

    /// Makes a store of certs that came with something to be verified; no wallet knows them, nobody marked them.
    pub fn of_strangers(certs: impl IntoIterator<Item = Cert>) -> Self {
        let mut store = Self::default();
        let others = certs.into_iter().map(|cert| OtherCert { cert, mark: None });
        store.document.others.extend(others);
        store
    }

    /// Returns the certs of this wallet, oldest first.
    pub fn own(&self) -> &[OwnCert] {
        &self.document.own
    }

    /// Returns the certs of other people, oldest first.
    pub fn others(&self) -> &[OtherCert] {
        &self.document.others
    }

    /// Returns every cert, those of this wallet first.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.document.entries()
    }

    /// Returns the certs that a signature or a message may mean.
    pub fn by_handles(&self, handles: &[KeyHandle]) -> Vec<Cert> {
        let named = |cert: &&Cert| {
            cert.keys().any(|key| {
                let key = key.key().key_handle();
                handles.iter().any(|handle| handle.aliases(&key))
            })
        };
        self.entries()
            .map(Entry::cert)
            .filter(named)
            .cloned()
            .collect()
    }

    /// Returns what the person thinks of the key with this primary fingerprint.
    pub fn trust_of(&self, primary: &Fingerprint) -> Trust {
        let entry = self
            .entries()
            .find(|entry| entry.cert().fingerprint() == *primary);
        entry.map_or(Trust::Unmarked, Entry::trust)
    }

    /// Returns the mark on the cert with this primary fingerprint.
    pub fn mark_of(&self, primary: &Fingerprint) -> Option<&TrustMark> {
        let entry = self
            .entries()
            .find(|entry| entry.cert().fingerprint() == *primary);
        entry.and_then(Entry::mark)
    }

    /// Finds a cert by fingerprint, key ID, user ID, mail address or a part of a user ID.
    ///
    /// # Errors
    ///
    /// [`PgpStoreError::NotFound`] with the nearest name, [`PgpStoreError::Ambiguous`].
    pub fn find(&self, name: &str) -> Result<Entry<'_>, PgpStoreError> {
        self.document.find(name)
    }

    /// Returns the cert of this wallet that signs: the named one, the default, or the only one.
    ///
    /// # Errors
    ///
    /// As [`PgpStore::find`]; [`PgpStoreError::NotOwn`], [`PgpStoreError::NoCert`],
    /// [`PgpStoreError::NoDefault`].
    pub fn signer(&self, name: Option<&str>) -> Result<&OwnCert, PgpStoreError> {
        self.document.signer(name)
    }

    /// Returns the fingerprint of the default cert, if there is one.
    pub fn default_cert(&self) -> Option<Fingerprint> {
        self.signer(None).ok().map(OwnCert::fingerprint)
    }

    /// Checks that there is no cert yet whose keys the device keeps under this name.
    ///
    /// # Errors
    ///
    /// [`PgpStoreError::Duplicate`].
    pub fn check_new(&self, user_id: &UserId, curve: Curve) -> Result<(), PgpStoreError> {
        self.document.check_new(user_id, curve)
    }

    /// Adds a cert of this wallet.
    ///
    /// # Errors
    ///
    /// [`PgpStoreError::Duplicate`] when the device keeps another cert's keys under that name.
    pub fn add_own(&mut self, wallet: &WalletStore, own: OwnCert) -> Result<(), PgpStoreError> {
        self.change(wallet, |document| document.add_own(own))
    }

    /// Adds packets that were made for a cert of this wallet to what is on disk now.
    ///
    /// # Errors
    ///
    /// [`PgpStoreError::NotOwn`] when it was removed, or any [`StoreError`].
    pub fn update_own(&mut self, wallet: &WalletStore, own: &OwnCert) -> Result<(), PgpStoreError> {
        self.change(wallet, |document| document.update_own(own))
    }

    /// Adds what a file says of certs, all of it or nothing, and returns which they are.
    ///
    /// A cert of this wallet gets what others wrote about it, or its revocation. Names and trust of
    /// no cert change.
    ///
    /// # Errors
    ///
    /// [`PgpStoreError::Secret`], [`PgpStoreError::TooLarge`], [`PgpStoreError::Revocation`], or
    /// any [`StoreError`].
    pub fn import(
        &mut self,
        wallet: &WalletStore,
        found: Vec<Imported>,
    ) -> Result<Vec<(Fingerprint, Change)>, PgpStoreError> {
        self.change(wallet, |document| {
            let changes = found.into_iter().map(|found| match found {
                Imported::Cert(cert) => Ok((cert.fingerprint(), document.import(*cert)?)),
                Imported::Revocation(revocation) => {
                    let revoked = document.import_revocation(*revocation)?;
                    Ok((revoked, Change::Revoked))
                }
            });
            changes.collect()
        })
    }

    /// Marks a cert as that of whom it names, after the person compared `fingerprint`.
    ///
    /// # Errors
    ///
    /// As [`PgpStore::find`]; [`PgpStoreError::OtherFingerprint`], [`PgpStoreError::Own`].
    pub fn trust(
        &mut self,
        wallet: &WalletStore,
        name: &str,
        fingerprint: &str,
        now: SystemTime,
    ) -> Result<TrustMark, PgpStoreError> {
        self.change(wallet, |document| document.trust(name, fingerprint, now))
    }

    /// Takes the mark away and tells whether there was one.
    ///
    /// # Errors
    ///
    /// As [`PgpStore::find`]; [`PgpStoreError::Own`].
    pub fn distrust(&mut self, wallet: &WalletStore, name: &str) -> Result<bool, PgpStoreError> {
        self.change(wallet, |document| document.distrust(name))
    }

    /// Makes a cert of this wallet the default.
    ///
    /// # Errors
    ///
    /// As [`PgpStore::signer`].
    pub fn use_cert(&mut self, wallet: &WalletStore, name: &str) -> Result<(), PgpStoreError> {
        self.change(wallet, |document| {
            let fingerprint = document.signer(Some(name))?.fingerprint();
            document.default = Some(fingerprint.to_hex());
            Ok(())
        })
    }

    /// Forgets a cert. The device can make one of its own again.
    ///
    /// # Errors
    ///
    /// As [`PgpStore::find`].
    pub fn remove(&mut self, wallet: &WalletStore, name: &str) -> Result<Cert, PgpStoreError> {
        self.change(wallet, |document| document.remove(name))
    }

    /// Changes what is on disk, whatever another bcm has written there since.
    fn change<T>(
        &mut self,
        wallet: &WalletStore,
        change: impl FnOnce(&mut Document) -> Result<T, PgpStoreError>,
    ) -> Result<T, PgpStoreError> {
        let (outcome, document) = wallet.update(DOCUMENT, |document: &mut Document| {
            let outcome = change(document)?;
            Ok::<_, PgpStoreError>((outcome, document.clone()))
        })?;
        self.document = document;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests;
