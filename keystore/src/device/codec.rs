//! The two ways in which a message is written: 64-byte chunks (USB, UDP) and hex (bridge).
//!
//! `trezor-client` has a codec for chunks, which bcm does not use: it prints on a wrong magic,
//! trusts any length it is told, and reads in one blocking call that nothing can cancel. Here the
//! caller reads and the [`Decoder`] is pushed one chunk at a time.
//!
//! A first chunk is `?##`, the type (u16 BE), the length (u32 BE) and the beginning of the body; the
//! chunks that follow are `?` and 63 bytes more; zeros fill the last one. See the
//! [protocol](https://docs.trezor.io/trezor-firmware/common/communication/index.html). The bridge
//! takes the same without magic and padding, in hex. Buffers are wiped: a body may hold a passphrase.

use zeroize::{Zeroize, Zeroizing};

use super::transport::{MAX_PAYLOAD, Message, TransportError};

/// Bytes of a chunk, on USB and UDP alike.
pub const CHUNK: usize = 64;

/// Longest text in the bridge's form that [`bridge_decode`] accepts.
pub const MAX_BRIDGE_TEXT: usize = 2 * (HEADER + MAX_PAYLOAD);

const MARK: u8 = b'?';
const MAGIC: &[u8; 3] = b"?##";

/// Type and length.
const HEADER: usize = 6;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Not 64 bytes at once.
    #[error("a chunk of {0} bytes, expected 64")]
    ChunkSize(usize),
    /// The first chunk does not begin with `?##`.
    #[error("a message begins with {}, expected 3f2323", hex::encode(.0))]
    Magic([u8; 3]),
    /// A chunk that continues a message does not begin with `?`.
    #[error("a chunk begins with {0:02x}, expected 3f")]
    Mark(u8),
    /// More than [`MAX_PAYLOAD`].
    #[error("a message of {0} bytes, expected at most {MAX_PAYLOAD}")]
    TooLong(usize),
    /// Too short to hold a type and a length.
    #[error("an answer of {0} bytes, expected at least {HEADER}")]
    Truncated(usize),
    /// The length that a message names is not the one it has.
    #[error("a message says it has {said} bytes and has {found}")]
    Length {
        /// What its header says.
        said: usize,
        /// What came.
        found: usize,
    },
    /// Not hex.
    #[error("an answer is not hex")]
    Hex,
}

impl From<CodecError> for TransportError {
    fn from(error: CodecError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Splits `message` into the chunks that carry it.
///
/// # Errors
///
/// Fails when it is longer than [`MAX_PAYLOAD`].
pub fn encode_chunks(message: &Message) -> Result<Zeroizing<Vec<[u8; CHUNK]>>, CodecError> {
    let payload = message.payload();
    let header = header(message)?;
    let count = (2 + HEADER + payload.len()).div_ceil(CHUNK - 1);
    let mut chunks = Zeroizing::new(vec![[0; CHUNK]; count]);
    let bytes = MAGIC[1..].iter().chain(&header).chain(payload);
    let places = chunks.iter_mut().flat_map(|chunk| {
        chunk[0] = MARK;
        &mut chunk[1..]
    });
    for (place, byte) in places.zip(bytes) {
        *place = *byte;
    }
    Ok(chunks)
}

/// Puts chunks together again.
///
/// It never holds more than one message of at most [`MAX_PAYLOAD`] bytes, and after an error it is
/// as new.
#[derive(Default)]
pub struct Decoder {
    begun: Option<Begun>,
}

struct Begun {
    kind: u16,
    length: usize,
    payload: Zeroizing<Vec<u8>>,
}

impl Decoder {
    /// Returns a decoder that waits for a first chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one chunk; returns the message when that was its last.
    ///
    /// # Errors
    ///
    /// Fails when the chunk cannot be one, and forgets what came before it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Option<Message>, CodecError> {
        let begun = self.begun.take();
        let chunk: &[u8; CHUNK] = chunk
            .try_into()
            .map_err(|_| CodecError::ChunkSize(chunk.len()))?;
        let mut begun = match begun {
            Some(mut begun) => {
                let (mark, body) = chunk.split_at(1);
                if mark[0] != MARK {
                    return Err(CodecError::Mark(mark[0]));
                }
                begun.extend(body);
                begun
            }
            None => Begun::new(chunk)?,
        };
        if begun.payload.len() == begun.length {
            let payload = std::mem::take(&mut *begun.payload);
            return Ok(Some(Message::new(begun.kind, payload)));
        }
        self.begun = Some(begun);
        Ok(None)
    }

    /// Forgets a message of which only a part came.
    pub fn clear(&mut self) {
        self.begun = None;
    }

    /// Tells whether a message has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.begun.is_some()
    }
}

