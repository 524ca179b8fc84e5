//! The session: no key without an unlocked device and a passphrase.
//!
//! A [`Session<Locked>`] can look at a device and unlock it. Only a [`Session<Unlocked>`] has the
//! handles that reach keys, and [`Session::unlock`] is its only maker.

use std::sync::Arc;

use trezor_client::protos;

use crate::device::{Device, DeviceError};
use crate::info::DeviceInfo;
use crate::interaction::Prompt;
use crate::store::{Home, WalletId, WalletStore};
use crate::unlock::{UnlockError, Wallet};

/// No wallet is open.
#[derive(Debug)]
pub struct Locked(());

/// A passphrase wallet is open.
#[derive(Debug)]
pub struct Unlocked {
    info: DeviceInfo,
    fingerprint: bitcoin::bip32::Fingerprint,
    seen_before: bool,
    may_be_standard: bool,
    store: Arc<WalletStore>,
}

/// A device, with a wallet open on it or not.
#[derive(Debug)]
pub struct Session<State> {
    device: Device,
    home: Home,
    state: State,
}

impl Session<Locked> {
    /// Makes a session on `device` that keeps its state in `home`. No message is sent.
    pub fn new(device: Device, home: Home) -> Self {
        Self {
            device,
            home,
            state: Locked(()),
        }
    }

    /// Asks the device what it is; disturbs no session of another program.
    ///
    /// # Errors
    ///
    /// Any [`DeviceError`].
    pub async fn inspect(&self) -> Result<DeviceInfo, DeviceError> {
        let features: protos::Features = self
            .device
            .locked_dialogue(Prompt::new("look at the device"), |dialogue| {
                dialogue.call(&protos::GetFeatures::new())
            })
            .await?;
        Ok(DeviceInfo::new(&features, self.device.name()))
    }

    /// Turns passphrases on, after the person confirmed it on the device.
    ///
    /// Returns `false` when they were on already, and nothing was asked.
    ///
    /// # Errors
    ///
    /// [`UnlockError`] where the device is in no state to be used, else what the device answered.
    pub async fn enable_passphrase(&self) -> Result<bool, UnlockError> {
        let name = self.device.name().to_owned();
        let prompt = Prompt::new("turn passphrase protection on");
        let info = self
            .device
            .locked_dialogue(prompt.clone(), move |dialogue| {
                let features = dialogue.open_session()?;
                Ok(DeviceInfo::new(&features, &name))
            })
            .await?;
        match UnlockError::of_state(&info) {
            Some(UnlockError::PassphraseOff) => {}
            Some(error) => return Err(error),
            None if info.passphrase_protection == Some(true) => return Ok(false),
            None => {}
        }
        let mut settings = protos::ApplySettings::new();
        settings.set_use_passphrase(true);
        let _: protos::Success = self
            .device
            .locked_dialogue(prompt, move |dialogue| dialogue.call(&settings))
            .await?;
        Ok(true)
    }

    /// Opens a passphrase wallet.
    ///
    /// The device asks the person for the PIN where one is set, and for the passphrase.
    ///
    /// # Errors
    ///
    /// Every rule of the unlock that the device or the person did not meet is an [`UnlockError`];
    /// the device is then left without a session of ours.
    pub async fn unlock(self) -> Result<Session<Unlocked>, UnlockError> {
        let wallet = Wallet::open(&self.device).await?;
        let opened = WalletStore::open(&self.home, &wallet.root_xpub, &wallet.sealing_key);
        let (store, seen_before) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                close(&self.device).await;
                return Err(error.into());
            }
        };
        let state = Unlocked {
            info: wallet.info,
            fingerprint: wallet.fingerprint,
            seen_before,
            may_be_standard: wallet.may_be_standard,
            store: Arc::new(store),
        };
        Ok(Session {
            device: self.device,
            home: self.home,
            state,
        })
    }
}

impl Session<Unlocked> {
    /// Returns what the device said of itself when it was unlocked.
    pub fn info(&self) -> &DeviceInfo {
        &self.state.info
    }

    /// Returns the wallet's keyed hash: says nothing to whoever lacks this computer's salt.
    pub fn wallet(&self) -> &WalletId {
        self.state.store.id()
    }

    /// Returns the BIP-32 fingerprint of the wallet's root key.
    pub fn fingerprint(&self) -> bitcoin::bip32::Fingerprint {
        self.state.fingerprint
    }

    /// Tells whether this computer has seen this wallet before.
    pub fn seen_before(&self) -> bool {
        self.state.seen_before
    }

    /// Tells whether the passphrase may have been empty: the device let nobody see or compare.
    pub fn may_be_standard(&self) -> bool {
        self.state.may_be_standard
    }

    /// Returns the sealed state of this wallet.
    pub fn store(&self) -> &Arc<WalletStore> {
        &self.state.store
    }

    /// Ends the session on the device and forgets everything that it opened.
    pub async fn lock(self) -> Session<Locked> {
        close(&self.device).await;
        Session {
            device: self.device,
            home: self.home,
            state: Locked(()),
        }
    }
}

impl<State> Session<State> {
    /// Returns the handle of the device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns where the state of this computer is kept.
    pub fn home(&self) -> &Home {
        &self.home
    }
}

/// Ends our session on the device, if it can still be reached.
async fn close(device: &Device) {
    // a lost device has no session left to end
    let _ = device
        .locked_dialogue(Prompt::new("lock"), |dialogue| {
            dialogue.end_session();
            Ok(())
        })
        .await;
}

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;
