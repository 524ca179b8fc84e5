//! What machine an image is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operating system and architecture, in the words of the
/// [image specification](https://github.com/opencontainers/image-spec/blob/main/config.md#properties): `linux/amd64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Takes names as an image, an engine or the kernel gives them.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = architecture.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant) {
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            // there is no other one
            ("aarch64" | "arm64", _) => ("arm64", None),
            ("armhf" | "armv7l", None) => ("arm", Some("v7")),
            (other, variant) => (other, variant),
        };
        Self {
            os: os.to_ascii_lowercase(),
            architecture: architecture.to_owned(),
            variant: variant
                .filter(|variant| !variant.is_empty())
                .map(Into::into),
        }
    }

    /// Returns the platform of the computer that this runs on.
    pub fn here() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// Returns the architecture: `amd64`, `arm64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the operating system.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Tells whether an image for `self` runs on `host`; a host that does not tell its variant takes any.
    pub fn runs_on(&self, host: &Self) -> bool {
        let variants = (&self.variant, &host.variant);
        let same = !matches!(variants, (Some(own), Some(hosts)) if own != hosts);
        self.os == host.os && self.architecture == host.architecture && same
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// A text that is no platform.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no platform, expected for example `linux/amd64`", .0.escape_debug())]
pub struct PlatformError(String);

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<_> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match parts[..] {
            [os, architecture] if parts.iter().all(word) => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(word) => {
                Ok(Self::new(os, architecture, Some(variant)))
            }
            _ => Err(PlatformError(text.chars().take(100).collect())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_the_images_words() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert_eq!(
            Platform::new("linux", "x86_64", None),
            platform("linux/amd64")
        );
        assert_eq!(
            Platform::new("linux", "aarch64", Some("v8")),
            platform("linux/arm64")
        );
        assert!(platform("linux/arm/v7").runs_on(&platform("linux/arm")));
        assert!(!platform("linux/arm/v7").runs_on(&platform("linux/arm/v6")));
        assert!(!platform("linux/arm64").runs_on(&platform("linux/amd64")));
        for bad in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/v1/x",
            "linux/a b",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
