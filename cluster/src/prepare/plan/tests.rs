use std::collections::BTreeSet;

use proptest::prelude::*;
use ssh_key::PublicKey;

use super::super::facts::{FileFacts, System, Unit, UserFacts};
use super::super::preparation::Preparation;
use super::super::wanted::OnionAccess;
use super::*;

const CA: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti ca";

fn wanted() -> Wanted {
    let ca = PublicKey::from_openssh(CA).unwrap();
    let mut wanted = Wanted::new(ca, ["bcm".to_owned()]).unwrap();
    wanted.members = files::members(&["10.0.0.2", "2001:db8::2", "10.0.0.1"]);
    wanted
}

fn bare() -> Facts {
    Facts {
        system: System {
            id: "debian".into(),
            version: "12".into(),
            systemd: true,
        },
        free: 10 << 30,
        ssh_ports: [22].into(),
        swaps: ["/dev/sda2".to_owned()].into(),
        ..Facts::default()
    }
}

/// Does to the facts what an operation does to a host.
fn make(facts: &mut Facts, operation: &Operation) {
    let unit = |facts: &mut Facts, name: &str, enabled: &str, active: &str| {
        let (enabled, active) = (enabled.to_owned(), active.to_owned());
        facts
            .units
            .insert(name.to_owned(), Unit { enabled, active });
    };
    match operation {
        Operation::File {
            path,
            owner,
            mode,
            sha256,
            replaces,
            ..
        } => {
            let found = facts.files.get(path).and_then(|file| file.sha256);
            assert_eq!(*replaces, found, "{path}");
            let file = FileFacts {
                owner: owner.clone(),
                mode: mode.clone(),
                sha256: Some(*sha256),
            };
            facts.files.insert(path.clone(), file);
        }
        Operation::Remove { path, .. } => drop(facts.files.remove(path)),
        Operation::Login { .. } => {}
        Operation::Run { words, .. } => {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            match &*words {
                ["env", .., "--configure", "-a", "--force-confold"] => {
                    facts.packages_broken = false;
                }
                ["env", rest @ ..] if rest.contains(&"install") => {
                    if !rest.contains(&"--download-only") {
                        let packages = rest.iter().skip_while(|word| **word != "install").skip(1);
                        facts
                            .packages
                            .extend(packages.map(|word| (*word).to_owned()));
                    }
                }
                ["env", ..] => {}
                ["install", "-d", "-o", user, "-g", group, "-m", mode, path] => {
                    let text = format!("{user}:{group} {mode}");
                    facts.folders.insert((*path).to_owned(), text);
                }
                ["useradd", ..] => {
                    facts.user = Some(UserFacts {
                        home: HOME.into(),
                        shell: SHELL.into(),
                        groups: ["bcm".to_owned(), "docker".to_owned()].into(),
                        no_password: true,
                    });
                }
                ["usermod", "--shell", ..] => {
                    let user = facts.user.as_mut().unwrap();
                    (user.shell, user.no_password) = (SHELL.into(), true);
                }
                ["usermod", ..] => {
                    let user = facts.user.as_mut().unwrap();
                    user.groups.insert("docker".into());
                }
                ["systemctl", "mask", name] => unit(facts, name, "masked", "inactive"),
                ["systemctl", "enable", "--now", name] => unit(facts, name, "enabled", "active"),
                ["systemctl", "enable", name] => unit(facts, name, "enabled", "inactive"),
                ["systemctl", "reload-or-restart", name] => {
                    unit(facts, name, "enabled", "active");
                    facts.firewall = true;
                }
                ["swapoff", "-a"] => facts.swaps.clear(),
                [
                    "systemctl",
                    "restart" | "try-reload-or-restart" | "daemon-reload",
                    ..,
                ]
                | ["/lib/systemd/systemd-sysctl", _] => {}
                other => panic!("what does {other:?} do?"),
            }
        }
    }
}

fn prepared(wanted: &Wanted) -> Facts {
    let mut facts = bare();
    for operation in &plan(&facts, wanted).unwrap().operations {
        make(&mut facts, operation);
    }
    facts
}

fn texts(plan: &Plan) -> Vec<String> {
    plan.operations.iter().map(ToString::to_string).collect()
}

#[test]
fn a_prepared_host_needs_nothing() {
    let wanted = wanted();
    let facts = prepared(&wanted);
    assert_eq!(texts(&plan(&facts, &wanted).unwrap()), Vec::<String>::new());
}

#[test]
fn the_same_facts_give_the_same_bytes() {
    let make = || serde_json::to_vec(&plan(&bare(), &wanted()).unwrap()).unwrap();
    assert_eq!(make(), make());
}

