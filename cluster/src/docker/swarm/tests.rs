use super::*;
use crate::docker::node::Availability;

fn node(name: &str, role: Role, up: bool) -> Node {
    Node {
        id: NodeId::new(name).unwrap(),
        host: Some(name.into()),
        hostname: "vm".into(),
        role,
        reachable: up && role == Role::Manager,
        leader: false,
        manager_addr: (role == Role::Manager).then(|| "10.0.0.1:2377".into()),
        ready: up,
        availability: Availability::Active,
        tier: None,
        chains: BTreeSet::new(),
        engine: "20.10.24".into(),
    }
}

fn promoted(nodes: &[Node]) -> Vec<String> {
    to_promote(nodes).iter().map(NodeId::to_string).collect()
}

#[test]
fn managers_are_the_largest_odd_number_that_the_hosts_allow() {
    for (hosts, managers) in [
        (1, 1),
        (2, 1),
        (3, 3),
        (4, 3),
        (5, 5),
        (6, 5),
        (7, 7),
        (9, 7),
    ] {
        let nodes: Vec<_> = (0..hosts)
            .map(|at| {
                let role = if at == 0 { Role::Manager } else { Role::Worker };
                node(&format!("n{at}"), role, true)
            })
            .collect();
        assert_eq!(promoted(&nodes).len() + 1, managers, "{hosts}");
    }
}

#[test]
fn a_manager_that_is_away_is_missed_and_not_replaced() {
    let nodes = [
        node("a", Role::Manager, true),
        node("b", Role::Manager, true),
        node("c", Role::Manager, false),
        node("d", Role::Worker, true),
    ];
    assert_eq!(promoted(&nodes), [""; 0]);
    // once it is forgotten, somebody takes its place
    let rest = [nodes[0].clone(), nodes[1].clone(), nodes[3].clone()];
    assert_eq!(promoted(&rest), ["d"]);
}

#[test]
fn the_managers_that_remain_have_to_be_a_majority() {
    let three = [
        node("a", Role::Manager, true),
        node("b", Role::Manager, true),
        node("c", Role::Manager, false),
    ];
    let without = |nodes: &[Node], id: &str| keeps_quorum(nodes, &NodeId::new(id).unwrap());
    assert!(without(&three, "c"));
    assert!(!without(&three, "a"));
    assert!(!without(&three[..1], "a"));
    assert!(without(&three[..2], "a"));
}

#[test]
fn overlay_addresses_are_not_those_of_the_hosts() {
    let at = |address: &str| Addresses::one(address.parse().unwrap()).pool();
    assert_eq!(at("192.168.1.2"), "10.83.0.0/16");
    assert_eq!(at("10.83.4.5"), "172.29.0.0/16");
    assert_eq!(
        Addresses::one("fd00::1".parse().unwrap()).listen(),
        "[fd00::1]:2377"
    );
}
