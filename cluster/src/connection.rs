//! The system's `ssh`, with a configuration of ours and nothing of the user's.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use bcm_keystore::Hint;
use bcm_keystore::ssh::SshKey;
use ssh_key::Certificate;
use tempfile::TempDir;
use tokio::process::Command;

use crate::command::RemoteCommand;
use crate::host::{DEFAULT_PORT, OnionError};
use crate::host_key::{HostKeyError, KnownHosts, PinnedHost};
use crate::scan::scan;

/// What `ssh` returns when it failed itself; a remote command may return it as well.
const SSH_FAILED: i32 = 255;

/// How long a host is asked for its keys after a connection failed.
const SCAN_PATIENCE: Duration = Duration::from_secs(5);

/// Name of the file with the certificate.
const CERTIFICATE: &str = "session-cert.pub";

/// The variables that programs of OpenSSH get to see; everything else is cleared.
#[derive(Clone, Debug, Default)]
pub struct ClientEnv(Vec<(OsString, OsString)>);

impl ClientEnv {
    /// The variables that are passed on.
    pub const PASSED: [&'static str; 5] = ["HOME", "LANG", "LC_ALL", "PATH", "TERM"];

    /// Picks them from an environment, such as `std::env::vars_os()`.
    pub fn pick(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let passed = |name: &OsStr| Self::PASSED.iter().any(|passed| name == *passed);
        Self(
            variables
                .into_iter()
                .filter(|(name, _)| passed(name))
                .collect(),
        )
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        command.env_clear();
        command.envs(self.0.iter().map(|(name, value)| (name, value)));
    }
}

/// A login to a host whose key was accepted, with keys of an agent.
///
/// `ssh` reads neither the user's nor the system's configuration and known hosts, offers no other
/// keys, asks for no password, forwards nothing, and goes on only if the host proves the pinned key.
#[derive(Debug)]
pub struct Connection {
    host: PinnedHost,
    agent: PathBuf,
    keys: usize,
    certificate: bool,
    folder: TempDir,
    env: ClientEnv,
    command: Option<RemoteCommand>,
}

impl Connection {
    /// Prepares a login to `host` with `keys`, which the agent at the socket `agent` holds.
    ///
    /// They are offered in this order, and the device signs with the first that the host knows. Small
    /// files (the accepted host key, the public keys) are kept in a private folder beside the socket
    /// for as long as the connection is.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Files`], [`ConnectionError::Path`] or [`ConnectionError::Onion`].
    pub fn new(
        host: PinnedHost,
        keys: &[&SshKey],
        agent: &Path,
        env: ClientEnv,
    ) -> Result<Self, ConnectionError> {
        host.destination().resolvable()?;
        let parent = agent.parent().unwrap_or(Path::new("."));
        let failed = |source| ConnectionError::Files {
            folder: parent.to_owned(),
            source,
        };
        let folder = tempfile::Builder::new()
            .prefix("connect-")
            .tempdir_in(parent)
            .map_err(failed)?;
        option_path(folder.path())?;
        let known = KnownHosts::new(&[host.pin()]).to_string();
        write_new(&folder.path().join("known_hosts"), &known).map_err(failed)?;
        for (number, key) in keys.iter().enumerate() {
            let path = folder.path().join(key_file(number));
            write_new(&path, &format!("{key}\n")).map_err(failed)?;
        }
        Ok(Self {
            host,
            agent: agent.to_owned(),
            keys: keys.len(),
            certificate: false,
            folder,
            env,
            command: None,
        })
    }

    /// Offers this certificate too, whose key the agent holds.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Files`].
    pub fn with_certificate(mut self, certificate: &Certificate) -> Result<Self, ConnectionError> {
        let failed = |source| ConnectionError::Files {
            folder: self.folder.path().to_owned(),
            source,
        };
        let line = certificate
            .to_openssh()
            .map_err(|error| failed(io::Error::other(error)))?;
        write_new(&self.folder.path().join(CERTIFICATE), &format!("{line}\n")).map_err(failed)?;
        self.certificate = true;
        Ok(self)
    }

    /// Runs this command instead of a login shell.
    #[must_use]
    pub fn with_command(mut self, command: RemoteCommand) -> Self {
        self.command = Some(command);
        self
    }

