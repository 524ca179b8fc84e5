//! Opening a passphrase wallet on a device, with every check that comes before a key is used.

use bitcoin::bip32::Fingerprint;
use hkdf::Hkdf;
use sha2::Sha256;
use trezor_client::protos::{self, CipherKeyValue, GetPublicKey};
use zeroize::{Zeroize, Zeroizing};

use crate::device::{Device, DeviceError, Dialogue, EntryPlace, PassphrasePolicy};
use crate::hint::Hint;
use crate::info::DeviceInfo;
use crate::interaction::Prompt;
use crate::secret::SecretKey;
use crate::store::StoreError;

const HARDENED: u32 = 1 << 31;

/// `m/0h`: the key whose xpub names a wallet, as Trezor's own clients fetch the root fingerprint.
const ROOT_PATH: [u32; 1] = [HARDENED];

/// `m/10016h/0`, see [SLIP-0011](https://github.com/satoshilabs/slips/blob/master/slip-0011.md).
const SEALING_PATH: [u32; 2] = [10016 | HARDENED, 0];

/// Name of the value that the device enciphers; part of the key's derivation, never to change.
const SEALING_NAME: &str = "bcm sealing key";

/// Why no wallet was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnlockError {
    /// The device, or the person at it, did not go along.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Keys cannot be used in the bootloader.
    #[error("the device is in bootloader mode")]
    Bootloader,
    /// There is no seed.
    #[error("the device is not initialised")]
    Uninitialized,
    /// Recovery or backup was begun and not ended.
    #[error("the device is in the middle of a recovery or a backup")]
    UnfinishedSetup,
    /// The seed alone would open every key.
    #[error("passphrase protection is off on this device")]
    PassphraseOff,
    /// An empty passphrase was typed on the device.
    #[error("this is the standard wallet: the passphrase was empty")]
    StandardWallet,
    /// The wallet's sealed state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnlockError {
    /// Tells what keeps a device in this state from being unlocked.
    pub(crate) fn of_state(info: &DeviceInfo) -> Option<Self> {
        if info.bootloader {
            Some(Self::Bootloader)
        } else if !info.initialized {
            Some(Self::Uninitialized)
        } else if info.unfinished_setup {
            Some(Self::UnfinishedSetup)
        } else if info.passphrase_protection == Some(false) {
            Some(Self::PassphraseOff)
        } else {
            None
        }
    }
}

impl Hint for UnlockError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Device(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Bootloader => "unplug it and connect it again without touching the screen".into(),
            Self::Uninitialized => {
                "create or recover a wallet on it with Trezor Suite first".into()
            }
            Self::UnfinishedSetup => "finish that with Trezor Suite first".into(),
            Self::PassphraseOff => {
                "run `bcm device enable-passphrase` and confirm on the device".into()
            }
            Self::StandardWallet => {
                "run `unlock` again and type a passphrase; a new one opens a new wallet".into()
            }
        })
    }
}

/// What an unlock brought to light.
pub(crate) struct Wallet {
    pub(crate) info: DeviceInfo,
    pub(crate) may_be_standard: bool,
    pub(crate) root_xpub: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) sealing_key: SecretKey,
}

impl Wallet {
    pub(crate) async fn open(device: &Device) -> Result<Self, UnlockError> {
        let name = device.name().to_owned();
        device
            .locked_dialogue(Prompt::new("unlock a passphrase wallet"), move |dialogue| {
                let wallet = open(dialogue, &name);
                if wallet.is_err() {
                    dialogue.end_session();
                }
                Ok(wallet)
            })
            .await?
    }
}

