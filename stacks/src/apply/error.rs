//! Why a deployment stopped.

use bcm_cluster::EngineError;
use bcm_keystore::statement::StatementError;
use bcm_keystore::{Chain, Hint};

use crate::plan::Unresolved;

/// Why a deployment was not begun, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The statement is no deployment that bcm can read.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It is about another chain.
    #[error("the deployment is about another chain: expected {expected}, found {}", found.map_or("none", |chain| chain.name()))]
    Chain {
        /// The chain that is worked on.
        expected: Chain,
        /// The chain of the statement.
        found: Option<Chain>,
    },
    /// A call goes beyond what is bcm's on this chain.
    #[error("the deployment has a call that no plan of bcm's makes: `{call}`")]
    OutOfBounds {
        /// The call.
        call: String,
    },
    /// A host of the plan is not in the cluster.
    #[error("the plan has a call for `{host}`, which is no host of the cluster")]
    NoHost {
        /// The host.
        host: String,
    },
    /// The body that was signed by digest is not at hand.
    #[error("the secret that `{call}` was signed with is not the one that is kept")]
    Secret {
        /// The call.
        call: String,
    },
    /// An engine refused or was lost.
    #[error("{done}")]
    Engine {
        /// What was being done.
        done: String,
        /// What went wrong.
        #[source]
        source: EngineError,
    },
    /// Something has that name and is not what was signed.
    #[error("`{name}` is there already, and is not what was signed")]
    Conflict {
        /// Its name.
        name: String,
    },
    /// A service changed after the plan was made.
    #[error(
        "the service `{name}` is not as it was when the plan was made: expected {expected}, found {found}"
    )]
    Drifted {
        /// Its name.
        name: String,
        /// The digest that was signed.
        expected: String,
        /// The digest of what is there.
        found: String,
    },
    /// A config or secret that a service reads is missing.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// A helper container failed.
    #[error("`{name}` could not give a volume to its owner: it ended with {code}")]
    Helper {
        /// The container.
        name: String,
        /// Its exit code.
        code: i64,
    },
}

impl Hint for ApplyError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Statement(error) => return error.hint(),
            Self::Engine { source, .. } => source.hint().unwrap_or_else(|| {
                "run the same command again: it goes on where this ended".into()
            }),
            Self::Conflict { name } => {
                format!("find out who made `{name}`; `stack verify` names every deviation")
            }
            Self::Drifted { .. } | Self::Secret { .. } | Self::Unresolved(_) => {
                "run the same command again: it makes a new plan".into()
            }
            Self::Helper { .. } => "the image of the stack needs `chown`".into(),
            Self::Chain { .. } | Self::OutOfBounds { .. } | Self::NoHost { .. } => {
                "nothing was changed; make a new plan".into()
            }
        })
    }
}

impl ApplyError {
    /// Tells whether a check failed, and not an act.
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Statement(error) => error.is_verification(),
            Self::Chain { .. }
            | Self::OutOfBounds { .. }
            | Self::Secret { .. }
            | Self::Conflict { .. }
            | Self::Drifted { .. } => true,
            _ => false,
        }
    }
}
