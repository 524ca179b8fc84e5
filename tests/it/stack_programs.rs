//! What bcm renders is what the programs themselves take: each is started on its files, in a network of its
//! own, with the names of its peers in `/etc/hosts`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bcm_keystore::Chain;
use bcm_stacks::render::{self, RenderedService};
use bcm_stacks::{
    Catalog, Configuration, EnvValue, ImageChoice, OnionClient, OptionValue, PartName, SecretId,
    Secrets, StackName,
};
use bcm_tests::{TestEnv, bitcoind_program};

/// Wants stacks as somebody would who built every image.
fn wants(chain: Chain, stacks: &[&str]) -> Configuration {
    let catalog = Catalog::builtin();
    let stacks = stacks.iter().map(|name| name.parse().unwrap());
    let mut configuration = Configuration::new(chain, stacks);
    let built = format!("sha256:{}", "0".repeat(64));
    for stack in catalog.iter() {
        configuration.below_minimum.insert(stack.name.clone());
        let images = configuration.images.entry(stack.name.clone()).or_default();
        for service in &stack.services {
            let reference = Some(built.parse().unwrap());
            images.insert(
                service.name.clone(),
                ImageChoice {
                    reference,
                    ..ImageChoice::default()
                },
            );
        }
    }
    configuration
}

fn choose(configuration: &mut Configuration, stack: &str, service: &str, variant: &str) {
    let stack: StackName = stack.parse().unwrap();
    let images = configuration.images.get_mut(&stack).unwrap();
    images.get_mut(service).unwrap().variant = Some(variant.parse().unwrap());
}

fn set(configuration: &mut Configuration, stack: &str, name: &str, value: &str) {
    let value = OptionValue::Text(value.parse::<EnvValue>().unwrap());
    let options = configuration
        .options
        .entry(stack.parse().unwrap())
        .or_default();
    options.insert(name.parse().unwrap(), value);
}

/// Renders one service.
fn service(configuration: &Configuration, name: &str) -> RenderedService {
    let rendered = render::render(&Catalog::builtin(), configuration, &Secrets::preview()).unwrap();
    let mut services = rendered.stacks.into_iter().flat_map(|stack| stack.services);
    services
        .find(|service| service.service.as_str() == name)
        .unwrap()
}

fn text(service: &RenderedService, path: &str) -> String {
    let file = service.files.iter().find(|file| file.path == path).unwrap();
    String::from_utf8(file.content.bytes().to_vec()).unwrap()
}

/// Runs a script in a network and a tree of mounts of its own, where `hosts` resolve to this machine.
#[track_caller]
fn run(env: &TestEnv, hosts: &[&str], script: &str) -> String {
    let lines: String = hosts
        .iter()
        .map(|host| format!("127.0.0.1 {host}\n"))
        .collect();
    let hosts = env.write("hosts", format!("127.0.0.1 localhost\n{lines}"));
    let prelude = format!(
        "set -eu; ip link set lo up; mount --bind '{}' /etc/hosts; cd '{}'\n",
        hosts.display(),
        env.path().display()
    );
    let output = Command::new("timeout")
        .args([
            "--kill-after=5",
            "100",
            "unshare",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
        ])
        .args(["--kill-child", "bash", "-c"])
        .arg(prelude + script)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout
}

fn program(name: &str) -> PathBuf {
    bitcoind_program(name)
}

/// Starts bitcoind and sets `$cli`; the program of the peers is Knots 29, which knows every chain's name.
fn start_bitcoind(env: &TestEnv, conf: &str) -> String {
    let conf = env.write("bitcoin.conf", conf);
    let data = env.path().join("data");
    fs::create_dir_all(&data).unwrap();
    let flags = format!("-conf='{}' -datadir='{}'", conf.display(), data.display());
    let (node, cli) = (program("bitcoind"), program("bitcoin-cli"));
    format!(
        "'{}' {flags} >bitcoind.log 2>&1 & node=$!\n\
         cli() {{ '{}' {flags} \"$@\"; }}\n\
         cli -rpcwait -rpcwaittimeout=60 getblockcount >/dev/null || {{ cat bitcoind.log >&2; exit 1; }}\n",
        node.display(),
        cli.display()
    )
}

