//! One multiplexed connection to one host: the `ssh` that logged in, and who keeps it alive.
//!
//! It goes into the background once it has logged in, so that its exit code tells whether it has.
//! What keeps it there is a connection to its control socket: `ssh` ends by itself a few seconds
//! after the last of them is gone, so that it outlives neither the session nor a bcm that was killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssh::{ForwardType, Session, Socket};
use tokio::net::UnixStream;

use crate::client::{Client, Ending};
use crate::connection::ConnectionError;
use crate::host::HostKind;
use crate::host_key::{HostKeyError, HostKeyFingerprint, PinnedHost};
use crate::name::HostName;
use crate::remote::RemoteError;
use crate::scan::scan;

/// How long a host may take to accept the connection and to agree on keys; through Tor longer.
const CONNECT: u64 = 15;
const CONNECT_ONION: u64 = 60;

/// How often a host without news is asked whether it is there; after three times it is gone.
const ALIVE: u64 = 5;
const ALIVE_ONION: u64 = 20;

/// Seconds that `ssh` stays after the last that used it.
const PERSIST: u64 = 10;

/// Longest time for a login with all that people and devices do in between.
const LOGIN: Duration = Duration::from_secs(180);

/// How long a host is asked for its keys after it had none that was wanted.
const SCAN_PATIENCE: Duration = Duration::from_secs(5);

