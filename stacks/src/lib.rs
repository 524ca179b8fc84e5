#![doc = include_str!("../README.md")]

mod catalog;
mod graph;
pub mod image;
mod stack;

pub use catalog::{Catalog, CatalogError};
pub use stack::{Kind, Maintenance, Stack, StackName, StackNameError, Upstream};
