//! age files that only the device opens.
//!
//! An [`AgeName`] is an ECDH key on the device (SLIP-17 `age://NAME`, X25519). Its public half is an
//! ordinary age recipient: any age client encrypts to it without the device. To decrypt, the device
//! computes the shared secret of an [X25519 stanza](https://c2sp.org/age#the-x25519-recipient-type);
//! what is derived from it stays in this process. Names, recipients and identity lines are those of
//! age-plugin-trezor.
//!
//! An X25519 stanza does not tell for whom it is: the device has to be asked for one after the
//! other, with a confirmation each. A file that bcm encrypts therefore has the device's stanza first.

mod error;
mod identity;
mod key;
mod name;
mod recipient;
mod store;
mod stream;

pub use ::age::{Identity, Recipient};
pub use age_core::format::{FileKey, Stanza};
pub use age_core::secrecy::ExposeSecret;

pub use error::AgeError;
pub use identity::{DeviceIdentity, unwrap};
pub use key::{DeviceKey, derive};
pub use name::{AgeName, AgeNameError, DEFAULT_NAME, MAX_AGE_NAME, PLUGIN};
pub use recipient::parse_recipient;
pub use store::{AgeStore, AgeStoreError};
pub use stream::{decrypt, encrypt};
