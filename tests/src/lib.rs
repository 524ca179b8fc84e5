//! Fixtures of the end-to-end tests: an empty environment, and real peers, started and stopped.
//!
//! A fixture that cannot start fails the test and says why: nothing is skipped.
#![expect(
    clippy::unwrap_used,
    reason = "a fixture that cannot be made has no test to go on with"
)]

mod bcm;
mod bitcoind;
mod dockerd;
mod electrum;
mod environment;
mod fake;
mod gpg;
mod images;
mod lxd;
mod peers;
mod pty;
mod simulator;
mod sshd;
mod tor;
mod wait;

pub use bcm::{Bcm, Output, Running};
pub use bitcoind::{Bitcoind, Electrs, program as bitcoind_program};
pub use dockerd::{Dockerd, EngineSsh, IMAGE, Plug, Wire};
pub use electrum::Electrum;
pub use environment::TestEnv;
pub use fake::{FakeBridge, FakeDevice, FakeTor};
pub use gpg::Gpg;
pub use images::image;
pub use lxd::{LxdHost, LxdServer};
pub use peers::{Peers, rage, stack_image};
pub use pty::Pty;
pub use simulator::{PASSPHRASE, Simulator};
pub use sshd::Sshd;
pub use tor::TorNetwork;
pub use wait::wait_until;
