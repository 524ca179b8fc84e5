//! One's own bitcoind. Where it has an index of compact filters, those say which blocks are worth
//! reading; else, or when the node shall not learn which ones matter, every block is read.

use std::collections::BTreeMap;
use std::fmt;

use bcm_keystore::Chain;
use bcm_keystore::wallet::{Ledger, WalletError};
use bdk_bitcoind_rpc::bip158::{self, FilterIter};
use bdk_bitcoind_rpc::bitcoincore_rpc::{self, Client, RpcApi, jsonrpc};
use bdk_bitcoind_rpc::{BlockEvent, Emitter};
use bdk_wallet::Update;
use bdk_wallet::bitcoin::constants::genesis_block;
use bdk_wallet::bitcoin::{
    Amount, Block, BlockHash, FeeRate, OutPoint, ScriptBuf, Transaction, TxOut, Txid,
};
use bdk_wallet::chain::indexer::Indexer as _;
use bdk_wallet::chain::{BlockId, ChainPosition, CheckPoint};
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoint::{HostPort, Via};
use super::error::SourceError;
use super::http::{Failure, Http};
use super::{Reading, Sync, Synced};

/// After how many blocks the wallet is saved; those in between are read again after a kill.
const SAVE_EVERY: u32 = 5_000;

/// How deep a reorganisation may be before the wallet has to look further back.
const KEEP_LAST: u32 = 20;

/// How many blocks lie between two that the wallet remembers though nothing in them is its own.
const REMEMBER_EVERY: u32 = 1_000;

/// A node.
pub struct Node {
    client: Client,
    endpoint: String,
    blocks: u64,
    pruned_below: u64,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.endpoint)
    }
}

#[derive(Deserialize)]
struct Index {
    synced: bool,
    best_block_height: u64,
}

#[derive(Deserialize)]
struct ChainInfo {
    blocks: u64,
    headers: u64,
    initialblockdownload: bool,
    #[serde(default)]
    pruneheight: Option<u64>,
}

impl Node {
    pub(super) fn connect(
        place: &HostPort,
        via: &Via,
        chain: Option<Chain>,
    ) -> Result<Self, SourceError> {
        let transport = jsonrpc::Client::with_transport(Http::new(place, via)?);
        let mut node = Self {
            client: Client::from_jsonrpc(transport),
            endpoint: format!("http://{place}"),
            blocks: 0,
            pruned_below: 0,
        };
        let genesis: BlockHash = node.call("getblockhash", &[json!(0)])?;
        if let Some(chain) = chain
            && genesis != genesis_block(chain.network()).block_hash()
        {
            return Err(SourceError::OtherChain {
                endpoint: node.endpoint,
                chain,
            });
        }
        let info: ChainInfo = node.call("getblockchaininfo", &[])?;
        if info.initialblockdownload && info.blocks > 0 {
            return Err(SourceError::Downloading {
                blocks: info.blocks,
                headers: info.headers,
            });
        }
        node.blocks = info.blocks;
        node.pruned_below = info.pruneheight.unwrap_or(0);
        Ok(node)
    }

