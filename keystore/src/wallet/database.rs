//! The SQLite database of every wallet: in memory only, sealed as one document on disk.
//!
//! Changes are written into the newest image under the store's lock, so that two programs that use
//! one wallet lose nothing to each other; see `threat-model/decisions/0007-sealed-wallets.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bdk_wallet::chain::{BlockId, ConfirmationBlockTime, DescriptorId};
use bdk_wallet::{ChangeSet, KeychainKind};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};

use super::descriptor::WalletDescriptor;
use crate::chain::Chain;

/// The version of the schema below, kept in `user_version`.
const SCHEMA: i32 = 1;

const TABLES: &str = "
CREATE TABLE wallet (
    id INTEGER PRIMARY KEY, chain TEXT NOT NULL, name TEXT NOT NULL, descriptor TEXT NOT NULL,
    created INTEGER NOT NULL, birthday INTEGER NOT NULL, UNIQUE (chain, name)) STRICT;
CREATE TABLE block (
    wallet INTEGER NOT NULL, height INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (wallet, height)) STRICT, WITHOUT ROWID;
CREATE TABLE tx (
    wallet INTEGER NOT NULL, txid BLOB NOT NULL, raw BLOB, first_seen INTEGER, last_seen INTEGER,
    last_evicted INTEGER, PRIMARY KEY (wallet, txid)) STRICT, WITHOUT ROWID;
CREATE TABLE txout (
    wallet INTEGER NOT NULL, txid BLOB NOT NULL, vout INTEGER NOT NULL, value INTEGER NOT NULL,
    script BLOB NOT NULL, PRIMARY KEY (wallet, txid, vout)) STRICT, WITHOUT ROWID;
CREATE TABLE anchor (
    wallet INTEGER NOT NULL, txid BLOB NOT NULL, height INTEGER NOT NULL, hash BLOB NOT NULL,
    time INTEGER NOT NULL, PRIMARY KEY (wallet, txid, height, hash)) STRICT, WITHOUT ROWID;
CREATE TABLE keychain (
    wallet INTEGER NOT NULL, descriptor BLOB NOT NULL, revealed INTEGER NOT NULL,
    PRIMARY KEY (wallet, descriptor)) STRICT, WITHOUT ROWID;
CREATE TABLE script (
    wallet INTEGER NOT NULL, descriptor BLOB NOT NULL, place INTEGER NOT NULL, script BLOB NOT NULL,
    PRIMARY KEY (wallet, descriptor, place)) STRICT, WITHOUT ROWID;
CREATE TABLE frozen (
    wallet INTEGER NOT NULL, txid BLOB NOT NULL, vout INTEGER NOT NULL,
    PRIMARY KEY (wallet, txid, vout)) STRICT, WITHOUT ROWID;
CREATE TABLE label (
    wallet INTEGER NOT NULL, kind TEXT NOT NULL, reference TEXT NOT NULL, label TEXT NOT NULL,
    origin TEXT, PRIMARY KEY (wallet, kind, reference)) STRICT, WITHOUT ROWID;
";

const OF_WALLET: [&str; 8] = [
    "block", "tx", "txout", "anchor", "keychain", "script", "frozen", "label",
];

/// A row of `wallet`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) descriptor: String,
    pub(super) created: i64,
    pub(super) birthday: u32,
}

/// The database.
#[derive(Debug)]
pub(super) struct Database(Connection);

/// What stands in a BLOB column.
#[derive(Clone, Copy)]
struct Bytes<T>(T);

impl<const N: usize> FromSql for Bytes<[u8; N]> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| FromSqlError::InvalidType)
    }
}

impl<const N: usize> ToSql for Bytes<[u8; N]> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.as_slice().to_sql()
    }
}

fn txid(bytes: Bytes<[u8; 32]>) -> Txid {
    Txid::from_byte_array(bytes.0)
}

fn of_txid(txid: &Txid) -> Bytes<[u8; 32]> {
    Bytes(txid.to_byte_array())
}

fn of_hash(hash: &BlockHash) -> Bytes<[u8; 32]> {
    Bytes(hash.to_byte_array())
}

fn of_descriptor(id: &DescriptorId) -> Bytes<[u8; 32]> {
    Bytes(id.0.to_byte_array())
}

fn descriptor_id(bytes: Bytes<[u8; 32]>) -> DescriptorId {
    DescriptorId(bitcoin::hashes::sha256::Hash::from_byte_array(bytes.0))
}

