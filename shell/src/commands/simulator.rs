//! `simulator`: a Trezor in software for other programs.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use crate::cli::Confirm;

/// What to do with the simulator.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a simulated Trezor T until SIGINT or SIGTERM; needs no unlock
    #[command(after_help = "Examples:
  bcm simulator serve --udp 127.0.0.1:21324
  bcm simulator serve --bridge 127.0.0.1:0 --mnemonic-fd 3 3<words.txt")]
    Serve(Serve),
}

/// How to serve.
#[derive(Args, Debug)]
pub struct Serve {
    /// Listen as an emulator does [default, where no listener is named: 127.0.0.1:21324]
    #[arg(long, value_name = "HOST:PORT")]
    pub udp: Option<SocketAddr>,
    /// Listen as a Trezor bridge does
    #[arg(long, value_name = "HOST:PORT")]
    pub bridge: Option<SocketAddr>,
    /// Read the BIP-39 words from this open descriptor [default: all all … all]
    #[arg(long, value_name = "N")]
    pub mnemonic_fd: Option<u32>,
    /// Read from this open descriptor the passphrase that the person types on the device
    #[arg(long, value_name = "N")]
    pub passphrase_fd: Option<u32>,
    /// What the device does where a person would decide: auto, ask or deny [default: ask on a
    /// terminal, else auto]
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pub confirm: Option<Confirm>,
    /// Begin with passphrase protection off
    #[arg(long)]
    pub no_passphrase_protection: bool,
    /// Read from this open descriptor the PIN that the device is protected with
    #[arg(long, value_name = "N")]
    pub pin_fd: Option<u32>,
    /// The label on the device
    #[arg(long, default_value = "bcm")]
    pub label: String,
}

#[cfg(feature = "simulator")]
mod serve {
    use std::net::{Ipv4Addr, SocketAddr};

    use bcm_keystore::simulator::{Mnemonic, Simulator};
    use tokio::signal::unix::{SignalKind, signal};

    use super::{Command, Serve};
    use crate::report::{Kind, Report};
    use crate::simulator::{TerminalPerson, confirm, copy, given};
    use crate::ui;

    impl Command {
        /// Runs it.
        pub fn run(self) -> Result<(), Report> {
            let Self::Serve(serve) = self;
            serve.run()
        }
    }

    impl Serve {
        /// Returns where to listen over UDP: as told, or by default when nothing is told.
        fn udp_or_default(&self) -> Option<SocketAddr> {
            let nothing = self.udp.is_none() && self.bridge.is_none();
            let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 21324));
            self.udp.or(nothing.then_some(default))
        }

        fn run(self) -> Result<(), Report> {
            let simulator = self.simulator()?;
            let failed = |what: &str, error: std::io::Error| {
                Report::text(Kind::Failed, format!("cannot listen on {what}: {error}"))
            };
            // a runtime of its own: nothing is unlocked here, and SIGHUP ends it as any program
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build();
            let runtime = runtime.map_err(|error| failed("anything", error))?;
            // the signals first: who reads the address may send one at once
            runtime.block_on(async {
                let signals = (
                    signal(SignalKind::interrupt()),
                    signal(SignalKind::terminate()),
                );
                let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
                    return Err(Report::text(Kind::Failed, "cannot wait for signals"));
                };
                let udp = self.udp_or_default();
                let udp = udp.map(|address| {
                    simulator
                        .serve_udp(address)
                        .map_err(|error| failed(&format!("udp:{address}"), error))
                });
                let udp = udp.transpose()?;
                let bridge = self.bridge.map(|address| {
                    simulator
                        .serve_bridge(address)
                        .map_err(|error| failed(&format!("http://{address}"), error))
                });
                let bridge = bridge.transpose()?;
                if let Some(udp) = &udp {
                    ui::out(&format!("listening on udp:{}", udp.address()))?;
                }
                if let Some(bridge) = &bridge {
                    ui::out(&format!("listening on bridge:http://{}", bridge.address()))?;
                }
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                Ok(())
            })
        }

        fn simulator(&self) -> Result<Simulator, Report> {
            let pin = given("--pin-fd", self.pin_fd)?;
            let person = TerminalPerson {
                confirm: confirm(self.confirm),
                passphrase: given("--passphrase-fd", self.passphrase_fd)?,
                pin: pin.as_ref().and_then(copy),
            };
            let mut builder = Simulator::builder()
                .label(&self.label)
                .passphrase_protection(!self.no_passphrase_protection);
            if let Some(pin) = pin {
                builder = builder.pin(pin);
            }
            if let Some(words) = given("--mnemonic-fd", self.mnemonic_fd)? {
                let mnemonic = Mnemonic::parse(&words);
                let mnemonic = mnemonic.map_err(|error| Report::new(Kind::Usage, error))?;
                builder = builder.mnemonic(mnemonic);
            }
            Ok(builder.person(person).build())
        }
    }
}

#[cfg(not(feature = "simulator"))]
impl Command {
    /// Refuses: it is not in this program.
    pub fn run(self) -> Result<(), crate::report::Report> {
        Err(crate::report::Report::text(
            crate::report::Kind::Failed,
            "this bcm was built without the simulator",
        ))
    }
}
