use proptest::prelude::*;
use ssh_key::PublicKey;

use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHoTXobfyXshHbnkeZujXqWoexOnuLzOpfbfFpOgnTHY";

fn name<N: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

fn target(login: &str) -> SshTarget {
    SshTarget {
        destination: login.parse().unwrap(),
        pin: HostKey::new(&PublicKey::from_openssh(KEY).unwrap()).unwrap(),
        certified: true,
    }
}

fn host(host: &str, login: &str) -> Host {
    Host {
        name: name(host),
        target: HostTarget::Ssh(target(login)),
        chains: vec![Chain::Signet],
    }
}

fn cluster(called: &str, id: u8) -> Cluster {
    Cluster::new(ClusterId::new([id; 16]), name(called))
}

#[test]
fn an_address_is_read_as_it_is_written() {
    for text in [
        "local",
        "ssh://root@10.0.0.5",
        "ssh://root@node.lan:2222",
        "ssh://root@[2001:db8::1]:2222",
        "lxd://chain-1",
        "lxd://root@10.0.0.5/chain-1",
    ] {
        assert_eq!(text.parse::<HostAddress>().unwrap().to_string(), text);
    }
    for wrong in [
        "",
        "Local",
        "root@10.0.0.5",
        "ssh://10.0.0.5",
        "ssh://root@-oProxyCommand=x",
        "lxd://",
        "lxd://root@h/",
        "lxd://root@h/a/b",
        "http://x",
    ] {
        let error = wrong.parse::<HostAddress>().unwrap_err();
        assert!(error.hint().is_some(), "{wrong}: {error}");
    }
}

#[test]
fn a_host_is_in_a_cluster_once_whatever_it_is_called() {
    let mut home = cluster("home", 1);
    home.add(host("node-1", "root@10.0.0.5")).unwrap();
    let twice = home.add(host("node-1", "root@10.0.0.6")).unwrap_err();
    assert_eq!(twice.to_string(), "`home` has a host `node-1` already");
    let same = home.add(host("node-2", "alice@10.0.0.5:22")).unwrap_err();
    assert_eq!(
        same.to_string(),
        "`ssh://alice@10.0.0.5:22` is the host `node-1` already"
    );
    home.add(host("node-2", "root@10.0.0.5:2222")).unwrap();
    let taken = home.rename(&name("node-2"), &name("node-1")).unwrap_err();
    assert!(matches!(taken, ClusterError::DuplicateHost { .. }));
    home.rename(&name("node-2"), &name("other")).unwrap();
    let unknown = home.remove(&name("node-3")).unwrap_err();
    assert_eq!(unknown.hint().unwrap(), "did you mean `node-1`?");
    assert_eq!(home.remove(&name("node-1")).unwrap().name, name("node-1"));
    assert_eq!(home.hosts.len(), 1);
}

#[test]
fn a_cluster_is_chosen_when_it_is_made_and_forgotten_when_it_is_empty() {
    let mut all = Clusters::default();
    assert!(matches!(all.current(), Err(ClusterError::NoneInUse)));
    all.create(cluster("home", 1)).unwrap();
    all.create(cluster("work", 2)).unwrap();
    let twice = all.create(cluster("home", 3)).unwrap_err();
    assert!(matches!(twice, ClusterError::DuplicateCluster(_)));
    assert_eq!(all.current().unwrap().name, name("work"));
    all.choose(&name("home")).unwrap();
    let node = host("node-1", "root@10.0.0.5");
    all.by_id_mut(ClusterId::new([1; 16]))
        .unwrap()
        .add(node)
        .unwrap();
    let full = all.destroy(&name("home"), false).unwrap_err();
    assert_eq!(full.to_string(), "`home` still has 1 host");
    all.destroy(&name("home"), true).unwrap();
    assert!(matches!(all.current(), Err(ClusterError::NoneInUse)));
    assert_eq!(all.all().len(), 1);
}

#[test]
fn what_is_written_is_read_again() {
    let mut all = Clusters::default();
    all.create(cluster("home", 1)).unwrap();
    let home = all.by_id_mut(ClusterId::new([1; 16])).unwrap();
    home.add(host("node-1", "root@10.0.0.5:2222")).unwrap();
    home.add(Host {
        name: name("here"),
        target: HostTarget::Local,
        chains: Vec::new(),
    })
    .unwrap();
    home.add(Host {
        name: name("boxed"),
        target: HostTarget::Lxd {
            server: Some(target("root@10.0.0.9")),
            instance: name("chain-1"),
            guest: target("root@10.1.0.2"),
        },
        chains: Chain::ALL.to_vec(),
    })
    .unwrap();
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Clusters>(&text).unwrap(), all);
    assert!(text.contains(KEY), "{text}");
    let dsa = text.replace(KEY, "ssh-ed25519 AAAA");
    assert!(serde_json::from_str::<Clusters>(&dsa).is_err());
    let pinned = all.current().unwrap().hosts[0]
        .target
        .ssh()
        .unwrap()
        .pinned();
    assert_eq!(pinned.pin().host, "[10.0.0.5]:2222");
}

proptest! {
    #[test]
    fn no_address_panics(text in "(lxd|ssh|local)?(://)?\\PC{0,40}") {
        let _ = text.parse::<HostAddress>();
    }
}
