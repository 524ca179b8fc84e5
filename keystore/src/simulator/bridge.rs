//! The simulated device behind a Trezor bridge: the HTTP interface of trezord 2.0, which is how
//! Suite, `trezorctl` and a Qubes VM reach a device that another program owns.
//!
//! Errors are worded as trezord words them, for programs compare them. A request comes from one of
//! the origins that trezord allows; a browser's page from elsewhere gets 403. Whoever hangs up while
//! an answer is awaited leaves that answer to the next call, as with trezord.

mod session;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::session::{Refusal, Sessions};
use super::wire::Event;
use crate::device::codec::{MAX_BRIDGE_TEXT, bridge_decode, bridge_encode};

/// What the bridge calls itself: a trezord that is current, and speaks the v1 protocol only.
const VERSION: &str = "2.0.33";

/// How long `/listen` waits for a change.
const LISTEN: Duration = Duration::from_secs(30);

/// How often `/listen` looks, and how long a refused connection is waited out.
const GLANCE: Duration = Duration::from_millis(100);

/// Connections served at once; further ones wait.
const MAX_CONNECTIONS: usize = 64;

/// A listener, which ends when this is dropped.
#[derive(Debug)]
pub struct BridgeServer {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BridgeServer {
    pub(super) fn start(events: Sender<Event>, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let bridge = Arc::new(Bridge(Sessions::new(events)));
        let (end, ended) = oneshot::channel();
        let serve = async move {
            tokio::select! {
                _ = bridge.run(listener) => {}
                // dropping the server ends it as much as a word from it
                _ = ended => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("simulator-bridge".into())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            address,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BridgeServer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // a listener that panicked has ended too
            let _ = thread.join();
        }
    }
}

struct Bridge(Sessions);

type Reply = Result<String, Refusal>;

impl Bridge {
    async fn run(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
                continue;
            }
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(Arc::clone(&self).serve(stream));
                }
                // out of descriptors, or the peer is gone already: others are still to come
                Err(_) => tokio::time::sleep(GLANCE).await,
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let answer = service_fn(|request| self.answer(request));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        // a peer that speaks no HTTP, or hangs up, is told nothing
        let _ = http.serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let origin = request.headers().get(ORIGIN).cloned();
        let allowed = |origin: &HeaderValue| origin.to_str().is_ok_and(is_allowed);
        let Some(origin) = origin.filter(allowed) else {
            return Ok(empty(StatusCode::FORBIDDEN));
        };
        let mut response = match *request.method() {
            Method::POST => self.post(request).await,
            Method::OPTIONS => empty(StatusCode::OK),
            _ => empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        response
            .headers_mut()
            .insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        Ok(response)
    }

    async fn post(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BRIDGE_TEXT).collect();
        let Ok(Ok(body)) = tokio::time::timeout(LISTEN, body).await else {
            return empty(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        let parts: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        let reply = match parts[..] {
            ["" | "configure"] => Ok(json!({ "version": VERSION }).to_string()),
            ["enumerate"] => Ok(self.0.enumerate().to_string()),
            ["listen"] => self.listen(&body).await,
            ["acquire", path] => self.acquire(path, "null"),
            ["acquire", path, previous] => self.acquire(path, previous),
            ["release", session] => self.release(session),
            ["call", session] => self.call(session, &body).await,
            ["post", session] => self.send(session, &body),
            ["read", session] => self.read(session).await,
            _ => return empty(StatusCode::NOT_FOUND),
        };
        let (status, text) = match reply {
            Ok(text) => (StatusCode::OK, text),
            Err(refusal) => {
                let told = json!({ "error": refusal.to_string() });
                (StatusCode::BAD_REQUEST, told.to_string())
            }
        };
        let json = text.starts_with(['{', '[']);
        let kind = if json {
            "application/json"
        } else {
            "text/plain"
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    async fn listen(&self, body: &[u8]) -> Reply {
        let known: Value = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        let until = Instant::now() + LISTEN;
        loop {
            let now = self.0.enumerate();
            if now != known || Instant::now() > until {
                return Ok(now.to_string());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn acquire(&self, path: &str, previous: &str) -> Reply {
        let previous = (previous != "null").then_some(previous);
        let session = self.0.acquire(path, previous)?;
        Ok(json!({ "session": session }).to_string())
    }

    fn release(&self, session: &str) -> Reply {
        self.0.release(session)?;
        Ok(json!({ "session": session }).to_string())
    }

    async fn call(&self, session: &str, body: &[u8]) -> Reply {
        let session = self.0.find(session)?;
        let request = bridge_decode(body).map_err(|_| Refusal::Malformed)?;
        let mut turn = session.turn()?;
        session.send(request)?;
        Self::receive(&mut turn).await
    }

    fn send(&self, session: &str, body: &[u8]) -> Reply {
        let request = bridge_decode(body).map_err(|_| Refusal::Malformed)?;
        self.0.find(session)?.send(request)?;
        Ok(String::new())
    }

    async fn read(&self, session: &str) -> Reply {
        let session = self.0.find(session)?;
        let mut turn = session.turn()?;
        Self::receive(&mut turn).await
    }

    async fn receive(turn: &mut session::Turn<'_>) -> Reply {
        let answer = turn.receive().await?;
        let mut text = bridge_encode(&answer).map_err(|_| Refusal::Malformed)?;
        Ok(std::mem::take(&mut *text))
    }
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

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
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
