//! LXD and Incus: system containers and VMs, each with an engine of its own, over the unix socket of the
//! server, which comes through SSH where it is another machine.
//!
//! The [REST API](https://documentation.ubuntu.com/lxd/en/latest/rest-api/) of both is the same for what is
//! used here. What takes time is an operation, which is looked at until it ends.

mod error;
mod spec;

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::docker::engine::shown;
use crate::host_key::HostKey;
use crate::name::InstanceName;
use crate::remote::Remote;
use crate::unix_http::{Answer, Body, Call, UnixHttp};

pub use error::LxdError;
pub use spec::{InstanceKind, InstanceSpec, Size, SpecError, StaticAddress};

/// Where the servers listen: LXD from a snap and from a package, Incus.
pub const SOCKETS: [&str; 3] = [
    "/var/snap/lxd/common/lxd/unix.socket",
    "/var/lib/lxd/unix.socket",
    "/var/lib/incus/unix.socket",
];

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an operation may take: unpacking an image on a slow disk.
const OPERATION: Duration = Duration::from_secs(600);

/// How long an instance may take to boot.
const BOOT: Duration = Duration::from_secs(120);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(200);

/// Where the host key lies that is pinned.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// Gives an instance its name, host keys, and an sshd that has them, once it is up.
const OPEN: &str = "echo \"$1\" >/etc/hostname && hostname \"$1\" || exit 1
mkdir -p -m 700 /root/.ssh && ssh-keygen -A || exit 1
command -v systemctl >/dev/null || exit 0
n=0
until said=$(systemctl restart ssh 2>&1); do
    n=$((n + 1))
    if [ $n -gt 120 ]; then echo \"$said\" >&2; exit 1; fi
    sleep 0.5
done";

/// An LXD or Incus server that trusts us.
#[derive(Clone, Debug)]
pub struct Lxd {
    host: String,
    http: UnixHttp,
}

/// What a command in an instance did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: i64,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: Vec<u8>,
}

/// Hears how far an operation is.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    error: String,
}

impl Lxd {
    /// Finds the server of a host at one of [`SOCKETS`].
    ///
    /// # Errors
    ///
    /// Any [`LxdError`]; [`LxdError::Missing`] where none of them is there.
    pub async fn connect(remote: &Remote) -> Result<Self, LxdError> {
        let host = remote.name().as_str();
        for socket in SOCKETS {
            let here = remote.forward(Path::new(socket)).await?;
            match Self::at(host, &here).await {
                Err(LxdError::Missing(_)) => {}
                // a forwarded socket accepts whatever is behind it
                Err(LxdError::Broken { .. }) if !remote.is_local() => {}
                ended => return ended,
            }
        }
        Err(LxdError::Missing(host.to_owned()))
    }

    /// Asks the server of `host` at this socket whether it trusts us.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`].
    pub async fn at(host: &str, socket: &Path) -> Result<Self, LxdError> {
        let lxd = Self {
            host: host.to_owned(),
            http: UnixHttp::new(socket),
        };
        let server = lxd.get("/1.0", "tell about itself").await?;
        if server.get("auth").and_then(Value::as_str) != Some("trusted") {
            return Err(LxdError::Untrusted(lxd.host));
        }
        Ok(lxd)
    }

    /// Makes an instance, starts it, and returns where it is; what fails is deleted again.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`]; [`LxdError::Exists`] where the name is taken, which is left alone.
    pub async fn launch(
        &self,
        spec: &InstanceSpec,
        tell: Progress<'_>,
    ) -> Result<IpAddr, LxdError> {
        let name = &spec.name;
        let what = format!("make `{name}`");
        match self.get(&format!("/1.0/instances/{name}"), &what).await {
            Ok(_) => return Err(LxdError::exists(&self.host, name)),
            Err(LxdError::Api { status: 404, .. }) => {}
            Err(error) => return Err(error),
        }
        let call = Call::new(Method::POST, "/1.0/instances").json(&spec.request());
        let started = async {
            self.operation(call, &what, tell).await?;
            self.start(name).await?;
            self.address(name).await
        };
        let outcome = started.await;
        if outcome.is_err() {
            // what was made a moment ago holds nothing of anybody's
            let _ = self.delete(name).await;
        }
        outcome
    }

