#![doc = include_str!("../README.md")]

mod catalog;
mod graph;
mod stack;

pub use catalog::{Catalog, CatalogError};
pub use stack::{Kind, Maintenance, Stack, StackName, StackNameError, Upstream};
