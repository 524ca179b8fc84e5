//! One confirmation for any number of logins, at a real OpenSSH server that trusts the device's CA.

use std::fs;
use std::process::Command;
use std::time::Duration;

use bcm_tests::{Output, PASSPHRASE, Simulator, Sshd, TestEnv, wait_until};

fn run(env: &TestEnv, simulator: &Simulator, commands: &str) -> Output {
    let bcm = env.bcm(["-c", commands]);
    bcm.device(&simulator.udp()).passphrase(PASSPHRASE).run()
}

/// Starts a server that trusts the CA of the cluster `home`.
fn trusting(env: &TestEnv, simulator: &Simulator) -> Sshd {
    let sshd = Sshd::start(env);
    let ca = run(env, simulator, "ssh certificate ca --cluster home");
    sshd.trust(ca.success());
    sshd
}

fn login(sshd: &Sshd, command: &str) -> String {
    let (to, print) = (sshd.destination(), sshd.fingerprint());
    format!("ssh connect {to} --fingerprint {print} -- {command}; ")
}

/// Counts what the person was asked to confirm.
fn asked(output: &Output, what: &str) -> usize {
    let begin = format!("device: {what}");
    let lines = output.stderr.lines();
    lines.filter(|line| line.starts_with(&begin)).count()
}

/// The system's ssh, with a key in a file.
fn ssh(env: &TestEnv, sshd: &Sshd, key: &str) -> std::process::Output {
    let known = sshd.known_hosts(env);
    env.command("/usr/bin/ssh")
        .args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
        ])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known.display()))
        .args(["-i", key, "-p", &sshd.port().to_string()])
        .arg(format!("{}@127.0.0.1", sshd.user()))
        .arg("true")
        .output()
        .unwrap()
}

/// Makes a key in a file, which the device certifies.
fn certified_file(env: &TestEnv, simulator: &Simulator, user: &str, ttl: &str) {
    let keygen = Command::new("/usr/bin/ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "key"])
        .current_dir(env.path())
        .status();
    assert!(keygen.unwrap().success());
    let certify = format!(
        "ssh certify --cluster home --principal {user} --ttl {ttl} --public-key key.pub --output \
         key-cert.pub"
    );
    run(env, simulator, &certify).success();
}

#[test]
fn any_number_of_logins_cost_one_confirmation() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = trusting(&env, &simulator);
    let user = sshd.user();
    let mut commands = format!("ssh certify --cluster home --principal {user}; ");
    for at in 1..=5 {
        commands += &login(&sshd, &format!("echo {at}"));
    }
    // it is good still: nothing is asked again
    commands += &format!("ssh certify --cluster home --principal {user}; ssh certificate list");
    let output = run(&env, &simulator, &commands);
    let stdout = output.success();
    assert!(
        stdout.starts_with("1\n2\n3\n4\n5\n"),
        "{output}\n{}",
        sshd.log()
    );
    assert!(stdout.contains("in this session"), "{output}");
    assert_eq!(asked(&output, "certify a key for 8 h as"), 1, "{output}");
    assert_eq!(asked(&output, "log in"), 0, "{output}");
    assert!(
        sshd.log()
            .contains("Accepted certificate ID \"bcm session "),
        "{}",
        sshd.log()
    );
}

#[test]
fn each_login_is_confirmed_where_that_was_chosen() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = trusting(&env, &simulator);
    let user = sshd.user();
    env.bcm(["config", "set", "ssh.confirm=each"])
        .run()
        .success();
    let certify = format!("ssh certify --cluster home --principal {user}; ");
    let commands = certify + &login(&sshd, "echo 1") + &login(&sshd, "echo 2");
    let output = run(&env, &simulator, &commands);
    assert_eq!(output.success(), "1\n2\n", "{output}\n{}", sshd.log());
    assert_eq!(asked(&output, "certify"), 1, "{output}");
    assert_eq!(asked(&output, "log in as"), 2, "{output}");
}

#[test]
fn a_declined_certificate_leaves_no_way_in() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = trusting(&env, &simulator);
    drop(simulator);
    let output = env
        .bcm(["-c", &login(&sshd, "true")])
        .device("simulator")
        .passphrase(PASSPHRASE)
        .run();
    let stderr = output.failure(1);
    assert!(stderr.contains("there is no key for"), "{output}");
    let declining = Simulator::start_with(&env, ["--confirm", "deny"]);
    let output = run(&env, &declining, "ssh certify --cluster home");
    output.failure(3);
}

