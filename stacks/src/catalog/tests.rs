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
restore = "nothing to restore"
[upstream]
url = "https://example.org"
license = "MIT"
version = "1"
[maintenance]
status = "maintained"
[[secret]]
name = "key"
purpose = "opens it"
[[image]]
service = "main"
variant = "only"
version = "1"
source = "nobody"
[[volume]]
name = "data"
holds = "data"
backup = {{ keep = false, reason = "none" }}
[[service]]
name = "main"
user = "1:1"
args = ["one"]
limits = {{ memory_mb = 64, pids = 16, disk_gb = 1 }}
stop_grace_s = 10
start_limit_s = 10
ports = {{ all = {{ http = 80, more = 81 }} }}
mount = [{{ volume = "data", path = "/data" }}]
file = [{{ template = "conf", path = "/etc/conf" }}]
ready = {{ exec = ["true"] }}
"#
    )
}

fn folder(name: &str, stack: impl Into<String>) -> Folder {
    Folder {
        name: name.into(),
        stack: stack.into(),
        templates: [("conf".parse().unwrap(), "on {{ chain }}".into())].into(),
    }
}

fn catalog(stacks: &[(&str, &[&str])]) -> Result<Catalog, CatalogError> {
    let text = |(name, depends): &(&str, &[&str])| folder(name, stack_toml(name, depends));
    Catalog::from_folders(stacks.iter().map(text))
}

