//! The bridge: trezord, or the one inside Trezor Suite, which shares a Trezor over HTTP.
//!
//! In a Qubes VM it is the only way to the device. Any program may take the device over at any time;
//! the next call is then told `session not found`, which becomes [`TransportError::Stolen`].
//!
//! A `/call` lasts as long as the person thinks. It runs on a thread of its own, so that `receive` can
//! return and `Cancel` can be sent past it through `/post`. It has no timeout: when the bridge ends,
//! its TCP connection does, and that is noticed at once.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use self::http::{Http, Patience};
use super::codec::{MAX_BRIDGE_TEXT, bridge_decode, bridge_encode};
use super::discovery::Obstacle;
use super::transport::{Message, Transport, TransportError};

mod http;

/// Longest answer that is not a message, in bytes.
const MAX_JSON: usize = 64 << 10;

/// How long a request waits for the answer to an earlier, cancelled one.
const LEFTOVER: Duration = Duration::from_millis(500);

/// What `/enumerate` says of a device; the bridge says more.
#[derive(Deserialize)]
struct Entry {
    path: String,
    session: Option<String>,
}

/// What `/acquire` answers.
#[derive(Deserialize)]
struct Acquired {
    session: String,
}

/// The one Trezor of a bridge, not acquired yet.
#[derive(Debug)]
pub struct BridgeDevice {
    http: Http,
    path: String,
    session: Option<String>,
}

impl BridgeDevice {
    /// Asks the bridge at `url` for its Trezor, in less than 500 ms.
    ///
    /// # Errors
    ///
    /// Fails when there is no bridge, or not exactly one Trezor on it.
    pub fn find(url: &str) -> Result<Self, Obstacle> {
        let http = Http::new(url);
        let mut entries = enumerate(&http)?;
        if entries.len() > 1 {
            let paths = entries.into_iter().map(|entry| entry.path);
            return Err(Obstacle::Several(paths.collect()));
        }
        let Entry { path, session } = entries.pop().ok_or(Obstacle::Absent)?;
        Ok(Self {
            http,
            path,
            session,
        })
    }

    /// Makes a session with the device; `take_over` ends the one that another program has.
    ///
    /// # Errors
    ///
    /// Fails when another program has it, or was faster just now.
    pub fn acquire(self, take_over: bool) -> Result<BridgeTransport, Obstacle> {
        if let Some(session) = self.session.clone().filter(|_| !take_over) {
            return Err(Obstacle::Held { session });
        }
        let previous = self.session.as_deref().unwrap_or("null");
        let path = format!("/acquire/{}/{previous}", self.path);
        let answer = self.http.post(&path, &[], Patience::Device, MAX_JSON)?;
        let Acquired { session } = parse(&answer)?;
        check_word(&session)?;
        BridgeTransport::start(self.http, self.path, session).map_err(Obstacle::Io)
    }
}

fn enumerate(http: &Http) -> Result<Vec<Entry>, TransportError> {
    let answer = http.post("/enumerate", &[], Patience::Short, MAX_JSON)?;
    let entries: Vec<Entry> = parse(&answer)?;
    for entry in &entries {
        check_word(&entry.path)?;
        entry.session.as_deref().map_or(Ok(()), check_word)?;
    }
    Ok(entries)
}

fn parse<T: for<'de> Deserialize<'de>>(answer: &[u8]) -> Result<T, TransportError> {
    serde_json::from_slice(answer).map_err(|_| {
        let answer = http::printable(answer);
        TransportError::Malformed(format!("the bridge answered `{answer}`"))
    })
}

/// Lets only what can stand in a URL and on a terminal be a path or a session.
fn check_word(word: &str) -> Result<(), TransportError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !word.is_empty() && word.len() <= 100 && word.bytes().all(is_plain) {
        return Ok(());
    }
    let word = http::printable(word.as_bytes());
    Err(TransportError::Malformed(format!(
        "the bridge named a device or session `{word}`"
    )))
}

/// Hex of one message on its way to the bridge.
type Call = Zeroizing<String>;

/// A session with a Trezor on a bridge; dropping it releases the device.
#[derive(Debug)]
pub struct BridgeTransport {
    line: Arc<Line>,
    calls: SyncSender<Call>,
    answers: Receiver<Result<Message, TransportError>>,
    /// Calls whose answer has not come out of `answers` yet.
    waiting: usize,
    /// Answers that came before a cancel, to be received before its own.
    early: VecDeque<Result<Message, TransportError>>,
    /// The last look at the bridge found it silent.
    silent: bool,
}

/// What the transport and its calling thread share.
#[derive(Debug)]
struct Line {
    http: Http,
    path: String,
    session: String,
}

