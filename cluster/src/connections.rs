//! The session's connections: one to each host, made when first needed and again after a cut.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::{Client, ClientSettings, LoginKey, OnionProxy};
use crate::cluster::{Host, SshTarget};
use crate::host::Destination;
use crate::master::Master;
use crate::name::HostName;
use crate::remote::{Remote, RemoteError};

/// How long a host that was there may take to come back.
pub const RECONNECT: Duration = Duration::from_secs(15);

/// After how long, and how often from then on, a person is told what is waited for.
pub const IMPATIENCE: Duration = Duration::from_secs(5);

/// Commands at once over one connection: `MaxSessions` of an sshd is 10 unless it was changed.
const SESSIONS: usize = 8;

/// Logins at once: more than that only wait for each other.
const LOGINS: usize = 32;

/// What keeps a person waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// A host takes its time to let us in.
    Login {
        /// The host.
        host: HostName,
        /// Since when.
        since: Duration,
    },
    /// Hosts have not answered yet.
    Answers {
        /// The hosts.
        hosts: Vec<HostName>,
        /// Since when.
        since: Duration,
    },
    /// A host was lost and is tried again.
    Reconnect {
        /// The host.
        host: HostName,
        /// Why it was lost, or why the last attempt failed.
        reason: String,
        /// Since when.
        since: Duration,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login { host, since } => {
                write!(f, "`{host}`: waiting for the login, {} s", since.as_secs())
            }
            Self::Answers { hosts, since } => {
                let shown: Vec<_> = hosts.iter().take(5).map(HostName::as_str).collect();
                let (shown, more) = (shown.join(", "), hosts.len().saturating_sub(5));
                write!(f, "waiting for {shown}")?;
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                write!(f, ", {} s", since.as_secs())
            }
            Self::Reconnect {
                host,
                reason,
                since,
            } => write!(
                f,
                "`{host}`: lost ({reason}), connecting again, {} of {} s",
                since.as_secs(),
                RECONNECT.as_secs()
            ),
        }
    }
}

/// Who is told.
pub type Tell = Arc<dyn Fn(Waiting) + Send + Sync>;

/// Why there is no key for a login.
pub type LoginKeysError = Box<dyn std::error::Error + Send + Sync>;

/// The keys of the session, by the login that they are for.
pub trait LoginKeys: Send + Sync {
    /// Returns the keys to offer, best first; the agent holds them.
    fn keys<'a>(
        &'a self,
        target: &'a SshTarget,
    ) -> BoxFuture<'a, Result<Vec<LoginKey>, LoginKeysError>>;
}

/// The connections of a session. They end with it.
#[derive(Clone)]
pub struct Connections(Arc<Pool>);

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Connections({} hosts)", links.len())
    }
}

struct Pool {
    settings: ClientSettings,
    keys: Arc<dyn LoginKeys>,
    tell: Tell,
    logins: Semaphore,
    links: Mutex<HashMap<Route, Arc<Link>>>,
}

/// What makes one connection another: its name, where it leads, and the key that it insists on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Route(String);

impl Route {
    fn new(name: &HostName, target: &SshTarget, via: Option<&SshTarget>) -> Self {
        let one =
            |target: &SshTarget| format!("{} {}", target.destination, target.pin.fingerprint());
        Self(match via {
            Some(via) => format!("{name} {} via {}", one(target), one(via)),
            None => format!("{name} {}", one(target)),
        })
    }
}

impl Connections {
    /// Makes a pool without connections.
    pub fn new(settings: ClientSettings, keys: Arc<dyn LoginKeys>, tell: Tell) -> Self {
        Self(Arc::new(Pool {
            settings,
            keys,
            tell,
            logins: Semaphore::new(LOGINS),
            links: Mutex::default(),
        }))
    }

    /// Returns the way to a host. Nothing is connected before something is asked of it.
    pub fn remote(&self, host: &Host) -> Remote {
        match host.target.ssh() {
            None => Remote::local_as(host.name.clone(), self.0.settings.env.clone()),
            Some(target) => {
                let via = host.target.via();
                Remote::over(self.link(&host.name, target, via))
            }
        }
    }

    /// Returns the way to a machine that is not a host of a cluster (yet), such as an LXD server.
    pub fn remote_at(&self, name: &HostName, target: &SshTarget) -> Remote {
        Remote::over(self.link(name, target, None))
    }

