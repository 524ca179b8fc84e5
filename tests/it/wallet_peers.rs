//! Wallets and PSBTs between bcm and Electrum, and a node that is reached through a real Tor.

use std::path::PathBuf;
use std::time::Duration;

use bcm_tests::{Bitcoind, Electrs, Electrum, TorNetwork, wait_until};
use serde_json::Value;

use crate::wallet::{Desk, shared_wallet};

/// The seed of another cosigner.
const ZOO: &str = "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong";

/// Writes a wallet out as Electrum's file.
fn export(desk: &Desk, wallet: &str) -> PathBuf {
    let file = desk.text(&["wallet", "export", wallet, "--format", "electrum"]);
    desk.env.write(&format!("{wallet}.electrum"), file)
}

fn addresses(electrum: &Electrum<'_>, which: &str) -> Vec<String> {
    serde_json::from_str(&electrum.run(["listaddresses", which])).unwrap()
}

/// Pays half a bitcoin to the wallet, and tells Electrum.
fn fund(desk: &Desk, node: &Bitcoind, wallet: &str, electrum: &Electrum<'_>) {
    let paid = node.pay(&desk.address(wallet), "0.5");
    node.mine(1);
    let paid = node.cli(["-rpcwallet=miner", "gettransaction", &paid]);
    let paid: Value = serde_json::from_str(&paid).unwrap();
    electrum.run(["addtransaction", paid["hex"].as_str().unwrap()]);
}

#[test]
fn electrum_opens_an_exported_wallet_and_lists_the_same_addresses() {
    let desks = [Desk::new(), Desk::with_seed(ZOO)];
    let desk = &desks[0];
    let kinds = ["p2pkh", "p2sh-p2wpkh", "p2wpkh"];
    let shared = ["p2sh", "p2sh-p2wsh", "p2wsh"];
    for kind in kinds {
        desk.text(&["wallet", "create", kind, "--script", kind]);
    }
    for script in shared {
        shared_wallet(&desks, script);
    }
    for name in kinds.into_iter().chain(shared) {
        let file = export(desk, name);
        let theirs = addresses(&Electrum::open(&desk.env, &file), "--receiving");
        for address in &theirs[..3] {
            assert_eq!(desk.address(name), *address, "{name}");
        }
    }
}

#[test]
fn a_payment_that_electrum_makes_is_signed_made_final_and_confirmed() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    for kind in ["p2wpkh", "p2sh-p2wpkh", "p2pkh"] {
        desk.text(&["wallet", "create", kind, "--script", kind]);
        let file = export(&desk, kind);
        let electrum = Electrum::open(&desk.env, &file);
        fund(&desk, &node, kind, &electrum);
        let to = node.address();
        let psbt = electrum.run(["payto", &to, "0.2", "--unsigned", "--feerate", "3"]);

        let unsigned = desk.env.write(&format!("{kind}.psbt"), psbt);
        let unsigned = unsigned.to_str().unwrap();
        let shown = desk.json(&["psbt", "show", unsigned]);
        let change = shown["outputs"].as_array().unwrap().iter();
        assert_eq!(
            change.filter(|output| output["is_change"] == true).count(),
            1,
            "{shown}"
        );
        let signed = desk.env.path().join(format!("{kind}.signed"));
        let signed = signed.to_str().unwrap();
        let told = desk.json(&["psbt", "sign", unsigned, "-o", signed]);
        assert_eq!(told["signed_inputs"].as_array().unwrap().len(), 1);
        // the payment and the fee are confirmed, what comes back is not asked about
        let confirmed = told["confirmed"].to_string();
        assert!(confirmed.contains(&to), "{confirmed}");
        assert_eq!(confirmed.matches(" to ").count(), 1, "{confirmed}");

        let done = desk.env.path().join(format!("{kind}.final"));
        let done = done.to_str().unwrap();
        desk.text(&["psbt", "finalize", signed, "-o", done]);
        let raw = desk.text(&["psbt", "extract", done]);
        let read: Value = serde_json::from_str(&electrum.run(["deserialize", &raw])).unwrap();
        assert_eq!(read["outputs"].as_array().unwrap().len(), 2, "{read}");
        let txid = desk.text(&["psbt", "broadcast", done]);
        electrum.run(["addtransaction", &raw]);
        let history = electrum.run(["onchain_history"]);
        assert!(history.contains(&txid), "{history}");
        node.mine(1);
        desk.text(&["wallet", "sync", kind]);
        let balance: Value = serde_json::from_str(&electrum.run(["getbalance"])).unwrap();
        let held = bitcoin::Amount::from_sat(desk.total(kind)).to_btc();
        assert!(balance.to_string().contains(&held.to_string()), "{balance}");
    }
}

