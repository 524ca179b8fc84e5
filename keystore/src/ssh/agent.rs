//! An SSH agent whose keys are on the device.
//!
//! The message types are those of `ssh-agent-lib`; the connection loop is ours. The library's
//! `listen` does not ask who connects, its codec trusts the announced length, and its agent logs
//! whole requests, passphrases included, at debug level. Here a socket of mode 0600 in a folder of
//! mode 0700 serves this user alone, a message has at most 256 KiB as in OpenSSH, and what the
//! agent refuses anyway (adding and removing keys, locking, smart cards) is not even parsed.
//!
//! A connection that proved with `session-bind@openssh.com` where it logs in may sign that login and
//! nothing else. One that was forwarded to another host may sign nothing: whoever is root there
//! could otherwise make the device ask. A client that proves nothing is served, as by OpenSSH's
//! agent, and the device says that the host is unknown.

mod certified;
mod connection;
mod message;

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use ssh_key::Signature;
use ssh_key::public::KeyData;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use super::key::{SshError, SshKey};
use super::purpose::Purpose;
use super::request::RequestError;
use super::store::HostPin;
use crate::device::Device;
use crate::hint::Hint;
use crate::store::create_private_dir;
pub use certified::Certified;

/// Name of the socket in its folder.
const SOCKET: &str = "agent";

/// Clients that are served at the same time; further ones wait for a place.
const MAX_CONNECTIONS: usize = 64;

/// What signs for an agent: the device, which refuses as soon as the session is locked.
pub trait Signer: Send + Sync {
    /// Signs `data` with `key`.
    fn sign<'a>(
        &'a self,
        key: &'a SshKey,
        purpose: &'a Purpose,
        data: &'a [u8],
    ) -> BoxFuture<'a, Result<Signature, SshError>>;
}

impl Signer for Device {
    fn sign<'a>(
        &'a self,
        key: &'a SshKey,
        purpose: &'a Purpose,
        data: &'a [u8],
    ) -> BoxFuture<'a, Result<Signature, SshError>> {
        Box::pin(super::key::sign(self, key, purpose, data))
    }
}

/// What happened in an agent that its owner may want to tell the person.
#[derive(Debug)]
#[non_exhaustive]
pub enum AgentEvent {
    /// A signature was made and handed out.
    Signed {
        /// Whose key.
        key: SshKey,
        /// What for.
        purpose: Purpose,
    },
    /// The key of a session certificate signed a login; nobody was asked.
    SignedBySession {
        /// What for.
        purpose: Purpose,
    },
    /// The device made no signature: declined by the person, lost, locked.
    Failed {
        /// Whose key.
        key: SshKey,
        /// What for.
        purpose: Purpose,
        /// Why.
        error: SshError,
    },
    /// The client went away before the person decided; the request was cancelled on the device.
    Abandoned {
        /// Whose key.
        key: SshKey,
        /// What for.
        purpose: Purpose,
    },
    /// The agent itself refused, and the device was not asked.
    Refused(RequestError),
    /// A client sent what is no agent message, or more than 256 KiB; it was cut off.
    Malformed,
    /// A process of another user connected; it was cut off.
    Stranger {
        /// That user.
        uid: u32,
    },
}

impl fmt::Display for AgentEvent {
    /// Says it in one line of printable ASCII.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed { purpose, .. } => write!(f, "signed: {}", purpose.summary()),
            Self::SignedBySession { purpose } => {
                write!(f, "signed by the session: {}", purpose.summary())
            }
            Self::Failed { purpose, error, .. } => {
                write!(f, "not signed: {}: {error}", purpose.summary())
            }
            Self::Abandoned { purpose, .. } => {
                write!(f, "not signed: {}: the client went away", purpose.summary())
            }
            Self::Refused(refusal) => write!(f, "not signed: {refusal}"),
            Self::Malformed => f.write_str("a client that sent no agent message was cut off"),
            Self::Stranger { uid } => write!(f, "a process of user {uid} was turned away"),
        }
    }
}

/// Starts agents.
#[derive(Debug)]
pub struct Agent;

