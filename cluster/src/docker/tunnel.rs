//! A service of an internal network, reached at a port of the controller's loopback.
//!
//! No port is published and none is opened: a helper container shares the network namespace of a task
//! of the service, and each connection is one process in it, whose standard streams come through the
//! engine's socket. The helper's image is empty; it runs the host's own perl (which every Debian and
//! Ubuntu has), mounted read-only, as nobody, without capabilities. So nothing has to be pulled, and it
//! works whatever image the service has and whichever networks it is on. The helper lives on its own
//! standard input: it ends when the tunnel does, however that ends.

mod image;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use bcm_keystore::Hint;
use futures::future::join_all;
use hyper::Method;
use hyper::upgrade::Upgraded;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::engine::{Engine, EngineError, shown};
use super::label;
use crate::unix_http::Call;

/// Connections at once; more wait for one that ends.
const MOST: usize = 64;

/// How long a tunnel that cannot accept waits before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

/// Docker's label of a task's container.
const SERVICE: &str = "com.docker.swarm.service.name";

/// Keeps the helper for as long as its standard input is open.
const WAIT: &str = "1 while sysread STDIN, my $b, 4096";

/// A way to a service, for any number of connections.
#[derive(Debug)]
pub struct Tunnel {
    engines: Vec<Engine>,
    service: String,
    port: u16,
    helper: Mutex<Option<Arc<Helper>>>,
}

/// A container beside a task of the service.
#[derive(Debug)]
struct Helper {
    engine: Engine,
    id: String,
    task: Task,
    /// Its standard input.
    _stdin: std::sync::Mutex<Upgraded>,
}

/// A container that runs the service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Task {
    id: String,
    /// Where the service may listen, apart from its loopback.
    addresses: Vec<String>,
}

/// What a tunnel has to tell while it serves.
#[derive(Debug)]
pub enum Event {
    /// A connection did not come about, or broke.
    Failed(TunnelError),
}

impl Tunnel {
    /// Finds a task of `service` on one of these engines, and puts a helper beside it.
    ///
    /// # Errors
    ///
    /// [`TunnelError::NoTask`] where the service does not run on any of them.
    pub async fn open(engines: Vec<Engine>, service: &str, port: u16) -> Result<Self, TunnelError> {
        let tunnel = Self {
            engines,
            service: service.to_owned(),
            port,
            helper: Mutex::default(),
        };
        tunnel.helper().await?;
        Ok(tunnel)
    }

    /// Returns the name of the host on which the service was found.
    pub async fn host(&self) -> Option<String> {
        let helper = self.helper.lock().await;
        Some(helper.as_ref()?.engine.host().to_owned())
    }

    /// Serves connections to `listener` until dropped; what goes wrong with one is told to `events`.
    pub async fn serve(self, listener: TcpListener, events: mpsc::Sender<Event>) {
        let tunnel = Arc::new(self);
        let room = Arc::new(Semaphore::new(MOST));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let turn = room.clone().acquire_owned().await;
            let turn = turn.expect("nobody closes it");
            let Ok((client, _)) = listener.accept().await else {
                // out of descriptors, most likely: those that end give some back
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (tunnel, events) = (tunnel.clone(), events.clone());
            connections.spawn(async move {
                if let Err(error) = tunnel.carry(client).await {
                    let _ = events.try_send(Event::Failed(error));
                }
                drop(turn);
            });
        }
    }