#[test]
fn keys_that_electrum_names_by_a_bare_account_key_are_found() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    // as somebody who types the master public key into Electrum and nothing else
    let file = export(&desk, "savings");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut bare: Value = serde_json::from_str(&text).unwrap();
    bare["keystore"]["root_fingerprint"] = Value::Null;
    let file = desk.env.write("bare.electrum", bare.to_string());
    let electrum = Electrum::open(&desk.env, &file);
    fund(&desk, &node, "savings", &electrum);
    let to = node.address();
    let psbt = electrum.run(["payto", &to, "0.2", "--unsigned", "--feerate", "3"]);
    let unsigned = desk.env.write("unsigned.psbt", psbt);
    let signed = desk.env.path().join("signed.psbt");
    let (unsigned, signed) = (unsigned.to_str().unwrap(), signed.to_str().unwrap());
    let told = desk.json(&["psbt", "sign", unsigned, "-o", signed]);
    let confirmed = told["confirmed"].to_string();
    // the change is known to come back
    assert_eq!(confirmed.matches(" to ").count(), 1, "{confirmed}");
    let txid = desk.text(&["psbt", "broadcast", signed]);
    assert!(node.cli(["getrawmempool"]).contains(&txid));
}

#[test]
fn two_devices_sign_what_electrum_made_for_their_common_wallet() {
    let desks = [Desk::new(), Desk::with_seed(ZOO)];
    let node = Bitcoind::start(&desks[0].env);
    for desk in &desks {
        desk.connect(&node);
    }
    shared_wallet(&desks, "p2wsh");
    let file = export(&desks[0], "p2wsh");
    let electrum = Electrum::open(&desks[0].env, &file);
    fund(&desks[0], &node, "p2wsh", &electrum);
    let psbt = electrum.run([
        "payto",
        &node.address(),
        "0.2",
        "--unsigned",
        "--feerate",
        "3",
    ]);
    let mut file = desks[0].env.write("made.psbt", psbt);
    for desk in &desks {
        let signed = desk.env.path().join("signed.psbt");
        desk.text(&[
            "psbt",
            "sign",
            file.to_str().unwrap(),
            "-o",
            signed.to_str().unwrap(),
        ]);
        file = signed;
    }
    let txid = desks[1].text(&["psbt", "broadcast", file.to_str().unwrap()]);
    assert!(node.cli(["getrawmempool"]).contains(&txid));
}

#[test]
fn a_node_and_an_electrum_server_behind_onions_are_reached_through_tor() {
    let desk = Desk::new();
    let node = Bitcoind::start(&desk.env);
    desk.connect(&node);
    desk.text(&["wallet", "create", "savings"]);
    node.pay(&desk.address("savings"), "0.1");
    node.mine(1);
    let server = Electrs::start(&desk.env, &node);
    let tor = TorNetwork::shared();
    let socks = format!("wallet.tor={}", tor.socks());
    desk.env.bcm(["config", "set", &socks]).run().success();
    for (scheme, port) in [("http", node.port()), ("tcp", server.port())] {
        let source = format!("{scheme}://{}:{port}", tor.onion_service(port));
        desk.text(&["wallet", "sync"]);
        let held = desk.total("savings");
        wait_until("it has the last block", Duration::from_secs(60), || {
            desk.text(&["wallet", "sync", "--rescan", "--source", &source]);
            (desk.total("savings") == held).then_some(())
        });
        let send = ["wallet", "send", &node.address(), "0.01", "--fee-rate", "2"];
        let sent = desk.text(&[&send[..], &["--source", &source]].concat());
        assert!(node.cli(["getrawmempool"]).contains(&sent), "{scheme}");
        node.mine(1);
    }
    // a name that nobody has
    let nobody = "explorerzydxu5ecjrkwceayqybizmpjjznk5izmitf2modhcusuqlid.onion";
    let source = format!("http://{nobody}:8332");
    let gone = desk.run(&["wallet", "sync", "--source", &source]);
    assert!(gone.failure(1).contains("cannot be reached"), "{gone}");
}
