use super::call::in_bounds;
use super::*;

fn operation(method: &str, path: &str, body: Value) -> Operation {
    let mut operation = serde_json::json!({ "stack": "tor", "method": method, "path": path });
    if !body.is_null() {
        operation["body"] = body;
    }
    serde_json::from_value(operation).unwrap()
}

#[test]
fn nothing_but_what_is_named_after_the_chain_is_touched() {
    let name = |name: &str| serde_json::json!({ "Name": name });
    for (method, path, body, good) in [
        ("POST", "/services/create", name("bcm-regtest-tor"), true),
        ("POST", "/services/create", name("bcm-mainnet-tor"), false),
        ("POST", "/services/create", name("web"), false),
        ("POST", "/services/create", Value::Null, false),
        ("DELETE", "/volumes/bcm-regtest-tor-data", Value::Null, true),
        (
            "DELETE",
            "/volumes/bcm-mainnet-tor-data",
            Value::Null,
            false,
        ),
        ("DELETE", "/volumes/bcm-regtest-/../x", Value::Null, false),
        ("DELETE", "/nodes/bcm-regtest-x", Value::Null, false),
        ("POST", "/swarm/leave", Value::Null, false),
        ("POST", "/containers/bcm-regtest-x/exec", Value::Null, false),
        (
            "POST",
            "/containers/create?name=bcm-regtest-x",
            Value::Null,
            true,
        ),
        ("POST", "/containers/create?name=x", Value::Null, false),
        (
            "POST",
            "/images/create?fromImage=x&tag=latest",
            Value::Null,
            false,
        ),
        (
            "POST",
            "/images/create?fromImage=x&tag=sha256:00",
            Value::Null,
            true,
        ),
        ("POST", "/secrets/create", name("bcm-regtest-x"), false),
    ] {
        let found = in_bounds(&operation(method, path, body), Chain::Regtest);
        assert_eq!(found.is_ok(), good, "{method} {path}");
    }
}

#[test]
fn a_stack_comes_after_what_it_waits_for() {
    let name = |name: &str| name.parse::<StackName>().unwrap();
    let order = [
        (name("tor"), vec![]),
        (name("bitcoind"), vec![name("tor")]),
        (name("electrs"), vec![name("bitcoind")]),
        (name("lnd"), vec![name("bitcoind")]),
    ];
    let rows = levels(&order, &[]);
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|row| row.iter().map(StackName::as_str).collect())
        .collect();
    assert_eq!(
        rows,
        [&["tor"][..], &["bitcoind"], &["electrs", "lnd"], &[]]
    );
}
