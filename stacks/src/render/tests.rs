use std::collections::BTreeMap;

use super::*;
use crate::stack::{EnvValue, Kind, OptionValue};

/// A digest for what has none, as somebody who built the images would choose.
pub(crate) fn everything(chain: Chain) -> (Catalog, Configuration) {
    let catalog = Catalog::builtin();
    let names = catalog
        .iter()
        .filter(|stack| stack.runs_on(chain))
        .map(|stack| stack.name.clone());
    let mut configuration = Configuration::new(chain, names);
    configuration.host = Some("node-1".parse().unwrap());
    for stack in catalog.iter().filter(|stack| stack.runs_on(chain)) {
        let mut images = BTreeMap::new();
        for service in &stack.services {
            let image = stack.images_of(service, chain).next().unwrap();
            let safe = stack
                .upstream
                .minimum_safe_version
                .as_ref()
                .is_none_or(|least| image.version >= *least);
            if image.reference.is_none() || !safe {
                images.insert(
                    service.name.clone(),
                    crate::ImageChoice {
                        variant: None,
                        reference: Some(
                            format!("sha256:{}", hex::encode([7; 32])).parse().unwrap(),
                        ),
                        version: Some(stack.upstream.version.clone()),
                    },
                );
            }
        }
        configuration.images.insert(stack.name.clone(), images);
    }
    (catalog, configuration)
}

#[test]
fn all_fourteen_render_on_every_chain_that_they_run_on() {
    for chain in Chain::ALL {
        let (catalog, configuration) = everything(chain);
        let rendered = render(&catalog, &configuration, &Secrets::preview()).unwrap();
        let mut services = 0;
        for stack in &rendered.stacks {
            let desktop = catalog.get(stack.name.as_str()).unwrap().kind == Kind::Desktop;
            assert_eq!(stack.services.is_empty(), desktop, "{}", stack.name);
            services += stack.services.len();
            for file in stack.services.iter().flat_map(|service| &service.files) {
                assert!(
                    !file.content.bytes().is_empty(),
                    "{} {}",
                    stack.name,
                    file.path
                );
                let text = std::str::from_utf8(file.content.bytes());
                assert!(
                    text.is_err()
                        || !text.unwrap().contains('\u{1}')
                        || file.path.contains("onion"),
                    "{}",
                    file.path
                );
            }
        }
        let mainnet = matches!(chain, Chain::Mainnet | Chain::Regtest);
        assert_eq!(services, if mainnet { 14 } else { 11 }, "{chain}");
    }
}

fn regtest(stacks: &[&str]) -> Configuration {
    let mut configuration = everything(Chain::Regtest).1;
    configuration.stacks = stacks.iter().map(|name| name.parse().unwrap()).collect();
    configuration
}

fn file(configuration: &Configuration, path: &str) -> String {
    let rendered = render(&Catalog::builtin(), configuration, &Secrets::preview()).unwrap();
    let files = rendered
        .stacks
        .iter()
        .flat_map(|stack| &stack.services)
        .flat_map(|service| &service.files);
    let file = files
        .into_iter()
        .find(|file| file.path == path)
        .expect(path);
    String::from_utf8(file.content.bytes().to_vec()).unwrap()
}

fn refused(configuration: &Configuration) -> RenderError {
    render(&Catalog::builtin(), configuration, &Secrets::preview()).unwrap_err()
}

#[test]
fn bitcoind_lets_in_those_that_run_and_only_for_what_they_need() {
    let alone = file(&regtest(&["bitcoind"]), "/etc/bitcoin/bitcoin.conf");
    assert!(!alone.contains("rpcauth="), "{alone}");
    let with = file(&regtest(&["lnd", "electrs"]), "/etc/bitcoin/bitcoin.conf");
    assert!(
        with.contains("rpcauth=lnd:") && with.contains("rpcwhitelist=electrs:getnetworkinfo,"),
        "{with}"
    );
    assert!(
        !with.contains("rpcuser") && !with.contains("rpcpassword"),
        "{with}"
    );
}

