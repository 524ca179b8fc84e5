//! Real Docker engines on one machine, each in namespaces of its own, joined by a bridge: to each other
//! they are hosts on a network. Whatever they make ends with them.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::environment::TestEnv;
use crate::peers::prepared;
use crate::wait::wait_until;

/// How long an engine may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The name of the image that every engine has: busybox alone.
pub const IMAGE: &str = "bcm-test:1";

/// A switch, to which engines are plugged.
#[derive(Debug)]
pub struct Wire {
    /// Keeps the namespace.
    holder: Child,
}

impl Wire {
    /// Makes one, in a network namespace of its own.
    ///
    /// # Panics
    ///
    /// When this is not root.
    pub fn new() -> Self {
        let script =
            "ip link add name switch type bridge && ip link set switch up && exec sleep infinity";
        let holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare is installed");
        let wire = Self { holder };
        wait_until("a switch", START, || {
            let shown = wire.run(&["ip", "link", "show", "switch"]);
            shown.success().then_some(())
        });
        wire
    }

    fn run(&self, words: &[&str]) -> std::process::ExitStatus {
        in_network(self.holder.id(), words)
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        end(&mut self.holder);
    }
}

/// An engine. Ended with its containers when dropped.
#[derive(Debug)]
pub struct Dockerd {
    /// Holds the namespaces; the engine itself can end and start again in them.
    child: Child,
    /// The first process in them.
    init: u32,
    folder: PathBuf,
    number: u8,
}

