use super::*;
use crate::observe::{
    ApiVersion, ObservedConfig, ObservedContainer, ObservedNetwork, ObservedSecret, ObservedService,
};
use crate::render::tests::everything;
use crate::stack::OptionValue;
use crate::{Deviation, verify};

const HOST: &str = "node-1";

/// Does to the observed state what an engine would do: gives ids, fills defaults in.
pub(crate) fn obey(observed: &mut Observed, plan: &Plan) {
    observed.hosts.entry(HOST.parse().unwrap()).or_default();
    for call in &plan.operations {
        let name = call.object().to_owned();
        let id = format!("id-of-{name}");
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let body = call.body.clone().unwrap_or_default();
        let host = observed.hosts.get_mut(HOST).unwrap();
        let labels = super::labels(&body);
        match (call.method, path) {
            (Method::Post, "/networks/create") => {
                assert!(!observed.networks.contains_key(&name));
                let options: BTreeMap<String, String> =
                    serde_json::from_value(body["Options"].clone()).unwrap();
                let chosen = (
                    "com.docker.network.driver.overlay.vxlanid_list".into(),
                    "4097".into(),
                );
                let network = ObservedNetwork {
                    id,
                    driver: "overlay".into(),
                    internal: body["Internal"].as_bool().unwrap(),
                    attachable: false,
                    options: options.into_iter().chain([chosen]).collect(),
                    labels,
                };
                observed.networks.insert(name, network);
            }
            (Method::Post, "/images/create") => {
                let query: Vec<_> = query.split(['=', '&']).collect();
                assert!(query[3].starts_with("sha256:"), "{query:?}");
                host.images.insert(format!("{}@{}", query[1], query[3]));
            }
            (Method::Post, "/volumes/create") => {
                assert!(host.volumes.insert(name, labels).is_none());
            }
            (Method::Post, "/configs/create") => {
                let data = STANDARD.decode(body["Data"].as_str().unwrap()).unwrap();
                observed
                    .configs
                    .insert(name, ObservedConfig { id, labels, data });
            }
            (Method::Post, "/secrets/create") => {
                let body = plan
                    .secret_bodies()
                    .get(call.body_sha256.as_ref().unwrap())
                    .unwrap();
                let body: Value = serde_json::from_slice(body).unwrap();
                let name = body["Name"].as_str().unwrap().to_owned();
                observed.secrets.insert(
                    name,
                    ObservedSecret {
                        id,
                        labels: super::labels(&body),
                    },
                );
            }
            (Method::Post, "/services/create") => {
                assert!(!observed.services.contains_key(&name));
                let spec = told(observed, call);
                observed.services.insert(name, ObservedService { id, spec });
            }
            (Method::Post, path) if path.ends_with("/update") => {
                let old = &observed.services[path.split('/').nth(2).unwrap()];
                assert_eq!(
                    call.replaces.as_ref().unwrap().as_str(),
                    spec_digest(observed, &old.spec)
                );
                let spec = told(observed, call);
                observed.services.insert(name, ObservedService { id, spec });
            }
            (Method::Delete, path) => {
                let (kind, name) = path[1..].split_once('/').unwrap();
                let was = match kind {
                    "services" => observed.services.remove(name).is_some(),
                    "configs" => observed.configs.remove(name).is_some(),
                    "secrets" => observed.secrets.remove(name).is_some(),
                    "networks" => observed.networks.remove(name).is_some(),
                    "volumes" => host.volumes.remove(name).is_some(),
                    "containers" => true,
                    other => panic!("{other}"),
                };
                assert!(was, "{path}");
            }
            (Method::Post, path) => assert!(path.starts_with("/containers/"), "{path}"),
        }
    }
}

/// What an engine tells of a service: defaults, networks by id, configs and secrets by id and name.
fn told(observed: &Observed, call: &Operation) -> Value {
    let ids = |names: Vec<&String>| {
        names
            .into_iter()
            .map(|name| (name.clone(), format!("id-of-{name}")))
            .collect()
    };
    let (configs, secrets) = (
        ids(observed.configs.keys().collect()),
        ids(observed.secrets.keys().collect()),
    );
    let body = call.resolved_body(&configs, &secrets).unwrap().unwrap();
    let mut spec: Value = serde_json::from_slice(&body).unwrap();
    for network in spec["TaskTemplate"]["Networks"].as_array_mut().unwrap() {
        let name = network["Target"].as_str().unwrap();
        assert!(
            observed.networks.contains_key(name),
            "{name} is made before it is joined"
        );
        network["Target"] = format!("id-of-{name}").into();
    }
    spec["EndpointSpec"] = json!({ "Mode": "vip" });
    spec["TaskTemplate"]["Runtime"] = "container".into();
    spec["TaskTemplate"]["ContainerSpec"]["Isolation"] = "default".into();
    spec["TaskTemplate"]["ContainerSpec"]["DNSConfig"] = json!({});
    spec["TaskTemplate"]["Resources"]["Reservations"] = json!({});
    spec
}