impl Database {
    /// Opens an image, or makes an empty database.
    pub(super) fn open(image: Option<&[u8]>) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        match image {
            Some(image) => {
                connection.deserialize_read_exact("main", image, image.len(), false)?;
                let version: i32 =
                    connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
                if version != SCHEMA {
                    return Err(rusqlite::Error::InvalidQuery);
                }
            }
            None => {
                // small pages: an empty wallet is then as small as its decoys
                connection.execute_batch("PRAGMA page_size = 512")?;
                connection.execute_batch(TABLES)?;
                connection.execute_batch(&format!("PRAGMA user_version = {SCHEMA}"))?;
            }
        }
        Ok(Self(connection))
    }

    /// Returns the image.
    pub(super) fn image(&self) -> rusqlite::Result<Vec<u8>> {
        Ok(self.0.serialize("main")?.to_vec())
    }

    pub(super) fn wallets(&self, chain: Chain) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.0.prepare(
            "SELECT id, name, descriptor, created, birthday FROM wallet WHERE chain = ? ORDER BY name",
        )?;
        let rows = statement.query_map([chain.name()], |row| {
            Ok(Row {
                id: row.get(0)?,
                name: row.get(1)?,
                descriptor: row.get(2)?,
                created: row.get(3)?,
                birthday: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    pub(super) fn insert(
        &self,
        chain: Chain,
        name: &str,
        descriptor: &WalletDescriptor,
        created: i64,
        birthday: u32,
    ) -> rusqlite::Result<i64> {
        self.0.execute(
            "INSERT INTO wallet (chain, name, descriptor, created, birthday) VALUES (?, ?, ?, ?, ?)",
            params![chain.name(), name, descriptor.to_string(), created, birthday],
        )?;
        Ok(self.0.last_insert_rowid())
    }

    /// Removes a wallet and everything of it; the freed pages are overwritten.
    pub(super) fn remove(&self, wallet: i64) -> rusqlite::Result<()> {
        for table in OF_WALLET {
            self.0
                .execute(&format!("DELETE FROM {table} WHERE wallet = ?"), [wallet])?;
        }
        self.0
            .execute("DELETE FROM wallet WHERE id = ?", [wallet])?;
        self.0.execute_batch("VACUUM")
    }

    /// Forgets what is known of the chain; addresses, labels and frozen coins stay.
    pub(super) fn forget_chain(&self, wallet: i64) -> rusqlite::Result<()> {
        for table in ["tx", "txout", "anchor"] {
            self.0
                .execute(&format!("DELETE FROM {table} WHERE wallet = ?"), [wallet])?;
        }
        self.0.execute(
            "DELETE FROM block WHERE wallet = ? AND height > 0",
            [wallet],
        )?;
        Ok(())
    }

    pub(super) fn labels(&self, wallet: i64) -> rusqlite::Result<Vec<super::labels::Label>> {
        let mut statement = self.0.prepare(
            "SELECT kind, reference, label, origin FROM label WHERE wallet = ? ORDER BY kind, reference",
        )?;
        let rows = statement.query_map([wallet], |row| {
            Ok(super::labels::Label {
                kind: row.get(0)?,
                reference: row.get(1)?,
                label: row.get(2)?,
                origin: row.get(3)?,
                spendable: None,
            })
        })?;
        rows.collect()
    }

    pub(super) fn set_label(
        &self,
        wallet: i64,
        label: &super::labels::Label,
    ) -> rusqlite::Result<()> {
        if label.label.is_empty() {
            self.0.execute(
                "DELETE FROM label WHERE wallet = ? AND kind = ? AND reference = ?",
                params![wallet, label.kind, label.reference],
            )?;
            return Ok(());
        }
        self.0.execute(
            "INSERT INTO label (wallet, kind, reference, label, origin) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET label = excluded.label, origin = excluded.origin",
            params![
                wallet,
                label.kind,
                label.reference,
                label.label,
                label.origin
            ],
        )?;
        Ok(())
    }

    /// Adds what changed in a wallet; all of it or nothing.
    pub(super) fn merge(&mut self, wallet: i64, changes: &ChangeSet) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        write_blocks(&transaction, wallet, changes)?;
        write_transactions(&transaction, wallet, changes)?;
        write_places(&transaction, wallet, changes)?;
        transaction.commit()
    }

    /// Reads everything that is known of a wallet.
    pub(super) fn changes(
        &self,
        wallet: i64,
        descriptor: &WalletDescriptor,
        chain: Chain,
    ) -> rusqlite::Result<ChangeSet> {
        let mut changes = ChangeSet {
            descriptor: Some(descriptor.keychain(KeychainKind::External)),
            change_descriptor: Some(descriptor.keychain(KeychainKind::Internal)),
            network: Some(chain.network()),
            ..ChangeSet::default()
        };
        self.read_blocks(wallet, &mut changes)?;
        self.read_transactions(wallet, &mut changes)?;
        self.read_places(wallet, &mut changes)?;
        Ok(changes)
    }

    fn read_blocks(&self, wallet: i64, changes: &mut ChangeSet) -> rusqlite::Result<()> {
        let mut statement = self
            .0
            .prepare("SELECT height, hash FROM block WHERE wallet = ?")?;
        let mut rows = statement.query([wallet])?;
        while let Some(row) = rows.next()? {
            let hash: Bytes<[u8; 32]> = row.get(1)?;
            let hash = BlockHash::from_byte_array(hash.0);
            changes.local_chain.blocks.insert(row.get(0)?, Some(hash));
        }
        Ok(())
    }

    fn read_transactions(&self, wallet: i64, changes: &mut ChangeSet) -> rusqlite::Result<()> {
        let graph = &mut changes.tx_graph;
        let mut statement = self.0.prepare(
            "SELECT txid, raw, first_seen, last_seen, last_evicted FROM tx WHERE wallet = ?",
        )?;
        let mut rows = statement.query([wallet])?;
        while let Some(row) = rows.next()? {
            let id = txid(row.get(0)?);
            if let Some(raw) = row.get_ref(1)?.as_blob_or_null()? {
                let transaction: Transaction =
                    deserialize(raw).map_err(|_| FromSqlError::InvalidType)?;
                graph.txs.insert(Arc::new(transaction));
            }
            for (column, times) in [
                (2, &mut graph.first_seen),
                (3, &mut graph.last_seen),
                (4, &mut graph.last_evicted),
            ] {
                let time: Option<i64> = row.get(column)?;
                if let Some(time) = time.and_then(|time| u64::try_from(time).ok()) {
                    times.insert(id, time);
                }
            }
        }
        let mut statement = self
            .0
            .prepare("SELECT txid, vout, value, script FROM txout WHERE wallet = ?")?;
        let mut rows = statement.query([wallet])?;
        while let Some(row) = rows.next()? {
            let value: i64 = row.get(2)?;
            let output = TxOut {
                value: bitcoin::Amount::from_sat(value.unsigned_abs()),
                script_pubkey: ScriptBuf::from_bytes(row.get(3)?),
            };
            let outpoint = OutPoint::new(txid(row.get(0)?), row.get(1)?);
            graph.txouts.insert(outpoint, output);
        }
        let mut statement = self
            .0
            .prepare("SELECT txid, height, hash, time FROM anchor WHERE wallet = ?")?;
        let mut rows = statement.query([wallet])?;
        while let Some(row) = rows.next()? {
            let hash: Bytes<[u8; 32]> = row.get(2)?;
            let time: i64 = row.get(3)?;
            let anchor = ConfirmationBlockTime {
                block_id: BlockId {
                    height: row.get(1)?,
                    hash: BlockHash::from_byte_array(hash.0),
                },
                confirmation_time: time.unsigned_abs(),
            };
            graph.anchors.insert((anchor, txid(row.get(0)?)));
        }
        Ok(())
    }

    fn read_places(&self, wallet: i64, changes: &mut ChangeSet) -> rusqlite::Result<()> {
        let mut statement = self
            .0
            .prepare("SELECT descriptor, revealed FROM keychain WHERE wallet = ?")?;
        let mut rows = statement.query([wallet])?;
        while let Some(row) = rows.next()? {
            let id = descriptor_id(row.get(0)?);
            changes.indexer.last_revealed.insert(id, row.get(1)?);
        }
        let mut statement = self
            .0
            .prepare("SELECT descriptor, place, script FROM script WHERE wallet = ?")?;
        let mut rows = statement.query([wallet])?;
        let mut cache: BTreeMap<DescriptorId, BTreeMap<u32, ScriptBuf>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let script = ScriptBuf::from_bytes(row.get(2)?);
            let id = descriptor_id(row.get(0)?);
            cache.entry(id).or_default().insert(row.get(1)?, script);
        }
        changes.indexer.spk_cache = cache;
        let mut statement = self
            .0
            .prepare("SELECT txid, vout FROM frozen WHERE wallet = ?")?;
        let mut rows = statement.query([wallet])?;
        while let Some(row) = rows.next()? {
            let outpoint = OutPoint::new(txid(row.get(0)?), row.get(1)?);
            changes.locked_outpoints.outpoints.insert(outpoint, true);
        }
        Ok(())
    }

    /// Looks a wallet up by its name.
    pub(super) fn find(&self, chain: Chain, name: &str) -> rusqlite::Result<Option<i64>> {
        let mut statement = self
            .0
            .prepare("SELECT id FROM wallet WHERE chain = ? AND name = ?")?;
        statement
            .query_row(params![chain.name(), name], |row| row.get(0))
            .optional()
    }
}

fn write_blocks(to: &Connection, wallet: i64, changes: &ChangeSet) -> rusqlite::Result<()> {
    let mut put = to.prepare("INSERT OR REPLACE INTO block VALUES (?, ?, ?)")?;
    let mut delete = to.prepare("DELETE FROM block WHERE wallet = ? AND height = ?")?;
    for (height, hash) in &changes.local_chain.blocks {
        match hash {
            Some(hash) => put.execute(params![wallet, height, of_hash(hash)])?,
            None => delete.execute(params![wallet, height])?,
        };
    }
    Ok(())
}

fn write_transactions(to: &Connection, wallet: i64, changes: &ChangeSet) -> rusqlite::Result<()> {
    let graph = &changes.tx_graph;
    let mut put = to.prepare(
        "INSERT INTO tx (wallet, txid, raw) VALUES (?, ?, ?)
         ON CONFLICT DO UPDATE SET raw = excluded.raw",
    )?;
    for transaction in &graph.txs {
        let id = of_txid(&transaction.compute_txid());
        put.execute(params![wallet, id, serialize(transaction.as_ref())])?;
    }
    for (column, choice, times) in [
        ("first_seen", "min", &graph.first_seen),
        ("last_seen", "max", &graph.last_seen),
        ("last_evicted", "max", &graph.last_evicted),
    ] {
        let mut put = to.prepare(&format!(
            "INSERT INTO tx (wallet, txid, {column}) VALUES (?, ?, ?) ON CONFLICT DO UPDATE
             SET {column} = {choice}(coalesce({column}, excluded.{column}), excluded.{column})"
        ))?;
        for (id, time) in times {
            let time = i64::try_from(*time).unwrap_or(i64::MAX);
            put.execute(params![wallet, of_txid(id), time])?;
        }
    }
    let mut put = to.prepare("INSERT OR REPLACE INTO txout VALUES (?, ?, ?, ?, ?)")?;
    for (outpoint, output) in &graph.txouts {
        let value = i64::try_from(output.value.to_sat()).unwrap_or(i64::MAX);
        let script = output.script_pubkey.as_bytes();
        put.execute(params![
            wallet,
            of_txid(&outpoint.txid),
            outpoint.vout,
            value,
            script
        ])?;
    }
    let mut put = to.prepare("INSERT OR REPLACE INTO anchor VALUES (?, ?, ?, ?, ?)")?;
    for (anchor, id) in &graph.anchors {
        let BlockId { height, hash } = &anchor.block_id;
        let time = i64::try_from(anchor.confirmation_time).unwrap_or(i64::MAX);
        put.execute(params![wallet, of_txid(id), height, of_hash(hash), time])?;
    }
    Ok(())
}

fn write_places(to: &Connection, wallet: i64, changes: &ChangeSet) -> rusqlite::Result<()> {
    let mut put = to.prepare(
        "INSERT INTO keychain VALUES (?, ?, ?) ON CONFLICT DO UPDATE
         SET revealed = max(revealed, excluded.revealed)",
    )?;
    for (id, revealed) in &changes.indexer.last_revealed {
        put.execute(params![wallet, of_descriptor(id), revealed])?;
    }
    let mut put = to.prepare("INSERT OR IGNORE INTO script VALUES (?, ?, ?, ?)")?;
    for (id, scripts) in &changes.indexer.spk_cache {
        for (place, script) in scripts {
            put.execute(params![wallet, of_descriptor(id), place, script.as_bytes()])?;
        }
    }
    let mut freeze = to.prepare("INSERT OR IGNORE INTO frozen VALUES (?, ?, ?)")?;
    let mut thaw = to.prepare("DELETE FROM frozen WHERE wallet = ? AND txid = ? AND vout = ?")?;
    for (outpoint, frozen) in &changes.locked_outpoints.outpoints {
        let change = if *frozen { &mut freeze } else { &mut thaw };
        change.execute(params![wallet, of_txid(&outpoint.txid), outpoint.vout])?;
    }
    Ok(())
}
