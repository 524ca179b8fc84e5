//! Wallets against a real bitcoind in regtest, with keys on simulated devices.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use bcm_tests::{
    Bcm, Bitcoind, Electrs, FakeTor, Output, PASSPHRASE, Simulator, TestEnv, wait_until,
};
use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash as _;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Transaction,
    TxIn, TxMerkleNode, TxOut, Txid, Witness, transaction,
};
use serde_json::Value;

const KINDS: [&str; 4] = ["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2tr"];

/// A computer with a device.
pub(crate) struct Desk {
    pub(crate) env: TestEnv,
    pub(crate) simulator: Simulator,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let env = TestEnv::new();
        let simulator = Simulator::start(&env);
        Self { env, simulator }
    }

    pub(crate) fn with_seed(words: &str) -> Self {
        let env = TestEnv::new();
        let simulator = Simulator::with_seed(&env, words);
        Self { env, simulator }
    }

    /// Looks for blocks there from now on.
    pub(crate) fn connect(&self, node: &Bitcoind) {
        let source = format!("wallet.source={}", node.url());
        let cookie = format!("wallet.cookie={}", node.cookie().display());
        self.env
            .bcm(["config", "set", &source, &cookie])
            .run()
            .success();
    }

    pub(crate) fn bcm(&self, words: &[&str]) -> Bcm {
        self.env
            .bcm(words.iter().copied())
            .device(&self.simulator.udp())
            .passphrase(PASSPHRASE)
    }

    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.bcm(words).run()
    }

    #[track_caller]
    pub(crate) fn text(&self, words: &[&str]) -> String {
        self.run(words).success().trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self.bcm(words).flag("--json").run();
        serde_json::from_str(output.success()).unwrap()
    }

    pub(crate) fn address(&self, wallet: &str) -> String {
        let given = self.json(&["wallet", "receive", wallet, "--new"]);
        given["address"].as_str().unwrap().to_owned()
    }

    pub(crate) fn total(&self, wallet: &str) -> u64 {
        let balance = self.json(&["wallet", "balance", wallet]);
        balance["total"].as_u64().unwrap()
    }
}

/// What bitcoind says the wallet holds, in sat.
fn watched(node: &Bitcoind, wallet: &str) -> u64 {
    let balances = node.cli([&format!("-rpcwallet={wallet}"), "getbalances"]);
    let balances: Value = serde_json::from_str(&balances).unwrap();
    let mine = &balances["mine"];
    ["trusted", "untrusted_pending", "immature"]
        .iter()
        .map(|kind| {
            Amount::from_btc(mine[*kind].as_f64().unwrap())
                .unwrap()
                .to_sat()
        })
        .sum()
}

fn watch(node: &Bitcoind, desk: &Desk, wallet: &str) {
    node.cli([
        "-named",
        "createwallet",
        &format!("wallet_name={wallet}"),
        "disable_private_keys=true",
        "blank=true",
    ]);
    let descriptors = desk.text(&["wallet", "export", wallet, "--format", "bitcoind"]);
    let told = node.cli([
        &format!("-rpcwallet={wallet}"),
        "importdescriptors",
        &descriptors,
    ]);
    let told: Value = serde_json::from_str(&told).unwrap();
    for item in told.as_array().unwrap() {
        assert_eq!(item["success"], true, "{told}");
    }
}

