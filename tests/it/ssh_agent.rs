//! The agent, asked by real clients and by clients that mean harm.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use bcm_tests::{PASSPHRASE, Running, Simulator, TestEnv, wait_until};

use crate::support::{files, new_key};

const SSH_AGENT_FAILURE: u8 = 5;
const SSH_AGENT_IDENTITIES_ANSWER: u8 = 12;
const SSH_AGENT_SIGN_RESPONSE: u8 = 14;

/// An agent in the foreground, and the socket that it listens on.
struct Agent {
    _running: Running,
    socket: PathBuf,
}

impl Agent {
    fn start(env: &TestEnv, simulator: &Simulator) -> Self {
        let running = env
            .bcm(["ssh", "agent"])
            .device(&simulator.udp())
            .passphrase(PASSPHRASE)
            .spawn();
        let runtime = env.path().join("run");
        let socket = wait_until("a socket", Duration::from_secs(10), || {
            files(&runtime)
                .into_iter()
                .find(|path| UnixStream::connect(path).is_ok())
        });
        Self {
            _running: running,
            socket,
        }
    }

    /// Sends requests on one connection and returns the last answer.
    fn ask(&self, requests: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut answer = Vec::new();
        for request in requests {
            let length = u32::try_from(request.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], request].concat()).unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            answer = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut answer).unwrap();
        }
        answer
    }

    fn run(&self, env: &TestEnv, program: &str, words: &[&str]) -> Output {
        env.command(program)
            .args(words)
            .env("SSH_AUTH_SOCK", &self.socket)
            .output()
            .unwrap()
    }
}

/// An SSH string: its length and its bytes.
fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

fn key_blob(line: &str) -> Vec<u8> {
    let key: ssh_key::PublicKey = line.parse().unwrap();
    key.to_bytes().unwrap()
}

/// `SSH_AGENTC_SIGN_REQUEST`.
fn sign_request(key: &[u8], data: &[u8]) -> Vec<u8> {
    [&[13][..], &string(key), &string(data), &0_u32.to_be_bytes()].concat()
}

/// What a client signs to log in as `user`, RFC 4252 section 7.
fn login(session: &[u8], user: &str, key: &[u8]) -> Vec<u8> {
    [
        string(session),
        vec![50],
        string(user),
        string("ssh-connection"),
        string("publickey"),
        vec![1],
        string("ssh-ed25519"),
        string(key),
    ]
    .concat()
}

/// What `ssh-keygen -Y sign` signs, PROTOCOL.sshsig.
fn sshsig(namespace: &str) -> Vec<u8> {
    [
        b"SSHSIG".to_vec(),
        string(namespace),
        string(""),
        string("sha512"),
        string([7; 64]),
    ]
    .concat()
}

