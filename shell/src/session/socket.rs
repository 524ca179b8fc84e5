//! The session socket: other programs of this person use the wallet that is open here.
//!
//! It serves this user alone, one request at a time, and says on the terminal for whom. What needs a
//! secret is confirmed on the device like everything else. It stays while the session is locked, and
//! refuses then. A request holds no more than handles, so that a command which runs here can itself
//! start a program that asks.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bcm_keystore::age::{self, AgeName, AgeStore};
use bcm_keystore::{Device, DeviceError, WalletStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use zeroize::Zeroizing;

use super::peer::Peer;
use super::protocol::{self, Answer, Malformed, Refusal, Request, Secret};
use super::{Activity, pgp};
use crate::report::{Kind, Report};
use crate::ui::{self, Style};

/// Name of the socket in the runtime folder.
pub const SOCKET: &str = "session";

/// Clients that are served at the same time; further ones wait for a place.
const MAX_CONNECTIONS: usize = 16;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// What requests are served with while a wallet is open.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// The device, which refuses once the session is locked.
    pub device: Device,
    /// The sealed state.
    pub store: Arc<WalletStore>,
}

/// A running session socket. Dropping it ends every connection and removes the socket.
#[derive(Debug)]
pub struct SessionSocket {
    path: PathBuf,
    open: watch::Sender<Option<Wallet>>,
    task: JoinHandle<()>,
}

impl SessionSocket {
    /// Serves on a socket in `folder`. To be called within a tokio runtime.
    pub fn start(folder: &Path, activity: &Arc<Activity>) -> Result<Self, Report> {
        let path = folder.join(SOCKET);
        let failed = |error: std::io::Error| {
            Report::text(
                Kind::Failed,
                format!("cannot listen on `{}`: {error}", path.display()),
            )
            .with_hint("its path may have at most 107 bytes")
        };
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        let (open, opened) = watch::channel(None);
        let shared = Arc::new(Shared {
            opened,
            activity: activity.clone(),
            turn: Mutex::new(()),
        });
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self { path, open, task })
    }

    /// Returns where it is, for `BCM_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves with this wallet from now on; without one it ends what it does and refuses.
    pub fn serve(&self, wallet: Option<Wallet>) {
        self.open.send_replace(wallet);
    }
}

