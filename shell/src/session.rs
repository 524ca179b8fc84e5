//! The session of this process: what is open, what closes it, and what the prompt says of it.
//!
//! One command at a time holds the state. Whatever closes the session (a lost device, idle time, a
//! signal) first ends the command that runs, which cancels it on the device, and then locks.

mod activity;
mod blocking;
mod folder;
mod peer;
mod pgp;
pub mod protocol;
mod signals;
mod socket;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bcm_cluster::{ClusterStore, Connections};
use bcm_keystore::device::Release;
use bcm_keystore::{Chain, Device, DeviceError, Session, Unlocked};
use tokio::sync::{MutexGuard, oneshot};
use tokio::task::JoinHandle;

use crate::report::{Kind, Report};
use crate::ui::{self, lock};

pub use activity::Activity;
pub use blocking::{Cancelled, blocking};
use folder::RuntimeFolder;
pub use signals::serve_signals;
pub use socket::{SOCKET, SessionSocket};

/// Longest time that a lock waits for the device to end the session.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A child has the terminal.
#[derive(Debug)]
pub struct Lent<'a>(&'a Keeper);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.lent.store(false, Ordering::Release);
        // a child that was killed left it as it was
        ui::tty::restore();
    }
}

/// What ends a running command, and most of it the session too.
#[derive(Debug)]
pub enum Reason {
    /// Ctrl-C: the command alone.
    Interrupt,
    /// Nothing was asked for so long.
    Idle(Duration),
    /// The terminal went away.
    Hangup,
    /// The process was told to end.
    Terminate,
    /// The device went away, or somebody took it.
    Lost(DeviceError),
}

impl From<Reason> for Report {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Interrupt => Self::text(Kind::Failed, "cancelled"),
            Reason::Idle(limit) => Self::text(
                Kind::Failed,
                format!("locked after {} s without use", limit.as_secs()),
            )
            .with_hint("run `unlock`"),
            Reason::Hangup => {
                Self::text(Kind::Failed, "locked by SIGHUP").with_hint("run `unlock`")
            }
            Reason::Terminate => Self::text(Kind::Failed, "locked and ended by SIGTERM"),
            Reason::Lost(error) => error.into(),
        }
    }
}

/// An open wallet and what hangs on it.
#[derive(Debug)]
pub struct Open {
    /// The wallet.
    pub session: Session<Unlocked>,
    /// The chain that is worked on.
    pub chain: Chain,
    /// The agent, once something asked for it.
    pub agent: Option<crate::commands::ssh::RunningAgent>,
    /// The certificates that connections to hosts offer, by cluster.
    pub certificates: crate::commands::cluster::Certificates,
    /// Many hosts are asked at once: one line tells of all that are waited for.
    pub fanning: Arc<AtomicBool>,
    /// The connections to hosts, once something asked for one.
    pub connections: Option<Connections>,
    watcher: Watcher,
}

impl Open {
    /// Returns what the session socket serves with.
    fn for_others(&self) -> socket::Wallet {
        socket::Wallet {
            device: self.session.device().clone(),
            store: self.session.store().clone(),
        }
    }
}

/// Ends the task when dropped.
#[derive(Debug)]
struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the prompt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The device's label.
    pub label: String,
    /// The wallet's short name.
    pub wallet: String,
    /// The chain.
    pub chain: Chain,
    /// The cluster, if there is one.
    pub cluster: Option<String>,
    /// The device is no hardware.
    pub simulated: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing was opened yet: the first command that needs a wallet opens it.
    Fresh,
    /// It was locked: only `unlock` opens it.
    Locked,
    Open(Box<Open>),
}

/// Keeps the session for whoever needs it.
#[derive(Debug)]
pub struct Keeper {
    state: tokio::sync::Mutex<State>,
    running: Mutex<Option<oneshot::Sender<Reason>>>,
    status: Mutex<Option<Status>>,
    activity: Arc<Activity>,
    /// The device that was taken last.
    held: Mutex<Option<Release>>,
    /// Removed when the process ends.
    folder: Mutex<Option<RuntimeFolder>>,
    runtime_parent: Option<PathBuf>,
    agent_wanted: AtomicBool,
    /// Where other programs use the session, once it was offered; it stays while locked.
    socket: Mutex<Option<SessionSocket>>,
    /// A child has the terminal: Ctrl-C is its business.
    lent: AtomicBool,
    /// The program was told to end.
    ending: AtomicBool,
}

impl Keeper {
    /// Makes one with nothing open; sockets go below `runtime_parent`, or the temporary folder.
    pub fn new(runtime_parent: Option<PathBuf>) -> Self {
        Self {
            state: tokio::sync::Mutex::new(State::Fresh),
            running: Mutex::default(),
            status: Mutex::default(),
            activity: Arc::default(),
            held: Mutex::default(),
            folder: Mutex::default(),
            runtime_parent,
            agent_wanted: AtomicBool::new(false),
            socket: Mutex::default(),
            lent: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        }
    }

