//! The device: one thread owns it, everyone else holds a [`Device`] handle.

pub mod codec;
mod selector;
mod transport;

pub use selector::{DEFAULT_BRIDGE, DEFAULT_UDP, DeviceSelector, SelectorError};
pub use transport::{MAX_PAYLOAD, Message, Transport, TransportError};

/// x
#[derive(Debug)]
pub struct Device;
/// x
#[derive(Debug)]
pub struct DeviceError;
