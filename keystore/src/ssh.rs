//! SSH with keys that stay on the device: public keys, signatures, the keys a wallet has made, and
//! an agent that OpenSSH uses without knowing what stands behind it.

mod agent;
mod key;
mod purpose;
mod request;
pub mod sshsig;
mod store;

pub use agent::{Agent, AgentError, AgentEvent, AgentHandle, Signer};
pub use key::{SshError, SshKey, derive, sign};
pub use purpose::{BoundHost, MAX_VISUAL, Purpose};
pub use request::{FileSignature, Login, MAX_SIGNED, RequestError, SignedData};
pub use store::{HostPin, SshStore, SshStoreError};

pub use crate::identity::{SshIdentity, SshIdentityError};
