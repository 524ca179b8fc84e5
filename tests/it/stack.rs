//! `stack list`, `lint`, `plan` and `graph`: what can be told without a device and without a host.

use std::fs;

use bcm_tests::{Output, TestEnv};
use expect_test::expect;
use serde_json::Value;

fn stack(env: &TestEnv, words: &[&str]) -> Output {
    env.bcm(["stack"].iter().chain(words).copied()).run()
}

fn plan(env: &TestEnv, words: &[&str]) -> Output {
    let words: Vec<_> = ["plan", "--offline", "--chain", "regtest"]
        .iter()
        .chain(words)
        .copied()
        .collect();
    stack(env, &words)
}

#[test]
fn a_plan_says_what_it_would_make() {
    let env = TestEnv::new();
    let output = plan(&env, &["tor"]);
    let stdout = output.success();
    let told: Vec<_> = stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    expect![[r#"
        + tor network bcm-regtest-tor
        + tor network bcm-regtest-tor-egress
        + tor image ghcr.io/getumbrel/tor:0.4.9.11@sha256:e382b8629c0dfef6ceb396b062622d4e4e955b19d6f16b883fd2c0723ad5671a
        + tor volume bcm-regtest-tor-data
        + tor config tor:/etc/tor/torrc
        + tor config tor:/etc/tor/run.sh
        + tor service bcm-regtest-tor-tor"#]]
    .assert_eq(&told.join("\n"));
    assert!(
        output
            .stderr
            .contains("7 to create, 0 to change, 0 to remove; 11 calls"),
        "{output}"
    );
    assert!(
        output
            .stderr
            .contains("`tor` 0.4.9.11 is older than 0.4.9.13"),
        "{output}"
    );
    assert!(
        output.stderr.contains("nothing of this can be signed"),
        "{output}"
    );
}

#[test]
fn a_plan_as_json_is_the_same_each_time_and_holds_the_exact_calls() {
    let env = TestEnv::new();
    let ask = || plan(&env, &["--json", "electrs"]).success().to_owned();
    let first = ask();
    assert_eq!(first, ask());
    let plan: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(
        (&plan["chain"], &plan["preview"]),
        (&Value::from("regtest"), &Value::from(true))
    );
    let calls = plan["operations"].as_array().unwrap();
    let paths: Vec<_> = calls
        .iter()
        .map(|call| call["path"].as_str().unwrap())
        .collect();
    assert!(paths.contains(&"/services/create") && paths.contains(&"/secrets/create"));
    for call in calls {
        let secret = call["path"] == "/secrets/create";
        assert_eq!(call.get("bodySha256").is_some(), secret);
        assert!(!secret || call.get("body").is_none());
    }
    let order: Vec<_> = plan["order"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it[0].as_str().unwrap())
        .collect();
    assert_eq!(order, ["tor", "bitcoind", "electrs"]);
}

#[test]
fn choices_change_the_plan() {
    let env = TestEnv::new();
    let output = plan(
        &env,
        &["--diff", "--set", "bitcoind.dbcache=2048", "bitcoind"],
    );
    assert!(output.success().contains("+dbcache=2048"), "{output}");
    let built = format!("bitcoind/bitcoind=knots,sha256:{}", "a".repeat(64));
    let output = plan(
        &env,
        &["--json", "--image", &built, "--host", "node-1", "bitcoind"],
    );
    let plan: Value = serde_json::from_str(output.success()).unwrap();
    let service = &plan["state"]["services"]["bcm-regtest-bitcoind-bitcoind"];
    assert_eq!(service["image"], format!("sha256:{}", "a".repeat(64)));
    assert!(
        output
            .stdout
            .contains("node.labels.org.bitcoincachemachine.host == node-1")
    );
}

#[test]
fn what_cannot_be_is_refused_with_the_next_act() {
    let env = TestEnv::new();
    let tor = ["plan", "--offline", "--chain", "mainnet", "tor"];
    let output = stack(&env, &tor);
    let stderr = output.failure(4);
    assert!(
        stderr.contains("oldest that is safe on mainnet") && stderr.contains("--below-minimum tor"),
        "{stderr}"
    );
    let with: Vec<_> = tor
        .iter()
        .copied()
        .chain(["--below-minimum", "tor"])
        .collect();
    stack(&env, &with).success();

    for (words, code, said) in [
        (&["bitcoin"][..], 2, "unknown stack `bitcoin`"),
        (&["liquid"], 1, "nothing is pulled by a tag"),
        (
            &["--set", "bitcoind.prune=550", "electrs"],
            2,
            "`electrs` needs every block",
        ),
        (
            &["--set", "bitcoind.dbcache=x", "bitcoind"],
            2,
            "does not take `x`",
        ),
        (
            &["--set", "bitcoind.nothing=1", "bitcoind"],
            2,
            "has no option `nothing`",
        ),
        (
            &["--set", "dbcache=1", "bitcoind"],
            2,
            "is not STACK.OPTION=VALUE",
        ),
        (
            &[
                "--image",
                "bitcoind/bitcoind=bitcoin/bitcoin:latest",
                "bitcoind",
            ],
            2,
            "a tag is only a label",
        ),
        (
            &["--image", "bitcoind/x=knots", "bitcoind"],
            2,
            "has no service `x`",
        ),
        (
            &["--set", "bitcoind.connect=$(id)", "bitcoind"],
            2,
            "is no value",
        ),
        (&["--host", "../x", "bitcoind"], 2, "is no name"),
    ] {
        let output = plan(&env, words);
        assert!(output.failure(code).contains(said), "{said}: {output}");
    }
    let knots = [
        "plan",
        "--offline",
        "--chain",
        "signet",
        "--image",
        "bitcoind/bitcoind=knots",
        "bitcoind",
    ];
    assert!(
        stack(&env, &knots)
            .failure(2)
            .contains("has no image `knots` on signet")
    );
    let liquid = ["plan", "--offline", "--chain", "signet", "liquid"];
    assert!(
        stack(&env, &liquid)
            .failure(2)
            .contains("it runs on mainnet, regtest")
    );
}

#[test]
fn a_graph_is_drawn() {
    let env = TestEnv::new();
    let text = stack(&env, &["graph", "electrum"]);
    assert_eq!(
        text.success(),
        "tor\nbitcoind -> tor\nelectrs -> bitcoind\nelectrum -> electrs\n"
    );
    let dot = stack(&env, &["graph", "--format", "dot"]);
    assert!(dot.success().starts_with("digraph stacks {\n"), "{dot}");
    assert_eq!(
        dot.stdout.matches("    \"").count() - dot.stdout.matches("->").count(),
        14
    );
    let mermaid = stack(&env, &["graph", "--format", "mermaid", "lnd"]);
    assert!(
        mermaid.success().contains("    lnd --> bitcoind\n"),
        "{mermaid}"
    );
    let json: Value =
        serde_json::from_str(stack(&env, &["graph", "--json", "tor"]).success()).unwrap();
    assert_eq!(json[0]["stack"], "tor");
}

#[test]
fn the_unmaintained_name_what_does_their_task_today() {
    let env = TestEnv::new();
    let output = stack(&env, &["list"]);
    output.success();
    assert!(
        output
            .stderr
            .contains("`zap` is unmaintained: upstream ended it in 2023; instead: Zeus"),
        "{output}"
    );
    assert!(output.stdout.contains("build elementsd"), "{output}");
    assert!(output.stdout.contains("unsafe, below 0.4.9.13"), "{output}");
}

const MINE: &str = r#"
schema = 1
name = "mine"
summary = "A page of my own"
kind = "web"
chains = ["regtest"]
depends = ["bitcoind"]
restore = "nothing to restore"
[upstream]
url = "https://example.org/mine"
license = "MIT"
version = "1.0"
[maintenance]
status = "maintained"
[[image]]
service = "mine"
variant = "built"
version = "1.0"
source = "I build it"
[[service]]
name = "mine"
user = "1000:1000"
uses = ["bitcoind"]
limits = { memory_mb = 64, pids = 16, disk_gb = 1 }
stop_grace_s = 10
start_limit_s = 10
ports = { all = { http = 8080 } }
file = [{ template = "conf", path = "/etc/mine.conf" }]
ready = { http = { port = "http", path = "/", status = 200 } }
"#;

#[test]
fn a_stack_of_ones_own_is_checked_and_joins_the_catalogue() {
    let env = TestEnv::new();
    let conf = "node={{ peers.bitcoind.host.bitcoind }}:{{ peers.bitcoind.ports.bitcoind.rpc }}\n";
    env.write("stacks/mine/stack.toml", MINE);
    env.write("stacks/mine/conf", conf);
    env.write("stacks/README.md", "mine\n");
    let folder = env.path().join("stacks");
    let mine = folder.join("mine");
    let output = stack(&env, &["lint", mine.to_str().unwrap()]);
    output.success();
    assert!(output.stderr.contains("`mine` is in order"), "{output}");
    let setting = format!("stacks.path={}", folder.display());
    env.bcm(["config", "set", &setting]).run().success();
    assert!(
        stack(&env, &["list"])
            .success()
            .contains("A page of my own")
    );
    let image = format!("mine/mine=sha256:{}", "b".repeat(64));
    let output = plan(&env, &["--diff", "--image", &image, "mine"]);
    assert!(
        output
            .success()
            .contains("+node=bcm-regtest-bitcoind-bitcoind:18443"),
        "{output}"
    );

    for (file, text, said) in [
        ("conf", "{{ nothing }}".to_owned(), "undefined value"),
        (
            "conf",
            "{% include '/etc/passwd' %}".to_owned(),
            "template not found",
        ),
        ("stack.toml", MINE.replace("summary", "sumary"), "sumary"),
        (
            "stack.toml",
            MINE.replace(
                "\"bitcoind\"]\nrestore",
                "\"bitcoind\", \"nothing\"]\nrestore",
            ),
            "needs `nothing`",
        ),
        (
            "stack.toml",
            MINE.replace("\"/etc/mine.conf\"", "\"/etc/../mine.conf\""),
            "is no path in a container",
        ),
        (
            "stack.toml",
            MINE.replace("user = ", "command = [\"sh\", \"-c\", \"$(id)\"]\nuser = "),
            "is no word of a command",
        ),
        (
            "stack.toml",
            MINE.replace("uses = ", "egress = true\nuses = "),
            "which the stack `tor` alone may have",
        ),
        (
            "stack.toml",
            MINE.replace("http = 8080", "http = 8080, more = 8080"),
            "port 8080 twice",
        ),
    ] {
        env.write(&format!("stacks/mine/{file}"), &text);
        let output = stack(&env, &["lint", mine.to_str().unwrap()]);
        assert!(output.failure(1).contains(said), "{said}: {output}");
        env.write("stacks/mine/stack.toml", MINE);
        env.write("stacks/mine/conf", conf);
    }
    fs::write(mine.join("extra"), "x").unwrap();
    assert!(
        stack(&env, &["list"])
            .failure(1)
            .contains("nothing uses the file `extra`")
    );
}
