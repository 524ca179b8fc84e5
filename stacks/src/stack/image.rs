//! Where the image of a service comes from.

use std::fmt;
use std::str::FromStr;

use bcm_keystore::Chain;
use serde::{Deserialize, Serialize};

use super::text::{FingerprintHex, Line, PartName, Sha256Hex, Word, is_sha256};
use super::version::Version;

/// One image that a service can be made from; the first that fits the chain is the default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The service.
    pub service: PartName,
    /// Which of several, where templates differ.
    pub variant: PartName,
    /// The release inside.
    pub version: Version,
    /// Name and digest in a registry; absent where no digest is known, and then nothing is pulled.
    #[serde(default)]
    pub reference: Option<ImageReference>,
    /// What the digest names.
    #[serde(default)]
    pub platform: Platform,
    /// How many stand behind the digest.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// Who published the digest, or why there is none.
    pub source: Line,
    /// The chains that this image may run on; all of the stack's when empty.
    #[serde(default)]
    pub chains: Vec<Chain>,
    /// How to make it without a registry.
    #[serde(default)]
    pub build: Vec<Build>,
}

impl Image {
    /// Tells whether the image may run on `chain`.
    pub fn runs_on(&self, chain: Chain) -> bool {
        self.chains.is_empty() || self.chains.contains(&chain)
    }
}

/// What a digest names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// A list for several platforms.
    Index,
    /// One image for x86-64.
    Amd64,
    /// One image for 64-bit Arm.
    Arm64,
    /// Nobody says; the registry's manifest tells.
    #[default]
    Unknown,
}

/// How many sources agree on a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Several independent ones, or a signed list.
    High,
    /// One careful one.
    Medium,
    /// One, not confirmed.
    Low,
}

/// A way to make an image without trusting a registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase", deny_unknown_fields)]
pub enum Build {
    /// From Debian's signed packages.
    Debian {
        /// The suite, such as `bookworm` or `sid`.
        suite: PartName,
        /// The packages.
        packages: Vec<Word>,
    },
    /// From an upstream archive.
    Release {
        /// Its name.
        file: Word,
        /// Its digest.
        sha256: Sha256Hex,
        /// Who checked the digest, and how.
        verified: Line,
        /// The certificates whose signatures over the list of digests count.
        #[serde(default)]
        signers: Vec<FingerprintHex>,
        /// How many of them are needed.
        #[serde(default)]
        needed: u8,
    },
    /// From crates.io, locked.
    Crates {
        /// The crate.
        name: Word,
        /// Its release.
        version: Version,
    },
    /// From upstream's repository, by hand.
    Source {
        /// What to do.
        how: Line,
    },
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian { suite, packages } => {
                write!(f, "Debian {suite}:")?;
                packages
                    .iter()
                    .try_for_each(|package| write!(f, " {package}"))
            }
            Self::Release { file, .. } => write!(f, "release archive {file}"),
            Self::Crates { name, version } => write!(f, "crates.io {name} {version}"),
            Self::Source { how } => write!(f, "{how}"),
        }
    }
}

/// An image by what it contains: `NAME[:TAG]@sha256:DIGEST` in a registry, or `sha256:ID` on a host.
///
/// A tag alone is none: whoever owns the registry could change what it means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference(String);

/// A text that does not name an image by its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` does not name an image by digest: `NAME[:TAG]@sha256:…` or `sha256:…`", .0.chars().take(120).flat_map(char::escape_debug).collect::<String>())]
pub struct ImageReferenceError(String);

impl ImageReference {
    /// Returns it as the engine takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the digest, `sha256:` before it.
    pub fn digest(&self) -> &str {
        self.0
            .rsplit_once('@')
            .map_or(&self.0, |(_, digest)| digest)
    }

    /// Tells whether the image is on the host already and comes from no registry.
    pub fn is_local(&self) -> bool {
        !self.0.contains('@')
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ImageReferenceError;

    fn try_from(text: String) -> Result<Self, ImageReferenceError> {
        let digest = |text: &str| text.strip_prefix("sha256:").is_some_and(is_sha256);
        let fits = match text.rsplit_once('@') {
            Some((name, after)) => is_name_and_tag(name) && digest(after),
            None => digest(&text),
        };
        if fits {
            Ok(Self(text))
        } else {
            Err(ImageReferenceError(text))
        }
    }
}

/// See [the grammar](https://github.com/distribution/reference/blob/main/reference.go).
fn is_name_and_tag(text: &str) -> bool {
    let slash = text.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match text[slash..].find(':') {
        Some(colon) => (&text[..slash + colon], Some(&text[slash + colon + 1..])),
        None => (text, None),
    };
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric()
    };
    let part = |(at, part): (usize, &str)| {
        let host = at == 0 && name.contains('/');
        plain(part, if host { b"._-:" } else { b"._-" })
            && (host || !part.bytes().any(|b| b.is_ascii_uppercase()))
    };
    text.len() <= 200
        && name.split('/').enumerate().all(part)
        && tag.is_none_or(|tag| plain(tag, b"._-"))
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        text.to_owned().try_into()
    }
}

impl From<ImageReference> for String {
    fn from(image: ImageReference) -> Self {
        image.0
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_change_names_an_image() {
        let digest = "da25cedc66b1daefff9f412ee196c901a899c3fa68a33b20849c3e08b5c40d63";
        for good in [
            format!("bitcoin/bitcoin:31.1@sha256:{digest}"),
            format!("ghcr.io/getumbrel/tor@sha256:{digest}"),
            format!("localhost:5000/tor:1@sha256:{digest}"),
            format!("sha256:{digest}"),
        ] {
            let image: ImageReference = good.parse().unwrap();
            assert_eq!(image.digest(), format!("sha256:{digest}"));
            assert_eq!(image.is_local(), good.starts_with("sha256"));
        }
        for bad in [
            "bitcoin/bitcoin:31.1".to_owned(),
            digest.to_owned(),
            format!("@sha256:{digest}"),
            format!("a b@sha256:{digest}"),
            format!("a/../b@sha256:{digest}"),
            format!("Bitcoin@sha256:{digest}"),
            format!("a@sha256:{}", digest.to_uppercase()),
            format!("a@sha256:{}", &digest[1..]),
            format!("a@sha512:{digest}"),
            format!("-a@sha256:{digest}"),
            format!("a:@sha256:{digest}"),
        ] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad}");
        }
    }
}
