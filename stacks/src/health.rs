//! Whether a service is ready: what the application says, never that its container is up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcm_cluster::EngineError;
use bcm_cluster::docker::exec;
use bcm_cluster::docker::{Tunnel, TunnelError};
use bcm_keystore::{Chain, Hint};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::apply::Engines;
use crate::render::service_name;
use crate::stack::{ContainerPath, Expect, Probe, Scalar, Service, Stack};

/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(20);

/// How often a service is asked while it is waited for.
const GLANCE: Duration = Duration::from_millis(500);

/// Most of an answer that is read.
const MOST: u64 = 4 << 20;

/// How far a service is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Readiness {
    /// The application says that it is ready.
    Ready {
        /// The height that it has reached, where it tells one.
        height: Option<u64>,
    },
    /// It works its way up to what it needs.
    Syncing {
        /// The height reached.
        height: u64,
        /// The height to reach.
        target: u64,
        /// The share that is done, from 0 to 1.
        progress: f64,
    },
    /// It is not ready.
    Waiting {
        /// Why.
        reason: String,
    },
}

impl std::fmt::Display for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready { height: None } => f.write_str("ready"),
            Self::Ready {
                height: Some(height),
            } => write!(f, "ready at height {height}"),
            Self::Syncing {
                height,
                target,
                progress,
            } => write!(f, "height {height} of {target}, {:.2} %", progress * 100.0),
            Self::Waiting { reason } => f.write_str(reason),
        }
    }
}

/// Why a service did not become ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// An engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It took too long.
    #[error("`{service}` was not ready after {seconds} s: {reason}")]
    Late {
        /// The service.
        service: String,
        /// How long was waited.
        seconds: u64,
        /// What it said last.
        reason: String,
    },
}

impl Hint for HealthError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.hint(),
            Self::Late { service, .. } => Some(format!("`stack logs` shows what `{service}` says")),
        }
    }
}

/// Asks a service once how far it is.
///
/// # Errors
///
/// [`EngineError`] when the engine cannot be asked; a service that does not answer is no error.
pub async fn ask(
    engines: &Engines,
    chain: Chain,
    stack: &Stack,
    service: &Service,
) -> Result<Readiness, EngineError> {
    let name = service_name(chain, &stack.name, &service.name);
    let Some((engine, container)) = engines.container_of(&name).await? else {
        let reason = not_running(engines, &name).await?;
        return Ok(Readiness::Waiting { reason });
    };
    let probe = &service.ready;
    let port = |port: &str| {
        service
            .ports_on(chain)
            .get(port)
            .copied()
            .unwrap_or_default()
    };
    let answer = if let Some(http) = &probe.http {
        let credentials = match &http.credentials {
            Some(path) => credentials(engine, &container, path).await?,
            None => None,
        };
        let request = http_request(http.path.as_str(), credentials.as_deref());
        through(engines, &name, port(http.port.as_str()), async |stream| {
            http_answer(stream, &request, http.status).await
        })
        .await
    } else if let Some(electrum) = &probe.electrum {
        through(engines, &name, port(electrum.as_str()), electrum_answer).await
    } else {
        let words: Vec<_> = probe
            .exec
            .iter()
            .map(|word| word.as_str().to_owned())
            .collect();
        match exec::ask(engine, &container, &words, ANSWER).await {
            Ok(said) if said.code == 0 => Ok(said.stdout),
            Ok(said) => Err(line(&[said.stderr, said.stdout].concat())),
            Err(error @ EngineError::Silent { .. }) => Err(error.to_string()),
            // it may have ended between the two questions
            Err(error) if error.status().is_some() => Err(error.to_string()),
            Err(error) => return Err(error),
        }
    };
    Ok(match answer {
        Ok(answer) => judge(probe, &answer),
        Err(reason) => Readiness::Waiting { reason },
    })
}

