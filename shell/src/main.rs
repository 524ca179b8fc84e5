//! `bcm`: the shell that opens on an unlocked Trezor.
//!
//! The only crate that prints, asks, reads the environment and exits.

#![expect(
    unreachable_pub,
    reason = "a program has no public face: `pub` is what a module shows the others"
)]

mod app;
mod cli;
mod client;
mod commands;
mod config;
mod env;
mod files;
mod logging;
mod process;
mod repl;
mod report;
mod session;
#[cfg(feature = "simulator")]
mod simulator;
mod split;
mod ui;
mod wallet;

use std::process::ExitCode;

fn main() -> ExitCode {
    // before anything can be read that must not end in a core file
    let hardened = process::harden();
    logging::start(env::rust_log().as_deref());
    process::exit_code(
        hardened
            .map_err(Into::into)
            .and_then(|()| app::run(cli::parse()?)),
    )
}
