//! One engine: found, of an age that bcm can trust, and asked with a bound.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bcm_keystore::Hint;
use bollard::{ClientVersion, Docker};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::command::RemoteCommand;
use crate::remote::{Remote, RemoteError, Status};
use crate::unix_http::{Answer, Body, Call, HttpError, UnixHttp};

/// Where an engine listens on its own host.
pub const SOCKET: &str = "/run/docker.sock";

/// The oldest engine that encrypts an overlay network when it is told to
/// ([CVE-2023-28840](https://github.com/moby/moby/security/advisories/GHSA-232p-vwff-86mp)).
pub const OLDEST: EngineVersion = EngineVersion {
    major: 20,
    minor: 10,
    patch: 24,
};

/// The API of that engine.
const OLDEST_API: (usize, usize) = (1, 41);

/// How long an engine may take to say its version.
const GREETING: Duration = Duration::from_secs(10);

/// How long an engine may take with anything else; joining a swarm may wait 20 s for a manager.
const PATIENCE: Duration = Duration::from_secs(30);

/// What [`why_closed`] returns.
const NO_SOCKET: u8 = 3;
const NO_ACCESS: u8 = 4;

/// Longest line of a streamed answer.
const MAX_LINE: usize = 1 << 20;

/// Longest text of a foreign error that is shown.
const MAX_MESSAGE: usize = 400;

/// A Docker engine whose version was checked.
#[derive(Clone, Debug)]
pub struct Engine {
    host: Arc<str>,
    http: UnixHttp,
    docker: Docker,
    version: EngineVersion,
    api: (usize, usize),
    arch: Arc<str>,
}

impl Engine {
    /// Asks the engine of a host who it is; its socket is forwarded through SSH where the host is not
    /// this machine.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`].
    pub async fn connect(remote: &Remote) -> Result<Self, EngineError> {
        let there = Path::new(SOCKET);
        let here = remote.forward(there).await?;
        let failed = match Self::at(remote.name().as_str(), &here).await {
            Err(error @ (EngineError::Broken { .. } | EngineError::Down { .. })) => error,
            ended => return ended,
        };
        if remote.is_local() {
            return Err(failed);
        }
        // a forwarded socket accepts whatever is behind it: the host knows why nothing answers
        let (host, socket) = (remote.name().to_string(), there.to_owned());
        let output = remote.run(&why_closed(), &[]).await?;
        Err(match output.status {
            Status::Code(NO_SOCKET) => EngineError::Missing { host, socket },
            Status::Code(NO_ACCESS) => EngineError::Permission { host, socket },
            _ => match failed {
                EngineError::Broken { host, source } => EngineError::Down {
                    host,
                    source: io::Error::other(source),
                },
                failed => failed,
            },
        })
    }

    /// Asks the engine of `host` at this socket who it is.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`].
    pub async fn at(host: &str, socket: &Path) -> Result<Self, EngineError> {
        let http = UnixHttp::new(socket);
        let call = Call::new(Method::GET, "/version");
        let answer = http.send(call, GREETING).await;
        let answer = answer.map_err(|error| EngineError::reaching(host, socket, error))?;
        let Greeted { version, api, arch } = greeting(host, &answer)?;
        let (major_version, minor_version) = api;
        let client_version = ClientVersion {
            major_version,
            minor_version,
        };
        let socket = socket.to_str().ok_or_else(|| EngineError::Path {
            host: host.to_owned(),
            socket: socket.to_owned(),
        })?;
        let docker = Docker::connect_with_unix(socket, PATIENCE.as_secs(), &client_version)
            .map_err(|error| EngineError::asked(host, "connect", error))?;
        Ok(Self {
            host: host.into(),
            http,
            docker,
            version,
            api,
            arch: arch.into(),
        })
    }

    /// Returns the name of its host, as bcm has it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns its version.
    pub fn version(&self) -> EngineVersion {
        self.version
    }

