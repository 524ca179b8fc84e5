//! Who has the device that the bridge serves.

use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::device::Message;
use crate::simulator::wire::{Event, Peer, PeerId};

/// The one device there is.
const PATH: &str = "1";

/// Why the bridge does not do what it is asked, in the words of trezord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("session not found")]
    NoSession,
    #[error("wrong previous session")]
    WrongPrevious,
    #[error("other call in progress")]
    OtherCall,
    #[error("device disconnected during action")]
    Disconnected,
    #[error("device not found")]
    NoDevice,
    #[error("malformed data")]
    Malformed,
}

pub(super) struct Sessions {
    events: Sender<Event>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Session>>,
    count: u64,
}

/// One program that has the device.
pub(super) struct Session {
    name: String,
    id: PeerId,
    events: Sender<Event>,
    replies: tokio::sync::Mutex<UnboundedReceiver<Message>>,
}

/// The right to the next answer of a session.
pub(super) struct Turn<'a> {
    replies: tokio::sync::MutexGuard<'a, UnboundedReceiver<Message>>,
    events: &'a Sender<Event>,
}

impl Sessions {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self {
            events,
            state: Mutex::default(),
        }
    }

    /// Lists the device as trezord does; nothing when it is gone.
    pub(super) fn enumerate(&self) -> Value {
        if !is_alive(&self.events) {
            return json!([]);
        }
        let state = self.state();
        let session = state.current.as_ref().map(|session| &session.name);
        json!([{
            "path": PATH,
            "vendor": 0x1209,
            "product": 0x53c1,
            "debug": false,
            "session": session,
            "debugSession": null,
        }])
    }

    /// Gives the device to a program that knows who had it last, and takes it from that one.
    pub(super) fn acquire(&self, path: &str, previous: Option<&str>) -> Result<String, Refusal> {
        if path != PATH || !is_alive(&self.events) {
            return Err(Refusal::NoDevice);
        }
        let mut state = self.state();
        if state.current.as_ref().map(|session| session.name.as_str()) != previous {
            return Err(Refusal::WrongPrevious);
        }
        leave(&mut state);
        state.count += 1;
        let name = state.count.to_string();
        state.current = Some(Arc::new(Session::join(&self.events, &name)));
        Ok(name)
    }

    pub(super) fn release(&self, name: &str) -> Result<(), Refusal> {
        self.find(name)?;
        leave(&mut self.state());
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<Session>, Refusal> {
        let state = self.state();
        let current = state
            .current
            .as_ref()
            .filter(|session| session.name == name);
        current.cloned().ok_or(Refusal::NoSession)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        leave(&mut self.state());
    }
}

impl Session {
    fn join(events: &Sender<Event>, name: &str) -> Self {
        let id = PeerId::fresh();
        let (reply, replies) = unbounded_channel();
        let peer = Peer {
            name: format!("session {name} of the bridge"),
            reply: Box::new(move |message| {
                // the other end is dropped only with its session
                let _ = reply.send(message.clone());
            }),
        };
        // a device that is gone is noticed at the first request
        let _ = events.send(Event::Join(id, peer));
        Self {
            name: name.to_owned(),
            id,
            events: events.clone(),
            replies: tokio::sync::Mutex::new(replies),
        }
    }

    pub(super) fn send(&self, message: Message) -> Result<(), Refusal> {
        let event = Event::Message(self.id, message);
        self.events.send(event).map_err(|_| Refusal::Disconnected)
    }

    /// Takes the right to the next answer, which one call has at a time.
    pub(super) fn turn(&self) -> Result<Turn<'_>, Refusal> {
        let replies = self.replies.try_lock().map_err(|_| Refusal::OtherCall)?;
        Ok(Turn {
            replies,
            events: &self.events,
        })
    }
}

impl Turn<'_> {
    /// Waits for the next answer; whoever stops waiting leaves it to the next turn.
    pub(super) async fn receive(&mut self) -> Result<Message, Refusal> {
        let answer = self.replies.recv().await;
        answer.ok_or_else(|| {
            if is_alive(self.events) {
                Refusal::NoSession
            } else {
                Refusal::Disconnected
            }
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.name)
    }
}

fn leave(state: &mut State) {
    if let Some(session) = state.current.take() {
        // a device that is gone needs no farewell
        let _ = session.events.send(Event::Leave(session.id));
    }
}

/// Tells whether the device is there, by a message that does nothing.
fn is_alive(events: &Sender<Event>) -> bool {
    events.send(Event::Leave(PeerId::fresh())).is_ok()
}
