//! One way to a host, whether it is this machine or one that is reached over SSH.

mod child;
mod error;
mod local;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openssh::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::client::ClientEnv;
use crate::command::RemoteCommand;
use crate::connections::Link;
use crate::master::Master;
use crate::name::HostName;

pub use child::{Child, Input, Stream};
pub use error::RemoteError;
pub use upload::Source;

/// Most bytes of each stream that [`Remote::run`] keeps.
pub const DEFAULT_CAP: usize = 16 << 20;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// With this exit code.
    Code(u8),
    /// By a signal, which SSH does not tell.
    Signal,
}

impl Status {
    /// Tells whether it succeeded.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal => f.write_str("ended by a signal"),
        }
    }
}

/// What a command printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// What it printed, up to the cap.
    pub stdout: Vec<u8>,
    /// What it complained of, up to the cap.
    pub stderr: Vec<u8>,
    /// More was printed than was kept.
    pub truncated: bool,
}

/// A host, and the way to it. A clone is the same way.
#[derive(Clone, Debug)]
pub struct Remote(Way);

#[derive(Clone, Debug)]
enum Way {
    Local { name: HostName, env: ClientEnv },
    Ssh(Arc<Link>),
}

impl Remote {
    /// This machine, under the name `local`.
    pub fn local(env: ClientEnv) -> Self {
        let name = "local".parse().expect("`local` is a name");
        Self::local_as(name, env)
    }

    pub(crate) fn local_as(name: HostName, env: ClientEnv) -> Self {
        Self(Way::Local { name, env })
    }

    pub(crate) fn over(link: Arc<Link>) -> Self {
        Self(Way::Ssh(link))
    }

    /// Returns what the host is called.
    pub fn name(&self) -> &HostName {
        match &self.0 {
            Way::Local { name, .. } => name,
            Way::Ssh(link) => link.name(),
        }
    }

    /// Tells whether the host is this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.0, Way::Local { .. })
    }

    /// Returns the login name on the host; `None` on this machine.
    pub fn user(&self) -> Option<&str> {
        match &self.0 {
            Way::Local { .. } => None,
            Way::Ssh(link) => Some(link.login().user()),
        }
    }

    /// Returns the connection to the server that the host is on, if it is reached through one.
    pub(crate) async fn jump(&self) -> Result<Option<Arc<Master>>, RemoteError> {
        match &self.0 {
            Way::Local { .. } => Ok(None),
            Way::Ssh(link) => link.jump().await,
        }
    }

    /// Connects, unless that was done before.
    ///
    /// # Errors
    ///
    /// Any [`RemoteError`].
    pub async fn connect(&self) -> Result<(), RemoteError> {
        match &self.0 {
            Way::Local { .. } => Ok(()),
            Way::Ssh(link) => link.master().await.map(drop),
        }
    }

    /// Runs a command, which reads `stdin`, to its end; keeps at most [`DEFAULT_CAP`] of each stream.
    ///
    /// A command that fails is no error: see [`Output::status`]. Dropping the future leaves it to the
    /// host what becomes of the command; see [`RemoteCommand::leashed`].
    ///
    /// # Errors
    ///
    /// Any [`RemoteError`]; with [`RemoteError::Cut`] the command may have done some or all of its work.
    pub async fn run(&self, command: &RemoteCommand, stdin: &[u8]) -> Result<Output, RemoteError> {
        self.run_capped(command, stdin, DEFAULT_CAP).await
    }

    /// As [`Remote::run`], keeping at most `cap` bytes of each stream; what is beyond is read and
    /// dropped, so that the command goes on.
    ///
    /// # Errors
    ///
    /// Any [`RemoteError`].
    pub async fn run_capped(
        &self,
        command: &RemoteCommand,
        stdin: &[u8],
        cap: usize,
    ) -> Result<Output, RemoteError> {
        let mut child = self.spawn(command).await?;
        let (input, stdout, stderr) = child.take_streams();
        let feed = async move {
            let mut input = input;
            // a command need not read what it is given
            let _ = input.write_all(stdin).await;
            if !command.is_leashed() {
                let _ = input.shutdown().await;
                return None;
            }
            Some(input)
        };
        let (leash, stdout, stderr) = tokio::join!(feed, keep(stdout, cap), keep(stderr, cap));
        let status = child.wait().await?;
        drop(leash);
        Ok(Output {
            status,
            truncated: stdout.1 || stderr.1,
            stdout: stdout.0,
            stderr: stderr.0,
        })
    }

    /// Starts a command whose streams the caller serves.
    ///
    /// # Errors
    ///
    /// Any [`RemoteError`].
    pub async fn spawn(&self, command: &RemoteCommand) -> Result<Child, RemoteError> {
        match &self.0 {
            Way::Local { name, env } => local::spawn(name, env, command),
            Way::Ssh(link) => {
                let master = link.master().await?;
                let turn = link.turn().await;
                let mut started = master.session().arc_raw_command(command.line());
                started
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                match started.spawn().await {
                    Ok(child) => Ok(Child::remote(link.name().clone(), master, child, turn)),
                    Err(error) => Err(RemoteError::of_session(link.name(), &master, &error).await),
                }
            }
        }
    }

    /// Returns the path of a unix socket on this machine that leads to `socket` on the host.
    ///
    /// It is good until the connection is cut: ask again for each client that is made.
    ///
    /// # Errors
    ///
    /// Any [`RemoteError`]. Whether something listens on the host shows when it is connected to.
    pub async fn forward(&self, socket: &Path) -> Result<PathBuf, RemoteError> {
        match &self.0 {
            Way::Local { .. } => Ok(socket.to_owned()),
            Way::Ssh(link) => {
                let master = link.master().await?;
                let forwarded = master.forward(socket).await;
                forwarded.map_err(|error| RemoteError::Forward {
                    host: link.name().clone(),
                    socket: socket.to_owned(),
                    reason: crate::master::printable(&error::chain(&error)),
                })
            }
        }
    }
}

/// Reads a stream to its end, keeps the beginning, and tells whether that was not all.
async fn keep(mut stream: impl AsyncRead + Unpin, cap: usize) -> (Vec<u8>, bool) {
    let mut kept = Vec::new();
    let mut truncated = false;
    let mut buffer = vec![0; 32 << 10];
    // a stream that breaks ends here: why is told by how the command ended
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let room = cap.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&buffer[..room]);
        truncated |= room < read;
    }
    (kept, truncated)
}

#[cfg(test)]
mod tests;