    /// Returns the newest version of the API that it speaks.
    pub fn api(&self) -> (usize, usize) {
        self.api
    }

    /// Returns the architecture of its host, as images name it: `amd64`.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// Returns the client of its API.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Makes one call of the Engine API, as a signed operation says it: method, path with query, and
    /// body; returns what it answered, `null` where that is nothing.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, EngineError> {
        let what = format!("{method} {path}");
        let body = body.map_or(Body::Empty, |body| {
            Body::Json(body.to_string().into_bytes())
        });
        let answer = self.raw(Call::new(method, path).body(body), &what).await?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        // a stream of progress is several documents: the caller looks at none
        serde_json::from_slice(&answer.body).or(Ok(Value::Null))
    }

    /// Asks for something, and changes nothing.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`].
    pub async fn get(&self, path: &str) -> Result<Value, EngineError> {
        self.send(Method::GET, path, None).await
    }

    /// Makes one call with a body in JSON, byte for byte as it was signed; the bytes are wiped afterwards.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Value, EngineError> {
        let what = format!("{method} {path}");
        let body = body.map_or(Body::Empty, Body::Secret);
        let answer = self.raw(Call::new(method, path).body(body), &what).await?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// Makes one call that answers while it works, and gives each JSON document of the answer to `hear`.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`]; [`EngineError::Silent`] when nothing is heard for a while.
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        mut hear: impl FnMut(&Value),
    ) -> Result<(), EngineError> {
        let what = format!("{method} {path}");
        let reaching = |error| EngineError::reaching(&self.host, self.http.socket(), error);
        let silent = || reaching(HttpError::Silent(PATIENCE));
        let refused = |status: u16, text: &[u8]| EngineError::Api {
            host: self.host.to_string(),
            what: what.clone(),
            status,
            message: message(text),
        };
        let answer = tokio::time::timeout(PATIENCE, self.http.start(Call::new(method, path)));
        let answer = answer.await.map_err(|_| silent())?.map_err(reaching)?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut pending = Vec::new();
        loop {
            // a registry behind Tor may say nothing for longer than an engine
            let frame = tokio::time::timeout(PATIENCE * 4, body.frame()).await;
            let Some(frame) = frame.map_err(|_| silent())? else {
                break;
            };
            let frame = frame.map_err(|error| reaching(HttpError::Broken(error)))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            pending.extend_from_slice(&data);
            if status.is_success() {
                while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = pending.drain(..=end).collect();
                    let Ok(value) = serde_json::from_slice::<Value>(&line) else {
                        continue;
                    };
                    if let Some(error) = value.get("error").and_then(Value::as_str) {
                        return Err(refused(status.as_u16(), error.as_bytes()));
                    }
                    hear(&value);
                }
            }
            if pending.len() > MAX_LINE {
                return Err(refused(
                    status.as_u16(),
                    b"a line of its answer is too long",
                ));
            }
        }
        match status.is_success() {
            true => Ok(()),
            false => Err(refused(status.as_u16(), &pending)),
        }
    }

    /// Makes a call that is not to be read as JSON, and refuses an answer that is an error.
    pub(crate) async fn raw(&self, call: Call, what: &str) -> Result<Answer, EngineError> {
        let answer = self.http.send(call, PATIENCE).await;
        let answer =
            answer.map_err(|error| EngineError::reaching(&self.host, self.http.socket(), error))?;
        if answer.status.is_client_error() || answer.status.is_server_error() {
            return Err(EngineError::Api {
                host: self.host.to_string(),
                what: what.to_owned(),
                status: answer.status.as_u16(),
                message: message(&answer.body),
            });
        }
        Ok(answer)
    }

    /// Makes a call that turns the connection into a plain one, and returns that.
    pub(crate) async fn hijack(&self, call: Call, what: &str) -> Result<Upgraded, EngineError> {
        let call = call
            .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(header::UPGRADE, HeaderValue::from_static("tcp"));
        let reaching = |error| EngineError::reaching(&self.host, self.http.socket(), error);
        let answer = tokio::time::timeout(PATIENCE, self.http.start(call)).await;
        let answer = answer.unwrap_or(Err(HttpError::Silent(PATIENCE)));
        let answer = answer.map_err(reaching)?;
        let status = answer.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let body = Limited::new(answer.into_body(), MAX_MESSAGE * 4)
                .collect()
                .await;
            let body = body.map_or_else(|_| Bytes::new(), Collected::to_bytes);
            return Err(EngineError::Api {
                host: self.host.to_string(),
                what: what.to_owned(),
                status: status.as_u16(),
                message: message(&body),
            });
        }
        let upgraded = hyper::upgrade::on(answer).await;
        upgraded.map_err(|error| reaching(HttpError::Broken(error)))
    }

    /// Awaits a call of the client and says what it was for if it fails.
    pub(crate) async fn done<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        call.await
            .map_err(|error| EngineError::asked(&self.host, what, error))
    }
}

