//! What every run of the system's `ssh` is given: our environment, options, keys and known host.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bcm_keystore::ssh::SshKey;
use ssh_key::Certificate;
use tempfile::TempDir;
use tokio::process::Command;

use crate::connection::ConnectionError;
use crate::host::{DEFAULT_PORT, Destination, HostKind, OnionError};
use crate::host_key::{KnownHosts, PinnedHost};

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

/// The way to onion services: a program that `ssh` talks through, and Tor's SOCKS port behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnionProxy {
    /// Run as `PROGRAM ssh-proxy --socks ADDRESS -- HOST PORT`.
    pub program: PathBuf,
    /// Tor's SOCKS port.
    pub socks: SocketAddr,
}

impl OnionProxy {
    /// Returns the value of `ProxyCommand`: a line for `/bin/sh` with `%` doubled.
    fn command(&self, destination: &Destination) -> Result<String, ConnectionError> {
        let refuse = || ConnectionError::Path(self.program.clone());
        let program = self.program.to_str().ok_or_else(refuse)?;
        let words = [
            program,
            "ssh-proxy",
            "--socks",
            &self.socks.to_string(),
            "--",
            destination.host(),
            &destination.port().to_string(),
        ];
        let words: Result<Vec<_>, _> = words.into_iter().map(shlex::try_quote).collect();
        let line = words.map_err(|_| refuse())?.join(" ");
        // the option is one line, and `ssh` reads it to its end
        if line.contains(char::is_control) {
            return Err(refuse());
        }
        Ok(format!("exec {}", line.replace('%', "%%")))
    }
}

/// What a login offers: the public half of something that the agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginKey {
    /// A line as in `authorized_keys`.
    Key(String),
    /// An OpenSSH user certificate, in one line.
    Certificate(String),
}

impl LoginKey {
    /// Takes a certificate.
    pub fn certificate(certificate: &Certificate) -> Self {
        let line = certificate.to_openssh();
        Self::Certificate(line.expect("a certificate encodes"))
    }
}

impl From<&SshKey> for LoginKey {
    fn from(key: &SshKey) -> Self {
        Self::Key(key.to_string())
    }
}

/// Where the parts of a login come from that are the same for every host.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// A private folder, in which each login keeps small files and its sockets.
    pub folder: PathBuf,
    /// The agent's socket.
    pub agent: PathBuf,
    /// What the programs of OpenSSH get to see of the environment.
    pub env: ClientEnv,
    /// The way to onion services, if there is one.
    pub onion: Option<OnionProxy>,
}

/// The files and options of a login to one host; the files go with it.
#[derive(Debug)]
pub(crate) struct Client {
    host: PinnedHost,
    settings: ClientSettings,
    /// Files with public keys and certificates, in the order in which they are offered.
    keys: Vec<String>,
    folder: TempDir,
    proxy: Option<String>,
}

impl Client {
    /// Writes the files for a login to `host` with `keys`, which the agent holds.
    pub(crate) fn new(
        host: PinnedHost,
        keys: &[LoginKey],
        settings: &ClientSettings,
    ) -> Result<Self, ConnectionError> {
        let proxy = proxy_command(host.destination(), settings.onion.as_ref())?;
        let parent = &settings.folder;
        let failed = |source| ConnectionError::Files {
            folder: parent.clone(),
            source,
        };
        // short: the path of a control socket has to fit into 108 bytes, with 17 of ssh's own
        let folder = tempfile::Builder::new()
            .prefix("c-")
            .tempdir_in(parent)
            .map_err(failed)?;
        option_path(folder.path())?;
        let known = KnownHosts::new(&[host.pin()]).to_string();
        write_new(&folder.path().join("known_hosts"), &known).map_err(failed)?;
        let mut files = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            // not `CertificateFile`: ssh would want the bare key of it from the agent too, which offers none
            let (LoginKey::Key(line) | LoginKey::Certificate(line)) = key;
            let name = format!("key-{number}.pub");
            write_new(&folder.path().join(&name), &format!("{line}\n")).map_err(failed)?;
            files.push(name);
        }
        Ok(Self {
            host,
            settings: settings.clone(),
            keys: files,
            folder,
            proxy,
        })
    }

    /// Goes through another host, by the control socket of the connection to it.
    pub(crate) fn through(&mut self, control: &Path) -> Result<(), ConnectionError> {
        let refuse = || ConnectionError::Path(control.to_owned());
        let path = control.to_str().ok_or_else(refuse)?;
        let quoted = shlex::try_quote(path).map_err(|_| refuse())?;
        if path.contains(char::is_control) {
            return Err(refuse());
        }
        let quoted = quoted.replace('%', "%%");
        // the address after `--` is not looked at: the connection is there
        self.proxy = Some(format!(
            "exec ssh -F /dev/null -S {quoted} -W [%h]:%p -- server"
        ));
        Ok(())
    }

    /// Returns the host.
    pub(crate) fn host(&self) -> &PinnedHost {
        &self.host
    }

    /// Returns the folder of the files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the folder for as long as the result.
    pub(crate) fn into_folder(self) -> TempDir {
        self.folder
    }

    /// Returns the settings that it was made with.
    pub(crate) fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Returns the command line up to the address, ready for options and other standard streams.
    pub(crate) fn command(&self) -> Result<Command, ConnectionError> {
        let mut command = Command::new("ssh");
        self.settings.env.apply(&mut command);
        command
            .env("SSH_AUTH_SOCK", &self.settings.agent)
            .kill_on_drop(true);
        // -F: neither ~/.ssh/config nor /etc/ssh/ssh_config is read
        command.args(["-F", "/dev/null"]);
        for option in FIXED_OPTIONS {
            command.args(["-o", option]);
        }
        let path = |name: &str| option_path(&self.folder.path().join(name));
        let proxy = self.proxy.as_deref().unwrap_or("none").to_owned();
        for (name, value) in [
            ("UserKnownHostsFile", path("known_hosts")?),
            ("HostKeyAlgorithms", self.host.key().signature_algorithms()),
            ("ProxyCommand", proxy),
        ] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        for name in &self.keys {
            let file = path(name)?;
            command.arg("-o").arg(format!("IdentityFile={file}"));
        }
        if self.keys.is_empty() {
            // without one, ssh looks for the user's own
            command.args(["-o", "IdentityFile=none"]);
        }
        Ok(command)
    }

    /// Adds who and where.
    pub(crate) fn address(&self, command: &mut Command) {
        let destination = self.host.destination();
        if destination.port() != DEFAULT_PORT {
            command.args(["-p", &destination.port().to_string()]);
        }
        command.args(["-l", destination.user(), "--", destination.host()]);
    }
}