fn planned(configuration: &Configuration, observed: &Observed) -> Plan {
    plan(
        &Catalog::builtin(),
        configuration,
        &Secrets::preview(),
        observed,
    )
    .unwrap()
}

/// Makes a plan and has it done.
fn settle(observed: &mut Observed, configuration: &Configuration) -> Plan {
    let plan = planned(configuration, observed);
    obey(observed, &plan);
    plan
}

fn wants(configuration: &mut Configuration, stacks: &[&str]) {
    configuration.stacks = stacks.iter().map(|name| name.parse().unwrap()).collect();
}

fn set(configuration: &mut Configuration, stack: &str, name: &str, value: OptionValue) {
    let options = configuration
        .options
        .entry(stack.parse().unwrap())
        .or_default();
    options.insert(name.parse().unwrap(), value);
}

#[test]
fn a_second_plan_is_empty_and_nothing_deviates() {
    for chain in Chain::ALL {
        let (_, configuration) = everything(chain);
        let mut observed = Observed::default();
        let first = planned(&configuration, &observed);
        assert!(!first.is_empty());
        obey(&mut observed, &first);
        let second = planned(&configuration, &observed);
        assert_eq!(second.operations, []);
        assert_eq!(second.changes, []);
        assert_eq!(second.state, first.state);
        assert_eq!(verify(&observed, chain, &first.state), []);
    }
}

#[test]
fn a_plan_made_twice_is_the_same_to_the_byte() {
    let (_, configuration) = everything(Chain::Regtest);
    let bytes = || {
        canonical(&Value::Object(
            planned(&configuration, &Observed::default()).body(),
        ))
    };
    assert_eq!(bytes(), bytes());
}

/// A body of `POST /services/create` holds nothing that bollard's model of the API does not know.
#[test]
fn a_service_is_what_the_engine_api_says() {
    let (_, configuration) = everything(Chain::Regtest);
    for api in [ApiVersion::OLDEST, ApiVersion::PRIVILEGES] {
        let observed = Observed {
            api,
            ..Observed::default()
        };
        let plan = planned(&configuration, &observed);
        let mut services = 0;
        for call in plan
            .operations
            .iter()
            .filter(|call| call.path == "/services/create")
        {
            let mut body = call.body.clone().unwrap();
            // bollard writes this one as the documentation does, an engine as its source does
            let container = body["TaskTemplate"]["ContainerSpec"]
                .as_object_mut()
                .unwrap();
            let check = container.remove("Healthcheck").unwrap();
            container.insert("HealthCheck".into(), check);
            assert_eq!(
                container.contains_key("Privileges"),
                api >= ApiVersion::PRIVILEGES
            );
            let model: bollard::models::ServiceSpec = serde_json::from_value(body.clone()).unwrap();
            assert_eq!(serde_json::to_value(model).unwrap(), body);
            services += 1;
        }
        assert_eq!(services, 14);
    }
}