    /// Lets the holder of an SSH key in as root, and returns the host key of the instance. Both go through
    /// the server: nothing is believed of the network.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`].
    pub async fn admit(&self, name: &InstanceName, key: &str) -> Result<HostKey, LxdError> {
        let ran = self
            .exec(name, &["sh", "-c", OPEN, "sh", name.as_str()])
            .await?;
        if ran.code != 0 {
            return Err(LxdError::NoSsh {
                instance: name.to_string(),
                reason: shown(&String::from_utf8_lossy(&ran.stderr)),
            });
        }
        let line = format!("{}\n", key.trim_end());
        let path = "/root/.ssh/authorized_keys";
        self.push(name, path, line.into_bytes(), 0o600).await?;
        let line = self.pull(name, HOST_KEY).await?;
        let line = String::from_utf8_lossy(&line);
        let key = ssh_key::PublicKey::from_openssh(line.trim_end()).ok();
        let key = key.and_then(|key| HostKey::new(&key));
        key.ok_or_else(|| LxdError::NoSsh {
            instance: name.to_string(),
            reason: format!("`{HOST_KEY}` holds no key"),
        })
    }

    /// Starts an instance.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`].
    pub async fn start(&self, name: &InstanceName) -> Result<(), LxdError> {
        self.change(name, "start", false).await
    }

    /// Shuts an instance down.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`].
    pub async fn stop(&self, name: &InstanceName) -> Result<(), LxdError> {
        self.change(name, "stop", false).await
    }

    /// Deletes an instance and everything in it, whether it runs or not.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`].
    pub async fn delete(&self, name: &InstanceName) -> Result<(), LxdError> {
        // one that does not run cannot be stopped
        let _ = self.change(name, "stop", true).await;
        let call = Call::new(Method::DELETE, format!("/1.0/instances/{name}"));
        let what = format!("delete `{name}`");
        self.operation(call, &what, &|_| {}).await.map(drop)
    }

    /// Runs a command in an instance, as root, to its end.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`].
    pub async fn exec(&self, name: &InstanceName, words: &[&str]) -> Result<Ran, LxdError> {
        let body = json!({
            "command": words, "interactive": false, "wait-for-websocket": false,
            "record-output": true,
        });
        let what = format!("run `{}` in `{name}`", words.first().unwrap_or(&""));
        let path = format!("/1.0/instances/{name}/exec");
        let call = Call::new(Method::POST, path).json(&body);
        let done = self.operation(call, &what, &|_| {}).await?;
        let output = async |stream: &str| {
            let path = done.pointer(&format!("/output/{stream}"))?.as_str()?;
            let ours = path.starts_with("/1.0/instances/").then_some(path)?;
            let answer = self.raw(Call::new(Method::GET, ours), &what).await.ok()?;
            Some(answer.body)
        };
        Ok(Ran {
            code: done.get("return").and_then(Value::as_i64).unwrap_or(-1),
            stdout: output("1").await.unwrap_or_default(),
            stderr: output("2").await.unwrap_or_default(),
        })
    }

    /// Writes a file into an instance, as root's; its path is plain.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`].
    pub async fn push(
        &self,
        name: &InstanceName,
        path: &str,
        bytes: Vec<u8>,
        mode: u32,
    ) -> Result<(), LxdError> {
        let what = format!("write `{path}` in `{name}`");
        let mode = format!("{mode:04o}");
        let mut call = Call::new(Method::POST, files(name, path)).body(Body::Bytes(bytes));
        // each server reads its own and overlooks the other's
        for (header, value) in [
            ("x-lxd-type", "file"),
            ("x-lxd-mode", &mode),
            ("x-lxd-uid", "0"),
            ("x-lxd-gid", "0"),
            ("x-incus-type", "file"),
            ("x-incus-mode", &mode),
            ("x-incus-uid", "0"),
            ("x-incus-gid", "0"),
        ] {
            let value = HeaderValue::from_str(value).expect("letters and digits are a header");
            call = call.header(HeaderName::from_static(header), value);
        }
        self.raw(call, &what).await.map(drop)
    }

    /// Reads a file of an instance; its path is plain.
    ///
    /// # Errors
    ///
    /// Any [`LxdError`].
    pub async fn pull(&self, name: &InstanceName, path: &str) -> Result<Vec<u8>, LxdError> {
        let what = format!("read `{path}` in `{name}`");
        let call = Call::new(Method::GET, files(name, path));
        Ok(self.raw(call, &what).await?.body)
    }