#[test]
fn a_statement_says_all_of_a_plan() {
    let plan = plan(&bare(), &wanted()).unwrap();
    let name = "node-1".parse().unwrap();
    let key: crate::HostKeyFingerprint = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
        .parse()
        .unwrap();
    let preparation = Preparation::new(&name, &key, plan);
    let value = serde_json::Value::Object(preparation.body());
    let read: Preparation = serde_json::from_value(value).unwrap();
    assert_eq!(read, preparation);
    let kept = serde_json::json!({"op": "run", "why": "", "words": [], "as": "root"});
    assert!(serde_json::from_value::<Operation>(kept).is_err());
}

#[test]
fn a_run_that_was_cut_anywhere_is_gone_on_with() {
    let wanted = wanted();
    let operations = plan(&bare(), &wanted).unwrap().operations;
    for cut in 0..=operations.len() {
        let mut facts = bare();
        for operation in &operations[..cut] {
            make(&mut facts, operation);
        }
        let rest = plan(&facts, &wanted).unwrap();
        for operation in &rest.operations {
            make(&mut facts, operation);
        }
        assert!(plan(&facts, &wanted).unwrap().is_empty(), "cut after {cut}");
        // whatever was cut, a service reads its files before that is noted
        let again: BTreeSet<_> = texts(&rest).into_iter().collect();
        for (service, act) in [
            ("ssh", "run systemctl try-reload-or-restart ssh.service"),
            ("engine", "run systemctl restart docker.service"),
            (
                "firewall",
                "run systemctl reload-or-restart bcm-firewall.service",
            ),
            (
                "sysctl",
                "run /lib/systemd/systemd-sysctl /etc/sysctl.d/99-bcm.conf",
            ),
        ] {
            let noted = format!("write {} (root:root 0644)", loaded(service));
            assert!(
                !again.contains(&noted) || again.contains(act),
                "cut after {cut}"
            );
        }
    }
}

#[test]
fn the_old_way_is_closed_only_behind_the_new_one() {
    let all = texts(&plan(&bare(), &wanted()).unwrap());
    let at = |text: &str| all.iter().position(|line| line.starts_with(text)).unwrap();
    let logins: Vec<_> = (0..all.len())
        .filter(|&i| all[i] == "log in as bcm")
        .collect();
    let [first, second] = logins[..] else {
        panic!("{all:#?}");
    };
    assert!(at("write /etc/ssh/sshd_config.d/00-bcm-access.conf") < first);
    for closing in [
        "write /etc/ssh/sshd_config.d/01-bcm-only.conf",
        "run systemctl reload-or-restart bcm-firewall.service",
    ] {
        assert!(
            (first..second).contains(&at(closing)),
            "{closing}: {all:#?}"
        );
    }
    assert!(at("run useradd") < first && at("write /etc/sudoers.d/bcm") < first);
}

#[test]
fn packages_come_first_and_find_their_configuration() {
    let all = texts(&plan(&bare(), &wanted()).unwrap());
    let at = |text: &str| all.iter().position(|line| line.contains(text)).unwrap();
    assert!(
        all[0].contains("apt-get") && all[0].ends_with("Error-Mode=any'"),
        "{}",
        all[0]
    );
    assert!(
        all[1].contains("install --download-only docker.io nftables"),
        "{}",
        all[1]
    );
    let install = all
        .iter()
        .position(|line| line.contains(" install docker.io"))
        .unwrap();
    assert!(at("/etc/docker/daemon.json") < install);
    assert!(install < at("useradd"));
}

#[test]
fn what_differs_is_put_right_and_nothing_else() {
    let wanted = wanted();
    let differs = |change: &dyn Fn(&mut Facts)| {
        let mut facts = prepared(&wanted);
        change(&mut facts);
        let plan = plan(&facts, &wanted).unwrap();
        for operation in &plan.operations {
            make(&mut facts, operation);
        }
        assert!(super::plan(&facts, &wanted).unwrap().is_empty());
        texts(&plan)
    };
    let other = Some(Sha256Digest::of(b"other"));
    let engine = differs(&|facts| {
        facts.files.get_mut(files::ENGINE_CONFIG).unwrap().sha256 = other;
    });
    assert_eq!(engine, ["replace /etc/docker/daemon.json (root:root 0644)"]);
    let mode = differs(&|facts| facts.files.get_mut(files::SUDO).unwrap().mode = "0644".into());
    assert_eq!(mode, ["replace /etc/sudoers.d/bcm (root:root 0440)"]);
    let flushed = differs(&|facts| facts.firewall = false);
    assert_eq!(
        flushed,
        [
            "run systemctl reload-or-restart bcm-firewall.service",
            "log in as bcm"
        ]
    );
    let password = differs(&|facts| facts.user.as_mut().unwrap().no_password = false);
    assert_eq!(
        password,
        ["run usermod --shell /bin/bash --password '*' bcm"]
    );
    let stopped = differs(&|facts| {
        facts.units.get_mut("docker.service").unwrap().active = "inactive".into();
    });
    assert_eq!(stopped, ["run systemctl enable --now docker.service"]);
}

