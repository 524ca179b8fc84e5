//! `cluster swarm`, `status`, `tier`, `tunnel` and `host drain`: from the command line over SSH to real
//! engines.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bcm_tests::{
    Dockerd, EngineSsh, IMAGE, Output, PASSPHRASE, Simulator, TestEnv, Wire, wait_until,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// A cluster whose hosts were added and let bcm in.
struct Home {
    simulator: Simulator,
    hosts: Vec<(Dockerd, EngineSsh)>,
    _wire: Wire,
    env: TestEnv,
}

impl Home {
    fn with_hosts(count: u8) -> Self {
        let env = TestEnv::new();
        let simulator = Simulator::start(&env);
        let wire = Wire::new();
        let hosts = (1..=count)
            .map(|number| {
                let engine = Dockerd::start(&env, &wire, number);
                let ssh = engine.ssh(&env);
                (engine, ssh)
            })
            .collect();
        let home = Self {
            simulator,
            hosts,
            _wire: wire,
            env,
        };
        home.bcm(&["cluster", "create", "home"]).success();
        for (number, (_, ssh)) in (1..).zip(&home.hosts) {
            let name = format!("node-{number}");
            let (address, print) = (ssh.address(), ssh.fingerprint());
            let add = [
                "cluster",
                "host",
                "add",
                &name,
                &address,
                "--fingerprint",
                &print,
            ];
            ssh.authorize(home.bcm(&add).success());
        }
        home
    }

    fn bcm(&self, words: &[&str]) -> Output {
        let bcm = self.env.bcm(words.iter().copied());
        bcm.device(&self.simulator.udp())
            .passphrase(PASSPHRASE)
            .run()
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.bcm(&[words, &["--json"]].concat());
        serde_json::from_str(output.success()).unwrap()
    }

    /// Brings every host into one swarm.
    fn form(&self) {
        for (number, (engine, _)) in (1..).zip(&self.hosts) {
            let verb = if number == 1 { "init" } else { "join" };
            let (name, address) = (format!("node-{number}"), engine.address());
            let words = ["cluster", "swarm", verb, &name, "--address", &address];
            self.bcm(&words).success();
        }
    }
}

/// A server in a service that says hello to everybody, on `host` of the swarm's nodes.
fn greet(manager: &Dockerd, service: &str, host: &str) {
    let script = "while true; do (echo hello; cat) | nc -l -p 80; done";
    let constraint = format!("node.hostname=={host}");
    manager.docker(&[
        "service",
        "create",
        "--quiet",
        "--detach",
        "--name",
        service,
        "--network",
        "bcm-regtest-back",
        "--endpoint-mode",
        "dnsrr",
        "--constraint",
        &constraint,
        "--no-resolve-image",
        "--stop-grace-period",
        "1s",
        IMAGE,
        "sh",
        "-c",
        script,
    ]);
}

