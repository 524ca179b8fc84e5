#![doc = include_str!("../README.md")]

pub mod chain;
pub mod device;
pub mod hint;
pub mod identity;
pub mod interaction;
pub mod path;
pub mod secret;
#[cfg(feature = "simulator")]
pub mod simulator;

pub use chain::Chain;
pub use device::{Device, DeviceError};
pub use hint::Hint;
pub use identity::{Curve, IdentityUri};
pub use interaction::{Interaction, Prompt};
