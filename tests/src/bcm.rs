//! Running `bcm` and holding what came of it.

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};

use crate::pty::Pty;
use crate::wait::wait_until;

/// The file descriptor on which a test hands over a passphrase.
const SECRET_FD: i32 = 3;

/// Which terminal a run can ask on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Terminal {
    /// None.
    None,
    /// One that it is given.
    Own,
}

/// A run of `bcm` that is being prepared.
#[derive(Debug)]
pub struct Bcm {
    command: Command,
    flags: Vec<OsString>,
    words: Vec<OsString>,
    secret: Option<Vec<u8>>,
    /// The socket that it finds where engines have theirs.
    on: Option<std::path::PathBuf>,
}

impl Bcm {
    pub(crate) fn new(command: Command, words: Vec<OsString>) -> Self {
        Self {
            command,
            flags: Vec::new(),
            words,
            secret: None,
            on: None,
        }
    }

    /// Adds `--device`.
    #[must_use]
    pub fn device(self, device: &str) -> Self {
        self.flag("--device").flag(device)
    }

    /// Adds a flag in front of the command.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<OsString>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Adds a word behind the command.
    #[must_use]
    pub fn word(mut self, word: impl Into<OsString>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Types this passphrase on the host, through a file descriptor.
    #[must_use]
    pub fn passphrase(self, passphrase: impl AsRef<[u8]>) -> Self {
        self.flag("--passphrase-fd")
            .flag(SECRET_FD.to_string())
            .secret(passphrase)
    }

    /// Gives these bytes to be read on file descriptor 3.
    #[must_use]
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = Some(secret.as_ref().to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it on the host of an engine, whose socket it finds where engines have theirs.
    #[must_use]
    pub fn on(mut self, engine: &crate::Dockerd) -> Self {
        self.on = Some(engine.socket());
        self
    }

    /// Runs it in this folder.
    #[must_use]
    pub fn folder(mut self, folder: &std::path::Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Returns the path of the program.
    pub fn program(&self) -> std::path::PathBuf {
        self.command.get_program().into()
    }

    /// Runs it to its end, without standard input.
    ///
    /// # Panics
    ///
    /// When it takes longer than a minute.
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// As [`Bcm::run`], of what takes longer: it fetches packages.
    ///
    /// # Panics
    ///
    /// When it takes longer than `limit`.
    pub fn run_within(self, limit: Duration) -> Output {
        self.spawn().wait_within(limit)
    }

    /// Starts it, without standard input.
    pub fn spawn(self) -> Running {
        self.spawn_with(Stdio::null())
    }

    /// Starts it with this standard input.
    pub fn spawn_with(self, stdin: Stdio) -> Running {
        let (mut command, secret) = self.into_command(Terminal::None);
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().expect("bcm starts");
        drop(command);
        drop(secret);
        Running {
            stdout: Some(collect(child.stdout.take().unwrap())),
            stderr: Some(collect(child.stderr.take().unwrap())),
            child,
            start,
        }
    }

    /// Starts it on a terminal.
    pub fn pty(mut self) -> Pty {
        self.command.env("TERM", "xterm");
        let (command, secret) = self.into_command(Terminal::Own);
        let pty = Pty::spawn(command);
        drop(secret);
        pty
    }

    /// Returns the plain command, with whatever has to live until it is started.
    pub(crate) fn into_command(self, terminal: Terminal) -> (Command, Option<JoinHandle<()>>) {
        let mut command = match terminal {
            Terminal::Own => self.command,
            // In a session of its own it cannot ask on the terminal that the tests are started from.
            Terminal::None => {
                let mut detached = Command::new("/usr/bin/setsid");
                if let Some(socket) = &self.on {
                    let script =
                        "mount -t tmpfs tmpfs /run && ln -s $0 /run/docker.sock && exec \"$@\"";
                    detached.args(["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script]);
                    detached.arg(socket);
                }
                detached.arg(self.command.get_program()).env_clear();
                for (name, value) in self.command.get_envs() {
                    detached.env(name, value.unwrap_or_default());
                }
                if let Some(folder) = self.command.get_current_dir() {
                    detached.current_dir(folder);
                }
                detached
            }
        };
        command.args(self.flags).args(self.words);
        let writer = self.secret.map(|secret| {
            let (read, mut write) = std::io::pipe().unwrap();
            command
                .fd_mappings(vec![FdMapping {
                    parent_fd: OwnedFd::from(read),
                    child_fd: SECRET_FD,
                }])
                .unwrap();
            // A passphrase that is too long for the pipe must not block the test.
            thread::spawn(move || {
                let _ = write.write_all(&secret);
            })
        });
        (command, writer)
    }
}

/// A `bcm` that runs. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    start: Instant,
}

impl Running {
    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input and closes it.
    pub fn input(&mut self, text: &str) {
        let mut stdin = self.child.stdin.take().expect("started with a pipe");
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal(self.id(), rustix::process::Signal::TERM);
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        signal(self.id(), rustix::process::Signal::INT);
    }

    /// Sends SIGKILL.
    pub fn kill(&self) {
        signal(self.id(), rustix::process::Signal::KILL);
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When that takes longer than a minute.
    pub fn wait(self) -> Output {
        self.wait_within(Duration::from_secs(60))
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When that takes longer than `limit`.
    pub fn wait_within(mut self, limit: Duration) -> Output {
        let status = wait_until("bcm ends", limit, || self.child.try_wait().unwrap());
        let elapsed = self.start.elapsed();
        let text = |reader: Option<JoinHandle<Vec<u8>>>| {
            String::from_utf8(reader.unwrap().join().unwrap()).expect("bcm prints UTF-8")
        };
        Output {
            stdout: text(self.stdout.take()),
            stderr: text(self.stderr.take()),
            status,
            elapsed,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Data.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
    status: ExitStatus,
}

impl Output {
    /// Returns the exit code.
    ///
    /// # Panics
    ///
    /// When a signal ended it.
    pub fn code(&self) -> i32 {
        match self.status.signal() {
            Some(signal) => panic!("ended by signal {signal}:\n{self}"),
            None => self.status.code().unwrap(),
        }
    }

    /// Expects exit code 0 and returns what was printed.
    ///
    /// # Panics
    ///
    /// With everything that was printed, on any other code.
    #[track_caller]
    pub fn success(&self) -> &str {
        assert_eq!(self.code(), 0, "\n{self}");
        &self.stdout
    }

    /// Expects this exit code, nothing on stdout, and a first error line; returns stderr.
    ///
    /// # Panics
    ///
    /// With everything that was printed, when it is otherwise.
    #[track_caller]
    pub fn failure(&self, code: i32) -> &str {
        assert_eq!(self.code(), code, "\n{self}");
        assert!(!self.stderr.contains("panicked at"), "\n{self}");
        assert!(self.error().is_some(), "no error line\n{self}");
        &self.stderr
    }

    /// Returns the text of the `error: ` line.
    pub fn error(&self) -> Option<&str> {
        self.stderr
            .lines()
            .find_map(|line| line.strip_prefix("error: "))
    }

    /// Returns the text of the `hint: ` line.
    pub fn hint(&self) -> Option<&str> {
        self.stderr
            .lines()
            .find_map(|line| line.strip_prefix("hint: "))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        writeln!(f, "--- stdout\n{}", self.stdout)?;
        writeln!(f, "--- stderr\n{}", self.stderr)
    }
}

fn collect(mut from: impl std::io::Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}

fn signal(id: u32, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap();
    rustix::process::kill_process(id, signal).unwrap();
}
