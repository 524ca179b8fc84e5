//! Where wallets get blocks and transactions from, and give theirs to.
//!
//! `bcm-keystore` knows no hosts; what is fetched here is handed to its wallets. Everything blocks
//! and runs below [`crate::session::blocking`].

mod electrum;
mod endpoint;
mod error;
mod file;
mod http;
mod node;

use bcm_keystore::Chain;
use bcm_keystore::wallet::{Ledger, WalletBook};
use bdk_wallet::bitcoin::{FeeRate, OutPoint, Transaction, TxOut, Txid};

use crate::report::Report;
use crate::session::Cancelled;

pub use endpoint::{Endpoint, EndpointError, Via};
pub use error::SourceError;

/// Says that nobody said where the chain is known.
pub fn no_source() -> Report {
    Report::usage("nothing says where to get blocks from").with_hint(
        "`config set wallet.source=http://127.0.0.1:8332 wallet.cookie=PATH`, or give `--source`",
    )
}

/// A connection to where the chain is known.
#[derive(Debug)]
pub enum Source {
    /// One's own bitcoind.
    Node(node::Node),
    /// An Electrum server.
    Electrum(Box<electrum::Server>),
    /// A file of blocks.
    File(file::Blocks),
}

/// What a sync did.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Synced {
    /// Up to which block.
    pub height: u32,
    /// How many blocks were looked at; an Electrum server shows none.
    pub blocks: u32,
    /// How many compact filters said which blocks to look at.
    pub filters: u32,
}

/// Which blocks a node is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Those that its compact filters name, where it has some: quick, but it learns which they are.
    Matching,
    /// Every one.
    Every,
}

/// What a sync works with besides the wallet.
pub struct Sync<'a> {
    /// Keeps what was found.
    pub book: &'a WalletBook,
    /// Ends it early.
    pub cancelled: &'a Cancelled,
    /// Hears how far it is: height, and the height of the tip.
    pub progress: &'a dyn Fn(u32, u32),
    /// Which blocks to ask a node for.
    pub reading: Reading,
    /// Now, in seconds of the Unix epoch.
    pub now: u64,
}

impl std::fmt::Debug for Sync<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sync")
    }
}

impl Sync<'_> {
    fn save(&self, ledger: &mut Ledger) -> Result<(), SourceError> {
        self.book.save(ledger).map_err(SourceError::Wallet)
    }

    fn check(&self) -> Result<(), SourceError> {
        self.cancelled.check().map_err(|_| SourceError::Cancelled)
    }
}

impl Source {
    /// Connects, and looks whether it is the right chain, where there is one.
    ///
    /// # Errors
    ///
    /// Any [`SourceError`].
    pub fn connect(
        endpoint: &Endpoint,
        via: &Via,
        chain: impl Into<Option<Chain>>,
    ) -> Result<Self, SourceError> {
        let chain = chain.into();
        Ok(match endpoint {
            Endpoint::Node(url) => Self::Node(node::Node::connect(url, via, chain)?),
            Endpoint::Electrum(url) => {
                Self::Electrum(Box::new(electrum::Server::connect(url, via, chain)?))
            }
            Endpoint::File(path) => Self::File(file::Blocks::open(path)?),
        })
    }

    /// Brings a wallet up to date; what was found is saved on the way.
    ///
    /// # Errors
    ///
    /// Any [`SourceError`]; what was saved before is good.
    pub fn sync(self, ledger: &mut Ledger, with: &Sync<'_>) -> Result<Synced, SourceError> {
        match self {
            Self::Node(node) => node.sync(ledger, with),
            Self::Electrum(server) => server.sync(ledger, with),
            Self::File(blocks) => blocks.sync(ledger, with),
        }
    }

    /// Gives a transaction to the network.
    ///
    /// # Errors
    ///
    /// [`SourceError::Rejected`] with the node's reason.
    pub fn broadcast(&self, transaction: &Transaction) -> Result<Txid, SourceError> {
        match self {
            Self::Node(node) => node.broadcast(transaction),
            Self::Electrum(server) => server.broadcast(transaction),
            Self::File(_) => Err(SourceError::Offline),
        }
    }

    /// Estimates the fee rate for a confirmation within `target` blocks.
    ///
    /// # Errors
    ///
    /// [`SourceError::NoEstimate`].
    pub fn fee_rate(&self, target: u16) -> Result<FeeRate, SourceError> {
        match self {
            Self::Node(node) => node.fee_rate(target),
            Self::Electrum(server) => server.fee_rate(target),
            Self::File(_) => Err(SourceError::Offline),
        }
    }

    /// Asks one's own node for an unspent coin; `None` where it knows none. With `mempool`, one that
    /// an unconfirmed transaction spends is spent.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotOwn`] where the source is not a node.
    pub fn unspent(&self, coin: OutPoint, mempool: bool) -> Result<Option<TxOut>, SourceError> {
        match self {
            Self::Node(node) => node.unspent(coin, mempool),
            Self::Electrum(_) | Self::File(_) => Err(SourceError::NotOwn),
        }
    }
}