#[test]
fn the_way_from_bitcoind_to_electrs_fits_its_release() {
    let conf = |configuration: &Configuration| file(configuration, "/etc/bitcoin/bitcoin.conf");
    let mut configuration = regtest(&["electrs"]);
    assert!(conf(&configuration).contains("rest=1\n"));
    assert!(!file(&configuration, "/etc/electrs/electrs.toml").contains("daemon_p2p_addr"));
    let choice = crate::ImageChoice {
        variant: Some("p2p".parse().unwrap()),
        ..Default::default()
    };
    configuration.images.insert(
        "electrs".parse().unwrap(),
        [("electrs".parse().unwrap(), choice)].into(),
    );
    assert!(conf(&configuration).contains("rest=0\n"));
    assert!(file(&configuration, "/etc/electrs/electrs.toml").contains("daemon_p2p_addr"));
}

#[test]
fn no_secret_is_in_a_public_file_or_a_word() {
    for chain in Chain::ALL {
        let (catalog, configuration) = everything(chain);
        let secrets = Secrets::preview();
        let rendered = render(&catalog, &configuration, &secrets).unwrap();
        let ids = needed_secrets(&catalog, &configuration).unwrap();
        assert!(ids.len() > 10);
        for id in ids {
            let value = secrets.get(&id).unwrap();
            let mut used = false;
            for service in rendered.stacks.iter().flat_map(|stack| &stack.services) {
                for word in service
                    .command
                    .iter()
                    .chain(&service.args)
                    .chain(&service.env)
                {
                    assert!(!word.contains(value.expose()), "{id} {word}");
                }
                for file in &service.files {
                    let text = String::from_utf8_lossy(file.content.bytes());
                    let inside = text.contains(value.expose());
                    assert!(
                        !inside || matches!(file.content, Content::Secret(_)),
                        "{id} {}",
                        file.path
                    );
                    used |= inside;
                }
            }
            let derived =
                id.name.as_str().starts_with("onion-") || id.stack.as_str() == "ridethelightning";
            assert!(used || derived, "{id} is used nowhere");
        }
    }
}

#[test]
fn what_is_unsafe_on_mainnet_is_refused_there_and_marked_elsewhere() {
    let mut configuration = Configuration::new(Chain::Mainnet, ["tor".parse().unwrap()]);
    let error = refused(&configuration);
    assert_eq!(
        error.to_string(),
        "`tor` 0.4.9.11 is older than 0.4.9.13, the oldest that is safe on mainnet"
    );
    assert!(error.hint().unwrap().contains("--below-minimum tor"));
    let marked = |configuration: &Configuration| {
        let rendered = render(&Catalog::builtin(), configuration, &Secrets::preview()).unwrap();
        rendered
            .warnings
            .iter()
            .any(|it| matches!(it, Warning::BelowMinimum { .. }))
    };
    configuration.below_minimum.insert("tor".parse().unwrap());
    assert!(marked(&configuration));
    configuration.below_minimum.clear();
    configuration.chain = Chain::Signet;
    assert!(marked(&configuration));
}

#[test]
fn without_a_digest_nothing_is_pulled() {
    let mut configuration = regtest(&["liquid"]);
    configuration.images.clear();
    let error = refused(&configuration);
    assert_eq!(
        error.to_string(),
        "no digest is known for the image of `elementsd` in `liquid`: nothing is pulled by a tag"
    );
    assert!(
        error
            .hint()
            .unwrap()
            .contains("elements-23.3.4-x86_64-linux-gnu.tar.gz")
    );
}

#[test]
fn knots_serves_regtest_only() {
    let mut configuration = regtest(&["bitcoind"]);
    let choice = crate::ImageChoice {
        variant: Some("knots".parse().unwrap()),
        reference: Some(format!("sha256:{}", hex::encode([1; 32])).parse().unwrap()),
        version: None,
    };
    configuration.images.insert(
        "bitcoind".parse().unwrap(),
        [("bitcoind".parse().unwrap(), choice)].into(),
    );
    render(&Catalog::builtin(), &configuration, &Secrets::preview()).unwrap();
    for chain in [Chain::Mainnet, Chain::Testnet4, Chain::Signet] {
        configuration.chain = chain;
        configuration.below_minimum.insert("tor".parse().unwrap());
        let error = refused(&configuration).to_string();
        assert_eq!(
            error,
            format!("service `bitcoind` of `bitcoind` has no image `knots` on {chain}")
        );
    }
}

