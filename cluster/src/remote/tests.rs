use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::client::{ClientSettings, LoginKey};
use crate::cluster::SshTarget;
use crate::connections::{Connections, LoginKeys, LoginKeysError, Waiting};
use crate::host_key::HostKeyError;
use crate::sshd::{Sshd, me, settings};

/// A key in a file: `ssh` finds the private half beside the public one.
struct FileKey(String);

impl LoginKeys for FileKey {
    fn keys<'a>(
        &'a self,
        _target: &'a SshTarget,
    ) -> BoxFuture<'a, Result<Vec<LoginKey>, LoginKeysError>> {
        let key = LoginKey::Key(self.0.clone());
        Box::pin(async move { Ok(vec![key]) })
    }
}

/// A real agent of OpenSSH, which ends with its handle.
struct SshAgent(std::process::Child);

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Stage {
    sshd: Sshd,
    pool: Connections,
    told: Arc<Mutex<Vec<Waiting>>>,
    target: SshTarget,
    public: String,
    folder: TempDir,
    _agent: SshAgent,
}

fn run(program: &str, words: &[&str], socket: &Path) {
    let status = std::process::Command::new(program)
        .args(words)
        .env("SSH_AUTH_SOCK", socket)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("bcm-")
            .tempdir_in("/tmp")
            .unwrap();
        let key = folder.path().join("key");
        let socket = folder.path().join("agent");
        run(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()],
            &socket,
        );
        let agent = std::process::Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let agent = SshAgent(agent);
        while !socket.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        run("ssh-add", &["-q", key.to_str().unwrap()], &socket);
        std::fs::remove_file(&key).unwrap();
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let public = public.trim_end().to_owned();
        let sshd = Sshd::start(&["ed25519"], &public);
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let pool = Connections::new(
            ClientSettings {
                folder: folder.path().to_owned(),
                agent: socket,
                ..settings()
            },
            Arc::new(FileKey(public.clone())),
            Arc::new(move |waiting| heard.lock().unwrap().push(waiting)),
        );
        let target = SshTarget {
            destination: format!("{}@127.0.0.1:{}", me(), sshd.port).parse().unwrap(),
            pin: sshd.host_key("ed25519"),
            certified: false,
        };
        Self {
            sshd,
            pool,
            told,
            target,
            public,
            folder,
            _agent: agent,
        }
    }

    fn remote(&self) -> Remote {
        self.pool
            .remote_at(&"node-1".parse().unwrap(), &self.target)
    }

    /// Returns the masters that run for this stage.
    fn masters(&self) -> usize {
        masters(self.folder.path())
    }
}

fn masters(folder: &Path) -> usize {
    let wanted = folder.to_str().unwrap().as_bytes();
    let commands = std::fs::read_dir("/proc").unwrap().flatten();
    let commands = commands.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    commands
        .filter(|line| {
            line.starts_with(b"ssh\0") && line.windows(wanted.len()).any(|w| w == wanted)
        })
        .count()
}

fn words(words: &[&str]) -> RemoteCommand {
    RemoteCommand::new(words).unwrap()
}

fn sh(line: &str) -> RemoteCommand {
    words(&["sh", "-c", line])
}

async fn behaves_as_a_host_does(remote: &Remote) {
    let output = remote
        .run(&words(&["printf", "%s|", "a  b", "$HOME *"]), b"")
        .await
        .unwrap();
    assert_eq!(output.stdout, b"a  b|$HOME *|");
    assert!(output.status.success() && !output.truncated);
    let output = remote
        .run(&sh("cat; echo oh >&2; exit 7"), b"given")
        .await
        .unwrap();
    assert_eq!(
        (&*output.stdout, &*output.stderr),
        (&b"given"[..], &b"oh\n"[..])
    );
    assert_eq!(output.status, Status::Code(7));
    let output = remote.run(&words(&["no-such-program"]), b"").await.unwrap();
    assert_eq!(output.status, Status::Code(127));
    let output = remote.run(&sh("exit 255"), b"").await.unwrap();
    assert_eq!(output.status, Status::Code(255));
    // it reads nothing of what it is given
    let output = remote
        .run(&words(&["true"]), &vec![0; 1 << 20])
        .await
        .unwrap();
    assert!(output.status.success());
    let output = remote
        .run_capped(&sh("head -c 300000 /dev/zero; echo x >&2"), b"", 1000)
        .await;
    let output = output.unwrap();
    assert!(output.status.success() && output.truncated);
    assert_eq!((output.stdout.len(), output.stderr.len()), (1000, 2));
}

