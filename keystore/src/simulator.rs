//! A Trezor T in software, for people without one and for tests.
//!
//! It speaks the messages of firmware 2.12.4 and answers them byte for byte as that does
//! (`vectors/`); it holds its seed in the memory of this process, so it guards nothing and bcm
//! refuses mainnet on it. One thread runs the dialogues in straight lines, as firmware does. Hosts
//! reach it in process ([`Simulator::transport`]), over UDP as an emulator ([`Simulator::serve_udp`])
//! and as a bridge ([`Simulator::serve_bridge`]); the person at its screen is a [`Person`].
//!
//! ```
//! use bcm_keystore::simulator::{AutoConfirm, Simulator};
//! let simulator = Simulator::builder().person(AutoConfirm::default()).build();
//! assert_eq!(simulator.transport().name(), "simulator");
//! ```

mod address;
mod bridge;
mod cipher;
mod coin;
mod engine;
mod features;
mod identity;
mod keys;
mod link;
mod management;
mod memory;
mod message;
mod path;
mod person;
mod public_key;
mod screen;
mod session;
mod sign_tx;
mod udp;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use crate::device::Transport;
use crate::secret::LockedPage;

pub use bridge::BridgeServer;
pub use memory::{Mnemonic, MnemonicError};
pub use person::{Act, AutoConfirm, Decision, Deny, Person, Script, Shown};
pub use screen::Screen;
pub use udp::UdpServer;
pub use wire::Interrupt;

use engine::Engine;
use link::Link;
use memory::Memory;
use wire::{Event, Wire};

/// How long a host may leave a dialogue open without a word before another host gets the device.
const PATIENCE: Duration = Duration::from_secs(10);

/// A simulated device that is switched on.
///
/// It runs until [`Simulator::vanish`], or until this and every transport and server of it is gone.
#[derive(Clone, Debug)]
pub struct Simulator {
    events: mpsc::Sender<Event>,
}

impl Simulator {
    /// Returns a device as it comes: the seed of
    /// [SLIP-0014](https://github.com/satoshilabs/slips/blob/master/slip-0014.md), label `bcm`,
    /// passphrase protection on, no PIN, everything confirmed.
    pub fn builder() -> Builder {
        Builder {
            memory: Memory::default(),
            person: Box::new(AutoConfirm::default()),
            patience: PATIENCE,
        }
    }

    /// Returns a way to the device inside this process.
    pub fn transport(&self) -> Box<dyn Transport> {
        Box::new(Link::new(&self.events))
    }

    /// Serves the device as an emulator does, in 64-byte datagrams at `address` (port 0 for any).
    ///
    /// # Errors
    ///
    /// Fails when the address cannot be bound.
    pub fn serve_udp(&self, address: SocketAddr) -> io::Result<UdpServer> {
        UdpServer::start(self.events.clone(), address)
    }

    /// Serves the device as a Trezor bridge does, over HTTP at `address` (port 0 for any).
    ///
    /// # Errors
    ///
    /// Fails when the address cannot be bound.
    pub fn serve_bridge(&self, address: SocketAddr) -> io::Result<BridgeServer> {
        BridgeServer::start(self.events.clone(), address)
    }

    /// Takes the device away at once, whatever it is doing, as if its cable were pulled.
    pub fn vanish(&self) {
        // a device that is gone already cannot be taken away
        let _ = self.events.send(Event::Vanish);
    }
}

/// A simulated device that is not switched on yet.
#[derive(Debug)]
pub struct Builder {
    memory: Memory,
    person: Box<dyn Person>,
    patience: Duration,
}

impl Builder {
    /// Puts this seed in.
    #[must_use]
    pub fn mnemonic(mut self, mnemonic: Mnemonic) -> Self {
        self.memory.mnemonic = Some(mnemonic);
        self
    }

    /// Leaves the device without a seed, as it leaves the factory: no label, no protection.
    #[must_use]
    pub fn uninitialized(mut self) -> Self {
        self.memory = Memory::wiped();
        self
    }

    /// Names the device.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.memory.label = Some(label.into());
        self
    }

    /// Switches passphrase protection.
    #[must_use]
    pub fn passphrase_protection(mut self, on: bool) -> Self {
        self.memory.passphrase_protection = on;
        self
    }

    /// Takes the passphrase on the device only.
    #[must_use]
    pub fn passphrase_always_on_device(mut self, on: bool) -> Self {
        self.memory.passphrase_always_on_device = on;
        self
    }

    /// Protects the device with this PIN (its digits) and locks it.
    #[must_use]
    pub fn pin(mut self, pin: LockedPage) -> Self {
        self.memory.pin = Some(pin);
        self.memory.unlocked = false;
        self
    }

    /// Puts this person in front of the screen.
    #[must_use]
    pub fn person(mut self, person: impl Person + 'static) -> Self {
        self.person = Box::new(person);
        self
    }

    /// Sets how long a host may leave a dialogue open without a word before another host gets the
    /// device; 10 s unless told.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Switches the device on.
    ///
    /// # Panics
    ///
    /// Panics when the operating system gives no thread.
    pub fn build(self) -> Simulator {
        let (events, incoming) = mpsc::channel();
        let wire = Wire::new(incoming, self.patience);
        let engine = Engine::new(wire, self.person, self.memory);
        std::thread::Builder::new()
            .name("simulator".into())
            .spawn(move || engine.run())
            .expect("a thread for the simulator");
        Simulator { events }
    }
}

#[cfg(test)]
mod tests;
