//! Statements on the simulated device; what genuine firmware approved; GnuPG as the second opinion.

mod form;
mod gpg;
mod ledger;
mod refusals;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::*;
use crate::chain::Chain;
use crate::identity::Curve;
use crate::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry, Prompt};
use crate::pgp::{OwnCert, PgpError, TREZOR_TIME};
use crate::secret::{Passphrase, Pin};
use crate::session::{Session, Unlocked};
use crate::simulator::Simulator;
use crate::store::Home;
use crate::{Device, DeviceError};

const CLUSTER: &str = "5f2b9c0d6a1e4f3388aa0c1d2e3f4a5b";

/// A person who types this passphrase on the host.
#[derive(Debug)]
struct Typist(&'static str);

impl Interaction for Typist {
    fn device_waits(&self, _: &Prompt, _: DeviceWait) {}

    fn passphrase(&self, _: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        Ok(PassphraseEntry::Host(Passphrase::read_line(
            self.0.as_bytes(),
        )?))
    }

    fn pin_matrix(&self, _: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

/// An unlocked wallet with a certificate, and what a cluster of it pins.
struct Owner {
    session: Session<Unlocked>,
    cert: OwnCert,
    anchors: Anchors,
    _home: tempfile::TempDir,
}

impl Owner {
    async fn new() -> Self {
        Self::of("bcm test", Simulator::builder().build()).await
    }

    async fn of(passphrase: &'static str, simulator: Simulator) -> Self {
        let home = tempfile::tempdir().unwrap();
        let device = Device::spawn(simulator.transport(), Arc::new(Typist(passphrase)));
        let session = Session::new(device, Home::below(home.path()));
        let session = session.unlock().await.unwrap();
        let device = session.device().clone();
        let cert = tokio::task::spawn_blocking(move || {
            let created = UNIX_EPOCH + TREZOR_TIME;
            let user_id = "Satoshi <s@example.org>".parse().unwrap();
            OwnCert::make(&device, user_id, Curve::Ed25519, created, None).unwrap()
        });
        let cert = cert.await.unwrap();
        let anchors = Anchors::read(session.device(), CLUSTER, cert.cert());
        Self {
            anchors: anchors.await.unwrap(),
            session,
            cert,
            _home: home,
        }
    }

    async fn sign(&self, statement: &Statement) -> Signed {
        let signed = sign(self.session.device(), &self.cert, statement, now()).await;
        signed.unwrap()
    }

    fn verify(&self, signed: &Signed, next: Position) -> Result<VerifiedStatement, StatementError> {
        let chain = Some(Chain::Regtest);
        let trust = self.anchors.expect(StatementKind::Deployment, chain, next);
        signed.verify(&trust, now())
    }
}

/// Some time in 2026.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn head_at(next: Position) -> Head {
    Head {
        cluster: CLUSTER.into(),
        cluster_name: "home".into(),
        chain: Some(Chain::Regtest),
        serial: next.serial,
        previous: next.previous,
        issued_at: now(),
        expires_at: Some(now() + Duration::from_secs(3600)),
    }
}

fn subject(name: &str) -> Subject {
    Subject {
        name: name.into(),
        sha256: Sha256Digest::of(name.as_bytes()),
    }
}

fn body() -> Map<String, Value> {
    let operations = json!([{ "method": "POST", "path": "/services/create" }]);
    Map::from_iter([("operations".to_owned(), operations)])
}

fn deployment(next: Position) -> Statement {
    let subjects = vec![subject("stack/tor"), subject("stack/bitcoind")];
    Statement::new(StatementKind::Deployment, head_at(next), subjects, body()).unwrap()
}

#[derive(serde::Deserialize)]
struct Transcript {
    identity: String,
    challenge_hidden: String,
    challenge_visual: String,
    result: Answer,
}

#[derive(serde::Deserialize)]
struct Answer {
    public_key: String,
    signature: String,
}

fn transcript(text: &str) -> Transcript {
    serde_json::from_str(text).unwrap()
}