    fn link(&self, name: &HostName, target: &SshTarget, via: Option<&SshTarget>) -> Arc<Link> {
        let jump = via.map(|via| self.link(name, via, None));
        let mut links = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links
            .entry(Route::new(name, target, via))
            .or_insert_with(|| {
                Arc::new(Link {
                    name: name.clone(),
                    target: target.clone(),
                    jump,
                    pool: Arc::downgrade(&self.0),
                    master: tokio::sync::Mutex::default(),
                    sessions: Arc::new(Semaphore::new(SESSIONS)),
                })
            });
        link.clone()
    }
}

/// The way to one host, connected or not.
pub(crate) struct Link {
    name: HostName,
    target: SshTarget,
    jump: Option<Arc<Link>>,
    pool: std::sync::Weak<Pool>,
    master: tokio::sync::Mutex<Option<Arc<Master>>>,
    sessions: Arc<Semaphore>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({} at {})", self.name, self.target.destination)
    }
}

impl Link {
    /// Returns what the host is called.
    pub(crate) fn name(&self) -> &HostName {
        &self.name
    }

    /// Returns the login.
    pub(crate) fn login(&self) -> &Destination {
        &self.target.destination
    }

    /// Returns the connection to the server that it goes through, if there is one.
    pub(crate) async fn jump(&self) -> Result<Option<Arc<Master>>, RemoteError> {
        match &self.jump {
            // boxed: the way to the server is a way like this one
            Some(jump) => Box::pin(jump.master()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits until one more command may run.
    pub(crate) async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = self.sessions.clone().acquire_owned().await;
        turn.expect("the semaphore is never closed")
    }

    /// Returns the connection, made now if there is none, and again if it was cut.
    ///
    /// The first login is tried once: whoever waits for it knows best what to do. A host that was
    /// there is given [`RECONNECT`] to come back.
    pub(crate) async fn master(&self) -> Result<Arc<Master>, RemoteError> {
        let pool = self.pool.upgrade().ok_or(RemoteError::Locked)?;
        let mut slot = self.master.lock().await;
        let Some(old) = slot.take() else {
            let master = self.log_in(&pool).await?;
            return Ok(slot.insert(Arc::new(master)).clone());
        };
        if old.is_alive().await {
            return Ok(slot.insert(old).clone());
        }
        let reason = old.last_words();
        drop(old);
        let master = self.reconnect(&pool, reason).await?;
        Ok(slot.insert(Arc::new(master)).clone())
    }

    async fn reconnect(&self, pool: &Pool, mut reason: String) -> Result<Master, RemoteError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(250);
        loop {
            (pool.tell)(Waiting::Reconnect {
                host: self.name.clone(),
                reason: reason.clone(),
                since: start.elapsed(),
            });
            let left = RECONNECT.saturating_sub(start.elapsed());
            let attempt = tokio::time::timeout(left, self.log_in(pool)).await;
            reason = match attempt {
                Ok(Err(RemoteError::Unreachable { reason, .. })) => reason,
                Ok(outcome) => return outcome,
                Err(_) => "it does not answer".into(),
            };
            if start.elapsed() + pause >= RECONNECT {
                let reason = format!(
                    "lost, and not back after {} s: {reason}",
                    RECONNECT.as_secs()
                );
                let host = self.target.pinned();
                return Err(RemoteError::unreachable(&self.name, &host, reason));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }

    async fn log_in(&self, pool: &Pool) -> Result<Master, RemoteError> {
        let start = Instant::now();
        let login = async {
            let mut settings = pool.settings.clone();
            let jump = self.jump().await?;
            if jump.is_some() {
                settings.onion = None::<OnionProxy>;
            }
            let keys = pool.keys.keys(&self.target).await;
            let keys = keys.map_err(|source| RemoteError::NoKeys {
                host: self.name.clone(),
                source,
            })?;
            let _turn = pool.logins.acquire().await;
            let mut client = Client::new(self.target.pinned(), &keys, &settings)?;
            if let Some(jump) = &jump {
                client.through(jump.control())?;
            }
            Master::connect(&self.name, client).await
        };
        tokio::pin!(login);
        loop {
            match tokio::time::timeout(IMPATIENCE, &mut login).await {
                Ok(outcome) => return outcome,
                Err(_) => (pool.tell)(Waiting::Login {
                    host: self.name.clone(),
                    since: start.elapsed(),
                }),
            }
        }
    }
}
