//! The wallet: transactions that the device signs, and nothing that holds a private key.

pub mod psbt;
pub mod sign_tx;

pub use psbt::{Document, PsbtError};
pub use sign_tx::{
    AccountKey, FeeAlarm, PreviousTransactions, SignError, SignReport, SignRequest, sign_psbt,
};