#[test]
fn a_wallet_of_every_script_receives_sends_bumps_and_is_drained() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    for kind in KINDS {
        desk.text(&["wallet", "create", kind, "--script", kind]);
        watch(&node, &desk, kind);
        let address = desk.address(kind);
        node.pay(&address, "0.5");
        node.pay(&desk.address(kind), "0.25");
        node.mine(1);
        desk.text(&["wallet", "sync", kind]);
        assert_eq!(desk.total(kind), 75_000_000, "{kind}");
        assert_eq!(watched(&node, kind), 75_000_000, "{kind}");

        let to = node.address();
        let sent = desk.text(&[
            "wallet",
            "send",
            &to,
            "0.6",
            "--wallet",
            kind,
            "--fee-rate",
            "2",
        ]);
        assert!(node.cli(["getrawmempool"]).contains(&sent), "{kind}");
        assert_eq!(desk.total(kind), watched(&node, kind), "{kind}");
        let bumped = desk.text(&["wallet", "bump", &sent, "--wallet", kind, "--fee-rate", "9"]);
        let pool = node.cli(["getrawmempool"]);
        assert!(
            pool.contains(&bumped) && !pool.contains(&sent),
            "{kind}: {pool}"
        );
        node.mine(1);
        desk.text(&["wallet", "sync", kind]);
        assert_eq!(desk.total(kind), watched(&node, kind), "{kind}");
        let history = desk.json(&["wallet", "history", kind]);
        assert_eq!(history.as_array().unwrap().len(), 3, "{kind}: {history}");

        desk.text(&["wallet", "drain", &to, "--wallet", kind, "--fee-rate", "1"]);
        node.mine(1);
        desk.text(&["wallet", "sync", kind]);
        assert_eq!((desk.total(kind), watched(&node, kind)), (0, 0), "{kind}");
    }
    let records = desk.json(&["wallet", "records"]);
    assert_eq!(records.as_array().unwrap().len(), 12);
    for record in records.as_array().unwrap() {
        assert_ne!(record["digest_before"], record["digest_after"]);
        assert!(
            !record["confirmed"].as_array().unwrap().is_empty(),
            "{record}"
        );
    }
}

/// Makes a wallet of two devices, at both of them.
pub(crate) fn shared_wallet(desks: &[Desk; 2], script: &str) {
    let keys = desks
        .each_ref()
        .map(|desk| desk.text(&["wallet", "xpub", "--script", script]));
    let create = [
        "wallet",
        "create",
        script,
        "--script",
        script,
        "--multisig",
        "2",
    ];
    let cosigners = ["--cosigner", &keys[0], "--cosigner", &keys[1]];
    for desk in desks {
        desk.text(&[&create[..], &cosigners[..]].concat());
    }
}

#[test]
fn three_devices_share_a_wallet_and_two_of_them_spend_from_it() {
    let desks = [
        Desk::new(),
        Desk::with_seed("zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"),
        Desk::with_seed(
            "legal winner thank year wave sausage worth useful legal winner thank yellow",
        ),
    ];
    let node = Bitcoind::start(&desks[0].env);
    for desk in &desks {
        desk.connect(&node);
    }
    for script in ["p2wsh", "p2sh-p2wsh", "p2sh"] {
        let keys = desks
            .each_ref()
            .map(|desk| desk.text(&["wallet", "xpub", "--script", script]));
        let mut create = vec![
            "wallet",
            "create",
            script,
            "--script",
            script,
            "--multisig",
            "2",
        ];
        for key in &keys {
            create.extend(["--cosigner", key]);
        }
        let made = desks.each_ref().map(|desk| desk.text(&create));
        assert!(
            made.iter().all(|descriptor| *descriptor == made[0]),
            "{made:?}"
        );
        watch(&node, &desks[0], script);

        let address = desks[0].address(script);
        assert_eq!(desks[1].address(script), address);
        node.pay(&address, "1");
        node.mine(1);
        for desk in &desks[..2] {
            desk.text(&["wallet", "sync", script]);
            assert_eq!(desk.total(script), 100_000_000);
        }
        let to = node.address();
        let first = desks[0].env.path().join(format!("{script}.psbt"));
        let name = first.to_str().unwrap();
        desks[0].text(&[
            "wallet",
            "send",
            &to,
            "0.4",
            "--wallet",
            script,
            "--fee-rate",
            "3",
            "-o",
            name,
        ]);
        let written = std::fs::read(&first).unwrap();
        let again = ["wallet", "send", &to, "0.1", "--wallet", script, "-o", name];
        let refused = desks[0].run(&again);
        assert!(refused.failure(1).contains("exists"), "{refused}");
        assert!(!refused.stderr.contains("device: sign"), "{refused}");
        assert_eq!(std::fs::read(&first).unwrap(), written);
        let second = desks[1].env.path().join("signed.psbt");
        desks[1].text(&[
            "psbt",
            "sign",
            name,
            "-o",
            second.to_str().unwrap(),
            "--force",
        ]);
        let txid = desks[1].text(&["psbt", "broadcast", second.to_str().unwrap()]);
        assert!(
            node.cli(["getrawmempool"]).contains(txid.trim()),
            "{script}: {txid}"
        );
        node.mine(1);
        desks[0].text(&["wallet", "sync", script]);
        assert_eq!(desks[0].total(script), watched(&node, script), "{script}");
    }
}