fn one(text: impl Into<String>) -> Result<Catalog, CatalogError> {
    Catalog::from_folders([folder("a", text)])
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
            assert!(
                !note.as_str().is_empty() && !successors.is_empty(),
                "{}",
                stack.name
            );
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
    let error = one(stack_toml("b", &[])).unwrap_err();
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
    let error = one(text).unwrap_err();
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
        ("holds", "hold", "hold"),
        ("stop_grace_s = 10\n", "", "stop_grace_s"),
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
        let error = one(text).unwrap_err();
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

/// One mistake each, in what is otherwise fine.
#[test]
fn what_does_not_fit_together_is_named() {
    use std::error::Error as _;
    one(stack_toml("a", &[])).unwrap();
    for (from, to, said) in [
        (
            "service = \"main\"",
            "service = \"mine\"",
            "names the service `mine`, which is not there",
        ),
        (
            "volume = \"data\"",
            "volume = \"date\"",
            "names the volume `date`, which is not there",
        ),
        (
            "more = 81",
            "more = 80",
            "service `main` has the port 80 twice on regtest",
        ),
        (
            "template = \"conf\"",
            "template = \"cont\"",
            "names the template `cont`, which is not there",
        ),
        (
            "file = [{ template = \"conf\", path = \"/etc/conf\" }]\n",
            "",
            "nothing uses the file `conf`",
        ),
        (
            "path = \"/etc/conf\"",
            "path = \"/data\"",
            "path `/data` is there twice",
        ),
        (
            "ready = { exec = [\"true\"] }",
            "ready = {}",
            "has to have one of `exec`, `http`, `electrum`",
        ),
        (
            "args = [\"one\"]",
            "egress = true",
            "`egress`, which the stack `tor` alone may have",
        ),
        (
            "args = [\"one\"]",
            "uses = [\"tor\"]",
            "`tor`, which is neither in `depends` nor in `optional`",
        ),
        (
            "kind = \"service\"",
            "kind = \"desktop\"",
            "a stack of kind `desktop` has services",
        ),
        (
            "chains = [\"regtest\"]",
            "chains = []",
            "the list of chains is empty",
        ),
        (
            "pids = 16",
            "pids = 0",
            "`pids` of 0, which is not between 4 and 32768",
        ),
        (
            "[[secret]]",
            "[[option]]\nname = \"x\"\nabout = \"x\"\ndefault = 7\nmax = 3\n[[secret]]",
            "option `x` does not take its own default",
        ),
        (
            "[[secret]]",
            "[[image]]\nservice = \"main\"\nvariant = \"only\"\nversion = \"1\"\nsource = \"x\"\n[[secret]]",
            "image `main only` is there twice",
        ),
    ] {
        let text = stack_toml("a", &[]);
        assert!(text.contains(from), "{from}");
        let error = one(text.replacen(from, to, 1)).unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(source.contains(said), "{said}: {source}");
    }
}

#[test]
fn tricks_of_a_shell_or_a_path_are_refused_where_they_stand() {
    use std::error::Error as _;
    for (from, to) in [
        ("args = [\"one\"]", "args = [\"$(id)\"]"),
        ("args = [\"one\"]", "args = [\"a;b\"]"),
        ("path = \"/data\"", "path = \"/data/../etc\""),
        ("path = \"/data\"", "path = \"data\""),
        ("template = \"conf\"", "template = \"../conf\""),
        ("user = \"1:1\"", "user = \"root\""),
        ("name = \"main\"", "name = \"ma/in\""),
        ("https://example.org", "https://example.org/$(id)"),
        ("\"A stack\"", "\"A \\u001b[2Jstack\""),
        (
            "source = \"nobody\"",
            "reference = \"bitcoin/bitcoin:latest\"\nsource = \"x\"",
        ),
    ] {
        let text = stack_toml("a", &[]);
        assert!(text.contains(from), "{from}");
        let error = one(text.replacen(from, to, 1)).unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(
            source.contains("line") && !source.contains('\u{1b}'),
            "{to}: {source}"
        );
    }
}

#[test]
fn a_folder_on_disk_joins_the_catalogue_and_its_tricks_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("a");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("stack.toml"), stack_toml("a", &["tor"])).unwrap();
    let needs_all = Catalog::with_folder(dir.path()).unwrap_err().to_string();
    assert_eq!(needs_all, "stack `a` does not fit together");
    std::fs::write(mine.join("conf"), "x").unwrap();
    assert_eq!(Catalog::with_folder(dir.path()).unwrap().iter().count(), 15);
    assert_eq!(Catalog::lint(&mine).unwrap().1.as_str(), "a");

    std::os::unix::fs::symlink("/etc/passwd", mine.join("link")).unwrap();
    let error = Catalog::lint(&mine).unwrap_err().to_string();
    assert!(error.ends_with("link` is not a file"), "{error}");
    std::fs::remove_file(mine.join("link")).unwrap();
    std::fs::write(mine.join("conf"), vec![b'x'; 70_000]).unwrap();
    let error = Catalog::lint(&mine).unwrap_err().to_string();
    assert!(error.contains("longer than"), "{error}");
    std::fs::write(mine.join("conf"), [0xff]).unwrap();
    let error = Catalog::lint(&mine).unwrap_err().to_string();
    assert!(error.ends_with("is not UTF-8 text"), "{error}");
    let error = Catalog::lint(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("a` is not a file"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = Catalog::lint(empty.path()).unwrap_err().to_string();
    assert!(error.ends_with("has no `stack.toml`"), "{error}");

    std::fs::rename(&mine, dir.path().join("tor")).unwrap();
    std::fs::write(dir.path().join("tor/conf"), "x").unwrap();
    std::fs::write(dir.path().join("tor/stack.toml"), stack_toml("tor", &[])).unwrap();
    let error = Catalog::with_folder(dir.path()).unwrap_err().to_string();
    assert_eq!(error, "stack `tor` is described twice");
}

#[test]
fn a_graph_is_drawn_in_three_ways() {
    use crate::graph::{GraphFormat, draw};
    let catalog = Catalog::builtin();
    let order = catalog
        .order_on(Chain::Regtest, ["btcpayserver", "lnd"])
        .unwrap();
    assert_eq!(
        draw(&order, GraphFormat::Text),
        "tor\nbitcoind -> tor\nnbxplorer -> bitcoind\nlnd -> tor bitcoind\n\
         btcpayserver -> bitcoind nbxplorer tor (lnd)"
    );
    let dot = draw(&order, GraphFormat::Dot);
    assert!(
        dot.contains("\"btcpayserver\" -> \"lnd\" [style=dashed];"),
        "{dot}"
    );
    let mermaid = draw(&order, GraphFormat::Mermaid);
    assert!(mermaid.contains("    bitcoind --> tor\n"), "{mermaid}");
}