#[tokio::test]
async fn a_command_here_and_one_over_ssh_are_alike() {
    let stage = Stage::new();
    behaves_as_a_host_does(&stage.remote()).await;
    behaves_as_a_host_does(&Remote::local(crate::sshd::env())).await;
    assert_eq!(stage.masters(), 1);
}

#[tokio::test]
async fn a_command_that_a_signal_ends_is_told_from_a_cut() {
    let stage = Stage::new();
    let output = stage.remote().run(&sh("kill -KILL $$"), b"").await.unwrap();
    // a login shell may say 128 and the signal instead
    assert!(
        matches!(output.status, Status::Signal | Status::Code(137)),
        "{output:?}"
    );
}

#[tokio::test]
async fn many_commands_at_once_take_turns_on_one_connection() {
    let stage = Stage::new();
    let remote = stage.remote();
    let command = sh("sleep 0.1; echo in");
    let all = (0..30).map(|_| remote.run(&command, b""));
    for output in futures::future::join_all(all).await {
        assert_eq!(output.unwrap().stdout, b"in\n");
    }
    assert_eq!(stage.masters(), 1);
}

#[tokio::test]
async fn the_connection_ends_with_the_pool_and_leaves_no_file() {
    let stage = Stage::new();
    let remote = stage.remote();
    remote.connect().await.unwrap();
    assert_eq!(stage.masters(), 1);
    let folder = stage.folder.path().to_owned();
    let Stage { pool, .. } = stage;
    drop(remote);
    drop(pool);
    let start = Instant::now();
    while masters(&folder) > 0 {
        assert!(start.elapsed() < Duration::from_secs(8), "a master stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_unix_socket_of_the_host_is_reached_here() {
    let stage = Stage::new();
    let socket = stage.folder.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
        }
    });
    let remote = stage.remote();
    for _ in 0..2 {
        let here = remote.forward(&socket).await.unwrap();
        assert_ne!(here, socket);
        let mut said = String::new();
        let mut stream = UnixStream::connect(&here).await.unwrap();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
    }
    let local = Remote::local(crate::sshd::env());
    assert_eq!(local.forward(&socket).await.unwrap(), socket);
}

#[tokio::test]
async fn a_host_behind_a_server_is_reached_through_the_connection_to_it() {
    let stage = Stage::new();
    let inner = Sshd::start(&["ecdsa"], &stage.public);
    let guest = SshTarget {
        destination: format!("{}@127.0.0.1:{}", me(), inner.port)
            .parse()
            .unwrap(),
        pin: inner.host_key("ecdsa"),
        certified: false,
    };
    let host = crate::Host {
        name: "chain-1".parse().unwrap(),
        target: crate::HostTarget::Lxd {
            server: Some(stage.target.clone()),
            instance: "chain-1".parse().unwrap(),
            guest,
        },
        chains: Vec::new(),
    };
    let remote = stage.pool.remote(&host);
    let output = remote.run(&sh("echo ${SSH_CONNECTION##* }"), b"").await;
    let output = output.unwrap();
    assert_eq!(output.stdout, format!("{}\n", inner.port).as_bytes());
    assert_eq!(
        stage.masters(),
        3,
        "two masters, and the way of one through the other"
    );
}