    async fn carry(&self, client: TcpStream) -> Result<(), TunnelError> {
        let helper = self.helper().await?;
        let engine = &helper.engine;
        let mut words = vec![
            "/usr/bin/perl".to_owned(),
            "-e".into(),
            relay::SCRIPT.into(),
        ];
        words.push(self.port.to_string());
        words.push("127.0.0.1".into());
        words.extend(helper.task.addresses.iter().cloned());
        let body = json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Cmd": words,
        });
        let path = format!("/containers/{}/exec", helper.id);
        let made = engine.call(Method::POST, &path, Some(&body)).await?;
        let id = id_of(&made, "Id").ok_or_else(|| self.strange(engine))?;
        let call = Call::new(Method::POST, format!("/exec/{id}/start"))
            .json(&json!({ "Detach": false, "Tty": false }));
        let stream = engine.hijack(call, "relay a connection").await?;
        let said = relay::splice(client, stream).await;
        match said {
            Ok(said) if said.is_empty() => Ok(()),
            Ok(said) => Err(TunnelError::Refused {
                service: self.service.clone(),
                port: self.port,
                reason: shown(&said),
            }),
            Err(error) => Err(TunnelError::Broken(error)),
        }
    }

    /// Returns the helper, made anew if its task is gone.
    async fn helper(&self) -> Result<Arc<Helper>, TunnelError> {
        let mut helper = self.helper.lock().await;
        if let Some(helper) = &*helper
            && helper.is_good().await
        {
            return Ok(helper.clone());
        }
        // what it was beside is gone: its standard input closes with the last connection
        *helper = None;
        let (engine, task) = self.find().await?;
        let made = Arc::new(self.place(&engine, task).await?);
        *helper = Some(made.clone());
        Ok(made)
    }

    async fn find(&self) -> Result<(Engine, Task), TunnelError> {
        let looks = self
            .engines
            .iter()
            .map(|engine| tasks(engine, &self.service));
        let mut failed = None;
        for (engine, found) in self.engines.iter().zip(join_all(looks).await) {
            match found {
                Ok(tasks) => {
                    if let Some(task) = tasks.into_iter().next() {
                        return Ok((engine.clone(), task));
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Err(TunnelError::NoTask(self.service.clone())),
        }
    }

    async fn place(&self, engine: &Engine, task: Task) -> Result<Helper, TunnelError> {
        let image = image::ensure(engine).await?;
        let request = json!({
            "Image": image,
            "Cmd": ["/usr/bin/perl", "-e", WAIT],
            "User": "65534:65534",
            "OpenStdin": true, "StdinOnce": true, "AttachStdin": true,
            "Labels": { label::TUNNEL: self.service },
            "HostConfig": {
                "NetworkMode": format!("container:{}", task.id),
                "AutoRemove": true,
                "ReadonlyRootfs": true,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "PidsLimit": 2 * MOST + 8,
                "Binds": ["/usr:/usr:ro"],
                "LogConfig": { "Type": "none" },
            },
        });
        let made = engine
            .call(Method::POST, "/containers/create", Some(&request))
            .await?;
        let id = id_of(&made, "Id").ok_or_else(|| self.strange(engine))?;
        let started = async {
            let path = format!("/containers/{id}/attach?stream=1&stdin=1");
            let call = Call::new(Method::POST, path);
            let stdin = engine.hijack(call, "hold a tunnel open").await?;
            let path = format!("/containers/{id}/start");
            engine.call(Method::POST, &path, None).await?;
            Ok::<_, EngineError>(stdin)
        };
        match started.await {
            Ok(stdin) => Ok(Helper {
                engine: engine.clone(),
                id,
                task,
                _stdin: stdin.into(),
            }),
            Err(error) => {
                // one that never ran does not remove itself
                let path = format!("/containers/{id}?force=1");
                let _ = engine.call(Method::DELETE, &path, None).await;
                Err(error.into())
            }
        }
    }

    fn strange(&self, engine: &Engine) -> TunnelError {
        TunnelError::Refused {
            service: self.service.clone(),
            port: self.port,
            reason: format!("the engine of `{}` gave no id", engine.host()),
        }
    }
}

impl Helper {
    /// Tells whether it and the task beside it still run.
    async fn is_good(&self) -> bool {
        let runs = async |id: &str| {
            let path = format!("/containers/{id}/json");
            let found = self.engine.call(Method::GET, &path, None).await;
            found.is_ok_and(|found| found.pointer("/State/Running") == Some(&Value::Bool(true)))
        };
        let (helper, task) = tokio::join!(runs(&self.id), runs(&self.task.id));
        helper && task
    }
}

/// Lists the containers on an engine that run the service.
async fn tasks(engine: &Engine, service: &str) -> Result<Vec<Task>, EngineError> {
    use bollard::query_parameters::ListContainersOptionsBuilder;
    let filters = std::collections::HashMap::from([
        ("label".to_owned(), vec![format!("{SERVICE}={service}")]),
        ("status".to_owned(), vec!["running".to_owned()]),
    ]);
    let options = ListContainersOptionsBuilder::default()
        .filters(&filters)
        .build();
    let found = engine.docker().list_containers(Some(options));
    let found = engine.done("list the containers", found).await?;
    let tasks = found.into_iter().filter_map(|container| {
        let networks = container
            .network_settings
            .and_then(|settings| settings.networks);
        let networks = networks.unwrap_or_default().into_values();
        let mut addresses: Vec<_> = networks
            .filter_map(|network| network.ip_address)
            .filter(|address| address.parse::<std::net::IpAddr>().is_ok())
            .collect();
        addresses.sort();
        Some(Task {
            id: container.id.filter(|id| is_id(id))?,
            addresses,
        })
    });
    Ok(tasks.collect())
}

fn id_of(answer: &Value, key: &str) -> Option<String> {
    let id = answer.get(key)?.as_str()?;
    is_id(id).then(|| id.to_owned())
}

/// What goes into the path of a request has to be what Docker's ids are.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// Why a service is not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No host runs it.
    #[error("no host runs a task of the service `{0}`")]
    NoTask(String),
    /// The service does not take the connection.
    #[error("`{service}` does not take a connection to port {port}: {reason}")]
    Refused {
        /// The service.
        service: String,
        /// Its port.
        port: u16,
        /// What was said.
        reason: String,
    },
    /// The connection ended in the middle.
    #[error("a connection through the tunnel broke")]
    Broken(#[source] std::io::Error),
}

impl Hint for TunnelError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Engine(error) => return error.hint(),
            Self::NoTask(_) => "`cluster status` shows what runs where".into(),
            Self::Refused { .. } => "check the port, and that the service is up".into(),
            Self::Broken(_) => return None,
        })
    }
}
