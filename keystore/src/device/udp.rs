//! UDP: how an emulator is reached, and `bcm simulator serve`.
//!
//! An emulator answers `PINGPING` with `PONGPONG` at any time. Probing uses that, and so does waiting:
//! UDP says nothing when a peer ends, so a peer that answers no ping for [`PATIENCE`] is gone.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::codec::{CHUNK, Decoder, encode_chunks};
use super::discovery::Obstacle;
use super::transport::{Message, Transport, TransportError};
use zeroize::Zeroizing;

const PING: &[u8; 8] = b"PINGPING";
const PONG: &[u8; 8] = b"PONGPONG";

/// How long [`UdpTransport::open`] waits for the first answer.
const PROBE: Duration = Duration::from_millis(450);

/// Between one ping and the next.
const PING_EVERY: Duration = Duration::from_millis(300);

/// Longest wait before the clock is looked at again.
const TICK: Duration = Duration::from_millis(100);

/// How long pings may stay unanswered: with [`PING_EVERY`] and [`TICK`] less than 2 s.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Most datagrams thrown away before a request; a peer that sends more is heard in `receive`.
const STALE: usize = 1024;

/// An emulator or simulator at the other end of a UDP socket.
#[derive(Debug)]
pub struct UdpTransport {
    socket: UdpSocket,
    peer: SocketAddr,
    decoder: Decoder,
    heard: Instant,
    pinged: Instant,
    unanswered: Option<Instant>,
}

/// What one datagram was.
enum Datagram {
    Pong,
    Chunk(Zeroizing<[u8; CHUNK]>),
    Other(usize),
}

impl UdpTransport {
    /// Connects to `peer` if an emulator answers there, in less than 500 ms.
    ///
    /// # Errors
    ///
    /// Fails with what is there instead.
    pub fn open(peer: SocketAddr) -> Result<Self, Obstacle> {
        let mut transport = Self::connect(peer).map_err(TransportError::Io)?;
        let deadline = Instant::now() + PROBE;
        let mut rubbish = None;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            transport.ping_if_due()?;
            match transport.datagram(left.min(PING_EVERY))? {
                Some(Datagram::Pong) => return Ok(transport),
                Some(Datagram::Other(length)) => rubbish = Some(length),
                Some(Datagram::Chunk(_)) => rubbish = Some(CHUNK),
                None => {}
            }
        }
        Err(rubbish.map_or(Obstacle::Silent, |length| {
            let found = format!("{length} bytes in answer to a ping");
            TransportError::Malformed(found).into()
        }))
    }

    fn connect(peer: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match peer.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(peer)?;
        socket.set_write_timeout(Some(Duration::from_secs(1)))?;
        let now = Instant::now();
        Ok(Self {
            socket,
            peer,
            decoder: Decoder::new(),
            heard: now,
            pinged: now.checked_sub(PING_EVERY).unwrap_or(now),
            unanswered: None,
        })
    }

    fn ping_if_due(&mut self) -> Result<(), TransportError> {
        let now = Instant::now();
        if self.pinged + PING_EVERY <= now {
            self.pinged = now;
            self.unanswered.get_or_insert(now);
            self.write(PING)?;
        }
        Ok(())
    }

    fn is_silent(&self) -> bool {
        self.unanswered.is_some_and(|at| at.elapsed() > PATIENCE)
    }

    /// Waits for one datagram, at most `wait`.
    fn datagram(&mut self, wait: Duration) -> Result<Option<Datagram>, TransportError> {
        // A timeout of zero would mean none, and one byte more shows a datagram that is too long.
        let wait = wait.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait))?;
        let mut buffer = Zeroizing::new([0; CHUNK + 1]);
        let length = match self.socket.recv(&mut *buffer) {
            Ok(length) => length,
            Err(error) if is_nothing(&error) => return Ok(None),
            Err(error) => return Err(lost(error)),
        };
        self.unanswered = None;
        let bytes = &buffer[..length];
        Ok(Some(match <&[u8; CHUNK]>::try_from(bytes) {
            Ok(chunk) => Datagram::Chunk(Zeroizing::new(*chunk)),
            Err(_) if bytes == PONG => Datagram::Pong,
            Err(_) => Datagram::Other(length),
        }))
    }

    fn write(&self, datagram: &[u8]) -> Result<(), TransportError> {
        // The first send after a peer ended is the one that hears of it.
        self.socket.send(datagram).map(drop).map_err(lost)
    }

    fn write_message(&self, message: &Message) -> Result<(), TransportError> {
        let chunks = encode_chunks(message)?;
        chunks.iter().try_for_each(|chunk| self.write(chunk))
    }

    /// Throws away what an earlier request left behind.
    fn drain(&mut self) -> Result<(), TransportError> {
        self.decoder.clear();
        self.socket.set_nonblocking(true)?;
        let mut buffer = Zeroizing::new([0; CHUNK]);
        let stale = (0..STALE).find_map(|_| self.socket.recv(&mut *buffer).err());
        self.socket.set_nonblocking(false)?;
        match stale {
            Some(error) if !is_nothing(&error) => Err(lost(error)),
            _ => Ok(()),
        }
    }
}

impl Transport for UdpTransport {
    fn name(&self) -> String {
        format!("udp:{}", self.peer)
    }

    fn send(&mut self, message: &Message) -> Result<(), TransportError> {
        self.drain()?;
        self.unanswered = None;
        self.write_message(message)
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Message>, TransportError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.datagram(left.min(TICK))? {
                Some(Datagram::Pong) => {}
                Some(Datagram::Chunk(chunk)) => {
                    self.heard = Instant::now();
                    if let Some(message) = self.decoder.push(&*chunk)? {
                        return Ok(Some(message));
                    }
                }
                Some(Datagram::Other(length)) => {
                    self.decoder.clear();
                    let found = format!("a datagram of {length} bytes, expected {CHUNK}");
                    return Err(TransportError::Malformed(found));
                }
                None if self.is_silent() => {
                    return Err(TransportError::Gone(Some(ErrorKind::TimedOut.into())));
                }
                None => {}
            }
            if self.decoder.is_midway() && self.heard.elapsed() > PATIENCE {
                let found = "a message that stops midway".to_owned();
                return Err(TransportError::Malformed(found));
            }
            self.ping_if_due()?;
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    fn alive(&mut self) -> Result<(), TransportError> {
        self.ping_if_due()?;
        match self.datagram(TICK)? {
            None if self.is_silent() => Err(TransportError::Gone(Some(ErrorKind::TimedOut.into()))),
            _ => Ok(()),
        }
    }

    fn cancel(&mut self) -> Result<(), TransportError> {
        // Not `send`: the answer to what is cancelled may be on its way already.
        self.write_message(&Message::encode(&trezor_client::protos::Cancel::new()))
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Linux tells a connected UDP socket of a closed port, which means that the peer ended.
fn lost(error: io::Error) -> TransportError {
    match error.kind() {
        ErrorKind::ConnectionRefused => TransportError::Gone(Some(error)),
        _ => TransportError::Io(error),
    }
}

#[cfg(test)]
mod tests;
