//! The thread of the simulated device: takes a request, runs its dialogue, writes the answer.
//!
//! A handler is straight-line code in the file of its message family; whatever ends it early is a
//! [`Stop`]. A new family adds its handlers there and its lines to [`Engine::answer`].

use protobuf::{Enum, MessageField};
use trezor_client::TrezorMessage;
use trezor_client::protos::button_request::ButtonRequestType;
use trezor_client::protos::failure::FailureType;
use trezor_client::protos::{
    ButtonAck, ButtonRequest, Failure, HDNodeType, MessageType, PassphraseAck, PassphraseRequest,
};
use zeroize::Zeroizing;

use super::keys::{Keychain, Node};
use super::memory::Memory;
use super::person::{Decision, Person};
use super::screen::Screen;
use super::session::Sessions;
use super::wire::Wire;
use crate::device::Message;
use crate::secret::MAX_PASSPHRASE_BYTES;

/// Characters of running text on a page, as the device's font has it.
pub(super) const TEXT_ROOM: usize = 116;

/// Characters of a blob (address, message, passphrase) on a page.
pub(super) const BLOB_ROOM: usize = 95;

/// Wrong PINs after which the device wipes itself.
const MAX_WRONG_PINS: u32 = 16;

/// Why a dialogue ended without its answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// The device answers this failure.
    Failure(FailureType, String),
    /// The host left the dialogue for another request, or left altogether: nobody waits.
    Abandoned,
    /// The device is switched off.
    Vanished,
}

impl Stop {
    pub(super) fn failure(code: FailureType, text: impl Into<String>) -> Self {
        Self::Failure(code, text.into())
    }

    pub(super) fn data(text: &str) -> Self {
        Self::failure(FailureType::Failure_DataError, text)
    }

    pub(super) fn process(text: &str) -> Self {
        Self::failure(FailureType::Failure_ProcessError, text)
    }

    /// What firmware answers when its own code raised an error that nobody expected.
    pub(super) fn firmware(text: &str) -> Self {
        Self::failure(FailureType::Failure_FirmwareError, text)
    }

    pub(super) fn cancelled() -> Self {
        Self::failure(FailureType::Failure_ActionCancelled, "Cancelled")
    }

    pub(super) fn not_initialized() -> Self {
        let text = "Device is not initialized";
        Self::failure(FailureType::Failure_NotInitialized, text)
    }

    fn unexpected() -> Self {
        Self::failure(FailureType::Failure_UnexpectedMessage, "Unexpected message")
    }
}

/// The device.
pub(super) struct Engine {
    pub(super) wire: Wire,
    person: Box<dyn Person>,
    pub(super) memory: Memory,
    pub(super) sessions: Sessions,
}

impl Engine {
    pub(super) fn new(wire: Wire, person: Box<dyn Person>, memory: Memory) -> Self {
        Self {
            wire,
            person,
            memory,
            sessions: Sessions::default(),
        }
    }

    /// Serves until the device is switched off.
    pub(super) fn run(mut self) {
        while let Some(request) = self.wire.next_request() {
            match self.answer(&request) {
                Ok(answer) => self.wire.write(&answer),
                Err(Stop::Abandoned) => {}
                Err(Stop::Vanished) => return,
                Err(Stop::Failure(code, text)) => self.wire.write(&failure(code, text)),
            }
        }
    }

