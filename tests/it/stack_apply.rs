//! Stacks on a real engine: planned, signed on the device, started, looked at, cut off, removed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bcm_cluster::Engine;
use bcm_cluster::docker::Addresses;
use bcm_cluster::docker::swarm::{self, Place};
use bcm_keystore::Chain;
use bcm_tests::{
    Dockerd, Gpg, Output, PASSPHRASE, Running, Simulator, TestEnv, Wire, stack_image, wait_until,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(120);

/// A cluster of one host, whose engine is real and has the images.
struct Stage {
    // ended first
    engine: Dockerd,
    _wire: Wire,
    simulator: Simulator,
    env: TestEnv,
    image: String,
}

impl Stage {
    fn new(chains: &[Chain]) -> Self {
        let env = TestEnv::new();
        let wire = Wire::new();
        let engine = Dockerd::start(&env, &wire, 1);
        let image = engine.docker(&["import", &stack_image().to_string_lossy(), "stack:1"]);
        let simulator = Simulator::start(&env);
        let stage = Self {
            engine,
            _wire: wire,
            simulator,
            env,
            image,
        };
        let chain = stage.env.bcm(["config", "set", "chain=regtest"]);
        chain.run().success();
        let user = "Satoshi <s@example.org>";
        let made = stage.run(&["pgp", "init", "--user-id", user]);
        made.success();
        let words = "cluster create home; cluster host add node-1 local --chain regtest";
        stage.session(words).success();
        let list = stage.json(&["cluster", "list", "--json"]);
        let id = list[0]["id"].as_str().unwrap().to_owned();
        stage.swarm(&id, chains);
        stage
    }

    /// Makes the engine the swarm of the cluster.
    fn swarm(&self, cluster: &str, chains: &[Chain]) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let engine = Engine::at("node-1", &self.engine.socket()).await.unwrap();
            let place = Place {
                addresses: Addresses::one(self.engine.address().parse().unwrap()),
                tier: None,
                chains: chains.iter().copied().collect::<BTreeSet<_>>(),
            };
            swarm::init(&engine, cluster, &place).await.unwrap();
        });
    }

    fn spawn(&self, words: &[&str]) -> Running {
        let bcm = self.env.bcm(words.iter().copied()).on(&self.engine);
        let bcm = bcm.device(&self.simulator.udp()).passphrase(PASSPHRASE);
        bcm.spawn()
    }

    fn run(&self, words: &[&str]) -> Output {
        self.spawn(words).wait()
    }

    fn session(&self, commands: &str) -> Output {
        let bcm = self.env.bcm([]).flag("-c").flag(commands).on(&self.engine);
        let bcm = bcm.device(&self.simulator.udp()).passphrase(PASSPHRASE);
        bcm.run()
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(words);
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{output}"))
    }

    /// Returns the words that start tor and bitcoind from the images of the tests.
    fn start(&self) -> Vec<String> {
        let tor = format!("tor/tor={},version:0.4.9.15", self.image);
        let bitcoind = format!("bitcoind/bitcoind=knots,{},version:29.4", self.image);
        let words = [
            "stack",
            "start",
            "tor",
            "bitcoind",
            "--no-wait",
            "--image",
            &tor,
            "--image",
            &bitcoind,
        ];
        words.map(str::to_owned).to_vec()
    }

    fn started(&self) -> Output {
        let words = self.start();
        self.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Waits until the application says that it is ready.
    fn ready(&self, stack: &str) {
        let begun = Instant::now();
        loop {
            let status = self.run(&["stack", "status", "--json"]);
            let lines: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
            let lines = lines.as_array().cloned().unwrap_or_default();
            if lines
                .iter()
                .any(|it| it["stack"] == stack && it["state"] == "ready")
            {
                return;
            }
            assert!(begun.elapsed() < SOON, "{status}\n{}", self.engine.log());
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Returns everything of bcm's on the engine.
    fn there(&self) -> Vec<String> {
        let name = "--format={{.Name}}";
        let mut found = Vec::new();
        for kind in ["service", "network", "config", "secret", "volume"] {
            let listed = self.engine.docker(&[kind, "ls", name]);
            let ours = listed.lines().filter(|line| line.starts_with("bcm-"));
            found.extend(ours.map(|line| format!("{kind} {line}")));
        }
        found.sort();
        found
    }

    /// Runs a program in the container of a service.
    fn inside(&self, service: &str, words: &[&str]) -> std::process::Output {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        let id = self.engine.docker(&["ps", "--quiet", "--filter", &filter]);
        let words: Vec<_> = ["exec", &id]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        self.engine.try_docker(&words)
    }
}

#[test]
fn tor_and_bitcoind_are_signed_started_verified_and_removed() {
    let stage = Stage::new(&[Chain::Regtest]);
    let started = stage.started();
    started.success();
    stage.ready("bitcoind");

    // the node answers through the passthrough: output and exit code are the program's own
    let mined = stage.run(&["bitcoin-cli", "generatetodescriptor", "3", "raw(51)"]);
    assert_eq!(mined.success().matches('"').count(), 6, "{mined}");
    let height = stage.run(&["bitcoin-cli", "getblockcount"]);
    assert_eq!(height.success().trim(), "3");
    let refused = stage.run(&["bitcoin-cli", "getblockhash", "99"]);
    assert_eq!(refused.code(), 8, "{refused}");
    assert!(
        refused.stderr.contains("Block height out of range"),
        "{refused}"
    );

    // what runs is what was signed, and a second start changes nothing
    stage.run(&["stack", "verify"]).success();
    let there = stage.there();
    assert!(
        there.contains(&"service bcm-regtest-bitcoind-bitcoind".to_owned()),
        "{there:?}"
    );
    let again = stage.started();
    again.success();
    assert!(again.stderr.contains("; 0 calls"), "{again}");
    assert_eq!(stage.there(), there);
    let list = stage.json(&["statement", "list", "--json"]);
    assert_eq!(list.as_array().unwrap().len(), 1);
    let text = list[0]["text"].as_str().unwrap();
    assert!(
        text.contains("deploy tor+bitcoind chain regtest cluster home #1 "),
        "{text}"
    );
    stage
        .run(&["statement", "export", "all", "plans"])
        .success();
    let gpg = Gpg::new(&stage.env, "gnupg");
    gpg.ok(
        &["--import"],
        stage.run(&["pgp", "export"]).success().as_bytes(),
    );
    let plan = stage.env.path().join("plans/000001-deployment.json");
    let plan = plan.to_str().unwrap();
    gpg.ok(&["--verify", &format!("{plan}.asc"), plan], b"");

    // a program that ignores its proxy reaches nothing
    let connect =
        "use IO::Socket::INET; exit !IO::Socket::INET->new(PeerAddr => $ARGV[0], Timeout => 3)";
    let outside = format!("{}:2377", stage.engine.address());
    let direct = stage.inside(
        "bcm-regtest-bitcoind-bitcoind",
        &["perl", "-e", connect, &outside],
    );
    assert!(!direct.status.success(), "{direct:?}");

    // drift is named
    stage.engine.docker(&[
        "service",
        "update",
        "--detach",
        "--env-add",
        "EVIL=1",
        "bcm-regtest-bitcoind-bitcoind",
    ]);
    let drifted = stage.run(&["stack", "verify"]);
    assert_eq!(drifted.code(), 4, "{drifted}");
    assert!(
        drifted
            .stdout
            .contains("the service `bcm-regtest-bitcoind-bitcoind` is not as it was signed"),
        "{drifted}"
    );
    stage.started().success();
    stage.run(&["stack", "verify"]).success();

    // what is removed is gone, but for the data
    let needed = stage.run(&["stack", "remove", "tor"]);
    assert!(
        needed.failure(2).contains("`bitcoind` needs `tor`"),
        "{needed}"
    );
    stage.run(&["stack", "remove", "bitcoind", "tor"]).success();
    // a swarm forgets a network a moment after it said so
    wait_until("everything but the data to be gone", SOON, || {
        let volumes = [
            "volume bcm-regtest-bitcoind-chain",
            "volume bcm-regtest-tor-data",
        ];
        (stage.there() == volumes).then_some(())
    });
    stage.run(&["statement", "verify"]).success();
}

#[test]
fn a_start_that_was_killed_is_finished_by_the_next() {
    let stage = Stage::new(&[Chain::Regtest]);
    let words = stage.start();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    for step in 1..=20u64 {
        let running = stage.spawn(&words);
        std::thread::sleep(Duration::from_millis(50 * step));
        running.kill();
        drop(running);
    }
    stage.started().success();
    stage.ready("bitcoind");
    stage.run(&["stack", "verify"]).success();
    let services = stage
        .engine
        .docker(&["service", "ls", "--format={{.Name}}"]);
    let services: BTreeSet<_> = services.lines().collect();
    assert_eq!(
        services,
        BTreeSet::from(["bcm-regtest-bitcoind-bitcoind", "bcm-regtest-tor-tor"])
    );
    let helpers = stage
        .engine
        .docker(&["ps", "--all", "--filter", "name=-owner", "--quiet"]);
    assert_eq!(helpers, "");
    stage.run(&["statement", "verify"]).success();
}
