//! Why an archive of images is not to be used.

use std::io;

use bcm_keystore::Hint;

use crate::image::{ImageDigest, Platform};

/// Why an archive of images is not to be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file or the pipe failed, not its content.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// It is no tar archive, packed or not.
    #[error("it is neither a tar archive nor one packed with gzip or zstd")]
    Form,
    /// Its tar is wrong.
    #[error("it is damaged: {0}")]
    Tar(TarFlaw),
    /// It holds more entries than any archive of images.
    #[error("it has more than {0} entries")]
    Entries(usize),
    /// Two entries have one name: readers would differ in which of them counts.
    #[error("it has two entries `{0}`")]
    Duplicate(String),
    /// An entry that is neither a file, a folder nor a link.
    #[error("its entry `{0}` is neither a file, a folder nor a link")]
    Special(String),
    /// A file is not what its name says.
    #[error("its entry `{path}` has the digest {found}")]
    Name {
        /// The entry.
        path: String,
        /// The digest of its content.
        found: ImageDigest,
    },
    /// A manifest, an index or a configuration is too long.
    #[error("its entry `{path}` is longer than {limit} bytes")]
    Oversize {
        /// The entry.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// There is nothing in it that describes an image.
    #[error("it holds no image: neither `manifest.json` nor `index.json` is in it")]
    NoImage,
    /// Something that is named is not in it.
    #[error("`{what}` names `{path}`, which is not in it")]
    Missing {
        /// What names it.
        what: String,
        /// What is named.
        path: String,
    },
    /// Something is not the JSON that it has to be.
    #[error("its entry `{path}` is wrong: {flaw}")]
    Malformed {
        /// The entry.
        path: String,
        /// What is wrong.
        flaw: String,
    },
    /// Something does not have the digest or the length that it is named by.
    #[error("`{what}` expects {expected}, found {found}")]
    Digest {
        /// What names it.
        what: String,
        /// What is named.
        expected: String,
        /// What was read.
        found: String,
    },
    /// A layer is wrong.
    #[error("its layer {digest} is wrong: {flaw}")]
    Layer {
        /// The layer, as it lies in the archive.
        digest: ImageDigest,
        /// What is wrong.
        flaw: LayerFlaw,
    },
    /// It holds another image than the one that was asked for.
    #[error("it does not hold the image {expected}, found {}", list(found))]
    OtherImage {
        /// What was asked for.
        expected: ImageDigest,
        /// What is in it.
        found: Vec<ImageDigest>,
    },
    /// It holds several images where one was expected.
    #[error("it holds {} images: {}", .0.len(), list(.0))]
    Several(Vec<ImageDigest>),
    /// It is for another machine.
    #[error("the image {id} is for {found}, expected {expected}")]
    Platform {
        /// The image.
        id: ImageDigest,
        /// What the host is.
        expected: Platform,
        /// What the image is for.
        found: Platform,
    },
}

/// What is wrong with a tar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarFlaw {
    /// The bytes are no tar, or what unpacks them failed.
    #[error("{0}")]
    Damaged(String),
    /// It ends within an entry.
    #[error("it ends within `{0}`")]
    Truncated(String),
    /// An entry would come to lie outside.
    #[error("its entry `{0}` lies outside")]
    Outside(String),
    /// A link leads outside.
    #[error("its link `{path}` leads outside, to `{target}`")]
    LinkOutside {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A name or an extension is too long.
    #[error("an extended header is longer than {0} bytes")]
    Extension(u64),
    /// A kind of entry that images do not have.
    #[error("its entry `{0}` is of a kind that is not read: sparse, or longer than 8 GiB")]
    Kind(String),
    /// It unpacks to more than any layer.
    #[error("it unpacks to more than {0} bytes")]
    Bomb(u64),
}

/// What is wrong with a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerFlaw {
    /// It is no tar, packed or not.
    #[error("it is neither a tar archive nor one packed with gzip or zstd")]
    Form,
    /// Its tar is wrong.
    #[error("{0}")]
    Tar(TarFlaw),
    /// It unpacks to something else than the configuration says.
    #[error("it unpacks to {found}, expected {expected}")]
    DiffId {
        /// What the configuration says.
        expected: ImageDigest,
        /// What was found.
        found: ImageDigest,
    },
}

fn list(digests: &[ImageDigest]) -> String {
    let digests: Vec<_> = digests.iter().map(ToString::to_string).collect();
    digests.join(", ")
}

impl ArchiveError {
    /// Tells whether what was read is not to be trusted, and not that it could not be read.
    pub fn is_verification(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Several(_))
    }
}

impl Hint for ArchiveError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read(_) => "check the disk and who owns the file".into(),
            Self::Form | Self::NoImage => {
                "make one with `docker save`, `skopeo copy … oci-archive:` or `image build`".into()
            }
            Self::Several(_) => "name one of them with `--digest`".into(),
            Self::OtherImage { .. } => {
                "compare the digest with whoever gave it to you; do not load this".into()
            }
            Self::Platform { expected, .. } => format!("get the archive for {expected}"),
            _ => "get the archive anew and compare its digest; do not load this one".into(),
        })
    }
}
