//! The chain of statements of a cluster, sealed on disk.
//!
//! One sealed document holds the statements of every cluster of a wallet: it is written as a whole, so that a
//! crash leaves the chain with a statement or without it, and under a lock, so that of two programs that go on
//! from the same statement one is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Sha256Digest;
use super::error::StatementError;
use super::signed::Signed;
use super::verify::{Anchors, VerifiedStatement};
use super::{Statement, head};
use crate::store::{StoreError, WalletStore};
use std::time::SystemTime;

/// Name of the sealed document.
const DOCUMENT: &str = "statements";

/// The place of the next statement in the chain of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Its serial.
    pub serial: u64,
    /// SHA-256 of the statement before.
    pub previous: Option<Sha256Digest>,
}

impl Position {
    /// The place of a cluster's first statement.
    pub const FIRST: Self = Self {
        serial: 1,
        previous: None,
    };

    /// Returns the place after `statement`.
    pub fn after(statement: &Statement) -> Self {
        Self {
            serial: statement.head().serial + 1,
            previous: Some(statement.digest()),
        }
    }

    pub(super) fn check(&self, statement: &Statement) -> Result<(), StatementError> {
        let (expected, found) = (self.serial, statement.head().serial);
        if found < expected {
            return Err(StatementError::Replayed { expected, found });
        }
        if found > expected {
            return Err(StatementError::Skipped { expected, found });
        }
        let (expected, found) = (self.previous, statement.head().previous);
        match found == expected {
            true => Ok(()),
            false => Err(StatementError::Forked {
                serial: self.serial,
                expected,
                found,
            }),
        }
    }
}

/// A statement of the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it says.
    pub statement: Statement,
    /// Its bytes and signatures.
    pub signed: Signed,
}

impl Entry {
    /// Returns the name of its file, `000042-deployment.json`.
    pub fn file_name(&self) -> String {
        let serial = self.statement.head().serial;
        format!("{serial:06}-{}.json", self.statement.kind())
    }
}

/// The chain of statements of one cluster.
#[derive(Debug)]
pub struct Ledger<'a> {
    store: &'a WalletStore,
    cluster: String,
    anchors: Option<Anchors>,
    entries: Vec<Entry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    clusters: BTreeMap<String, Records>,
}

/// What is kept of a cluster.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Records {
    #[serde(default)]
    anchors: Option<Anchors>,
    #[serde(default)]
    statements: Vec<Record>,
}

/// A statement as it is kept: its bytes are texts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    json: String,
    asc: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval: Option<String>,
}

impl Record {
    fn new(signed: &Signed) -> Result<Self, StatementError> {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec())
                .map_err(|_| StatementError::SignatureForm("it is no text".into()))
        };
        Ok(Self {
            json: text(&signed.json)?,
            asc: text(&signed.asc)?,
            approval: signed.approval.as_deref().map(text).transpose()?,
        })
    }

    fn signed(&self) -> Signed {
        Signed {
            json: self.json.clone().into_bytes(),
            asc: self.asc.clone().into_bytes(),
            approval: self.approval.clone().map(String::into_bytes),
        }
    }
}

impl<'a> Ledger<'a> {
    /// Reads the chain of a cluster and checks that each statement goes on from the one before.
    ///
    /// # Errors
    ///
    /// [`StatementError::Store`]; a [`StatementError`] of kind verification where the chain is broken.
    pub fn open(store: &'a WalletStore, cluster: &str) -> Result<Self, StatementError> {
        head::check_cluster(cluster).map_err(StatementError::Unmakeable)?;
        let document: Document = store.read(DOCUMENT)?.unwrap_or_default();
        let entries = document.read(cluster)?;
        let records = document.clusters.get(cluster);
        Ok(Self {
            store,
            cluster: cluster.to_owned(),
            anchors: records.and_then(|records| records.anchors.clone()),
            entries,
        })
    }

    /// Returns the keys that are pinned for the cluster.
    pub fn anchors(&self) -> Option<&Anchors> {
        self.anchors.as_ref()
    }

