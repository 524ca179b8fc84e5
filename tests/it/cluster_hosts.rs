//! Clusters, their hosts, and what is asked of many hosts at once: real sshds on loopback.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bcm_tests::{FakeTor, Output, PASSPHRASE, Running, Simulator, Sshd, TestEnv, wait_until};
use serde_json::Value;

/// A wallet with a cluster, whose hosts are sshds that let its keys in.
struct Stage {
    env: TestEnv,
    simulator: Simulator,
}

impl Stage {
    /// Makes the cluster `home` without hosts.
    fn new() -> Self {
        let env = TestEnv::new();
        let simulator = Simulator::start(&env);
        let stage = Self { env, simulator };
        stage.run(&["cluster", "create", "home"]).success();
        stage
    }

    fn run(&self, words: &[&str]) -> Output {
        self.spawn(words).wait()
    }

    fn spawn(&self, words: &[&str]) -> Running {
        let bcm = self.env.bcm(words.iter().copied());
        let bcm = bcm.device(&self.simulator.udp()).passphrase(PASSPHRASE);
        bcm.spawn()
    }

    /// Runs several commands in one session.
    fn session(&self, commands: &str) -> Output {
        self.spawn_session(commands).wait()
    }

    fn spawn_session(&self, commands: &str) -> Running {
        let bcm = self.env.bcm([]).flag("-c").flag(commands);
        let bcm = bcm.device(&self.simulator.udp()).passphrase(PASSPHRASE);
        bcm.spawn()
    }

    /// Starts an sshd and adds it under its name.
    fn host(&self, name: &str) -> Sshd {
        let sshd = Sshd::named(&self.env, name);
        self.add(name, &sshd);
        sshd
    }

    fn add(&self, name: &str, sshd: &Sshd) {
        let address = format!("ssh://{}", sshd.destination());
        let fingerprint = sshd.fingerprint();
        let words = [
            "cluster",
            "host",
            "add",
            name,
            &address,
            "--fingerprint",
            &fingerprint,
        ];
        let added = self.run(&words);
        sshd.authorize(added.success());
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(words);
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{output}"))
    }

    /// Returns the masters of OpenSSH that run for this test.
    fn masters(&self) -> Vec<String> {
        processes(&format!("{}/", self.env.path().join("run").display()))
    }
}

/// Returns the command lines in which `word` stands.
fn processes(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines
        .filter(|line| !line.starts_with("pkill") && line.contains(word))
        .collect()
}

#[test]
fn hosts_are_added_listed_renamed_and_removed() {
    let stage = Stage::new();
    let sshd = stage.host("node-1");
    stage
        .run(&[
            "cluster", "host", "add", "here", "local", "--chain", "signet",
        ])
        .success();
    let list = stage.json(&["cluster", "host", "list", "--json"]);
    assert_eq!(list[0]["address"], format!("ssh://{}", sshd.destination()));
    assert_eq!(list[0]["fingerprint"], sshd.fingerprint());
    assert_eq!(list[1]["address"], "local");
    assert_eq!(list[1]["chains"], serde_json::json!(["signet"]));

    let address = format!("ssh://{}", sshd.destination());
    let twice = stage.run(&["cluster", "host", "add", "node-1", &address]);
    assert_eq!(
        twice.error().unwrap(),
        "`home` has a host `node-1` already",
        "{twice}"
    );
    twice.failure(1);
    let same = stage.run(&["cluster", "host", "add", "other", &address]);
    assert!(
        same.failure(1).contains("is the host `node-1` already"),
        "{same}"
    );
    for wrong in ["Node", "all", "a b", "-x"] {
        stage
            .run(&["cluster", "host", "add", wrong, "local"])
            .failure(2);
    }
    for wrong in ["ssh://node", "http://node", "ssh://a@-oProxyCommand=x"] {
        stage
            .run(&["cluster", "host", "add", "x", wrong])
            .failure(2);
    }
    let unknown = stage.run(&["cluster", "exec", "--hosts", "node-2", "--", "true"]);
    unknown.failure(1);
    assert_eq!(unknown.hint().unwrap(), "did you mean `node-1`?");

    stage
        .run(&["cluster", "host", "rename", "node-1", "node-a"])
        .success();
    assert_eq!(
        stage
            .run(&["cluster", "ssh", "node-a", "--", "echo", "in"])
            .success(),
        "in\n"
    );
    stage
        .run(&["cluster", "host", "remove", "node-a"])
        .success();
    stage.run(&["cluster", "host", "show", "node-a"]).failure(1);
    let full = stage.run(&["cluster", "destroy", "home"]);
    assert!(full.failure(1).contains("still has 1 host"), "{full}");
    stage
        .run(&["cluster", "destroy", "home", "--hosts"])
        .success();
    let none = stage.run(&["cluster", "host", "list"]);
    assert!(none.failure(1).contains("no cluster is in use"), "{none}");
}

