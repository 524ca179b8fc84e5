//! `cluster host prepare`: bare machines that boot systemd become members of a cluster.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use bcm_tests::{LxdHost, Output, PASSPHRASE, Running, Simulator, TestEnv, wait_until};
use serde_json::Value;

/// How long a preparation may take on a busy machine: it installs an engine.
const LONG: Duration = Duration::from_secs(600);

/// A wallet with the cluster `home` and a certificate that signs.
struct Stage {
    env: TestEnv,
    simulator: Simulator,
}

impl Stage {
    fn new() -> Self {
        let env = TestEnv::new();
        let simulator = Simulator::start(&env);
        let stage = Self { env, simulator };
        stage.run(&["cluster", "create", "home"]).success();
        stage
            .run(&["pgp", "init", "--user-id", "Alice <a@example.org>"])
            .success();
        stage
    }

    fn spawn(&self, words: &[&str]) -> Running {
        let bcm = self.env.bcm(words.iter().copied());
        let bcm = bcm.device(&self.simulator.udp()).passphrase(PASSPHRASE);
        bcm.spawn()
    }

    fn run(&self, words: &[&str]) -> Output {
        self.spawn(words).wait_within(LONG)
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(words);
        serde_json::from_str(output.success()).unwrap_or_else(|error| panic!("{error}\n{output}"))
    }

    /// Starts a bare host and adds it, with the key of the wallet as root's.
    fn host(&self, name: &str) -> LxdHost {
        let host = LxdHost::start(name, "");
        let line = self.add(name, &host, "root");
        host.authorize("root", &line);
        host
    }

    fn add(&self, name: &str, host: &LxdHost, user: &str) -> String {
        let address = format!("ssh://{}", host.destination(user));
        let fingerprint = host.fingerprint();
        let words = ["cluster", "host", "add", name, &address];
        let added = self.run(&[&words[..], &["--fingerprint", &fingerprint]].concat());
        added.success().to_owned()
    }

    /// Prepares a host and returns how many changes that took.
    fn prepare(&self, name: &str, host: &LxdHost) -> u64 {
        let output = self.run(&["cluster", "host", "prepare", name, "--json"]);
        let log = || {
            host.try_run("journalctl --no-pager -n 40 -u ssh -u docker")
                .stdout
        };
        assert_eq!(
            output.code(),
            0,
            "{output:?}\n{}",
            String::from_utf8_lossy(&log())
        );
        let value: Value = serde_json::from_str(output.success()).unwrap();
        value["changes"].as_u64().unwrap()
    }