impl Drop for SessionSocket {
    fn drop(&mut self) {
        self.task.abort();
        // the folder goes with it in a moment
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What all connections share.
struct Shared {
    opened: watch::Receiver<Option<Wallet>>,
    activity: Arc<Activity>,
    /// Held while a request is served: one at a time, in the order they came.
    turn: Mutex<()>,
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let owner = rustix::process::geteuid().as_raw();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await;
        let Ok(place) = place else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // out of descriptors: wait for one instead of spinning
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Ok(credentials) = stream.peer_cred() else {
            continue;
        };
        if credentials.uid() != owner {
            let uid = credentials.uid();
            note(&format!("a process of user {uid} was turned away"));
            continue;
        }
        let peer = Peer::of(credentials.pid());
        let shared = shared.clone();
        connections.spawn(async move {
            serve(stream, &peer, &shared).await;
            drop(place);
        });
    }
}

/// Serves a client until it goes away.
async fn serve(mut stream: UnixStream, peer: &Peer, shared: &Shared) {
    loop {
        let request = match tokio::time::timeout(PATIENCE, receive(&mut stream)).await {
            Ok(Ok(Some(request))) => request,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(Malformed)) => {
                note(&format!("{peer} sent what is no request and was cut off"));
                return;
            }
        };
        let what = request.summary();
        let answer = tokio::select! {
            answer = answer(request, peer, shared) => answer,
            // it goes away, or says more before it was answered
            _ = stream.read_u8() => {
                note(&format!("{peer} gave up: {what}"));
                return;
            }
        };
        match &answer {
            Answer::Refused(refusal) => {
                note(&format!("not done for {peer}: {what}: {}", refusal.what));
            }
            Answer::AgeFileKey { file_key: None } => {
                note(&format!(
                    "not done for {peer}: {what}: it is not encrypted to this wallet"
                ));
            }
            Answer::AgeFileKey { .. } | Answer::PgpSignature { .. } => {
                note(&format!("done for {peer}: {what}"));
            }
            Answer::AgeRecipient { .. } | Answer::PgpVerdict { .. } => {}
        }
        let Some(answer) = protocol::encode(&answer) else {
            note(&format!(
                "{peer} asked for an answer that is too long: {what}"
            ));
            return;
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Reads a request; `None` when the client went away between two.
async fn receive(stream: &mut UnixStream) -> Result<Option<Request>, Malformed> {
    let mut length = [0; 4];
    match stream.read(&mut length).await {
        Ok(0) | Err(_) => return Ok(None),
        Ok(read) => stream.read_exact(&mut length[read..]).await,
    }
    .map_err(|_| Malformed)?;
    let length = protocol::length(length)?;
    // no more memory than what was sent, whatever was announced
    let mut body = Zeroizing::new(Vec::new());
    let mut limited = stream.take(length as u64);
    limited
        .read_to_end(&mut body)
        .await
        .map_err(|_| Malformed)?;
    if body.len() != length {
        return Err(Malformed);
    }
    protocol::decode(&body).map(Some)
}

/// Answers one request, unless the session is locked before.
async fn answer(request: Request, peer: &Peer, shared: &Shared) -> Answer {
    let _turn = shared.turn.lock().await;
    let _busy = shared.activity.busy();
    let mut opened = shared.opened.clone();
    let wallet = opened.borrow_and_update().clone();
    let locked = || Refusal::from(Report::from(DeviceError::Locked));
    let Some(wallet) = wallet else {
        return Answer::Refused(locked());
    };
    tokio::select! {
        biased;
        _ = opened.changed() => Answer::Refused(locked()),
        outcome = wallet.answer(request, peer) => {
            outcome.unwrap_or_else(|report| Answer::Refused(report.into()))
        }
    }
}

impl Request {
    /// Says what it is for, as the person reads it while the device waits.
    fn summary(&self) -> String {
        match self {
            Self::AgeRecipient { name } => format!("read the age recipient of `{name}`"),
            Self::AgeUnwrap { name, .. } => format!("decrypt an age file with `{name}`"),
            Self::PgpSign { data, .. } => pgp::purpose(data),
            Self::PgpVerify { .. } => "verify a signature".to_owned(),
        }
    }
}

impl Wallet {
    async fn answer(&self, request: Request, peer: &Peer) -> Result<Answer, Report> {
        match request {
            Request::AgeRecipient { name } => Ok(Answer::AgeRecipient {
                recipient: self.age_key(&name).await?.to_string(),
            }),
            Request::AgeUnwrap { name, stanzas } => {
                let key = self.age_key(&name).await?;
                let stanzas: Vec<_> = stanzas.into_iter().map(Into::into).collect();
                let purpose = format!("decrypt an age file for {peer}");
                let file_key = age::unwrap(&self.device, &key, &stanzas, &purpose).await?;
                let file_key = file_key.as_ref().map(Secret::from);
                Ok(Answer::AgeFileKey { file_key })
            }
            Request::PgpSign { key, data } => {
                pgp::sign(self.device.clone(), self.store.clone(), key, data).await
            }
            Request::PgpVerify { signature, data } => {
                pgp::verify(self.store.clone(), signature, data).await
            }
        }
    }

    /// Returns the key that was stored, else asks the device for it, which needs nobody.
    async fn age_key(&self, name: &str) -> Result<age::DeviceKey, Report> {
        let name: AgeName = name.parse().map_err(age::AgeError::from)?;
        if let Some(key) = AgeStore::open(&self.store)?.get(&name) {
            return Ok(key.clone());
        }
        Ok(age::derive(&self.device, &name).await?)
    }
}

fn note(text: &str) {
    let text = ui::printable(text);
    ui::say(&format!(
        "{} {text}",
        ui::paint_stderr(Style::Dim, "session:")
    ));
}

#[cfg(test)]
mod tests;