#[test]
fn a_new_member_opens_the_firewall_and_nothing_else() {
    let facts = prepared(&wanted());
    let mut more = wanted();
    more.members.insert("10.0.0.3".parse().unwrap());
    let plan = plan(&facts, &more).unwrap();
    let paths: Vec<_> = texts(&plan)
        .into_iter()
        .filter(|t| t.contains("place /"))
        .collect();
    assert_eq!(
        paths,
        [
            "replace /etc/bcm/firewall.nft (root:root 0644)",
            "replace /var/lib/bcm-prepare/firewall (root:root 0644)"
        ]
    );
}

#[test]
fn a_container_leaves_the_kernel_to_its_host() {
    let facts = Facts {
        container: Some("lxc".into()),
        ..bare()
    };
    let all = texts(&plan(&facts, &wanted()).unwrap()).join("\n");
    assert!(!all.contains("sysctl") && !all.contains("swap"), "{all}");
}

#[test]
fn another_engine_and_another_clock_stay() {
    let mut facts = bare();
    facts.packages = ["docker-ce".to_owned(), "chrony".to_owned()].into();
    let all = texts(&plan(&facts, &wanted()).unwrap()).join("\n");
    assert!(
        !all.contains("docker.io") && !all.contains("timesyncd"),
        "{all}"
    );
}

#[test]
fn what_bcm_cannot_prepare_is_refused() {
    let refused = |facts: Facts| plan(&facts, &wanted()).unwrap_err();
    let mut old = bare();
    old.system.version = "11".into();
    let error = refused(old);
    assert!(matches!(error, PrepareError::Unsupported { .. }));
    assert!(error.to_string().contains("debian 11"), "{error}");
    let full = Facts {
        free: 1 << 20,
        ..bare()
    };
    assert!(matches!(refused(full), PrepareError::Space { free: 1, .. }));
    let mute = Facts {
        ssh_ports: [].into(),
        ..bare()
    };
    assert!(matches!(refused(mute), PrepareError::NoSshPort));
    let mut link = bare();
    let file = FileFacts {
        owner: "root:root".into(),
        mode: "0777".into(),
        sha256: None,
    };
    link.files.insert(files::ENGINE_CONFIG.into(), file);
    assert!(matches!(refused(link), PrepareError::Occupied(_)));
}

#[test]
fn a_broken_dpkg_is_mended_first() {
    let facts = Facts {
        packages_broken: true,
        ..prepared(&wanted())
    };
    let all = texts(&plan(&facts, &wanted()).unwrap());
    assert_eq!(all.len(), 1);
    assert!(
        all[0].ends_with("dpkg --configure -a --force-confold"),
        "{}",
        all[0]
    );
}

#[test]
fn an_onion_service_knows_its_clients_alone() {
    let key = |c: &str| format!("{c}={}", c.to_uppercase().repeat(52));
    let with = |names: &[&str]| {
        let clients: Vec<_> = names.iter().map(|name| key(name)).collect();
        let mut wanted = wanted();
        wanted.onion = Some(OnionAccess::new(clients.iter().map(String::as_str)).unwrap());
        wanted
    };
    let facts = prepared(&with(&["a", "b"]));
    assert!(plan(&facts, &with(&["a", "b"])).unwrap().is_empty());
    let less = texts(&plan(&facts, &with(&["a"])).unwrap());
    assert_eq!(
        less,
        [
            "remove /var/lib/tor/bcm-ssh/authorized_clients/b.auth",
            "run systemctl restart tor.service",
            "replace /var/lib/bcm-prepare/tor (root:root 0644)"
        ]
    );
    // without the wish nothing is taken away
    assert!(plan(&facts, &wanted()).unwrap().is_empty());
}

proptest! {
    /// Whatever state a host is in, one run is enough.
    #[test]
    fn one_run_is_enough(
        keep in proptest::collection::vec(any::<bool>(), 64),
        container in any::<bool>(),
        broken in any::<bool>(),
    ) {
        let wanted = wanted();
        let mut facts = prepared(&wanted);
        let mut keep = keep.into_iter().cycle();
        let mut kept = || keep.next().unwrap();
        facts.files.retain(|_, _| kept());
        facts.packages.retain(|_| kept());
        facts.units.retain(|_, _| kept());
        facts.folders.retain(|_, _| kept());
        facts.firewall = kept();
        facts.user = facts.user.filter(|_| kept());
        facts.packages_broken = broken;
        facts.container = container.then(|| "lxc".to_owned());
        for operation in &plan(&facts, &wanted).unwrap().operations {
            make(&mut facts, operation);
        }
        prop_assert_eq!(texts(&plan(&facts, &wanted).unwrap()), Vec::<String>::new());
    }
}