/// Returns the `ProxyCommand` for an onion service, `None` for any other host.
///
/// Without a way to it the onion is refused: `ssh` would ask a resolver for its name.
pub(crate) fn proxy_command(
    destination: &Destination,
    onion: Option<&OnionProxy>,
) -> Result<Option<String>, ConnectionError> {
    match (destination.kind(), onion) {
        (HostKind::Onion, Some(proxy)) => proxy.command(destination).map(Some),
        (HostKind::Onion, None) => Err(OnionError::new(destination).into()),
        (HostKind::Name | HostKind::Address(_), _) => Ok(None),
    }
}

/// Why `ssh` returned 255, read from what it wrote to its log at the level VERBOSE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
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
    pub(crate) fn read(log: &str) -> Self {
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
pub(crate) const FIXED_OPTIONS: [&str; 24] = [
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
    // whether the login worked is read from the log
    "LogLevel=VERBOSE",
];

/// Writes a path as the value of an option: in quotes, with `%` doubled.
pub(crate) fn option_path(path: &Path) -> Result<String, ConnectionError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_tells_why_it_ended() {
        let login = "Authenticated to h ([192.0.2.1]:22) using \"publickey\".\n";
        let sent = "Transferred: sent 2708, received 2728 bytes, in 0.1 seconds\n\
                    Bytes per second: sent 1, received 1\n";
        let cut = "client_loop: send disconnect: Broken pipe";
        for (log, ending) in [
            (format!("{login}{sent}"), Ending::Command),
            (
                format!("{login}Connection to h closed by remote host.\r\n{sent}"),
                Ending::Cut("Connection to h closed by remote host.".into()),
            ),
            (
                format!("{login}Connection to h closed.\r\n"),
                Ending::Command,
            ),
            (format!("{login}Killed by signal 2.\n"), Ending::Interrupted),
            (format!("{login}{cut}\r\n"), Ending::Cut(cut.into())),
            (
                "a@h: Permission denied (publickey).\r\n".into(),
                Ending::Refused,
            ),
            (
                "ssh: connect to host h port 22: Connection refused\r\n".into(),
                Ending::Failed("ssh: connect to host h port 22: Connection refused".into()),
            ),
            (String::new(), Ending::Failed("`ssh` gave no reason".into())),
        ] {
            assert_eq!(Ending::read(&log), ending, "{log}");
        }
    }

    #[test]
    fn nothing_of_the_environment_reaches_ssh_but_what_is_named() {
        let names = [
            "PATH",
            "HOME",
            "TERM",
            "SSH_ASKPASS",
            "LD_PRELOAD",
            "DISPLAY",
            "BCM_HOME",
        ];
        let env = ClientEnv::pick(names.map(|name| (name.into(), "x".into())));
        let passed: Vec<_> = env
            .0
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert_eq!(passed, ["PATH", "HOME", "TERM"]);
    }

    #[test]
    fn a_path_that_ssh_would_expand_is_refused_or_escaped() {
        assert_eq!(option_path(Path::new("/a b/%d")).unwrap(), "\"/a b/%%d\"");
        for path in ["/a\"b", "/$HOME", "/a\\b", "/a\nb"] {
            let error = option_path(Path::new(path)).unwrap_err();
            assert!(matches!(error, ConnectionError::Path(_)), "{path}");
        }
    }

    #[test]
    fn the_proxy_of_an_onion_is_one_line_in_which_nothing_is_expanded() {
        let mut proxy = OnionProxy {
            program: "/opt/my 50%/bcm".into(),
            socks: "127.0.0.1:9050".parse().unwrap(),
        };
        let onion: Destination = "root@abc.onion:2222".parse().unwrap();
        assert_eq!(
            proxy_command(&onion, Some(&proxy)).unwrap().unwrap(),
            "exec '/opt/my 50%%/bcm' ssh-proxy --socks 127.0.0.1:9050 -- abc.onion 2222"
        );
        let refused = proxy_command(&onion, None).unwrap_err();
        assert!(matches!(refused, ConnectionError::Onion(_)));
        let name = "root@node-1".parse().unwrap();
        assert_eq!(proxy_command(&name, Some(&proxy)).unwrap(), None);
        proxy.program = "/a\nb".into();
        assert!(proxy_command(&onion, Some(&proxy)).is_err());
    }
}
