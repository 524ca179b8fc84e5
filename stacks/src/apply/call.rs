//! One signed call, made so that it can be made again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bcm_cluster::docker::Method as Http;
use bcm_cluster::{Engine, EngineError};
use bcm_keystore::Chain;
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{ApplyError, Engines, Step};
use crate::desired::NAMES;
use crate::observe::Observed;
use crate::plan::{Method, Operation, SecretBodies, spec_digest};

/// How long something may be in use before it can be removed: bitcoind may take a quarter of an hour to stop.
const IN_USE: Duration = Duration::from_secs(1000);

/// How often that is looked at.
const GLANCE: Duration = Duration::from_millis(300);

/// Makes calls.
pub(super) struct Caller<'a> {
    pub(super) engines: &'a Engines,
    pub(super) secrets: &'a SecretBodies,
    pub(super) tell: &'a (dyn Fn(Step<'_>) + Sync),
}

/// Refuses what no plan of this chain has: anything that is not named after it.
pub(super) fn in_bounds(operation: &Operation, chain: Chain) -> Result<(), ApplyError> {
    let (path, query) = match operation.path.split_once('?') {
        Some((path, query)) => (path, query),
        None => (&*operation.path, ""),
    };
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let prefix = format!("{NAMES}{chain}-");
    let word = |name: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        name.starts_with(&prefix) && name.bytes().all(inner)
    };
    let in_body = || {
        let body = operation.body.as_ref();
        body.and_then(|body| body["Name"].as_str())
            .is_some_and(word)
    };
    let good = match (operation.method, &*parts) {
        (Method::Post, ["secrets", "create"]) => operation.body_sha256.is_some(),
        (Method::Post, ["networks" | "volumes" | "configs" | "services", "create"]) => in_body(),
        (Method::Post, ["services", name, "update"]) => word(name) && in_body(),
        (Method::Post, ["images", "create"]) => query.contains("&tag=sha256:"),
        (Method::Post, ["containers", "create"]) => query.strip_prefix("name=").is_some_and(word),
        (Method::Post, ["containers", name, "start" | "wait"])
        | (
            Method::Delete,
            [
                "services" | "configs" | "secrets" | "networks" | "volumes" | "containers",
                name,
            ],
        ) => word(name),
        _ => false,
    };
    match good {
        true => Ok(()),
        false => Err(ApplyError::OutOfBounds {
            call: shown(operation),
        }),
    }
}

/// Returns the body that was signed by digest, hashed again.
pub(super) fn body_of_secret<'a>(
    operation: &Operation,
    secrets: &'a SecretBodies,
) -> Result<Option<&'a [u8]>, ApplyError> {
    let Some(signed) = &operation.body_sha256 else {
        return Ok(None);
    };
    let body = secrets.get(signed);
    let good = body.filter(|body| hex::encode(Sha256::digest(body)) == signed.as_str());
    match good {
        Some(body) => Ok(Some(body)),
        None => Err(ApplyError::Secret {
            call: shown(operation),
        }),
    }
}

fn shown(operation: &Operation) -> String {
    let path: String = operation
        .path
        .chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect();
    format!("{} {path}", operation.method)
}

fn lost(operation: &Operation) -> impl FnOnce(EngineError) -> ApplyError {
    let done = format!("cannot {}", shown(operation));
    |source| ApplyError::Engine { done, source }
}

