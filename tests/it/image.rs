//! `image`: built from Debian's packages, verified, and brought to a real engine.

use std::fs;

use bcm_tests::{Dockerd, IMAGE, Output, PASSPHRASE, Simulator, TestEnv, Wire, image};
use serde_json::Value;

use crate::files::damaged;

fn json(output: &Output) -> Value {
    serde_json::from_str(output.success()).unwrap()
}

/// Runs commands on the simulator, with a certificate in its wallet.
fn session(env: &TestEnv, simulator: &Simulator, commands: &str) -> Output {
    env.bcm([])
        .flag("-c")
        .flag(commands)
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run()
}

#[test]
fn two_builds_from_one_snapshot_are_the_same_bytes() {
    let env = TestEnv::new();
    let build = |output: &str| {
        let words = [
            "image",
            "build",
            "relay",
            "--unsigned",
            "--snapshot",
            "-o",
            output,
            "--json",
        ];
        json(&env.bcm(words).run())
    };
    let (one, two) = (build("one.tar"), build("two.tar"));
    assert_eq!(one["id"], two["id"]);
    let read = |name: &str| fs::read(env.path().join(name)).unwrap();
    assert!(read("one.tar") == read("two.tar"), "the archives differ");
    assert_eq!(one["statement"], Value::Null);
    let verified = json(&env.bcm(["image", "verify", "one.tar", "--json"]).run());
    let image = &verified["images"][0];
    assert_eq!(image["id"], one["id"]);
    assert_eq!(image["user"], "1000:1000");
    assert_eq!(image["labels"]["org.bitcoincachemachine.recipe"], "relay");
    // nothing is overwritten, and nothing is left of a build that fails
    env.bcm(["image", "build", "relay", "--unsigned", "-o", "one.tar"])
        .run()
        .failure(1);
    let words = [
        "image",
        "build",
        "relay",
        "--unsigned",
        "-o",
        "no.tar",
        "--suite",
        "nonesuch",
    ];
    let failed = env.bcm(words).run();
    assert!(failed.failure(1).contains("mmdebstrap"), "{failed}");
    assert!(!env.path().join("no.tar").exists());
}

#[test]
fn what_was_built_is_stated_and_signed_on_the_device() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let built = session(
        &env,
        &simulator,
        "pgp init --user-id a@example.org; image build relay --snapshot -o relay.tar --json",
    );
    let stdout = built.success();
    let told: Value = serde_json::from_str(&stdout[stdout.find('{').unwrap()..]).unwrap();
    assert_eq!(told["statement"], "relay.tar.json");
    let exported = session(&env, &simulator, "pgp export a@example.org");
    let gpg = bcm_tests::Gpg::new(&env, "gnupg");
    gpg.ok(&["--import"], exported.success().as_bytes());
    let path = |name: &str| env.path().join(name).display().to_string();
    gpg.ok(
        &[
            "--verify",
            &path("relay.tar.json.asc"),
            &path("relay.tar.json"),
        ],
        b"",
    );
    let statement = fs::read_to_string(env.path().join("relay.tar.json")).unwrap();
    let statement: Value = serde_json::from_str(&statement).unwrap();
    let id = told["id"].as_str().unwrap();
    assert_eq!(
        format!(
            "sha256:{}",
            statement["subject"][0]["digest"]["sha256"]
                .as_str()
                .unwrap()
        ),
        id
    );
    let packages = statement["predicate"]["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"] == "socat"));

    let verify = || session(&env, &simulator, "image verify relay.tar --json");
    assert_eq!(json(&verify())["statement"]["serial"], 1);
    // another archive under its name, though a good one
    fs::copy(image("tor"), env.path().join("relay.tar")).unwrap();
    let other = verify();
    assert!(
        other.failure(4).contains("about another archive"),
        "{other}"
    );
    let text = fs::read_to_string(env.path().join("relay.tar.json")).unwrap();
    env.write("relay.tar.json", text.replace("socat", "socks"));
    verify().failure(4);
}

#[test]
fn an_archive_that_was_changed_is_exit_4_and_never_loaded() {
    let env = TestEnv::new();
    let relay = fs::read(image("relay")).unwrap();
    damaged(&relay, |what, changed| {
        env.write("changed.tar", changed);
        let output = env.bcm(["image", "verify", "changed.tar", "--json"]).run();
        // what stands behind the archive or in unused bytes of a header changes the file alone
        if output.code() == 0 {
            let json = json(&output);
            let good = json["images"][0]["id"].as_str().unwrap().to_owned();
            let whole = json["digest"].as_str().unwrap().to_owned();
            env.write("good.tar", &relay);
            let verified = env
                .bcm(["image", "verify", "good.tar", "--digest", &good, "--json"])
                .run();
            let verified: Value = serde_json::from_str(verified.success()).unwrap();
            assert_ne!(verified["digest"], whole.as_str(), "{what}");
        } else {
            assert_eq!(output.code(), 4, "{what}\n{output}");
        }
    });
    let zeros = format!("sha256:{}", "0".repeat(64));
    let other = env
        .bcm(["image", "verify", "good.tar", "--digest", &zeros])
        .run();
    if env.path().join("good.tar").exists() {
        assert!(
            other.failure(4).contains("does not hold the image"),
            "{other}"
        );
    }
    env.write("relay.tar", &relay);
    let arm = env
        .bcm([
            "image",
            "verify",
            "relay.tar",
            "--platform",
            "linux/riscv64",
        ])
        .run();
    assert!(arm.failure(4).contains("expected linux/riscv64"), "{arm}");
    env.bcm(["image", "verify", "relay.tar", "--digest", "latest"])
        .run()
        .failure(2);
    env.bcm(["image", "verify", "nothing.tar"]).run().failure(1);
}