#[test]
fn a_host_is_added_only_with_the_key_that_was_compared() {
    let stage = Stage::new();
    let sshd = Sshd::start(&stage.env);
    let address = format!("ssh://{}", sshd.destination());
    let unseen = stage.run(&["cluster", "host", "add", "node-1", &address]);
    assert!(unseen.failure(4).contains(&sshd.fingerprint()), "{unseen}");
    let again = format!(
        "`cluster host add node-1 {address} --fingerprint {}`",
        sshd.fingerprint()
    );
    assert!(unseen.hint().unwrap().contains(&again), "{unseen}");
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let words = [
        "cluster",
        "host",
        "add",
        "node-1",
        &address,
        "--fingerprint",
        other,
    ];
    stage.run(&words).failure(4);
    let gone = stage.run(&["cluster", "host", "add", "node-1", "ssh://root@127.0.0.1:1"]);
    assert!(gone.failure(1).contains("offers no host key"), "{gone}");
    let list = stage.json(&["cluster", "host", "list", "--json"]);
    assert_eq!(list, serde_json::json!([]));
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[test]
fn a_changed_host_key_stops_that_host_and_no_other_until_it_is_compared_anew() {
    let stage = Stage::new();
    let _good = stage.host("node-1");
    let sshd = stage.host("node-2");
    let old = sshd.fingerprint();
    let sshd = sshd.with_another_host_key(&stage.env);
    let new = sshd.fingerprint();
    let output = stage.run(&["cluster", "exec", "--", "echo", "in"]);
    let stderr = output.failure(4);
    assert!(output.stdout.contains("node-1:\n  in\n"), "{output}");
    assert!(stderr.contains(&old) && stderr.contains(&new), "{output}");
    assert!(stderr.contains("cluster host repin node-2"), "{output}");
    assert!(stderr.contains("1 of 2 hosts failed: node-2"), "{output}");
    stage
        .run(&["cluster", "ssh", "node-2", "--", "true"])
        .failure(4);
    stage
        .run(&["cluster", "host", "repin", "node-2"])
        .failure(4);
    stage
        .run(&["cluster", "host", "repin", "node-2", "--fingerprint", &old])
        .failure(4);
    stage
        .run(&["cluster", "host", "repin", "node-2", "--fingerprint", &new])
        .success();
    let output = stage.run(&["cluster", "exec", "--", "echo", "in"]);
    assert!(output.success().contains("node-2:\n  in\n"), "{output}");
}

#[test]
fn hosts_that_are_down_or_refuse_are_named_and_the_others_finish() {
    let stage = Stage::new();
    let _good = stage.host("node-1");
    let mut down = stage.host("node-2");
    down.halt();
    let stranger = Sshd::named(&stage.env, "node-3");
    let address = format!("ssh://{}", stranger.destination());
    let fingerprint = stranger.fingerprint();
    let words = [
        "cluster",
        "host",
        "add",
        "node-3",
        &address,
        "--fingerprint",
        &fingerprint,
    ];
    stage.run(&words).success();
    // somebody answers and says nothing
    let silent = stage.host("node-4");
    let port = silent.port();
    drop(silent);
    let _mute = TcpListener::bind(("127.0.0.1", port)).unwrap();

    let words = [
        "cluster",
        "exec",
        "--timeout",
        "7",
        "--json",
        "--",
        "sh",
        "-c",
        "echo in; exit 0",
    ];
    let start = Instant::now();
    let output = stage.run(&words);
    assert!(start.elapsed() < Duration::from_secs(15), "{output}");
    assert!(output.stderr.contains("waiting for node-4, "), "{output}");
    assert!(
        output
            .stderr
            .contains("3 of 4 hosts failed: node-2, node-3, node-4"),
        "{output}"
    );
    assert_eq!(output.code(), 1, "{output}");
    let lines: Value = serde_json::from_str(&output.stdout).unwrap();
    let error = |at: usize| lines[at]["error"].as_str().unwrap().to_owned();
    assert_eq!(
        (&lines[0]["code"], &lines[0]["stdout"]),
        (&0.into(), &"in\n".into())
    );
    assert!(error(1).contains("`node-2` is unreachable") && error(1).contains("refused"));
    assert!(error(2).contains("`node-3` refused the login"), "{output}");
    assert!(
        error(3).contains("`node-4` took longer than 7 s"),
        "{output}"
    );
}

#[test]
fn exit_codes_words_and_hostile_output_come_back_as_they_should() {
    let stage = Stage::new();
    let _one = stage.host("node-1");
    let _two = stage.host("node-2");
    let words = [
        "cluster", "exec", "--", "printf", "%s|", "a  b", "$HOME", "'*",
    ];
    let output = stage.run(&words);
    let said = "a  b|$HOME|'*|";
    assert!(
        output.success().contains(&format!("node-1:\n  {said}")),
        "{output}"
    );
    let hostile = r"printf '\033[2J\033]0;title\007red\tx\r\n\302\233y\n'; echo oh >&2; exit 7";
    let output = stage.run(&[
        "cluster", "exec", "--hosts", "node-2", "--", "sh", "-c", hostile,
    ]);
    assert_eq!(output.code(), 1, "{output}");
    assert_eq!(
        output.stdout, "node-2 (exit code 7):\n  red\tx\n  y\n",
        "{output}"
    );
    assert!(output.stderr.contains("node-2: oh\n"), "{output}");
    assert!(!output.stderr.contains('\u{1b}'), "{output}");
    stage.run(&["cluster", "exec", "--"]).failure(2);
}

#[test]
fn a_hundred_megabytes_of_output_are_cut_and_said_to_be() {
    let stage = Stage::new();
    let _one = stage.host("node-1");
    let flood = "head -c 100000000 /dev/zero | tr '\\0' x; echo >&2 done";
    let output = stage.run(&["cluster", "exec", "--json", "--", "sh", "-c", flood]);
    let lines: Value = serde_json::from_str(output.success()).unwrap();
    assert_eq!(lines[0]["truncated"], true);
    assert_eq!(lines[0]["stdout"].as_str().unwrap().len(), 1 << 20);
    assert_eq!(lines[0]["stderr"], "done\n");
    let output = stage.run(&["cluster", "exec", "--", "sh", "-c", flood]);
    assert!(
        output.stderr.contains("more than the 1024 KiB"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_host_whose_connection_is_cut_is_reached_again_in_the_same_session() {
    let stage = Stage::new();
    let sshd = stage.host("node-1");
    stage
        .run(&["cluster", "host", "add", "here", "local"])
        .success();
    let cut = sshd.cut_command();
    let output = stage.session(&format!(
        "cluster exec --hosts node-1 -- echo first; \
         cluster exec --hosts here -- {cut}; \
         cluster exec --hosts node-1 -- echo second"
    ));
    assert!(
        output.success().contains("first") && output.stdout.contains("second"),
        "{output}"
    );
    assert!(output.stderr.contains("`node-1`: lost ("), "{output}");
    // two commands over one connection before
    let output =
        stage.session("cluster exec --hosts node-1 -- true; cluster exec --hosts node-1 -- true");
    output.success();
    assert_eq!(
        sshd.log().matches("Accepted publickey").count(),
        3,
        "{}",
        sshd.log()
    );
}

#[test]
fn a_command_whose_connection_is_cut_is_not_run_twice() {
    let stage = Stage::new();
    let sshd = stage.host("node-1");
    let mark = stage.env.path().join("mark");
    let line = format!(
        "echo x >> {}; {}; sleep 5",
        mark.display(),
        sshd.cut_command()
    );
    let output = stage.run(&["cluster", "exec", "--", "sh", "-c", &line]);
    assert!(
        output.failure(1).contains("the connection was cut"),
        "{output}"
    );
    assert_eq!(fs::read_to_string(mark).unwrap(), "x\n");
}

#[test]
fn ctrl_c_ends_a_command_here_and_on_the_hosts() {
    let stage = Stage::new();
    let _one = stage.host("node-1");
    let _two = stage.host("node-2");
    let running = stage.spawn(&["cluster", "exec", "--", "sleep", "54321"]);
    let sleeps = || {
        processes("sleep 54321")
            .iter()
            .filter(|line| line.starts_with("sleep"))
            .count()
    };
    wait_until("both run", Duration::from_secs(30), || {
        (sleeps() == 2).then_some(())
    });
    running.interrupt();
    let output = running.wait();
    assert!(output.failure(1).contains("cancelled"), "{output}");
    wait_until("none runs", Duration::from_secs(10), || {
        (sleeps() == 0).then_some(())
    });
}

#[test]
fn nothing_of_ssh_outlives_a_bcm_that_ends_or_is_killed() {
    let stage = Stage::new();
    let _one = stage.host("node-1");
    stage
        .run(&["cluster", "host", "add", "here", "local"])
        .success();
    stage.run(&["cluster", "exec", "--", "true"]).success();
    let gone = || stage.masters().is_empty().then_some(());
    wait_until("no ssh", Duration::from_secs(8), gone);
    let running =
        stage.spawn_session("cluster exec --hosts node-1 -- true; cluster exec -- sleep 43210");
    let sleeps = || {
        processes("sleep 43210")
            .iter()
            .filter(|line| line.starts_with("sleep"))
            .count()
    };
    wait_until("it runs on both", Duration::from_secs(30), || {
        (sleeps() == 2).then_some(())
    });
    assert!(!stage.masters().is_empty());
    running.kill();
    drop(running);
    wait_until("no ssh", Duration::from_secs(20), gone);
    wait_until("no command", Duration::from_secs(10), || {
        (sleeps() == 0).then_some(())
    });
}

#[test]
fn files_are_copied_whole_with_their_mode() {
    let stage = Stage::new();
    let _one = stage.host("node-1");
    stage
        .run(&["cluster", "host", "add", "here", "local"])
        .success();
    let local = stage.env.write("a.conf", vec![7; 300_000]);
    fs::set_permissions(&local, fs::Permissions::from_mode(0o750)).unwrap();
    let other = stage.env.write("b 'c'.conf", "text");
    let folder = stage.env.path().join("to");
    fs::create_dir(&folder).unwrap();
    let to = format!("{}/", folder.display());
    let (local, other) = (local.to_str().unwrap(), other.to_str().unwrap());
    let copied = stage.json(&[
        "cluster", "copy", "--hosts", "node-1", "--json", local, other, &to,
    ]);
    assert_eq!(copied[0]["files"].as_array().unwrap().len(), 2, "{copied}");
    assert_eq!(fs::read(folder.join("a.conf")).unwrap(), vec![7; 300_000]);
    assert_eq!(fs::read(folder.join("b 'c'.conf")).unwrap(), b"text");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder.join("a.conf")), 0o750);
    // replaced as a whole, on this machine too
    let target = folder.join("a.conf");
    let target = target.to_str().unwrap();
    stage.run(&["cluster", "copy", other, target]).success();
    assert_eq!(fs::read(target).unwrap(), b"text");
    let refused = stage.run(&["cluster", "copy", other, "/no/such/folder/x"]);
    let stderr = refused.failure(1);
    assert!(
        stderr.contains("`node-1` did not take `/no/such/folder/x`"),
        "{refused}"
    );
    assert!(
        stderr.contains("2 of 2 hosts failed: here, node-1"),
        "{refused}"
    );
    stage
        .run(&["cluster", "copy", local, other, "/tmp/x"])
        .failure(2);
    stage
        .run(&["cluster", "copy", "/nonexistent", &to])
        .failure(1);
    let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn an_onion_is_a_host_like_another_on_a_circuit_of_its_own() {
    const FAR: &str = "explorerzydxu5ecjrkwceayqybizmpjjznk5izmitf2modhcusuqlid.onion";
    let stage = Stage::new();
    let sshd = Sshd::start(&stage.env);
    let tor = FakeTor::start(sshd.port());
    let socks = format!("tor.socks={}", tor.address());
    stage.run(&["config", "set", &socks]).success();
    let address = format!("ssh://{}@{FAR}", sshd.user());
    let fingerprint = sshd.fingerprint();
    let words = [
        "cluster",
        "host",
        "add",
        "far",
        &address,
        "--fingerprint",
        &fingerprint,
    ];
    sshd.authorize(stage.run(&words).success());
    let output = stage.run(&["cluster", "exec", "--", "echo", "in"]);
    assert!(output.success().contains("far:\n  in\n"), "{output}");
    let login = format!("{}@{FAR}", sshd.user());
    let output = stage.run(&["ssh", "connect", &login, "--", "echo", "by hand"]);
    assert_eq!(output.success(), "by hand\n");
    let asked = tor.asked();
    assert!(asked.len() >= 3, "{asked:?}");
    assert!(
        asked
            .iter()
            .all(|(user, name)| name == FAR && user.contains(FAR)),
        "{asked:?}"
    );
    // without Tor it says so, and nobody else is asked
    stage
        .run(&["config", "set", "tor.socks=127.0.0.1:1"])
        .success();
    let output = stage.run(&["cluster", "exec", "--", "true"]);
    assert!(
        output.failure(1).contains("`far` is unreachable"),
        "{output}"
    );
}

#[test]
fn what_names_hosts_is_sealed() {
    let stage = Stage::new();
    let sshd = stage.host("secretive");
    let needles = [
        "secretive".to_owned(),
        sshd.destination(),
        "home".to_owned(),
    ];
    for file in crate::support::files(&stage.env.state()) {
        let content = fs::read(&file).unwrap();
        for needle in &needles {
            let found = content
                .windows(needle.len())
                .any(|part| part == needle.as_bytes());
            assert!(!found, "`{needle}` stands in {}", file.display());
        }
    }
}
