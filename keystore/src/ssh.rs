//! SSH with keys that stay on the device: public keys, signatures, the keys a wallet has made, and
//! an agent that OpenSSH uses without knowing what stands behind it.

mod agent;
pub mod certificate;
mod issued;
mod key;
mod krl;
mod purpose;
mod request;
pub mod sshsig;
mod store;

pub use agent::{Agent, AgentError, AgentEvent, AgentHandle, Certified, Signer};
pub use certificate::{CertificateError, Certify, SessionCertificate, ca_identity};
pub use issued::Issued;
pub use key::{SshError, SshKey, derive, sign};
pub use krl::krl;
pub use purpose::{BoundHost, MAX_VISUAL, Purpose};
pub use request::{FileSignature, Login, MAX_SIGNED, RequestError, SignedData};
pub use store::{HostPin, SshStore, SshStoreError};

pub use crate::identity::{SshIdentity, SshIdentityError};
