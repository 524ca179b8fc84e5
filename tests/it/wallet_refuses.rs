//! What wallets refuse: bad input, bad nodes, and what their owner forbade.

use std::time::Duration;

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

#[test]
fn a_sync_that_is_killed_leaves_the_wallet_whole() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    let address = desk.address("savings");
    node.cli(["generatetoaddress", "1500", &address]);
    node.mine(1);
    for delay in [300, 600, 900, 1200, 2000] {
        let running = desk.bcm(&["wallet", "sync", "--rescan"]).spawn();
        std::thread::sleep(Duration::from_millis(delay));
        running.kill();
        drop(running);
        desk.json(&["wallet", "balance"]);
    }
    desk.text(&["wallet", "sync"]);
    let held = desk.total("savings");
    desk.text(&["wallet", "sync", "--rescan"]);
    assert_eq!(desk.total("savings"), held);
    assert!(held > 0);
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

    // the node knows better than the wallet
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
        1
    );
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