#[test]
fn a_certificate_for_another_user_is_refused() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = trusting(&env, &simulator);
    certified_file(&env, &simulator, "somebody", "1h");
    let refused = ssh(&env, &sshd, "key");
    assert_eq!(refused.status.code(), Some(255));
    let log = sshd.log();
    assert!(log.contains("name is not a listed principal"), "{log}");
    // bcm does not even try
    let certify = "ssh certify --cluster home --principal somebody; ".to_owned();
    let output = run(&env, &simulator, &(certify + &login(&sshd, "true")));
    assert!(
        output.failure(1).contains("there is no key for"),
        "{output}"
    );
}

#[test]
fn an_expired_certificate_is_refused() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = trusting(&env, &simulator);
    certified_file(&env, &simulator, &sshd.user(), "10s");
    let first = ssh(&env, &sshd, "key");
    assert!(first.status.success(), "{}", sshd.log());
    wait_until("it expires", Duration::from_secs(20), || {
        (!ssh(&env, &sshd, "key").status.success()).then_some(())
    });
    let log = sshd.log();
    assert!(log.contains("Certificate invalid: expired"), "{log}");
}

#[test]
fn a_revoked_certificate_is_refused() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = trusting(&env, &simulator);
    certified_file(&env, &simulator, &sshd.user(), "1h");
    assert!(ssh(&env, &sshd, "key").status.success(), "{}", sshd.log());
    let list = run(&env, &simulator, "ssh certificate list --json");
    let list: serde_json::Value = serde_json::from_str(list.success()).unwrap();
    let serial = list[0]["serial"].as_str().unwrap();
    let unknown = run(&env, &simulator, "ssh certificate revoke 0123456789abcdef");
    assert!(
        unknown.failure(1).contains("nothing was revoked"),
        "{unknown}"
    );
    let commands = format!(
        "ssh certificate revoke {serial}; ssh certificate krl --cluster home --output {} --force",
        sshd.revoked().display()
    );
    run(&env, &simulator, &commands).success();
    assert!(!ssh(&env, &sshd, "key").status.success());
    let log = sshd.log();
    assert!(log.contains("revoked by file"), "{log}");
    // others of the same CA are as good as before
    let certify = format!("ssh certify --cluster home --principal {}; ", sshd.user());
    let output = run(&env, &simulator, &(certify + &login(&sshd, "echo in")));
    assert_eq!(output.success(), "in\n", "{output}\n{}", sshd.log());
}

#[test]
fn locking_drops_the_certificate() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = trusting(&env, &simulator);
    let user = sshd.user();
    let commands = format!(
        "ssh certify --cluster home --principal {user}; lock; unlock; ssh certificate show; {}",
        login(&sshd, "true")
    );
    let output = env
        .bcm(["-c", &commands])
        .device(&simulator.udp())
        .passphrase(format!("{PASSPHRASE}\n{PASSPHRASE}\n"))
        .run();
    let stderr = output.failure(1);
    assert!(
        stderr.contains("this session holds no certificate"),
        "{output}"
    );
    assert!(stderr.contains("there is no key for"), "{output}");
}

#[test]
fn another_program_cannot_take_the_certificate_to_another_host() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let sshd = trusting(&env, &simulator);
    let known = sshd.known_hosts(&env);
    let script = format!(
        "ssh -F none -o BatchMode=yes -o UserKnownHostsFile={} -p {} {}@127.0.0.1 true\n",
        known.display(),
        sshd.port(),
        sshd.user()
    );
    let script = env.write("login.sh", script).display().to_string();
    // ssh accepts the host, but nobody accepted it from this wallet
    let commands = format!(
        "ssh certify --cluster home --principal {}; ssh agent -- sh {script}",
        sshd.user()
    );
    let output = run(&env, &simulator, &commands);
    assert_eq!(output.code(), 255, "{output}");
    assert!(
        output.stderr.contains("the session certificate is not for"),
        "{output}"
    );
    // with its key pinned
    let pin = format!("ssh newkey {0}; ", sshd.destination());
    let output = run(&env, &simulator, &(pin + &login(&sshd, "true")));
    output.failure(1);
    let output = run(&env, &simulator, &commands);
    assert_eq!(output.code(), 0, "{output}\n{}", sshd.log());
    assert!(!sshd.log().contains("Failed password"));
    assert!(fs::read_to_string(known).unwrap().contains("ssh-ed25519"));
}
