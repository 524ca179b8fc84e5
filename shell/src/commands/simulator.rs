//! `simulator`: a Trezor in software for other programs.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use crate::app::App;
use crate::cli::{Confirm, Flags};
use crate::report::Report;

/// What to do with the simulator.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a simulated Trezor T until SIGINT or SIGTERM; needs no unlock
    #[command(
        after_help = "Examples:\n  bcm simulator serve --udp 127.0.0.1:21324\n  bcm simulator serve --bridge 127.0.0.1:0 --mnemonic-fd 3 3<words.txt"
    )]
    Serve(Serve),
}

/// How to serve.
#[derive(Args, Debug)]
pub struct Serve {
    /// Listen as an emulator does [default where no listener is named: 127.0.0.1:21324]
    #[arg(long, value_name = "HOST:PORT")]
    udp: Option<SocketAddr>,
    /// Listen as a Trezor bridge does
    #[arg(long, value_name = "HOST:PORT")]
    bridge: Option<SocketAddr>,
    /// Read the BIP-39 words from this open descriptor [default: all all … all]
    #[arg(long, value_name = "N")]
    mnemonic_fd: Option<u32>,
    /// Read from this open descriptor the passphrase that the person types on the device
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// What the device does where a person would decide: auto, ask or deny [default: ask on a
    /// terminal, else auto]
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    confirm: Option<Confirm>,
    /// Begin with passphrase protection off
    #[arg(long)]
    no_passphrase_protection: bool,
    /// Read from this open descriptor the PIN that the device is protected with
    #[arg(long, value_name = "N")]
    pin_fd: Option<u32>,
    /// The label on the device
    #[arg(long, default_value = "bcm")]
    label: String,
}

impl Command {
    pub fn run(self, _app: &mut App, _flags: &Flags) -> Result<(), Report> {
        Ok(())
    }
}
