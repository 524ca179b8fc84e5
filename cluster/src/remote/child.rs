//! A command that runs on a host, and its streams.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

use super::{RemoteError, Status};
use crate::master::Master;
use crate::name::HostName;

/// What a command reads.
pub type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// What a command writes.
pub type Stream = Pin<Box<dyn AsyncRead + Send>>;

/// A command that runs on a host.
///
/// Dropping it closes its streams, which the command notices when it reads or writes next; one that is
/// [`crate::RemoteCommand::leashed`] ends at once.
pub struct Child {
    host: HostName,
    /// Taken by whoever serves it.
    pub stdin: Option<Input>,
    /// Taken by whoever serves it.
    pub stdout: Option<Stream>,
    /// Taken by whoever serves it.
    pub stderr: Option<Stream>,
    process: Process,
}

enum Process {
    Local(tokio::process::Child),
    Remote {
        child: openssh::Child<Arc<openssh::Session>>,
        master: Arc<Master>,
        _turn: OwnedSemaphorePermit,
    },
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child(on {})", self.host)
    }
}

impl Child {
    pub(super) fn local(host: HostName, mut child: tokio::process::Child) -> Self {
        Self {
            host,
            stdin: child.stdin.take().map(|s| Box::pin(s) as Input),
            stdout: child.stdout.take().map(|s| Box::pin(s) as Stream),
            stderr: child.stderr.take().map(|s| Box::pin(s) as Stream),
            process: Process::Local(child),
        }
    }

    pub(super) fn remote(
        host: HostName,
        master: Arc<Master>,
        mut child: openssh::Child<Arc<openssh::Session>>,
        turn: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            host,
            stdin: child.stdin().take().map(|s| Box::pin(s) as Input),
            stdout: child.stdout().take().map(|s| Box::pin(s) as Stream),
            stderr: child.stderr().take().map(|s| Box::pin(s) as Stream),
            process: Process::Remote {
                child,
                master,
                _turn: turn,
            },
        }
    }

    pub(super) fn take_streams(&mut self) -> (Input, Stream, Stream) {
        let piped = "every stream is piped and was not taken yet";
        (
            self.stdin.take().expect(piped),
            self.stdout.take().expect(piped),
            self.stderr.take().expect(piped),
        )
    }

    /// Waits for its end; a stdin that was not taken is closed.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Cut`] or [`RemoteError::Start`].
    pub async fn wait(mut self) -> Result<Status, RemoteError> {
        self.stdin.take();
        match self.process {
            Process::Local(mut child) => {
                let ended = child.wait().await;
                let ended = ended.map_err(|source| RemoteError::Start {
                    host: self.host.clone(),
                    source,
                })?;
                Ok(status(ended.code()))
            }
            Process::Remote { child, master, .. } => match child.wait().await {
                Ok(ended) => Ok(status(ended.code())),
                // what the crate makes of the code that shells return for an unknown program
                Err(openssh::Error::Remote(_)) => Ok(Status::Code(127)),
                Err(_) if master.is_alive().await => Ok(Status::Signal),
                Err(_) => Err(RemoteError::cut(&self.host, master.last_words())),
            },
        }
    }
}

fn status(code: Option<i32>) -> Status {
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.map_or(Status::Signal, Status::Code)
}
