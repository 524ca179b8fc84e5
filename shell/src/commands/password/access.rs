//! The store of the open wallet, and the device that opens what is in it.

use std::sync::Arc;

use bcm_keystore::age::{AgeName, AgeStore, DeviceIdentity, DeviceKey, Recipient, derive};
use bcm_keystore::password::{Entry, PasswordError, PasswordName, PasswordStore};
use bcm_keystore::{Device, WalletStore};

use crate::app::App;
use crate::config::Config;
use crate::report::Report;
use crate::session::{Cancelled, Open, blocking};
use crate::ui::{self, Style};

/// Returns the store: where the configuration says, else in the folder of the wallet.
pub fn store(config: &Config, open: &Open) -> PasswordStore {
    let own = || open.session.store().path().join("passwords");
    PasswordStore::new(config.passwords().unwrap_or_else(own))
}

/// The passwords of an open wallet.
#[derive(Clone, Debug)]
pub struct Access {
    store: PasswordStore,
    /// It lies among the wallet folders, where it gives this one away.
    among_wallets: bool,
    device: Device,
    key: DeviceKey,
    wallet: Arc<WalletStore>,
}

impl Access {
    /// Runs `work` on the passwords of the open wallet.
    pub fn with<T>(
        app: &mut App,
        work: impl AsyncFnOnce(&Self) -> Result<T, Report>,
    ) -> Result<T, Report> {
        let config = app.config()?;
        let keeper = app.keeper.clone();
        app.runtime().block_on(keeper.with_open(async |open| {
            let access = Self::of(open, &config).await?;
            work(&access).await
        }))
    }

    async fn of(open: &Open, config: &Config) -> Result<Self, Report> {
        let device = open.session.device().clone();
        let name = AgeName::default();
        let mut keys = AgeStore::open(open.session.store())?;
        let key = match keys.get(&name) {
            Some(key) => key.clone(),
            None => {
                let key = derive(&device, &name).await?;
                keys.add(&key)?;
                key
            }
        };
        Ok(Self {
            store: store(config, open),
            among_wallets: config.passwords().is_none(),
            device,
            key,
            wallet: open.session.store().clone(),
        })
    }

    /// Returns the store.
    pub fn store(&self) -> &PasswordStore {
        &self.store
    }

    /// Returns the device's recipient.
    pub fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// Returns the age store of the wallet, which knows whom else the person accepted.
    pub fn keys(&self) -> Result<AgeStore<'_>, Report> {
        Ok(AgeStore::open(&self.wallet)?)
    }

    /// Returns whom `name` is encrypted to; refuses whom the person did not accept.
    pub fn recipients(
        &self,
        name: &PasswordName,
    ) -> Result<Vec<Box<dyn Recipient + Send>>, Report> {
        let keys = self.keys()?;
        Ok(self
            .store
            .recipients_for(name, &self.key, keys.accepted())?)
    }

    /// Decrypts a password: one confirmation on the device.
    pub async fn read(&self, name: &PasswordName) -> Result<Entry, Report> {
        let (access, name) = (self.clone(), name.clone());
        blocking(Some(self.device.clone()), move |cancelled: &Cancelled| {
            // who gave up before this began is not asked by the device
            cancelled.check().map_err(PasswordError::Input)?;
            let purpose = format!("decrypt the password {name}");
            let identity = DeviceIdentity::new(access.device, access.key).with_purpose(purpose);
            Ok(access.store.read(&name, vec![Box::new(identity)])?)
        })
        .await
    }

    /// Encrypts a password: nothing is confirmed.
    pub async fn write(
        &self,
        name: &PasswordName,
        entry: &Entry,
        replace: bool,
    ) -> Result<(), Report> {
        if self.store.begin(&self.key)? && self.among_wallets {
            ui::say(&format!(
                "{} whoever reads this disk sees the names of the passwords, and by them that this \
                 wallet is no decoy; another place is `config set passwords.path=DIR`",
                ui::paint_stderr(Style::Attention, "note:")
            ));
        }
        let recipients = self.recipients(name)?;
        Ok(self.store.write(name, entry, recipients, replace)?)
    }
}
