//! A real OpenSSH server on loopback, as the current user, in a folder of its own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::environment::TestEnv;
use crate::wait::{free_port, wait_until};

/// A running sshd. Ended when dropped.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Sshd {
    /// Starts one that lets nobody in yet.
    ///
    /// # Panics
    ///
    /// When sshd is not installed or does not come up.
    pub fn start(env: &TestEnv) -> Self {
        Self::named(env, "sshd")
    }

    /// Starts one in a folder of this name, beside others.
    ///
    /// # Panics
    ///
    /// When sshd is not installed or does not come up.
    pub fn named(env: &TestEnv, name: &str) -> Self {
        let dir = env.path().join(name);
        fs::create_dir(&dir).unwrap();
        let keygen = env
            .command("/usr/bin/ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(dir.join("host_key"))
            .status()
            .expect("ssh-keygen is installed");
        assert!(keygen.success());
        for name in ["authorized_keys", "ca.pub", "revoked"] {
            fs::write(dir.join(name), "").unwrap();
        }
        if rustix::process::geteuid().is_root() {
            // Debian makes it when the service starts, which it does not have to.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        // A free port, kept by nobody for a moment: a port that is taken shows, and is tried again.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = try_start(env, &dir, port) {
                return Self { child, dir, port };
            }
        }
        panic!("sshd does not start:\n{}", log(&dir));
    }

    /// Lets the holder of this key in.
    pub fn authorize(&self, public_key: &str) {
        let path = self.dir.join("authorized_keys");
        let keys = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{keys}{}\n", public_key.trim_end())).unwrap();
    }

    /// Lets in whoever this CA certified.
    pub fn trust(&self, ca: &str) {
        fs::write(self.dir.join("ca.pub"), format!("{}\n", ca.trim_end())).unwrap();
    }

    /// Returns the file of `RevokedKeys`.
    pub fn revoked(&self) -> PathBuf {
        self.dir.join("revoked")
    }

    /// Writes a `known_hosts` with its key and returns the file.
    pub fn known_hosts(&self, env: &TestEnv) -> PathBuf {
        let key = fs::read_to_string(self.dir.join("host_key.pub")).unwrap();
        env.write("known", format!("[127.0.0.1]:{} {key}", self.port))
    }

    /// Returns the port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `USER@127.0.0.1:PORT` with the user that it lets in.
    pub fn destination(&self) -> String {
        format!("{}@127.0.0.1:{}", self.user(), self.port)
    }

    /// Returns the only user that it can let in.
    pub fn user(&self) -> String {
        let id = std::process::Command::new("/usr/bin/id")
            .arg("-un")
            .output()
            .unwrap();
        String::from_utf8(id.stdout).unwrap().trim_end().to_owned()
    }

    /// Returns the fingerprint of its host key, `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let list = std::process::Command::new("/usr/bin/ssh-keygen")
            .args(["-l", "-E", "sha256", "-f"])
            .arg(self.dir.join("host_key.pub"))
            .output()
            .unwrap();
        let text = String::from_utf8(list.stdout).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    }

    /// Replaces its host key, as a reinstalled machine or an impostor would, and starts it again.
    #[must_use]
    pub fn with_another_host_key(mut self, env: &TestEnv) -> Self {
        self.stop();
        for name in ["host_key", "host_key.pub"] {
            fs::remove_file(self.dir.join(name)).unwrap();
        }
        let keygen = env
            .command("/usr/bin/ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(self.dir.join("host_key"))
            .status()
            .unwrap();
        assert!(keygen.success());
        self.child = try_start(env, &self.dir, self.port).expect("sshd starts again");
        self
    }

    /// Ends every login that it serves, as a network that is cut does; it goes on listening.
    pub fn cut_command(&self) -> String {
        format!("pkill -KILL -P {}", self.child.id())
    }

    /// Ends it, and every login that it serves.
    pub fn halt(&mut self) {
        let _ = std::process::Command::new("/usr/bin/pkill")
            .args(["-KILL", "-P", &self.child.id().to_string()])
            .status();
        self.stop();
    }

    /// Returns what it logged.
    pub fn log(&self) -> String {
        log(&self.dir)
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn try_start(env: &TestEnv, dir: &Path, port: u16) -> Option<Child> {
    let dir_text = dir.to_string_lossy();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\n\
         HostKey {dir_text}/host_key\n\
         AuthorizedKeysFile {dir_text}/authorized_keys\n\
         TrustedUserCAKeys {dir_text}/ca.pub\n\
         RevokedKeys {dir_text}/revoked\n\
         PidFile {dir_text}/pid\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n\
         StrictModes no\n\
         UsePAM no\n\
         LogLevel VERBOSE\n"
    );
    let config_path = dir.join("sshd_config");
    fs::write(&config_path, config).unwrap();
    let mut child = env
        .command("/usr/sbin/sshd")
        .args(["-D", "-E"])
        .arg(dir.join("log"))
        .arg("-f")
        .arg(&config_path)
        .stdin(Stdio::null())
        .spawn()
        .expect("sshd is installed");
    let up = wait_until("sshd answers or ends", Duration::from_secs(10), || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        TcpStream::connect(("127.0.0.1", port)).ok().map(|_| true)
    });
    up.then_some(child)
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}