#[tokio::test]
async fn a_file_arrives_whole_with_its_mode_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new();
    for remote in [stage.remote(), Remote::local(crate::sshd::env())] {
        let path = stage.folder.path().join("a 'file' $x");
        let text = path.to_str().unwrap();
        let bytes: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let digest = remote
            .upload(Source::bytes(&bytes), text, 0o640)
            .await
            .unwrap();
        assert_eq!(digest.len(), 64);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        // shorter than it said
        let short = Source {
            reader: &b"abc"[..],
            size: 4,
        };
        let error = remote.upload(short, text, 0o600).await.unwrap_err();
        assert!(matches!(error, RemoteError::Read { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        let nowhere = stage.folder.path().join("no/such/folder");
        let nowhere = nowhere.to_str().unwrap();
        let error = remote
            .upload(Source::bytes(b"x"), nowhere, 0o600)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("did not take"), "{error}");
        let folder = stage.folder.path().to_str().unwrap();
        remote
            .upload(Source::bytes(b"x"), folder, 0o600)
            .await
            .unwrap_err();
        remote
            .upload(Source::bytes(b""), text, 0o600)
            .await
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
    let start = Instant::now();
    loop {
        let left = std::fs::read_dir(stage.folder.path()).unwrap().flatten();
        let left = left
            .filter(|e| e.file_name().to_string_lossy().contains(".bcm-"))
            .count();
        if left == 0 {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{left} parts stay"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_leashed_command_ends_when_nobody_waits_for_it_any_more() {
    let stage = Stage::new();
    for (number, remote) in [stage.remote(), Remote::local(crate::sshd::env())]
        .iter()
        .enumerate()
    {
        let leashed = RemoteCommand::leashed(&["sh", "-c", "echo out; exit 3"]).unwrap();
        let output = remote.run(&leashed, b"").await.unwrap();
        assert_eq!(
            (output.status, &*output.stdout),
            (Status::Code(3), &b"out\n"[..])
        );
        let mark = stage.folder.path().join(format!("mark-{number}"));
        let line = format!("sleep 1; echo no > {}", mark.display());
        let command = RemoteCommand::leashed(&["sh", "-c", &line]).unwrap();
        let cut = tokio::time::timeout(Duration::from_millis(500), remote.run(&command, b"")).await;
        assert!(cut.is_err());
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!mark.exists(), "it went on");
    }
}

#[tokio::test]
async fn a_host_that_is_cut_off_in_a_command_says_so_and_is_reached_again() {
    let stage = Stage::new();
    let remote = stage.remote();
    let long = sh("echo $PPID; kill $PPID; sleep 5");
    let start = Instant::now();
    let error = remote.run(&long, b"").await.unwrap_err();
    assert!(matches!(error, RemoteError::Cut { .. }), "{error}");
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    let output = remote.run(&words(&["echo", "back"]), b"").await.unwrap();
    assert_eq!(output.stdout, b"back\n");
    let told = stage.told.lock().unwrap();
    assert!(matches!(&told[0], Waiting::Reconnect { .. }), "{told:?}");
}

#[tokio::test]
async fn a_host_that_is_gone_is_given_up_after_a_while() {
    let mut stage = Stage::new();
    let remote = stage.remote();
    remote.connect().await.unwrap();
    stage.sshd.stop_with_its_children();
    let start = Instant::now();
    let error = remote.run(&words(&["true"]), b"").await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("not back after 15 s"), "{error}");
    assert!(
        start.elapsed() < Duration::from_secs(17),
        "{:?}",
        start.elapsed()
    );
    assert!(stage.told.lock().unwrap().len() > 3);
}

#[tokio::test]
async fn each_cause_has_its_error() {
    let mut stage = Stage::new();
    let mut elsewhere = stage.target.clone();
    elsewhere.destination = format!("{}@127.0.0.1:1", me()).parse().unwrap();
    let name = "node-2".parse().unwrap();
    let error = stage
        .pool
        .remote_at(&name, &elsewhere)
        .connect()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
    assert!(
        text.starts_with("`node-2` is unreachable at `") && text.contains("refused"),
        "{text}"
    );

    std::fs::write(stage.sshd.folder.path().join("authorized_keys"), "").unwrap();
    let error = stage.remote().connect().await.unwrap_err();
    assert!(
        matches!(
            error,
            RemoteError::Refused {
                unsigned: false,
                ..
            }
        ),
        "{error}"
    );

    let old = stage.target.pin.fingerprint();
    stage.sshd = stage.sshd.reinstall("ed25519");
    let new = stage.sshd.host_key("ed25519").fingerprint();
    let error = stage.remote().connect().await.unwrap_err();
    let RemoteError::HostKey { error, .. } = error else {
        panic!("{error}");
    };
    let HostKeyError::Changed {
        pinned, offered, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((*pinned, *offered), (old, new));
}
