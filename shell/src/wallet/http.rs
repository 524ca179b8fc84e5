//! HTTP as bitcoind's RPC speaks it, over Tor where the node is an onion.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bdk_bitcoind_rpc::bitcoincore_rpc::jsonrpc::client::Transport;
use bdk_bitcoind_rpc::bitcoincore_rpc::jsonrpc::{self, Request, Response};
use ureq::{Agent, Proxy};
use zeroize::Zeroizing;

use super::endpoint::{HostPort, Via};
use super::error::SourceError;

/// Longest answer: a block in hex, twice over.
const MAX_ANSWER: u64 = 32 * 1024 * 1024;

/// Longest cookie.
const MAX_COOKIE: u64 = 4096;

/// How long one answer may take, a block through Tor among them.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(20);

/// A client of one node.
pub(super) struct Http {
    place: HostPort,
    agent: Agent,
    authorization: Option<Zeroizing<String>>,
}

impl Http {
    pub(super) fn new(place: &HostPort, via: &Via) -> Result<Self, SourceError> {
        let proxy = place.is_onion().then(|| {
            // socks5h: the onion is resolved by Tor; the words keep our circuits apart from others'
            let word = &via.isolation;
            Proxy::new(&format!("socks5h://{word}:{word}@{}", via.tor))
        });
        let proxy = proxy
            .transpose()
            .map_err(|error| SourceError::Unreachable {
                endpoint: via.tor.clone(),
                reason: error.to_string(),
            })?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .user_agent("bcm")
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(PATIENCE))
            .build();
        Ok(Self {
            place: place.clone(),
            agent: Agent::new_with_config(config),
            authorization: authorization(via)?,
        })
    }

    fn post(&self, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut request = self
            .agent
            .post(format!("http://{}/", self.place))
            .header("Content-Type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.as_str());
        }
        let mut response = request
            .send(body)
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        if matches!(response.status().as_u16(), 401 | 403) {
            return Err(Failure::Unauthorized);
        }
        let mut answer = Vec::new();
        let mut body = response.body_mut().as_reader().take(MAX_ANSWER + 1);
        body.read_to_end(&mut answer)
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        if answer.len() as u64 > MAX_ANSWER {
            return Err(Failure::Unreachable("its answer is too long".into()));
        }
        Ok(answer)
    }
}

fn authorization(via: &Via) -> Result<Option<Zeroizing<String>>, SourceError> {
    let Some(path) = &via.cookie else {
        return Ok(None);
    };
    let refuse = |reason: String| SourceError::Cookie {
        path: path.display().to_string(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    let mut cookie = Zeroizing::new(Vec::new());
    file.take(MAX_COOKIE)
        .read_to_end(&mut cookie)
        .map_err(|error| refuse(error.to_string()))?;
    let line = cookie
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.contains(&b':') {
        return Err(refuse("it does not hold USER:PASSWORD".into()));
    }
    let encoded = Zeroizing::new(BASE64.encode(line));
    Ok(Some(Zeroizing::new(format!("Basic {}", *encoded))))
}

/// Why there is no answer; travels through `jsonrpc` as a transport error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Unreachable(String),
    #[error("unauthorized")]
    Unauthorized,
}

impl Http {
    fn exchange<A: serde::de::DeserializeOwned>(
        &self,
        request: &impl serde::Serialize,
    ) -> Result<A, jsonrpc::Error> {
        let body = serde_json::to_vec(request)?;
        let answer = self
            .post(&body)
            .map_err(|failure| jsonrpc::Error::Transport(Box::new(failure)))?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Transport for Http {
    fn send_request(&self, request: Request<'_>) -> Result<Response, jsonrpc::Error> {
        self.exchange(&request)
    }

    fn send_batch(&self, requests: &[Request<'_>]) -> Result<Vec<Response>, jsonrpc::Error> {
        self.exchange(&requests)
    }

    fn fmt_target(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.place)
    }
}
