//! The tables of keys and addresses that genuine firmware gave out.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use trezor_client::InputScriptType;
use trezor_client::protos::{Address, GetAddress, GetPublicKey, PublicKey};

use super::host::{Host, PASSPHRASE};
use crate::simulator::Simulator;

fn vectors<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn unlocked() -> Host {
    let mut host = Host::of(&Simulator::builder().build());
    host.initialize(None);
    host.open(PASSPHRASE).unwrap();
    host
}

fn path<'a>(components: impl IntoIterator<Item = &'a str>) -> Vec<u32> {
    let number = |component: &str| match component.strip_suffix('\'') {
        Some(number) => number.parse::<u32>().unwrap() | 1 << 31,
        None => component.parse().unwrap(),
    };
    components.into_iter().map(number).collect()
}

#[derive(Deserialize)]
struct Identities {
    keys: Vec<IdentityKey>,
}

#[derive(Deserialize)]
struct IdentityKey {
    identity: String,
    curve: String,
    path: Vec<String>,
    public_key: String,
}

#[test]
fn identity_keys_are_those_of_genuine_firmware() {
    let mut host = unlocked();
    let keys = vectors::<Identities>("identities.json").keys;
    assert_eq!(keys.len(), 132);
    for key in keys {
        let mut request = GetPublicKey::new();
        request.address_n = path(key.path.iter().map(String::as_str));
        request.set_ecdsa_curve_name(key.curve.clone());
        let told: PublicKey = host.call(&request);
        let public_key = hex::encode(told.node.public_key());
        assert_eq!(
            public_key, key.public_key,
            "{} on {}",
            key.identity, key.curve
        );
    }
}

#[derive(Deserialize)]
struct Wallets {
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    coin: String,
    script: String,
    path: String,
    xpub_as_shown: String,
    xpub_plain: String,
    descriptor: Option<String>,
    root_fingerprint: String,
    #[serde(default)]
    addresses: BTreeMap<String, String>,
}

fn script_type(account: &Account) -> InputScriptType {
    match &account.script[..] {
        "p2pkh" => InputScriptType::SPENDADDRESS,
        "p2sh-p2wpkh" | "p2sh-p2wsh multisig key" => InputScriptType::SPENDP2SHWITNESS,
        "p2wpkh" | "p2wsh multisig key" => InputScriptType::SPENDWITNESS,
        "p2tr" => InputScriptType::SPENDTAPROOT,
        other => panic!("script {other}"),
    }
}

#[test]
fn accounts_and_addresses_are_those_of_genuine_firmware() {
    let mut host = unlocked();
    let accounts = vectors::<Wallets>("wallets.json").accounts;
    assert_eq!(accounts.len(), 30);
    for account in accounts {
        let components: Vec<&str> = account.path.split('/').skip(1).collect();
        let script = script_type(&account);
        let mut request = GetPublicKey::new();
        request.address_n = path(components.iter().copied());
        request.set_coin_name(account.coin.clone());
        request.set_script_type(script);
        let told: PublicKey = host.call(&request);
        assert_eq!(told.xpub(), account.xpub_as_shown, "{}", account.path);
        assert_eq!(
            format!("{:08x}", told.root_fingerprint()),
            account.root_fingerprint
        );
        if account.descriptor.is_some() {
            assert_eq!(told.descriptor, account.descriptor);
        }
        request.set_ignore_xpub_magic(true);
        let told: PublicKey = host.call(&request);
        assert_eq!(told.xpub(), account.xpub_plain);

        for (place, address) in &account.addresses {
            let mut request = GetAddress::new();
            request.address_n = path(components.iter().copied().chain(place.split('/')));
            request.set_coin_name(account.coin.clone());
            request.set_script_type(script);
            let told: Address = host.call(&request);
            assert_eq!(
                told.address(),
                address,
                "{} {} {place}",
                account.coin,
                account.path
            );
        }
    }
}