/// A connection that is logged in. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Master {
    /// Before the session, whose end waits for nobody.
    _lifeline: UnixStream,
    session: Arc<Session>,
    folder: PathBuf,
    forwards: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Master {
    /// Logs in; whoever waits too long drops the future.
    pub(crate) async fn connect(name: &HostName, client: Client) -> Result<Self, RemoteError> {
        let folder = client.folder().to_owned();
        // the name by which `Session` looks for it
        let control = folder.join("master");
        let log = folder.join("log");
        let onion = client.host().destination().kind() == HostKind::Onion;
        let (connect, alive) = match onion {
            true => (CONNECT_ONION, ALIVE_ONION),
            false => (CONNECT, ALIVE),
        };
        let mut command = client.command()?;
        command.args(["-M", "-N", "-f", "-E"]).arg(&log);
        command.arg("-S").arg(&control);
        for (option, seconds) in [
            ("ControlPersist", PERSIST),
            ("ConnectTimeout", connect),
            ("ServerAliveInterval", alive),
            ("ServerAliveCountMax", 3),
        ] {
            command.args(["-o", &format!("{option}={seconds}")]);
        }
        client.address(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // on a thread of its own: a fork waits for its child to begin, and many logins begin at once
        let spawned = tokio::task::spawn_blocking(move || command.spawn()).await;
        let spawned = spawned.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let mut child = spawned.map_err(ConnectionError::Start)?;
        let status = tokio::time::timeout(LOGIN, child.wait()).await;
        let said = || {
            let said = std::fs::read(&log).unwrap_or_default();
            String::from_utf8_lossy(&said).into_owned()
        };
        match status {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(_)) => return Err(why(name, &client, &said()).await),
            Ok(Err(error)) => return Err(ConnectionError::Start(error).into()),
            Err(_) => {
                let reason = format!("the login took longer than {} s", LOGIN.as_secs());
                return Err(RemoteError::unreachable(name, client.host(), reason));
            }
        }
        let lifeline = UnixStream::connect(&control).await;
        let lifeline = lifeline.map_err(|_| RemoteError::cut(name, last_words(&said())))?;
        Ok(Self {
            _lifeline: lifeline,
            session: Arc::new(Session::new_native_mux(client.into_folder())),
            folder,
            forwards: Mutex::default(),
        })
    }

    /// Tells whether the connection is still there, as far as this machine knows.
    pub(crate) async fn is_alive(&self) -> bool {
        self.session.check().await.is_ok()
    }

    /// Returns the multiplexed session.
    pub(crate) fn session(&self) -> Arc<Session> {
        self.session.clone()
    }

    /// Returns the control socket.
    pub(crate) fn control(&self) -> &Path {
        self.session.control_socket()
    }

    /// Says why the connection ended.
    pub(crate) fn last_words(&self) -> String {
        let said = std::fs::read(self.folder.join("log")).unwrap_or_default();
        last_words(&String::from_utf8_lossy(&said))
    }

    /// Leads a new unix socket on this machine to `socket` on the host, and returns its path.
    pub(crate) async fn forward(&self, socket: &Path) -> Result<PathBuf, openssh::Error> {
        let forwards = || {
            let forwards = self.forwards.lock();
            forwards.unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let (known, number) = {
            let forwards = forwards();
            let known = forwards.iter().find(|(remote, _)| remote == socket);
            (known.map(|(_, local)| local.clone()), forwards.len())
        };
        if let Some(local) = known {
            return Ok(local);
        }
        // two at once may get one number: the second is refused by the file that is there
        let local = self.folder.join(format!("f{number}"));
        let session = &self.session;
        let listen = Socket::from(local.as_path());
        session
            .request_port_forward(ForwardType::Local, listen, Socket::from(socket))
            .await?;
        forwards().push((socket.to_owned(), local.clone()));
        Ok(local)
    }
}

/// Reads from the log why there was no login.
async fn why(name: &HostName, client: &Client, said: &str) -> RemoteError {
    let host = client.host();
    if let Some(offered) = other_key(said) {
        return RemoteError::host_key(name, changed(host, offered));
    }
    // a reinstalled host may have no key of the accepted kind at all
    if said.contains("no matching host key type found") || said.contains("Host key verification") {
        let offered = scan(host.destination(), SCAN_PATIENCE, client.settings()).await;
        if let Some(error) = offered.ok().and_then(|keys| host.verify(&keys).err()) {
            return RemoteError::host_key(name, error);
        }
        let key = host.destination().known_hosts_name();
        return RemoteError::host_key(name, HostKeyError::NoKeys { host: key });
    }
    match Ending::read(said) {
        Ending::Refused => RemoteError::Refused {
            host: name.clone(),
            login: host.destination().to_string(),
            unsigned: said.contains("agent refused operation"),
        },
        Ending::Failed(reason) | Ending::Cut(reason) => {
            RemoteError::unreachable(name, host, reason)
        }
        Ending::Interrupted | Ending::Command => {
            RemoteError::unreachable(name, host, "`ssh` was ended".into())
        }
    }
}

fn changed(host: &PinnedHost, offered: HostKeyFingerprint) -> HostKeyError {
    HostKeyError::Changed {
        host: host.destination().known_hosts_name(),
        pinned: Box::new(host.key().fingerprint()),
        offered: Box::new(offered),
    }
}

/// Finds the fingerprint in the warning that a host has another key than the known one.
fn other_key(said: &str) -> Option<HostKeyFingerprint> {
    let (_, after) = said.split_once("key sent by the remote host is")?;
    let word = after.split_whitespace().next()?;
    word.trim_end_matches('.').parse().ok()
}

fn last_words(said: &str) -> String {
    match Ending::read(said) {
        Ending::Cut(reason) | Ending::Failed(reason) => printable(&reason),
        Ending::Interrupted => "`ssh` was ended".into(),
        Ending::Command | Ending::Refused => "the host closed it".into(),
    }
}

/// Cuts what `ssh` said, some of which a host may have chosen.
pub(crate) fn printable(text: &str) -> String {
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    let text = text.strip_prefix("ssh: ").unwrap_or(text).trim();
    text.chars().take(200).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_of_another_key_is_read_from_the_warning() {
        let print = "SHA256:uNiVztksCsDhcc0u9e8BrrlXJHC7QNTNFcaQkx1nKpE";
        let said = format!(
            "@@@@\nThe fingerprint for the ED25519 key sent by the remote host is\n{print}.\nPlease"
        );
        assert_eq!(other_key(&said).unwrap().to_string(), print);
        assert!(other_key("key sent by the remote host is").is_none());
        assert!(other_key("").is_none());
    }

    #[test]
    fn last_words_cannot_repaint_a_terminal() {
        assert_eq!(printable("ssh: a\u{1b}[2Jb\r"), "a?[2Jb");
        assert_eq!(last_words(""), "`ssh` gave no reason");
    }
}
