//! One call to a Docker Engine, as it is signed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::observe::{canonical, digest};
use crate::stack::{PartName, Sha256Hex, StackName};

/// A method of HTTP that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Makes or changes.
    Post,
    /// Removes.
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Post => "POST",
            Self::Delete => "DELETE",
        })
    }
}

/// One call to a Docker Engine: what is signed is what is called, with two exceptions that only the engine
/// can know and that carry no meaning of their own.
///
/// - `ConfigID` and `SecretID` hold the name of the config or secret; the engine's id for that name is put in
///   its place. The name is the digest of the content.
/// - An update of a service gets `?version=`, the number of the state that it replaces, and is made only where
///   that state has the digest `replaces`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Operation {
    /// The stack that it is for.
    pub stack: StackName,
    /// The host whose engine is called; a manager of the swarm when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<PartName>,
    /// The method.
    pub method: Method,
    /// Path and query, without the version of the API before it.
    pub path: String,
    /// The body, when it is no secret. In canonical JSON,
    /// [RFC 8785](https://www.rfc-editor.org/rfc/rfc8785), it is what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The SHA-256 of the body, when it is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<Sha256Hex>,
    /// The digest of what an update replaces, as [`crate::spec_digest`] computes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Sha256Hex>,
}

/// A reference in a body to a config or secret that is not there.
#[derive(Debug, thiserror::Error)]
#[error("the swarm has no `{name}`, which a service of the plan reads")]
pub struct Unresolved {
    /// Its name.
    pub name: String,
}

impl Operation {
    pub(super) fn new(stack: &StackName, method: Method, path: impl Into<String>) -> Self {
        Self {
            stack: stack.clone(),
            host: None,
            method,
            path: path.into(),
            body: None,
            body_sha256: None,
            replaces: None,
        }
    }

    pub(super) fn on(mut self, host: Option<&PartName>) -> Self {
        self.host = host.cloned();
        self
    }

    pub(super) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn secret(mut self, sha256: &str) -> Self {
        self.body_sha256 = sha256.parse().ok();
        self
    }

    pub(super) fn replacing(mut self, sha256: &str) -> Self {
        self.replaces = sha256.parse().ok();
        self
    }

    /// Returns the bytes of the body, where it is no secret and refers to nothing.
    pub fn canonical_body(&self) -> Option<Vec<u8>> {
        self.body.as_ref().map(canonical)
    }

    /// Returns the SHA-256 of the body as it is signed, secret or not.
    pub fn body_digest(&self) -> Option<String> {
        match (&self.body, &self.body_sha256) {
            (Some(body), _) => Some(digest(body)),
            (None, sha256) => sha256.as_ref().map(ToString::to_string),
        }
    }

    /// Returns the body with the engine's ids in the place of names, canonical. `configs` and `secrets` give
    /// the id of each name.
    ///
    /// # Errors
    ///
    /// Fails when a name has no id: then the config or secret is not there.
    pub fn resolved_body(
        &self,
        configs: &BTreeMap<String, String>,
        secrets: &BTreeMap<String, String>,
    ) -> Result<Option<Vec<u8>>, Unresolved> {
        let Some(mut body) = self.body.clone() else {
            return Ok(None);
        };
        for (list, field, ids) in [
            ("Configs", "ConfigID", configs),
            ("Secrets", "SecretID", secrets),
        ] {
            let pointer = format!("/TaskTemplate/ContainerSpec/{list}");
            let list = body.pointer_mut(&pointer).and_then(Value::as_array_mut);
            for reference in list.into_iter().flatten() {
                let name = reference[field].as_str().unwrap_or_default().to_owned();
                let id = ids.get(&name).ok_or(Unresolved { name })?;
                reference[field] = Value::from(id.as_str());
            }
        }
        Ok(Some(canonical(&body)))
    }

    /// Returns the last part of the path, which names what is made, changed or removed, or else the name in
    /// the body.
    pub fn object(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        let in_body = self
            .body
            .as_ref()
            .and_then(|body| body.get("Name"))
            .and_then(Value::as_str);
        match (in_body, path.rsplit('/').next()) {
            (Some(name), _) => name,
            (None, Some("update" | "start" | "wait")) => {
                path.rsplit('/').nth(1).unwrap_or_default()
            }
            (None, last) => last.unwrap_or_default(),
        }
    }
}
