use bcm_keystore::Chain;

use super::*;
use crate::stack::Maintenance;

const THE_FOURTEEN: [&str; 14] = [
    "bitcoind",
    "btcpayserver",
    "clightning",
    "electrs",
    "electrum",
    "esplora",
    "lightning-charge",
    "liquid",
    "lnd",
    "nbxplorer",
    "ridethelightning",
    "spark",
    "tor",
    "zap",
];

fn stack_toml(name: &str, depends: &[&str]) -> String {
    format!(
        r#"
schema = 1
name = "{name}"
summary = "A stack"
kind = "service"
chains = ["regtest"]
depends = {depends:?}
[upstream]
url = "https://example.org"
license = "MIT"
version = "1"
[maintenance]
status = "maintained"
"#
    )
}

fn catalog(stacks: &[(&str, &[&str])]) -> Result<Catalog, CatalogError> {
    Catalog::from_files(
        stacks
            .iter()
            .map(|(name, depends)| (*name, stack_toml(name, depends))),
    )
}

fn names(stacks: &[&Stack]) -> Vec<String> {
    stacks.iter().map(|stack| stack.name.to_string()).collect()
}

#[test]
fn the_builtin_catalogue_holds_the_fourteen_stacks() {
    let catalog = Catalog::builtin();
    let found: Vec<_> = catalog.iter().map(|stack| stack.name.as_str()).collect();
    assert_eq!(found, THE_FOURTEEN);
}

#[test]
fn every_builtin_stack_starts_after_what_it_needs() {
    let catalog = Catalog::builtin();
    let order = catalog.start_order(THE_FOURTEEN).unwrap();
    let order = names(&order);
    assert_eq!(order.len(), 14);
    let at = |name: &str| order.iter().position(|other| other == name).unwrap();
    for stack in catalog.iter() {
        for needs in stack.depends.iter().chain(&stack.optional) {
            assert!(
                at(needs.as_str()) < at(stack.name.as_str()),
                "{needs} {}",
                stack.name
            );
        }
    }
    assert_eq!(order[0], "tor");
}

#[test]
fn an_unmaintained_stack_names_what_takes_its_place() {
    let catalog = Catalog::builtin();
    let mut unmaintained = Vec::new();
    for stack in catalog.iter() {
        if let Maintenance::Unmaintained { note, successors } = &stack.maintenance {
            assert!(!note.is_empty() && !successors.is_empty(), "{}", stack.name);
            unmaintained.push(stack.name.as_str());
        }
    }
    assert_eq!(unmaintained, ["lightning-charge", "spark", "zap"]);
}

#[test]
fn liquid_has_no_chain_beside_signet_or_testnet4() {
    let catalog = Catalog::builtin();
    let liquid = catalog.get("liquid").unwrap();
    assert!(liquid.runs_on(Chain::Mainnet) && liquid.runs_on(Chain::Regtest));
    assert!(!liquid.runs_on(Chain::Signet) && !liquid.runs_on(Chain::Testnet4));
}

#[test]
fn an_optional_stack_is_not_pulled_in_but_comes_first_when_wanted() {
    let catalog = Catalog::builtin();
    let alone = names(&catalog.start_order(["btcpayserver"]).unwrap());
    assert!(!alone.contains(&"lnd".to_owned()));
    let with = names(&catalog.start_order(["btcpayserver", "lnd"]).unwrap());
    assert_eq!(
        with,
        ["tor", "bitcoind", "nbxplorer", "lnd", "btcpayserver"]
    );
}

#[test]
fn the_order_does_not_depend_on_how_it_was_asked_for() {
    let catalog = Catalog::builtin();
    let one = names(&catalog.start_order(["zap", "electrum"]).unwrap());
    let other = names(&catalog.start_order(["electrum", "zap", "zap"]).unwrap());
    assert_eq!(one, other);
}

#[test]
fn stacks_that_need_each_other_are_refused_with_the_way_round() {
    let error = catalog(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stacks need each other: `b` -> `c` -> `b`"
    );
    let error = catalog(&[("a", &["a"])]).unwrap_err();
    assert_eq!(error.to_string(), "stacks need each other: `a` -> `a`");
}

#[test]
fn a_stack_that_needs_an_unknown_one_is_refused() {
    let error = catalog(&[("a", &["b"])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stack `a` needs `b`, which is not in the catalogue"
    );
}

#[test]
fn a_folder_and_its_stack_have_one_name() {
    let error = Catalog::from_files([("a", stack_toml("b", &[]))]).unwrap_err();
    assert_eq!(error.to_string(), "`a/stack.toml` describes `b`");
}

#[test]
fn one_name_is_one_stack() {
    let error = catalog(&[("a", &[]), ("a", &[])]).unwrap_err();
    assert_eq!(error.to_string(), "stack `a` is described twice");
}

#[test]
fn another_schema_is_refused_by_number() {
    let text = stack_toml("a", &[]).replace("schema = 1", "schema = 2");
    let error = Catalog::from_files([("a", text)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`a/stack.toml` has schema 2, this bcm reads schema 1"
    );
}

#[test]
fn unknown_and_missing_fields_are_refused_by_name() {
    use std::error::Error as _;
    for (from, to, named) in [
        ("summary", "sumary", "sumary"),
        ("license = \"MIT\"\n", "", "license"),
        ("\"maintained\"", "\"kept\"", "kept"),
        ("\"regtest\"", "\"testnet3\"", "testnet3"),
        ("status =", "colour = 1\nstatus =", "colour"),
        (
            "version = \"1\"",
            "version = \"1\"\nversion = \"2\"",
            "version",
        ),
    ] {
        let text = stack_toml("a", &[]).replace(from, to);
        let error = Catalog::from_files([("a", text)]).unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(source.contains(named), "{named}: {source}");
    }
}

#[test]
fn an_unknown_stack_is_answered_with_the_known_ones() {
    let catalog = Catalog::builtin();
    let error = catalog.get("tor\u{1b}[2J").unwrap_err();
    assert_eq!(error.to_string(), "unknown stack `tor\\u{1b}[2J`");
    assert!(error.hint().unwrap().contains("bitcoind, btcpayserver"));
}
