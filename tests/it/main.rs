//! One binary for all end-to-end tests.
#![expect(
    clippy::unwrap_used,
    reason = "what helps a test fails it as the test itself would"
)]

mod age;
mod architecture;
mod bad_input;
mod clients;
mod cluster_hosts;
mod cluster_prepare;
mod config;
mod device_loss;
mod engine;
mod engine_commands;
mod files;
mod files_age;
mod files_pgp;
mod files_signed;
mod git;
mod hostile_device;
mod image;
mod image_release;
mod instances;
mod interop_gpg;
mod password;
mod pgp;
mod psbt;
mod repl;
mod secrets;
mod ssh_agent;
mod ssh_certificate;
mod ssh_login;
mod stack;
mod stack_apply;
mod stack_programs;
mod statement;
mod support;
mod threats;
mod unlock;
mod vectors;
mod wallet;
mod wallet_peers;
mod wallet_refuses;
