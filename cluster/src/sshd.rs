//! A real `sshd` on loopback, for the tests.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ssh_key::PublicKey;
use tempfile::TempDir;

use crate::client::{ClientEnv, ClientSettings};
use crate::host_key::HostKey;

/// A server that ends with its handle.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
}

impl Sshd {
    /// Starts a server with host keys of these types, which lets `authorized` in as this user.
    pub(crate) fn start(types: &[&str], authorized: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        std::fs::write(folder.path().join("authorized_keys"), authorized).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nAuthorizedKeysFile {path}/authorized_keys\n\
             StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        );
        for kind in types {
            new_host_key(folder.path(), kind);
            config += &format!("HostKey {path}/{kind}\n");
        }
        std::fs::write(folder.path().join("config"), config).unwrap();
        // as root, sshd wants the folder that a service manager would have made
        let _ = std::fs::create_dir("/run/sshd");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(folder.path().join("config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let sshd = Self {
            child,
            port,
            folder,
        };
        sshd.wait();
        sshd
    }

    fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(start.elapsed() < Duration::from_secs(10), "no sshd: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns one of its host keys.
    pub(crate) fn host_key(&self, kind: &str) -> HostKey {
        let path = self.folder.path().join(kind).with_extension("pub");
        let line = std::fs::read_to_string(path).unwrap();
        HostKey::new(&PublicKey::from_openssh(&line).unwrap()).unwrap()
    }

    /// Gives it another host key, as a reinstallation would.
    pub(crate) fn reinstall(mut self, kind: &str) -> Self {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in [kind.to_owned(), format!("{kind}.pub")] {
            std::fs::remove_file(self.folder.path().join(file)).unwrap();
        }
        new_host_key(self.folder.path(), kind);
        let config = self.folder.path().join("config");
        let mut command = Command::new("/usr/sbin/sshd");
        command
            .args(["-D", "-e", "-f"])
            .arg(config)
            .stderr(Stdio::null());
        self.child = command.spawn().unwrap();
        self.wait();
        self
    }
}

impl Sshd {
    /// Ends it and every login that it serves.
    pub(crate) fn stop_with_its_children(&mut self) {
        let parent = self.child.id().to_string();
        let _ = Command::new("pkill")
            .args(["-KILL", "-P", &parent])
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn new_host_key(folder: &Path, kind: &str) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", "", "-f"])
        .arg(folder.join(kind))
        .status();
    assert!(status.unwrap().success());
}

/// The name of the user who runs the tests.
pub(crate) fn me() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An environment with nothing but a path.
pub(crate) fn env() -> ClientEnv {
    let path = ("PATH".into(), "/usr/bin:/bin".into());
    ClientEnv::pick([path, ("SSH_ASKPASS".into(), "/bin/false".into())])
}

/// Settings without an agent and without a way to onions.
pub(crate) fn settings() -> ClientSettings {
    ClientSettings {
        folder: std::env::temp_dir(),
        agent: "/nonexistent".into(),
        env: env(),
        onion: None,
    }
}