impl Caller<'_> {
    /// Makes calls one after the other, up to the first that fails.
    pub(super) async fn in_order<'o>(
        &self,
        operations: impl Iterator<Item = &'o Operation>,
    ) -> Result<(), ApplyError> {
        for operation in operations {
            (self.tell)(Step::Begun(operation));
            self.make(operation).await?;
            (self.tell)(Step::Done(operation));
        }
        Ok(())
    }

    async fn make(&self, operation: &Operation) -> Result<(), ApplyError> {
        let engine = self.engines.of_host(operation.host.as_ref());
        let engine = engine.ok_or_else(|| ApplyError::NoHost {
            host: operation
                .host
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        })?;
        let path = operation.path.split('?').next().unwrap_or_default();
        match operation.method {
            Method::Post if path == "/images/create" => self.pull(engine, operation).await,
            Method::Post if path == "/services/create" => self.create(engine, operation).await,
            Method::Post if path.starts_with("/services/") => self.update(engine, operation).await,
            Method::Post if path.ends_with("/wait") => helper(engine, operation).await,
            Method::Post => self.plain(engine, operation).await,
            Method::Delete => self.remove(engine, operation).await,
        }
    }

    async fn pull(&self, engine: &Engine, operation: &Operation) -> Result<(), ApplyError> {
        let hear = |said: &Value| {
            let word = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
            let status = [word("id"), word("status"), word("progress")].join(" ");
            (self.tell)(Step::Pulling { operation, status });
        };
        let pulled = engine.stream(Http::POST, &operation.path, hear).await;
        pulled.map_err(lost(operation))
    }

    /// Makes what is what its name says: the name is the digest of the content, or the labels tell.
    async fn plain(&self, engine: &Engine, operation: &Operation) -> Result<(), ApplyError> {
        let body = match body_of_secret(operation, self.secrets)? {
            Some(secret) => Some(Zeroizing::new(secret.to_vec())),
            None => operation.canonical_body().map(Zeroizing::new),
        };
        let answer = engine.send(Http::POST, &operation.path, body).await;
        match answer {
            Ok(answer) if operation.path == "/volumes/create" => {
                let wanted = operation.body.as_ref().map(|body| &body["Labels"]);
                match wanted == Some(&answer["Labels"]) {
                    true => Ok(()),
                    false => Err(conflict(operation.object())),
                }
            }
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(409) => self.was_there(engine, operation).await,
            Err(error) => Err(lost(operation)(error)),
        }
    }

    /// Compares what has the name already.
    async fn was_there(&self, engine: &Engine, operation: &Operation) -> Result<(), ApplyError> {
        let secret = body_of_secret(operation, self.secrets)?;
        let wanted: Value = match (&operation.body, secret) {
            (Some(body), _) => body.clone(),
            (None, Some(secret)) => named(secret),
            (None, None) => Value::Null,
        };
        let kind = operation
            .path
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        if kind == "containers" {
            // a helper of a run that was cut off does the same
            return Ok(());
        }
        let name = wanted["Name"].as_str().unwrap_or_default();
        let found = engine.get(&format!("/{kind}/{name}")).await;
        let found = found.map_err(lost(operation))?;
        let found = found.get("Spec").unwrap_or(&found);
        let mut same = found["Labels"] == wanted["Labels"];
        if kind == "configs" {
            same &= found["Data"] == wanted["Data"];
        }
        match same {
            true => Ok(()),
            false => Err(conflict(name)),
        }
    }

    async fn create(&self, engine: &Engine, operation: &Operation) -> Result<(), ApplyError> {
        let body = self.resolved(operation).await?;
        let made = engine.send(Http::POST, &operation.path, body).await;
        match made {
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(409) => {
                let name = operation.object();
                let (found, wanted, _) = self.digests(engine, operation, name).await?;
                match found == wanted {
                    true => Ok(()),
                    false => Err(conflict(name)),
                }
            }
            Err(error) => Err(lost(operation)(error)),
        }
    }

    async fn update(&self, engine: &Engine, operation: &Operation) -> Result<(), ApplyError> {
        let name = operation.object();
        let (found, wanted, version) = self.digests(engine, operation, name).await?;
        if found == wanted {
            return Ok(());
        }
        let expected = operation.replaces.as_ref().map(ToString::to_string);
        let expected = expected.unwrap_or_default();
        if found != expected {
            return Err(ApplyError::Drifted {
                name: name.to_owned(),
                expected,
                found,
            });
        }
        let body = self.resolved(operation).await?;
        // the engine refuses when it is another version by then
        let path = format!("{}?version={version}", operation.path);
        let made = engine.send(Http::POST, &path, body).await;
        made.map(|_| ()).map_err(lost(operation))
    }

    /// Returns the digests of a service as it is and as it was signed, and the version of what is.
    async fn digests(
        &self,
        engine: &Engine,
        operation: &Operation,
        name: &str,
    ) -> Result<(String, String, u64), ApplyError> {
        let observed = Observed::read(self.engines)
            .await
            .map_err(lost(operation))?;
        let found = engine.get(&format!("/services/{name}")).await;
        let found = found.map_err(lost(operation))?;
        let wanted = operation.body.clone().unwrap_or_default();
        let version = found["Version"]["Index"].as_u64().unwrap_or_default();
        let found = spec_digest(&observed, &found["Spec"]);
        Ok((found, spec_digest(&observed, &wanted), version))
    }

    async fn resolved(
        &self,
        operation: &Operation,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, ApplyError> {
        let manager = self.engines.manager();
        let ids = async |path: &str| {
            let listed = manager.get(path).await.map_err(lost(operation))?;
            let items = listed.as_array().into_iter().flatten();
            let ids = items.filter_map(|item| {
                let name = item["Spec"]["Name"].as_str()?;
                Some((name.to_owned(), item["ID"].as_str()?.to_owned()))
            });
            Ok::<BTreeMap<_, _>, ApplyError>(ids.collect())
        };
        let (configs, secrets) = futures::try_join!(ids("/configs"), ids("/secrets"))?;
        Ok(operation
            .resolved_body(&configs, &secrets)?
            .map(Zeroizing::new))
    }

    async fn remove(&self, engine: &Engine, operation: &Operation) -> Result<(), ApplyError> {
        let begun = Instant::now();
        loop {
            let removed = engine.send(Http::DELETE, &operation.path, None).await;
            let error = match removed {
                Ok(_) => return Ok(()),
                Err(error) if error.status() == Some(404) => return Ok(()),
                Err(error) => error,
            };
            let used = error.status() == Some(409) || is_in_use(&error);
            if !used || begun.elapsed() > IN_USE {
                return Err(lost(operation)(error));
            }
            (self.tell)(Step::InUse(operation));
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// Engines say it with several codes.
fn is_in_use(error: &EngineError) -> bool {
    let EngineError::Api { message, .. } = error else {
        return false;
    };
    ["in use", "active endpoints", "in progress"]
        .iter()
        .any(|words| message.contains(words))
}

fn conflict(name: &str) -> ApplyError {
    ApplyError::Conflict {
        name: name.to_owned(),
    }
}

/// Reads name and labels of a secret's body, and nothing of what is secret.
fn named(body: &[u8]) -> Value {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Named {
        name: String,
        labels: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Named>(body).map_or(
        Value::Null,
        |named| serde_json::json!({ "Name": named.name, "Labels": named.labels }),
    )
}

async fn helper(engine: &Engine, operation: &Operation) -> Result<(), ApplyError> {
    let ended = engine.send(Http::POST, &operation.path, None).await;
    let ended = ended.map_err(lost(operation))?;
    match ended["StatusCode"].as_i64() {
        Some(0) => Ok(()),
        code => Err(ApplyError::Helper {
            name: operation.object().to_owned(),
            code: code.unwrap_or(-1),
        }),
    }
}
