//! The thread that owns the device: one request at a time, each with its words for the person.
//!
//! Every request that needs keys is preceded by `Initialize` with our session id, and the id that
//! comes back is compared: a device remembers one current session, and another program on the same
//! device may have selected its own, with another passphrase, since our last request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use trezor_client::TrezorMessage;
use trezor_client::protos::{self, EndSession, Features, Initialize, button_request};
use zeroize::Zeroizing;

use crate::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry, Prompt};

use super::error::{DeviceError, Loss};
use super::transport::{Message, Transport, TransportError};

/// How long one look for an answer takes; a cancellation is noticed that fast.
const POLL: Duration = Duration::from_millis(50);

/// How long a device may take to answer `Cancel` before it counts as silent.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

/// How long a device may take for what it answers without asking the person.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// How often an idle device is looked for.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// A machine that slept for longer than this was suspended, and not merely busy.
const SUSPENDED: Duration = Duration::from_secs(5);

/// Which passphrase question of the device may be answered during a request, and how.
pub(crate) enum PassphrasePolicy {
    /// None: the wallet is open, and a device that asks again has forgotten it.
    Refuse,
    /// The person is asked; the flag is set when a passphrase was entered, here or on the device.
    Ask {
        /// Whether the device can take a passphrase on its own screen.
        on_device: bool,
        /// Set when the person entered one.
        entered: Option<EntryPlace>,
    },
    /// Answered with the empty passphrase, to look at the standard wallet.
    Standard,
}

/// Where the person entered the passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryPlace {
    Device,
    Host,
}

/// A request as the actor gets it.
pub(crate) struct Job {
    pub(crate) prompt: Prompt,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) run: Box<dyn FnOnce(&mut Dialogue<'_>) + Send>,
}

/// What the actor tells everyone who holds a handle.
pub(crate) type LossWatch = watch::Sender<Option<Loss>>;

pub(crate) struct Actor {
    transport: Box<dyn Transport>,
    interaction: Arc<dyn Interaction>,
    name: String,
    session: Option<Vec<u8>>,
    lost: Arc<LossWatch>,
}

impl Actor {
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        interaction: Arc<dyn Interaction>,
        lost: Arc<LossWatch>,
    ) -> Self {
        let name = transport.name();
        Self {
            transport,
            interaction,
            name,
            session: None,
            lost,
        }
    }

    /// Serves requests until every handle is gone.
    pub(crate) fn run(mut self, jobs: &Receiver<(Job, Arc<Running>)>) {
        let mut slept = time_asleep();
        loop {
            match jobs.recv_timeout(HEARTBEAT) {
                Ok((job, running)) => {
                    running.set(Some(job.cancelled.clone()));
                    let mut dialogue = Dialogue {
                        actor: &mut self,
                        prompt: &job.prompt,
                        cancelled: &job.cancelled,
                        policy: PassphrasePolicy::Refuse,
                    };
                    (job.run)(&mut dialogue);
                    running.set(None);
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let asleep = time_asleep();
            if asleep.saturating_sub(slept) > SUSPENDED && self.session.is_some() {
                self.end_session();
                self.lose(Loss::Suspended);
            }
            slept = asleep;
        }
        self.end_session();
    }

    fn look(&mut self) {
        if self.lost.borrow().is_some() || self.session.is_none() {
            return;
        }
        if let Err(error) = self.transport.alive() {
            self.lost_by(error);
        }
    }

    /// Ends our session on the device, and no other program's: ours is selected first.
    ///
    /// A device that cannot be reached any more has no session left to end, so nothing is reported.
    fn end_session(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        if self.lost.borrow().is_some() {
            return;
        }
        let mut select = Initialize::new();
        select.set_session_id(session);
        for message in [
            Message::encode(&select),
            Message::encode(&EndSession::new()),
        ] {
            if self.transport.send(&message).is_err() {
                return;
            }
            let deadline = Instant::now() + CANCEL_PATIENCE;
            while Instant::now() < deadline && matches!(self.transport.receive(POLL), Ok(None)) {}
        }
    }

    fn lose(&mut self, loss: Loss) {
        self.session = None;
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert(loss);
            first
        });
    }

    /// Turns a transport's error into ours, and into a lost device where it is one.
    fn lost_by(&mut self, error: TransportError) -> DeviceError {
        let loss = match error {
            TransportError::Gone(_) => Loss::Gone,
            TransportError::Stolen => Loss::Stolen,
            TransportError::Malformed(_) => Loss::Garbled,
            TransportError::Busy => return DeviceError::Busy(self.name.clone()),
            _ => {
                return DeviceError::NotSent {
                    device: self.name.clone(),
                    source: error,
                };
            }
        };
        self.lose(loss);
        DeviceError::Lost {
            device: self.name.clone(),
            loss,
            source: Some(error),
        }
    }
}

