//! Why the chain cannot be read, or a transaction not be sent.

use bcm_keystore::wallet::WalletError;
use bcm_keystore::{Chain, Hint};

/// Why the chain cannot be read, or a transaction not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nobody answers there.
    #[error("`{endpoint}` cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// It does not let us in.
    #[error("the node at `{0}` does not accept the cookie")]
    Unauthorized(String),
    /// The cookie file cannot be read.
    #[error("the cookie file `{path}` cannot be read: {reason}")]
    Cookie {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// It is on another chain.
    #[error("`{endpoint}` is on another chain than {chain}")]
    OtherChain {
        /// Where.
        endpoint: String,
        /// The chain that is worked on.
        chain: Chain,
    },
    /// It does not know the whole chain yet.
    #[error("the node is still downloading the chain: block {blocks} of {headers}")]
    Downloading {
        /// Blocks it has.
        blocks: u64,
        /// Headers it knows.
        headers: u64,
    },
    /// It has thrown the blocks away that are asked for.
    #[error("the node has pruned the blocks below {0}")]
    Pruned(u64),
    /// It answers what makes no sense.
    #[error("`{endpoint}` answers what makes no sense: {reason}")]
    Nonsense {
        /// Where.
        endpoint: String,
        /// What.
        reason: String,
    },
    /// The node refuses a transaction.
    #[error("the node refuses the transaction: {0}")]
    Rejected(String),
    /// It has no estimate.
    #[error("there is no estimate of fees for {0} blocks")]
    NoEstimate(u16),
    /// A file gives and takes nothing but blocks.
    #[error("a file of blocks can do nothing but sync")]
    Offline,
    /// The policy wants one's own node.
    #[error("the policy wants the own node to know the coins, and the source is none")]
    NotOwn,
    /// A line of a file of blocks.
    #[error("line {line} is no block: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The wallet refuses.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// Nobody waits any more.
    #[error("cancelled")]
    Cancelled,
}

impl Hint for SourceError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { .. } => {
                "is it running? the wallet is as it was; everything but sync, estimates and \
                 broadcast works without it"
                    .into()
            }
            Self::Unauthorized(_) | Self::Cookie { .. } => {
                "name bitcoind's cookie: `config set wallet.cookie=~/.bitcoin/.cookie`".into()
            }
            Self::OtherChain { .. } => {
                "nothing was changed; look at both: `config get chain`, `config get wallet.source`"
                    .into()
            }
            Self::Downloading { .. } => "nothing was changed; wait until it is done".into(),
            Self::Pruned(_) => "use a node with all blocks, or an Electrum server".into(),
            Self::NoEstimate(_) => "say it yourself: `--fee-rate 2`".into(),
            Self::Offline => "use a node or an Electrum server: `--source http://127.0.0.1:8332`".into(),
            Self::NotOwn => "`config set wallet.source=http://127.0.0.1:8332`".into(),
            Self::Line { .. } => {
                "a line is a height and the block in hex, as `bitcoin-cli getblock HASH 0` prints it"
                    .into()
            }
            Self::Wallet(error) => return error.hint(),
            _ => return None,
        })
    }
}
