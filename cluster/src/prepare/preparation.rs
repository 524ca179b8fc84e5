//! What the statement of a preparation says.

use bcm_keystore::statement::{Sha256Digest, Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::operation::Operation;
use super::plan::Plan;
use crate::host_key::HostKeyFingerprint;
use crate::name::HostName;

/// The body of a statement of the kind `preparation`: one host, by name and key, and what is done on it.
///
/// ```json
/// {"host":"node-1","hostKey":"SHA256:…","operations":[{"op":"run","why":"…","words":["apt-get",…]},…]}
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preparation {
    /// The host's name.
    pub host: String,
    /// The fingerprint of its accepted host key.
    pub host_key: String,
    /// What is done, in order.
    pub operations: Vec<Operation>,
}

impl Preparation {
    /// Names the host on which a plan is to be made.
    pub fn new(host: &HostName, key: &HostKeyFingerprint, plan: Plan) -> Self {
        Self {
            host: host.to_string(),
            host_key: key.to_string(),
            operations: plan.operations,
        }
    }

    /// Returns the body for [`bcm_keystore::statement::Statement::new`].
    pub fn body(&self) -> Map<String, Value> {
        match serde_json::to_value(self).expect("text, lists and numbers always encode") {
            Value::Object(map) => map,
            _ => unreachable!("a structure is an object"),
        }
    }

    /// Returns the subject: the host, by the digest of what is done on it.
    pub fn subject(&self) -> Subject {
        let body = serde_json::to_vec(&self.body()).expect("as above");
        Subject {
            name: format!("host/{}", self.host),
            sha256: Sha256Digest::of(&body),
        }
    }
}
