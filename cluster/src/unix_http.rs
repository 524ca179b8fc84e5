//! HTTP over a unix socket: how engines and LXD are spoken to, here or through SSH.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use zeroize::Zeroizing;

/// How long a socket may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// Most bytes of an answer that are kept; the longest real ones are lists of some hundred kB.
const MAX_ANSWER: usize = 16 << 20;

/// What goes with a request.
#[derive(Debug, Default)]
pub(crate) enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// JSON text.
    Json(Vec<u8>),
    /// JSON text with a secret in it, wiped afterwards.
    Secret(Zeroizing<Vec<u8>>),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A request to be made.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Body,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Body::Empty,
        }
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn json(self, value: &serde_json::Value) -> Self {
        self.body(Body::Json(value.to_string().into_bytes()))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn into_request(self) -> Result<Request<BoxBody<Bytes, io::Error>>, HttpError> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(header::HOST, "localhost");
        if matches!(self.body, Body::Json(_) | Body::Secret(_)) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let full = |bytes: Bytes| Full::new(bytes).map_err(|never| match never {}).boxed();
        let body = match self.body {
            Body::Empty => full(Bytes::new()),
            Body::Json(bytes) | Body::Bytes(bytes) => full(bytes.into()),
            Body::Secret(bytes) => full(Bytes::from_owner(bytes)),
        };
        request.body(body).map_err(HttpError::Request)
    }
}

/// What came back, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// Nobody accepts at the socket.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// What came was no HTTP, or ended too early.
    #[error("the answer cannot be read")]
    Broken(#[source] hyper::Error),
    /// The body is too long, or was cut.
    #[error("the answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request cannot be written: a character that no path may hold.
    #[error("the request cannot be written")]
    Request(#[source] hyper::http::Error),
}

/// A client of the server behind a unix socket; each request has a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct UnixHttp {
    socket: PathBuf,
}

impl UnixHttp {
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes a request and reads the whole answer, both within `limit`.
    pub(crate) async fn send(&self, call: Call, limit: Duration) -> Result<Answer, HttpError> {
        let answer = async {
            let (head, body) = self.start(call).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(HttpError::Body)?.to_bytes().to_vec();
            Ok(Answer {
                status: head.status,
                body,
            })
        };
        let answer = tokio::time::timeout(limit, answer).await;
        answer.map_err(|_| HttpError::Silent(limit))?
    }

    /// Makes a request and returns the answer as soon as it begins.
    pub(crate) async fn start(&self, call: Call) -> Result<Response<Incoming>, HttpError> {
        let request = call.into_request()?;
        let stream = tokio::time::timeout(CONNECT, UnixStream::connect(&self.socket)).await;
        let stream = stream
            .map_err(|_| HttpError::Silent(CONNECT))?
            .map_err(HttpError::Connect)?;
        let io = TokioIo::new(stream);
        let (mut sender, connection) = http1::handshake(io).await.map_err(HttpError::Broken)?;
        // ends with the last of the request, the answer and what it was upgraded to
        tokio::spawn(connection.with_upgrades());
        sender
            .send_request(request)
            .await
            .map_err(HttpError::Broken)
    }
}
