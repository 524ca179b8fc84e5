//! The person's consent to a plan: one statement, approved and signed on the device, and checked again.

use std::time::{Duration, SystemTime};

use bcm_cluster::prepare::Preparation;
use bcm_keystore::pgp::PgpStore;
use bcm_keystore::statement::{
    Anchors, Head, Ledger, Statement, StatementKind, VerifiedStatement, sign,
};

use super::super::reach::{InCluster, note};
use crate::report::Report;

/// How long a plan may be carried out: what a host is changes.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);

/// Has a preparation approved and signed, writes it down, and returns it checked.
pub(super) async fn sign_preparation(
    cluster: &mut InCluster<'_>,
    preparation: &Preparation,
) -> Result<VerifiedStatement, Report> {
    let id = cluster.cluster.id.to_string();
    let device = cluster.open.session.device().clone();
    let wallet = cluster.open.session.store().clone();
    let cert = PgpStore::open(&wallet)?.signer(None)?.clone();
    let mut ledger = Ledger::open(&wallet, &id)?;
    let anchors = Anchors::read(&device, &id, cert.cert()).await?;
    ledger.pin(anchors.clone())?;
    let now = SystemTime::now();
    let position = ledger.head();
    let head = Head {
        cluster: id,
        cluster_name: cluster.cluster.name.to_string(),
        chain: None,
        serial: position.serial,
        previous: position.previous,
        issued_at: now,
        expires_at: Some(now + GOOD_FOR),
    };
    let statement = Statement::new(
        StatementKind::Preparation,
        head,
        vec![preparation.subject()],
        preparation.body(),
    )?;
    note(&format!(
        "confirm on the device, twice (approval and OpenPGP signature): {}",
        statement.visual()
    ));
    let signed = sign(&device, &cert, &statement, now).await?;
    // what is carried out is what the device signed, read back from its bytes
    let trust = anchors.expect(StatementKind::Preparation, None, position);
    let verified = signed.verify(&trust, SystemTime::now())?;
    ledger.append(&verified)?;
    Ok(verified)
}
