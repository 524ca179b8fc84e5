//! State on disk: one folder per wallet, sealed under a key that only the device can make.
//!
//! A folder is named by a keyed hash of the wallet's root xpub, and is created together with a few
//! decoys of the same look, so that neither names nor their number tell which hidden wallets there
//! are. See `threat-model/README.md` for what this hides and what it does not.

mod atomic;
mod seal;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, Mac};
use rand::{Rng, RngCore};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::hint::Hint;
use crate::secret::SecretKey;

pub use atomic::{create_private_dir, write_private};
use seal::{SealError, Sealer};

/// Bytes of the salt under which wallets are hashed.
const SALT_BYTES: usize = 32;

/// A document that nobody needs: damage to it is told of when it is read, and locks nobody out.
const DISPENSABLE: &str = "history";

/// The documents that a new wallet's folder and its decoys start with: all that bcm ever writes.
const DOCUMENTS: [&str; 8] = [
    "age",
    "clusters",
    "history",
    "pgp",
    "spending",
    "ssh",
    "statements",
    "wallets",
];

/// Where bcm keeps its state on this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// `config.toml`.
    pub config: PathBuf,
    /// Everything else.
    pub data: PathBuf,
}

impl Home {
    /// Keeps everything below one folder (`--home`, `BCM_HOME`).
    pub fn below(folder: &Path) -> Self {
        Self {
            config: folder.join("config.toml"),
            data: folder.to_owned(),
        }
    }

    fn wallets(&self) -> PathBuf {
        self.data.join("wallets")
    }
}

/// A wallet's name on this computer: HMAC-SHA-256 of its root xpub under this computer's salt.
#[derive(Clone, PartialEq, Eq)]
pub struct WalletId([u8; 16]);

impl WalletId {
    fn new(salt: &[u8], root_xpub: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes a key of any length");
        mac.update(b"bcm wallet v1\0");
        mac.update(root_xpub.as_bytes());
        let tag = mac.finalize().into_bytes();
        Self(std::array::from_fn(|i| tag[i]))
    }

    fn folder(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for WalletId {
    /// The first 8 hex digits: enough to tell one's wallets apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl fmt::Debug for WalletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalletId({self})")
    }
}

/// Why state on disk cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not one that bcm sealed.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file belongs to another wallet; it was left as it is.
    #[error("`{}` was sealed by another wallet", .0.display())]
    OtherWallet(PathBuf),
    /// A newer bcm wrote it.
    #[error("`{}` has format {version}, this bcm knows format 1", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format number.
        version: u8,
    },
}

impl StoreError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    fn sealed(path: &Path, error: SealError) -> Self {
        let path = path.to_owned();
        match error {
            SealError::OtherKey => Self::OtherWallet(path),
            SealError::Version(version) => Self::Version { path, version },
            SealError::Damaged(reason) => Self::Damaged {
                path,
                reason: reason.to_owned(),
            },
        }
    }
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => "check who owns it and whether the disk is full".into(),
            Self::Damaged { path, .. } => {
                format!(
                    "restore it from a backup, or move it away: `mv {0} {0}.bad`",
                    path.display()
                )
            }
            Self::OtherWallet(_) => {
                "nothing was changed; move it back to where it came from, or use its wallet".into()
            }
            Self::Version { .. } => "use the newer bcm that wrote it".into(),
        })
    }
}

/// The sealed state of one wallet.
#[derive(Debug)]
pub struct WalletStore {
    id: WalletId,
    folder: PathBuf,
    sealer: Sealer,
}

impl WalletStore {
    /// Opens the folder of the wallet with this root xpub, and tells whether it was there before.
    pub(crate) fn open(
        home: &Home,
        root_xpub: &str,
        sealing_key: &SecretKey,
    ) -> Result<(Self, bool), StoreError> {
        let wallets = home.wallets();
        create_private_dir(&home.data).map_err(|error| StoreError::io(&home.data, error))?;
        create_private_dir(&wallets).map_err(|error| StoreError::io(&wallets, error))?;
        let _lock = lock(&wallets)?;
        let id = WalletId::new(&salt(&wallets)?, root_xpub);
        let folder = wallets.join(id.folder());
        let seen_before = folder.is_dir();
        let store = Self {
            id,
            folder,
            sealer: Sealer::new(sealing_key),
        };
        if seen_before {
            store.check_key()?;
        } else {
            store.create(&wallets)?;
        }
        Ok((store, seen_before))
    }

    /// Returns the wallet's name on this computer.
    pub fn id(&self) -> &WalletId {
        &self.id
    }