#[test]
fn every_service_is_locked_in() {
    for chain in Chain::ALL {
        let (_, configuration) = everything(chain);
        let plan = planned(&configuration, &Observed::default());
        for call in &plan.operations {
            let body = call.body.clone().unwrap_or_default();
            match call.path.as_str() {
                "/networks/create" => {
                    let egress = body["Name"] == format!("bcm-{chain}-tor-egress");
                    assert_eq!(body["Internal"], !egress, "{}", body["Name"]);
                    assert_eq!(body["Options"]["encrypted"], "");
                    assert_eq!(body["Attachable"], false);
                }
                "/services/create" => {
                    let container = &body["TaskTemplate"]["ContainerSpec"];
                    assert_eq!(container["ReadOnly"], true, "{}", body["Name"]);
                    assert_eq!(container["CapabilityDrop"], json!(["ALL"]));
                    assert!(
                        !container["User"].as_str().unwrap().starts_with("0:"),
                        "{}",
                        body["Name"]
                    );
                    assert!(body.get("EndpointSpec").is_none(), "a port is published");
                    let limits = &body["TaskTemplate"]["Resources"]["Limits"];
                    assert!(
                        limits["MemoryBytes"].as_u64() > Some(0)
                            && limits["Pids"].as_u64() > Some(0)
                    );
                    let mounts = container["Mounts"].as_array().cloned().unwrap_or_default();
                    assert!(mounts.iter().all(|mount| mount["Type"] != "bind"));
                    let out = body["TaskTemplate"]["Networks"]
                        .to_string()
                        .contains("egress");
                    assert_eq!(out, body["Name"] == format!("bcm-{chain}-tor-tor"));
                    let constraints = body["TaskTemplate"]["Placement"]["Constraints"].to_string();
                    assert!(
                        constraints.contains(&format!("chain.{chain} == true")),
                        "{constraints}"
                    );
                    assert!(constraints.contains("host == node-1"), "{constraints}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn secrets_are_in_a_plan_by_digest_alone() {
    use sha2::{Digest, Sha256};
    let (catalog, configuration) = everything(Chain::Regtest);
    let plan = planned(&configuration, &Observed::default());
    let text = serde_json::to_string(&plan.body()).unwrap() + &format!("{plan:?}");
    for id in crate::render::needed_secrets(&catalog, &configuration).unwrap() {
        let value = Secrets::preview().get(&id).unwrap();
        assert!(!text.contains(value.expose()), "{id}");
    }
    let made = plan
        .operations
        .iter()
        .filter(|call| call.path == "/secrets/create");
    for call in made {
        assert!(call.body.is_none());
        let sha256 = call.body_sha256.as_ref().unwrap();
        let body = plan.secret_bodies().get(sha256).unwrap();
        assert_eq!(hex::encode(Sha256::digest(body)), sha256.as_str());
    }
}

#[test]
fn a_changed_option_changes_one_file_and_one_service() {
    let (_, mut configuration) = everything(Chain::Regtest);
    let mut observed = Observed::default();
    settle(&mut observed, &configuration);
    set(
        &mut configuration,
        "bitcoind",
        "dbcache",
        OptionValue::Number(2048),
    );
    let plan = planned(&configuration, &observed);
    let told: Vec<_> = plan
        .changes
        .iter()
        .map(|it| (it.verb, it.thing, it.stack.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Verb::Change, Thing::Config, "bitcoind"),
            (Verb::Change, Thing::Service, "bitcoind")
        ]
    );
    assert!(
        plan.changes[0]
            .diff
            .contains("-dbcache=450\n+dbcache=2048\n"),
        "{}",
        plan.changes[0].diff
    );
    let calls: Vec<_> = plan
        .operations
        .iter()
        .map(|call| format!("{} {}", call.method, call.path))
        .collect();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert_eq!(
        calls[..2],
        [
            "POST /configs/create",
            "POST /services/bcm-regtest-bitcoind-bitcoind/update"
        ]
    );
    assert!(calls[2].starts_with("DELETE /configs/bcm-regtest-bitcoind-"));
    obey(&mut observed, &plan);
    assert!(planned(&configuration, &observed).is_empty());
}

#[test]
fn a_removed_stack_leaves_its_data_unless_told_otherwise() {
    let (_, mut configuration) = everything(Chain::Regtest);
    wants(&mut configuration, &["lnd", "electrs"]);
    let mut observed = Observed::default();
    settle(&mut observed, &configuration);
    wants(&mut configuration, &["electrs"]);
    let plan = planned(&configuration, &observed);
    obey(&mut observed, &plan);
    assert!(observed.services.keys().all(|name| !name.contains("lnd")));
    assert!(observed.networks.keys().all(|name| !name.contains("lnd")));
    let volume = "bcm-regtest-lnd-lnd";
    let has_volume = |observed: &Observed| {
        observed
            .hosts
            .values()
            .any(|host| host.volumes.contains_key(volume))
    };
    assert!(has_volume(&observed));
    configuration.delete_data.insert("lnd".parse().unwrap());
    // while it is wanted, its data is safe whatever was typed
    configuration
        .delete_data
        .insert("bitcoind".parse().unwrap());
    let plan = planned(&configuration, &observed);
    let calls: Vec<_> = plan
        .operations
        .iter()
        .map(|call| call.path.as_str())
        .collect();
    assert_eq!(calls, ["/volumes/bcm-regtest-lnd-lnd"]);
    obey(&mut observed, &plan);
    assert!(!has_volume(&observed));
}

#[test]
fn two_chains_never_meet() {
    let (_, regtest) = everything(Chain::Regtest);
    let (_, signet) = everything(Chain::Signet);
    let mut observed = Observed::default();
    settle(&mut observed, &regtest);
    settle(&mut observed, &signet);
    assert!(planned(&regtest, &observed).is_empty() && planned(&signet, &observed).is_empty());
    let one = planned(&regtest, &Observed::default()).state;
    let other = planned(&signet, &Observed::default()).state;
    assert!(
        one.services
            .keys()
            .all(|name| !other.services.contains_key(name))
    );
    assert!(
        one.networks
            .keys()
            .all(|name| !other.networks.contains_key(name))
    );
    assert!(
        one.volumes
            .keys()
            .all(|name| !other.volumes.contains_key(name))
    );
    assert!(
        one.secrets
            .keys()
            .all(|name| !other.secrets.contains_key(name))
    );
    assert!(
        one.configs
            .keys()
            .all(|name| !other.configs.contains_key(name))
    );

    let mut nothing = signet;
    wants(&mut nothing, &[]);
    nothing.delete_data = Catalog::builtin()
        .iter()
        .map(|stack| stack.name.clone())
        .collect();
    settle(&mut observed, &nothing);
    assert!(planned(&regtest, &observed).is_empty());
    assert_eq!(verify(&observed, Chain::Regtest, &one), []);
    assert!(
        observed
            .services
            .keys()
            .all(|name| name.starts_with("bcm-regtest-"))
    );
}

#[test]
fn what_belongs_to_somebody_else_is_not_touched() {
    let (_, mut configuration) = everything(Chain::Regtest);
    wants(&mut configuration, &["tor"]);
    let foreign = json!({"Name": "bcm-regtest-tor-tor", "TaskTemplate": {}});
    let mut observed = Observed::default();
    let service = ObservedService {
        id: "x".into(),
        spec: foreign,
    };
    observed
        .services
        .insert("bcm-regtest-tor-tor".into(), service.clone());
    observed.services.insert("theirs".into(), service);
    let error = plan(
        &Catalog::builtin(),
        &configuration,
        &Secrets::preview(),
        &observed,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the service `bcm-regtest-tor-tor` belongs to somebody else: it does not carry the labels of `tor`"
    );
    let mut observed = Observed::default();
    settle(&mut observed, &configuration);
    observed
        .networks
        .get_mut("bcm-regtest-tor")
        .unwrap()
        .internal = false;
    let error = plan(
        &Catalog::builtin(),
        &configuration,
        &Secrets::preview(),
        &observed,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the network `bcm-regtest-tor` is another than it should be"
    );
}

#[test]
fn drift_is_found_named_and_mended() {
    let (_, mut configuration) = everything(Chain::Regtest);
    wants(&mut configuration, &["bitcoind"]);
    let mut clean = Observed::default();
    let plan = planned(&configuration, &clean);
    obey(&mut clean, &plan);
    let name = "bcm-regtest-bitcoind-bitcoind";
    let host: PartName = HOST.parse().unwrap();
    type Tamper = fn(&mut Observed);
    let tampers: [(&str, Tamper); 9] = [
        (
            "the service `bcm-regtest-bitcoind-bitcoind` is not as it was signed",
            |it| {
                let spec = &mut it
                    .services
                    .get_mut("bcm-regtest-bitcoind-bitcoind")
                    .unwrap()
                    .spec;
                spec["TaskTemplate"]["ContainerSpec"]["Env"]
                    .as_array_mut()
                    .unwrap()
                    .push("LD_PRELOAD=/x".into());
            },
        ),
        (
            "runs the image `evil`, signed was `bitcoin/bitcoin:31.1@sha256:",
            |it| {
                let spec = &mut it
                    .services
                    .get_mut("bcm-regtest-bitcoind-bitcoind")
                    .unwrap()
                    .spec;
                spec["TaskTemplate"]["ContainerSpec"]["Image"] = "evil".into();
            },
        ),
        (
            "the service `bcm-regtest-bitcoind-bitcoind` is missing",
            |it| {
                it.services.remove("bcm-regtest-bitcoind-bitcoind");
            },
        ),
        ("the service `spy` is in no signed plan", |it| {
            let spec = json!({"TaskTemplate": {"Networks": [{"Target": "id-of-bcm-regtest-tor"}]}});
            it.services.insert(
                "spy".into(),
                ObservedService {
                    id: "y".into(),
                    spec,
                },
            );
        }),
        (
            "the network `bcm-regtest-tor` is not as it was signed",
            |it| {
                it.networks.get_mut("bcm-regtest-tor").unwrap().internal = false;
            },
        ),
        ("is not as it was signed", |it| {
            it.configs.values_mut().next().unwrap().data.push(b'#');
        }),
        (
            "the secret `bcm-regtest-extra` is in no signed plan",
            |it| {
                let secret = it.secrets.values().next().unwrap().clone();
                it.secrets.insert("bcm-regtest-extra".into(), secret);
            },
        ),
        ("the volume `bcm-regtest-bitcoind-chain` is missing", |it| {
            it.hosts
                .values_mut()
                .for_each(|host| drop(host.volumes.remove("bcm-regtest-bitcoind-chain")));
        }),
        (
            "the container `bcm-regtest-mine` on `node-1` belongs to no signed service",
            |it| {
                let networks = BTreeSet::from(["bcm-regtest-tor".to_owned()]);
                let container = ObservedContainer {
                    name: "bcm-regtest-mine".into(),
                    image: "x".into(),
                    service: None,
                    networks,
                };
                it.hosts
                    .values_mut()
                    .for_each(|host| host.containers.push(container.clone()));
            },
        ),
    ];
    for (said, tamper) in tampers {
        let mut observed = clean.clone();
        tamper(&mut observed);
        let found = verify(&observed, Chain::Regtest, &plan.state);
        let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(
            texts.len() == 1 && texts[0].contains(said),
            "{said}: {texts:?}"
        );
    }
    let running = ObservedContainer {
        name: format!("{name}.1.x"),
        image: plan.state.services[name].image.clone(),
        service: Some(name.into()),
        networks: BTreeSet::new(),
    };
    clean.hosts.get_mut(&host).unwrap().containers.push(running);
    assert_eq!(verify(&clean, Chain::Regtest, &plan.state), []);
    clean.hosts.get_mut(&host).unwrap().containers[0].image = "evil".into();
    assert!(matches!(
        verify(&clean, Chain::Regtest, &plan.state)[..],
        [Deviation::Image { .. }]
    ));

    let spec = &mut clean.services.get_mut(name).unwrap().spec;
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = "evil".into();
    let again = planned(&configuration, &clean);
    let calls: Vec<_> = again
        .operations
        .iter()
        .map(|call| call.path.as_str())
        .collect();
    assert_eq!(calls, [format!("/services/{name}/update")]);
}

#[test]
fn a_rotated_secret_changes_who_uses_it_and_nobody_else() {
    let (catalog, mut configuration) = everything(Chain::Regtest);
    wants(&mut configuration, &["electrs", "lnd"]);
    let mut secrets = Secrets::default();
    let needed = crate::render::needed_secrets(&catalog, &configuration).unwrap();
    secrets.generate(needed, &mut rand::rngs::OsRng);
    let mut observed = Observed::default();
    let first = plan(&catalog, &configuration, &secrets, &observed).unwrap();
    obey(&mut observed, &first);
    secrets.rotate(
        "regtest/electrs/bitcoind-rpc".parse().unwrap(),
        &mut rand::rngs::OsRng,
    );
    let plan = plan(&catalog, &configuration, &secrets, &observed).unwrap();
    let changed: Vec<_> = plan
        .changes
        .iter()
        .filter(|it| it.thing == Thing::Service)
        .map(|it| it.stack.as_str())
        .collect();
    assert_eq!(changed, ["bitcoind", "electrs"]);
    assert!(
        plan.changes.iter().all(|it| it.verb == Verb::Change),
        "{:?}",
        plan.changes
    );
}

#[test]
fn a_stopped_stack_has_no_replica_and_a_restart_forces_one() {
    let (_, mut configuration) = everything(Chain::Regtest);
    wants(&mut configuration, &["tor"]);
    let mut observed = Observed::default();
    settle(&mut observed, &configuration);
    configuration.stopped.insert("tor".parse().unwrap());
    let plan = planned(&configuration, &observed);
    let body = plan.operations[0].body.clone().unwrap();
    assert_eq!(
        (
            plan.operations.len(),
            &body["Mode"]["Replicated"]["Replicas"]
        ),
        (1, &json!(0))
    );
    obey(&mut observed, &plan);
    assert!(planned(&configuration, &observed).is_empty());
    configuration.stopped.clear();
    configuration.restarts.insert("tor".parse().unwrap(), 1);
    let body = planned(&configuration, &observed).operations[0]
        .body
        .clone()
        .unwrap();
    assert_eq!(body["TaskTemplate"]["ForceUpdate"], 1);
}