#[test]
fn a_common_payment_is_replaced_and_each_device_is_told_so() {
    let desks = [
        Desk::new(),
        Desk::with_seed("zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"),
    ];
    let node = Bitcoind::start(&desks[0].env);
    for desk in &desks {
        desk.connect(&node);
    }
    for script in ["p2wsh", "p2sh-p2wsh"] {
        shared_wallet(&desks, script);
        node.pay(&desks[0].address(script), "1");
        node.mine(1);
        for desk in &desks {
            desk.text(&["wallet", "sync", script]);
        }
        let file = |desk: &Desk, name: &str| {
            let path = desk.env.path().join(format!("{script}-{name}"));
            path.to_str().unwrap().to_owned()
        };
        let (first, second) = (file(&desks[0], "first"), file(&desks[1], "second"));
        let to = node.address();
        let send = ["wallet", "send", &to, "0.4", "--fee-rate", "2"];
        desks[0].text(&[&send[..], &["--wallet", script, "-o", &first]].concat());
        desks[1].text(&["psbt", "sign", &first, "-o", &second]);
        let paid = desks[1].text(&["psbt", "broadcast", &second]);
        for desk in &desks {
            desk.text(&["wallet", "sync", script]);
        }

        let (third, fourth) = (file(&desks[0], "third"), file(&desks[1], "fourth"));
        let bump = ["wallet", "bump", &paid, "--fee-rate", "9", "-o", &third];
        desks[0].text(&[&bump[..], &["--wallet", script]].concat());
        let told = desks[1].json(&["psbt", "sign", &third, "--replaces", &paid, "-o", &fourth]);
        let records = desks[0].json(&["wallet", "records"]);
        let of_first = records.as_array().unwrap().last().unwrap();
        for confirmed in [&of_first["confirmed"], &told["confirmed"]] {
            // the payment and the change are as they were: only the fee is asked about
            let lines = confirmed.as_array().unwrap();
            assert_eq!(lines.len(), 2, "{script}: {confirmed}");
            assert_eq!(lines[0], format!("replace transaction {paid}"));
            assert!(lines[1].as_str().unwrap().starts_with("fee "));
        }
        let bumped = desks[1].text(&["psbt", "broadcast", &fourth]);
        let pool = node.cli(["getrawmempool"]);
        assert!(pool.contains(&bumped) && !pool.contains(&paid), "{pool}");
        node.mine(1);
        desks[0].text(&["wallet", "sync", script]);
        let coins = desks[0].json(&["wallet", "utxos", script]);
        assert_eq!(coins[0]["confirmations"], 1, "{coins}");
    }
}

