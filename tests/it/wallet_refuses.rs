//! What wallets refuse: bad input, bad nodes, and what their owner forbade.

use bcm_keystore::wallet::Document;
use bcm_tests::Bitcoind;

use crate::wallet::Desk;

/// An address of another chain.
const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

#[test]
fn wrong_words_are_usage_errors_and_change_nothing() {
    let desk = Desk::new();
    desk.text(&["wallet", "create", "savings"]);
    let shown = desk.json(&["wallet", "show"]);
    let descriptor = shown["descriptor"].as_str().unwrap();
    let (body, checksum) = descriptor.split_once('#').unwrap();
    let spoiled = format!("{body}#{}", checksum.chars().rev().collect::<String>());
    let own = desk.text(&["wallet", "xpub"]);
    let swapped = own.replace("dd53b9b4", "00000000");
    let address = desk.address("savings");
    let cases: [(&[&str], &str); 15] = [
        (&["wallet", "create", "savings"], "already"),
        (&["wallet", "create", "other"], "already"),
        (&["wallet", "create", "../x"], "no name"),
        (&["wallet", "create", "x", "--account", "101"], "above 100"),
        (
            &["wallet", "create", "x", "--script", "p2ms"],
            "unknown script",
        ),
        (
            &["wallet", "create", "x", "--descriptor", &spoiled],
            "no descriptor",
        ),
        (
            &["wallet", "create", "x", "--descriptor", body],
            "no checksum",
        ),
        (
            &[
                "wallet",
                "create",
                "x",
                "--multisig",
                "2",
                "--cosigner",
                &own,
            ],
            "2-of-1",
        ),
        (
            &[
                "wallet",
                "create",
                "x",
                "--multisig",
                "2",
                "--cosigner",
                "xpub",
            ],
            "no cosigner",
        ),
        (
            &[
                "wallet",
                "create",
                "x",
                "--multisig",
                "2",
                "--cosigner",
                &swapped,
            ],
            "twice",
        ),
        (&["wallet", "show", "saving"], "no wallet"),
        (
            &["wallet", "send", MAINNET, "1", "--fee-rate", "1"],
            "not of regtest",
        ),
        (
            &["wallet", "send", &address, "-1", "--fee-rate", "1"],
            "no amount",
        ),
        (
            &["wallet", "send", &address, "21000001", "--fee-rate", "1"],
            "no amount",
        ),
        (
            &["wallet", "send", &address, "1", "--fee-rate", "-1"],
            "sat/vB",
        ),
    ];
    for (words, expected) in cases {
        let output = desk.run(words);
        assert!([1, 2].contains(&output.code()), "{words:?}\n{output}");
        assert!(
            output.error().unwrap().contains(expected),
            "{words:?}\n{output}"
        );
    }
    assert_eq!(desk.json(&["wallet", "show"]), shown);
    assert_eq!(desk.json(&["wallet", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_node_that_is_down_busy_or_elsewhere_leaves_the_wallet_as_it_was() {
    let desk = Desk::new();
    desk.text(&["wallet", "create", "savings"]);
    let refused = desk.run(&["wallet", "sync"]);
    assert!(
        refused.failure(2).contains("where to get blocks"),
        "{refused}"
    );
    let down = desk.run(&["wallet", "sync", "--source", "http://127.0.0.1:1"]);
    assert!(down.failure(1).contains("cannot be reached"), "{down}");
    let public = desk.run(&["wallet", "sync", "--source", "tcp://8.8.8.8:50001"]);
    assert!(public.failure(2).contains("in the clear"), "{public}");

    // blocks of long ago: a node that was restarted with them is behind
    let flags = ["-mocktime=1600000000"];
    let node = Bitcoind::start_empty(&desk.env, "busy", &flags);
    node.cli(["generatetodescriptor", "5", "raw(51)"]);
    node.stop();
    let node = Bitcoind::start_empty(&desk.env, "busy", &[]);
    desk.connect(&node);
    let busy = desk.run(&["wallet", "sync"]);
    assert!(busy.failure(1).contains("still downloading"), "{busy}");

    let cookie = desk.env.write("cookie", "alice:wrong");
    let locked = desk.run(&["wallet", "sync", "--cookie", cookie.to_str().unwrap()]);
    assert!(
        locked.failure(1).contains("does not accept the cookie"),
        "{locked}"
    );

    desk.env
        .bcm(["config", "set", "chain=signet"])
        .run()
        .success();
    desk.text(&["wallet", "create", "savings"]);
    let elsewhere = desk.run(&["wallet", "sync"]);
    assert!(
        elsewhere.failure(1).contains("another chain than signet"),
        "{elsewhere}"
    );
    assert_eq!(desk.total("savings"), 0);
}

/// How often a sync is killed, each time a little later.
const POINTS: u32 = 12;

#[test]
fn a_sync_that_is_killed_leaves_the_wallet_whole() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    let address = desk.address("savings");
    node.cli(["generatetoaddress", "1500", &address]);
    node.mine(1);
    desk.text(&["wallet", "sync"]);
    let held = desk.total("savings");
    assert!(held > 0);
    let whole = desk.run(&["wallet", "sync", "--rescan"]).elapsed;
    for part in 1..=POINTS {
        let running = desk.bcm(&["wallet", "sync", "--rescan"]).spawn();
        std::thread::sleep(whole * part / POINTS);
        running.kill();
        drop(running);
        // what was saved before, or nothing: never a part of a file
        let total = desk.total("savings");
        assert!([0, held].contains(&total), "{total} after {part}");
    }
    desk.text(&["wallet", "sync"]);
    assert_eq!(desk.total("savings"), held);
}

#[test]
fn the_owners_rules_are_checked_before_the_device_is_asked() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    node.pay(&desk.address("savings"), "1");
    node.mine(1);
    desk.text(&["wallet", "sync"]);
    let (friend, stranger) = (node.address(), node.address());
    let send = |to: &str, amount: &str, rate: &str| {
        desk.run(&["wallet", "send", to, amount, "--fee-rate", rate])
    };
    let rules = [
        "--max-fee-rate",
        "20",
        "--per-day",
        "0.3",
        "--allow",
        &friend,
        "--own-node",
        "on",
    ];
    desk.text(&[&["wallet", "policy"], &rules[..]].concat());
    let refused = [
        (send(&friend, "0.1", "21"), "allows 20 sat/vB"),
        (send(&stranger, "0.1", "2"), "does not allow to pay"),
        (send(&friend, "0.31", "2"), "in 24 hours"),
    ];
    for (output, expected) in refused {
        assert!(output.failure(1).contains(expected), "{output}");
        assert!(
            !output.stderr.contains("sign transaction"),
            "the device was asked\n{output}"
        );
    }
    send(&friend, "0.2", "2").success();
    let output = send(&friend, "0.2", "2");
    assert!(output.failure(1).contains("in 24 hours"), "{output}");

    // a rule goes by itself
    let rules = desk.json(&["wallet", "policy", "--per-day", "off", "--max-fee", "0.001"]);
    let left = ["allow", "max_fee", "max_fee_rate", "own_node"];
    let names = rules.as_object().unwrap().keys();
    assert_eq!(names.collect::<Vec<_>>(), left, "{rules}");
    send(&friend, "0.2", "2").success();

    // an address book is no node of one's own
    desk.text(&["wallet", "policy", "--clear", "--own-node", "on"]);
    let electrum = [
        "wallet",
        "send",
        &friend,
        "0.1",
        "--fee-rate",
        "2",
        "--source",
        "file:x",
    ];
    let output = desk.run(&electrum);
    output.failure(1);
    assert_eq!(
        desk.json(&["wallet", "records"]).as_array().unwrap().len(),
        2
    );
}

#[test]
fn the_rules_of_one_wallet_hold_for_it_alone() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    for (wallet, script) in [("savings", "p2wpkh"), ("spending", "p2tr")] {
        desk.text(&["wallet", "create", wallet, "--script", script]);
        node.pay(&desk.address(wallet), "1");
    }
    node.mine(1);
    for wallet in ["savings", "spending"] {
        desk.text(&["wallet", "sync", wallet]);
    }
    let to = node.address();
    let send = |wallet: &str, amount: &str, rate: &str| {
        let words = ["wallet", "send", &to, amount, "--fee-rate", rate];
        desk.run(&[&words[..], &["--wallet", wallet]].concat())
    };
    let rules = ["--max-fee-rate", "5", "--per-day", "0.1"];
    let of_savings = ["wallet", "policy", "--wallet", "savings"];
    desk.text(&[&of_savings[..], &rules[..]].concat());
    send("spending", "0.5", "6").success();
    let refused = send("savings", "0.01", "6");
    let said = refused.failure(1);
    assert!(
        said.contains("the wallet `savings` has its own rules"),
        "{refused}"
    );
    assert!(said.contains("allows 5 sat/vB"), "{refused}");
    assert!(!refused.stderr.contains("sign transaction"), "{refused}");
    // what left another wallet does not count
    send("savings", "0.06", "2").success();
    let refused = send("savings", "0.06", "2");
    assert!(refused.failure(1).contains("in 24 hours"), "{refused}");
    desk.text(&["wallet", "policy", "--max-fee-rate", "3"]);
    let refused = send("spending", "0.01", "4");
    assert!(refused.failure(1).contains("allows 3 sat/vB"), "{refused}");
    let nobody = desk.run(&["wallet", "policy", "--wallet", "saving", "--per-day", "1"]);
    assert!(
        nobody.error().unwrap().contains("no wallet `saving`"),
        "{nobody}"
    );
    let rules = desk.json(&of_savings);
    assert_eq!(
        rules,
        serde_json::json!({"max_fee_rate": 5, "per_day": 10_000_000})
    );
}

#[test]
fn the_own_node_refuses_a_coin_that_is_spent_or_worth_something_else() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    node.pay(&desk.address("savings"), "1");
    node.mine(1);
    desk.text(&["wallet", "sync"]);
    desk.text(&["wallet", "policy", "--own-node", "on"]);
    let to = node.address();
    let send = ["wallet", "send", &to, "0.1", "--fee-rate", "2"];

    let told = desk.text(&[&send[..], &["--unsigned"]].concat());
    let mut document = Document::parse(told.as_bytes()).unwrap();
    let input = &mut document.psbt.inputs[0];
    input.non_witness_utxo = None;
    input.witness_utxo.as_mut().unwrap().value = bitcoin::Amount::ONE_BTC * 2;
    let lie = desk.env.write("lie.psbt", document.to_base64());
    let refused = desk.run(&["psbt", "sign", lie.to_str().unwrap()]);
    let said = refused.failure(1);
    assert!(said.contains("it has another amount or owner"), "{refused}");

    // sent by other means: the wallet has not heard of it
    let signed = desk.json(&[&send[..], &["--no-broadcast"]].concat());
    node.cli([
        "sendrawtransaction",
        signed["transaction"].as_str().unwrap(),
    ]);
    let spent = desk.run(&send);
    assert!(
        spent.failure(1).contains("it is spent, or never was"),
        "{spent}"
    );
    for output in [&refused, &spent] {
        assert!(!output.stderr.contains("sign transaction"), "{output}");
    }
    desk.text(&["wallet", "sync"]);
    node.mine(1);
    desk.text(&["wallet", "sync"]);
    desk.text(&send);
}

