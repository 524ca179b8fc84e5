//! The prompt, as a person at a terminal meets it.

use bcm_tests::{PASSPHRASE, Pty, Simulator, Sshd, TestEnv};

const LOCKED: &str = "bcm (locked)";
const OPEN: &str = "> ";

fn open_shell(env: &TestEnv, simulator: &Simulator) -> Pty {
    let mut pty = env.bcm([]).device(&simulator.udp()).pty();
    pty.expect("bcm SIMULATED ");
    pty.expect(OPEN);
    pty
}

/// Makes the key of a login and lets it in.
fn authorize_new_key(pty: &mut Pty, sshd: &Sshd) {
    pty.line(&format!("ssh newkey {}", sshd.destination()));
    pty.expect("\nssh-ed25519 ");
    let key = pty.expect(" <ssh://");
    sshd.authorize(&format!("ssh-ed25519 {key}"));
    pty.settle();
}

#[test]
fn the_prompt_opens_after_unlock_and_not_before() {
    let env = TestEnv::new();
    let output = env.bcm([]).device("udp:127.0.0.1:1").run();
    output.failure(3);
    assert!(!output.stderr.contains("bcm ("), "{output}");

    let simulator = Simulator::start(&env);
    let mut pty = env.bcm([]).device(&simulator.udp()).pty();
    let before = pty.expect("bcm SIMULATED ");
    assert!(!before.contains("bcm ("), "{before}");
    let prompt = pty.expect(OPEN);
    assert!(prompt.contains("regtest"), "{prompt}");
    pty.control('d');
    assert_eq!(pty.end().1, 0);
}

#[test]
fn lock_closes_and_unlock_opens_again() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let mut pty = open_shell(&env, &simulator);
    pty.line("lock");
    pty.expect(LOCKED);
    pty.line("info");
    pty.expect("error: ");
    pty.settle();
    pty.line("unlock");
    pty.expect("bcm SIMULATED ");
    pty.line("quit");
    assert_eq!(pty.end().1, 0);
}

#[test]
fn the_passphrase_typed_at_the_terminal_is_not_echoed() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let mut pty = env
        .bcm(["--passphrase-on", "host"])
        .device(&simulator.udp())
        .pty();
    pty.expect("assphrase");
    pty.line(PASSPHRASE);
    let shown = pty.expect("bcm SIMULATED ");
    assert!(!shown.contains(PASSPHRASE), "{shown}");
    pty.control('d');
    assert_eq!(pty.end().1, 0);
}

#[test]
fn control_c_cancels_what_the_device_waits_for_and_leaves_the_shell_usable() {
    let env = TestEnv::new();
    let mut simulator = Simulator::on_terminal(&env, 0);
    let sshd = Sshd::start(&env);
    let mut pty = open_shell(&env, &simulator);
    authorize_new_key(&mut pty, &sshd);
    let fingerprint = sshd.fingerprint();
    let destination = sshd.destination();
    pty.line(&format!(
        "ssh connect {destination} --fingerprint {fingerprint} -- true"
    ));
    pty.expect("confirm on the Trezor");
    simulator.screen().expect("confirm?");
    pty.control('c');
    pty.expect("\ncancelled");
    pty.settle();
    pty.line("exit");
    assert_eq!(pty.end().1, 0);
}

#[test]
fn a_denied_confirmation_ends_ssh_and_leaves_the_shell_usable() {
    let env = TestEnv::new();
    let sshd = Sshd::start(&env);
    let mut simulator = Simulator::on_terminal(&env, 0);
    let mut pty = open_shell(&env, &simulator);
    authorize_new_key(&mut pty, &sshd);
    let destination = sshd.destination();
    let fingerprint = sshd.fingerprint();
    let connect = format!("ssh connect {destination} --fingerprint {fingerprint} -- echo inside");
    pty.line(&connect);
    simulator.screen().expect("confirm?");
    simulator.screen().line("no");
    let said = pty.expect("error: declined on the device");
    for noise in ["\ninside", "Permission denied", "signing failed"] {
        assert!(!said.contains(noise), "{said}");
    }
    pty.settle();
    pty.line(&connect);
    simulator.screen().expect("confirm?");
    simulator.screen().line("yes");
    pty.expect("\ninside");
    pty.settle();
    pty.line("exit");
    assert_eq!(pty.end().1, 0);
}

#[test]
fn an_idle_shell_locks_itself() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    env.bcm(["config", "set", "lock.idle=10s"]).run().success();
    let mut pty = open_shell(&env, &simulator);
    pty.expect(LOCKED);
    pty.line("exit");
    assert_eq!(pty.end().1, 0);
}

#[test]
fn words_are_completed() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let mut pty = open_shell(&env, &simulator);
    pty.keys("conf\tget lock\t\r");
    pty.expect("\n10m");
    pty.line("exit");
    assert_eq!(pty.end().1, 0);
}

#[test]
fn one_grammar_serves_the_prompt_and_the_command_line() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let script = env.write(
        "script",
        "# a comment\n\nssh newkey 'alice@node-1'\nssh list\n",
    );
    let by_script = env
        .bcm([])
        .flag("--script")
        .flag(script)
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    let by_flag = env
        .bcm([])
        .flag("-c")
        .flag("ssh newkey alice@node-1; ssh list")
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    assert_eq!(by_script.success(), by_flag.success());
    let mut pty = open_shell(&env, &simulator);
    pty.line("ssh newkey alice@node-1");
    pty.expect(by_flag.success().lines().next().unwrap());
    pty.line("exit");
    pty.end();
}
