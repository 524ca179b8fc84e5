//! The wire of the simulated device: one dialogue at a time, whoever else knocks.
//!
//! Hosts join, send messages and leave through one channel. The host whose request is being
//! answered owns the wire until the answer is written; a message of another host is answered with
//! `Failure(Busy)` meanwhile. A message of the owner that the dialogue did not wait for ends the
//! dialogue and is served as a new request, as in firmware: that is how `Cancel` works.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use trezor_client::protos::failure::FailureType;

use super::engine::{Stop, failure};
use crate::device::Message;

/// How often [`Interrupt::wait`] looks.
const GLANCE: Duration = Duration::from_millis(20);

/// One host, as long as the device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PeerId(u64);

impl PeerId {
    /// Returns an id that no other host has.
    pub(super) fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A host and the way back to it.
pub(super) struct Peer {
    /// Names the host to another one that is told to wait.
    pub(super) name: String,
    /// Delivers a message; one that cannot be delivered is lost, as on any wire.
    pub(super) reply: Box<dyn Fn(&Message) + Send>,
}

/// What reaches the device from outside.
pub(super) enum Event {
    Join(PeerId, Peer),
    Message(PeerId, Message),
    Leave(PeerId),
    Vanish,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(id, _) => write!(f, "Join({id:?})"),
            Self::Message(id, message) => write!(f, "Message({id:?}, {message:?})"),
            Self::Leave(id) => write!(f, "Leave({id:?})"),
            Self::Vanish => f.write_str("Vanish"),
        }
    }
}

/// Why the dialogue cannot go on.
enum Break {
    Owner(Message),
    TakenOver(PeerId, Message),
    Left,
    Vanished,
}

/// The device's end of every connection.
pub(super) struct Wire {
    incoming: Receiver<Event>,
    peers: HashMap<PeerId, Peer>,
    owner: Option<PeerId>,
    heard: Instant,
    patience: Duration,
    waiting: VecDeque<(PeerId, Message)>,
    interruption: Option<Stop>,
}

impl Wire {
    pub(super) fn new(incoming: Receiver<Event>, patience: Duration) -> Self {
        Self {
            incoming,
            peers: HashMap::new(),
            owner: None,
            heard: Instant::now(),
            patience,
            waiting: VecDeque::new(),
            interruption: None,
        }
    }

    /// Waits for a request and makes its host the owner; `None` when the device is switched off.
    pub(super) fn next_request(&mut self) -> Option<Message> {
        self.owner = None;
        self.interruption = None;
        let (id, message) = loop {
            if let Some(next) = self.waiting.pop_front() {
                break next;
            }
            match self.incoming.recv().ok()? {
                Event::Join(id, peer) => self.join(id, peer),
                Event::Leave(id) => self.leave(id),
                Event::Message(id, message) => break (id, message),
                Event::Vanish => return None,
            }
        };
        self.owner = Some(id);
        self.heard = Instant::now();
        Some(message)
    }

    /// Sends to the owner.
    pub(super) fn write(&self, message: &Message) {
        if let Some(peer) = self.owner.and_then(|id| self.peers.get(&id)) {
            (peer.reply)(message);
        }
    }

    /// Waits for the next message of the owner, of the type `expected`.
    ///
    /// # Errors
    ///
    /// Stops the dialogue on any other message of the owner, and when it is gone or too long silent.
    pub(super) fn read(&mut self, expected: u16) -> Result<Message, Stop> {
        loop {
            let Ok(event) = self.incoming.recv() else {
                return Err(Stop::Vanished);
            };
            let silent = self.heard.elapsed() >= self.patience;
            match self.sort(event, silent) {
                None => {}
                Some(Break::Owner(message)) if message.kind() == expected => return Ok(message),
                Some(other) => return Err(self.stop(other)),
            }
        }
    }

    /// Tells whether a host ended the dialogue while the person was looking at the screen.
    fn interrupted(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while self.interruption.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            let event = if left.is_zero() {
                self.incoming.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else {
                self.incoming.recv_timeout(left)
            };
            let broken = match event {
                Ok(event) => self.sort(event, false),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => Some(Break::Vanished),
            };
            if let Some(broken) = broken {
                self.interruption = Some(self.stop(broken));
            }
        }
        true
    }

    /// Shows the person something, and tells what they did unless the host went on meanwhile.
    ///
    /// # Errors
    ///
    /// Stops the dialogue when it did.
    pub(super) fn with_person<T>(
        &mut self,
        ask: impl FnOnce(&Interrupt<'_>) -> T,
    ) -> Result<T, Stop> {
        let answer = ask(&Interrupt(Some(RefCell::new(self))));
        self.heard = Instant::now();
        self.interruption.take().map_or(Ok(answer), Err)
    }

    /// Keeps what does not concern the dialogue from it.
    fn sort(&mut self, event: Event, silent: bool) -> Option<Break> {
        match event {
            Event::Join(id, peer) => self.join(id, peer),
            Event::Leave(id) => {
                self.leave(id);
                if self.owner == Some(id) {
                    return Some(Break::Left);
                }
            }
            Event::Message(id, message) if self.owner == Some(id) => {
                self.heard = Instant::now();
                return Some(Break::Owner(message));
            }
            Event::Message(id, message) if silent => return Some(Break::TakenOver(id, message)),
            Event::Message(id, _) => self.refuse(id),
            Event::Vanish => return Some(Break::Vanished),
        }
        None
    }

    fn stop(&mut self, broken: Break) -> Stop {
        match broken {
            Break::Owner(message) => {
                self.waiting
                    .extend(self.owner.map(|owner| (owner, message)));
            }
            Break::TakenOver(id, message) => self.waiting.push_back((id, message)),
            Break::Left => {}
            Break::Vanished => return Stop::Vanished,
        }
        Stop::Abandoned
    }

    fn refuse(&self, id: PeerId) {
        let owner = self.owner.and_then(|id| self.peers.get(&id));
        let owner = owner.map_or("another program", |peer| &peer.name);
        let text = format!("Device is in a dialogue with {owner}");
        if let Some(peer) = self.peers.get(&id) {
            (peer.reply)(&failure(FailureType::Failure_Busy, text));
        }
    }

    fn join(&mut self, id: PeerId, peer: Peer) {
        self.peers.insert(id, peer);
    }

    fn leave(&mut self, id: PeerId) {
        self.peers.remove(&id);
        self.waiting.retain(|(waiting, _)| *waiting != id);
    }
}

/// Tells a [`Person`](super::Person) that the question is off: the host cancelled it, asked for
/// something else, or is gone.
pub struct Interrupt<'a>(Option<RefCell<&'a mut Wire>>);

impl Interrupt<'_> {
    /// Returns one that is never raised, to try a [`Person`](super::Person) without a device.
    pub fn never() -> Self {
        Self(None)
    }

    /// Tells whether the question is off.
    pub fn is_raised(&self) -> bool {
        self.raised_within(Duration::ZERO)
    }

    /// Waits until the question is off, at most `wait`, and tells whether it is.
    pub fn raised_within(&self, wait: Duration) -> bool {
        if let Some(wire) = &self.0 {
            return wire.borrow_mut().interrupted(wait);
        }
        std::thread::sleep(wait);
        false
    }

    /// Waits until the question is off.
    pub fn wait(&self) {
        while !self.raised_within(GLANCE) {}
    }
}

impl fmt::Debug for Interrupt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}
