//! GnuPG, with a home of its own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::environment::TestEnv;

/// A GnuPG home. Its agent is ended when dropped.
#[derive(Debug)]
pub struct Gpg<'a> {
    env: &'a TestEnv,
    home: PathBuf,
    variables: Vec<(String, String)>,
}

impl<'a> Gpg<'a> {
    /// Makes an empty one, called `name`, below the folder of this test.
    pub fn new(env: &'a TestEnv, name: &str) -> Self {
        let home = env.path().join(name);
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let gpg = Self::at(env, home);
        // makes the trust database, which a revocation needs even where everything is trusted
        let made = gpg.command("gpg").args(["--batch", "--list-keys"]).output();
        made.expect("gpg is installed (Debian: gnupg)");
        gpg
    }

    /// Uses a home that another program made.
    pub fn at(env: &'a TestEnv, home: PathBuf) -> Self {
        Self {
            env,
            home,
            variables: Vec::new(),
        }
    }

    /// Sets an environment variable for gpg and the agent that it starts.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Runs gpg with this on its standard input, everything trusted, nothing asked.
    pub fn run(&self, words: &[&str], input: &[u8]) -> Output {
        let mut command = self.command("gpg");
        command
            .args(["--batch", "--no-tty", "--trust-model", "always"])
            .args(["--passphrase", "", "--pinentry-mode", "loopback"])
            .args(words);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg is installed (Debian: gnupg)");
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // gpg may end before it has read everything
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// As [`Gpg::run`], expects exit code 0 and returns what was printed.
    ///
    /// # Panics
    ///
    /// With what gpg said, on any other code.
    #[track_caller]
    pub fn ok(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(words, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {words:?}: {said}");
        output.stdout
    }

    /// Makes a key that signs and one that decrypts, and returns the fingerprint.
    pub fn new_key(&self, user_id: &str) -> String {
        let words = ["--quick-gen-key", user_id, "ed25519", "cert,sign", "never"];
        self.ok(&words, b"");
        let fingerprint = self.fingerprint(user_id);
        self.ok(
            &["--quick-add-key", &fingerprint, "cv25519", "encr", "never"],
            b"",
        );
        fingerprint
    }

    /// Returns the fingerprint of the first key of that name.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[track_caller]
    pub fn fingerprint(&self, name: &str) -> String {
        let listed = self.ok(&["--list-keys", "--with-colons", name], b"");
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:"));
        line.expect("a key").split(':').nth(9).unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.env.command(program);
        command.env("GNUPGHOME", &self.home);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }
}

impl Drop for Gpg<'_> {
    fn drop(&mut self) {
        let _ = self
            .command("gpgconf")
            .args(["--kill", "gpg-agent"])
            .stdin(Stdio::null())
            .output();
    }
}
