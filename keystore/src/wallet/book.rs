//! The wallets of one passphrase, by name and chain, in the sealed store.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bdk_wallet::chain::Merge;
use bdk_wallet::{ChangeSet, Wallet};

use super::database::{Database, Row};
use super::descriptor::WalletDescriptor;
use super::error::WalletError;
use super::labels::Label;
use super::ledger::Ledger;
use crate::chain::Chain;
use crate::store::WalletStore;

/// Name of the sealed document.
const DOCUMENT: &str = "wallets";

/// How many addresses beyond the last one given out are watched.
pub(super) const LOOKAHEAD: u32 = 25;

/// A name for a wallet: it stands in commands, and in files that are exported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalletName(String);

impl WalletName {
    /// Returns it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WalletName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WalletName {
    type Err = WalletError;

    fn from_str(text: &str) -> Result<Self, WalletError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || text.len() > 40 || !text.chars().all(allowed) {
            return Err(WalletError::Name(text.chars().take(60).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What a new wallet is made of.
#[derive(Clone, Debug)]
pub struct NewWallet {
    /// Its name.
    pub name: WalletName,
    /// Its keys.
    pub descriptor: WalletDescriptor,
    /// Now, in seconds of the Unix epoch.
    pub created: i64,
    /// The first block that can hold a payment to it.
    pub birthday: u32,
}

/// The wallets on one chain.
#[derive(Clone, Debug)]
pub struct WalletBook {
    store: Arc<WalletStore>,
    chain: Chain,
}

impl WalletBook {
    /// Makes the book of `chain`. Nothing is read.
    pub fn new(store: &Arc<WalletStore>, chain: Chain) -> Self {
        Self {
            store: store.clone(),
            chain,
        }
    }

    /// Returns the chain.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Lists the wallets by name.
    ///
    /// # Errors
    ///
    /// [`WalletError::Store`], [`WalletError::Damaged`].
    pub fn list(&self) -> Result<Vec<NewWallet>, WalletError> {
        let rows = self.read()?.wallets(self.chain)?;
        rows.iter().map(parse).collect()
    }

    /// Adds a wallet.
    ///
    /// # Errors
    ///
    /// [`WalletError::Exists`], [`WalletError::OtherChain`], [`WalletError::Store`].
    pub fn create(&self, new: &NewWallet) -> Result<(), WalletError> {
        new.descriptor.check_chain(self.chain)?;
        self.change(|database| {
            if database.find(self.chain, new.name.as_str())?.is_some() {
                return Err(WalletError::Exists(new.name.to_string()));
            }
            let same = |row: &Row| row.descriptor == new.descriptor.to_string();
            if let Some(row) = database.wallets(self.chain)?.into_iter().find(same) {
                return Err(WalletError::Exists(row.name));
            }
            let id = database.insert(
                self.chain,
                new.name.as_str(),
                &new.descriptor,
                new.created,
                new.birthday,
            )?;
            let mut fresh = fresh(&new.descriptor, self.chain);
            let changes = fresh.take_staged().unwrap_or_default();
            Ok(database.merge(id, &changes)?)
        })
    }

    /// Removes a wallet; the device can make its keys again.
    ///
    /// # Errors
    ///
    /// [`WalletError::NotFound`], [`WalletError::Store`].
    pub fn remove(&self, name: &str) -> Result<(), WalletError> {
        self.change(|database| {
            let row = self.find(database, Some(name))?;
            Ok(database.remove(row.id)?)
        })
    }

    /// Opens a wallet; without a name the only one.
    ///
    /// # Errors
    ///
    /// [`WalletError::NotFound`], [`WalletError::NotNamed`], [`WalletError::Damaged`],
    /// [`WalletError::Store`].
    pub fn open(&self, name: Option<&str>) -> Result<Ledger, WalletError> {
        self.load(&self.read()?, name)
    }

    fn load(&self, database: &Database, name: Option<&str>) -> Result<Ledger, WalletError> {
        let row = self.find(database, name)?;
        let new = parse(&row)?;
        let changes = database.changes(row.id, &new.descriptor, self.chain)?;
        let labels = database.labels(row.id)?;
        let wallet = Wallet::load()
            .lookahead(LOOKAHEAD)
            .use_spk_cache(true)
            .check_network(self.chain.network())
            .load_wallet_no_persist(changes)
            .map_err(|error| damaged(&row.name, &error))?
            .ok_or_else(|| damaged(&row.name, &"it is empty"))?;
        Ok(Ledger::new(row.id, new, self.chain, wallet, labels))
    }

    /// Changes the newest state of a wallet while nobody else does; without a name the only one.
    ///
    /// What is given out here is given out once, however many programs ask at the same time.
    ///
    /// # Errors
    ///
    /// As [`WalletBook::open`] and [`WalletBook::save`].
    pub fn update<T>(
        &self,
        name: Option<&str>,
        change: impl FnOnce(&mut Ledger) -> T,
    ) -> Result<(Ledger, T), WalletError> {
        self.change(|database| {
            let mut ledger = self.load(database, name)?;
            let outcome = change(&mut ledger);
            let (changes, labels) = (ledger.take_changes(), ledger.take_labels());
            put(database, ledger.id(), &changes, &labels)?;
            Ok((ledger, outcome))
        })
    }

    /// Writes what changed in a wallet since it was opened.
    ///
    /// What another program has written meanwhile stays: changes are added to it.
    ///
    /// # Errors
    ///
    /// [`WalletError::NotFound`] when it was removed meanwhile, [`WalletError::Store`].
    pub fn save(&self, ledger: &mut Ledger) -> Result<(), WalletError> {
        let changes = ledger.take_changes();
        let labels = ledger.take_labels();
        if changes.is_empty() && labels.is_empty() {
            return Ok(());
        }
        self.change(|database| {
            let row = self.find(database, Some(ledger.name().as_str()))?;
            // an id is given again after a removal: the keys tell whether it is the same wallet
            if row.id != ledger.id() || row.descriptor != ledger.descriptor().to_string() {
                return Err(self.not_found(database, ledger.name().as_str()));
            }
            Ok(put(database, row.id, &changes, &labels)?)
        })
    }

    /// Forgets what is known of the chain, for a sync from the beginning.
    ///
    /// # Errors
    ///
    /// As [`WalletBook::save`].
    pub fn forget_chain(&self, name: &str) -> Result<(), WalletError> {
        self.change(|database| {
            let row = self.find(database, Some(name))?;
            Ok(database.forget_chain(row.id)?)
        })
    }

    fn read(&self) -> Result<Database, WalletError> {
        let image = self.store.read_bytes(DOCUMENT)?;
        self.database(image.as_deref().map(Vec::as_slice))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Database) -> Result<T, WalletError>,
    ) -> Result<T, WalletError> {
        self.store.update_bytes(DOCUMENT, |image| {
            let mut database = self.database(image.as_deref().map(Vec::as_slice))?;
            let outcome = change(&mut database)?;
            Ok((outcome, Some(database.image()?)))
        })
    }

    fn database(&self, image: Option<&[u8]>) -> Result<Database, WalletError> {
        let opened = Database::open(image);
        opened.map_err(|error| self.store.damaged(DOCUMENT, &error).into())
    }

    fn find(&self, database: &Database, name: Option<&str>) -> Result<Row, WalletError> {
        let mut rows = database.wallets(self.chain)?;
        match name {
            Some(name) => {
                let found = rows.iter().position(|row| row.name == name);
                let index = found.ok_or_else(|| self.not_found(database, name))?;
                Ok(rows.swap_remove(index))
            }
            None if rows.len() == 1 => Ok(rows.swap_remove(0)),
            None => Err(WalletError::NotNamed {
                chain: self.chain,
                found: rows.into_iter().map(|row| row.name).collect(),
            }),
        }
    }

    fn not_found(&self, database: &Database, name: &str) -> WalletError {
        let rows = database.wallets(self.chain).unwrap_or_default();
        let alike = |row: &Row| strsim::jaro_winkler(&row.name, name);
        let best = rows
            .into_iter()
            .max_by(|a, b| alike(a).total_cmp(&alike(b)));
        WalletError::NotFound {
            name: name.chars().take(60).collect(),
            chain: self.chain,
            nearest: best.filter(|row| alike(row) > 0.8).map(|row| row.name),
        }
    }
}

fn put(
    database: &mut Database,
    id: i64,
    changes: &ChangeSet,
    labels: &[Label],
) -> rusqlite::Result<()> {
    labels
        .iter()
        .try_for_each(|label| database.set_label(id, label))?;
    database.merge(id, changes)
}

/// Makes a wallet that knows nothing of its chain yet.
fn fresh(descriptor: &WalletDescriptor, chain: Chain) -> Wallet {
    use bdk_wallet::KeychainKind::{External, Internal};
    Wallet::create(descriptor.keychain(External), descriptor.keychain(Internal))
        .network(chain.network())
        .lookahead(LOOKAHEAD)
        .use_spk_cache(true)
        .create_wallet_no_persist()
        .expect("the descriptors of an account differ and have no private keys")
}

fn parse(row: &Row) -> Result<NewWallet, WalletError> {
    Ok(NewWallet {
        name: row.name.parse()?,
        descriptor: row
            .descriptor
            .parse()
            .map_err(|error| damaged(&row.name, &error))?,
        created: row.created,
        birthday: row.birthday,
    })
}

fn damaged(name: &str, reason: &impl fmt::Display) -> WalletError {
    WalletError::Damaged {
        name: name.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests;