/// The version of an engine; what Debian appends is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineVersion {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub patch: u32,
}

impl EngineVersion {
    /// Reads `20.10.24+dfsg1`.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let mut numbers = text[..end.unwrap_or(text.len())].split('.');
        let mut next = || numbers.next()?.parse().ok();
        Some(Self {
            major: next()?,
            minor: next()?,
            patch: next()?,
        })
    }
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            patch,
        } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Greeting {
    version: String,
    api_version: String,
    #[serde(default)]
    arch: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: String,
}

/// Who answered.
struct Greeted {
    version: EngineVersion,
    api: (usize, usize),
    arch: String,
}

/// Reads who answered, and refuses what is no engine or too old.
fn greeting(host: &str, answer: &Answer) -> Result<Greeted, EngineError> {
    let stranger = || EngineError::Stranger {
        host: host.to_owned(),
        status: answer.status.as_u16(),
    };
    if answer.status != StatusCode::OK {
        return Err(stranger());
    }
    let greeting: Greeting = serde_json::from_slice(&answer.body).map_err(|_| stranger())?;
    if greeting
        .components
        .iter()
        .any(|c| c.name.contains("Podman"))
    {
        return Err(stranger());
    }
    let version = EngineVersion::parse(&greeting.version).ok_or_else(stranger)?;
    let api = greeting.api_version.split_once('.');
    let api = api.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let api = api.ok_or_else(stranger)?;
    if version < OLDEST || api < OLDEST_API {
        return Err(EngineError::TooOld {
            host: host.to_owned(),
            found: version,
            api: shown(&greeting.api_version),
        });
    }
    Ok(Greeted {
        version,
        api,
        arch: greeting.arch,
    })
}

/// Asks a host why its engine does not answer.
fn why_closed() -> RemoteCommand {
    let script = format!(
        "test -S {SOCKET} || exit {NO_SOCKET}; test -r {SOCKET} -a -w {SOCKET} || exit {NO_ACCESS}"
    );
    RemoteCommand::new(&["sh", "-c", &script]).expect("words without zero bytes")
}

/// Returns what an error answer says, as little of it as a person can read.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let text = serde_json::from_slice::<Message>(body).map(|message| message.message);
    shown(&text.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned()))
}

