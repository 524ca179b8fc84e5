//! Using the session of another bcm: finding its socket and asking it.
//!
//! This is how `age-plugin-trezor` and git reach a device that a running session has open; they
//! themselves open none.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bcm_keystore::Hint;
use zeroize::Zeroizing;

use crate::env;
use crate::report::Report;
use crate::session::SOCKET;
use crate::session::protocol::{self, Answer, Malformed, Request};

/// Why no session answers.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// None was found.
    #[error("no bcm session is running")]
    NoSession,
    /// It is not where the environment says.
    #[error("no bcm session serves on `{}`", .0.display())]
    NotThere(PathBuf),
    /// There are several, and nothing tells which one is meant.
    #[error("{} bcm sessions are running: {}", .0.len(), shown(.0))]
    Several(Vec<PathBuf>),
    /// The socket is somebody else's.
    #[error("`{}` belongs to another user", .0.display())]
    Stranger(PathBuf),
    /// The session ended, or was told to end.
    #[error("the bcm session went away before it answered")]
    WentAway(#[source] io::Error),
    /// It is no bcm session, or one of another version.
    #[error("what serves on `{}` is no session of this version of bcm", .0.display())]
    Malformed(PathBuf),
    /// The request has more than 1 MiB.
    #[error("the request to the bcm session is too long")]
    TooLong,
}

impl Hint for ClientError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSession => "start one: `bcm`, or `bcm serve`".into(),
            Self::NotThere(_) => format!("unset {} or start the session anew", env::BCM_SOCKET),
            Self::Several(_) => format!("say which one: `{}=PATH`", env::BCM_SOCKET),
            Self::Stranger(_) | Self::TooLong => return None,
            Self::WentAway(_) => "look at its terminal".into(),
            Self::Malformed(_) => "use the same bcm on both sides".into(),
        })
    }
}

fn shown(paths: &[PathBuf]) -> String {
    let paths = paths.iter().map(|path| path.display().to_string());
    paths.collect::<Vec<_>>().join(", ")
}

/// The session of another bcm.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Finds it: where `BCM_SOCKET` says, else the one that is running.
    pub fn find() -> Result<Self, ClientError> {
        if let Some(socket) = env::session_socket() {
            connect(&socket)?;
            return Ok(Self { socket });
        }
        let mut live: Vec<_> = env::runtime_parents()
            .iter()
            .flat_map(|parent| sockets(parent))
            .filter(|socket| connect(socket).is_ok())
            .collect();
        live.sort();
        live.dedup();
        match live.len() {
            0 => Err(ClientError::NoSession),
            1 => Ok(Self {
                socket: live.remove(0),
            }),
            _ => Err(ClientError::Several(live)),
        }
    }

    /// Asks, and waits as long as the person takes.
    pub fn ask(&self, request: &Request) -> Result<Answer, Report> {
        match self.exchange(request)? {
            Answer::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// Says that an answer is none to what was asked.
    pub fn unexpected(&self) -> Report {
        ClientError::Malformed(self.socket.clone()).into()
    }

    fn exchange(&self, request: &Request) -> Result<Answer, ClientError> {
        let malformed = |Malformed| ClientError::Malformed(self.socket.clone());
        let request = protocol::encode(request).ok_or(ClientError::TooLong)?;
        let mut stream = connect(&self.socket)?;
        stream.write_all(&request).map_err(ClientError::WentAway)?;
        let mut length = [0; 4];
        stream
            .read_exact(&mut length)
            .map_err(ClientError::WentAway)?;
        let length = protocol::length(length).map_err(malformed)?;
        let mut body = Zeroizing::new(vec![0; length]);
        stream
            .read_exact(&mut body)
            .map_err(ClientError::WentAway)?;
        protocol::decode(&body).map_err(malformed)
    }
}

/// Connects to a socket that this user serves on.
fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    let not_there = |_| ClientError::NotThere(socket.to_owned());
    let stream = UnixStream::connect(socket).map_err(not_there)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream);
    let peer = peer.map_err(|error| not_there(error.into()))?;
    if peer.uid != rustix::process::geteuid() {
        return Err(ClientError::Stranger(socket.to_owned()));
    }
    Ok(stream)
}

/// Lists the sockets that sessions of this user may serve on.
fn sockets(parent: &Path) -> Vec<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let folders = fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = folders.filter(|folder| {
        folder.file_name().as_encoded_bytes().starts_with(b"bcm-")
            && folder
                .metadata()
                .is_ok_and(|folder| folder.is_dir() && folder.uid() == own)
    });
    ours.map(|folder| folder.path().join(SOCKET))
        .filter(|socket| {
            fs::symlink_metadata(socket)
                .is_ok_and(|file| file.file_type().is_socket() && file.uid() == own)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_sockets_of_sessions_that_live_are_found() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["bcm-1-x", "bcm-2-y", "other", "bcm-3-z"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let socket = |name: &str| parent.path().join(name).join(SOCKET);
        let live = UnixListener::bind(socket("bcm-1-x")).unwrap();
        drop(UnixListener::bind(socket("bcm-2-y")).unwrap());
        let _elsewhere = UnixListener::bind(socket("other")).unwrap();
        fs::write(socket("bcm-3-z"), "no socket").unwrap();
        let found = sockets(parent.path());
        assert_eq!(found.len(), 2);
        let connected: Vec<_> = found.iter().filter(|path| connect(path).is_ok()).collect();
        assert_eq!(connected, [&socket("bcm-1-x")]);
        drop(live);
        assert!(sockets(Path::new("/nonexistent")).is_empty());
    }

    #[test]
    fn a_session_that_goes_away_or_answers_nonsense_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(SOCKET);
        let listener = UnixListener::bind(&socket).unwrap();
        let serve = std::thread::spawn(move || {
            for answer in [&[][..], &[0, 0, 0, 2, b'{', b'}'], &[255; 8]] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut request = vec![0; protocol::length(length).unwrap()];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(answer).unwrap();
            }
        });
        let client = Client { socket };
        let ask = || {
            let request = Request::AgeRecipient { name: "a".into() };
            client.exchange(&request).unwrap_err()
        };
        assert!(matches!(ask(), ClientError::WentAway(_)));
        assert!(matches!(ask(), ClientError::Malformed(_)));
        assert!(matches!(ask(), ClientError::Malformed(_)));
        serve.join().unwrap();
        assert!(matches!(ask(), ClientError::NotThere(_)));
    }
}