/// Waits until a service is ready, as long as it gets on; the first synchronisation is not counted.
///
/// # Errors
///
/// Any [`HealthError`].
pub async fn wait(
    engines: &Engines,
    chain: Chain,
    stack: &Stack,
    service: &Service,
    mut tell: impl FnMut(&str, &Readiness),
) -> Result<Readiness, HealthError> {
    let name = service_name(chain, &stack.name, &service.name);
    let limit = Duration::from_secs(service.start_limit_s.into());
    let mut begun = Instant::now();
    let mut last = None;
    loop {
        let found = ask(engines, chain, stack, service).await?;
        if last.as_ref() != Some(&found) {
            tell(&name, &found);
        }
        match &found {
            Readiness::Ready { .. } => return Ok(found),
            Readiness::Syncing { .. } if last.as_ref() != Some(&found) => begun = Instant::now(),
            _ => {}
        }
        if begun.elapsed() > limit {
            return Err(HealthError::Late {
                service: name,
                seconds: limit.as_secs(),
                reason: found.to_string(),
            });
        }
        last = Some(found);
        tokio::time::sleep(GLANCE).await;
    }
}

/// Says what the swarm does with a service that has no running container.
async fn not_running(engines: &Engines, service: &str) -> Result<String, EngineError> {
    let filters = format!("%7B%22service%22%3A%5B%22{service}%22%5D%7D");
    let tasks = engines
        .manager()
        .get(&format!("/tasks?filters={filters}"))
        .await;
    let tasks = match tasks {
        Err(error) if error.status() == Some(404) => return Ok("it is not there".into()),
        tasks => tasks?,
    };
    let newest = tasks
        .as_array()
        .into_iter()
        .flatten()
        .max_by_key(|task| task["CreatedAt"].as_str().unwrap_or_default().to_owned());
    let Some(task) = newest else {
        return Ok("no task runs".into());
    };
    let state = task["Status"]["State"].as_str().unwrap_or("unknown");
    let error = task["Status"]["Err"]
        .as_str()
        .or(task["Status"]["Message"].as_str());
    Ok(match error {
        Some(error) if !error.is_empty() => format!("{state}: {}", line(error.as_bytes())),
        _ => state.to_owned(),
    })
}

/// Returns the last line of a text, short and without what could repaint a terminal.
fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    let last: String = last.unwrap_or("no answer").chars().take(200).collect();
    last.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .into()
}

/// Reads an answer.
fn judge(probe: &Probe, answer: &[u8]) -> Readiness {
    let waiting = |reason: String| Readiness::Waiting { reason };
    if let Some(contains) = &probe.contains {
        let text = String::from_utf8_lossy(answer);
        return match text.contains(contains.as_str()) {
            true => Readiness::Ready { height: None },
            false => waiting(line(answer)),
        };
    }
    let asks = !probe.expect.is_empty() || probe.height.is_some();
    if !asks {
        return Readiness::Ready { height: None };
    }
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return waiting("its answer is no JSON".into());
    };
    if let Some(expect) = probe.expect.iter().find(|expect| !met(expect, &answer)) {
        return waiting(format!("`{}` is not as it should be", expect.at.as_str()));
    }
    let number = |pointer: &Option<crate::stack::Pointer>| {
        pointer
            .as_ref()
            .and_then(|pointer| answer.pointer(pointer.as_str()))
    };
    let height = number(&probe.height).and_then(Value::as_u64);
    let target = number(&probe.target).and_then(Value::as_u64);
    match (height, target) {
        (Some(height), Some(target)) if height < target => Readiness::Syncing {
            height,
            target,
            progress: number(&probe.progress)
                .and_then(Value::as_f64)
                .unwrap_or_default(),
        },
        (height, _) => Readiness::Ready { height },
    }
}

fn met(expect: &Expect, answer: &Value) -> bool {
    let found = answer.pointer(expect.at.as_str());
    match (&expect.is, found) {
        (None, found) => found.is_none_or(Value::is_null),
        (Some(Scalar::Bool(value)), Some(found)) => found == value,
        (Some(Scalar::Number(value)), Some(found)) => found == value,
        (Some(Scalar::Text(value)), Some(found)) => found == value.as_str(),
        (Some(_), None) => false,
    }
}

/// Asks a port of a service through a tunnel.
async fn through(
    engines: &Engines,
    service: &str,
    port: u16,
    ask: impl AsyncFnOnce(TcpStream) -> std::io::Result<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    let hosts = engines.hosts().map(|(_, engine)| engine.clone()).collect();
    let said = |error: TunnelError| error.to_string();
    let tunnel = Tunnel::open(hosts, service, port).await.map_err(said)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.map_err(|error| error.to_string())?;
    let near = listener.local_addr().map_err(|error| error.to_string())?;
    let (events, mut failed) = mpsc::channel(4);
    let asking = async {
        let stream = TcpStream::connect(near).await?;
        ask(stream).await
    };
    tokio::select! {
        answer = tokio::time::timeout(ANSWER, asking) => match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(match failed.try_recv() {
                Ok(bcm_cluster::docker::tunnel::Event::Failed(error)) => error.to_string(),
                Err(_) => error.to_string(),
            }),
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        },
        () = tunnel.serve(listener, events) => Err("the tunnel ended".into()),
    }
}

