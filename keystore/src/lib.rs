#![doc = include_str!("../README.md")]

pub mod age;
pub mod chain;
pub mod device;
pub mod hint;
pub mod identity;
pub mod info;
pub mod interaction;
pub mod password;
pub mod path;
pub mod pgp;
pub mod secret;
pub mod session;
pub mod signify;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod ssh;
pub mod statement;
pub mod store;
pub mod unlock;
pub mod wallet;

pub use chain::Chain;
pub use device::{Device, DeviceError};
pub use hint::Hint;
pub use identity::{Curve, IdentityUri};
pub use info::DeviceInfo;
pub use interaction::{Interaction, Prompt};
pub use session::{Locked, Session, Unlocked};
pub use store::{Home, WalletId, WalletStore};
pub use unlock::UnlockError;
