use std::process::Output;
use std::sync::{Arc, Mutex};

use bcm_keystore::Curve;
use bcm_keystore::device::DeviceError;
use bcm_keystore::ssh::SshKey;
use bcm_keystore::ssh::{Agent, AgentEvent, AgentHandle, Purpose, Signer, SshError};
use futures::future::BoxFuture;
use p256::ecdsa::signature::Signer as _;
use ssh_key::Signature;
use ssh_key::private::{Ed25519Keypair, PrivateKey};
use tempfile::TempDir;

use super::*;
use crate::host::Destination;
use crate::host_key::{FirstContact, HostKey, KnownHosts};
use crate::sshd::{Sshd, env, me, settings};

/// A key in software in place of the device.
struct Software {
    key: PrivateKey,
    declines: bool,
}

impl Signer for Software {
    fn sign<'a>(
        &'a self,
        _key: &'a SshKey,
        _purpose: &'a Purpose,
        data: &'a [u8],
    ) -> BoxFuture<'a, Result<Signature, SshError>> {
        Box::pin(async move {
            match self.declines {
                true => Err(DeviceError::Declined.into()),
                false => Ok(self.key.try_sign(data).unwrap()),
            }
        })
    }
}

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn key(seed: u8, destination: &Destination) -> SshKey {
    let public = private(seed).public_key().key_data().clone();
    SshKey::new(destination.identity().clone(), Curve::Ed25519, public).unwrap()
}

/// A server, an agent with a key that it may or may not know, and who logs in.
struct Stage {
    sshd: Sshd,
    destination: Destination,
    agent: AgentHandle,
    events: Arc<Mutex<Vec<AgentEvent>>>,
    folder: TempDir,
}

impl Stage {
    fn new(kind: &str, authorized: u8, declines: bool) -> Self {
        let line = private(authorized).public_key().to_openssh().unwrap();
        let sshd = Sshd::start(&[kind], &line);
        let destination: Destination = format!("{}@127.0.0.1:{}", me(), sshd.port).parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let software = Software {
            key: private(1),
            declines,
        };
        let pin = pinned(&destination, &sshd.host_key(kind)).pin();
        let agent = Agent::start(
            &folder.path().join("a folder with %d"),
            &[key(1, &destination), key(2, &destination)],
            &[pin],
            Arc::new(software),
            move |event| seen.lock().unwrap().push(event),
        );
        Self {
            sshd,
            destination,
            agent: agent.unwrap(),
            events,
            folder,
        }
    }

    fn connection(&self, host: PinnedHost) -> Connection {
        let key = key(1, &self.destination);
        Connection::new(host, &[(&key).into()], &self.settings()).unwrap()
    }

    fn settings(&self) -> ClientSettings {
        ClientSettings {
            folder: self.folder.path().to_owned(),
            agent: self.agent.socket().to_owned(),
            ..settings()
        }
    }

    async fn run(&self, host: PinnedHost, words: &[&str]) -> Output {
        let connection = self
            .connection(host)
            .with_command(RemoteCommand::new(words).unwrap());
        let mut command = connection.command().unwrap();
        connection.address(&mut command);
        command
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap()
    }
}

fn pinned(destination: &Destination, key: &HostKey) -> PinnedHost {
    KnownHosts::default()
        .pin(destination, std::slice::from_ref(key), None, |_| {
            FirstContact::Accept
        })
        .unwrap()
}

#[tokio::test]
async fn a_login_with_each_kind_of_host_key_runs_the_words_as_typed() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let stage = Stage::new(kind, 1, false);
        let host = pinned(&stage.destination, &stage.sshd.host_key(kind));
        let output = stage
            .run(host, &["printf", "%s\n", "a  b", "$HOME *", "it's"])
            .await;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.stdout, b"a  b\n$HOME *\nit's\n", "{complaint}");
        let events = stage.events.lock().unwrap();
        let [AgentEvent::Signed { purpose, .. }] = &events[..] else {
            panic!("{events:?}");
        };
        let name = stage.destination.known_hosts_name();
        assert_eq!(purpose.summary(), format!("log in as {} at {name}", me()));
    }
}