    fn call<A: for<'a> Deserialize<'a>>(
        &self,
        method: &str,
        arguments: &[Value],
    ) -> Result<A, SourceError> {
        let answer = self.client.call(method, arguments);
        answer.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &bitcoincore_rpc::Error) -> SourceError {
        let endpoint = self.endpoint.clone();
        let reason = match error {
            bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Transport(failure)) => {
                return match failure.downcast_ref::<Failure>() {
                    Some(Failure::Unauthorized) => SourceError::Unauthorized(endpoint),
                    _ => SourceError::Unreachable {
                        endpoint,
                        reason: failure.to_string(),
                    },
                };
            }
            // warming up
            bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Rpc(error)) if error.code == -28 => {
                return SourceError::Unreachable {
                    endpoint,
                    reason: error.message.clone(),
                };
            }
            bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Rpc(error)) => error.message.clone(),
            error => error.to_string(),
        };
        SourceError::Nonsense { endpoint, reason }
    }

    pub(super) fn sync(self, ledger: &mut Ledger, with: &Sync<'_>) -> Result<Synced, SourceError> {
        let tip = u32::try_from(self.blocks).unwrap_or(u32::MAX);
        let start = ledger.birthday().max(ledger.height().min(tip));
        if self.pruned_below > u64::from(start) {
            return Err(SourceError::Pruned(self.pruned_below));
        }
        let filters = match with.reading {
            Reading::Matching if self.has_filters() => self.skim(ledger, with, tip)?,
            Reading::Matching | Reading::Every => Skimmed::default(),
        };
        let name = ledger.name().to_string();
        let disconnected = move || SourceError::Wallet(WalletError::Disconnected(name.clone()));
        let wallet = ledger.chain_state();
        let unconfirmed: Vec<_> = wallet
            .transactions()
            .filter(|known| matches!(known.chain_position, ChainPosition::Unconfirmed { .. }))
            .map(|known| known.tx_node.tx.clone())
            .collect();
        let checkpoint = wallet.latest_checkpoint();
        let mut emitter = Emitter::new(&self.client, checkpoint, ledger.birthday(), unconfirmed);
        let mut blocks = filters.blocks;
        let mut remembered = ledger.chain_state().latest_checkpoint().block_id();
        while let Some(event) = emitter.next_block().map_err(|error| self.failed(&error))? {
            with.check()?;
            blocks += 1;
            let height = event.block_height();
            if let Some(base) = base(ledger, &event, remembered) {
                let wallet = ledger.chain_state();
                let is_ours = concerns(wallet, &event.block);
                if is_ours || height % REMEMBER_EVERY == 0 || height + KEEP_LAST > tip {
                    wallet
                        .apply_block_connected_to(&event.block, height, base)
                        .map_err(|_| disconnected())?;
                    remembered = BlockId {
                        height,
                        hash: event.block_hash(),
                    };
                }
            } else {
                return Err(disconnected());
            }
            if blocks % 50 == 0 {
                (with.progress)(height, tip.max(height));
            }
            if blocks % SAVE_EVERY == 0 {
                with.save(ledger)?;
            }
        }
        let mempool = emitter
            .mempool_at(with.now)
            .map_err(|error| self.failed(&error))?;
        let wallet = ledger.chain_state();
        wallet.apply_unconfirmed_txs(mempool.update);
        wallet.apply_evicted_txs(mempool.evicted);
        with.save(ledger)?;
        Ok(Synced {
            height: ledger.height(),
            blocks,
            filters: filters.filters,
        })
    }

    /// Tells whether it has the compact filters of all of its blocks.
    fn has_filters(&self) -> bool {
        let name = "basic block filter index";
        let told = self.client.call("getindexinfo", &[json!(name)]);
        // one that is too old, or does not let us ask, has none for us
        told.is_ok_and(|indexes: BTreeMap<String, Index>| {
            let index = indexes.get(name);
            index.is_some_and(|index| index.synced && index.best_block_height >= self.blocks)
        })
    }

    /// Reads the filter of each block up to the tip, and the blocks whose filter fits the wallet.
    fn skim(&self, ledger: &mut Ledger, with: &Sync<'_>, tip: u32) -> Result<Skimmed, SourceError> {
        self.begin_at_birthday(ledger, tip)?;
        let mut done = Skimmed::default();
        loop {
            // anew now and then: what is paid to the last addresses brings more to look for, and the
            // iterator remembers every block that it has seen
            let start = ledger.chain_state().latest_checkpoint();
            let mut scripts = scripts(ledger);
            let wanted = scripts.len();
            let mut events = FilterIter::new(&self.client, start, scripts.drain(..));
            loop {
                let Some(event) = events.next() else {
                    return Ok(done);
                };
                let event = event.map_err(|error| self.not_filtered(ledger, &error))?;
                with.check()?;
                let height = event.height();
                done.filters += 1;
                done.blocks += u32::from(event.is_match());
                if self::keep(ledger, &event, tip)? && self::scripts(ledger).len() > wanted {
                    break;
                }
                if done.filters % 50 == 0 {
                    (with.progress)(height, tip.max(height));
                }
                if height % SAVE_EVERY == 0 {
                    with.save(ledger)?;
                }
                if height % REMEMBER_EVERY == 0 {
                    break;
                }
            }
        }
    }

    /// Leaves out what lies below the first block that can concern the wallet.
    fn begin_at_birthday(&self, ledger: &mut Ledger, tip: u32) -> Result<(), SourceError> {
        let below = ledger.birthday().min(tip).saturating_sub(1);
        if below > ledger.height() {
            let hash = self.call("getblockhash", &[json!(below)])?;
            remember(
                ledger,
                BlockId {
                    height: below,
                    hash,
                },
            )?;
        }
        Ok(())
    }

    fn not_filtered(&self, ledger: &Ledger, error: &bip158::Error) -> SourceError {
        match error {
            bip158::Error::Rpc(error) => self.failed(error),
            bip158::Error::ReorgDepthExceeded => disconnected(ledger),
            error => SourceError::Nonsense {
                endpoint: self.endpoint.clone(),
                reason: error.to_string(),
            },
        }
    }

    pub(super) fn broadcast(&self, transaction: &Transaction) -> Result<Txid, SourceError> {
        self.client
            .send_raw_transaction(transaction)
            .map_err(|error| match error {
                bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Rpc(error)) => {
                    SourceError::Rejected(error.message)
                }
                error => self.failed(&error),
            })
    }

    pub(super) fn fee_rate(&self, target: u16) -> Result<FeeRate, SourceError> {
        let estimate: Value = self.call("estimatesmartfee", &[json!(target)])?;
        let rate = estimate["feerate"].as_f64();
        let rate = rate.and_then(|rate| Amount::from_btc(rate).ok());
        let rate = rate.ok_or(SourceError::NoEstimate(target))?;
        Ok(FeeRate::from_sat_per_kwu(
            rate.to_sat().div_ceil(4).max(250),
        ))
    }

    pub(super) fn unspent(
        &self,
        coin: OutPoint,
        mempool: bool,
    ) -> Result<Option<TxOut>, SourceError> {
        let arguments = [json!(coin.txid), json!(coin.vout), json!(mempool)];
        let found: Option<Value> = self.call("gettxout", &arguments)?;
        let Some(found) = found else { return Ok(None) };
        let nonsense = || SourceError::Nonsense {
            endpoint: self.endpoint.clone(),
            reason: "an output without value or script".into(),
        };
        // as text: a float has not all of the digits
        let value = found["value"].to_string();
        let value = value
            .parse::<f64>()
            .ok()
            .and_then(|value| Amount::from_btc(value).ok())
            .ok_or_else(nonsense)?;
        let script = found["scriptPubKey"]["hex"].as_str().ok_or_else(nonsense)?;
        let script_pubkey = ScriptBuf::from_hex(script).map_err(|_| nonsense())?;
        Ok(Some(TxOut {
            value,
            script_pubkey,
        }))
    }
}