/// Tells whether a device answers `message` at once, whatever the person does.
fn needs_nobody(message: &Message) -> bool {
    message.is::<Initialize>() || message.is::<protos::GetFeatures>() || message.is::<EndSession>()
}

/// Time that the machine has spent suspended since it booted.
fn time_asleep() -> Duration {
    let now = |clock| {
        let time = clock_gettime(clock);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    };
    now(ClockId::Boottime).saturating_sub(now(ClockId::Monotonic))
}

/// The cancel flag of the request that runs now, if one does.
#[derive(Debug, Default)]
pub(crate) struct Running(std::sync::Mutex<Option<Arc<AtomicBool>>>);

impl Running {
    fn set(&self, flag: Option<Arc<AtomicBool>>) {
        *self.0.lock().expect("no holder of this lock panics") = flag;
    }

    pub(crate) fn cancel(&self) {
        if let Some(flag) = &*self.0.lock().expect("no holder of this lock panics") {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

/// A conversation with the device, on its thread: what a request of several messages is made of.
pub struct Dialogue<'a> {
    actor: &'a mut Actor,
    prompt: &'a Prompt,
    cancelled: &'a AtomicBool,
    policy: PassphrasePolicy,
}

impl std::fmt::Debug for Dialogue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialogue")
            .field("device", &self.actor.name)
            .finish_non_exhaustive()
    }
}

