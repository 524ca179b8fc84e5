//! Whether a folder is a stack that runs: it is read, and rendered on every chain.

use std::collections::BTreeMap;
use std::path::Path;

use bcm_keystore::{Chain, Hint};

use crate::catalog::{Catalog, CatalogError};
use crate::configuration::{Configuration, ImageChoice};
use crate::observe::Observed;
use crate::plan::{PlanError, plan};
use crate::secret::Secrets;
use crate::stack::{ImageReference, StackName};

/// What is in a folder that passed.
#[derive(Clone, Debug)]
pub struct Linted {
    /// The stack.
    pub name: StackName,
    /// On each of its chains: how many services it runs, and how many files they read.
    pub chains: BTreeMap<Chain, (usize, usize)>,
}

/// Why a folder does not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LintError {
    /// It is no stack.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// It cannot be planned on one of its chains.
    #[error("on {chain}")]
    Plan {
        /// The chain.
        chain: Chain,
        /// Why.
        #[source]
        source: PlanError,
    },
}

impl Hint for LintError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::Plan { source, .. } => source.hint(),
        }
    }
}

/// Checks the folder of one stack, beside the stacks that are compiled in.
///
/// # Errors
///
/// Fails with the first thing that is wrong.
pub fn lint(path: &Path) -> Result<Linted, LintError> {
    let (catalog, name) = Catalog::lint(path)?;
    check(&catalog, name)
}

/// Plans one stack of a catalogue on each of its chains.
pub(crate) fn check(catalog: &Catalog, name: StackName) -> Result<Linted, LintError> {
    let mut chains = BTreeMap::new();
    for chain in catalog.get(name.as_str())?.chains.clone() {
        let configuration = as_built(catalog, chain, &name)?;
        let plan = plan(
            catalog,
            &configuration,
            &Secrets::preview(),
            &Observed::default(),
        )
        .map_err(|source| LintError::Plan { chain, source })?;
        let services = plan
            .state
            .services
            .values()
            .filter(|service| service.stack == name);
        let files = plan.operations.iter().filter(|call| {
            call.stack == name
                && ["/configs/create", "/secrets/create"].contains(&call.path.as_str())
        });
        chains.insert(chain, (services.count(), files.count()));
    }
    Ok(Linted { name, chains })
}

/// Wants one stack, as somebody would who built every image: whether a digest is known, and safe, is no matter of
/// the description.
fn as_built(
    catalog: &Catalog,
    chain: Chain,
    name: &StackName,
) -> Result<Configuration, CatalogError> {
    let mut configuration = Configuration::new(chain, [name.clone()]);
    let stand_in: ImageReference = format!("sha256:{}", "0".repeat(64))
        .parse()
        .expect("a digest");
    for stack in catalog.order_on(chain, [name.as_str()])? {
        configuration.below_minimum.insert(stack.name.clone());
        let images = stack.services.iter().map(|service| {
            let reference = Some(stand_in.clone());
            (
                service.name.clone(),
                ImageChoice {
                    reference,
                    ..ImageChoice::default()
                },
            )
        });
        configuration
            .images
            .insert(stack.name.clone(), images.collect());
    }
    Ok(configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fourteen_pass_on_all_their_chains() {
        let catalog = Catalog::builtin();
        for stack in catalog.iter() {
            let linted = check(&catalog, stack.name.clone()).unwrap();
            assert_eq!(linted.chains.len(), stack.chains.len());
        }
    }

    #[test]
    fn a_template_that_does_not_render_is_named_with_its_line() {
        use std::error::Error as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("electrum");
        std::fs::create_dir(&path).unwrap();
        let mine = crate::catalog::tests_folder("electrum");
        std::fs::write(path.join("stack.toml"), &mine.stack).unwrap();
        for (template, said) in [
            ("{{ unknown }}", "undefined value"),
            ("{% include '/etc/passwd' %}", "template not found"),
            ("a\n{% if %}", "(in electrum/config:2)"),
        ] {
            std::fs::write(path.join("config"), template).unwrap();
            let error = lint(&path).unwrap_err();
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            assert!(
                text.contains("`electrum/config`") && text.contains(said),
                "{text}"
            );
        }
    }
}