impl Dockerd {
    /// Starts engine `number` of a wire, at 10.77.0.`number`, with [`IMAGE`].
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start(env: &TestEnv, wire: &Wire, number: u8) -> Self {
        let folder = env.path().join(format!("engine-{number}"));
        fs::create_dir_all(&folder).unwrap();
        // an engine keeps network namespaces and sockets in /run/docker, whatever its folders are
        let script = "
            mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs tmpfs /run; mkdir /run/sshd
            hostname node-$2; ip link set lo up
            until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
            ip addr add 10.77.0.$2/24 dev eth0; ip link set eth0 up
            while :; do
                dockerd --data-root $1/data --exec-root /run/docker --pidfile /run/docker.pid \
                    --host unix://$1/docker.sock --host unix:///run/docker.sock --storage-driver overlay2
                rm -f /run/docker.pid
                while [ -e $1/stopped ]; do sleep 0.05; done
            done";
        let log = File::create(folder.join("log")).unwrap();
        let child = env
            .command("/usr/bin/unshare")
            .args(["--net", "--mount", "--pid", "--uts", "--ipc", "--fork"])
            .args(["--kill-child", "sh", "-c", script, "sh"])
            .arg(&folder)
            .arg(number.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("unshare is installed");
        let init = wait_until("the engine's namespaces", START, || first_child(child.id()));
        let engine = Self {
            child,
            init,
            folder,
            number,
        };
        let port = format!("port-{number}");
        let pid = init.to_string();
        // the shell may not have unshared yet when its process is seen: its network decides
        wait_until("the engine's network", START, || {
            let apart = fs::read_link(format!("/proc/{init}/ns/net")).ok()
                != fs::read_link("/proc/self/ns/net").ok();
            apart.then_some(())
        });
        for words in [
            &[
                "ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &pid,
            ][..],
            &["ip", "link", "set", &port, "master", "switch"],
            &["ip", "link", "set", &port, "up"],
        ] {
            assert!(wire.run(words).success(), "{words:?}");
        }
        engine.wait();
        let image = prepared("dockerimage");
        engine.docker(&["import", &image.to_string_lossy(), IMAGE]);
        engine
    }

    /// Returns its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Returns its address on the wire.
    pub fn address(&self) -> String {
        format!("10.77.0.{}", self.number)
    }

    /// Runs Docker's own client on it and returns what it printed.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[track_caller]
    pub fn docker(&self, words: &[&str]) -> String {
        let output = self.try_docker(words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{words:?}: {stderr}\n{}",
            self.log()
        );
        String::from_utf8(output.stdout).unwrap().trim_end().into()
    }

    /// Runs Docker's own client on it.
    pub fn try_docker(&self, words: &[&str]) -> std::process::Output {
        Command::new("/usr/bin/docker")
            .env("DOCKER_CONFIG", &self.folder)
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("docker.io is installed")
    }

    /// Runs a program where the engine runs: in its network and with its mounts.
    pub fn inside(&self, words: &[&str]) -> std::process::Output {
        Command::new("nsenter")
            .args(["--net", "--mount", "--pid", "--uts", "--target"])
            .arg(self.init.to_string())
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter is installed")
    }

    /// Lets the holder of this key in over SSH, as root, to where the engine runs. Its sshd listens on
    /// the loopback of this machine, and sees the engine's socket where a host has it.
    pub fn ssh(&self, env: &TestEnv) -> EngineSsh {
        let folder = self.folder.join("ssh");
        fs::create_dir_all(&folder).unwrap();
        let key = folder.join("host_key");
        let keygen = Command::new("/usr/bin/ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(keygen.unwrap().success());
        fs::write(folder.join("authorized_keys"), "").unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let path = folder.display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {path}/host_key\n\
             AuthorizedKeysFile {path}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n"
        );
        fs::write(folder.join("config"), config).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let child = env
            .command("/usr/bin/nsenter")
            .args(["--mount", "--pid", "--uts", "--target"])
            .arg(self.init.to_string())
            .args(["/usr/sbin/sshd", "-D", "-e", "-f"])
            .arg(folder.join("config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nsenter is installed");
        wait_until("sshd answers", START, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        EngineSsh {
            child,
            folder,
            port,
        }
    }

    /// Cuts it off the wire, or plugs it in again.
    pub fn plug(&self, wire: &Wire, state: Plug) {
        let port = format!("port-{}", self.number);
        let state = match state {
            Plug::In => "up",
            Plug::Out => "down",
        };
        assert!(wire.run(&["ip", "link", "set", &port, state]).success());
    }

    /// Ends the engine and leaves its host and what lies on its disk.
    pub fn stop(&self) {
        fs::write(self.folder.join("stopped"), "").unwrap();
        self.signal("TERM");
        wait_until("the engine ends", START, || {
            (!self.try_docker(&["version"]).status.success()).then_some(())
        });
        wait_until("the engine is gone", START, || {
            let pid = self.inside(&["test", "-e", "/run/docker.pid"]);
            (!pid.status.success()).then_some(())
        });
    }

    /// Starts it again.
    pub fn start_again(&self) {
        let _ = fs::remove_file(self.folder.join("stopped"));
        self.wait();
    }

    /// Returns what it logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn wait(&self) {
        wait_until("a Docker engine", START, || {
            let up = self.try_docker(&["version"]);
            up.status.success().then_some(())
        });
    }

    fn signal(&self, name: &str) {
        let sent = self.inside(&["sh", "-c", &format!("kill -{name} $(cat /run/docker.pid)")]);
        assert!(sent.status.success(), "{sent:?}");
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        end(&mut self.child);
        // what was mounted went with the namespace, shortly after its last process
        wait_until(
            "the engine's files to be free",
            START,
            || match fs::remove_dir_all(&self.folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
                _ => Some(()),
            },
        );
    }
}

/// The sshd of an engine's host. Ended when dropped.
#[derive(Debug)]
pub struct EngineSsh {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl EngineSsh {
    /// Returns how the host is added.
    pub fn address(&self) -> String {
        format!("ssh://root@127.0.0.1:{}", self.port)
    }

    /// Returns the fingerprint of its host key, `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let list = Command::new("/usr/bin/ssh-keygen")
            .args(["-l", "-E", "sha256", "-f"])
            .arg(self.folder.join("host_key.pub"))
            .output()
            .unwrap();
        let text = String::from_utf8(list.stdout).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    }

    /// Lets the holder of this key in.
    pub fn authorize(&self, public_key: &str) {
        let path = self.folder.join("authorized_keys");
        let keys = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{keys}{}\n", public_key.trim_end())).unwrap();
    }
}

impl Drop for EngineSsh {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Whether a host is on its wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// It is.
    In,
    /// It is not.
    Out,
}

fn in_network(pid: u32, words: &[&str]) -> std::process::ExitStatus {
    Command::new("nsenter")
        .args(["--net", "--target"])
        .arg(pid.to_string())
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("nsenter is installed")
}

fn first_child(pid: u32) -> Option<u32> {
    let children = Path::new("/proc")
        .join(pid.to_string())
        .join(format!("task/{pid}/children"));
    let children = fs::read_to_string(children).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
