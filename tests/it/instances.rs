//! `cluster host add NAME lxd://…`: system containers of a real LXD.

use bcm_tests::{LxdServer, Output, PASSPHRASE, Simulator, TestEnv};

fn bcm(env: &TestEnv, simulator: &Simulator, words: &[&str]) -> Output {
    let bcm = env.bcm(words.iter().copied());
    let bcm = bcm.device(&simulator.udp()).passphrase(PASSPHRASE);
    bcm.env("LXD_DIR", LxdServer::ready().dir()).run()
}

#[test]
fn one_command_makes_a_host_whose_key_was_never_asked_of_the_network() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let server = LxdServer::ready();
    let run = |words: &[&str]| bcm(&env, &simulator, words);
    run(&["cluster", "create", "home"]).success();

    let bare = run(&["cluster", "host", "add", "one", "lxd://engine-made"]);
    assert!(bare.failure(2).contains("--image"), "{bare}");
    let missing = [
        "cluster",
        "host",
        "add",
        "one",
        "lxd://engine-made",
        "--image",
        "nothing",
    ];
    run(&missing).failure(1);
    assert!(!server.instances().contains(&"engine-made".to_owned()));
    let of_ssh = [
        "cluster",
        "host",
        "add",
        "one",
        "ssh://root@10.0.0.9",
        "--image",
        "bare",
    ];
    run(&of_ssh).failure(2);

    let (bridge, address) = (server.bridge(), server.address(201));
    let at = format!("{address}/24");
    let add = [
        "cluster",
        "host",
        "add",
        "one",
        "lxd://engine-made",
        "--image",
        "bare",
        "--memory",
        "512MiB",
        "--cpus",
        "1",
        "--bridge",
        &bridge,
        "--static",
        &at,
        "--chain",
        "signet",
    ];
    let added = run(&add);
    added.success();
    assert!(!added.stderr.contains("is it the same"), "{added}");
    let shown = run(&["cluster", "host", "show", "one"]);
    assert!(shown.success().contains("lxd://engine-made"), "{shown}");
    let memory = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes";
    let inside = format!("hostname; ({memory}) 2>/dev/null; true");
    let ran = run(&["cluster", "exec", "--", "sh", "-c", &inside]);
    assert!(ran.success().contains("engine-made"), "{ran}");

    // the name is taken: nothing happens to what has it
    let mut again = add;
    again[3] = "two";
    let again = run(&again);
    again.failure(1);
    assert!(
        server.instances().contains(&"engine-made".to_owned()),
        "{again}"
    );
    server.delete("engine-made");
}