#[test]
fn bitcoind_takes_its_file_on_every_chain() {
    for (chain, name) in [
        (Chain::Mainnet, "main"),
        (Chain::Testnet4, "testnet4"),
        (Chain::Signet, "signet"),
        (Chain::Regtest, "regtest"),
    ] {
        let env = TestEnv::new();
        let configuration = wants(chain, &["electrs", "lnd"]);
        let conf = text(
            &service(&configuration, "bitcoind"),
            "/etc/bitcoin/bitcoin.conf",
        );
        let id = SecretId {
            chain,
            stack: "electrs".parse().unwrap(),
            name: "bitcoind-rpc".parse().unwrap(),
        };
        let password = Secrets::preview().get(&id).unwrap();
        let script = format!(
            "{}as() {{ cli -rpcuser=electrs -rpcpassword={} \"$@\"; }}\n\
             cli getblockchaininfo; cli getnetworkinfo; cli getzmqnotifications\n\
             as getblockchaininfo >/dev/null\n\
             if as stop 2>refused; then echo stopped by a client; fi\n\
             grep -q 403 refused && echo refused\n\
             cli stop; wait $node",
            start_bitcoind(&env, &conf),
            password.expose()
        );
        let tor = format!("bcm-{chain}-tor-tor");
        let said = run(&env, &[&tor], &script);
        assert!(said.contains(&format!("\"chain\": \"{name}\"")), "{said}");
        assert!(
            said.contains("refused") && !said.contains("stopped by a client"),
            "{said}"
        );
        // nothing leaves but through tor, and the address that is told is the onion service's
        assert!(said.contains("\"proxy\": \"127.0.0.1:9050\""), "{said}");
        assert!(said.contains(".onion\""), "{said}");
        assert!(said.contains("tcp://0.0.0.0:28332"), "{said}");
        let log = fs::read_to_string(env.path().join("bitcoind.log")).unwrap();
        assert!(!log.to_lowercase().contains("unknown"), "{log}");
    }
}

#[test]
fn electrs_takes_its_file_and_indexes_what_bitcoind_has() {
    let env = TestEnv::new();
    let mut configuration = wants(Chain::Regtest, &["electrs"]);
    choose(&mut configuration, "electrs", "electrs", "p2p");
    choose(&mut configuration, "bitcoind", "bitcoind", "knots");
    let conf = text(
        &service(&configuration, "bitcoind"),
        "/etc/bitcoin/bitcoin.conf",
    );
    let electrs = service(&configuration, "electrs");
    let cookie = env.write("cookie", text(&electrs, "/run/secrets/bitcoind.cookie"));
    let toml = text(&electrs, "/etc/electrs/electrs.toml")
        .replace(
            "/run/secrets/bitcoind.cookie",
            &cookie.display().to_string(),
        )
        .replace("/data/db", &env.path().join("db").display().to_string());
    let toml = env.write("electrs.toml", toml);
    let script = format!(
        "{}cli generatetoaddress 101 bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 >/dev/null\n\
         '{}' --conf='{}' --skip-default-conf-files >electrs.log 2>&1 & electrs=$!\n\
         for i in $(seq 300); do\n\
           if exec 3<>/dev/tcp/127.0.0.1/60401; then break; fi; sleep 0.1\n\
         done 2>/dev/null\n\
         ask() {{ echo \"{{\\\"id\\\":0,\\\"method\\\":\\\"$1\\\",\\\"params\\\":$2}}\" >&3; head -n 1 <&3; }}\n\
         ask server.version '[\"bcm\",\"1.4\"]' || {{ cat electrs.log >&2; exit 1; }}\n\
         for i in $(seq 300); do\n\
           said=$(ask blockchain.headers.subscribe '[]'); case $said in *101*) break ;; esac; sleep 0.1\n\
         done\n\
         echo \"$said\"; ask server.ping '[]'\n\
         kill -INT $electrs; wait $electrs || true; cli stop; wait $node",
        start_bitcoind(&env, &conf),
        program("electrs").display(),
        toml.display(),
    );
    let said = run(
        &env,
        &["bcm-regtest-tor-tor", "bcm-regtest-bitcoind-bitcoind"],
        &script,
    );
    assert!(said.contains("\"height\":101"), "{said}");
    assert!(said.contains("electrs/"), "{said}");
}

