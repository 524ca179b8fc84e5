//! The way to the simulated device inside one process.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::wire::{Event, Peer, PeerId};
use crate::device::{Message, Transport, TransportError};

/// A host on a channel.
pub(super) struct Link {
    id: PeerId,
    events: Sender<Event>,
    replies: Receiver<Message>,
}

impl Link {
    pub(super) fn new(events: &Sender<Event>) -> Self {
        let id = PeerId::fresh();
        let (reply, replies) = mpsc::channel();
        let peer = Peer {
            name: "a program in the same process".into(),
            reply: Box::new(move |message| {
                // the other end is dropped only with its host
                let _ = reply.send(message.clone());
            }),
        };
        // a device that is gone is noticed at the first request
        let _ = events.send(Event::Join(id, peer));
        let events = events.clone();
        Self {
            id,
            events,
            replies,
        }
    }
}

impl Transport for Link {
    fn name(&self) -> String {
        "simulator".into()
    }

    fn send(&mut self, message: &Message) -> Result<(), TransportError> {
        let event = Event::Message(self.id, message.clone());
        self.events.send(event).map_err(|_| gone())
    }

    fn alive(&mut self) -> Result<(), TransportError> {
        // a farewell of nobody does nothing
        let nobody = Event::Leave(PeerId::fresh());
        self.events.send(nobody).map_err(|_| gone())
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Message>, TransportError> {
        match self.replies.recv_timeout(wait) {
            Ok(message) => Ok(Some(message)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // a device that is gone needs no farewell
        let _ = self.events.send(Event::Leave(self.id));
    }
}

fn gone() -> TransportError {
    TransportError::Gone(Some(io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the simulator is switched off",
    )))
}
