//! Why a wallet does not do what it is asked to.

use crate::chain::Chain;
use crate::device::DeviceError;
use crate::hint::Hint;
use crate::store::StoreError;

/// Why a wallet does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The device or the person at it refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The sealed file is not to be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database refused.
    #[error("the wallet's database refused")]
    Database(#[source] rusqlite::Error),
    /// What the database holds is no wallet.
    #[error("what is stored of the wallet `{name}` is damaged: {reason}")]
    Damaged {
        /// The wallet.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No name for a wallet.
    #[error("`{0}` is no name for a wallet")]
    Name(String),
    /// The name is taken.
    #[error("there is a wallet `{0}` already")]
    Exists(String),
    /// No wallet goes by that name.
    #[error("no wallet `{name}` on {chain}")]
    NotFound {
        /// What was looked for.
        name: String,
        /// Where.
        chain: Chain,
        /// The name that is spelled most alike.
        nearest: Option<String>,
    },
    /// There is no wallet, or several and none was named.
    #[error("{}", match found.len() { 0 => format!("there is no wallet on {chain} yet"), n => format!("there are {n} wallets on {chain}: {}", found.join(", ")) })]
    NotNamed {
        /// Where.
        chain: Chain,
        /// The names.
        found: Vec<String>,
    },
    /// An account that the device refuses.
    #[error("account {0} is above 100, which the device does not let through")]
    Account(u32),
    /// A cosigner's key that is none.
    #[error("`{key}` is no cosigner: {reason}")]
    Cosigner {
        /// The key, cut.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Keys that make no multisig wallet.
    #[error("these keys make no {m}-of-{n} wallet: {reason}")]
    Multisig {
        /// Signatures needed.
        m: usize,
        /// Keys.
        n: usize,
        /// What is wrong.
        reason: String,
    },
    /// A descriptor that is none.
    #[error("this is no descriptor of a wallet: {0}")]
    Descriptor(String),
    /// Something of another chain.
    #[error("{what} is not of {chain}")]
    OtherChain {
        /// What.
        what: String,
        /// The chain that is worked on.
        chain: Chain,
    },
    /// The device shows another address than the descriptor gives.
    #[error("the device shows `{shown}` where the descriptor gives `{derived}`")]
    AddressDiffers {
        /// The device's.
        shown: String,
        /// The descriptor's.
        derived: String,
    },
    /// The chain that came in does not continue the one that is known.
    #[error("the blocks that came in do not continue what the wallet `{0}` knows of the chain")]
    Disconnected(String),
    /// An address that is none.
    #[error("`{0}` is no Bitcoin address")]
    Address(String),
    /// An amount that is none.
    #[error("`{0}` is no amount of bitcoin")]
    Amount(String),
    /// Not one of the wallet's coins.
    #[error("`{0}` is no unspent coin of this wallet")]
    NoCoin(String),
    /// The wallet does not have this address.
    #[error("`{0}` is no address that this wallet has given out")]
    NotOurs(String),
    /// The device has no way to do this.
    #[error("the device cannot {0}")]
    Unsupported(String),
    /// A line of a labels file that cannot be read.
    #[error("line {line} is no label of BIP-329: {reason}")]
    Label {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<rusqlite::Error> for WalletError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl Hint for WalletError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Device(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Damaged { .. } => Some(
                "nothing was changed; the keys are on the device: make the wallet anew with \
                 `wallet create` and `wallet sync`"
                    .into(),
            ),
            Self::Name(_) => Some("use up to 40 letters, digits, `-`, `_` and `.`".into()),
            Self::Exists(name) => Some(format!("show it with `wallet show {name}`")),
            Self::NotFound {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`?")),
            Self::NotFound { .. } => Some("list them with `wallet list`".into()),
            Self::NotNamed { found, .. } if found.is_empty() => {
                Some("make one: `wallet create savings --script p2wpkh`".into())
            }
            Self::NotNamed { .. } => Some("name one of them".into()),
            Self::Cosigner { .. } => Some(
                "a cosigner's key is written `[fingerprint/48h/0h/0h/2h]xpub…`; `wallet xpub` \
                 prints one's own"
                    .into(),
            ),
            Self::Descriptor(_) => Some("compare it with where it came from".into()),
            Self::OtherChain { .. } => {
                Some("look at both: `config get chain`, and where this came from".into())
            }
            Self::AddressDiffers { .. } => Some(
                "do not use this address: the device or the path between is not to be trusted"
                    .into(),
            ),
            Self::Disconnected(_) => {
                Some("sync it from its beginning: `wallet sync --rescan`".into())
            }
            Self::Amount(_) => Some("write `0.001`, `0.001btc` or `100000sat`".into()),
            Self::NoCoin(_) => Some("list the coins with `wallet utxos`".into()),
            Self::NotOurs(_) => Some("show one with `wallet receive`".into()),
            _ => None,
        }
    }
}