impl Dialogue<'_> {
    /// Sends `request` and answers what the device asks for in between, until its answer comes.
    ///
    /// # Errors
    ///
    /// Any [`DeviceError`]; after [`DeviceError::Lost`] every further request fails alike.
    pub fn call<Q: TrezorMessage, A: TrezorMessage>(
        &mut self,
        request: &Q,
    ) -> Result<A, DeviceError> {
        let answer = self.converse(Message::encode(request))?;
        if !answer.is::<A>() {
            let got = answer
                .name()
                .unwrap_or_else(|| format!("type {}", answer.kind()));
            let expected = Message::name_of::<A>();
            return Err(DeviceError::Unexpected { expected, got });
        }
        answer
            .decode()
            .map_err(|_| DeviceError::Damaged(Message::name_of::<A>()))
    }

    /// Tells the person that the device waits no longer.
    pub(crate) fn done(&self) {
        self.actor.interaction.device_done();
    }

    /// Makes our session the current one again.
    pub(crate) fn select_session(&mut self) -> Result<(), DeviceError> {
        self.check_lost()?;
        let ours = self.actor.session.clone().ok_or(DeviceError::Locked)?;
        let mut request = Initialize::new();
        request.set_session_id(ours.clone());
        let features: Features = self.call(&request)?;
        if features.session_id() == ours {
            return Ok(());
        }
        // the device opened a new session in its place, which nobody will use
        let _: Result<protos::Success, _> = self.call(&EndSession::new());
        self.actor.lose(Loss::SessionClosed);
        self.check_lost()
    }

    /// Opens a new session, with no wallet in it yet.
    pub(crate) fn open_session(&mut self) -> Result<Features, DeviceError> {
        self.check_lost()?;
        self.actor.session = None;
        let mut request = Initialize::new();
        request.set_derive_cardano(false);
        self.call(&request)
    }

    /// Takes `session` as the one that requests are made in.
    pub(crate) fn adopt_session(&mut self, session: Vec<u8>) {
        self.actor.session = Some(session);
    }

    /// Ends our session on the device and forgets it.
    pub(crate) fn end_session(&mut self) {
        self.actor.end_session();
    }

    /// Makes one request under another passphrase policy, and gives the policy back as it ended.
    pub(crate) fn call_with<Q: TrezorMessage, A: TrezorMessage>(
        &mut self,
        policy: PassphrasePolicy,
        request: &Q,
    ) -> (Result<A, DeviceError>, PassphrasePolicy) {
        self.policy = policy;
        let answer = self.call(request);
        (
            answer,
            std::mem::replace(&mut self.policy, PassphrasePolicy::Refuse),
        )
    }

    pub(crate) fn check_lost(&self) -> Result<(), DeviceError> {
        match *self.actor.lost.borrow() {
            None => Ok(()),
            Some(loss) => {
                let device = self.actor.name.clone();
                Err(DeviceError::Lost {
                    device,
                    loss,
                    source: None,
                })
            }
        }
    }

    fn converse(&mut self, mut message: Message) -> Result<Message, DeviceError> {
        loop {
            let answer = self.exchange(&message)?;
            message = if answer.is::<protos::ButtonRequest>() {
                self.button(&answer)
            } else if answer.is::<protos::PassphraseRequest>() {
                self.passphrase()?
            } else if answer.is::<protos::PinMatrixRequest>() {
                match self.actor.interaction.pin_matrix(self.prompt) {
                    Ok(pin) => pin_matrix_ack(pin.as_bytes()),
                    Err(no_answer) => return Err(self.give_up(no_answer)),
                }
            } else if answer.is::<protos::Failure>() {
                return Err(self.failure(&answer));
            } else {
                return Ok(answer);
            };
        }
    }

    fn button(&mut self, request: &Message) -> Message {
        use button_request::ButtonRequestType::{
            ButtonRequest_PassphraseEntry, ButtonRequest_PinEntry,
        };
        let request: protos::ButtonRequest = request.decode().unwrap_or_default();
        let wait = match request.code() {
            ButtonRequest_PinEntry => DeviceWait::Pin,
            ButtonRequest_PassphraseEntry => {
                if let PassphrasePolicy::Ask { entered, .. } = &mut self.policy {
                    *entered = Some(EntryPlace::Device);
                }
                DeviceWait::Passphrase
            }
            _ => DeviceWait::Confirm,
        };
        self.actor.interaction.device_waits(self.prompt, wait);
        Message::encode(&protos::ButtonAck::new())
    }

    fn passphrase(&mut self) -> Result<Message, DeviceError> {
        let entry = match &mut self.policy {
            PassphrasePolicy::Refuse => {
                // the answer to Cancel is a Failure that says nothing new
                let _ = self.exchange(&Message::encode(&protos::Cancel::new()));
                self.actor.lose(Loss::SessionClosed);
                return self
                    .check_lost()
                    .map(|()| Message::encode(&protos::Cancel::new()));
            }
            PassphrasePolicy::Standard => return Ok(passphrase_ack(b"")),
            PassphrasePolicy::Ask { on_device, entered } => {
                match self.actor.interaction.passphrase(self.prompt) {
                    Ok(PassphraseEntry::OnDevice) if !*on_device => Err(NoAnswer::NoEntryOnDevice),
                    Ok(entry) => {
                        *entered = Some(match entry {
                            PassphraseEntry::OnDevice => EntryPlace::Device,
                            PassphraseEntry::Host(_) => EntryPlace::Host,
                        });
                        Ok(entry)
                    }
                    Err(no_answer) => Err(no_answer),
                }
            }
        };
        match entry {
            Ok(PassphraseEntry::OnDevice) => {
                let mut ack = protos::PassphraseAck::new();
                ack.set_on_device(true);
                Ok(Message::encode(&ack))
            }
            Ok(PassphraseEntry::Host(passphrase)) => Ok(passphrase_ack(passphrase.as_bytes())),
            Err(no_answer) => Err(self.give_up(no_answer)),
        }
    }

    fn give_up(&mut self, no_answer: NoAnswer) -> DeviceError {
        let cancelled = self.exchange(&Message::encode(&protos::Cancel::new()));
        match (cancelled, no_answer) {
            (Err(lost @ DeviceError::Lost { .. }), _) => lost,
            (_, NoAnswer::GivenUp) => DeviceError::Cancelled,
            (_, no_answer) => DeviceError::NoAnswer(no_answer),
        }
    }

    /// Sends one message and waits for one; a cancellation is passed on to the device.
    fn exchange(&mut self, message: &Message) -> Result<Message, DeviceError> {
        self.check_lost()?;
        if self.cancelled.load(Ordering::Relaxed) && !message.is::<protos::Cancel>() {
            return Err(self.cancel_before_send(message));
        }
        tracing::debug!(device = %self.actor.name, ?message, "to device");
        self.actor
            .transport
            .send(message)
            .map_err(|error| self.actor.lost_by(error))?;
        let patience = || Instant::now() + CANCEL_PATIENCE;
        let mut deadline = message.is::<protos::Cancel>().then(patience);
        let overdue = needs_nobody(message).then(|| Instant::now() + ANSWER_PATIENCE);
        let mut crossed = false;
        loop {
            let answer = self
                .actor
                .transport
                .receive(POLL)
                .map_err(|error| self.actor.lost_by(error))?;
            if let Some(answer) = answer {
                tracing::debug!(device = %self.actor.name, message = ?answer, "from device");
                if deadline.is_none() {
                    return Ok(answer);
                }
                if answer.is::<protos::Failure>() {
                    return Err(DeviceError::Cancelled);
                }
                // it answered the request just before it saw Cancel: the Failure is on its way
                crossed = true;
                continue;
            }
            match deadline {
                None if self.cancelled.load(Ordering::Relaxed) => {
                    self.actor
                        .transport
                        .cancel()
                        .map_err(|error| self.actor.lost_by(error))?;
                    deadline = Some(patience());
                }
                Some(deadline) if Instant::now() > deadline => {
                    if crossed {
                        return Err(DeviceError::Cancelled);
                    }
                    self.actor.lose(Loss::Silent);
                    self.check_lost()?;
                }
                None if overdue.is_some_and(|overdue| Instant::now() > overdue) => {
                    self.actor.lose(Loss::Silent);
                    self.check_lost()?;
                }
                _ => {}
            }
        }
    }

    /// A request not begun needs no Cancel; a question of the device left open does.
    fn cancel_before_send(&mut self, message: &Message) -> DeviceError {
        let answers_a_question = message.is::<protos::ButtonAck>()
            || message.is::<protos::PassphraseAck>()
            || message.is::<protos::PinMatrixAck>();
        if answers_a_question {
            let cancelled = self.exchange(&Message::encode(&protos::Cancel::new()));
            if let Err(lost @ DeviceError::Lost { .. }) = cancelled {
                return lost;
            }
        }
        DeviceError::Cancelled
    }

    fn failure(&mut self, answer: &Message) -> DeviceError {
        use protos::failure::FailureType as F;
        let Ok(failure) = answer.decode::<protos::Failure>() else {
            return DeviceError::Damaged("Failure".into());
        };
        match failure.code() {
            F::Failure_ActionCancelled | F::Failure_PinCancelled => DeviceError::Declined,
            F::Failure_PinInvalid => DeviceError::WrongPin,
            F::Failure_NotInitialized => DeviceError::NotInitialized,
            F::Failure_Busy | F::Failure_InProgress => DeviceError::Busy(self.actor.name.clone()),
            F::Failure_InvalidSession => {
                self.actor.lose(Loss::SessionClosed);
                let device = self.actor.name.clone();
                DeviceError::Lost {
                    device,
                    loss: Loss::SessionClosed,
                    source: None,
                }
            }
            code => DeviceError::Failure {
                code: failure.code.map_or(0, |code| code.value()),
                name: format!("{code:?}")
                    .trim_start_matches("Failure_")
                    .to_owned(),
                message: Prompt::new(failure.message()).to_string(),
            },
        }
    }
}

/// `PassphraseAck { passphrase }`, encoded by hand so that no copy stays behind unwiped.
fn passphrase_ack(passphrase: &[u8]) -> Message {
    use protobuf::Enum;
    Message::new(
        u16::try_from(protos::PassphraseAck::MESSAGE_TYPE.value()).expect("16 bit"),
        string_field_1(passphrase),
    )
}

/// `PinMatrixAck { pin }`, encoded by hand for the same reason.
fn pin_matrix_ack(pin: &[u8]) -> Message {
    use protobuf::Enum;
    Message::new(
        u16::try_from(protos::PinMatrixAck::MESSAGE_TYPE.value()).expect("16 bit"),
        string_field_1(pin),
    )
}

/// Field 1 of type string; a PIN or passphrase is at most 50 bytes, so its length is one byte.
fn string_field_1(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len())
        .ok()
        .filter(|n| *n < 0x80)
        .expect("at most 50 bytes");
    let mut field = Zeroizing::new(Vec::with_capacity(2 + text.len()));
    field.extend_from_slice(&[0x0a, length]);
    field.extend_from_slice(text);
    std::mem::take(&mut *field)
}

#[cfg(test)]
mod tests;