    fn answer(&mut self, request: &Message) -> Result<Message, Stop> {
        use MessageType as T;
        let kind = T::from_i32(i32::from(request.kind())).ok_or_else(Stop::unexpected)?;
        match kind {
            T::MessageType_Initialize => return encode(&self.initialize(&decode(request)?)),
            T::MessageType_GetFeatures => return encode(&self.features(None)),
            T::MessageType_Cancel => return Err(Stop::cancelled()),
            T::MessageType_Ping => return encode(&self.ping(&decode(request)?)?),
            T::MessageType_EndSession => return encode(&self.end_session()),
            T::MessageType_LockDevice => return encode(&self.lock_device()),
            T::MessageType_ApplySettings
            | T::MessageType_ApplyFlags
            | T::MessageType_GetPublicKey
            | T::MessageType_GetAddress
            | T::MessageType_SignMessage
            | T::MessageType_SignTx
            | T::MessageType_SignIdentity
            | T::MessageType_GetECDHSessionKey
            | T::MessageType_CipherKeyValue => self.unlock()?,
            _ => return Err(Stop::unexpected()),
        }
        match kind {
            T::MessageType_ApplySettings => encode(&self.apply_settings(decode(request)?)?),
            T::MessageType_ApplyFlags => encode(&self.apply_flags(&decode(request)?)?),
            T::MessageType_GetPublicKey => encode(&self.get_public_key(&decode(request)?)?),
            T::MessageType_GetAddress => encode(&self.get_address(&decode(request)?)?),
            T::MessageType_SignMessage => encode(&self.sign_message(&decode(request)?)?),
            T::MessageType_SignTx => encode(&self.sign_tx(&decode(request)?)?),
            T::MessageType_SignIdentity => encode(&self.sign_identity(&decode(request)?)?),
            T::MessageType_GetECDHSessionKey => encode(&self.ecdh(&decode(request)?)?),
            T::MessageType_CipherKeyValue => encode(&self.cipher(decode(request)?)?),
            _ => Err(Stop::unexpected()),
        }
    }

    /// Asks the person, who sees `screen` once the host acknowledged the request.
    pub(super) fn confirm(&mut self, code: ButtonRequestType, screen: &Screen) -> Result<(), Stop> {
        self.button(code, screen.name(), screen.page_count())?;
        let person = &self.person;
        match self.wire.with_person(|off| person.confirm(screen, off))? {
            Decision::Confirm => Ok(()),
            Decision::Reject => Err(Stop::cancelled()),
        }
    }

    fn button(&mut self, code: ButtonRequestType, name: &str, pages: u32) -> Result<(), Stop> {
        let mut request = ButtonRequest::new();
        request.set_code(code);
        request.set_pages(pages);
        request.set_name(name.to_owned());
        self.ask::<_, ButtonAck>(&request)?;
        Ok(())
    }

    /// Asks the host, whose next message must be an `A`.
    pub(super) fn ask<Q: TrezorMessage, A: TrezorMessage>(
        &mut self,
        question: &Q,
    ) -> Result<A, Stop> {
        self.wire.write(&Message::encode(question));
        let expected = u16::try_from(A::MESSAGE_TYPE.value()).expect("message types are 16 bit");
        decode(&self.wire.read(expected)?)
    }

    /// Asks for the PIN until it is right, when the device is locked.
    pub(super) fn unlock(&mut self) -> Result<(), Stop> {
        while !self.memory.unlocked {
            self.button(ButtonRequestType::ButtonRequest_PinEntry, "pin_device", 1)?;
            let person = &self.person;
            let typed = self
                .wire
                .with_person(|off| person.pin(off))?
                .ok_or_else(|| {
                    Stop::failure(FailureType::Failure_PinCancelled, "PIN entry cancelled")
                })?;
            if self.memory.try_pin(&typed) {
                break;
            }
            if self.memory.wrong_pins >= MAX_WRONG_PINS {
                self.memory = Memory::wiped();
                self.sessions = Sessions::default();
                let text = "Too many wrong PINs: the device has wiped itself";
                return Err(Stop::failure(FailureType::Failure_PinInvalid, text));
            }
        }
        Ok(())
    }

    /// Opens the wallet of this session, asking for its passphrase the first time.
    pub(super) fn keychain(&mut self) -> Result<Keychain, Stop> {
        if self.memory.mnemonic.is_none() {
            return Err(Stop::not_initialized());
        }
        let active = self.sessions.active();
        let session = active
            .ok_or_else(|| Stop::failure(FailureType::Failure_InvalidSession, "Invalid session"))?;
        if let Some(seed) = &session.seed {
            return Ok(Keychain::new(seed));
        }
        let passphrase = self.passphrase()?;
        let mnemonic = self
            .memory
            .mnemonic
            .as_ref()
            .ok_or_else(Stop::not_initialized)?;
        let seed = mnemonic.seed(&passphrase);
        let keychain = Keychain::new(&seed);
        if let Some(session) = self.sessions.active() {
            session.seed = Some(seed);
        }
        Ok(keychain)
    }