#[test]
fn a_fee_out_of_proportion_has_to_be_typed() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    node.pay(&desk.address("savings"), "1");
    node.mine(1);
    desk.text(&["wallet", "sync"]);
    let to = node.address();
    let words = ["wallet", "send", &to, "10000sat", "--fee-rate", "50"];
    let refused = desk.run(&words);
    assert!(
        refused.failure(1).contains("% of what is sent"),
        "{refused}"
    );
    let fee = refused
        .hint()
        .unwrap()
        .split("--accept-fee ")
        .nth(1)
        .unwrap();
    let fee = fee.trim_end_matches('`').to_owned();
    let wrong = desk.run(&[&words[..], &["--accept-fee", "1"]].concat());
    wrong.failure(1);
    desk.text(&[&words[..], &["--accept-fee", &fee]].concat());
}

#[test]
fn what_is_known_of_wallets_lies_sealed_among_decoys() {
    let desk = Desk::new();
    desk.text(&["wallet", "create", "grandmothers-gold"]);
    let address = desk.address("grandmothers-gold");
    let files = crate::support::files(&desk.env.state());
    let mut documents = 0;
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in ["grandmothers-gold", &address, "SQLite", "wpkh", "tpub"] {
            assert!(!text.contains(secret), "{secret} in {}", file.display());
        }
        documents += usize::from(file.ends_with("wallets.sealed"));
    }
    assert!(documents > 3, "{documents}");
}
