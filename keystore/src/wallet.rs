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
pub mod record;
mod script;
mod xpub;

pub use address::show_address;
pub use book::{NewWallet, WalletBook, WalletName};
pub use descriptor::{Spender, WalletDescriptor};
pub use error::WalletError;
pub use export::ExportFormat;
pub use ledger::{Coin, Event, Ledger, Receiving};
pub use payment::{Fee, PaymentError, Recipient};
pub use script::{MAX_ACCOUNT, ScriptKind, UnknownScript};
pub use xpub::{AccountXpub, account_xpub};
