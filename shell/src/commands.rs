//! The commands, one noun each: what they take and what they do.

pub mod age;
pub mod age_plugin;
pub mod cluster;
pub mod config;
pub mod device;
pub mod file;
pub mod git;
pub mod image;
pub mod info;
pub mod message;
pub mod password;
pub mod pgp;
pub mod psbt;
pub mod serve;
pub mod simulator;
pub mod ssh;
pub mod ssh_proxy;
pub mod stack;
pub mod statement;
pub mod wallet;