/// Puts what tor reads where it reads it, and leaves the system's own alone.
fn tor_tree(env: &TestEnv, configuration: &Configuration) -> String {
    let tor = service(configuration, "tor");
    let tree = env.path().join("tree");
    for file in &tor.files {
        let path = tree.join(file.path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.content.bytes()).unwrap();
    }
    fs::create_dir_all(tree.join("run/secrets/onion")).unwrap();
    "for folder in /etc/tor /var/lib/tor /run; do mount -t tmpfs tmpfs $folder; done\n\
     cp -r tree/etc/tor/. /etc/tor/; cp -r tree/run/. /run/; mkdir -p /run/tor\n\
     chmod 700 /run/tor /var/lib/tor\n"
        .to_owned()
}

#[test]
fn tor_takes_its_file_on_every_chain_as_client_and_as_relay() {
    for chain in Chain::ALL {
        for relay in ["none", "middle"] {
            let env = TestEnv::new();
            let mut configuration = wants(chain, &["tor"]);
            set(&mut configuration, "tor", "relay", relay);
            let script = tor_tree(&env, &configuration)
                + ": >/run/tor/onions.conf\n\
                   tor --defaults-torrc /dev/null -f /etc/tor/torrc --verify-config";
            let said = run(&env, &[], &script);
            assert!(said.contains("Configuration was valid"), "{said}");
            assert!(!said.contains("[warn] Unrecognized"), "{said}");
        }
    }
}

#[test]
fn tor_serves_each_onion_as_soon_as_its_target_is_there() {
    let env = TestEnv::new();
    let mut configuration = wants(Chain::Regtest, &["lnd", "electrs"]);
    let alice: OnionClient = ("A".repeat(51) + "Q").try_into().unwrap();
    let clients = [("alice".parse::<PartName>().unwrap(), alice.clone())];
    configuration
        .onion_clients
        .insert("lnd-rest".parse().unwrap(), clients.into());
    // lnd's name resolves from the start, electrs' too; bitcoind's only later
    let script = tor_tree(&env, &configuration)
        + "sh /etc/tor/run.sh >run.log 2>&1 & run=$!\n\
           cd /var/lib/tor/onion || { sleep 1; cd /var/lib/tor/onion; }\n\
           for i in $(seq 300); do [ -e lnd-rest/hostname ] && break; sleep 0.1; done\n\
           [ ! -e bitcoind-p2p ] && echo bitcoind waits\n\
           echo 127.0.0.1 bcm-regtest-bitcoind-bitcoind >>/etc/hosts\n\
           for i in $(seq 300); do [ -e bitcoind-p2p/hostname ] && break; sleep 0.1; done\n\
           for name in bitcoind-p2p lnd-p2p lnd-rest; do echo $name $(cat $name/hostname); done\n\
           cat lnd-rest/authorized_clients/alice.auth\n\
           [ ! -e electrs-electrum/hostname ] && echo electrs is closed\n\
           kill -TERM $run; wait $run; cat \"$OLDPWD/run.log\"";
    let hosts = ["bcm-regtest-lnd-lnd", "bcm-regtest-electrs-electrs"];
    let said = run(&env, &hosts, &script);
    assert!(said.contains("bitcoind waits\n"), "{said}");
    for (stack, onion) in [("bitcoind", "p2p"), ("lnd", "p2p"), ("lnd", "rest")] {
        let (stack, onion) = (stack.parse().unwrap(), onion.parse().unwrap());
        let address =
            render::onion_address(&Secrets::preview(), Chain::Regtest, &stack, &onion).unwrap();
        assert!(
            said.contains(&format!("{stack}-{onion} {address}\n")),
            "{address} {said}"
        );
    }
    assert!(
        said.contains(&format!("descriptor:x25519:{}\n", alice.as_str())),
        "{said}"
    );
    // without anybody who may find it, it would be everybody's
    assert!(said.contains("electrs is closed\n"), "{said}");
}

#[test]
fn every_folder_of_ours_passes_the_lint_that_authors_run() {
    let env = TestEnv::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stacks/catalog");
    let mut passed = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            env.bcm(["stack", "lint", path.to_str().unwrap()])
                .run()
                .success();
            passed += 1;
        }
    }
    assert_eq!(passed, 14);
}
