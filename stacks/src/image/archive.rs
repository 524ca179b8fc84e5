//! Archives of images: `docker save`, and the [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md)
//! in a tar, gz or zstd file, read once, as a stream, and never unpacked.
//!
//! What [`Archive::read`] returns was verified: the digest of everything that a manifest names, and the digest of
//! what each layer unpacks to. An [`Archive`] is made in no other way.

mod blob;
mod error;
mod images;
mod layer;
mod members;
#[cfg(test)]
mod tests;
pub(crate) mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use serde::Serialize;

use super::digest::{Hashing, ImageDigest};
use super::platform::Platform;

pub use error::{ArchiveError, LayerFlaw, TarFlaw};
pub use layer::PACKAGE_FILES;

/// Longest manifest, index or configuration.
pub const MAX_JSON: u64 = 4 << 20;

/// Most that all manifests, indexes and configurations of one archive may hold together.
const MAX_ALL_JSON: u64 = 64 << 20;

/// Most entries of an archive; an image with the most layers that an engine takes has some 500.
const MAX_MEMBERS: usize = 20_000;

/// Most that one layer may unpack to: a small file can unpack to anything.
const MAX_LAYER: u64 = 64 << 30;

/// Whether the files that tell of packages are kept while an archive is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packages {
    /// They are passed over.
    Skip,
    /// They are kept, for a scan.
    Keep,
}

/// An archive of images that was read to its end and verified.
#[derive(Clone, Debug)]
pub struct Archive {
    images: Vec<ArchivedImage>,
    digest: ImageDigest,
    bytes: u64,
}

/// One image of an [`Archive`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArchivedImage {
    /// The image ID: the digest of its configuration.
    pub id: ImageDigest,
    /// The digest of its manifest, in an OCI layout: by this an engine that uses containerd's store knows it.
    pub manifest: Option<ImageDigest>,
    /// The names that it has in the archive; nothing vouches for them.
    pub names: Vec<String>,
    /// What machine it is for.
    pub platform: Platform,
    /// When it says that it was made.
    pub created: Option<String>,
    /// The user that it runs as, as it says.
    pub user: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Files that tell of packages, by path, as the topmost layer left them.
    #[serde(skip)]
    pub files: BTreeMap<String, Vec<u8>>,
}

/// One layer of an [`ArchivedImage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Layer {
    /// The digest of it as it lies in the archive.
    pub digest: ImageDigest,
    /// The digest of what it unpacks to.
    pub diff_id: ImageDigest,
    /// Its length in the archive.
    pub bytes: u64,
    /// The length of what it unpacks to.
    pub unpacked: u64,
}

impl Archive {
    /// Reads an archive to its end and verifies everything in it.
    ///
    /// # Errors
    ///
    /// Any [`ArchiveError`].
    pub fn read(input: impl Read, packages: Packages) -> Result<Self, ArchiveError> {
        let mut input = Hashing::new(input);
        let members = blob::unpacked(&mut input, |tar| members::read(tar, packages))?;
        // what follows the archive belongs to the file, and so to its digest
        io::copy(&mut input, &mut io::sink()).map_err(ArchiveError::Read)?;
        let (digest, bytes) = input.finish();
        let images = images::find(&members)?;
        Ok(Self {
            images,
            digest,
            bytes,
        })
    }

    /// Returns the images, in the order of their IDs; at least one.
    pub fn images(&self) -> &[ArchivedImage] {
        &self.images
    }

    /// Returns the digest of the whole file.
    pub fn digest(&self) -> ImageDigest {
        self.digest
    }

    /// Returns the length of the whole file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the image with this ID or manifest digest.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::OtherImage`].
    pub fn image(&self, digest: &ImageDigest) -> Result<&ArchivedImage, ArchiveError> {
        let mut images = self.images.iter();
        images
            .find(|image| image.id == *digest || image.manifest == Some(*digest))
            .ok_or_else(|| ArchiveError::OtherImage {
                expected: *digest,
                found: self.images.iter().map(|image| image.id).collect(),
            })
    }

    /// Returns the only image.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Several`].
    pub fn only(&self) -> Result<&ArchivedImage, ArchiveError> {
        match self.images.as_slice() {
            [only] => Ok(only),
            several => Err(ArchiveError::Several(
                several.iter().map(|image| image.id).collect(),
            )),
        }
    }

    /// Fails unless every image runs on `host`.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Platform`].
    pub fn check_platform(&self, host: &Platform) -> Result<(), ArchiveError> {
        self.images
            .iter()
            .try_for_each(|image| image.check_platform(host))
    }
}

impl ArchivedImage {
    /// Fails unless it runs on `host`.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Platform`].
    pub fn check_platform(&self, host: &Platform) -> Result<(), ArchiveError> {
        match self.platform.runs_on(host) {
            true => Ok(()),
            false => Err(ArchiveError::Platform {
                id: self.id,
                expected: host.clone(),
                found: self.platform.clone(),
            }),
        }
    }

    /// Returns the length of all layers as they lie in the archive.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Returns the chains that it may serve, where it is not for all.
    pub fn chains(&self) -> Option<BTreeSet<&str>> {
        let label = self.labels.get(super::CHAINS_LABEL)?;
        Some(
            label
                .split([',', ' '])
                .filter(|chain| !chain.is_empty())
                .collect(),
        )
    }
}