    /// Returns the folder for sockets, made when first asked for.
    pub fn runtime_folder(&self) -> Result<PathBuf, Report> {
        let mut folder = lock(&self.folder);
        if let Some(folder) = folder.as_ref() {
            return Ok(folder.path().to_owned());
        }
        let parent = self.runtime_parent.clone().filter(|parent| parent.is_dir());
        let parent = parent.unwrap_or_else(crate::env::temporary_folder);
        let made = RuntimeFolder::make(&parent).map_err(|error| {
            let parent = parent.display();
            Report::text(
                Kind::Failed,
                format!("cannot make a folder in `{parent}`: {error}"),
            )
        })?;
        let path = made.path().to_owned();
        *folder = Some(made);
        Ok(path)
    }

    /// Notes which device was taken.
    pub fn hold(&self, device: Release) {
        *lock(&self.held) = Some(device);
    }

    /// Waits until others may have the device that was taken, but not for one that hangs.
    pub async fn let_go(&self) {
        let held = lock(&self.held).take();
        if let Some(held) = held {
            let _ = tokio::time::timeout(LOCK_WAIT, held.wait()).await;
        }
    }

    /// Removes the folder for sockets, and the sockets.
    pub fn remove_runtime_folder(&self) {
        lock(&self.socket).take();
        lock(&self.folder).take();
    }

    /// Starts the agent again with each unlock from now on.
    pub fn want_agent(&self) {
        self.agent_wanted.store(true, Ordering::Relaxed);
    }

    /// Lets other programs of this person use the session from now on; returns the path for
    /// `BCM_SOCKET`. To be called within the runtime.
    pub fn offer_socket(&self, open: &Open) -> Result<PathBuf, Report> {
        let folder = self.runtime_folder()?;
        let mut socket = lock(&self.socket);
        let socket = match &mut *socket {
            Some(socket) => socket,
            none => none.insert(SessionSocket::start(&folder, &self.activity)?),
        };
        socket.serve(Some(open.for_others()));
        Ok(socket.path().to_owned())
    }

    /// Returns the path for `BCM_SOCKET`, `None` where the session is not offered to others.
    pub fn socket(&self) -> Option<PathBuf> {
        let socket = lock(&self.socket);
        Some(socket.as_ref()?.path().to_owned())
    }

    /// Leaves Ctrl-C to a child until the guard is dropped.
    pub fn lend_terminal(&self) -> Lent<'_> {
        self.lent.store(true, Ordering::Release);
        Lent(self)
    }

    /// Tells whether the program was told to end.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Returns what notes the use of the session.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Returns what the prompt says, `None` while locked.
    pub fn status(&self) -> Option<Status> {
        lock(&self.status).clone()
    }

    /// Tells whether nothing was opened or locked yet.
    pub async fn is_fresh(&self) -> bool {
        matches!(*self.state.lock().await, State::Fresh)
    }

    /// Runs `work`, which a signal, the idle lock or a lost device can end.
    pub async fn interruptible<T>(
        &self,
        work: impl Future<Output = Result<T, Report>>,
    ) -> Result<T, Report> {
        let (sender, interrupted) = oneshot::channel();
        *lock(&self.running) = Some(sender);
        let _busy = self.activity.busy();
        let outcome = tokio::select! {
            biased;
            outcome = work => outcome,
            Ok(reason) = interrupted => Err(reason.into()),
        };
        lock(&self.running).take();
        outcome
    }

    /// Leaves the session open to the agent until a signal, idle time or a lost device ends it.
    pub async fn serve_until_signal(&self) -> Result<(), Report> {
        let (sender, interrupted) = oneshot::channel();
        *lock(&self.running) = Some(sender);
        match interrupted.await {
            Ok(Reason::Interrupt | Reason::Hangup | Reason::Terminate) | Err(_) => Ok(()),
            Ok(reason) => Err(reason.into()),
        }
    }

    /// Runs a command in the open session.
    pub async fn with_open<T>(
        &self,
        work: impl AsyncFnOnce(&mut Open) -> Result<T, Report>,
    ) -> Result<T, Report> {
        let mut state = self.state.lock().await;
        let State::Open(open) = &mut *state else {
            return Err(locked());
        };
        let device = open.session.device().clone();
        let outcome = self.interruptible(work(open)).await;
        if outcome.is_err() && is_lost(&device).await {
            drop(device);
            self.close(&mut state).await;
        }
        outcome
    }

    /// Gives the open session to `look` if there is one, without waiting for the device.
    pub async fn peek<T>(&self, look: impl FnOnce(&mut Open) -> T) -> Option<T> {
        match &mut *self.state.lock().await {
            State::Open(open) => Some(look(open)),
            _ => None,
        }
    }

    /// Keeps `session` open until something closes it.
    pub async fn open(
        self: &Arc<Self>,
        session: Session<Unlocked>,
        chain: Chain,
        idle: Option<Duration>,
    ) {
        let mut state = self.state.lock().await;
        let info = session.info();
        *lock(&self.status) = Some(Status {
            label: info.name().to_owned(),
            wallet: session.wallet().to_string(),
            chain,
            cluster: current_cluster(&session),
            simulated: info.simulated,
        });
        self.activity.set_limit(idle);
        let watcher = tokio::spawn(watch(self.clone(), session.device().clone()));
        let mut open = Box::new(Open {
            session,
            chain,
            agent: None,
            certificates: Arc::default(),
            fanning: Arc::default(),
            connections: None,
            watcher: Watcher(watcher),
        });
        if self.agent_wanted.load(Ordering::Relaxed)
            && let Err(report) = crate::commands::ssh::ensure_agent(self, &mut open)
        {
            report.print();
        }
        if let Some(socket) = lock(&self.socket).as_ref() {
            socket.serve(Some(open.for_others()));
        }
        *state = State::Open(open);
    }

    /// Works on another chain from now on.
    pub async fn set_chain(&self, chain: Chain) {
        if let State::Open(open) = &mut *self.state.lock().await {
            open.chain = chain;
            if let Some(status) = lock(&self.status).as_mut() {
                status.chain = chain;
            }
        }
    }

    /// Works with another cluster from now on.
    pub fn set_cluster(&self, cluster: Option<String>) {
        if let Some(status) = lock(&self.status).as_mut() {
            status.cluster = cluster;
        }
    }

    /// Locks; `false` when nothing was open.
    pub async fn lock(&self) -> bool {
        let mut state = self.state.lock().await;
        self.close(&mut state).await
    }

    /// Ends the command that runs, which tells the person; gives `reason` back when there is none.
    pub fn interrupt(&self, reason: Reason) -> Result<(), Reason> {
        match lock(&self.running).take() {
            Some(running) => {
                ui::tty::withdraw_questions();
                running.send(reason)
            }
            None => Err(reason),
        }
    }

    /// Ends the command that runs, locks, and tells the person once.
    pub async fn lock_because(&self, reason: Reason) {
        let untold = self.interrupt(reason);
        if self.lock().await
            && let Err(reason) = untold
        {
            Report::from(reason).print();
        }
    }

    async fn close(&self, state: &mut MutexGuard<'_, State>) -> bool {
        let State::Open(open) = std::mem::replace(&mut **state, State::Locked) else {
            return false;
        };
        lock(&self.status).take();
        if let Some(socket) = lock(&self.socket).as_ref() {
            socket.serve(None);
        }
        let Open {
            session,
            agent,
            connections,
            watcher,
            ..
        } = *open;
        drop(connections);
        drop(agent);
        // a device that does not answer is not waited for: what it opened is dropped here
        let _ = tokio::time::timeout(LOCK_WAIT, session.lock()).await;
        // last: it may be the watcher itself that locks
        drop(watcher);
        true
    }
}