    /// Runs `ssh` on the terminal of this process and returns how what ran on the host ended.
    ///
    /// What `ssh` itself has to say goes into a file, of which the error tells. When it fails, the
    /// host is asked for its keys once more: a changed key is [`HostKeyError::Changed`]. Dropping the
    /// future ends `ssh`.
    ///
    /// # Errors
    ///
    /// Any [`ConnectionError`]; [`ConnectionError::Refused`] and [`ConnectionError::Failed`] before the
    /// login, [`ConnectionError::Cut`] and [`ConnectionError::Interrupted`] also after it.
    pub async fn run(&self) -> Result<ExitStatus, ConnectionError> {
        let log = self.folder.path().join("log");
        let mut command = self.command()?;
        command.arg("-E").arg(&log);
        self.address(&mut command);
        let status = command.status().await.map_err(ConnectionError::Start)?;
        if status.code() != Some(SSH_FAILED) {
            return Ok(status);
        }
        // a host that does not answer now tells nothing about its key
        if let Ok(offered) = scan(self.host.destination(), SCAN_PATIENCE, &self.env).await {
            self.host.verify(&offered)?;
        }
        let said = std::fs::read(&log).unwrap_or_default();
        let login = self.host.destination().to_string();
        match Ending::read(&String::from_utf8_lossy(&said)) {
            Ending::Command => Ok(status),
            Ending::Interrupted => Err(ConnectionError::Interrupted),
            Ending::Refused => Err(ConnectionError::Refused(login)),
            Ending::Failed(reason) => Err(ConnectionError::Failed { login, reason }),
            Ending::Cut(reason) => Err(ConnectionError::Cut { login, reason }),
        }
    }

    /// Returns the command line up to the address, ready for options and other standard streams.
    fn command(&self) -> Result<Command, ConnectionError> {
        let mut command = Command::new("ssh");
        self.env.apply(&mut command);
        command.env("SSH_AUTH_SOCK", &self.agent).kill_on_drop(true);
        // -F: neither ~/.ssh/config nor /etc/ssh/ssh_config is read
        command.args(["-F", "/dev/null"]);
        for option in FIXED_OPTIONS {
            command.args(["-o", option]);
        }
        let path = |name: &str| option_path(&self.folder.path().join(name));
        for (name, value) in [
            ("UserKnownHostsFile", path("known_hosts")?),
            ("HostKeyAlgorithms", self.host.key().signature_algorithms()),
        ] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        for number in 0..self.keys {
            let file = path(&key_file(number))?;
            command.arg("-o").arg(format!("IdentityFile={file}"));
        }
        if self.certificate {
            let file = path(CERTIFICATE)?;
            command.arg("-o").arg(format!("CertificateFile={file}"));
        }
        if self.keys == 0 {
            // without one, ssh looks for the user's own
            command.args(["-o", "IdentityFile=none"]);
        }
        Ok(command)
    }

    /// Adds who, where and what.
    fn address(&self, command: &mut Command) {
        let destination = self.host.destination();
        if destination.port() != DEFAULT_PORT {
            command.args(["-p", &destination.port().to_string()]);
        }
        command.args(["-l", destination.user(), "--", destination.host()]);
        command.args(self.command.iter().map(RemoteCommand::line));
    }
}

fn key_file(number: usize) -> String {
    format!("key-{number}.pub")
}

/// Why `ssh` returned 255, read from what it wrote to its log at the level VERBOSE.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// The remote command returned it.
    Command,
    /// Ctrl-C, or another signal.
    Interrupted,
    /// The host knows none of the keys, or one was not used.
    Refused,
    /// There was no login.
    Failed(String),
    /// The connection ended after the login.
    Cut(String),
}

impl Ending {
    fn read(log: &str) -> Self {
        let lines: Vec<_> = log.lines().map(str::trim).collect();
        let has = |words: &str| lines.iter().any(|line| line.contains(words));
        let last = lines.iter().rev().find(|line| !is_no_reason(line));
        let reason = || last.map_or("`ssh` gave no reason".to_owned(), |line| (*line).to_owned());
        let logged_in = lines
            .iter()
            .any(|line| line.starts_with("Authenticated to "));
        if has("Killed by signal ") {
            Self::Interrupted
        } else if logged_in && last.is_none() {
            Self::Command
        } else if logged_in {
            Self::Cut(reason())
        } else if has("Permission denied (") || has("Too many authentication failures") {
            Self::Refused
        } else {
            Self::Failed(reason())
        }
    }
}