    /// Waits until an instance has an address, and returns it.
    async fn address(&self, name: &InstanceName) -> Result<IpAddr, LxdError> {
        let path = format!("/1.0/instances/{name}/state");
        let start = Instant::now();
        while start.elapsed() < BOOT {
            let state = self.get(&path, &format!("tell about `{name}`")).await?;
            if let Some(address) = global_address(&state) {
                return Ok(address);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(LxdError::Waited {
            what: format!("`{name}` to have an address"),
            seconds: BOOT.as_secs(),
        })
    }

    async fn change(&self, name: &InstanceName, action: &str, force: bool) -> Result<(), LxdError> {
        let body = json!({ "action": action, "timeout": 60, "force": force });
        let call = Call::new(Method::PUT, format!("/1.0/instances/{name}/state")).json(&body);
        let what = format!("{action} `{name}`");
        self.operation(call, &what, &|_| {}).await.map(drop)
    }

    /// Begins an operation, looks at it until it ends, and returns what it left.
    async fn operation(
        &self,
        call: Call,
        what: &str,
        tell: Progress<'_>,
    ) -> Result<Value, LxdError> {
        let begun = self.reply(&self.raw(call, what).await?)?.operation;
        let id = begun.rsplit('/').next().unwrap_or_default();
        let id = id.split('?').next().unwrap_or_default();
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            return Err(LxdError::Stranger(self.host.clone()));
        }
        let path = format!("/1.0/operations/{id}");
        let start = Instant::now();
        let mut told = String::new();
        while start.elapsed() < OPERATION {
            let operation = self.get(&path, what).await?;
            match operation.get("status_code").and_then(Value::as_u64) {
                Some(200) => return Ok(operation.get("metadata").cloned().unwrap_or_default()),
                Some(status @ 400..) => {
                    let error = operation.get("err").and_then(Value::as_str);
                    return Err(LxdError::Api {
                        host: self.host.clone(),
                        what: what.to_owned(),
                        status: u16::try_from(status).unwrap_or(500),
                        message: shown(error.unwrap_or("it failed")),
                    });
                }
                _ => {}
            }
            if let Some(progress) = progress(&operation).filter(|progress| *progress != told) {
                tell(&progress);
                told = progress;
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(LxdError::Waited {
            what: format!("`{}` to {what}", self.host),
            seconds: OPERATION.as_secs(),
        })
    }

    async fn get(&self, path: &str, what: &str) -> Result<Value, LxdError> {
        let answer = self.raw(Call::new(Method::GET, path), what).await?;
        Ok(self.reply(&answer)?.metadata)
    }

    fn reply(&self, answer: &Answer) -> Result<Reply, LxdError> {
        let reply = serde_json::from_slice(&answer.body);
        reply.map_err(|_| LxdError::Stranger(self.host.clone()))
    }

    async fn raw(&self, call: Call, what: &str) -> Result<Answer, LxdError> {
        let answer = self.http.send(call, PATIENCE).await;
        let answer = answer.map_err(|error| LxdError::reaching(&self.host, error))?;
        if answer.status == StatusCode::OK || answer.status == StatusCode::ACCEPTED {
            return Ok(answer);
        }
        Err(LxdError::Api {
            host: self.host.clone(),
            what: what.to_owned(),
            status: answer.status.as_u16(),
            message: shown(&self.reply(&answer)?.error),
        })
    }
}

/// Returns what to ask for a file.
fn files(name: &InstanceName, path: &str) -> String {
    format!("/1.0/instances/{name}/files?path={path}")
}

/// Finds the address by which others reach an instance, IPv4 before IPv6.
fn global_address(state: &Value) -> Option<IpAddr> {
    let networks = state.get("network")?.as_object()?;
    let addresses = networks
        .iter()
        .filter(|(name, _)| *name != "lo")
        .filter_map(|(_, network)| network.get("addresses")?.as_array())
        .flatten()
        .filter(|address| address.get("scope").and_then(Value::as_str) == Some("global"))
        .filter_map(|address| address.get("address")?.as_str()?.parse::<IpAddr>().ok());
    addresses.min_by_key(IpAddr::is_ipv6)
}

/// Finds what an operation says of how far it is.
fn progress(operation: &Value) -> Option<String> {
    let metadata = operation.get("metadata")?.as_object()?;
    let said = metadata
        .iter()
        .find(|(name, _)| name.ends_with("_progress"))?;
    said.1.as_str().map(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_that_which_others_reach() {
        let state = json!({ "network": {
            "lo": { "addresses": [{ "scope": "global", "address": "10.9.9.9" }] },
            "eth0": { "addresses": [
                { "scope": "link", "address": "fe80::1" },
                { "scope": "global", "address": "fd00::2" },
                { "scope": "global", "address": "10.0.0.2" },
            ] },
        } });
        assert_eq!(global_address(&state), "10.0.0.2".parse().ok());
        assert_eq!(global_address(&json!({ "network": null })), None);
    }

    #[test]
    fn what_an_operation_says_of_itself_is_told() {
        let running =
            json!({ "metadata": { "create_instance_from_image_unpack_progress": "Unpack: 40%" } });
        assert_eq!(progress(&running).as_deref(), Some("Unpack: 40%"));
        assert_eq!(progress(&json!({ "metadata": {} })), None);
    }
}