#[test]
fn choices_that_cannot_be_are_refused() {
    let set = |configuration: &mut Configuration, stack: &str, name: &str, value| {
        let options = configuration
            .options
            .entry(stack.parse().unwrap())
            .or_default();
        options.insert(name.parse().unwrap(), value);
    };
    let mut configuration = regtest(&["electrs"]);
    set(
        &mut configuration,
        "bitcoind",
        "prune",
        OptionValue::Number(550),
    );
    assert_eq!(
        refused(&configuration).to_string(),
        "`electrs` needs every block, and `bitcoind` is set to `prune=550`"
    );
    set(
        &mut configuration,
        "bitcoind",
        "prune",
        OptionValue::Number(-1),
    );
    assert_eq!(
        refused(&configuration).to_string(),
        "option `prune` of `bitcoind` does not take `-1`"
    );
    set(
        &mut configuration,
        "bitcoind",
        "prune",
        OptionValue::Bool(true),
    );
    assert!(matches!(
        refused(&configuration),
        RenderError::OptionValue { .. }
    ));
    configuration.options.clear();
    set(
        &mut configuration,
        "tor",
        "relay",
        OptionValue::Text("exit".parse::<EnvValue>().unwrap()),
    );
    assert!(matches!(
        refused(&configuration),
        RenderError::OptionValue { .. }
    ));
    configuration.options.clear();
    set(
        &mut configuration,
        "electrs",
        "fast",
        OptionValue::Bool(true),
    );
    assert_eq!(
        refused(&configuration).to_string(),
        "stack `electrs` has no option `fast`"
    );

    let mut configuration = regtest(&["spark"]);
    configuration
        .hosts
        .insert("spark".parse().unwrap(), "node-2".parse().unwrap());
    assert_eq!(
        refused(&configuration).to_string(),
        "`spark` and `clightning` share a volume, and are placed on `node-2` and `node-1`"
    );
    let configuration = Configuration::new(Chain::Signet, ["liquid".parse().unwrap()]);
    assert_eq!(
        refused(&configuration).to_string(),
        "stack `liquid` does not run on signet"
    );
}

#[test]
fn electrum_speaks_to_the_near_end_of_a_tunnel_and_to_nobody_else() {
    let configuration = regtest(&["electrum"]);
    let near = "127.0.0.1:4711".parse().unwrap();
    let name = "electrum".parse().unwrap();
    let (words, files) = render_desktop(
        &Catalog::builtin(),
        &configuration,
        &Secrets::preview(),
        &name,
        near,
    )
    .unwrap();
    assert_eq!(
        words,
        [
            "electrum",
            "--regtest",
            "--oneserver",
            "--server",
            "127.0.0.1:4711:t"
        ]
    );
    let config: serde_json::Value = serde_json::from_str(&files["config"]).unwrap();
    assert_eq!(config["server"], "127.0.0.1:4711:t");
    assert_eq!(config["auto_connect"], false);
}

#[test]
fn two_that_call_themselves_alike_are_refused() {
    let text = |name: &str| {
        Catalog::builtin()
            .get("electrs")
            .map(|stack| {
                let mut stack = serde_json::to_value(stack).unwrap();
                stack["name"] = name.into();
                toml::to_string(&stack_without_nulls(stack)).unwrap()
            })
            .unwrap()
    };
    let builtin = |name: &str| crate::catalog::tests_folder(name);
    let mut mine = builtin("electrs");
    mine.name = "my-electrs".into();
    mine.stack = text("my-electrs");
    let catalog = Catalog::from_folders([
        builtin("tor"),
        builtin("bitcoind"),
        builtin("electrs"),
        mine,
    ])
    .unwrap();
    let mut configuration = regtest(&["electrs", "my-electrs"]);
    configuration
        .images
        .insert("my-electrs".parse().unwrap(), BTreeMap::new());
    let error = render(&catalog, &configuration, &Secrets::preview())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "`electrs` and `my-electrs` both want to be the user `electrs` of `bitcoind`"
    );
}

fn stack_without_nulls(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                fields
                    .map(|(name, value)| (name, stack_without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(stack_without_nulls).collect()),
        other => other,
    }
}