/// Names the cluster that is in use; a store that cannot be read is told of by whoever needs it.
fn current_cluster(session: &Session<Unlocked>) -> Option<String> {
    let clusters = ClusterStore::new(session.store().clone()).read().ok()?;
    Some(clusters.current().ok()?.name.to_string())
}

fn locked() -> Report {
    DeviceError::Locked.into()
}

async fn is_lost(device: &Device) -> bool {
    tokio::select! {
        biased;
        _ = device.lost() => true,
        () = std::future::ready(()) => false,
    }
}

/// Locks when the device is lost or nothing was asked for too long.
async fn watch(keeper: Arc<Keeper>, device: Device) {
    let reason = tokio::select! {
        error = device.lost() => Reason::Lost(error),
        limit = keeper.activity.idle() => Reason::Idle(limit),
    };
    // in a task of its own: locking drops the handle that aborts this one
    let keeper = keeper.clone();
    tokio::spawn(async move { keeper.lock_because(reason).await });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_ends_the_command_that_runs_and_nothing_else() {
        let keeper = Keeper::new(None);
        assert!(keeper.interrupt(Reason::Interrupt).is_err());
        let (outcome, sent) = tokio::join!(
            keeper.interruptible(std::future::pending::<Result<(), Report>>()),
            async { keeper.interrupt(Reason::Interrupt) }
        );
        assert!(sent.is_ok());
        assert_eq!(outcome.unwrap_err().to_string(), "error: cancelled");
        assert!(keeper.interrupt(Reason::Hangup).is_err());
        assert!(keeper.is_fresh().await);
    }

    #[tokio::test]
    async fn without_an_open_wallet_a_command_is_told_to_unlock() {
        let keeper = Keeper::new(None);
        let refused = keeper.with_open(async |_| Ok(())).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "error: the session is locked\nhint: run `unlock`"
        );
        assert!(!keeper.lock().await);
    }

    #[test]
    fn the_folder_for_sockets_is_made_once_and_goes_away() {
        let parent = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(Some(parent.path().to_owned()));
        let folder = keeper.runtime_folder().unwrap();
        assert_eq!(folder, keeper.runtime_folder().unwrap());
        assert!(folder.starts_with(parent.path()));
        keeper.remove_runtime_folder();
        assert!(!folder.exists());
    }
}