#[test]
fn the_filters_of_a_node_name_the_blocks_that_matter() {
    let desk = Desk::new();
    let node = Bitcoind::start_empty(&desk.env, "bitcoind", &["-blockfilterindex=1"]);
    desk.connect(&node);
    node.cli(["createwallet", "miner"]);
    node.mine(101);
    for wallet in ["filtered", "whole"] {
        let account = if wallet == "whole" { "1" } else { "0" };
        desk.text(&["wallet", "create", wallet, "--account", account]);
    }
    watch(&node, &desk, "filtered");
    let exported = desk.text(&["wallet", "export", "filtered", "--format", "bitcoind"]);
    let exported: Value = serde_json::from_str(&exported).unwrap();
    let receiving = exported[0]["desc"].as_str().unwrap();
    let derived = node.cli(["deriveaddresses", receiving, "[0,80]"]);
    let derived: Vec<String> = serde_json::from_str(&derived).unwrap();
    // each lies within the reach of the one before, and none but the first within the first reach
    for place in [20, 42, 64, 80] {
        node.pay(&derived[place], "0.1");
        node.mine(20);
    }
    let indexed = || {
        let info: Value = serde_json::from_str(&node.cli(["getindexinfo"])).unwrap();
        let index = &info["basic block filter index"];
        let height = node.cli(["getblockcount"]);
        (index["best_block_height"].to_string() == height).then_some(())
    };
    let minute = Duration::from_secs(60);
    wait_until("the filters are there", minute, indexed);
    let synced = desk.json(&["wallet", "sync", "filtered"]);
    assert_eq!(synced["filters"], 181, "{synced}");
    assert!(synced["blocks"].as_u64().unwrap() < 20, "{synced}");
    assert_eq!(desk.total("filtered"), 40_000_000);
    let history = desk.json(&["wallet", "history", "filtered"]);
    let synced = desk.json(&["wallet", "sync", "filtered", "--rescan", "--every-block"]);
    assert_eq!(
        (&synced["filters"], &synced["blocks"]),
        (&0.into(), &181.into())
    );
    assert_eq!(desk.json(&["wallet", "history", "filtered"]), history);
    let synced = desk.json(&["wallet", "sync", "whole"]);
    assert_eq!(synced["height"], 181);

    // a block that was, and what was in it, are undone
    node.pay(&derived[3], "0.05");
    node.mine(1);
    wait_until("the filters are there", minute, indexed);
    desk.text(&["wallet", "sync", "filtered"]);
    assert_eq!(desk.total("filtered"), 45_000_000);
    let tip = node.cli(["getbestblockhash"]);
    node.cli(["invalidateblock", &tip]);
    let empty = node.address();
    for _ in 0..3 {
        node.cli(["generateblock", &empty, "[]"]);
    }
    wait_until("the filters are there", minute, indexed);
    let synced = desk.json(&["wallet", "sync", "filtered"]);
    assert_eq!(synced["height"], 184, "{synced}");
    assert_eq!(synced["filters"], 3, "{synced}");
    assert_eq!(desk.total("filtered"), watched(&node, "filtered"));
    let newest = desk.json(&["wallet", "history", "filtered"])[0].clone();
    assert_eq!(newest["height"], Value::Null, "{newest}");
}

#[test]
fn an_electrum_server_and_a_file_of_blocks_tell_what_the_node_tells() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    let address = desk.address("savings");
    for amount in ["0.1", "0.2", "0.3"] {
        node.pay(&address, amount);
        node.mine(1);
    }
    desk.text(&["wallet", "sync", "savings"]);
    let history = desk.json(&["wallet", "history"]);
    assert_eq!(desk.total("savings"), 60_000_000);

    let server = Electrs::start(&desk.env, &node);
    desk.text(&["wallet", "remove", "savings"]);
    desk.text(&["wallet", "create", "savings"]);
    wait_until(
        "electrs has the last block",
        Duration::from_secs(20),
        || {
            desk.text(&["wallet", "sync", "--rescan", "--source", &server.url()]);
            (desk.total("savings") == 60_000_000).then_some(())
        },
    );
    let with_electrum = desk.json(&["wallet", "history"]);
    let facts = |history: &Value| -> Vec<Value> {
        let events = history.as_array().unwrap().iter();
        events.map(|event| event["txid"].clone()).collect()
    };
    assert_eq!(facts(&with_electrum), facts(&history));
    let sent = desk.text(&[
        "wallet",
        "send",
        &node.address(),
        "0.05",
        "--fee-rate",
        "2",
        "--source",
        &server.url(),
    ]);
    assert!(node.cli(["getrawmempool"]).contains(&sent));

    let mut blocks = String::new();
    for height in 100..=104 {
        let hash = node.cli(["getblockhash", &height.to_string()]);
        writeln!(blocks, "{height} {}", node.cli(["getblock", &hash, "0"])).unwrap();
    }
    let file = desk.env.write("blocks", &blocks);
    let source = format!("file:{}", file.display());
    desk.text(&["wallet", "create", "offline", "--account", "1"]);
    desk.text(&["wallet", "remove", "savings"]);
    desk.text(&["wallet", "create", "savings"]);
    desk.text(&["wallet", "sync", "savings", "--source", &source]);
    assert_eq!(desk.json(&["wallet", "history", "savings"]), history);
    let changed = blocks.replacen('0', "1", 40);
    let file = desk.env.write("blocks", changed);
    let refused = desk.run(&[
        "wallet",
        "sync",
        "offline",
        "--source",
        &format!("file:{}", file.display()),
    ]);
    refused.failure(1);
}