    /// Runs the system's ssh with a key of its own.
    fn ssh(&self, host: &LxdHost, user: &str, options: &[&str]) -> String {
        let key = self.env.path().join("other-key");
        if !key.exists() {
            let keygen = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .status();
            assert!(keygen.unwrap().success());
        }
        let output = self
            .env
            .command("/usr/bin/ssh")
            .args(["-F", "/dev/null", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
            .args(["-o", "NumberOfPasswordPrompts=0"])
            .args(options)
            .arg("-i")
            .arg(&key)
            .args([&host.destination(user), "true"])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{user} was let in");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// Returns the ports of `1..=10000` that are open on a host from this machine, which is no member.
fn open_ports(host: &LxdHost) -> Vec<u16> {
    let address: std::net::IpAddr = host.address().parse().unwrap();
    let ports: Vec<u16> = (1..=10_000).collect();
    let scan = |ports: &[u16]| {
        let open = |port: &&u16| {
            // what a firewall drops is not answered at all
            let patience = Duration::from_millis(60);
            TcpStream::connect_timeout(&(address, **port).into(), patience).is_ok()
        };
        ports.iter().filter(open).copied().collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let parts = ports
            .chunks(100)
            .map(|part| scope.spawn(move || scan(part)));
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    })
}

/// Tells whether a port of `to` is open as `from` sees it.
fn reaches(from: &LxdHost, to: &LxdHost, port: u16) -> bool {
    let probe = format!("timeout 2 bash -c '</dev/tcp/{}/{port}'", to.address());
    from.try_run(&probe).status.success()
}

#[test]
fn a_bare_host_becomes_a_member_and_lets_nobody_else_in() {
    let stage = Stage::new();
    let host = stage.host("node-1");
    let (member, stranger) = (stage.host("node-2"), LxdHost::start("stranger", ""));

    // the plan shows what would be done, and nothing is
    let plan = stage.run(&["cluster", "host", "prepare", "node-1", "--plan"]);
    let text = plan.success();
    assert!(
        text.contains("install --download-only docker.io nftables"),
        "{plan}"
    );
    assert!(text.contains("       | AllowUsers bcm"), "{plan}");
    let again = stage.run(&["cluster", "host", "prepare", "node-1", "--plan"]);
    assert_eq!(again.success(), text, "the same plan, byte for byte");
    assert!(!host.try_run("command -v dockerd").status.success());

    let start = Instant::now();
    assert!(stage.prepare("node-1", &host) > 20);
    eprintln!("prepared in {:?}", start.elapsed());
    let listed = stage.json(&["cluster", "host", "list", "--json"]);
    assert_eq!(
        listed[0]["address"],
        format!("ssh://{}", host.destination("bcm"))
    );
    assert_eq!(listed[0]["certified"], true);

    // again: nothing to do, nothing to sign
    let again = stage.run(&["cluster", "host", "prepare", "node-1"]);
    again.success();
    assert!(
        again.stderr.contains("`node-1` is prepared: 0 changes"),
        "{again}"
    );
    let statements = stage.json(&["statement", "list", "--json"]);
    assert_eq!(statements.as_array().unwrap().len(), 1, "{statements}");
    assert_eq!(statements[0]["kind"], "preparation");
    stage.run(&["statement", "verify"]).success();

    // who is let in: the certificate, and nobody else
    let who = stage.run(&[
        "cluster",
        "exec",
        "--hosts",
        "node-1",
        "--",
        "sh",
        "-c",
        "id -un; docker info -f '{{.LoggingDriver}}'",
    ]);
    let said = who.success();
    assert!(said.contains("bcm") && said.contains("local"), "{who}");
    for user in ["bcm", "root"] {
        let refused = stage.ssh(&host, user, &["-o", "IdentitiesOnly=yes"]);
        assert_eq!(
            refused.trim_end(),
            format!("{}: Permission denied (publickey).", host.destination(user))
        );
        let by_password = [
            "-o",
            "PreferredAuthentications=password,keyboard-interactive",
        ];
        let refused = stage.ssh(&host, user, &by_password);
        assert!(
            refused.contains("Permission denied (publickey)"),
            "{refused}"
        );
    }
    // a key that somebody puts there changes nothing
    let line = std::fs::read_to_string(stage.env.path().join("other-key.pub")).unwrap();
    host.authorize("root", &line);
    stage.ssh(&host, "root", &["-o", "IdentitiesOnly=yes"]);

    // what is open: sshd to all, the swarm's ports to members
    host.run(&format!(
        "docker swarm init --advertise-addr {}",
        host.address()
    ));
    host.run("docker run --help >/dev/null; systemctl is-active bcm-firewall.service");
    assert_eq!(open_ports(&host), [22]);
    for (port, to_member) in [(22, true), (2377, true), (7946, true), (2375, false)] {
        assert_eq!(reaches(&member, &host, port), to_member, "{port}");
        assert_eq!(reaches(&stranger, &host, port), port == 22, "{port}");
    }

    // a power cut, and it is as it was
    host.kill();
    host.boot();
    assert_eq!(stage.prepare("node-1", &host), 0);
    assert!(reaches(&member, &host, 7946) && !reaches(&stranger, &host, 7946));

    // what somebody changed by hand is put back, and nothing else is done
    host.run("nft flush ruleset; systemctl stop unattended-upgrades.service");
    let mended = stage.json(&["cluster", "host", "prepare", "node-1", "--json"]);
    let said: Vec<_> = mended["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["why"].as_str().unwrap())
        .collect();
    assert_eq!(
        said,
        [
            "start unattended-upgrades.service, now and at boot",
            "load the firewall now",
            "the old login is closed"
        ]
    );
    assert_eq!(stage.prepare("node-1", &host), 0);

    // sshd as an onion service, for one client
    let client = format!("alice={}", "A".repeat(52));
    let words = [
        "cluster",
        "host",
        "prepare",
        "node-1",
        "--onion-client",
        &client,
        "--json",
    ];
    let onion = stage.json(&words);
    assert_eq!(
        onion["onion"].as_str().unwrap().len(),
        56 + ".onion".len(),
        "{onion}"
    );
    assert_eq!(stage.json(&words)["changes"], 0);
    let authorized = host.run("cat /var/lib/tor/bcm-ssh/authorized_clients/alice.auth");
    assert_eq!(
        authorized,
        format!("descriptor:x25519:{}\n", "A".repeat(52))
    );
}

#[test]
fn a_run_that_is_killed_is_gone_on_with() {
    let stage = Stage::new();
    let host = stage.host("node-1");
    let start = || stage.spawn(&["cluster", "host", "prepare", "node-1"]);
    let until = |what: &str, test: &str| {
        wait_until(what, LONG, || {
            host.try_run(test).status.success().then_some(())
        });
    };

    // while files are written
    let run = start();
    until("a file is written", "test -e /etc/docker/daemon.json");
    run.kill();
    drop(run);
    // while packages are installed: apt goes on by itself, and the next run waits for it
    let run = start();
    until("dpkg is at work", "test -e /usr/sbin/nft");
    run.kill();
    drop(run);
    // while packages are installed, and the host loses its power: dpkg is left in the middle
    let run = start();
    until("dpkg is at work", "test -e /usr/sbin/dockerd");
    host.kill();
    let cut = run.wait_within(LONG);
    cut.failure(1);
    host.boot();
    // between the two logins: only the new way may be open
    let run = start();
    until(
        "the old way is closed",
        "test -e /etc/ssh/sshd_config.d/01-bcm-only.conf",
    );
    run.kill();
    drop(run);

    stage.prepare("node-1", &host);
    assert_eq!(stage.prepare("node-1", &host), 0);
    assert_eq!(
        host.run("dpkg --audit; systemctl list-units --failed --no-legend 'docker*' 'ssh*' 'bcm*'"),
        ""
    );
    assert_eq!(open_ports(&host), [22]);
    stage.ssh(&host, "root", &["-o", "IdentitiesOnly=yes"]);
}

#[test]
fn what_cannot_be_prepared_is_said_and_left_as_it_was() {
    let stage = Stage::new();
    let host = stage.host("node-1");
    let state =
        || host.run("find /etc /usr/bin /usr/sbin /var/lib/dpkg -xdev -newer /tmp/mark | sort");
    host.run("sleep 0.1; touch /tmp/mark; sleep 0.1");
    let before = state();
    let refused = |name: &str, says: &str, hints: &str| {
        let output = stage.run(&["cluster", "host", "prepare", name]);
        let text = output.failure(1).to_owned();
        assert!(text.contains(says), "{text}");
        assert!(output.hint().unwrap_or_default().contains(hints), "{text}");
        text
    };

    // packages that cannot be had
    host.run("cp -p /etc/apt/sources.list /tmp/sources; echo 'deb [trusted=yes] file:///nowhere ./' >/etc/apt/sources.list");
    let text = refused("node-1", "operation 1 of", "mend that on the host");
    assert!(
        text.contains("read the lists of packages") && text.contains("nowhere"),
        "{text}"
    );
    assert!(text.contains("nothing was changed on the host"), "{text}");
    host.run("cp -p /tmp/sources /etc/apt/sources.list");

    // no space for them
    host.fill("/var/cache/apt");
    refused("node-1", "MiB free for packages", "free space");
    host.free("/var/cache/apt");

    // another system
    host.run(
        "sed 's/^VERSION_ID=.*/VERSION_ID=11/' /usr/lib/os-release >/tmp/old && \
         mount --bind /tmp/old /usr/lib/os-release",
    );
    refused("node-1", "the host runs debian 11", "Debian 12");
    host.run("umount /usr/lib/os-release");
    assert_eq!(state(), before);

    // an account that is nobody
    host.run("useradd --create-home --shell /bin/bash --password '*' carol");
    stage
        .run(&["cluster", "host", "remove", "node-1"])
        .success();
    let line = stage.add("carols", &host, "carol");
    host.authorize("carol", &line);
    refused("carols", "cannot become root", "as `root@");

    // this machine
    stage
        .run(&["cluster", "host", "add", "here", "local"])
        .success();
    stage
        .run(&["cluster", "host", "prepare", "here"])
        .failure(2);
    // what is no client of an onion service
    stage
        .run(&[
            "cluster",
            "host",
            "prepare",
            "carols",
            "--onion-client",
            "alice=x",
        ])
        .failure(2);
    assert_eq!(
        stage
            .json(&["statement", "list", "--json"])
            .as_array()
            .map_or(0, Vec::len),
        1
    );
}