/// Tells whether a line of the log says nothing of why `ssh` ended.
fn is_no_reason(line: &str) -> bool {
    const BEGINNINGS: [&str; 5] = [
        "Authenticated to ",
        "Authenticated using ",
        "Transferred: ",
        "Bytes per second: ",
        "Warning: ",
    ];
    line.is_empty()
        || BEGINNINGS.iter().any(|start| line.starts_with(start))
        || line.starts_with("Connection to ") && line.ends_with(" closed.")
}

/// What holds for every connection: `ssh_config(5)`.
const FIXED_OPTIONS: [&str; 29] = [
    // our key, in our agent, and no other way in; the socket comes in the environment, unquoted
    "IdentityAgent=SSH_AUTH_SOCK",
    "IdentitiesOnly=yes",
    "AddKeysToAgent=no",
    "PKCS11Provider=none",
    "PubkeyAuthentication=yes",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "GSSAPIAuthentication=no",
    "HostbasedAuthentication=no",
    "NumberOfPasswordPrompts=0",
    // the pinned key, and no other
    "GlobalKnownHostsFile=/dev/null",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "VerifyHostKeyDNS=no",
    "NoHostAuthenticationForLocalhost=no",
    "CanonicalizeHostname=no",
    // nothing passes but the terminal
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "ControlMaster=no",
    "ControlPath=none",
    "ProxyCommand=none",
    // a host that is gone is noticed
    "ConnectTimeout=30",
    "ServerAliveInterval=30",
    // whether the login worked is read from the log
    "LogLevel=VERBOSE",
];

/// Writes a path as the value of an option: in quotes, with `%` doubled.
fn option_path(path: &Path) -> Result<String, ConnectionError> {
    let text = path.to_str().filter(|text| {
        !text
            .chars()
            .any(|c| c.is_control() || matches!(c, '"' | '\\' | '$'))
    });
    let text = text.ok_or_else(|| ConnectionError::Path(path.to_owned()))?;
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

/// Why there was no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// `ssh` does not start.
    #[error("cannot run `ssh`")]
    Start(#[source] io::Error),
    /// The files for `ssh` cannot be written.
    #[error("cannot write the files for `ssh` in `{}`", folder.display())]
    Files {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder's path holds what `ssh` would not take literally.
    #[error("`ssh` cannot be given the path `{}`", .0.display())]
    Path(PathBuf),
    /// The host is an onion service, whose name `ssh` would ask of a resolver.
    #[error(transparent)]
    Onion(#[from] OnionError),
    /// The host does not have the key that was accepted.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The host let none of the keys in.
    #[error("`{0}` refused the login: permission denied")]
    Refused(String),
    /// There was no login.
    #[error("cannot log in to `{login}`: {reason}")]
    Failed {
        /// Who, where.
        login: String,
        /// What `ssh` said.
        reason: String,
    },
    /// The connection ended before what ran on the host did.
    #[error("the connection to `{login}` was cut: {reason}")]
    Cut {
        /// Who, where.
        login: String,
        /// What `ssh` said.
        reason: String,
    },
    /// The person ended it.
    #[error("cancelled")]
    Interrupted,
}

impl Hint for ConnectionError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Start(_) => Some("install OpenSSH: `apt install openssh-client`".into()),
            Self::Files { .. } => Some("check who owns it and whether the disk is full".into()),
            Self::Path(_) => Some("use a folder without quotes, `\\` and `$` in its path".into()),
            Self::Onion(error) => error.hint(),
            Self::HostKey(error) => error.hint(),
            Self::Refused(login) => Some(format!(
                "put a key of `ssh list` for `{login}` into the host's authorized_keys"
            )),
            Self::Failed { .. } => Some("check the address, and that sshd runs there".into()),
            Self::Cut { .. } | Self::Interrupted => None,
        }
    }
}

#[cfg(test)]
mod tests;