    fn passphrase(&mut self) -> Result<Zeroizing<String>, Stop> {
        let passphrase = if !self.memory.passphrase_protection {
            Zeroizing::default()
        } else if self.memory.passphrase_always_on_device {
            self.passphrase_on_device()?
        } else {
            self.passphrase_on_host()?
        };
        if passphrase.len() > MAX_PASSPHRASE_BYTES {
            return Err(Stop::data("Maximum passphrase length is 50 bytes"));
        }
        Ok(passphrase)
    }

    fn passphrase_on_host(&mut self) -> Result<Zeroizing<String>, Stop> {
        let mut ack: PassphraseAck = self.ask(&PassphraseRequest::new())?;
        let passphrase = ack.passphrase.take().map(Zeroizing::new);
        if ack.on_device() {
            if passphrase.is_some() {
                return Err(Stop::data("Passphrase provided when it should not be"));
            }
            return self.passphrase_on_device();
        }
        let passphrase = passphrase
            .ok_or_else(|| Stop::data("Passphrase not provided and on_device is False"))?;
        if !passphrase.is_empty() {
            let other = ButtonRequestType::ButtonRequest_Other;
            let text = "The next screen shows your passphrase.";
            let announced = Screen::new("passphrase_host1", "Passphrase wallet", text, TEXT_ROOM);
            self.confirm(other, &announced)?;
            let title = "Confirm passphrase";
            let shown = Screen::new("passphrase_host2", title, &passphrase, BLOB_ROOM);
            self.confirm(other, &shown)?;
        }
        Ok(passphrase)
    }

    fn passphrase_on_device(&mut self) -> Result<Zeroizing<String>, Stop> {
        use unicode_normalization::UnicodeNormalization;

        let code = ButtonRequestType::ButtonRequest_PassphraseEntry;
        self.button(code, "passphrase_device", 1)?;
        let person = &self.person;
        let typed = self.wire.with_person(|off| person.passphrase(off))?;
        let typed = typed.ok_or_else(|| {
            let text = "Passphrase entry cancelled";
            Stop::failure(FailureType::Failure_ActionCancelled, text)
        })?;
        let text = std::str::from_utf8(typed.as_bytes())
            .map_err(|_| Stop::data("Passphrase is not text"))?;
        // NFKD makes a text at most 18 times as long; with that room no copy is left behind
        let mut passphrase = Zeroizing::new(String::with_capacity(18 * text.len()));
        passphrase.extend(text.nfkd());
        Ok(passphrase)
    }
}

/// Decodes a message of the host.
pub(super) fn decode<M: TrezorMessage>(message: &Message) -> Result<M, Stop> {
    let failed = |_| Stop::data("Failed to decode message");
    message.decode().map_err(failed)
}

/// Encodes a failure.
pub(super) fn failure(code: FailureType, text: impl Into<String>) -> Message {
    let mut failure = Failure::new();
    failure.set_code(code);
    failure.set_message(text.into());
    Message::encode(&failure)
}

fn encode<M: TrezorMessage>(answer: &M) -> Result<Message, Stop> {
    Ok(Message::encode(answer))
}

/// Tells the host of the public half of `node`.
pub(super) fn node_type(node: &Node) -> MessageField<HDNodeType> {
    let mut told = HDNodeType::new();
    told.set_depth(u32::from(node.depth()));
    told.set_fingerprint(node.parent_fingerprint());
    told.set_child_num(node.child_number());
    told.set_chain_code(node.chain_code().to_vec());
    told.set_public_key(node.public_key().to_vec());
    MessageField::some(told)
}
