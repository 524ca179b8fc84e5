//! The labels that tell what is bcm's.

/// What every label of bcm begins with.
pub const PREFIX: &str = "org.bitcoincachemachine.";

/// The chain that a thing belongs to.
pub const CHAIN: &str = "org.bitcoincachemachine.chain";

/// The stack that a thing belongs to.
pub const STACK: &str = "org.bitcoincachemachine.stack";

/// The digest of the plan that made a thing.
pub const PLAN: &str = "org.bitcoincachemachine.plan";

/// The id of the cluster that a swarm is.
pub const CLUSTER: &str = "org.bitcoincachemachine.cluster";

/// On a node: the name that bcm gives its host.
pub const HOST: &str = "org.bitcoincachemachine.host";

/// On a node: its tier.
pub const TIER: &str = "org.bitcoincachemachine.tier";

/// On a helper container: the service that a tunnel leads to.
pub const TUNNEL: &str = "org.bitcoincachemachine.tunnel";

/// What the name of everything that bcm makes begins with.
pub const NAMES: &str = "bcm-";

/// Returns the label of a node that serves this chain; its value is `true`.
pub fn serves(chain: bcm_keystore::Chain) -> String {
    format!("{CHAIN}.{chain}")
}
