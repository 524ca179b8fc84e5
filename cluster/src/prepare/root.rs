//! Running as root on a host, whoever logged in, one thing at a time.

use super::error::PrepareError;
use crate::command::RemoteCommand;
use crate::remote::Remote;

/// Exit code of the wrapper for a login that cannot become root.
const NOT_ROOT: u8 = 126;
/// Exit code of `flock` when somebody else has the lock.
const BUSY: u8 = 75;

/// Runs `"$@"` as root: as it is, or through `sudo`, which must not ask for a password.
///
/// What a run that was killed left at work, such as apt, still holds the lock: the next run waits for it
/// rather than meeting it half-way.
const WRAPPER: &str = "\
wait=$1; shift
set -- flock --close --conflict-exit-code 75 $wait /run/bcm-prepare.lock \"$@\"
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8; export PATH LC_ALL
if [ \"$(id -u)\" = 0 ]; then exec \"$@\"; fi
sudo -n true >/dev/null 2>&1 || exit 126
exec sudo -n -- \"$@\"";

/// What a command said, and whether it succeeded.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Said {
    /// Returns the last lines that it wrote, for an error.
    pub(super) fn said(&self) -> String {
        const LINES: usize = 12;
        let text = String::from_utf8_lossy(match self.stderr.is_empty() {
            true => &self.stdout,
            false => &self.stderr,
        });
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        match lines.is_empty() {
            true => "it said nothing".to_owned(),
            false => lines[lines.len().saturating_sub(LINES)..].join("; "),
        }
    }
}

/// A host on which commands run as root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root<'a>(&'a Remote);

impl<'a> Root<'a> {
    pub(super) fn new(remote: &'a Remote) -> Self {
        Self(remote)
    }

    /// Runs a program as root and waits for it; at once, or not at all.
    ///
    /// # Errors
    ///
    /// [`PrepareError::Busy`], [`PrepareError::NotRoot`], [`PrepareError::Remote`].
    pub(super) async fn run<W: AsRef<str>>(
        self,
        words: &[W],
        stdin: &[u8],
    ) -> Result<Said, PrepareError> {
        let all: Vec<&str> = ["sh", "-c", WRAPPER, "sh", "--nonblock"]
            .into_iter()
            .chain(words.iter().map(AsRef::as_ref))
            .collect();
        let command = RemoteCommand::new(&all)
            .map_err(|error| PrepareError::Unreadable(error.to_string()))?;
        let output = self.0.run(&command, stdin).await?;
        match output.status {
            crate::remote::Status::Code(NOT_ROOT) => return Err(PrepareError::NotRoot),
            crate::remote::Status::Code(BUSY) => return Err(PrepareError::Busy),
            _ => {}
        }
        Ok(Said {
            success: output.status.success(),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}
