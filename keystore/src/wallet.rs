//! Bitcoin wallets whose keys stay on the device: descriptors, addresses, coins, messages.
//!
//! A wallet is a pair of descriptors over account keys of the device, and what is known of the chain
//! for them. It is kept in one SQLite database that lives in memory and is sealed on disk
//! ([`WalletBook`]). Where blocks and transactions come from is the business of `bcm-shell`.

mod address;
mod book;
mod database;
mod descriptor;
mod error;
mod export;
pub mod labels;
mod ledger;
pub mod message;
mod payment;
pub mod policy;
pub mod psbt;
pub mod record;
mod script;
pub mod sign_tx;
mod xpub;

pub use address::show_address;
pub use book::{NewWallet, WalletBook, WalletName};
pub use descriptor::{Spender, WalletDescriptor};
pub use error::WalletError;
pub use export::ExportFormat;
pub use ledger::{Coin, Event, Ledger, Receiving};
pub use payment::{Fee, Known, PaymentError, Recipient};
pub use psbt::{Document, PsbtError};
pub use script::{MAX_ACCOUNT, ScriptKind, UnknownScript};
pub use sign_tx::{
    AccountKey, FeeAlarm, PreviousTransactions, SignError, SignReport, SignRequest, sign_psbt,
};
pub use xpub::{AccountXpub, account_xpub};

#[cfg(test)]
mod tests;
