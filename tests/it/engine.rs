//! Engines and the swarm that they form: real ones, each in namespaces of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bcm_cluster::Engine;
use bcm_cluster::docker::network::{Ensured, NetworkError};
use bcm_cluster::docker::swarm::{self, Outcome, Place};
use bcm_cluster::docker::{
    Addresses, Membership, NetworkSpec, Node, Role, SwarmError, Wire as Protection, node,
};
use bcm_keystore::{Chain, Hint};
use bcm_tests::{Dockerd, IMAGE, Plug, TestEnv, Wire, wait_until};

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
const SOON: Duration = Duration::from_secs(60);

async fn engine(peer: &Dockerd, name: &str) -> Engine {
    Engine::at(name, &peer.socket()).await.unwrap()
}

fn place(peer: &Dockerd) -> Place {
    Place {
        addresses: Addresses::one(peer.address().parse().unwrap()),
        tier: Some("storage".parse().unwrap()),
        chains: BTreeSet::from([Chain::Regtest]),
    }
}

async fn named(manager: &Engine, name: &str) -> Option<Node> {
    let nodes = node::list(manager).await.ok()?;
    nodes.into_iter().find(|node| node.name() == name)
}

/// A web server in an overlay network, one on each host, that says where it is.
fn serve(manager: &Dockerd, network: &str, service: &str) {
    let script = "while true; do hostname | nc -l -p 80; done";
    manager.docker(&[
        "service",
        "create",
        "--quiet",
        "--detach",
        "--name",
        service,
        "--network",
        network,
        "--endpoint-mode",
        "dnsrr",
        "--mode",
        "global",
        "--hostname",
        "{{.Node.Hostname}}",
        "--no-resolve-image",
        IMAGE,
        "sh",
        "-c",
        script,
    ]);
}