/// What was read by way of filters.
#[derive(Clone, Copy, Debug, Default)]
struct Skimmed {
    filters: u32,
    blocks: u32,
}

/// Returns every script that the wallet looks for.
fn scripts(ledger: &mut Ledger) -> Vec<ScriptBuf> {
    let index = ledger.chain_state().spk_index();
    index.inner().all_spks().values().cloned().collect()
}

fn disconnected(ledger: &Ledger) -> SourceError {
    WalletError::Disconnected(ledger.name().to_string()).into()
}

/// Takes over a block that is the wallet's, and remembers one that is worth it. Tells whether it is
/// the wallet's.
fn keep(ledger: &mut Ledger, event: &bip158::Event, tip: u32) -> Result<bool, SourceError> {
    let id = event.cp.block_id();
    if let Some(block) = &event.block
        && concerns(ledger.chain_state(), block)
    {
        let below = below(ledger, id.height);
        let applied =
            ledger
                .chain_state()
                .apply_block_connected_to(block, id.height, below.block_id());
        applied.map_err(|_| disconnected(ledger))?;
        return Ok(true);
    }
    // another block than the one that was there is what undoes a reorganisation
    let known = ledger.chain_state().latest_checkpoint();
    let replaces = known
        .get(id.height)
        .is_some_and(|old| old.hash() != id.hash);
    if replaces || id.height % REMEMBER_EVERY == 0 || id.height + KEEP_LAST > tip {
        remember(ledger, id)?;
    }
    Ok(false)
}

fn remember(ledger: &mut Ledger, id: BlockId) -> Result<(), SourceError> {
    let chain = below(ledger, id.height).push(id).ok();
    let update = Update {
        chain,
        ..Update::default()
    };
    let applied = ledger.chain_state().apply_update(update);
    applied.map_err(|_| disconnected(ledger))
}

/// Returns the highest block below `height` that the wallet remembers.
fn below(ledger: &mut Ledger, height: u32) -> CheckPoint {
    let mut known = ledger.chain_state().checkpoints();
    let found = known.find(|known| known.height() < height);
    found.expect("every chain begins with the block 0, which no event is about")
}

/// Returns the block of the wallet's that the new one is built on, as far as the wallet has it.
fn base(ledger: &mut Ledger, event: &BlockEvent<Block>, remembered: BlockId) -> Option<BlockId> {
    let below = event.connected_to();
    if below.height >= remembered.height {
        return Some(remembered);
    }
    // the chain was reorganised below what is remembered: go back to where both agree
    let checkpoints = ledger.chain_state().checkpoints();
    checkpoints
        .map(|checkpoint| checkpoint.block_id())
        .find(|known| {
            known.height <= below.height
                && event
                    .checkpoint
                    .get(known.height)
                    .is_none_or(|emitted| emitted.hash() == known.hash)
        })
}

/// Tells whether a block pays the wallet or spends what is its own.
fn concerns(wallet: &bdk_wallet::Wallet, block: &Block) -> bool {
    let index = wallet.spk_index();
    let mut transactions = block.txdata.iter();
    transactions.any(|transaction| {
        index.is_tx_relevant(transaction)
            || transaction
                .output
                .iter()
                .any(|output| index.index_of_spk(output.script_pubkey.clone()).is_some())
    })
}
