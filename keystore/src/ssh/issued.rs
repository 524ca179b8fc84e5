//! The certificates that a wallet has issued and that are still good: what can be revoked.

use serde::{Deserialize, Serialize};
use ssh_key::{Certificate, PublicKey};

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// The cluster whose CA signed it.
    pub cluster: String,
    /// The CA.
    pub ca: PublicKey,
    /// Its serial, in hex.
    pub serial: String,
    /// The login names that it is good for.
    pub principals: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// Whether it was revoked.
    #[serde(default)]
    pub revoked: bool,
}

impl Issued {
    /// Notes a certificate.
    pub fn new(cluster: &str, certificate: &Certificate) -> Self {
        Self {
            cluster: cluster.to_owned(),
            ca: PublicKey::new(certificate.signature_key().clone(), ""),
            serial: format!("{:016x}", certificate.serial()),
            principals: certificate.valid_principals().to_vec(),
            expires: certificate.valid_before(),
            revoked: false,
        }
    }

    /// Returns its serial.
    pub fn number(&self) -> Option<u64> {
        u64::from_str_radix(&self.serial, 16).ok()
    }
}