/// Asks as an Electrum client does:
/// [server.version](https://electrum-protocol.readthedocs.io/en/latest/protocol-methods.html#server-version),
/// then a ping.
async fn electrum_answer(stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(MOST));
    for request in [
        r#"{"id":0,"method":"server.version","params":["bcm","1.4"]}"#,
        r#"{"id":1,"method":"server.ping","params":[]}"#,
    ] {
        write.write_all(request.as_bytes()).await?;
        write.write_all(b"\n").await?;
        let mut answer = String::new();
        read.read_line(&mut answer).await?;
        let answer: BTreeMap<String, Value> = serde_json::from_str(&answer)
            .map_err(|_| std::io::Error::other("it speaks no Electrum yet"))?;
        if answer.get("error").is_some_and(|error| !error.is_null()) {
            return Err(std::io::Error::other("it refuses to speak Electrum"));
        }
    }
    Ok(Vec::new())
}

async fn credentials(
    engine: &bcm_cluster::Engine,
    container: &str,
    path: &ContainerPath,
) -> Result<Option<zeroize::Zeroizing<String>>, EngineError> {
    let words = ["cat".to_owned(), path.to_string()];
    let said = exec::ask(engine, container, &words, ANSWER).await?;
    let secret = zeroize::Zeroizing::new(said.stdout);
    let encoded = STANDARD.encode(secret.trim_ascii_end());
    Ok((said.code == 0).then(|| zeroize::Zeroizing::new(encoded)))
}

fn http_request(path: &str, basic: Option<&String>) -> zeroize::Zeroizing<String> {
    let authorization = basic.map(|basic| format!("Authorization: Basic {basic}\r\n"));
    zeroize::Zeroizing::new(format!(
        "GET {path} HTTP/1.0\r\nHost: localhost\r\n{}\r\n",
        authorization.unwrap_or_default()
    ))
}

async fn http_answer(
    mut stream: TcpStream,
    request: &str,
    status: u16,
) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| std::io::Error::other("its answer is no HTTP"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let found = head.split(' ').nth(1).unwrap_or_default();
    match found == status.to_string() {
        true => Ok(answer.split_off(end + 4)),
        false => Err(std::io::Error::other(format!(
            "it answers with status {found}, expected {status}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(text: &str) -> Probe {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_application_says_how_far_it_is() {
        let node = probe("exec = ['x']\nheight = '/blocks'\ntarget = '/headers'\nprogress = '/p'");
        assert_eq!(
            judge(&node, br#"{"blocks": 7, "headers": 9, "p": 0.5}"#).to_string(),
            "height 7 of 9, 50.00 %"
        );
        assert_eq!(
            judge(&node, br#"{"blocks": 9, "headers": 9}"#),
            Readiness::Ready { height: Some(9) }
        );
        assert!(matches!(judge(&node, b"soon"), Readiness::Waiting { .. }));
        let tor = probe("exec = ['x']\ncontains = 'PROGRESS=100'");
        assert_eq!(judge(&tor, b"PROGRESS=90\n").to_string(), "PROGRESS=90");
        assert_eq!(judge(&tor, b"PROGRESS=100\n").to_string(), "ready");
        let expecting = probe("exec = ['x']\nexpect = [{ at = '/a', is = true }, { at = '/b' }]");
        assert_eq!(judge(&expecting, br#"{"a": true}"#).to_string(), "ready");
        for answer in [&br#"{"a": false}"#[..], br#"{"a": true, "b": "x"}"#, b"{}"] {
            assert!(matches!(
                judge(&expecting, answer),
                Readiness::Waiting { .. }
            ));
        }
    }

    #[test]
    fn what_a_program_says_cannot_repaint_the_terminal() {
        assert_eq!(line(b"a\n\x1b[2Jerror: x\n\n"), "[2Jerror: x");
        assert_eq!(line(b""), "no answer");
    }
}
