//! The simulated device behind a Trezor bridge: the HTTP interface of trezord 2.0, which is how
//! Suite, `trezorctl` and a Qubes VM reach a device that another program owns.
//!
//! Errors are worded as trezord words them, for programs compare them. A request comes from one of
//! the origins that trezord allows or from bcm; a browser's page from elsewhere gets 403.

mod session;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tiny_http::{Header, Method, Request, Response, Server};
use zeroize::Zeroizing;

use self::session::{Refusal, Sessions};
use super::wire::Event;
use crate::device::codec::{MAX_BRIDGE_TEXT, bridge_decode, bridge_encode};

/// What the bridge calls itself: a trezord that is current, and speaks the v1 protocol only.
const VERSION: &str = "2.0.33";

/// How long `/listen` waits for a change.
const LISTEN: Duration = Duration::from_secs(30);

/// How often `/listen` looks.
const GLANCE: Duration = Duration::from_millis(100);

/// Requests served at once; more are told to come back.
const MAX_REQUESTS: usize = 64;

/// A listener, which ends when this is dropped.
pub struct BridgeServer {
    address: SocketAddr,
    server: Arc<Server>,
    bridge: Arc<Bridge>,
    thread: Option<JoinHandle<()>>,
}

impl BridgeServer {
    pub(super) fn start(events: Sender<Event>, address: SocketAddr) -> io::Result<Self> {
        let server = Arc::new(Server::http(address).map_err(io::Error::other)?);
        let address = server
            .server_addr()
            .to_ip()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let bridge = Arc::new(Bridge {
            sessions: Sessions::new(events),
            ended: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
        });
        let (listener, served) = (Arc::clone(&server), Arc::clone(&bridge));
        let thread = std::thread::Builder::new()
            .name("simulator-bridge".into())
            .spawn(move || served.run(&listener))?;
        Ok(Self {
            address,
            server,
            bridge,
            thread: Some(thread),
        })
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl std::fmt::Debug for BridgeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BridgeServer({})", self.address)
    }
}

impl Drop for BridgeServer {
    fn drop(&mut self) {
        self.bridge.ended.store(true, Ordering::Relaxed);
        self.bridge.sessions.close();
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // a listener that panicked has ended too
            let _ = thread.join();
        }
    }
}

struct Bridge {
    sessions: Sessions,
    ended: AtomicBool,
    requests: AtomicUsize,
}

type Reply = Result<Zeroizing<String>, Refusal>;

