//! Who may import whom.

use cargo_metadata::{DependencyKind, MetadataCommand};

/// `shell -> stacks -> cluster -> keystore`, never back up; `tests` uses all; nobody else uses
/// `tests` or `threat-model`.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("bcm-keystore", &[]),
    ("bcm-cluster", &["bcm-keystore"]),
    ("bcm-stacks", &["bcm-cluster", "bcm-keystore"]),
    ("bcm-shell", &["bcm-stacks", "bcm-cluster", "bcm-keystore"]),
    ("bcm-threat-model", &[]),
    (
        "bcm-tests",
        &[
            "bcm-shell",
            "bcm-stacks",
            "bcm-cluster",
            "bcm-keystore",
            "bcm-threat-model",
        ],
    ),
];

#[test]
fn no_crate_imports_one_above_it() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let ours = metadata.workspace_packages();
    assert_eq!(
        ours.len(),
        MAY_USE.len(),
        "a crate was added: say whom it may use"
    );
    for package in ours {
        let (_, may_use) = MAY_USE
            .iter()
            .find(|(name, _)| *name == package.name.as_str())
            .unwrap_or_else(|| panic!("whom may {} use?", package.name));
        for dependency in &package.dependencies {
            let allowed = !dependency.name.starts_with("bcm-")
                || may_use.contains(&dependency.name.as_str())
                || (dependency.kind == DependencyKind::Development
                    && dependency.name == package.name.as_str());
            assert!(allowed, "{} may not use {}", package.name, dependency.name);
        }
    }
}