    /// Returns the wallet's folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Reads the document `name`, `None` when nothing was ever written to it.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; the file is left as it is.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let Some(opened) = self.read_bytes(name)? else {
            return Ok(None);
        };
        serde_json::from_slice(&opened)
            .map(Some)
            .map_err(|error| self.damaged(name, &error))
    }

    /// Reads the document `name`, which is no JSON.
    pub(crate) fn read_bytes(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.document(name);
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io(&path, error)),
        };
        let opened = self
            .sealer
            .open(name, &sealed)
            .map_err(|error| StoreError::sealed(&path, error))?;
        Ok(Some(opened).filter(|opened| !opened.is_empty()))
    }

    /// Changes the document `name`, which is no JSON and which no other program can change in
    /// between; `change` returns what it becomes, or `None` where it stays as it is.
    pub(crate) fn update_bytes<R, E: From<StoreError>>(
        &self,
        name: &str,
        change: impl FnOnce(Option<Zeroizing<Vec<u8>>>) -> Result<(R, Option<Vec<u8>>), E>,
    ) -> Result<R, E> {
        let _lock = lock(&self.folder)?;
        let (outcome, new) = change(self.read_bytes(name)?)?;
        if let Some(new) = new {
            self.write_bytes(name, &Zeroizing::new(new))?;
        }
        Ok(outcome)
    }

    /// Says that a document opens, but holds what this bcm cannot read.
    pub(crate) fn damaged(&self, name: &str, reason: &impl fmt::Display) -> StoreError {
        StoreError::Damaged {
            path: self.document(name),
            reason: reason.to_string(),
        }
    }

    /// Writes the document `name` as a whole.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; the old document is then still there. A document of another wallet in
    /// its place is not overwritten.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let _lock = lock(&self.folder)?;
        self.write_locked(name, value)
    }

    /// Changes the document `name`, which no other program can change in between.
    ///
    /// # Errors
    ///
    /// What `change` refuses, or any [`StoreError`]; the old document is then still there.
    pub fn update<T, R, E>(
        &self,
        name: &str,
        change: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E>
    where
        T: Serialize + DeserializeOwned + Default,
        E: From<StoreError>,
    {
        let _lock = lock(&self.folder)?;
        let mut value = self.read(name)?.unwrap_or_default();
        let outcome = change(&mut value)?;
        self.write_locked(name, &value)?;
        Ok(outcome)
    }

    fn write_locked<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let path = self.document(name);
        let document =
            serde_json::to_vec(value).map_err(|error| StoreError::io(&path, error.into()))?;
        self.write_bytes(name, &Zeroizing::new(document))
    }

    fn write_bytes(&self, name: &str, document: &[u8]) -> Result<(), StoreError> {
        let path = self.document(name);
        match fs::read(&path) {
            Ok(there) => self
                .sealer
                .check(&there)
                .map_err(|error| StoreError::sealed(&path, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(&path, error)),
        }
        write_private(&path, &self.sealer.seal(name, document))
            .map_err(|error| StoreError::io(&path, error))?;
        self.level_times();
        Ok(())
    }

    fn document(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.sealed"))
    }

    fn check_key(&self) -> Result<(), StoreError> {
        for name in DOCUMENTS {
            let path = self.document(name);
            match fs::read(&path).map(|sealed| self.sealer.check(&sealed)) {
                Ok(Ok(())) => {}
                Ok(Err(SealError::Damaged(_))) if name == DISPENSABLE => {}
                Ok(Err(error)) => return Err(StoreError::sealed(&path, error)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(&path, error)),
            }
        }
        Ok(())
    }

    fn create(&self, wallets: &Path) -> Result<(), StoreError> {
        let decoys = rand::thread_rng().gen_range(3..=7);
        for _ in 0..decoys {
            let mut id = [0; 16];
            rand::thread_rng().fill_bytes(&mut id);
            let mut key = [0; 32];
            rand::thread_rng().fill_bytes(&mut key);
            let decoy = Self {
                id: WalletId(id),
                folder: wallets.join(hex::encode(id)),
                sealer: Sealer::new(&SecretKey::new(&mut key)),
            };
            decoy.create_folder()?;
        }
        self.create_folder()
    }

    fn create_folder(&self) -> Result<(), StoreError> {
        create_private_dir(&self.folder).map_err(|error| StoreError::io(&self.folder, error))?;
        DOCUMENTS
            .iter()
            .try_for_each(|name| self.write_bytes(name, b""))
    }

    /// Gives every wallet's files the time of this write, so that times do not tell which are used.
    fn level_times(&self) {
        let now = SystemTime::now();
        let Some(wallets) = self.folder.parent() else {
            return;
        };
        // a file whose time cannot be set is no reason to fail a write that is done
        for folder in fs::read_dir(wallets).into_iter().flatten().flatten() {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let _ = File::open(file.path()).and_then(|file| file.set_modified(now));
            }
            let _ = File::open(folder.path()).and_then(|folder| folder.set_modified(now));
        }
    }
}

/// Waits for the lock of `folder`; it is released when the file is closed.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let file = File::open(folder).map_err(|error| StoreError::io(folder, error))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|error| StoreError::io(folder, error.into()))?;
    Ok(file)
}

fn salt(wallets: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let path = wallets.join("salt");
    match fs::read(&path) {
        Ok(salt) if salt.len() == SALT_BYTES => Ok(Zeroizing::new(salt)),
        Ok(salt) => Err(StoreError::Damaged {
            path,
            reason: format!(
                "it has {} bytes where {SALT_BYTES} are expected",
                salt.len()
            ),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut salt = Zeroizing::new(vec![0; SALT_BYTES]);
            rand::thread_rng().fill_bytes(&mut salt);
            write_private(&path, &salt).map_err(|error| StoreError::io(&path, error))?;
            Ok(salt)
        }
        Err(error) => Err(StoreError::io(&path, error)),
    }
}

#[cfg(test)]
mod tests;
