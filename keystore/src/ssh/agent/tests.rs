mod certified;

use std::process::{Command, Output, Stdio};
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use p256::ecdsa::signature::Signer as _;
use proptest::prelude::*;
use ssh_agent_lib::proto::extension::SessionBind;
use ssh_agent_lib::proto::{Extension, PublicCredential, Response, SignRequest};
use ssh_agent_lib::ssh_encoding::{Decode, Encode};
use ssh_key::private::{Ed25519Keypair, PrivateKey};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::message::{MAX_MESSAGE, Request};
use super::*;
use crate::device::DeviceError;
use crate::identity::Curve;

/// A key in software, which signs as soon as it is let, as the device would.
struct Software {
    key: PrivateKey,
    answer: Answer,
    /// The most requests that were at work at the same time.
    most: StdMutex<(usize, usize)>,
}

#[derive(Clone)]
enum Answer {
    Yes,
    No,
    Locked,
    After(Arc<Notify>),
}

impl Signer for Software {
    fn sign<'a>(
        &'a self,
        _key: &'a SshKey,
        _purpose: &'a Purpose,
        data: &'a [u8],
    ) -> BoxFuture<'a, Result<Signature, SshError>> {
        Box::pin(async move {
            {
                let mut most = self.most.lock().unwrap();
                most.0 += 1;
                most.1 = most.1.max(most.0);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            match &self.answer {
                Answer::Yes => {}
                Answer::No => return Err(DeviceError::Declined.into()),
                Answer::Locked => return Err(DeviceError::Locked.into()),
                Answer::After(person) => person.notified().await,
            }
            self.most.lock().unwrap().0 -= 1;
            Ok(self.key.try_sign(data).unwrap())
        })
    }
}

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn public(seed: u8) -> KeyData {
    private(seed).public_key().key_data().clone()
}

struct Running {
    handle: AgentHandle,
    events: Arc<StdMutex<Vec<AgentEvent>>>,
    signer: Arc<Software>,
    folder: TempDir,
}

impl Running {
    fn start(answer: Answer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = "root@node1".parse().unwrap();
        let key = SshKey::new(identity, Curve::Ed25519, public(1)).unwrap();
        let pin = HostPin {
            host: "node1".into(),
            key: public(2).into(),
        };
        let signer = Arc::new(Software {
            key: private(1),
            answer,
            most: StdMutex::default(),
        });
        let events = Arc::new(StdMutex::new(Vec::new()));
        let seen = events.clone();
        let handle = Agent::start(
            &folder.path().join("run"),
            &[key],
            &[pin],
            signer.clone(),
            move |event| seen.lock().unwrap().push(event),
        );
        Self {
            handle: handle.unwrap(),
            events,
            signer,
            folder,
        }
    }

    async fn connect(&self) -> Client {
        Client(UnixStream::connect(self.handle.socket()).await.unwrap())
    }

    fn events(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().map(ToString::to_string).collect()
    }

    /// Runs a program of OpenSSH on the agent, with nothing else in its environment.
    async fn openssh(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("SSH_AUTH_SOCK", self.handle.socket())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }
}

struct Client(UnixStream);

impl Client {
    async fn ask(&mut self, message: &[u8]) -> Response {
        self.send(message).await;
        self.answer().await
    }

    async fn send(&mut self, message: &[u8]) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        self.0
            .write_all(&[&length[..], message].concat())
            .await
            .unwrap();
    }

    async fn answer(&mut self) -> Response {
        let length = self.0.read_u32().await.unwrap();
        let mut answer = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut answer).await.unwrap();
        Response::decode(&mut &answer[..]).unwrap()
    }

    async fn sign(&mut self, key: KeyData, data: Vec<u8>) -> Response {
        self.ask(&sign_request(key, data)).await
    }

    async fn bind(&mut self, host: u8, session: &[u8], is_forwarding: bool) -> Response {
        let bind = SessionBind {
            host_key: public(host),
            session_id: session.to_vec(),
            signature: private(host).try_sign(session).unwrap(),
            is_forwarding,
        };
        self.extension(Extension::new_message(bind).unwrap()).await
    }

    async fn extension(&mut self, extension: Extension) -> Response {
        let mut message = vec![27];
        extension.encode(&mut message).unwrap();
        self.ask(&message).await
    }
}

fn sign_request(key: KeyData, data: Vec<u8>) -> Vec<u8> {
    let mut message = vec![13];
    let request = SignRequest {
        credential: PublicCredential::Key(key),
        data,
        flags: 6,
    };
    request.encode(&mut message).unwrap();
    message
}