impl std::fmt::Debug for Decoder {
    /// Prints how far it is, never a body.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.begun {
            Some(begun) => write!(f, "Decoder({} of {})", begun.payload.len(), begun.length),
            None => f.write_str("Decoder(empty)"),
        }
    }
}

impl Begun {
    fn new(chunk: &[u8; CHUNK]) -> Result<Self, CodecError> {
        let (magic, rest) = chunk.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(CodecError::Magic([chunk[0], chunk[1], chunk[2]]));
        }
        let (kind, length, body) = parse_header(rest)?;
        // Room for all of it at once: a vector that grows leaves copies behind.
        let payload = Zeroizing::new(Vec::with_capacity(length));
        let mut begun = Self {
            kind,
            length,
            payload,
        };
        begun.extend(body);
        Ok(begun)
    }

    fn extend(&mut self, body: &[u8]) {
        let missing = self.length - self.payload.len();
        self.payload
            .extend_from_slice(&body[..body.len().min(missing)]);
    }
}

/// Writes `message` as the bridge takes it: type, length and body in hex.
///
/// # Errors
///
/// Fails when it is longer than [`MAX_PAYLOAD`].
pub fn bridge_encode(message: &Message) -> Result<Zeroizing<String>, CodecError> {
    let payload = message.payload();
    let mut text = Zeroizing::new(String::with_capacity(2 * (HEADER + payload.len())));
    for byte in header(message)?.iter().chain(payload) {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(digit), 16).expect("a nibble is a hex digit"));
        }
    }
    Ok(text)
}

/// Reads a message in the bridge's form; white space around it is no part of it.
///
/// # Errors
///
/// Fails when `text` is not exactly one message in hex.
pub fn bridge_decode(text: &[u8]) -> Result<Message, CodecError> {
    let text = text.trim_ascii();
    if text.len() > MAX_BRIDGE_TEXT {
        return Err(CodecError::TooLong(text.len() / 2));
    }
    let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
    hex::decode_to_slice(text, &mut bytes).map_err(|_| CodecError::Hex)?;
    let (kind, said, body) = parse_header(&bytes)?;
    if said != body.len() {
        let found = body.len();
        return Err(CodecError::Length { said, found });
    }
    bytes.rotate_left(HEADER);
    let mut payload = std::mem::take(&mut *bytes);
    payload[said..].zeroize();
    payload.truncate(said);
    Ok(Message::new(kind, payload))
}

fn header(message: &Message) -> Result<[u8; HEADER], CodecError> {
    let length = message.payload().len();
    let wire = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_PAYLOAD)
        .ok_or(CodecError::TooLong(length))?;
    let mut header = [0; HEADER];
    header[..2].copy_from_slice(&message.kind().to_be_bytes());
    header[2..].copy_from_slice(&wire.to_be_bytes());
    Ok(header)
}

fn parse_header(bytes: &[u8]) -> Result<(u16, usize, &[u8]), CodecError> {
    let (&[k0, k1, l0, l1, l2, l3], body) = bytes
        .split_first_chunk::<HEADER>()
        .ok_or(CodecError::Truncated(bytes.len()))?;
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    if length > MAX_PAYLOAD {
        return Err(CodecError::TooLong(length));
    }
    Ok((u16::from_be_bytes([k0, k1]), length, body))
}

#[cfg(test)]
mod tests;