/// Asks the service on host `target` from a container of the same service on `from`.
fn answers(from: &Dockerd, service: &str, target: &Dockerd) -> bool {
    let name = format!("name={service}");
    let running = |peer: &Dockerd| {
        let found = peer.docker(&["ps", "--quiet", "--filter", &name]);
        found.lines().next().map(str::to_owned)
    };
    let (Some(here), Some(there)) = (running(from), running(target)) else {
        return false;
    };
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = target.docker(&["inspect", "--format", format, &there]);
    let ask = from.try_docker(&["exec", &here, "nc", "-w", "2", &address, "80"]);
    !ask.stdout.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_serve_across_hosts_and_survive_the_loss_of_one() {
    let env = TestEnv::new();
    let wire = Wire::new();
    let peers: Vec<_> = (1..=3).map(|n| Dockerd::start(&env, &wire, n)).collect();
    let (a, b, c) = (&peers[0], &peers[1], &peers[2]);
    let one = engine(a, "node-1").await;
    let two = engine(b, "node-2").await;
    let three = engine(c, "node-3").await;

    // one host is a complete cluster, and a second time changes nothing
    let made = swarm::init(&one, CLUSTER, &place(a)).await.unwrap();
    assert_eq!(made, Outcome::Changed);
    let made = swarm::init(&one, CLUSTER, &place(a)).await.unwrap();
    assert_eq!(made, Outcome::Unchanged);
    for (host, peer) in [(&two, b), (&three, c)] {
        let joined = swarm::join(&one, host, Role::Worker, &place(peer))
            .await
            .unwrap();
        assert_eq!(joined, Outcome::Changed);
        let again = swarm::join(&one, host, Role::Worker, &place(peer))
            .await
            .unwrap();
        assert_eq!(again, Outcome::Unchanged);
    }
    assert_eq!(swarm::grow(&one).await.unwrap(), ["node-2", "node-3"]);
    let nodes = node::list(&one).await.unwrap();
    assert!(
        nodes.iter().all(|node| node.reachable && node.ready),
        "{nodes:?}"
    );
    assert_eq!(nodes[1].tier.as_ref().unwrap().as_str(), "storage");
    assert_eq!(nodes[2].chains, BTreeSet::from([Chain::Regtest]));

    // a service in an internal overlay answers on every host
    let mut network = NetworkSpec::new(Chain::Regtest, "back").unwrap();
    network.wire = Protection::Clear; // this kernel may have no IPsec
    assert_eq!(network.ensure(&one).await.unwrap(), Ensured::Made);
    assert_eq!(network.ensure(&two).await.unwrap(), Ensured::Kept);
    serve(a, "bcm-regtest-back", "web");
    for (from, to) in [(a, b), (b, c), (c, a)] {
        wait_until("the service answers across hosts", SOON, || {
            answers(from, "web", to).then_some(())
        });
    }

    // the leader is cut off: the others go on, and say who is missing
    a.plug(&wire, Plug::Out);
    let missing = async || {
        let node = named(&two, "node-1").await?;
        (!node.ready && !node.reachable).then_some(())
    };
    for _ in 0..240 {
        if missing().await.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(missing().await.is_some(), "{:?}", node::list(&two).await);
    assert_eq!(network.ensure(&three).await.unwrap(), Ensured::Kept);
    assert!(answers(b, "web", c));
    // two of three are a majority, one of two that remain is not
    let id = named(&two, "node-3").await.unwrap().id;
    let error = swarm::demote_node(&two, &id).await.unwrap_err();
    assert!(matches!(error, SwarmError::Quorum(_)), "{error}");
    let error = swarm::remove_dead(&two, &id).await.unwrap_err();
    assert!(matches!(error, SwarmError::Alive(_)), "{error}");

    // it is forgotten, comes back to a swarm that does not know it, and joins anew
    let id = named(&two, "node-1").await.unwrap().id;
    swarm::remove_dead(&two, &id).await.unwrap();
    assert_eq!(node::list(&two).await.unwrap().len(), 2);
    a.plug(&wire, Plug::In);
    let back = swarm::rejoin(&two, &one, Role::Manager, &place(a))
        .await
        .unwrap();
    assert_eq!(back, Outcome::Changed);
    assert!(named(&three, "node-1").await.unwrap().reachable);
    wait_until("the service answers there again", SOON, || {
        answers(b, "web", a).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_leaves_in_good_order_and_an_engine_that_restarts_is_found_again() {
    let env = TestEnv::new();
    let wire = Wire::new();
    let peers: Vec<_> = (1..=2).map(|n| Dockerd::start(&env, &wire, n)).collect();
    let one = engine(&peers[0], "node-1").await;
    let two = engine(&peers[1], "node-2").await;
    swarm::init(&one, CLUSTER, &place(&peers[0])).await.unwrap();
    swarm::join(&one, &two, Role::Worker, &place(&peers[1]))
        .await
        .unwrap();

    peers[1].stop();
    let error = Engine::at("node-2", &peers[1].socket()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`node-2` is not running") || text.contains("no socket"),
        "{text}"
    );
    peers[1].start_again();
    let two = engine(&peers[1], "node-2").await;
    let back = swarm::rejoin(&one, &two, Role::Worker, &place(&peers[1])).await;
    assert_eq!(back.unwrap(), Outcome::Unchanged);

    // the last manager does not leave, nor does a swarm with two hosts end
    let error = swarm::leave(&one, &one).await.unwrap_err();
    assert!(matches!(error, SwarmError::Quorum(_)), "{error}");
    let error = swarm::dissolve(&one, CLUSTER).await.unwrap_err();
    assert!(error.to_string().contains("node-2"), "{error}");

    assert_eq!(swarm::leave(&one, &two).await.unwrap(), Outcome::Changed);
    assert_eq!(swarm::leave(&one, &two).await.unwrap(), Outcome::Unchanged);
    assert_eq!(node::list(&one).await.unwrap().len(), 1);
    assert_eq!(swarm::membership(&two).await.unwrap(), Membership::None);
    let error = swarm::leave(&one, &one).await.unwrap_err();
    assert!(matches!(error, SwarmError::LastHost(_)), "{error}");
    assert_eq!(
        swarm::dissolve(&one, CLUSTER).await.unwrap(),
        Outcome::Changed
    );
    assert_eq!(swarm::membership(&one).await.unwrap(), Membership::None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ours_is_refused_and_nothing_is_half_joined() {
    let env = TestEnv::new();
    let wire = Wire::new();
    let peers: Vec<_> = (1..=2).map(|n| Dockerd::start(&env, &wire, n)).collect();
    let one = engine(&peers[0], "node-1").await;
    let two = engine(&peers[1], "node-2").await;

    // somebody else's container has a name of ours
    peers[0].docker(&["create", "--name", "bcm-mine", IMAGE, "sh"]);
    let error = swarm::init(&one, CLUSTER, &place(&peers[0]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`node-1` has a container `bcm-mine` that bcm did not make"
    );
    assert_eq!(swarm::membership(&one).await.unwrap(), Membership::None);
    peers[0].docker(&["rm", "bcm-mine"]);
    peers[0].docker(&["network", "create", "bcm-regtest-back"]);
    let error = swarm::init(&one, CLUSTER, &place(&peers[0]))
        .await
        .unwrap_err();
    assert!(
        error.hint().unwrap().contains("docker network inspect"),
        "{error}"
    );
    peers[0].docker(&["network", "rm", "bcm-regtest-back"]);

    // an address that is not the host's
    let mut wrong = place(&peers[0]);
    wrong.addresses = Addresses::one("10.99.0.1".parse().unwrap());
    let error = swarm::init(&one, CLUSTER, &wrong).await.unwrap_err();
    assert!(matches!(error, SwarmError::Engine(_)), "{error}");
    assert_eq!(swarm::membership(&one).await.unwrap(), Membership::None);

    // another swarm
    swarm::init(&one, CLUSTER, &place(&peers[0])).await.unwrap();
    let error = swarm::init(&one, "another", &place(&peers[0]))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "`node-1` is in another swarm");
    peers[1].docker(&["swarm", "init", "--advertise-addr", &peers[1].address()]);
    for result in [
        swarm::join(&one, &two, Role::Manager, &place(&peers[1])).await,
        swarm::rejoin(&one, &two, Role::Manager, &place(&peers[1])).await,
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "`node-2` is in another swarm");
    }
    peers[1].docker(&["swarm", "leave", "--force"]);

    // a host that does not reach the manager is in no swarm afterwards
    peers[1].plug(&wire, Plug::Out);
    let error = swarm::join(&one, &two, Role::Worker, &place(&peers[1]))
        .await
        .unwrap_err();
    assert!(!matches!(error, SwarmError::HalfJoined { .. }), "{error}");
    assert_eq!(swarm::membership(&two).await.unwrap(), Membership::None);
    assert_eq!(node::list(&one).await.unwrap().len(), 1);
    peers[1].plug(&wire, Plug::In);
    swarm::join(&one, &two, Role::Worker, &place(&peers[1]))
        .await
        .unwrap();

    // a network with the right name that is another one
    peers[0].docker(&[
        "network",
        "create",
        "--driver",
        "overlay",
        "bcm-regtest-front",
    ]);
    let network = NetworkSpec::new(Chain::Regtest, "front").unwrap();
    let error = network.ensure(&one).await.unwrap_err();
    assert!(matches!(error, NetworkError::Foreign(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_an_engine_is_told_what_to_install() {
    let missing = Path::new("/nonexistent/docker.sock");
    let error = Engine::at("node-1", missing).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`node-1` has no Docker engine: there is no socket `/nonexistent/docker.sock`"
    );
}
