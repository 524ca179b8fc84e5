//! Container images without a registry: read and verified as archives, built, and brought to engines.
//!
//! An image is known by its ID, the SHA-256 of its configuration, which names the digest of every layer: whoever
//! has the ID can check the whole image, wherever it came from.

pub mod archive;
pub mod build;
mod digest;
pub mod engine;
pub mod pack;
mod packages;
mod platform;
mod recipe;
pub mod release;
pub mod scan;

pub use archive::{Archive, ArchiveError, ArchivedImage};
pub use digest::{ImageDigest, ImageDigestError};
pub use packages::{Installed, Package};
pub use platform::{Platform, PlatformError};
pub use recipe::{Programs, RECIPES, RELEASE_RECIPES, Recipe, Suite};

/// The label that says which chains an image may serve, separated by commas; one without serves all.
pub const CHAINS_LABEL: &str = "org.bitcoincachemachine.chains";
