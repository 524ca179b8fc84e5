//! From a bare Debian or Ubuntu with sshd to a member of a cluster.
//!
//! [`observe`] asks the host in one round trip what it is, [`plan`] compares that with what is [`Wanted`] and
//! returns the exact [`Operation`]s that are missing, without looking at anything else, and [`apply`] makes
//! those of a verified statement and no others. A second plan is empty; what a killed run left behind is seen
//! by the next one, because nothing is remembered but what lies on the host.
//!
//! # What a prepared host is
//!
//! - The account `bcm` is the only way in, with a certificate of the cluster's CA, which is a key on the
//!   device. Passwords, other keys and root are refused. Whoever is in the group `docker` is root anyway, so
//!   `bcm` may use `sudo` without a password: there is none.
//! - sshd forwards unix sockets, which is how the engine is reached, and nothing else.
//! - A table of nftables of its own denies what it does not know, in front of docker's tables: sshd is open,
//!   the swarm's ports to members alone, and what an engine publishes is not reachable from outside.
//! - The engine keeps little log, listens on no TCP port, and gives containers no new privileges.
//! - Nothing secret is written by the kernel: no swap, no core dumps.
//!
//! The console stays as it was: it is the way back for an owner whose device is lost.

mod apply;
mod error;
mod facts;
mod files;
mod login;
mod observe;
mod operation;
mod plan;
mod preparation;
mod root;
mod wanted;

pub use apply::{Progress, apply, check};
pub use error::PrepareError;
pub use facts::{Facts, FileFacts, System, Unit};
pub use login::TryLogin;
pub use observe::observe;
pub use operation::{Content, Operation};
pub use plan::{Plan, plan};
pub use preparation::Preparation;
pub use wanted::{OnionAccess, Wanted, WantedError};

/// The account that bcm uses on a host.
pub const USER: &str = "bcm";