    /// Pins the keys of the cluster, or the certificate anew where it was extended since.
    ///
    /// # Errors
    ///
    /// [`StatementError::PinnedOthers`], [`StatementError::Cluster`], [`StatementError::Store`]; nothing is
    /// changed then.
    pub fn pin(&mut self, anchors: Anchors) -> Result<(), StatementError> {
        if anchors.cluster != self.cluster {
            return Err(StatementError::Cluster {
                expected: self.cluster.clone(),
                found: anchors.cluster,
            });
        }
        self.store.update(DOCUMENT, |document: &mut Document| {
            let records = document.clusters.entry(self.cluster.clone()).or_default();
            match &records.anchors {
                Some(pinned) if !pinned.same_keys(&anchors) => {
                    return Err(StatementError::PinnedOthers(self.cluster.clone()));
                }
                _ => records.anchors = Some(anchors.clone()),
            }
            Ok(())
        })?;
        self.anchors = Some(anchors);
        Ok(())
    }

    /// Returns the ids of the clusters that have keys or statements.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn clusters(store: &WalletStore) -> Result<Vec<String>, StoreError> {
        let document: Document = store.read(DOCUMENT)?.unwrap_or_default();
        Ok(document.clusters.into_keys().collect())
    }

    /// Returns the statements, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Finds a statement by its serial.
    pub fn get(&self, serial: u64) -> Option<&Entry> {
        let index = usize::try_from(serial.checked_sub(1)?).ok()?;
        self.entries.get(index)
    }

    /// Returns the place of the next statement.
    pub fn head(&self) -> Position {
        let last = self.entries.last();
        last.map_or(Position::FIRST, |entry| Position::after(&entry.statement))
    }

    /// Writes a statement down as the next one; to be done before it is acted upon, so that its serial is used
    /// up whatever happens then.
    ///
    /// # Errors
    ///
    /// [`StatementError::Replayed`], [`StatementError::Skipped`] or [`StatementError::Forked`] where another
    /// program was faster, [`StatementError::Cluster`], [`StatementError::Store`]; nothing is changed then.
    pub fn append(&mut self, verified: &VerifiedStatement) -> Result<(), StatementError> {
        let statement = verified.statement();
        if statement.head().cluster != self.cluster {
            return Err(StatementError::Cluster {
                expected: self.cluster.clone(),
                found: statement.head().cluster.clone(),
            });
        }
        let record = Record::new(verified.signed())?;
        self.entries = self.store.update(DOCUMENT, |document: &mut Document| {
            let mut entries = document.read(&self.cluster)?;
            let last = entries.last();
            let next = last.map_or(Position::FIRST, |entry| Position::after(&entry.statement));
            next.check(statement)?;
            let records = document.clusters.entry(self.cluster.clone());
            records.or_default().statements.push(record);
            entries.push(Entry {
                statement: statement.clone(),
                signed: verified.signed().clone(),
            });
            Ok::<_, StatementError>(entries)
        })?;
        Ok(())
    }

    /// Checks the signatures of every statement by the keys that are pinned; they may have expired since.
    ///
    /// # Errors
    ///
    /// The first [`StatementError`], with the serial where it is.
    pub fn verify(&self, anchors: &Anchors, now: SystemTime) -> Result<(), (u64, StatementError)> {
        self.entries.iter().try_for_each(|entry| {
            let checked = entry
                .signed
                .check_signatures(&entry.statement, anchors, now);
            let failed = |error| (entry.statement.head().serial, error);
            checked.map(|_| ()).map_err(failed)
        })
    }
}

impl Document {
    fn read(&self, cluster: &str) -> Result<Vec<Entry>, StatementError> {
        let mut next = Position::FIRST;
        let records = self.clusters.get(cluster);
        let statements = records.map_or(&[][..], |records| &records.statements);
        let entries = statements.iter().map(|record| {
            let signed = record.signed();
            let statement = signed.unverified()?;
            let found = &statement.head().cluster;
            if found != cluster {
                return Err(StatementError::Cluster {
                    expected: cluster.to_owned(),
                    found: found.clone(),
                });
            }
            next.check(&statement)?;
            next = Position::after(&statement);
            Ok(Entry { statement, signed })
        });
        entries.collect()
    }
}
