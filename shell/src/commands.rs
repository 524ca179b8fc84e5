//! The commands, one noun each: what they take and what they do.

pub mod config;
pub mod device;
pub mod info;
pub mod message;
pub mod psbt;
pub mod simulator;
pub mod ssh;
pub mod stack;
pub mod wallet;
