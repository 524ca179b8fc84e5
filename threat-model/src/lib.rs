#![doc = include_str!("../README.md")]

mod adversary;
mod asset;
mod threat;

pub use adversary::Adversary;
pub use asset::Asset;
pub use threat::{THREATS, Threat};
