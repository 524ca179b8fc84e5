//! Why a request to the device did not end in an answer.

use crate::hint::Hint;
use crate::interaction::NoAnswer;

use super::transport::TransportError;

/// How a device was lost. The session is locked, and this handle is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// Unplugged, emulator ended, bridge ended.
    #[error("is gone")]
    Gone,
    /// Another program acquired it.
    #[error("was taken over by another program")]
    Stolen,
    /// The device no longer knows our session: another program ended it, or it was locked.
    #[error("no longer knows this session")]
    SessionClosed,
    /// It sent something that is no message, so that nothing more it says can be relied on.
    #[error("sent something that is no Trezor message")]
    Garbled,
    /// It did not even answer to being cancelled.
    #[error("does not answer")]
    Silent,
    /// The machine slept; whoever woke it need not be who unlocked it.
    #[error("was locked when the machine was suspended")]
    Suspended,
}

/// Why a request to the device did not end in an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The device was lost; the session is locked.
    #[error("the device at `{device}` {loss}")]
    Lost {
        /// The way to it, as [`super::Transport::name`] says.
        device: String,
        /// What happened.
        loss: Loss,
        /// What the transport said.
        #[source]
        source: Option<TransportError>,
    },
    /// Another program is in the middle of a dialogue with the device.
    #[error("another program is using the device at `{0}`")]
    Busy(String),
    /// The person declined on the device.
    #[error("declined on the device")]
    Declined,
    /// The request was cancelled from this side.
    #[error("cancelled")]
    Cancelled,
    /// A question of the device got no answer.
    #[error(transparent)]
    NoAnswer(NoAnswer),
    /// The device did not accept the PIN.
    #[error("wrong PIN")]
    WrongPin,
    /// The session is locked: no request that needs keys is sent.
    #[error("the session is locked")]
    Locked,
    /// The device has no seed.
    #[error("the device is not initialised")]
    NotInitialized,
    /// The device refused the request.
    #[error("the device refused: {message} ({name})")]
    Failure {
        /// `FailureType` number of the Trezor protocol.
        code: i32,
        /// Its name there.
        name: String,
        /// What the device said, printable.
        message: String,
    },
    /// The device answered with another message than the request asks for.
    #[error("the device answered {got} where {expected} was expected")]
    Unexpected {
        /// Message type that the request asks for.
        expected: String,
        /// Message type that came.
        got: String,
    },
    /// The answer does not parse as the message that it claims to be.
    #[error("the device sent a damaged {0} message")]
    Damaged(String),
    /// The answer is well formed, and wrong.
    #[error("the device's answer cannot be right: {0}")]
    Implausible(String),
    /// The request did not reach the device.
    #[error("the request did not reach the device at `{device}`")]
    NotSent {
        /// The way to it.
        device: String,
        /// What the transport said.
        #[source]
        source: TransportError,
    },
}

impl Hint for DeviceError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Lost {
                loss: Loss::Gone | Loss::Silent,
                ..
            } => "connect the device again, then run `unlock`".into(),
            Self::Lost {
                loss: Loss::Stolen, ..
            } => "end the other program, then run `unlock`".into(),
            Self::Lost {
                loss: Loss::SessionClosed | Loss::Suspended,
                ..
            } => "run `unlock` and enter the passphrase again".into(),
            Self::Lost {
                loss: Loss::Garbled,
                ..
            } => "check what answers at that address, and the cable".into(),
            Self::Busy(_) => "finish or cancel there, then try again".into(),
            Self::NoAnswer(no_answer) => return no_answer.hint(),
            Self::WrongPin => "try again; every wrong PIN makes the device wait longer".into(),
            Self::Locked => "run `unlock`".into(),
            Self::NotInitialized => "set the device up with Trezor Suite first".into(),
            Self::Unexpected { .. } | Self::Damaged(_) => {
                "check what answers there: `device info` shows it; update its firmware".into()
            }
            Self::Implausible(_) => {
                "stop: the device, or something between it and bcm, is not to be trusted".into()
            }
            _ => return None,
        })
    }
}
