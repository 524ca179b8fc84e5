//! `statement`: what is sealed in the ledger, and what GnuPG says of it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bcm_keystore::Chain;
use bcm_keystore::device::discovery::find;
use bcm_keystore::device::{Device, DeviceSelector};
use bcm_keystore::identity::Curve;
use bcm_keystore::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry, Prompt};
use bcm_keystore::pgp::{OwnCert, TREZOR_TIME};
use bcm_keystore::secret::{Passphrase, Pin};
use bcm_keystore::session::Session;
use bcm_keystore::statement::{Anchors, Head, Ledger, Statement, StatementKind, Subject, sign};
use bcm_keystore::store::Home;
use bcm_tests::{Gpg, Output, PASSPHRASE, Simulator, TestEnv};

const CLUSTER: &str = "5f2b9c0d6a1e4f3388aa0c1d2e3f4a5b";

#[derive(Debug)]
struct Typist;

impl Interaction for Typist {
    fn device_waits(&self, _: &Prompt, _: DeviceWait) {}

    fn passphrase(&self, _: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        let passphrase = Passphrase::read_line(PASSPHRASE.as_bytes())?;
        Ok(PassphraseEntry::Host(passphrase))
    }

    fn pin_matrix(&self, _: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

/// Approves and signs two deployments, as what deploys does; returns the certificate.
fn fill(env: &TestEnv, simulator: &Simulator) -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let selector: DeviceSelector = simulator.udp().parse().unwrap();
        let transport = find(&selector, false).unwrap();
        let device = Device::spawn(transport, Arc::new(Typist));
        let released = device.release();
        let session = Session::new(device, Home::below(&env.state()));
        let session = session.unlock().await.unwrap();
        let device = session.device().clone();
        let cert = tokio::task::spawn_blocking(move || {
            let user_id = "Satoshi <s@example.org>".parse().unwrap();
            let created = SystemTime::UNIX_EPOCH + TREZOR_TIME;
            OwnCert::make(&device, user_id, Curve::Ed25519, created, None).unwrap()
        });
        let cert = cert.await.unwrap();
        let anchors = Anchors::read(session.device(), CLUSTER, cert.cert());
        let anchors = anchors.await.unwrap();
        let mut ledger = Ledger::open(session.store(), CLUSTER).unwrap();
        ledger.pin(anchors.clone()).unwrap();
        for stack in ["stack/tor", "stack/bitcoind"] {
            let (now, next) = (SystemTime::now(), ledger.head());
            let head = Head {
                cluster: CLUSTER.into(),
                cluster_name: "home".into(),
                chain: Some(Chain::Regtest),
                serial: next.serial,
                previous: next.previous,
                issued_at: now,
                expires_at: Some(now + Duration::from_secs(3600)),
            };
            let subjects = vec![Subject {
                name: stack.into(),
                sha256: [7; 32].into(),
            }];
            let kind = StatementKind::Deployment;
            let statement = Statement::new(kind, head, subjects, Default::default()).unwrap();
            let signed = sign(session.device(), &cert, &statement, now)
                .await
                .unwrap();
            let trust = anchors.expect(kind, Some(Chain::Regtest), next);
            ledger.append(&signed.verify(&trust, now).unwrap()).unwrap();
        }
        drop(ledger);
        drop(session.lock().await);
        released.wait().await;
        String::from(anchors.cert)
    })
}

fn run(env: &TestEnv, simulator: &Simulator, words: &[&str]) -> Output {
    let bcm = env.bcm(words.iter().copied());
    bcm.device(&simulator.udp()).passphrase(PASSPHRASE).run()
}

#[test]
fn what_was_signed_is_listed_verified_and_exported_for_gpg() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let none = run(&env, &simulator, &["statement", "list"]);
    assert!(
        none.failure(1).contains("there are no statements yet"),
        "{none}"
    );
    let cert = fill(&env, &simulator);

    let list = run(&env, &simulator, &["statement", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(list.success()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let text = list[1]["text"].as_str().unwrap();
    assert!(
        text.starts_with("bcm v1 deploy bitcoind chain regtest cluster home #2 "),
        "{text}"
    );
    assert_eq!(list[1]["previous"], list[0]["digest"]);
    let table = run(
        &env,
        &simulator,
        &["statement", "list", "--cluster", CLUSTER],
    );
    assert!(table.success().contains("stack/bitcoind"), "{table}");
    let shown = run(&env, &simulator, &["statement", "show", "2"]);
    assert!(shown.success().contains(text), "{shown}");
    let verified = run(&env, &simulator, &["statement", "verify"]);
    verified.success();
    assert!(
        verified
            .stderr
            .contains("2 statements are good, and none is missing"),
        "{verified}"
    );
    run(&env, &simulator, &["statement", "show", "3"]).failure(1);

    run(&env, &simulator, &["statement", "export", "all", "plans"]).success();
    let gpg = Gpg::new(&env, "gnupg");
    gpg.ok(&["--import"], cert.as_bytes());
    for name in ["000001-deployment.json", "000002-deployment.json"] {
        let path = env.path().join("plans").join(name);
        let path = path.to_str().unwrap();
        gpg.ok(&["--verify", &format!("{path}.asc"), path], b"");
        assert!(fs::exists(format!("{path}.approval")).unwrap());
    }
    let again = run(&env, &simulator, &["statement", "export", "1", "plans"]);
    again.failure(1);
    run(
        &env,
        &simulator,
        &["statement", "export", "1", "plans", "--force"],
    )
    .success();

    // what somebody else brings
    let file = "plans/000002-deployment.json";
    let good = run(&env, &simulator, &["statement", "verify", file]);
    good.success();
    let shown = env.bcm(["statement", "show", file]).run();
    assert!(shown.success().contains(text), "{shown}");
    let path = env.path().join(file);
    let changed = fs::read_to_string(&path)
        .unwrap()
        .replace("bitcoind", "bitcoinx");
    fs::write(&path, changed).unwrap();
    let bad = run(&env, &simulator, &["statement", "verify", file]);
    let stderr = bad.failure(4);
    assert!(stderr.contains("the approval is not good"), "{bad}");
    assert!(stderr.contains("nothing was done"), "{bad}");
    fs::write(&path, "{\"a\": 1}").unwrap();
    run(&env, &simulator, &["statement", "verify", file]).failure(4);
    run(&env, &simulator, &["statement", "verify", "missing.json"]).failure(1);
}

#[test]
fn what_was_signed_lies_sealed() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    fill(&env, &simulator);
    let mut sealed = 0;
    for file in crate::support::files(&env.state()) {
        let bytes = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in [CLUSTER, "bitcoind", "home", "BEGIN PGP"] {
            assert!(!text.contains(secret), "{secret} in {}", file.display());
        }
        sealed += usize::from(file.ends_with("statements.sealed"));
    }
    assert!(sealed > 3, "decoys have one too");
}