/// Makes a foreign text fit to be shown: no escapes, one line, not endless.
pub(crate) fn shown(text: &str) -> String {
    let plain = strip_ansi_escapes::strip_str(text);
    let words: Vec<_> = plain.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Why an engine cannot be used, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The host.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// There is no socket.
    #[error("`{host}` has no Docker engine: there is no socket `{}`", socket.display())]
    Missing {
        /// The host.
        host: String,
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The socket is not for this user.
    #[error("the Docker engine of `{host}` refuses us: permission denied at `{}`", socket.display())]
    Permission {
        /// The host.
        host: String,
        /// Its socket.
        socket: PathBuf,
    },
    /// The socket is there, and nobody accepts.
    #[error("the Docker engine of `{host}` is not running")]
    Down {
        /// The host.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("the Docker engine of `{host}` did not answer within {seconds} s")]
    Silent {
        /// The host.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection ended in the middle, or what came was no HTTP.
    #[error("the Docker engine of `{host}` broke off")]
    Broken {
        /// The host.
        host: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What answers is no Docker engine.
    #[error("what answers on the Docker socket of `{host}` is no Docker engine (status {status})")]
    Stranger {
        /// The host.
        host: String,
        /// The status of its answer.
        status: u16,
    },
    /// The engine is older than [`OLDEST`].
    #[error(
        "the Docker engine of `{host}` is too old: found {found} with API {api}, expected {OLDEST} \
         with API {}.{} or newer", OLDEST_API.0, OLDEST_API.1
    )]
    TooOld {
        /// The host.
        host: String,
        /// Its version.
        found: EngineVersion,
        /// The version of its API.
        api: String,
    },
    /// The path of the socket is not UTF-8.
    #[error("the socket `{}` of `{host}` cannot be used: its path is not UTF-8", socket.display())]
    Path {
        /// The host.
        host: String,
        /// Its socket.
        socket: PathBuf,
    },
    /// The engine refused.
    #[error("the Docker engine of `{host}` refused to {what}: {message} (status {status})")]
    Api {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// The status of its answer.
        status: u16,
        /// What it said.
        message: String,
    },
}

impl EngineError {
    /// Returns the status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn reaching(host: &str, socket: &Path, error: HttpError) -> Self {
        let (host, socket) = (host.to_owned(), socket.to_owned());
        match error {
            HttpError::Connect(error) => match error.kind() {
                io::ErrorKind::NotFound => Self::Missing { host, socket },
                io::ErrorKind::PermissionDenied => Self::Permission { host, socket },
                _ => Self::Down {
                    host,
                    source: error,
                },
            },
            HttpError::Silent(limit) => Self::Silent {
                host,
                seconds: limit.as_secs(),
            },
            HttpError::Broken(error) => Self::Broken {
                host,
                source: error.into(),
            },
            HttpError::Body(source) => Self::Broken { host, source },
            HttpError::Request(error) => Self::Broken {
                host,
                source: error.into(),
            },
        }
    }

    fn asked(host: &str, what: &str, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        let host = host.to_owned();
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Self::Api {
                host,
                what: what.to_owned(),
                status: status_code,
                message: shown(&message),
            },
            Error::DockerStreamError { error } => Self::Api {
                host,
                what: what.to_owned(),
                status: StatusCode::OK.as_u16(),
                message: shown(&error),
            },
            Error::SocketNotFoundError(socket) => Self::Missing {
                host,
                socket: socket.into(),
            },
            Error::RequestTimeoutError => Self::Silent {
                host,
                seconds: PATIENCE.as_secs(),
            },
            error => Self::Broken {
                host,
                source: error.into(),
            },
        }
    }
}

impl Hint for EngineError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Remote(error) => return error.hint(),
            Self::Missing { .. } => "install it: `apt install docker.io`, or let `cluster host \
                 prepare` do it"
                .into(),
            Self::Permission { .. } => {
                "log in as a user in the group `docker`, or let `cluster host prepare` make one"
                    .into()
            }
            Self::Down { host, .. } => {
                format!("on `{host}`: `systemctl start docker`, then `journalctl -u docker`")
            }
            Self::Silent { host, .. } | Self::Broken { host, .. } => {
                format!("on `{host}`: `systemctl status docker`, then try again")
            }
            Self::Stranger { host, .. } => {
                format!("on `{host}`: remove what serves `{SOCKET}`, and install docker.io")
            }
            Self::TooOld { host, .. } => format!(
                "on `{host}`: `apt update && apt install docker.io` (Debian 12 or newer, Ubuntu \
                 22.04 or newer); older engines may send encrypted networks in the clear"
            ),
            Self::Path { .. } => "use a runtime folder with a plain name".into(),
            Self::Api { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests;