#[test]
fn an_onion_is_reached_through_tor_which_resolves_it_on_circuits_of_its_own() {
    const ONION: &str = "explorerzydxu5ecjrkwceayqybizmpjjznk5izmitf2modhcusuqlid.onion";
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    node.pay(&desk.address("savings"), "0.1");
    node.mine(1);
    let server = Electrs::start(&desk.env, &node);
    for (scheme, port) in [("http", node.port()), ("tcp", server.port())] {
        let tor = FakeTor::start(port);
        let config = format!("wallet.tor={}", tor.address());
        desk.env.bcm(["config", "set", &config]).run().success();
        let source = format!("{scheme}://{ONION}:{port}");
        for _ in 0..2 {
            desk.text(&["wallet", "sync", "--rescan", "--source", &source]);
        }
        let asked = tor.asked();
        assert!(asked.iter().all(|(_, name)| name == ONION), "{asked:?}");
        let users: BTreeSet<_> = asked.iter().map(|(user, _)| user).collect();
        assert_eq!(users.len(), 2, "{asked:?}");
    }
    assert_eq!(desk.total("savings"), 10_000_000);
    let tor = desk
        .env
        .bcm(["config", "set", "wallet.tor=127.0.0.1:1"])
        .run();
    tor.success();
    let source = format!("http://{ONION}:8332");
    let down = desk.run(&["wallet", "sync", "--source", &source]);
    assert!(down.failure(1).contains("cannot be reached"), "{down}");
}

#[test]
fn bitcoind_derives_the_addresses_that_the_device_shows() {
    let desk = Desk::new();
    let node = Bitcoind::start_empty(&desk.env, "bitcoind", &[]);
    for kind in KINDS {
        desk.text(&["wallet", "create", kind, "--script", kind]);
        let exported = desk.text(&["wallet", "export", kind, "--format", "bitcoind"]);
        let exported: Value = serde_json::from_str(&exported).unwrap();
        let receiving = exported[0]["desc"].as_str().unwrap();
        let derived = node.cli(["deriveaddresses", receiving, "[0,1]"]);
        let derived: Vec<String> = serde_json::from_str(&derived).unwrap();
        // the device compares: it is asked to show each
        let shown = desk.json(&["wallet", "receive", kind, "--show", "--new"]);
        assert_eq!(shown["address"], derived[0], "{kind}");
        assert_eq!(shown["confirmed_on_device"], true);
        assert_eq!(desk.address(kind), derived[1], "{kind}");
    }
}

#[test]
fn a_signed_message_is_verified_by_bitcoind_and_by_bcm() {
    let desk = Desk::new();
    let node = Bitcoind::start_empty(&desk.env, "bitcoind", &[]);
    for kind in KINDS {
        desk.text(&["wallet", "create", kind, "--script", kind]);
        let address = desk.address(kind);
        let sign = [
            "message",
            "sign",
            "I own this",
            "--address",
            &address,
            "--wallet",
            kind,
        ];
        if kind == "p2tr" {
            let refused = desk.run(&sign);
            assert!(
                refused.failure(1).contains("the device cannot"),
                "{refused}"
            );
            continue;
        }
        let signature = desk.text(&sign);
        // without a device
        let verify = |text: &str| {
            let words = ["message", "verify", &address, &signature, text];
            desk.env.bcm(words).device("usb").run()
        };
        verify("I own this").success();
        verify("I own that").failure(4);
        if kind == "p2pkh" {
            let theirs = node.cli(["verifymessage", &address, &signature, "I own this"]);
            assert_eq!(theirs, "true");
        }
    }
}