#[test]
fn a_swarm_is_formed_seen_and_changed_from_the_command_line() {
    let home = Home::with_hosts(3);
    let before = home.bcm(&["cluster", "tier", "list"]);
    before.failure(1);
    assert_eq!(
        before.error(),
        Some("no manager of `home` answers"),
        "{before}"
    );
    home.form();
    // a second time nothing changes
    let address = home.hosts[2].0.address();
    let again = home.json(&["cluster", "swarm", "join", "node-3", "--address", &address]);
    assert_eq!(again["changed"], false, "{again}");

    let status = home.json(&["cluster", "status"]);
    for (host, name) in status
        .as_array()
        .unwrap()
        .iter()
        .zip(["node-1", "node-2", "node-3"])
    {
        assert_eq!(host["host"], name);
        assert_eq!(host["swarm"]["role"], "manager", "{host}");
        assert_eq!(host["swarm"]["ready"], true, "{host}");
        assert!(
            host["machine"]["memory"].as_u64().unwrap() > 1 << 30,
            "{host}"
        );
        assert!(host["engine"]["version"].is_string(), "{host}");
    }
    let table = home.bcm(&["cluster", "status"]);
    assert!(table.success().contains("node-2"), "{table}");

    // asked again in one session, no host takes longer than a person is left waiting
    let often = ["cluster status --json"; 6].join("; ");
    let often = home.bcm(&["-c", &often]);
    let looks = serde_json::Deserializer::from_str(often.success()).into_iter::<Value>();
    let slowest = looks.skip(1).map(|look| {
        let hosts = look.unwrap();
        let seconds = hosts
            .as_array()
            .unwrap()
            .iter()
            .map(|host| host["seconds"].as_f64().unwrap());
        seconds.fold(0.0, f64::max)
    });
    // of five, the one that the machine's other work kept least
    let warm = slowest.fold(f64::MAX, f64::min);
    println!("a warm `cluster status` of three hosts: {warm} s");
    assert!(warm < 15.0, "{warm}");

    home.bcm(&["cluster", "tier", "assign", "node-2", "storage"])
        .success();
    let tiers = home.json(&["cluster", "tier", "list"]);
    assert_eq!(tiers[1]["tier"], "storage", "{tiers}");
    home.bcm(&["cluster", "tier", "assign", "node-2", "Not A Tier"])
        .failure(2);
    home.bcm(&["cluster", "host", "drain", "node-2"]).success();
    let status = home.json(&["cluster", "status"]);
    assert_eq!(status[1]["swarm"]["availability"], "drained", "{status}");
    home.bcm(&["cluster", "host", "activate", "node-2"])
        .success();
    home.bcm(&["cluster", "host", "demote", "node-2"]).success();
    home.bcm(&["cluster", "host", "promote", "node-2"])
        .success();

    // one engine stops: the others are shown, and the one is named
    home.hosts[2].0.stop();
    let status = home.bcm(&["cluster", "status", "--json"]);
    assert_eq!(status.code(), 1, "{status}");
    assert!(status.error().unwrap().contains("node-3"), "{status}");
    let seen: Value = serde_json::from_str(&status.stdout).unwrap();
    assert!(
        seen[0]["engine"].is_object() && seen[2]["engine"].is_null(),
        "{seen}"
    );
    home.hosts[2].0.start_again();
    home.bcm(&["cluster", "host", "rejoin", "node-3", "--address", &address])
        .success();
    home.bcm(&["cluster", "swarm", "leave", "node-3"]).success();
    let tiers = home.json(&["cluster", "tier", "list"]);
    assert_eq!(tiers.as_array().unwrap().len(), 2, "{tiers}");
    let unknown = home.bcm(&["cluster", "swarm", "join", "node-9"]);
    assert!(unknown.failure(1).contains("node-9"), "{unknown}");
}

#[test]
fn a_tunnel_leads_to_a_service_without_a_port_being_opened() {
    let home = Home::with_hosts(2);
    home.form();
    let manager = &home.hosts[0].0;
    manager.docker(&[
        "network",
        "create",
        "--driver",
        "overlay",
        "--internal",
        "bcm-regtest-back",
    ]);
    greet(manager, "bcm-regtest-web", "node-2");
    let there = &home.hosts[1].0;
    wait_until("the service runs", SOON, || {
        let found = there.docker(&["ps", "--quiet", "--filter", "name=bcm-regtest-web"]);
        (!found.is_empty()).then_some(())
    });
    let missing = home.bcm(&["cluster", "tunnel", "nothing:80"]);
    assert_eq!(
        missing.error(),
        Some("no host runs a task of the service `nothing`")
    );
    home.bcm(&["cluster", "tunnel", "web:80", "--listen", "0.0.0.0:8080"])
        .failure(2);

    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let words = ["cluster", "tunnel", "web:80", "--listen", &address];
    let bcm = home.env.bcm(words).device(&home.simulator.udp());
    let tunnel = bcm.passphrase(PASSPHRASE).spawn();
    let ask = |text: &str| {
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(text.as_bytes())?;
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).map(|()| answer)
    };
    for _ in 0..5 {
        // the server takes one connection at a time, and is gone for a moment between two
        wait_until("an answer through the tunnel", SOON, || {
            ask("x")
                .is_ok_and(|answer| answer == *b"hello\n")
                .then_some(())
        });
    }
    // the service moves: the tunnel finds it again
    manager.docker(&[
        "service",
        "update",
        "--quiet",
        "--detach",
        "--force",
        "bcm-regtest-web",
    ]);
    std::thread::sleep(Duration::from_secs(3));
    wait_until("an answer after the service was restarted", SOON, || {
        ask("x")
            .is_ok_and(|answer| answer == *b"hello\n")
            .then_some(())
    });
    // nothing listens on the host for it, and a tunnel that is killed leaves nothing
    assert_eq!(there.docker(&["ps", "--format", "{{.Ports}}"]).trim(), "");
    tunnel.kill();
    drop(tunnel);
    wait_until("the helper is gone", SOON, || {
        let label = "label=org.bitcoincachemachine.tunnel";
        let left = there.docker(&["ps", "--all", "--quiet", "--filter", label]);
        left.is_empty().then_some(())
    });
}
