#![doc = include_str!("../README.md")]

mod catalog;
mod graph;
mod stack;

pub use catalog::{Catalog, CatalogError, Defect, Folder};
pub use stack::*;
