//! The device: one thread owns it, everyone else holds a [`Device`] handle and sends it requests.
//!
//! Requests are served one at a time, each with the words that tell the person what it is for.
//! Dropping the future of a request cancels it on the device. A device that goes away turns into
//! one [`DeviceError::Lost`] and [`Device::lost`] resolves; the handle is then of no further use.

mod actor;
mod bridge;
pub mod codec;
pub mod discovery;
mod error;
mod selector;
mod transport;
mod udp;
mod usb;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use tokio::sync::{oneshot, watch};
use trezor_client::TrezorMessage;

use crate::interaction::{Interaction, Prompt};

use actor::{Actor, Job, Running};
pub(crate) use actor::{EntryPlace, PassphrasePolicy};

pub use actor::Dialogue;
pub use bridge::{BridgeDevice, BridgeTransport};
pub use error::{DeviceError, Loss};
pub use selector::{DEFAULT_BRIDGE, DEFAULT_UDP, DeviceSelector, SelectorError};
pub use transport::{MAX_PAYLOAD, Message, Transport, TransportError};
pub use udp::UdpTransport;
pub use usb::{UDEV_RULES, UsbTransport};

/// A handle of the thread that owns a device. Cloning is cheap; the thread ends with the last one.
#[derive(Clone, Debug)]
pub struct Device {
    name: Arc<str>,
    jobs: mpsc::Sender<(Job, Arc<Running>)>,
    running: Arc<Running>,
    lost: watch::Receiver<Option<Loss>>,
}

impl Device {
    /// Starts the thread that owns `transport` and asks the person through `interaction`.
    ///
    /// # Panics
    ///
    /// Panics when the operating system gives no thread.
    pub fn spawn(transport: Box<dyn Transport>, interaction: Arc<dyn Interaction>) -> Self {
        let name = transport.name().into();
        let (jobs, queue) = mpsc::channel();
        let (lost_sender, lost) = watch::channel(None);
        let actor = Actor::new(transport, interaction, Arc::new(lost_sender));
        std::thread::Builder::new()
            .name("device".into())
            .spawn(move || actor.run(&queue))
            .expect("a thread for the device");
        Self {
            name,
            jobs,
            running: Arc::default(),
            lost,
        }
    }

    /// Names the way to the device: `udp:127.0.0.1:21324`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes one request in the unlocked wallet, answering the device's own questions.
    ///
    /// `prompt` is shown to the person while the device waits. Dropping the future cancels.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Locked`] unless a wallet is unlocked, else any [`DeviceError`].
    pub async fn call<Q, A>(&self, prompt: Prompt, request: Q) -> Result<A, DeviceError>
    where
        Q: TrezorMessage + 'static,
        A: TrezorMessage + 'static,
    {
        self.dialogue(prompt, move |dialogue| dialogue.call(&request))
            .await
    }

    /// As [`Device::call`], for code that is not async: waits on this thread.
    ///
    /// # Errors
    ///
    /// As [`Device::call`]; [`Device::cancel`] from another thread ends it.
    pub fn call_blocking<Q, A>(&self, prompt: Prompt, request: Q) -> Result<A, DeviceError>
    where
        Q: TrezorMessage + 'static,
        A: TrezorMessage + 'static,
    {
        futures::executor::block_on(self.call(prompt, request))
    }

    /// Makes a request of several messages in the unlocked wallet, on the device's thread.
    ///
    /// # Errors
    ///
    /// As [`Device::call`].
    pub async fn dialogue<T, F>(&self, prompt: Prompt, talk: F) -> Result<T, DeviceError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Dialogue<'_>) -> Result<T, DeviceError> + Send + 'static,
    {
        self.locked_dialogue(prompt, |dialogue| {
            dialogue.select_session()?;
            talk(dialogue)
        })
        .await
    }

    /// As [`Device::dialogue`], without a wallet: for what comes before the unlock.
    pub(crate) async fn locked_dialogue<T, F>(
        &self,
        prompt: Prompt,
        talk: F,
    ) -> Result<T, DeviceError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Dialogue<'_>) -> Result<T, DeviceError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let cancel = CancelOnDrop(Arc::new(AtomicBool::new(false)));
        let job = Job {
            prompt,
            cancelled: cancel.0.clone(),
            run: Box::new(move |dialogue| {
                let answer = talk(dialogue);
                dialogue.done();
                // nobody waits for the answer any more: the request was cancelled
                let _ = reply.send(answer);
            }),
        };
        if self.jobs.send((job, self.running.clone())).is_err() {
            return Err(self.gone());
        }
        let answer = answer.await;
        drop(cancel);
        answer.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Cancels the request that runs now, on the device too.
    pub fn cancel(&self) {
        self.running.cancel();
    }

    /// Resolves when the device is lost; never, as long as it is not.
    pub async fn lost(&self) -> DeviceError {
        let mut lost = self.lost.clone();
        let loss = match lost.wait_for(Option::is_some).await {
            Ok(loss) => *loss,
            Err(_) => None,
        };
        DeviceError::Lost {
            device: self.name.to_string(),
            loss: loss.unwrap_or(Loss::Gone),
            source: None,
        }
    }

    /// Returns what tells when the device is let go, after the last handle.
    ///
    /// A program that ends before that leaves the device held on the bridge.
    pub fn release(&self) -> Release {
        Release(self.lost.clone())
    }

    fn gone(&self) -> DeviceError {
        let loss = self.lost.borrow().unwrap_or(Loss::Gone);
        DeviceError::Lost {
            device: self.name.to_string(),
            loss,
            source: None,
        }
    }
}

/// Tells when a device is let go and others may have it. Keeps no handle itself.
#[derive(Debug)]
pub struct Release(watch::Receiver<Option<Loss>>);

impl Release {
    /// Waits until the device is let go.
    pub async fn wait(mut self) {
        // the actor, which owns the transport and the sender, drops them in this order
        while self.0.changed().await.is_ok() {}
    }
}

/// Tells the device's thread to cancel when the future that waits for it is dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
