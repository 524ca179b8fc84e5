//! Version numbers of releases, compared.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// A release: numbers between dots, then perhaps `-` and a word.
///
/// ```
/// use bcm_stacks::Version;
/// let older: Version = "0.4.9.11".parse()?;
/// assert!(older < "0.4.9.13".parse()?);
/// # Ok::<_, bcm_stacks::VersionError>(())
/// ```
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    text: String,
    numbers: Vec<u64>,
    suffix: Option<String>,
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no version: numbers between dots, then perhaps `-` and a word", .0.chars().take(40).flat_map(char::escape_debug).collect::<String>())]
pub struct VersionError(String);

impl Version {
    /// Returns it as upstream writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        let parse = || {
            let (numbers, suffix) = match text.split_once('-') {
                Some((numbers, suffix)) => (numbers, Some(suffix)),
                None => (text.as_str(), None),
            };
            let plain = |suffix: &str| {
                !suffix.is_empty()
                    && suffix
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b".+-~".contains(&b))
            };
            let digits = |part: &str| {
                let all = part.bytes().all(|b| b.is_ascii_digit());
                part.parse().ok().filter(|_| all)
            };
            let numbers: Option<Vec<u64>> = numbers.split('.').map(digits).collect();
            let short = text.len() <= 40 && suffix.is_none_or(plain);
            Some((numbers.filter(|_| short)?, suffix.map(str::to_owned)))
        };
        match parse() {
            Some((numbers, suffix)) => Ok(Self {
                numbers,
                suffix,
                text,
            }),
            None => Err(VersionError(text)),
        }
    }
}

impl std::str::FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        text.to_owned().try_into()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    /// A release comes after what leads to it (`-rc1`, `-beta`); missing numbers are zeros.
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.numbers.len().max(other.numbers.len());
        let at = |version: &Self, i: usize| version.numbers.get(i).copied().unwrap_or(0);
        let numbers = (0..longest).map(|i| at(self, i).cmp(&at(other, i)));
        numbers.fold(Ordering::Equal, Ordering::then).then_with(|| {
            match (&self.suffix, &other.suffix) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(one), Some(other)) => one.cmp(other),
            }
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_upstream_means_them() {
        let order = [
            "0.4.9.9",
            "0.4.9.11",
            "0.4.9.13",
            "0.21.3-beta",
            "0.21.4-beta",
            "2.10",
            "26.06.8",
            "31.1-rc1",
            "31.1",
        ];
        let versions: Vec<Version> = order.iter().map(|text| text.parse().unwrap()).collect();
        assert!(versions.is_sorted_by(|a, b| a < b));
        assert_eq!("1".parse::<Version>().unwrap(), "1.0".parse().unwrap());
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in [
            "",
            "latest",
            "1..2",
            "1.",
            "+1",
            "1-",
            "1-a b",
            "v1",
            &"1".repeat(41),
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