#[tokio::test]
async fn the_exit_code_of_the_command_comes_back() {
    let stage = Stage::new("ed25519", 1, false);
    let host = pinned(&stage.destination, &stage.sshd.host_key("ed25519"));
    for code in [0, 7, 255] {
        let words = ["sh", "-c", &format!("exit {code}")];
        let connection = stage.connection(host.clone());
        let connection = connection.with_command(RemoteCommand::new(&words).unwrap());
        assert_eq!(connection.run().await.unwrap().code(), Some(code));
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_from_a_command_that_fails() {
    let stage = Stage::new("ed25519", 9, false);
    let host = pinned(&stage.destination, &stage.sshd.host_key("ed25519"));
    let error = stage.connection(host).run().await.unwrap_err();
    assert!(matches!(error, ConnectionError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn of_two_keys_the_one_is_used_that_the_host_knows() {
    let stage = Stage::new("ed25519", 1, false);
    let host = pinned(&stage.destination, &stage.sshd.host_key("ed25519"));
    let keys = [key(2, &stage.destination), key(1, &stage.destination)];
    let keys: Vec<_> = keys.iter().map(LoginKey::from).collect();
    let connection = Connection::new(host, &keys, &stage.settings()).unwrap();
    let connection = connection.with_command(RemoteCommand::new(&["true"]).unwrap());
    assert_eq!(connection.run().await.unwrap().code(), Some(0));
    assert_eq!(stage.events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_that_the_host_does_not_know_is_refused_without_asking_anybody() {
    let stage = Stage::new("ed25519", 9, false);
    let host = pinned(&stage.destination, &stage.sshd.host_key("ed25519"));
    let output = stage.run(host, &["true"]).await;
    assert_eq!(output.status.code(), Some(255));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("Permission denied (publickey)"),
        "{complaint}"
    );
    assert!(
        stage.events.lock().unwrap().is_empty(),
        "the key was offered, not used"
    );
}

#[tokio::test]
async fn a_login_that_is_declined_on_the_device_ends_ssh() {
    let stage = Stage::new("ed25519", 1, true);
    let host = pinned(&stage.destination, &stage.sshd.host_key("ed25519"));
    let output = stage.run(host, &["true"]).await;
    assert_eq!(output.status.code(), Some(255));
    let events = stage.events.lock().unwrap();
    let declined = |event: &AgentEvent| matches!(event, AgentEvent::Failed { error, .. } if error.to_string() == "declined on the device");
    assert!(events.len() == 1 && declined(&events[0]), "{events:?}");
}

#[tokio::test]
async fn a_changed_host_key_is_a_hard_stop_with_both_fingerprints() {
    let mut stage = Stage::new("ed25519", 1, false);
    let old = stage.sshd.host_key("ed25519");
    let host = pinned(&stage.destination, &old);
    stage.sshd = stage.sshd.reinstall("ed25519");
    let error = stage.connection(host).run().await.unwrap_err();
    let new = stage.sshd.host_key("ed25519");
    let name = stage.destination.known_hosts_name();
    assert_eq!(
        error.to_string(),
        format!(
            "host key of `{name}` changed: pinned {}, offered {}",
            old.fingerprint(),
            new.fingerprint()
        )
    );
    assert!(
        stage.events.lock().unwrap().is_empty(),
        "nothing was signed"
    );
}

#[tokio::test]
async fn two_logins_at_once_are_served_in_turn() {
    let stage = Stage::new("ed25519", 1, false);
    let host = pinned(&stage.destination, &stage.sshd.host_key("ed25519"));
    let outputs = tokio::join!(
        stage.run(host.clone(), &["echo", "one"]),
        stage.run(host.clone(), &["echo", "two"]),
    );
    assert_eq!(outputs.0.stdout, b"one\n");
    assert_eq!(outputs.1.stdout, b"two\n");
    assert_eq!(stage.events.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_files_go_with_the_connection() {
    let stage = Stage::new("ed25519", 1, false);
    let host = pinned(&stage.destination, &stage.sshd.host_key("ed25519"));
    let connection = stage.connection(host);
    let folder = connection.client.folder().to_owned();
    assert!(folder.join("known_hosts").exists());
    drop(connection);
    assert!(!folder.exists());
}

/// The user's own `ssh -A`, which bcm never runs: what a root on that host could ask the agent for.
#[tokio::test]
async fn an_agent_forwarded_by_hand_offers_nothing_on_the_host() {
    let stage = Stage::new("ed25519", 1, false);
    let host = pinned(&stage.destination, &stage.sshd.host_key("ed25519"));
    let mut command = Command::new("ssh");
    env().apply(&mut command);
    let output = command
        .env("SSH_AUTH_SOCK", stage.agent.socket())
        .args(["-A", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no"])
        .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"])
        .args([
            "-p",
            &host.destination().port().to_string(),
            "127.0.0.1",
            "ssh-add",
            "-L",
        ])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, "The agent has no identities.\n");
}
