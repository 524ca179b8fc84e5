//! A host that knows the protocol and nothing else, for the tests of the simulator.

use std::time::Duration;

use trezor_client::TrezorMessage;
use trezor_client::protos::{
    ButtonAck, ButtonRequest, Features, GetPublicKey, Initialize, PassphraseAck, PassphraseRequest,
    PublicKey,
};

use crate::device::{Message, Transport};
use crate::secret::LockedPage;
use crate::simulator::Simulator;

/// Longer than any answer takes on a busy machine.
const LONG: Duration = Duration::from_secs(20);

pub(super) const PASSPHRASE: &str = "bcm test";

pub(super) struct Host(pub(super) Box<dyn Transport>);

impl Host {
    pub(super) fn of(simulator: &Simulator) -> Self {
        Self(simulator.transport())
    }

    pub(super) fn send(&mut self, message: &Message) {
        self.0.send(message).unwrap();
    }

    pub(super) fn receive(&mut self) -> Message {
        self.0.receive(LONG).unwrap().expect("the device answers")
    }

    pub(super) fn ask<Q: TrezorMessage>(&mut self, question: &Q) -> Message {
        self.send(&Message::encode(question));
        self.receive()
    }

    pub(super) fn call<Q: TrezorMessage, A: TrezorMessage>(&mut self, question: &Q) -> A {
        read(&self.ask(question))
    }

    /// Starts a session, goes on with `id` if it is given and known.
    pub(super) fn initialize(&mut self, id: Option<&[u8]>) -> Features {
        let mut request = Initialize::new();
        request.session_id = id.map(<[u8]>::to_vec);
        self.call(&request)
    }

    /// Asks for the key at m/0h, answers whatever the device wants first; `None` after a failure.
    pub(super) fn open(&mut self, passphrase: &str) -> Option<PublicKey> {
        let mut request = GetPublicKey::new();
        request.address_n = vec![1 << 31];
        let mut answer = self.ask(&request);
        loop {
            if answer.is::<PassphraseRequest>() {
                let mut ack = PassphraseAck::new();
                ack.set_passphrase(passphrase.to_owned());
                answer = self.ask(&ack);
            } else if answer.is::<ButtonRequest>() {
                answer = self.ask(&ButtonAck::new());
            } else {
                return answer.is::<PublicKey>().then(|| read(&answer));
            }
        }
    }
}

/// Reads an answer that must be an `A`.
pub(super) fn read<A: TrezorMessage>(answer: &Message) -> A {
    assert!(answer.is::<A>(), "{answer:?} instead of {}", A::NAME);
    answer.decode().unwrap()
}

pub(super) fn typed(text: &str) -> LockedPage {
    let mut page = LockedPage::new();
    assert!(page.extend(text.as_bytes()));
    page
}
