//! How messages reach a device: the one joint between the actor and USB, UDP, bridge or simulator.

use std::fmt;
use std::time::Duration;

use protobuf::Enum;
use trezor_client::TrezorMessage;
use trezor_client::protos::MessageType;
use zeroize::Zeroizing;

/// Longest message that bcm accepts or sends, in bytes of its payload.
///
/// A Trezor T takes and sends a few KiB at a time; what claims more is not a Trezor.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// One protobuf message as it travels: its type and its body, which is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    kind: u16,
    payload: Zeroizing<Vec<u8>>,
}

impl Message {
    /// Takes a message type number and the protobuf body that belongs to it.
    pub fn new(kind: u16, payload: Vec<u8>) -> Self {
        Self {
            kind,
            payload: Zeroizing::new(payload),
        }
    }

    /// Encodes `message`.
    ///
    /// # Panics
    ///
    /// Panics when a required field of `message` is not set.
    pub fn encode<M: TrezorMessage>(message: &M) -> Self {
        let payload = message.write_to_bytes().expect("required fields are set");
        let kind = u16::try_from(M::MESSAGE_TYPE.value()).expect("message types are 16 bit");
        Self::new(kind, payload)
    }

    /// Decodes the body as an `M`, whatever the type number says.
    ///
    /// # Errors
    ///
    /// Fails when the body is not a protobuf message of that shape.
    pub fn decode<M: TrezorMessage>(&self) -> Result<M, protobuf::Error> {
        M::parse_from_bytes(&self.payload)
    }

    /// Tells whether this is an `M` by its type number.
    pub fn is<M: TrezorMessage>(&self) -> bool {
        i32::from(self.kind) == M::MESSAGE_TYPE.value()
    }

    /// Returns the message type number.
    pub fn kind(&self) -> u16 {
        self.kind
    }

    /// Returns the name of the message type, `None` for a number that Trezor does not use.
    pub fn name(&self) -> Option<String> {
        MessageType::from_i32(i32::from(self.kind)).map(name)
    }

    /// Returns the name of the message type `M`.
    pub fn name_of<M: TrezorMessage>() -> String {
        name(M::MESSAGE_TYPE)
    }

    /// Returns the protobuf body.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

fn name(kind: MessageType) -> String {
    format!("{kind:?}")
        .trim_start_matches("MessageType_")
        .to_owned()
}

impl fmt::Debug for Message {
    /// Prints the type and the length: a body may hold a passphrase.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}({} bytes)", self.payload.len()),
            None => write!(f, "type {}({} bytes)", self.kind, self.payload.len()),
        }
    }
}

/// Why a message did not get through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The device or the way to it is gone: unplugged, emulator ended, bridge ended.
    #[error("the device is gone")]
    Gone(#[source] Option<std::io::Error>),
    /// Another program took the device over.
    #[error("another program took the device over")]
    Stolen,
    /// Another program is in the middle of a dialogue with the device.
    #[error("another program is using the device")]
    Busy,
    /// The peer does not speak the Trezor protocol.
    #[error("the peer does not speak the Trezor protocol: {0}")]
    Malformed(String),
    /// The bridge answered something that is no answer to the question.
    #[error("the bridge answered {status}: {text}")]
    Bridge {
        /// HTTP status.
        status: u16,
        /// What it said, cut and printable.
        text: String,
    },
    /// The operating system refused.
    #[error("cannot talk to the device")]
    Io(#[from] std::io::Error),
}

/// A way to one device. One request at a time: the actor sends, then receives until an answer came.
pub trait Transport: Send {
    /// Names the way for a person, as `--device` takes it where it can: `udp:127.0.0.1:21324`.
    fn name(&self) -> String;

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// Fails with [`TransportError`] when it surely did not arrive.
    fn send(&mut self, message: &Message) -> Result<(), TransportError>;

    /// Waits for the next message, at most `wait`; `Ok(None)` when none came in that time.
    ///
    /// A device that vanished is noticed within 2 s while this is called in a loop.
    ///
    /// # Errors
    ///
    /// Fails with [`TransportError`]; after [`TransportError::Gone`] or [`TransportError::Stolen`]
    /// the transport is of no further use.
    fn receive(&mut self, wait: Duration) -> Result<Option<Message>, TransportError>;

    /// Looks whether the device is still there, between requests; costs no more than 500 ms.
    ///
    /// # Errors
    ///
    /// Fails with [`TransportError::Gone`] or [`TransportError::Stolen`].
    fn alive(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    /// Sends `Cancel` while an answer is awaited. The answer (a Failure) is still to be received.
    ///
    /// # Errors
    ///
    /// Fails as [`Transport::send`] does.
    fn cancel(&mut self) -> Result<(), TransportError> {
        self.send(&Message::encode(&trezor_client::protos::Cancel::new()))
    }
}