#[test]
fn coins_are_frozen_named_and_labelled() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    node.pay(&desk.address("savings"), "0.1");
    node.pay(&desk.address("savings"), "0.2");
    node.mine(1);
    desk.text(&["wallet", "sync"]);
    let coins = desk.json(&["wallet", "utxos"]);
    let (large, small) = (
        coins[0]["coin"].as_str().unwrap(),
        coins[1]["coin"].as_str().unwrap(),
    );
    desk.text(&["wallet", "freeze", large]);
    desk.text(&["wallet", "label", large, "rent, June"]);

    let to = node.address();
    let too_much = desk.run(&[
        "wallet",
        "send",
        &to,
        "0.15",
        "--fee-rate",
        "1",
        "--unsigned",
    ]);
    assert!(too_much.failure(1).contains("can spend 0.1"), "{too_much}");
    let labels = desk.text(&["wallet", "labels", "export"]);
    assert!(
        labels.contains("\"spendable\":false") && labels.contains("rent, June"),
        "{labels}"
    );

    let paid = [
        "wallet",
        "send",
        &to,
        "--max",
        "--coins",
        large,
        "--fee-rate",
        "1",
        "--unsigned",
    ];
    let psbt = desk.json(&paid);
    assert_eq!(psbt["review"]["spent"], 20_000_000);
    assert_eq!(psbt["signed"], false);

    desk.text(&["wallet", "unfreeze", large]);
    let file = desk.env.write("labels.jsonl", &labels);
    desk.text(&["wallet", "labels", "import", file.to_str().unwrap()]);
    let coins = desk.json(&["wallet", "utxos"]);
    assert_eq!(
        (&coins[0]["frozen"], &coins[0]["label"]),
        (&true.into(), &"rent, June".into())
    );
    assert_eq!(
        (&coins[1]["coin"], &coins[1]["frozen"]),
        (&small.into(), &false.into())
    );
}

#[test]
fn a_psbt_of_bitcoind_with_inputs_of_every_script_is_signed_and_confirmed() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    for kind in KINDS {
        desk.text(&["wallet", "create", kind, "--script", kind]);
        watch(&node, &desk, kind);
        node.pay(&desk.address(kind), "0.1");
    }
    node.mine(1);
    let mut inputs = Vec::new();
    for kind in KINDS {
        desk.text(&["wallet", "sync", kind]);
        let coins = desk.json(&["wallet", "utxos", kind]);
        let (txid, vout) = coins[0]["coin"].as_str().unwrap().split_once(':').unwrap();
        inputs.push(format!("{{\"txid\":\"{txid}\",\"vout\":{vout}}}"));
    }
    let back = desk.address("p2tr");
    let outputs = format!("[{{\"{}\":0.3}},{{\"{back}\":0.0999}}]", node.address());
    let inputs = format!("[{}]", inputs.join(","));
    let mut psbt = node.cli(["createpsbt", &inputs, &outputs]);
    for kind in KINDS {
        // each watches its own: what it knows of its coin goes into the PSBT
        let wallet = format!("-rpcwallet={kind}");
        let processed = node.cli([&wallet, "walletprocesspsbt", &psbt, "false"]);
        let processed: Value = serde_json::from_str(&processed).unwrap();
        psbt = processed["psbt"].as_str().unwrap().to_owned();
    }
    let unsigned = desk.env.write("unsigned.psbt", psbt);
    let signed = desk.env.path().join("signed.psbt");
    let (unsigned, signed) = (unsigned.to_str().unwrap(), signed.to_str().unwrap());
    let told = desk.json(&["psbt", "sign", unsigned, "-o", signed]);
    assert_eq!(told["signed_inputs"].as_array().unwrap().len(), 4, "{told}");
    let txid = desk.text(&["psbt", "broadcast", signed]);
    node.mine(1);
    let confirmed = node.cli(["-rpcwallet=p2tr", "gettransaction", &txid]);
    let confirmed: Value = serde_json::from_str(&confirmed).unwrap();
    assert_eq!(confirmed["confirmations"], 1, "{confirmed}");
    for kind in KINDS {
        desk.text(&["wallet", "sync", kind]);
        assert_eq!(desk.total(kind), watched(&node, kind), "{kind}");
    }
}