fn open(dialogue: &mut Dialogue<'_>, name: &str) -> Result<Wallet, UnlockError> {
    let features = dialogue.open_session()?;
    let info = DeviceInfo::new(&features, name);
    if let Some(error) = UnlockError::of_state(&info) {
        return Err(error);
    }
    let session = features.session_id().to_vec();
    if session.is_empty() {
        return Err(DeviceError::Implausible("it gave no session id".into()).into());
    }
    dialogue.adopt_session(session.clone());

    let ask = PassphrasePolicy::Ask {
        on_device: info.passphrase_entry,
        entered: None,
    };
    let (root, policy) = dialogue.call_with(ask, &root_request());
    let root: protos::PublicKey = root?;
    let PassphrasePolicy::Ask {
        entered: Some(place),
        ..
    } = policy
    else {
        return Err(UnlockError::PassphraseOff);
    };
    // a device that its PIN had locked says more of itself now
    let features: protos::Features = dialogue.call(&protos::GetFeatures::new())?;
    let info = DeviceInfo::new(&features, name);
    if let Some(error) = UnlockError::of_state(&info) {
        return Err(error);
    }

    let emptiness = match place {
        EntryPlace::Host => Emptiness::Excluded,
        EntryPlace::Device => compare_with_standard(dialogue, &info, &root, session)?,
    };
    if emptiness == Emptiness::Standard {
        return Err(UnlockError::StandardWallet);
    }
    let sealing_key = sealing_key(dialogue)?;
    Ok(Wallet {
        info,
        may_be_standard: emptiness == Emptiness::NotComparable,
        root_xpub: root.xpub().to_owned(),
        fingerprint: Fingerprint::from(root.root_fingerprint().to_be_bytes()),
        sealing_key,
    })
}

fn root_request() -> GetPublicKey {
    let mut request = GetPublicKey::new();
    request.address_n = ROOT_PATH.to_vec();
    request.set_ecdsa_curve_name("secp256k1".into());
    request.set_show_display(false);
    request.set_coin_name("Bitcoin".into());
    request.set_script_type(protos::InputScriptType::SPENDADDRESS);
    request.set_ignore_xpub_magic(true);
    request
}

/// Whether the passphrase that was entered was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emptiness {
    Excluded,
    Standard,
    NotComparable,
}

/// Compares with the wallet of the empty passphrase, in a session of its own.
///
/// A device that takes passphrases on its own screen only does not let us compare.
fn compare_with_standard(
    dialogue: &mut Dialogue<'_>,
    info: &DeviceInfo,
    root: &protos::PublicKey,
    session: Vec<u8>,
) -> Result<Emptiness, UnlockError> {
    if info.passphrase_always_on_device {
        return Ok(Emptiness::NotComparable);
    }
    let probe = dialogue.open_session()?;
    dialogue.adopt_session(probe.session_id().to_vec());
    let (standard, _) = dialogue.call_with(PassphrasePolicy::Standard, &root_request());
    dialogue.end_session();
    dialogue.adopt_session(session);
    dialogue.select_session()?;
    let standard: protos::PublicKey = standard?;
    Ok(if standard.xpub() == root.xpub() {
        Emptiness::Standard
    } else {
        Emptiness::Excluded
    })
}

/// Has the device encipher 32 zero bytes in one silent round trip and derives the key from that.
///
/// The result depends on seed and passphrase alone, see
/// [SLIP-0011](https://github.com/satoshilabs/slips/blob/master/slip-0011.md).
fn sealing_key(dialogue: &mut Dialogue<'_>) -> Result<SecretKey, UnlockError> {
    let mut request = CipherKeyValue::new();
    request.address_n = SEALING_PATH.to_vec();
    request.set_key(SEALING_NAME.into());
    request.set_value(vec![0; 32]);
    request.set_encrypt(true);
    request.set_ask_on_encrypt(false);
    request.set_ask_on_decrypt(false);
    request.set_iv(Vec::new());
    let mut answer: protos::CipheredKeyValue = dialogue.call(&request)?;
    let enciphered = Zeroizing::new(answer.value.take().unwrap_or_default());
    if enciphered.len() != 32 || enciphered.iter().all(|byte| *byte == 0) {
        return Err(DeviceError::Implausible("it did not encipher the sealing key".into()).into());
    }
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, &enciphered)
        .expand(b"bcm sealing key v1", &mut key)
        .expect("32 bytes are a valid HKDF length");
    let secret = SecretKey::new(&mut key);
    key.zeroize();
    Ok(secret)
}
