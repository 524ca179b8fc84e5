//! Logging in to a real OpenSSH server with a key that stays on the device.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bcm_tests::{Output, PASSPHRASE, Simulator, Sshd, TestEnv};

use crate::support::new_key;

fn connect(env: &TestEnv, device: &str, sshd: &Sshd, flags: &[&str], command: &[&str]) -> Output {
    let destination = sshd.destination();
    let mut words = vec!["ssh", "connect", &destination];
    words.extend(flags);
    words.push("--");
    words.extend(command);
    env.bcm(words).device(device).passphrase(PASSPHRASE).run()
}

fn log_in_with(curve: &str) {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), curve));
    let flags = ["--fingerprint", &sshd.fingerprint()];
    let output = connect(&env, &simulator.udp(), &sshd, &flags, &["echo", "in"]);
    assert_eq!(output.success(), "in\n", "{}", sshd.log());
    // The host is pinned now.
    let output = connect(&env, &simulator.bridge(), &sshd, &[], &["echo", "again"]);
    assert_eq!(output.success(), "again\n", "{}", sshd.log());
}

#[test]
fn ed25519_logs_in() {
    log_in_with("ed25519");
}

#[test]
fn nist256p1_logs_in() {
    log_in_with("nist256p1");
}

#[test]
fn the_exit_code_is_that_of_the_remote_command() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "ed25519"));
    let flags = ["--fingerprint", &sshd.fingerprint()];
    let output = connect(&env, &simulator.udp(), &sshd, &flags, &["exit", "7"]);
    assert_eq!(output.code(), 7, "{output}");
}

#[test]
fn the_words_of_a_remote_command_stay_words() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "ed25519"));
    let flags = ["--fingerprint", &sshd.fingerprint()];
    let words = ["printf", "%s|", "a b", "$HOME;", "'\"", "*"];
    let output = connect(&env, &simulator.udp(), &sshd, &flags, &words);
    assert_eq!(output.success(), "a b|$HOME;|'\"|*|");
}

#[test]
fn a_key_of_another_passphrase_is_refused() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    let destination = sshd.destination();
    let ours = new_key(&env, &simulator, &destination, "ed25519");
    let theirs = env
        .bcm(["ssh", "newkey", &destination])
        .device(&simulator.udp())
        .passphrase("another one")
        .run();
    assert_ne!(theirs.success().trim_end(), ours);
    sshd.authorize(&ours);
    let fingerprint = sshd.fingerprint();
    let words = [
        "ssh",
        "connect",
        &destination,
        "--fingerprint",
        &fingerprint,
        "--",
        "true",
    ];
    let output = env
        .bcm(words)
        .device(&simulator.udp())
        .passphrase("another one")
        .run();
    let stderr = output.failure(1);
    assert!(
        stderr.contains("refused the login: permission denied"),
        "{output}"
    );
}

#[test]
fn an_unknown_host_is_refused_without_its_fingerprint() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "ed25519"));
    let output = connect(&env, &simulator.udp(), &sshd, &[], &["echo", "in"]);
    let stderr = output.failure(4);
    assert!(stderr.contains(&sshd.fingerprint()), "{output}");
    assert!(output.hint().unwrap().contains("--fingerprint"), "{output}");
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[test]
fn a_host_with_another_fingerprint_is_refused() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "ed25519"));
    let expected = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let flags = ["--fingerprint", expected];
    let output = connect(&env, &simulator.udp(), &sshd, &flags, &["echo", "in"]);
    let stderr = output.failure(4);
    assert!(
        stderr.contains(expected) && stderr.contains(&sshd.fingerprint()),
        "{output}"
    );
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[test]
fn a_changed_host_key_is_a_hard_stop() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "ed25519"));
    let pinned = sshd.fingerprint();
    let flags = ["--fingerprint", &pinned];
    connect(&env, &simulator.udp(), &sshd, &flags, &["true"]).success();
    let sshd = sshd.with_another_host_key(&env);
    let offered = sshd.fingerprint();
    // The flag is for the first contact: it does not replace a pin.
    for flags in [vec![], vec!["--fingerprint", &offered]] {
        let output = connect(&env, &simulator.udp(), &sshd, &flags, &["echo", "in"]);
        let stderr = output.failure(4);
        assert!(
            stderr.contains(&pinned) && stderr.contains(&offered),
            "{output}"
        );
    }
    let logins = sshd.log().matches("Accepted publickey").count();
    assert_eq!(logins, 1, "{}", sshd.log());
}