#[test]
fn a_payment_is_taken_back_before_it_is_confirmed() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    node.pay(&desk.address("savings"), "0.1");
    node.mine(1);
    desk.text(&["wallet", "sync"]);
    let sent = desk.text(&["wallet", "send", &node.address(), "0.05", "--fee-rate", "2"]);
    let back = desk.text(&["wallet", "cancel", &sent, "--fee-rate", "9"]);
    let pool = node.cli(["getrawmempool"]);
    assert!(pool.contains(&back) && !pool.contains(&sent), "{pool}");
    node.mine(1);
    desk.text(&["wallet", "sync"]);
    assert!(desk.total("savings") > 9_990_000);
    let refused = desk.run(&["wallet", "bump", &back, "--fee-rate", "20"]);
    assert!(refused.failure(1).contains("is confirmed"), "{refused}");
}

/// Makes a block of regtest with these transactions behind its coinbase.
fn block(previous: BlockHash, time: u32, coinbase: Transaction, others: Vec<Transaction>) -> Block {
    let mut txdata = vec![coinbase];
    txdata.extend(others);
    let mut block = Block {
        header: Header {
            version: Version::TWO,
            prev_blockhash: previous,
            merkle_root: TxMerkleNode::all_zeros(),
            time,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        },
        txdata,
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

fn payment(script: &ScriptBuf, from: OutPoint) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: from,
            script_sig: ScriptBuf::from_bytes(vec![0x51, 0x51]),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(1_000),
            script_pubkey: script.clone(),
        }],
    }
}

#[test]
fn ten_thousand_transactions_are_looked_at_in_a_moment() {
    let desk = Desk::new();
    desk.text(&["wallet", "create", "old"]);
    let address: bitcoin::Address<_> = desk.address("old").parse().unwrap();
    let script = address.assume_checked().script_pubkey();
    let mut previous = bitcoin::constants::genesis_block(Network::Regtest).block_hash();
    let mut lines = String::new();
    for height in 1..=20_u32 {
        let coinbase = payment(&ScriptBuf::new(), OutPoint::null());
        let mut coinbase = coinbase;
        coinbase.input[0].script_sig = ScriptBuf::from_bytes(height.to_le_bytes().to_vec());
        let others = (0..500).map(|index| {
            let from = Txid::from_byte_array([u8::try_from(height).unwrap(); 32]);
            payment(&script, OutPoint::new(from, index))
        });
        let block = block(previous, 1_700_000_000 + height, coinbase, others.collect());
        previous = block.block_hash();
        writeln!(lines, "{height} {}", serialize_hex(&block)).unwrap();
    }
    let file = desk.env.write("blocks", lines);
    desk.text(&[
        "wallet",
        "sync",
        "--source",
        &format!("file:{}", file.display()),
    ]);
    assert_eq!(desk.total("old"), 10_000_000);

    // a moment is 200 ms for the binary that people have, which `tests/bench/wallet.sh` gives; ciphers
    // are twenty times slower in a build without optimisation
    let is_release = std::env::var_os("BCM_TEST_BINARY").is_some();
    let moment = Duration::from_millis(if is_release { 200 } else { 8_000 });
    // beside a command that opens no wallet: what unlocking takes is another matter
    let fastest = |words: &[&str]| (0..5).map(|_| desk.run(words).elapsed).min().unwrap();
    let without = fastest(&["wallet", "records"]);
    for look in ["balance", "history"] {
        let took = fastest(&["wallet", look]).saturating_sub(without);
        eprintln!("{look} took {took:?}");
        assert!(took < moment, "{look} took {took:?}");
    }
}
