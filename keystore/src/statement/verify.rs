//! The check that stands before every act.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::approval::{Approval, ApprovalKey};
use super::error::StatementError;
use super::kind::StatementKind;
use super::ledger::Position;
use super::signed::{MAX_SIGNATURE, Signed};
use super::{MAX_STATEMENT, Statement, head};
use crate::chain::Chain;
use crate::device::Device;
use crate::pgp::{Cert, Fingerprint, PgpError, PinnedCert, PinnedError};

/// How far the clock of whoever made a statement may be ahead.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// What is pinned for a cluster, on the computer that commands it and on its hosts: public keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchors {
    /// The cluster's id.
    pub cluster: String,
    /// The OpenPGP certificate that signs.
    pub cert: PinnedCert,
    /// The keys that approve, by kind.
    pub approvals: BTreeMap<StatementKind, ApprovalKey>,
}

impl Anchors {
    /// Reads the keys that approve from the device, to pin them beside `cert`; nothing is confirmed.
    ///
    /// # Errors
    ///
    /// [`StatementError::Device`], [`StatementError::Unmakeable`] for what is no cluster id.
    pub async fn read(device: &Device, cluster: &str, cert: &Cert) -> Result<Self, StatementError> {
        head::check_cluster(cluster).map_err(StatementError::Unmakeable)?;
        let mut approvals = BTreeMap::new();
        for kind in StatementKind::ALL {
            if kind.needs_approval() {
                approvals.insert(kind, ApprovalKey::read(device, kind).await?);
            }
        }
        Ok(Self {
            cluster: cluster.to_owned(),
            cert: PinnedCert::new(cert),
            approvals,
        })
    }

    /// Tells whether these are the same keys; the certificate may have been extended since.
    pub fn same_keys(&self, other: &Self) -> bool {
        self.cluster == other.cluster
            && self.cert.fingerprint() == other.cert.fingerprint()
            && self.approvals == other.approvals
    }

    /// Says what the next statement has to be: of this kind, for this chain, at this place of the chain of
    /// statements.
    pub fn expect(&self, kind: StatementKind, chain: Option<Chain>, next: Position) -> Trust<'_> {
        Trust {
            anchors: self,
            kind,
            chain,
            place: Place::At(next),
        }
    }

    /// Says what a record has to be: an image, a backup, a session log, wherever in the chain of statements it
    /// stands and on whatever computer it is read again.
    pub fn expect_record(&self, kind: StatementKind, chain: Option<Chain>) -> Trust<'_> {
        Trust {
            anchors: self,
            kind,
            chain,
            place: Place::Anywhere,
        }
    }
}

/// Where in the chain of statements a statement has to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here.
    At(Position),
    /// Anywhere: for records alone, never for what acts on a cluster.
    Anywhere,
}

/// What a statement is measured by.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The pinned keys.
    pub anchors: &'a Anchors,
    /// What is to be done.
    pub kind: StatementKind,
    /// On which chain.
    pub chain: Option<Chain>,
    /// After which statement.
    pub place: Place,
}

/// A statement that was checked: the proof that whatever acts demands. [`Signed::verify`] alone makes it.
#[derive(Clone, Debug)]
pub struct VerifiedStatement {
    statement: Statement,
    signed: Signed,
    signer: Fingerprint,
}

impl VerifiedStatement {
    /// Returns the statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Returns the bytes that were checked, to keep them or to pass them on.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Returns the fingerprint of the certificate that signed.
    pub fn signer(&self) -> &Fingerprint {
        &self.signer
    }

    /// Fails unless it is of this kind: what acts asks for its own.
    ///
    /// # Errors
    ///
    /// [`StatementError::Kind`].
    pub fn of_kind(&self, expected: StatementKind) -> Result<&Statement, StatementError> {
        check_kind(&self.statement, expected).map(|()| &self.statement)
    }
}

impl Signed {
    /// Checks everything: form, kind, cluster, chain, place, time, approval, OpenPGP signature.
    ///
    /// # Errors
    ///
    /// The [`StatementError`] that says what was expected and what was found.
    pub fn verify(
        &self,
        trust: &Trust<'_>,
        now: SystemTime,
    ) -> Result<VerifiedStatement, StatementError> {
        let statement = Statement::parse(&self.json)?;
        check_kind(&statement, trust.kind)?;
        check_place(&statement, trust)?;
        check_time(&statement, now)?;
        let signer = self.check_signatures(&statement, trust.anchors, now)?;
        Ok(VerifiedStatement {
            statement,
            signed: self.clone(),
            signer,
        })
    }

    /// Checks who approved and who signed.
    pub(super) fn check_signatures(
        &self,
        statement: &Statement,
        anchors: &Anchors,
        now: SystemTime,
    ) -> Result<Fingerprint, StatementError> {
        debug_assert!(self.json.len() <= MAX_STATEMENT, "it was parsed");
        let kind = statement.kind();
        match (&self.approval, kind.needs_approval()) {
            (Some(approval), true) => {
                let pinned = anchors.approvals.get(&kind);
                let pinned = pinned.ok_or(StatementError::NotPinned(kind))?;
                Approval::parse(approval)?.verify(statement, pinned)?;
            }
            (None, true) => return Err(StatementError::NotApproved(kind)),
            (Some(_), false) => return Err(StatementError::Superfluous(kind)),
            (None, false) => {}
        }
        if self.asc.len() > MAX_SIGNATURE {
            return Err(StatementError::TooLong {
                length: self.asc.len(),
                limit: MAX_SIGNATURE,
            });
        }
        let good = anchors.cert.verify(&self.asc, &self.json, now);
        good.map(|good| good.primary).map_err(|error| match error {
            PinnedError::Form(what) => StatementError::SignatureForm(what),
            PinnedError::Cert(error) => StatementError::Cert(error),
            PinnedError::Signature(error @ PgpError::Truncated) => {
                StatementError::SignatureForm(error.to_string())
            }
            PinnedError::Signature(error) => StatementError::Signature(error),
        })
    }
}

fn check_kind(statement: &Statement, expected: StatementKind) -> Result<(), StatementError> {
    let found = statement.kind();
    match found == expected {
        true => Ok(()),
        false => Err(StatementError::Kind { expected, found }),
    }
}

fn check_place(statement: &Statement, trust: &Trust<'_>) -> Result<(), StatementError> {
    let head = statement.head();
    if head.cluster != trust.anchors.cluster {
        return Err(StatementError::Cluster {
            expected: trust.anchors.cluster.clone(),
            found: head.cluster.clone(),
        });
    }
    if head.chain != trust.chain {
        return Err(StatementError::Chain {
            expected: trust.chain,
            found: head.chain,
        });
    }
    match trust.place {
        Place::At(next) => next.check(statement),
        Place::Anywhere if statement.kind().needs_approval() => {
            Err(StatementError::NoPlace(statement.kind()))
        }
        Place::Anywhere => Ok(()),
    }
}

fn check_time(statement: &Statement, now: SystemTime) -> Result<(), StatementError> {
    let head = statement.head();
    if head.issued_at > now + CLOCK_SKEW {
        return Err(StatementError::Future {
            at: head.issued_at,
            now,
        });
    }
    match head.expires_at {
        Some(at) if now >= at => Err(StatementError::Expired { at, now }),
        _ => Ok(()),
    }
}
