#![doc = include_str!("../README.md")]

pub mod client;
pub mod cluster;
pub mod command;
pub mod connection;
pub mod connections;
pub mod docker;
pub mod fanout;
pub mod host;
pub mod host_key;
pub mod lxd;
mod master;
pub mod name;
pub mod prepare;
pub mod remote;
pub mod scan;
#[cfg(test)]
mod sshd;
pub mod status;
mod unix_http;

pub use client::{ClientEnv, ClientSettings, LoginKey, OnionProxy};
pub use cluster::{
    Cluster, ClusterError, ClusterStore, Clusters, Host, HostAddress, HostTarget, SshTarget,
};
pub use command::RemoteCommand;
pub use connection::{Connection, ConnectionError};
pub use connections::{Connections, LoginKeys, Tell, Waiting};
pub use docker::{Engine, EngineError};
pub use fanout::{Answer, FanOut};
pub use host::{Destination, HostKind, OnionError};
pub use host_key::{
    FirstContact, HostKey, HostKeyError, HostKeyFingerprint, KnownHosts, PinnedHost,
};
pub use lxd::{Lxd, LxdError};
pub use name::{ClusterId, ClusterName, HostName, InstanceName};
pub use remote::{Output, Remote, RemoteError, Status};
pub use scan::{ScanError, scan};