fn ok(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn only_stored_keys_are_offered() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let one = new_key(&env, &simulator, "alice@node-1", "ed25519");
    let other = new_key(&env, &simulator, "alice@node-2", "nist256p1");
    let agent = Agent::start(&env, &simulator);
    let listed = ok(&agent.run(&env, "ssh-add", &["-L"]));
    let mut listed: Vec<_> = listed
        .lines()
        .map(|line| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    listed.sort();
    let mut expected: Vec<_> = [&one, &other]
        .map(|line| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "))
        .into();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(agent.ask(&[vec![11]])[0], SSH_AGENT_IDENTITIES_ANSWER);
    // A key that is on the device but was not stored is not there.
    let stranger = ssh_key::PublicKey::from_openssh(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHoTXobfyXshHbnkeZujXqWoexOnuLzOpfbfFpOgnTHY x",
    )
    .unwrap();
    let request = sign_request(&stranger.to_bytes().unwrap(), &sshsig("file"));
    assert_eq!(agent.ask(&[request]), [SSH_AGENT_FAILURE]);
}

#[test]
fn the_socket_is_for_its_owner_alone() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    new_key(&env, &simulator, "alice@node-1", "ed25519");
    let agent = Agent::start(&env, &simulator);
    let socket = fs::symlink_metadata(&agent.socket).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let folder = fs::metadata(agent.socket.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    assert_eq!(folder.uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn keys_cannot_be_added_or_removed_through_the_socket() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    new_key(&env, &simulator, "alice@node-1", "ed25519");
    let agent = Agent::start(&env, &simulator);
    let key = env.path().join("key").to_string_lossy().into_owned();
    ok(&agent.run(
        &env,
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", &key],
    ));
    for refused in [
        &[key.as_str()][..],
        &["-D"],
        &["-x"],
        &["-e", "/usr/lib/none.so"],
    ] {
        let output = agent.run(&env, "ssh-add", refused);
        assert!(!output.status.success(), "ssh-add {refused:?}");
    }
    let listed = ok(&agent.run(&env, "ssh-add", &["-L"]));
    assert_eq!(listed.lines().count(), 1, "{listed}");
}

#[test]
fn data_of_unknown_form_is_not_signed() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let key = key_blob(&new_key(&env, &simulator, "alice@node-1", "ed25519"));
    let agent = Agent::start(&env, &simulator);
    let mut login_and_more = login(&[1; 32], "alice", &key);
    login_and_more.push(0);
    for data in [
        b"".to_vec(),
        b"pay 1 BTC to mallory".to_vec(),
        [sshsig("file"), b"more".to_vec()].concat(),
        login_and_more,
        string([0; 32]),
    ] {
        let answer = agent.ask(&[sign_request(&key, &data)]);
        assert_eq!(answer, [SSH_AGENT_FAILURE], "{data:?}");
    }
    // The same way of asking does get a signature for what has a known form.
    let answer = agent.ask(&[sign_request(&key, &sshsig("file"))]);
    assert_eq!(answer[0], SSH_AGENT_SIGN_RESPONSE);
}

#[test]
fn rubbish_on_the_socket_does_not_end_the_agent() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    new_key(&env, &simulator, "alice@node-1", "ed25519");
    let agent = Agent::start(&env, &simulator);
    for rubbish in [
        &b"\xff\xff\xff\xff\x0b"[..],
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x05\x0d\xff\xff\xff\xff",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x00\x00\x00\x01\xfe",
    ] {
        let mut stream = UnixStream::connect(&agent.socket).unwrap();
        stream.write_all(rubbish).unwrap();
        drop(stream);
        assert_eq!(agent.ask(&[vec![11]])[0], SSH_AGENT_IDENTITIES_ANSWER);
    }
}

#[test]
fn a_forwarded_agent_signs_nothing() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let key = key_blob(&new_key(&env, &simulator, "alice@node-1", "ed25519"));
    let agent = Agent::start(&env, &simulator);
    let host = ssh_key::PrivateKey::new(
        ssh_key::private::KeypairData::Ed25519(ssh_key::private::Ed25519Keypair::from_seed(
            &[9; 32],
        )),
        "",
    )
    .unwrap();
    let bind = |session: &[u8], forwarding: bool| {
        let signature = ssh_key::private::KeypairData::clone(host.key_data());
        let signature: ssh_key::Signature =
            signature::Signer::try_sign(&signature, session).unwrap();
        let signature: Vec<u8> = signature.try_into().unwrap();
        [
            vec![27],
            string("session-bind@openssh.com"),
            string(host.public_key().to_bytes().unwrap()),
            string(session),
            string(signature),
            vec![forwarding.into()],
        ]
        .concat()
    };
    let session = [1; 32];
    let ask = sign_request(&key, &login(&session, "alice", &key));
    let direct = agent.ask(&[bind(&session, false), ask.clone()]);
    assert_eq!(direct[0], SSH_AGENT_SIGN_RESPONSE);
    let forwarded = agent.ask(&[bind(&session, true), ask.clone()]);
    assert_eq!(forwarded, [SSH_AGENT_FAILURE]);
    let other_session = agent.ask(&[bind(&[2; 32], false), ask]);
    assert_eq!(other_session, [SSH_AGENT_FAILURE]);
}

#[test]
fn ssh_keygen_signs_a_file_and_verifies_it() {
    for curve in ["ed25519", "nist256p1"] {
        let env = TestEnv::new();
        let simulator = Simulator::start(&env);
        let key = new_key(&env, &simulator, "alice@node-1", curve);
        let agent = Agent::start(&env, &simulator);
        let file = env.write("letter", "pay nobody\n");
        let public = env.write("key.pub", format!("{key}\n"));
        let words = ["-Y", "sign", "-n", "file", "-f", &public.to_string_lossy()];
        let output = env
            .command("ssh-keygen")
            .args(words)
            .arg(&file)
            .env("SSH_AUTH_SOCK", &agent.socket)
            .output()
            .unwrap();
        ok(&output);
        let allowed = env.write("allowed", format!("alice {key}\n"));
        let verify = |content: &str| {
            let content = env.write("content", content);
            let mut verify = env.command("ssh-keygen");
            verify.args(["-Y", "verify", "-n", "file", "-I", "alice", "-f"]);
            verify
                .arg(&allowed)
                .arg("-s")
                .arg(env.path().join("letter.sig"));
            verify
                .stdin(fs::File::open(content).unwrap())
                .output()
                .unwrap()
        };
        assert!(ok(&verify("pay nobody\n")).starts_with("Good \"file\" signature for alice"));
        assert!(!verify("pay mallory\n").status.success());
    }
}

#[test]
fn git_signs_a_commit_through_the_agent() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let key = new_key(&env, &simulator, "alice@node-1", "ed25519");
    let agent = Agent::start(&env, &simulator);
    let public = env.write("key.pub", format!("{key}\n"));
    let allowed = env.write("allowed", format!("alice@example.org {key}\n"));
    let git = |words: &[&str]| {
        let mut command: Command = env.command("git");
        command
            .args(["-C", "repo"])
            .args([
                "-c",
                "user.name=Alice",
                "-c",
                "user.email=alice@example.org",
            ])
            .args(["-c", "gpg.format=ssh", "-c"])
            .arg(format!("user.signingKey={}", public.display()))
            .arg("-c")
            .arg(format!("gpg.ssh.allowedSignersFile={}", allowed.display()))
            .args(words)
            .env("SSH_AUTH_SOCK", &agent.socket);
        command.output().unwrap()
    };
    fs::create_dir(env.path().join("repo")).unwrap();
    ok(&git(&["init", "--quiet"]));
    ok(&git(&[
        "commit",
        "--quiet",
        "--allow-empty",
        "-S",
        "-m",
        "signed",
    ]));
    let output = git(&["verify-commit", "HEAD"]);
    ok(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("Good \"git\" signature for alice@example.org"),
        "{said}"
    );
}