impl BridgeTransport {
    fn start(http: Http, path: String, session: String) -> io::Result<Self> {
        let line = Arc::new(Line {
            http,
            path,
            session,
        });
        let (calls, work) = sync_channel::<Call>(2);
        let (done, answers) = sync_channel(2);
        let caller = Arc::clone(&line);
        thread::Builder::new()
            .name("bridge call".to_owned())
            .spawn(move || {
                // Ends when the transport is dropped and no longer sends or receives.
                while let Ok(call) = work.recv() {
                    if done.send(caller.call(&call)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            line,
            calls,
            answers,
            waiting: 0,
            early: VecDeque::new(),
            silent: false,
        })
    }

    fn start_call(&mut self, message: &Message) -> Result<(), TransportError> {
        let call = bridge_encode(message)?;
        self.calls
            .try_send(call)
            .map_err(|_| TransportError::Busy)?;
        self.waiting += 1;
        Ok(())
    }

    fn next_answer(&mut self, wait: Duration) -> Option<Result<Message, TransportError>> {
        if let Some(answer) = self.early.pop_front() {
            return Some(answer);
        }
        match self.answers.recv_timeout(wait) {
            Ok(answer) => {
                self.waiting = self.waiting.saturating_sub(1);
                Some(answer)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(TransportError::Gone(None))),
        }
    }
}

impl Transport for BridgeTransport {
    fn name(&self) -> String {
        format!("bridge:{}", self.line.http.base())
    }

    fn send(&mut self, message: &Message) -> Result<(), TransportError> {
        self.early.clear();
        while self.waiting > 0 {
            // The late answer to a request that was cancelled, which is nobody's any more.
            match self.next_answer(LEFTOVER) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(TransportError::Busy),
            }
        }
        self.start_call(message)
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Message>, TransportError> {
        self.next_answer(wait).transpose()
    }

    fn alive(&mut self) -> Result<(), TransportError> {
        let silent = match self.line.look() {
            Err(TransportError::Gone(Some(error))) if error.kind() == ErrorKind::TimedOut => {
                // Once may be a busy machine.
                if self.silent {
                    return Err(TransportError::Gone(Some(error)));
                }
                true
            }
            Err(error @ (TransportError::Gone(_) | TransportError::Stolen)) => return Err(error),
            Ok(()) | Err(_) => false,
        };
        self.silent = silent;
        Ok(())
    }

    fn cancel(&mut self) -> Result<(), TransportError> {
        if let Ok(answer) = self.answers.try_recv() {
            self.waiting = self.waiting.saturating_sub(1);
            self.early.push_back(answer);
        }
        let cancel = Message::encode(&trezor_client::protos::Cancel::new());
        if self.waiting > 0 {
            return self.line.post(&cancel);
        }
        if self.early.iter().any(Result::is_err) {
            return Ok(());
        }
        self.start_call(&cancel)
    }
}

impl Drop for BridgeTransport {
    fn drop(&mut self) {
        // A bridge that is gone or that gave the session to another needs no release.
        let _ = self.line.release();
        self.line.http.hang_up();
    }
}

impl Line {
    fn call(&self, call: &Call) -> Result<Message, TransportError> {
        let path = format!("/call/{}", self.session);
        let answer = self
            .http
            .post(&path, call.as_bytes(), Patience::Person, MAX_BRIDGE_TEXT)
            .map_err(|error| self.explain(error))?;
        Ok(bridge_decode(&answer)?)
    }

    fn post(&self, message: &Message) -> Result<(), TransportError> {
        let path = format!("/post/{}", self.session);
        let body = bridge_encode(message)?;
        self.http
            .post(&path, body.as_bytes(), Patience::Short, MAX_JSON)
            .map(drop)
            .map_err(|error| self.explain(error))
    }

    fn release(&self) -> Result<(), TransportError> {
        let path = format!("/release/{}", self.session);
        self.http
            .post(&path, &[], Patience::Short, MAX_JSON)
            .map(drop)
    }

    /// Asks the bridge whether the device is there and still ours.
    fn look(&self) -> Result<(), TransportError> {
        let entries = enumerate(&self.http)?;
        let ours = entries.into_iter().find(|entry| entry.path == self.path);
        match ours.ok_or(TransportError::Gone(None))?.session {
            Some(session) if session == self.session => Ok(()),
            _ => Err(TransportError::Stolen),
        }
    }

    /// Tells a device that was taken from one that was unplugged: the bridge calls both
    /// `session not found`.
    fn explain(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::Stolen => match self.look() {
                Err(gone @ TransportError::Gone(_)) => gone,
                _ => TransportError::Stolen,
            },
            error => error,
        }
    }
}

#[cfg(test)]
pub(in crate::device) mod tests;