#[test]
fn a_reinstalled_host_is_pinned_anew_once_the_old_key_is_forgotten() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "ed25519"));
    let flags = ["--fingerprint", &sshd.fingerprint()];
    connect(&env, &simulator.udp(), &sshd, &flags, &["true"]).success();
    let sshd = sshd.with_another_host_key(&env);
    let refused = connect(&env, &simulator.udp(), &sshd, &[], &["true"]);
    refused.failure(4);
    let host = format!("[127.0.0.1]:{}", sshd.port());
    let hint = refused.hint().unwrap();
    assert!(hint.contains(&format!("ssh unpin {host}")), "{refused}");
    let run = |words: &[&str]| {
        let bcm = env.bcm(words.iter().copied());
        bcm.device(&simulator.udp()).passphrase(PASSPHRASE).run()
    };
    assert!(run(&["ssh", "hosts"]).success().contains(&host));
    run(&["ssh", "unpin", &host]).success();
    run(&["ssh", "unpin", &host]).failure(1);
    let flags = ["--fingerprint", &sshd.fingerprint()];
    let output = connect(&env, &simulator.udp(), &sshd, &flags, &["echo", "in"]);
    assert_eq!(output.success(), "in\n");
}

#[test]
fn the_key_that_the_host_knows_is_used_whatever_its_curve() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    new_key(&env, &simulator, &sshd.destination(), "ed25519");
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "nist256p1"));
    let flags = ["--fingerprint", &sshd.fingerprint()];
    let output = connect(&env, &simulator.udp(), &sshd, &flags, &["echo", "in"]);
    assert_eq!(output.success(), "in\n");
}

#[test]
fn nothing_of_the_persons_own_ssh_is_used() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "ed25519"));
    let trap = env.path().join("trapped");
    let config = format!("Host *\n  ProxyCommand touch {}\n", trap.display());
    env.write("home/.ssh/config", config);
    let flags = ["--fingerprint", &sshd.fingerprint()];
    let output = connect(&env, &simulator.udp(), &sshd, &flags, &["echo", "in"]);
    assert_eq!(output.success(), "in\n");
    assert!(!trap.exists());
    let written: Vec<_> = fs::read_dir(env.home().join(".ssh")).unwrap().collect();
    assert_eq!(written.len(), 1, "{written:?}");
}

/// Writes a script that logs in `times` times at once through the agent in its environment.
fn logins_at_once(env: &TestEnv, sshd: &Sshd, times: usize) -> PathBuf {
    let host_key = fs::read_to_string(env.path().join("sshd/host_key.pub")).unwrap();
    let known = env.write("known", format!("[127.0.0.1]:{} {host_key}", sshd.port()));
    let ssh = format!(
        "ssh -F none -o BatchMode=yes -o UserKnownHostsFile={} -p {} {}@127.0.0.1",
        known.display(),
        sshd.port(),
        sshd.user()
    );
    let logins: String = (1..=times)
        .map(|at| format!("{ssh} echo login {at} & pids=\"$pids $!\"\n"))
        .collect();
    env.write(
        "logins.sh",
        format!("pids=\n{logins}for pid in $pids; do wait $pid || exit 1; done\n"),
    )
}

#[test]
fn two_logins_at_once_are_served_in_turn() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = Sshd::start(&env);
    sshd.authorize(&new_key(&env, &simulator, &sshd.destination(), "ed25519"));
    let script = logins_at_once(&env, &sshd, 2);
    let output = env
        .bcm(["ssh", "agent", "--", "sh", &script.to_string_lossy()])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    let mut lines: Vec<_> = output.success().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["login 1", "login 2"], "{output}");
}

#[test]
fn a_running_agent_stops_on_a_signal_and_removes_its_socket() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    new_key(&env, &simulator, "alice@node-1", "ed25519");
    let agent = env
        .bcm(["ssh", "agent"])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .spawn();
    let runtime = env.path().join("run");
    let socket = bcm_tests::wait_until("a socket", std::time::Duration::from_secs(10), || {
        crate::support::files(&runtime)
            .into_iter()
            .find(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
    });
    let list = Command::new("/usr/bin/ssh-add")
        .arg("-L")
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .unwrap();
    assert!(
        String::from_utf8(list.stdout)
            .unwrap()
            .starts_with("ssh-ed25519 ")
    );
    agent.terminate();
    let output = agent.wait();
    let line = output.success().lines().next().unwrap();
    assert_eq!(
        line,
        format!("SSH_AUTH_SOCK={}; export SSH_AUTH_SOCK;", socket.display())
    );
    assert!(!socket.exists());
}