/// What ssh has signed to log in as root with key 1.
fn login(session: &[u8], host: Option<u8>) -> Vec<u8> {
    let blob = |seed| {
        let mut blob = Vec::new();
        public(seed).encode(&mut blob).unwrap();
        blob
    };
    let method = match host {
        Some(_) => "publickey-hostbound-v00@openssh.com",
        None => "publickey",
    };
    let mut data = Vec::new();
    session.encode(&mut data).unwrap();
    data.push(50);
    for text in ["root", "ssh-connection", method] {
        text.encode(&mut data).unwrap();
    }
    data.push(1);
    "ssh-ed25519".encode(&mut data).unwrap();
    blob(1).encode(&mut data).unwrap();
    if let Some(host) = host {
        blob(host).encode(&mut data).unwrap();
    }
    data
}

fn verifies(response: &Response, data: &[u8]) -> bool {
    use p256::ecdsa::signature::Verifier;
    match response {
        Response::SignResponse(signature) => public(1).verify(data, signature).is_ok(),
        _ => false,
    }
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_goes_with_the_agent() {
    let agent = Running::start(Answer::Yes);
    let socket = agent.handle.socket().to_owned();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    let mut client = agent.connect().await;
    assert_eq!(client.ask(&[99]).await, Response::Failure);
    drop(agent.handle);
    assert!(!socket.exists());
    assert_eq!(
        client.0.read(&mut [0]).await.unwrap(),
        0,
        "connections end too"
    );
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
    let agent = Running::start(Answer::Yes);
    let folder = agent.handle.socket().parent().unwrap();
    let again = || Agent::start(folder, &[], &[], agent.signer.clone(), |_| {});
    assert!(matches!(again(), Err(AgentError::InUse(_))));
    std::fs::remove_file(agent.handle.socket()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(agent.handle.socket()).unwrap());
    let second = again().unwrap();
    assert_eq!(second.socket(), agent.handle.socket());
    let path = second.socket().to_owned();
    drop(agent.handle);
    assert!(
        path.exists(),
        "the first agent leaves the socket of the second"
    );
}

#[tokio::test]
async fn a_folder_path_that_is_too_long_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("x".repeat(120));
    let signer = Running::start(Answer::Yes).signer.clone();
    let error = Agent::start(&long, &[], &[], signer, |_| {}).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot listen on `"),
        "{error}"
    );
    assert!(error.hint().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_add_lists_the_keys_as_trezor_agent_names_them() {
    let agent = Running::start(Answer::Yes);
    let output = agent.openssh("ssh-add", &["-L"]).await;
    let expected = ssh_key::PublicKey::new(public(1), "<ssh://root@node1|ed25519>");
    let listed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listed.trim_end(), expected.to_openssh().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_keygen_signs_through_the_agent_and_verifies() {
    let agent = Running::start(Answer::Yes);
    let folder = agent.folder.path();
    let line = ssh_key::PublicKey::new(public(1), "c")
        .to_openssh()
        .unwrap();
    std::fs::write(folder.join("key.pub"), &line).unwrap();
    std::fs::write(folder.join("allowed"), format!("me {line}")).unwrap();
    std::fs::write(folder.join("file"), "data").unwrap();
    let sign = ["-Y", "sign", "-n", "git", "-f", "key.pub", "file"];
    let output = agent.openssh("ssh-keygen", &sign).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let verify = "ssh-keygen -Y verify -f allowed -I me -n git -s file.sig < file";
    let output = agent.openssh("sh", &["-c", verify]).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let events = agent.events();
    assert_eq!(events.len(), 1);
    assert!(
        events[0].starts_with("signed: sign for git the sha512 "),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_or_locking_the_agent_is_refused_and_changes_nothing() {
    let agent = Running::start(Answer::Yes);
    let keygen = ["-q", "-t", "ed25519", "-N", "", "-f", "id"];
    assert!(agent.openssh("ssh-keygen", &keygen).await.status.success());
    for arguments in [
        &["id"][..],
        &["-t", "60", "id"],
        &["-D"],
        &["-s", "/usr/lib/x.so"],
    ] {
        let output = agent.openssh("ssh-add", arguments).await;
        assert!(!output.status.success(), "ssh-add {arguments:?}");
    }
    let mut client = agent.connect().await;
    for kind in [0, 1, 9, 17, 18, 19, 20, 21, 22, 23, 25, 26, 28, 255] {
        assert_eq!(
            client.ask(&[kind, 0, 0, 0, 1, 7]).await,
            Response::Failure,
            "{kind}"
        );
    }
    assert_eq!(
        client.ask(&[11, 0]).await,
        Response::Failure,
        "trailing bytes"
    );
    match client.ask(&[11]).await {
        Response::IdentitiesAnswer(identities) => assert_eq!(identities.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn logins_are_signed_under_the_name_of_the_host_that_was_proven() {
    let agent = Running::start(Answer::Yes);
    let unknown = public(3).fingerprint(Default::default());
    for (bound, host, shown) in [
        (Some(2), Some(2), "node1".to_owned()),
        (Some(2), None, "node1".to_owned()),
        (None, Some(2), "node1".to_owned()),
        (Some(3), Some(3), unknown.to_string()),
        (None, None, "unknown host".to_owned()),
    ] {
        let mut client = agent.connect().await;
        if let Some(bound) = bound {
            assert_eq!(
                client.bind(bound, b"session", false).await,
                Response::Success
            );
            assert_eq!(
                client.bind(bound, b"session", false).await,
                Response::Success
            );
        }
        let data = login(b"session", host);
        let response = client.sign(public(1), data.clone()).await;
        assert!(verifies(&response, &data), "{response:?}");
        let expected = format!("signed: log in as root at {shown}");
        assert_eq!(agent.events().last(), Some(&expected));
    }
}

#[tokio::test]
async fn what_does_not_fit_the_proven_connection_is_refused() {
    let file = [
        &b"SSHSIG\0\0\0\x03git\0\0\0\0\0\0\0\x06sha256\0\0\0\x20"[..],
        &[3; 32],
    ]
    .concat();
    for (data, reason) in [
        (login(b"other", Some(2)), "another connection"),
        (login(b"session", Some(3)), "another host key"),
        (file, "asks for a file signature"),
        (b"anything".to_vec(), "neither a login nor a file signature"),
    ] {
        let agent = Running::start(Answer::Yes);
        let mut client = agent.connect().await;
        assert_eq!(client.bind(2, b"session", false).await, Response::Success);
        assert_eq!(client.sign(public(1), data).await, Response::Failure);
        assert!(agent.events()[0].contains(reason), "{:?}", agent.events());
        let data = login(b"session", Some(2));
        let response = client.sign(public(1), data.clone()).await;
        assert!(verifies(&response, &data), "the connection is still of use");
    }
}

#[tokio::test]
async fn keys_that_are_not_stored_do_not_sign() {
    let agent = Running::start(Answer::Yes);
    let mut client = agent.connect().await;
    let response = client.sign(public(9), login(b"session", None)).await;
    assert_eq!(response, Response::Failure);
    let events = agent.events();
    assert!(events[0].ends_with("is not in this agent"), "{events:?}");
}

#[tokio::test]
async fn a_forwarded_agent_shows_and_signs_nothing() {
    let agent = Running::start(Answer::Yes);
    let mut client = agent.connect().await;
    assert_eq!(client.bind(2, b"session", true).await, Response::Success);
    assert_eq!(client.bind(3, b"next", false).await, Response::Success);
    assert_eq!(client.ask(&[11]).await, Response::IdentitiesAnswer(vec![]));
    let response = client.sign(public(1), login(b"next", Some(3))).await;
    assert_eq!(response, Response::Failure);
    let reason =
        "not signed: the agent was forwarded to another host, which may not ask it to sign";
    assert_eq!(agent.events(), [reason]);
}

#[tokio::test]
async fn a_binding_that_is_not_proven_spoils_the_connection() {
    let forged = SessionBind {
        host_key: public(2),
        session_id: b"session".to_vec(),
        signature: private(3).try_sign(b"session").unwrap(),
        is_forwarding: false,
    };
    let garbage = Extension {
        name: "session-bind@openssh.com".into(),
        details: vec![1, 2, 3].into(),
    };
    for extension in [Extension::new_message(forged).unwrap(), garbage] {
        let agent = Running::start(Answer::Yes);
        let mut client = agent.connect().await;
        assert_eq!(client.extension(extension).await, Response::Failure);
        assert_eq!(client.bind(2, b"session", false).await, Response::Failure);
        let response = client.sign(public(1), login(b"session", Some(2))).await;
        assert_eq!(response, Response::Failure);
        let reason = "not signed: the client did not prove which host it is connected to";
        assert_eq!(agent.events(), [reason]);
    }
    let agent = Running::start(Answer::Yes);
    let mut client = agent.connect().await;
    assert_eq!(client.bind(2, b"session", false).await, Response::Success);
    assert_eq!(client.bind(2, b"another", false).await, Response::Failure);
}

#[tokio::test]
async fn extensions_are_announced_and_unknown_ones_refused() {
    let agent = Running::start(Answer::Yes);
    let mut client = agent.connect().await;
    let ask = |name: &str| Extension {
        name: name.into(),
        details: vec![].into(),
    };
    let Response::ExtensionResponse(answer) = client.extension(ask("query")).await else {
        panic!("no answer to query");
    };
    let details = b"\0\0\0\x05query\0\0\0\x18session-bind@openssh.com";
    assert_eq!(answer.details.as_ref(), details);
    assert_eq!(client.extension(ask("x@y")).await, Response::Failure);
}

#[tokio::test]
async fn a_declined_or_locked_device_fails_the_request_and_nothing_else() {
    for (answer, reason) in [
        (
            Answer::No,
            "not signed: log in as root at node1: declined on the device",
        ),
        (
            Answer::Locked,
            "not signed: log in as root at node1: the session is locked",
        ),
    ] {
        let agent = Running::start(answer);
        let mut client = agent.connect().await;
        for _ in 0..2 {
            let response = client.sign(public(1), login(b"s", Some(2))).await;
            assert_eq!(response, Response::Failure);
        }
        assert_eq!(agent.events(), [reason, reason]);
    }
}

#[tokio::test]
async fn requests_of_many_clients_take_turns() {
    let agent = Running::start(Answer::Yes);
    let data = login(b"s", Some(2));
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = agent.connect().await;
        client.send(&sign_request(public(1), data.clone())).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert!(verifies(&client.answer().await, &data));
    }
    assert_eq!(*agent.signer.most.lock().unwrap(), (0, 1));
}

#[tokio::test]
async fn a_client_that_goes_away_gives_up_its_turn() {
    let person = Arc::new(Notify::new());
    let agent = Running::start(Answer::After(person.clone()));
    let data = login(b"s", Some(2));
    let mut gone = agent.connect().await;
    gone.send(&sign_request(public(1), data.clone())).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut waiting = agent.connect().await;
    waiting.send(&sign_request(public(1), data.clone())).await;
    drop(gone);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        agent.events(),
        ["not signed: log in as root at node1: the client went away"]
    );
    person.notify_one();
    assert!(verifies(&waiting.answer().await, &data));
}

#[tokio::test]
async fn messages_sent_ahead_are_answered_in_order() {
    let agent = Running::start(Answer::Yes);
    let mut client = agent.connect().await;
    let data = login(b"s", Some(2));
    client.send(&sign_request(public(1), data.clone())).await;
    client.send(&[11]).await;
    assert!(verifies(&client.answer().await, &data));
    assert!(matches!(
        client.answer().await,
        Response::IdentitiesAnswer(_)
    ));
}

#[tokio::test]
async fn a_message_of_no_or_of_too_great_length_ends_the_connection() {
    for length in [0, u32::try_from(MAX_MESSAGE).unwrap() + 1, u32::MAX] {
        let agent = Running::start(Answer::Yes);
        let mut client = agent.connect().await;
        client.0.write_all(&length.to_be_bytes()).await.unwrap();
        assert_eq!(client.answer().await, Response::Failure);
        assert_eq!(client.0.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(
            agent.events(),
            ["a client that sent no agent message was cut off"]
        );
    }
    let agent = Running::start(Answer::Yes);
    let mut client = agent.connect().await;
    let longest = vec![13; MAX_MESSAGE];
    assert_eq!(client.ask(&longest).await, Response::Failure);
    assert_eq!(
        client.ask(&[99]).await,
        Response::Failure,
        "still connected"
    );
}

#[tokio::test]
async fn what_is_stored_later_is_offered_later() {
    let agent = Running::start(Answer::Yes);
    let keys = [5, 6].map(|seed| {
        let identity = format!("root@node{seed}").parse().unwrap();
        SshKey::new(identity, Curve::Ed25519, public(seed)).unwrap()
    });
    let mut client = agent.connect().await;
    agent.handle.offer(&keys, &[]);
    match client.ask(&[11]).await {
        Response::IdentitiesAnswer(identities) => assert_eq!(identities.len(), 2),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn no_message_panics(kind in prop::sample::select(vec![11_u8, 13, 27, 0]), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(&[&[kind], &body[..]].concat());
    }

    #[test]
    fn a_damaged_message_panics_nobody(at in 0_usize..1000, byte in any::<u8>(), cut in any::<bool>()) {
        let mut message = sign_request(public(1), login(b"session", Some(2)));
        let at = at % message.len();
        if cut {
            prop_assert_eq!(Request::decode(&message[..at]), Request::Unserved);
        } else {
            message[at] = byte;
            let _ = Request::decode(&message);
        }
    }

    #[test]
    fn a_damaged_binding_panics_nobody_and_proves_nothing(at in 0_usize..1000, byte in any::<u8>()) {
        let bind = SessionBind {
            host_key: public(2),
            session_id: b"session".to_vec(),
            signature: private(2).try_sign(b"session").unwrap(),
            is_forwarding: false,
        };
        let mut whole = Vec::new();
        bind.encode(&mut whole).unwrap();
        let at = at % whole.len();
        whole[at] = byte;
        let Ok(bind) = SessionBind::decode(&mut &whole[..]) else { return Ok(()) };
        if bind.verify_signature().is_ok() {
            prop_assert_eq!(bind.host_key, public(2));
            prop_assert_eq!(bind.session_id, b"session");
        }
    }
}
