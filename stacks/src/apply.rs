//! Does what was signed: makes exactly the calls of a verified deployment, and no others.
//!
//! Each call can be made again: what is there already as it was signed counts as done. So a run that was cut
//! off, however, is finished by the next one.

mod call;
mod engines;
mod error;

use std::collections::BTreeMap;

use bcm_keystore::Chain;
use bcm_keystore::statement::{StatementKind, VerifiedStatement};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::Value;

use crate::plan::{Method, Operation, SecretBodies, State};
use crate::stack::StackName;

pub use engines::{Engines, EnginesError};
pub use error::ApplyError;

/// What a deployment says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The calls, in order.
    pub operations: Vec<Operation>,
    /// What each stack has to wait for, in the order in which they start.
    pub order: Vec<(StackName, Vec<StackName>)>,
    /// What there is when all are made.
    pub state: State,
    /// What the person was told before.
    pub warnings: Vec<Value>,
}

impl Deployment {
    /// Reads what a statement says about a chain.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Statement`], [`ApplyError::Chain`].
    pub fn read(statement: &VerifiedStatement, chain: Chain) -> Result<Self, ApplyError> {
        let statement = statement.of_kind(StatementKind::Deployment)?;
        let found = statement.head().chain;
        if found != Some(chain) {
            return Err(ApplyError::Chain {
                expected: chain,
                found,
            });
        }
        Ok(statement.body_as()?)
    }
}

/// What is told while calls are made.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// A call is about to be made.
    Begun(&'a Operation),
    /// It was made, or had been made before.
    Done(&'a Operation),
    /// An image is on its way.
    Pulling {
        /// The call.
        operation: &'a Operation,
        /// How far it is, in the engine's words.
        status: String,
    },
    /// Something is still in use, and goes when that ends.
    InUse(&'a Operation),
}

/// Makes the calls of a deployment: of stacks that do not need each other side by side, of each stack in
/// order, and what is removed last.
///
/// # Errors
///
/// The first [`ApplyError`]. Calls that were under way are ended, and no further one is begun.
pub async fn apply(
    statement: &VerifiedStatement,
    chain: Chain,
    secrets: &SecretBodies,
    engines: &Engines,
    tell: &(dyn Fn(Step<'_>) + Sync),
) -> Result<Deployment, ApplyError> {
    let deployment = Deployment::read(statement, chain)?;
    check(&deployment, chain, secrets, engines)?;
    let caller = call::Caller {
        engines,
        secrets,
        tell,
    };
    let (removals, makings): (Vec<_>, Vec<_>) =
        deployment.operations.iter().partition(|it| removes(it));
    for level in levels(&deployment.order, &makings) {
        let chains = level.into_iter().map(|stack| {
            let calls = makings.iter().filter(move |it| it.stack == stack);
            caller.in_order(calls.copied())
        });
        for ended in join_all(chains).await {
            ended?;
        }
    }
    caller.in_order(removals.into_iter()).await?;
    Ok(deployment)
}

/// Checks everything that can be checked before the first call.
fn check(
    deployment: &Deployment,
    chain: Chain,
    secrets: &SecretBodies,
    engines: &Engines,
) -> Result<(), ApplyError> {
    for operation in &deployment.operations {
        if engines.of_host(operation.host.as_ref()).is_none() {
            return Err(ApplyError::NoHost {
                host: operation
                    .host
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            });
        }
        call::body_of_secret(operation, secrets)?;
        call::in_bounds(operation, chain)?;
    }
    Ok(())
}

fn removes(operation: &Operation) -> bool {
    operation.method == Method::Delete && !operation.path.starts_with("/containers/")
}

/// Puts the stacks into rows, each of which needs only rows before it.
fn levels(order: &[(StackName, Vec<StackName>)], makings: &[&Operation]) -> Vec<Vec<StackName>> {
    let mut level: BTreeMap<&StackName, usize> = BTreeMap::new();
    for (stack, before) in order {
        let after = before.iter().filter_map(|name| level.get(name)).max();
        let own = after.map_or(0, |after| after + 1);
        level.insert(stack, own);
    }
    // a stack that is in no order is of a plan that nobody of us makes: alone, and last
    let last = level.values().max().map_or(0, |last| last + 1);
    for operation in makings {
        level.entry(&operation.stack).or_insert(last);
    }
    let mut rows = vec![Vec::new(); last + 1];
    for (stack, row) in level {
        rows[row].push(stack.clone());
    }
    rows
}

#[cfg(test)]
mod tests;
