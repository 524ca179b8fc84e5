//! A device that goes away, or that somebody else takes.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bcm_tests::{PASSPHRASE, Pty, Simulator, TestEnv};

use crate::support::new_key;

const LOCKED: &str = "bcm (locked)";
const OPEN: &str = "> ";

/// Unlocks at the prompt, with the passphrase typed on the device.
fn open_shell(env: &TestEnv, device: &str) -> Pty {
    let mut pty = env.bcm([]).device(device).pty();
    pty.expect("bcm SIMULATED ");
    pty.expect(OPEN);
    pty
}

/// Starts the session's agent and returns its socket.
fn agent_socket(pty: &mut Pty) -> PathBuf {
    pty.line("ssh agent");
    pty.expect("SSH_AUTH_SOCK=");
    let socket = pty.expect(";");
    pty.settle();
    socket.into()
}

/// Has a file signed through the agent: the device is asked.
fn sign_a_file(env: &TestEnv, key: &str, socket: &PathBuf) -> Child {
    let public = env.write("key.pub", format!("{key}\n"));
    let file = env.write("letter", "pay nobody\n");
    env.command("ssh-keygen")
        .args(["-Y", "sign", "-n", "file", "-f"])
        .arg(public)
        .arg(file)
        .env("SSH_AUTH_SOCK", socket)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_device_lost_in_the_middle_of_a_signature_comes_back() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let key = new_key(&env, &simulator, "alice@node-1", "ed25519");
    let port = simulator.udp_port();
    simulator.pull_the_plug();

    let mut simulator = Simulator::on_terminal(&env, port);
    let device = simulator.udp();
    let mut pty = open_shell(&env, &device);
    let socket = agent_socket(&mut pty);
    let signer = sign_a_file(&env, &key, &socket);
    // The person is told what the device waits for, sees it there, and has not decided yet.
    pty.expect("confirm on the Trezor");
    simulator.screen().expect("confirm?");

    simulator.pull_the_plug();
    let pulled = Instant::now();
    pty.expect("error: ");
    let line = pty.expect("\n");
    assert!(
        pulled.elapsed() < Duration::from_secs(2),
        "{:?}",
        pulled.elapsed()
    );
    assert!(line.contains(&device), "{line}");
    let until_prompt = pty.expect(LOCKED);
    assert!(!until_prompt.contains("error: "), "{until_prompt}");
    assert!(!signer.wait_with_output().unwrap().status.success());

    // A locked shell signs nothing and says how to go on.
    pty.line("ssh newkey bob@node-2");
    pty.expect("error: ");
    pty.expect("unlock");
    pty.settle();

    let _simulator = Simulator::start_on(&env, port);
    pty.line("unlock");
    pty.expect("bcm SIMULATED ");
    pty.expect(OPEN);
    let socket = agent_socket(&mut pty);
    let signed = sign_a_file(&env, &key, &socket).wait_with_output().unwrap();
    assert!(
        signed.status.success(),
        "{}",
        String::from_utf8_lossy(&signed.stderr)
    );
    pty.line("exit");
    assert_eq!(pty.end().1, 0);
}

#[test]
fn a_device_lost_in_a_single_command_is_one_line_and_exit_code_3() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let running = env
        .bcm(["ssh", "agent", "--", "sleep", "60"])
        .device(&simulator.udp())
        .spawn();
    let runtime = env.path().join("run");
    bcm_tests::wait_until("the agent", Duration::from_secs(10), || {
        (!crate::support::files(&runtime).is_empty()).then_some(())
    });
    simulator.pull_the_plug();
    let pulled = Instant::now();
    let output = running.wait();
    assert!(
        pulled.elapsed() < Duration::from_secs(4),
        "{:?}",
        pulled.elapsed()
    );
    assert_eq!(output.code(), 3, "{output}");
    assert_eq!(output.stderr.matches("error: ").count(), 1, "{output}");
}

#[test]
fn of_two_programs_on_one_device_the_loser_gets_one_line() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let device = simulator.bridge();
    let mut winner = open_shell(&env, &device);

    // Who comes second is refused, and the first goes on.
    let output = env
        .bcm(["info"])
        .device(&device)
        .passphrase(PASSPHRASE)
        .run();
    output.failure(3);
    assert_eq!(output.stderr.matches("error: ").count(), 1, "{output}");
    assert!(output.hint().unwrap().contains("--take-over"), "{output}");
    winner.line("ssh newkey alice@node-1");
    winner.expect("<ssh://alice@node-1|ed25519>");
    winner.settle();

    // Who takes over goes on, and the first is told in one line.
    let mut loser = winner;
    let taken = env
        .bcm(["info"])
        .device(&device)
        .flag("--take-over")
        .passphrase(PASSPHRASE)
        .run();
    taken.success();
    loser.line("ssh newkey bob@node-2");
    loser.expect("error: ");
    let line = loser.expect("\n");
    assert!(line.contains("another program"), "{line}");
    let until_prompt = loser.expect(LOCKED);
    assert!(!until_prompt.contains("error: "), "{until_prompt}");
    loser.line("unlock");
    loser.expect("bcm SIMULATED ");
    loser.line("exit");
    assert_eq!(loser.end().1, 0);
}

#[test]
fn another_wallet_opened_in_between_is_not_ours() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let expected = new_key(&env, &simulator, "alice@node-1", "ed25519");
    let mut pty = open_shell(&env, &simulator.udp());
    let other = env
        .bcm(["ssh", "newkey", "alice@node-1"])
        .device(&simulator.udp())
        .passphrase("another one")
        .run();
    assert_ne!(other.success().trim_end(), expected);
    pty.line("ssh newkey alice@node-1");
    pty.expect(&expected);
    pty.line("exit");
    assert_eq!(pty.end().1, 0);
}