impl Agent {
    /// Serves `keys` on a socket in `folder`, until the handle is dropped.
    ///
    /// `hosts` gives the names by which the device and the prompt call hosts. The folder is made if
    /// it is not there. `events` is called from the agent's tasks and must not block. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Any [`AgentError`].
    pub fn start(
        folder: &Path,
        keys: &[SshKey],
        hosts: &[HostPin],
        signer: Arc<dyn Signer>,
        events: impl Fn(AgentEvent) + Send + Sync + 'static,
    ) -> Result<AgentHandle, AgentError> {
        let socket = folder.join(SOCKET);
        let listener = listen(folder, &socket)?;
        let inode = std::fs::symlink_metadata(&socket).map_or(0, |metadata| metadata.ino());
        let shared = Arc::new(Shared {
            content: RwLock::new(Content::of(keys, hosts)),
            certified: RwLock::default(),
            signer,
            turn: Mutex::new(()),
            events: Box::new(events),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(AgentHandle {
            socket,
            inode,
            shared,
            task,
        })
    }
}

/// A running agent. Dropping it ends every connection, cancels what the device is asked for them
/// and removes the socket.
pub struct AgentHandle {
    socket: PathBuf,
    inode: u64,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl AgentHandle {
    /// Returns the path for `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Offers these keys and knows these hosts by name from now on.
    pub fn offer(&self, keys: &[SshKey], hosts: &[HostPin]) {
        let content = Content::of(keys, hosts);
        let current = self.shared.content.write();
        *current.unwrap_or_else(PoisonError::into_inner) = content;
    }

    /// Offers a certificate from now on, before every other key.
    ///
    /// A certificate that it makes superfluous, of the same CA and for no other names, is dropped.
    pub fn certify(&self, certified: Certified) {
        let mut held = self.certified_mut();
        held.retain(|old| !certified.replaces(old));
        held.insert(0, Arc::new(certified));
    }

    /// Returns the certificates that are offered.
    pub fn certificates(&self) -> Vec<Arc<Certified>> {
        self.shared.certified()
    }

    /// Drops the certificates that `drop` tells of, and wipes their keys; returns how many.
    pub fn drop_certificates(&self, drop: impl Fn(&Certified) -> bool) -> usize {
        let mut held = self.certified_mut();
        let before = held.len();
        held.retain(|certified| !drop(certified));
        before - held.len()
    }

    fn certified_mut(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Arc<Certified>>> {
        let held = self.shared.certified.write();
        held.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AgentHandle {
    fn drop(&mut self) {
        self.task.abort();
        // another agent may have taken the path over in the meantime: its socket stays
        if std::fs::symlink_metadata(&self.socket).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.socket);
        }
    }
}

impl fmt::Debug for AgentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentHandle")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// What all connections of an agent share.
struct Shared {
    content: RwLock<Content>,
    certified: RwLock<Vec<Arc<Certified>>>,
    signer: Arc<dyn Signer>,
    /// Held while the device is asked: one request at a time, in the order they came.
    turn: Mutex<()>,
    events: Box<dyn Fn(AgentEvent) + Send + Sync>,
}

impl Shared {
    fn content(&self) -> Content {
        let content = self.content.read();
        content.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn certified(&self) -> Vec<Arc<Certified>> {
        let held = self.certified.read();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn report(&self, event: AgentEvent) {
        (self.events)(event);
    }
}

/// The keys that are offered and the hosts that are known by name.
#[derive(Clone, Debug, Default)]
struct Content {
    keys: Arc<[SshKey]>,
    hosts: Arc<[HostPin]>,
}

impl Content {
    fn of(keys: &[SshKey], hosts: &[HostPin]) -> Self {
        Self {
            keys: keys.into(),
            hosts: hosts.into(),
        }
    }

    fn key(&self, wanted: &KeyData) -> Option<&SshKey> {
        let mut keys = self.keys.iter();
        keys.find(|key| key.public_key().key_data() == wanted)
    }

    /// Names the host that has `host_key`: as in the identity of `key`, where it is among them.
    fn host_name(&self, host_key: &KeyData, key: &SshKey) -> Option<&str> {
        host_name(&self.hosts, host_key, key.identity().host())
    }
}

/// Names the host that has `host_key`, as `own` where that is among its names.
fn host_name<'a>(hosts: &'a [HostPin], host_key: &KeyData, own: &str) -> Option<&'a str> {
    let named = || hosts.iter().filter(|pin| pin.key.key_data() == host_key);
    let ours = |pin: &&HostPin| pin.host == own || pin.host.starts_with(&format!("[{own}]:"));
    let pin = named().find(ours).or_else(|| named().next())?;
    Some(&pin.host)
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
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        match peer(&stream) {
            Some(uid) if uid == owner => {}
            uid => {
                let uid = uid.unwrap_or(u32::MAX);
                shared.report(AgentEvent::Stranger { uid });
                continue;
            }
        }
        let shared = shared.clone();
        connections.spawn(async move {
            connection::serve(stream, &shared).await;
            drop(place);
        });
    }
}

/// Asks the kernel whose process is at the other end (`SO_PEERCRED`).
fn peer(stream: &UnixStream) -> Option<u32> {
    stream.peer_cred().ok().map(|peer| peer.uid())
}

fn listen(folder: &Path, socket: &Path) -> Result<UnixListener, AgentError> {
    let unusable = |source| AgentError::Folder {
        folder: folder.to_owned(),
        source,
    };
    create_private_dir(folder).map_err(unusable)?;
    let failed = |source| AgentError::Socket {
        socket: socket.to_owned(),
        source,
    };
    if let Ok(metadata) = std::fs::symlink_metadata(socket) {
        let lives = std::os::unix::net::UnixStream::connect(socket).is_ok();
        if lives || !metadata.file_type().is_socket() {
            return Err(AgentError::InUse(socket.to_owned()));
        }
        std::fs::remove_file(socket).map_err(failed)?;
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The folder for the socket cannot be used.
    #[error("cannot use the folder `{}` for the agent", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on `{}`", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another agent serves there, or a file stands in its place.
    #[error("`{}` is in use", .0.display())]
    InUse(PathBuf),
}

impl Hint for AgentError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Folder { .. } => "it has to be yours, mode 0700".into(),
            Self::Socket { .. } => {
                "the path may have at most 107 bytes; choose a shorter folder".into()
            }
            Self::InUse(_) => "end the other agent, or use its socket".into(),
        })
    }
}

#[cfg(test)]
mod tests;
