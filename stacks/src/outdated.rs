//! How old what runs is, by the catalogue.

use serde::Serialize;

use crate::{Catalog, StackName, Version};

/// How a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is the newest that the catalogue knows, or newer.
    Current,
    /// There is a newer one.
    Outdated,
    /// What runs cannot be compared, or is in no catalogue: nobody says that it is safe.
    Unknown,
    /// It has a published hole.
    Unsafe,
}

/// A release that runs, beside those of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Age {
    /// The stack.
    pub stack: StackName,
    /// What runs, as its image says.
    pub running: String,
    /// The newest release.
    pub newest: Option<Version>,
    /// The oldest without a published hole.
    pub minimum_safe: Option<Version>,
    /// How it stands.
    pub standing: Standing,
}

/// Compares what runs with the catalogue, the worst first; a version is what the label
/// `org.opencontainers.image.version` of an image says.
pub fn outdated<'a>(
    catalog: &Catalog,
    running: impl IntoIterator<Item = (&'a StackName, &'a str)>,
) -> Vec<Age> {
    let mut ages: Vec<_> = running
        .into_iter()
        .map(|(name, running)| {
            let stack = catalog.iter().find(|stack| stack.name == *name);
            let upstream = stack.map(|stack| &stack.upstream);
            let newest = upstream.map(|upstream| upstream.version.clone());
            let minimum_safe = upstream.and_then(|upstream| upstream.minimum_safe_version.clone());
            let standing = match (upstream_version(running), &newest, &minimum_safe) {
                (Some(version), _, Some(minimum)) if version < *minimum => Standing::Unsafe,
                (Some(version), Some(newest), _) if version < *newest => Standing::Outdated,
                (Some(_), Some(_), _) => Standing::Current,
                _ => Standing::Unknown,
            };
            Age {
                stack: name.clone(),
                running: running.to_owned(),
                newest,
                minimum_safe,
                standing,
            }
        })
        .collect();
    ages.sort_by(|a, b| {
        let order = b.standing.cmp(&a.standing);
        order.then_with(|| a.stack.cmp(&b.stack))
    });
    ages
}

/// Returns upstream's part of a version: no `v`, no epoch, and no revision of a packager, which begins with a digit.
fn upstream_version(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    let text = match text.rsplit_once('-') {
        Some((upstream, revision)) if revision.starts_with(|c: char| c.is_ascii_digit()) => {
            upstream
        }
        _ => text,
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_compared_with_the_catalogue() {
        let catalog = Catalog::builtin();
        let name = |text: &str| text.parse::<StackName>().unwrap();
        let tor = catalog
            .iter()
            .find(|stack| stack.name.as_str() == "tor")
            .unwrap();
        let newest = tor.upstream.version.to_string();
        let (tor, other) = (name("tor"), name("nothing"));
        let standing =
            |name: &StackName, version: &str| outdated(&catalog, [(name, version)])[0].standing;
        assert_eq!(standing(&tor, &newest), Standing::Current);
        assert_eq!(
            standing(&tor, &format!("1:{newest}-0+deb12u1")),
            Standing::Current
        );
        assert_eq!(standing(&tor, "0.4.9.11-0+deb12u1"), Standing::Unsafe);
        assert_eq!(standing(&tor, "unknown"), Standing::Unknown);
        assert_eq!(standing(&other, "1.0"), Standing::Unknown);
        let both = outdated(&catalog, [(&other, "1"), (&tor, "0.1")]);
        assert_eq!(both[0].standing, Standing::Unsafe);
    }

    #[test]
    fn a_packagers_revision_is_no_release_candidate() {
        let version = |text: &str| upstream_version(text).map(|version| version.to_string());
        assert_eq!(version("0.4.9.11-0+deb12u1").as_deref(), Some("0.4.9.11"));
        assert_eq!(version("v0.21.4-beta").as_deref(), Some("0.21.4-beta"));
        assert_eq!(version("32.0-rc2").as_deref(), Some("32.0-rc2"));
        assert_eq!(version("x"), None);
    }
}
