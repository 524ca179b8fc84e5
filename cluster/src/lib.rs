#![doc = include_str!("../README.md")]

pub mod command;
pub mod connection;
pub mod docker;
pub mod host;
pub mod host_key;
pub mod scan;
#[cfg(test)]
mod sshd;
mod unix_http;

pub use command::RemoteCommand;
pub use connection::{ClientEnv, Connection, ConnectionError};
pub use docker::{Engine, EngineError};
pub use host::{Destination, HostKind, OnionError};
pub use host_key::{
    FirstContact, HostKey, HostKeyError, HostKeyFingerprint, KnownHosts, PinnedHost,
};
pub use scan::{ScanError, scan};