#[test]
fn built_images_run_in_a_real_engine_as_who_they_should() {
    let env = TestEnv::new();
    let wire = Wire::new();
    let engine = Dockerd::start(&env, &wire, 1);
    let simulator = Simulator::start(&env);
    let socket = engine.socket().display().to_string();
    for (name, words, expected) in [
        ("relay", &["-V"][..], "socat version"),
        ("tor", &["--version"], "Tor version 0.4"),
        ("bitcoind", &["-version"], "Knots"),
        ("electrs", &["--version"], "v0.1"),
    ] {
        let file = image(name).display().to_string();
        let commands = format!("image load {file} --socket {socket} --json");
        let loaded = json(&session(&env, &simulator, &commands));
        let id = loaded[0]["id"].as_str().unwrap();
        let hard = [
            "run",
            "--rm",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--network=none",
            id,
        ];
        let said = engine.docker(&[&hard[..], words].concat());
        assert!(said.contains(expected), "{name}: {said}");
    }
    let listed = session(
        &env,
        &simulator,
        &format!("image list --socket {socket} --json"),
    );
    let listed = json(&listed);
    let knots = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|image| image["labels"]["org.bitcoincachemachine.chains"] == "regtest");
    let name = knots.unwrap()["names"][0].as_str().unwrap();
    assert!(name.starts_with("bcm/bitcoind:29"), "{name}");
    // the folder that it writes to is its own, and so is a new volume there
    let shown = engine.docker(&[
        "run",
        "--rm",
        "--network=none",
        "--mount",
        "type=volume,dst=/home/bitcoin/.bitcoin",
        name,
        "-regtest",
        "-daemon=0",
        "-connect=0",
        "-listen=0",
        "-server=0",
        "-stopatheight=1",
        "-version",
    ]);
    assert!(shown.contains("Knots"), "{shown}");

    // what the engine saves is the same image, though another archive
    let saved = session(
        &env,
        &simulator,
        &format!("image save {name} saved.tar --socket {socket} --json"),
    );
    assert_eq!(json(&saved)["id"], knots.unwrap()["id"]);
    let digest = knots.unwrap()["id"].as_str().unwrap();
    env.bcm(["image", "verify", "saved.tar", "--digest", digest])
        .run()
        .success();
    let missing = session(
        &env,
        &simulator,
        &format!("image save nothing x.tar --socket {socket}"),
    );
    assert!(
        missing.failure(1).contains("no image `nothing`"),
        "{missing}"
    );
}

#[test]
fn what_docker_saves_is_loaded_after_it_was_verified() {
    let env = TestEnv::new();
    let wire = Wire::new();
    let engine = Dockerd::start(&env, &wire, 1);
    let simulator = Simulator::start(&env);
    let socket = engine.socket().display().to_string();
    let id = engine.docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]);
    let file = env.path().join("saved.tar").display().to_string();
    engine.docker(&["save", "--output", &file, IMAGE]);
    engine.docker(&["image", "rm", IMAGE]);
    let other = format!("sha256:{}", "0".repeat(64));
    let load = |digest: &str| {
        let commands = format!("image load saved.tar --digest {digest} --socket {socket}");
        session(&env, &simulator, &commands)
    };
    load(&other).failure(4);
    let mut changed = fs::read(&file).unwrap();
    let good = changed.clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    env.write("saved.tar", changed);
    load(&id).failure(4);
    assert_eq!(engine.docker(&["image", "ls", "--quiet"]), "");
    env.write("saved.tar", good);
    load(&id).success();
    assert_eq!(
        engine.docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]),
        id
    );
}

#[test]
fn holes_of_the_packages_inside_an_image_are_found() {
    let env = TestEnv::new();
    let tor = image("tor").display().to_string();
    let tracker = |urgency: &str| {
        format!(
            r#"{{"openssl": {{"CVE-2030-1": {{"releases": {{"bookworm":
               {{"status": "resolved", "fixed_version": "99:1", "urgency": "{urgency}"}}}}}}}},
               "linux": {{"CVE-2030-2": {{"releases": {{"bookworm": {{"status": "open", "urgency": "high"}}}}}}}}}}"#
        )
    };
    env.write("high.json", tracker("high"));
    env.write("low.json", tracker("low"));
    env.write("cut.json", &tracker("low")[..60]);
    let scan = |file: &str, more: &[&str]| {
        let words = [
            "image",
            "scan",
            &tor,
            "--release",
            "bookworm",
            "--json",
            "--advisories",
            file,
        ];
        env.bcm(words.into_iter().chain(more.iter().copied())).run()
    };
    let found = scan("high.json", &[]);
    assert_eq!(found.code(), 4, "{found}");
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(found["findings"][0]["id"], "CVE-2030-1");
    assert_eq!(found["findings"][0]["fixed"], "99:1");
    assert_eq!(found["failing"], 1);
    let low = scan("low.json", &[]);
    assert_eq!(json(&low)["failing"], 0);
    assert_eq!(scan("low.json", &["--threshold", "low"]).code(), 4);
    let cut = scan("cut.json", &[]);
    assert!(cut.failure(1).contains("neither the JSON"), "{cut}");
    scan("low.json", &["--threshold", "severe"]).failure(2);
}
