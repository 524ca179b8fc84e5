//! Docker engines: versions checked, spoken to over a unix socket that is local or came through SSH.
//!
//! No engine port is ever opened on a network, and nothing here publishes one. What bcm makes on an
//! engine is named `bcm-…` and carries [`label`]s; what has such a name without the label is
//! somebody else's, and is refused rather than touched.

pub mod engine;
pub mod exec;
pub mod label;
pub mod network;
pub mod node;
pub mod swarm;
pub mod tunnel;

pub use hyper::Method;

pub use engine::{Engine, EngineError, EngineVersion};
pub use network::{NetworkSpec, Wire};
pub use node::{Availability, Node, NodeId, Role, Tier};
pub use swarm::{Addresses, Membership, SwarmError};
pub use tunnel::{Tunnel, TunnelError};
