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
pub struct Version(String);

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no version: numbers between dots, then perhaps `-` and a word", .0.chars().take(40).flat_map(char::escape_debug).collect::<String>())]
pub struct VersionError(String);

impl Version {
    /// Returns it as upstream writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, Option<&str>) {
        match self.0.split_once('-') {
            Some((numbers, suffix)) => (numbers, Some(suffix)),
            None => (&self.0, None),
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let number = |part: &str| part.parse().expect("checked when it was read");
        self.parts().0.split('.').map(number).collect()
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        let version = Self(text);
        let (numbers, suffix) = version.parts();
        let plain = |suffix: &str| {
            !suffix.is_empty()
                && suffix
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".+-~".contains(&b))
        };
        // eighteen digits fit into 64 bits
        let number =
            |part: &str| (1..=18).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if version.0.len() <= 40 && numbers.split('.').all(number) && suffix.is_none_or(plain) {
            Ok(version)
        } else {
            Err(VersionError(version.0))
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
        version.0
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    /// A release comes after what leads to it (`-rc1`, `-beta`); missing numbers are zeros.
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, theirs) = (self.numbers(), other.numbers());
        let longest = mine.len().max(theirs.len());
        let at = |numbers: &[u64], i: usize| numbers.get(i).copied().unwrap_or(0);
        let numbers = (0..longest).map(|i| at(&mine, i).cmp(&at(&theirs, i)));
        numbers.fold(Ordering::Equal, Ordering::then).then_with(|| {
            match (self.parts().1, other.parts().1) {
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
