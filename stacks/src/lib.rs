#![doc = include_str!("../README.md")]

mod catalog;
mod configuration;
mod graph;
mod onion;
pub mod render;
pub mod secret;
mod stack;

pub use catalog::{Catalog, CatalogError, Defect, Folder};
pub use configuration::{Configuration, ImageChoice, OnionClient};
pub use render::{RenderError, Rendered, Warning};
pub use secret::{SecretId, Secrets};
pub use stack::*;
