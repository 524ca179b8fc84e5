//! Agent messages on the wire: [RFC 9987](https://www.rfc-editor.org/rfc/rfc9987).

use std::io;

use ssh_agent_lib::proto::{Extension, Response, SignRequest};
use ssh_agent_lib::ssh_encoding::{Decode, Encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zeroize::{Zeroize, Zeroizing};

/// Longest message, as in OpenSSH.
pub(super) const MAX_MESSAGE: usize = 256 * 1024;

/// Bytes of the length before a message.
const HEADER: usize = 4;

/// Most bytes that are taken from a client at once.
const CHUNK: usize = 4096;

/// What a client may ask for.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// `SSH_AGENTC_REQUEST_IDENTITIES`.
    List,
    /// `SSH_AGENTC_SIGN_REQUEST`.
    Sign(Box<SignRequest>),
    /// `SSH_AGENTC_EXTENSION`.
    Extension(Extension),
    /// A message that this agent does not serve, or one that does not parse.
    Unserved,
}

impl Request {
    /// Reads a message. What is not served is not parsed: it may hold a private key.
    pub(super) fn decode(message: &[u8]) -> Self {
        let Some((&kind, mut body)) = message.split_first() else {
            return Self::Unserved;
        };
        let request = match kind {
            11 => Some(Self::List),
            13 => SignRequest::decode(&mut body)
                .ok()
                .map(|request| Self::Sign(Box::new(request))),
            27 => Extension::decode(&mut body).ok().map(Self::Extension),
            _ => None,
        };
        match request {
            Some(request) if body.is_empty() => request,
            _ => Self::Unserved,
        }
    }
}

/// A client's end of the socket, cut into messages.
pub(super) struct Frames {
    stream: UnixStream,
    pending: Zeroizing<Vec<u8>>,
}

/// Why there is no further message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client went away.
    HungUp,
    /// It announced an empty message or one longer than [`MAX_MESSAGE`].
    Malformed,
}

impl Frames {
    pub(super) fn new(stream: UnixStream) -> Self {
        let pending = Zeroizing::new(Vec::new());
        Self { stream, pending }
    }

    /// Returns the next message.
    pub(super) async fn next(&mut self) -> Result<Zeroizing<Vec<u8>>, End> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// Resolves when the client is gone; what it still sends is kept, up to the longest message.
    pub(super) async fn hung_up(&mut self) {
        while self.pending.len() < HEADER + MAX_MESSAGE {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Sends an answer.
    pub(super) async fn send(&mut self, response: &Response) -> io::Result<()> {
        let mut message = Vec::new();
        response
            .encode_prefixed(&mut message)
            .map_err(io::Error::other)?;
        self.stream.write_all(&message).await
    }

    fn take(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, End> {
        let Some((header, rest)) = self.pending.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        if length == 0 || length > MAX_MESSAGE {
            return Err(End::Malformed);
        }
        let Some((message, after)) = rest.split_at_checked(length) else {
            return Ok(None);
        };
        let message = Zeroizing::new(message.to_vec());
        let after = Zeroizing::new(after.to_vec());
        self.pending = after;
        Ok(Some(message))
    }

    async fn fill(&mut self) -> Result<(), End> {
        let mut chunk = [0; CHUNK];
        let read = self.stream.read(&mut chunk).await;
        let read = read.map_err(|_| End::HungUp)?;
        self.pending.extend_from_slice(&chunk[..read]);
        chunk[..read].zeroize();
        if read == 0 { Err(End::HungUp) } else { Ok(()) }
    }
}