impl Bridge {
    fn run(self: &Arc<Self>, server: &Server) {
        while !self.ended.load(Ordering::Relaxed) {
            let Ok(request) = server.recv() else { continue };
            if self.requests.fetch_add(1, Ordering::Relaxed) >= MAX_REQUESTS {
                self.requests.fetch_sub(1, Ordering::Relaxed);
                respond(request, 503, "");
                continue;
            }
            let bridge = Arc::clone(self);
            let served = std::thread::Builder::new()
                .name("simulator-call".into())
                .spawn(move || {
                    bridge.serve(request);
                    bridge.requests.fetch_sub(1, Ordering::Relaxed);
                });
            if served.is_err() {
                self.requests.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn serve(&self, mut request: Request) {
        if !origin(&request).is_some_and(is_allowed) {
            return respond(request, 403, "");
        }
        match request.method() {
            Method::Post => {}
            Method::Options => return respond(request, 200, ""),
            _ => return respond(request, 405, ""),
        }
        let mut body = Zeroizing::new(Vec::new());
        let limit = MAX_BRIDGE_TEXT as u64 + 1;
        if request
            .as_reader()
            .take(limit)
            .read_to_end(&mut body)
            .is_err()
        {
            return respond(request, 400, "");
        }
        let path = request.url().to_owned();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let reply = match parts[..] {
            ["" | "configure"] => Ok(text(&json!({ "version": VERSION }))),
            ["enumerate"] => Ok(text(&self.sessions.enumerate())),
            ["listen"] => self.listen(&body),
            ["acquire", path] => self.acquire(path, "null"),
            ["acquire", path, previous] => self.acquire(path, previous),
            ["release", session] => self.release(session),
            ["call", session] => self.call(session, &body),
            ["post", session] => self.post(session, &body),
            ["read", session] => self.read(session),
            _ => return respond(request, 404, ""),
        };
        match reply {
            Ok(text) => respond(request, 200, &text),
            Err(refusal) => {
                let told = json!({ "error": refusal.to_string() });
                respond(request, 400, &text(&told));
            }
        }
    }

    fn listen(&self, body: &[u8]) -> Reply {
        let known: Value = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        let until = Instant::now() + LISTEN;
        loop {
            let now = self.sessions.enumerate();
            if now != known || Instant::now() > until || self.ended.load(Ordering::Relaxed) {
                return Ok(text(&now));
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn acquire(&self, path: &str, previous: &str) -> Reply {
        let previous = (previous != "null").then_some(previous);
        let session = self.sessions.acquire(path, previous)?;
        Ok(text(&json!({ "session": session })))
    }

    fn release(&self, session: &str) -> Reply {
        self.sessions.release(session)?;
        Ok(text(&json!({ "session": session })))
    }

    fn call(&self, session: &str, body: &[u8]) -> Reply {
        let session = self.sessions.find(session)?;
        let request = bridge_decode(body).map_err(|_| Refusal::Malformed)?;
        let turn = session.turn()?;
        session.send(request)?;
        bridge_encode(&turn.receive()?).map_err(|_| Refusal::Malformed)
    }

    fn post(&self, session: &str, body: &[u8]) -> Reply {
        let request = bridge_decode(body).map_err(|_| Refusal::Malformed)?;
        self.sessions.find(session)?.send(request)?;
        Ok(Zeroizing::default())
    }

    fn read(&self, session: &str) -> Reply {
        let session = self.sessions.find(session)?;
        bridge_encode(&session.turn()?.receive()?).map_err(|_| Refusal::Malformed)
    }
}

fn text(value: &Value) -> Zeroizing<String> {
    Zeroizing::new(value.to_string())
}

fn origin(request: &Request) -> Option<&str> {
    let mut headers = request.headers().iter();
    let header = headers.find(|header| header.field.equiv("Origin"))?;
    Some(header.value.as_str())
}

/// Tells whether trezord answers requests from this origin: Trezor's own sites, and localhost.
fn is_allowed(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return false;
    };
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match (scheme, name) {
        ("http" | "https", "localhost") => port.is_none_or(is_port),
        ("https", name) => port.is_none() && is_trezor(name),
        _ => false,
    }
}

fn is_trezor(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().all(plain) && (name == "trezor.io" || name.ends_with(".trezor.io"))
}

fn respond(request: Request, status: u16, body: &str) {
    let mut response = Response::from_string(body).with_status_code(status);
    if let Some(origin) = origin(&request).filter(|origin| is_allowed(origin))
        && let Ok(header) = Header::from_bytes("Access-Control-Allow-Origin", origin)
    {
        response.add_header(header);
    }
    if body.starts_with(['{', '['])
        && let Ok(header) = Header::from_bytes("Content-Type", "application/json")
    {
        response.add_header(header);
    }
    // whoever hung up does not want the answer
    let _ = request.respond(response);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_from_elsewhere_are_not_allowed() {
        for origin in [
            "https://python.trezor.io",
            "https://suite.trezor.io",
            "https://trezor.io",
            "http://localhost:8000",
            "https://localhost",
        ] {
            assert!(is_allowed(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://python.trezor.io",
            "https://eviltrezor.io",
            "https://trezor.io.evil.example",
            "https://evil.example/.trezor.io",
            "https://python.trezor.io:444",
            "http://localhost.evil.example",
            "http://localhost:x",
            "http://127.0.0.1",
        ] {
            assert!(!is_allowed(origin), "{origin}");
        }
    }
}
