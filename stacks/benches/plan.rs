//! How long a plan over all fourteen stacks takes when nothing changes: below 150 ms, or it fails.
//!
//! `cargo bench -p bcm-stacks`
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::unwrap_used, reason = "as in a test")]

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcm_keystore::Chain;
use bcm_stacks::{
    Catalog, Configuration, ImageChoice, Observed, ObservedConfig, ObservedHost, ObservedNetwork,
    ObservedSecret, ObservedService, Plan, Secrets, plan,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_millis(150);

fn main() {
    let catalog = Catalog::builtin();
    let names = catalog.iter().map(|stack| stack.name.clone());
    let mut configuration = Configuration::new(Chain::Regtest, names);
    for stack in catalog.iter() {
        let images = stack.services.iter().map(|service| {
            let reference = Some(format!("sha256:{}", "0".repeat(64)).parse().unwrap());
            (
                service.name.clone(),
                ImageChoice {
                    reference,
                    ..ImageChoice::default()
                },
            )
        });
        configuration
            .images
            .insert(stack.name.clone(), images.collect());
    }
    let secrets = Secrets::preview();
    let observed = done(&plan(&catalog, &configuration, &secrets, &Observed::default()).unwrap());
    let mut times: Vec<_> = (0..20)
        .map(|_| {
            let start = Instant::now();
            // as a command does: the catalogue is read too
            let catalog = Catalog::builtin();
            let plan = plan(&catalog, &configuration, &secrets, &observed).unwrap();
            assert!(plan.is_empty(), "{:?}", plan.changes);
            start.elapsed()
        })
        .collect();
    times.sort();
    let (best, median) = (times[0], times[times.len() / 2]);
    println!("no-change plan of 14 stacks: {median:.1?} (best {best:.1?}), limit {LIMIT:?}");
    assert!(best < LIMIT, "too slow");
}

/// What engines tell when a plan is done.
fn done(plan: &Plan) -> Observed {
    let mut observed = Observed::default();
    let mut host = ObservedHost::default();
    for call in &plan.operations {
        let body = call.body.clone().unwrap_or_default();
        let (id, name) = (call.object().to_owned(), call.object().to_owned());
        let labels =
            |body: &Value| serde_json::from_value(body["Labels"].clone()).unwrap_or_default();
        match call.path.as_str() {
            "/networks/create" => {
                let network = ObservedNetwork {
                    id,
                    driver: "overlay".into(),
                    internal: body["Internal"].as_bool().unwrap(),
                    attachable: false,
                    options: serde_json::from_value(body["Options"].clone()).unwrap(),
                    labels: labels(&body),
                };
                observed.networks.insert(name, network);
            }
            "/volumes/create" => drop(host.volumes.insert(name, labels(&body))),
            "/configs/create" => {
                let data = STANDARD.decode(body["Data"].as_str().unwrap()).unwrap();
                observed.configs.insert(
                    name,
                    ObservedConfig {
                        id,
                        labels: labels(&body),
                        data,
                    },
                );
            }
            "/secrets/create" => {
                let sha256 = call.body_sha256.as_ref().unwrap();
                let body: Value =
                    serde_json::from_slice(plan.secret_bodies().get(sha256).unwrap()).unwrap();
                let name = body["Name"].as_str().unwrap().to_owned();
                observed.secrets.insert(
                    name,
                    ObservedSecret {
                        id,
                        labels: labels(&body),
                    },
                );
            }
            "/services/create" => {
                observed
                    .services
                    .insert(name, ObservedService { id, spec: body });
            }
            _ => {}
        }
    }
    observed.hosts.insert("node-1".parse().unwrap(), host);
    observed
}
