//! HTTP as the bridge speaks it: POST, an `Origin` that it allows, errors as JSON.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;
use zeroize::Zeroizing;

use super::TransportError;

/// trezorlib's; trezord lets `https://*.trezor.io` in.
const ORIGIN: &str = "https://python.trezor.io";

/// Longest text of a bridge that an error repeats, in characters.
const MAX_QUOTE: usize = 200;

/// Hex digits in a row from which on an error hides them.
const MAX_HEX: usize = 12;

/// Shorter than the time after which a bridge hangs up on an idle connection (Suite's: 5 s).
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// ureq-proto writes what it sends and receives, a passphrase and a shared secret among it, to the
/// `log` crate at level TRACE. The feature `max_level_off` compiles that out, for every crate of bcm.
const _: () = assert!(
    matches!(log::STATIC_MAX_LEVEL, log::LevelFilter::Off),
    "the crate `log` needs its feature `max_level_off`"
);

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// What the bridge knows itself.
    Short,
    /// What takes a word with the device: trezord tries to open it three times.
    Device,
    /// What takes a person.
    Person,
}

impl Patience {
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Short => Some(Duration::from_millis(400)),
            Self::Device => Some(Duration::from_secs(3)),
            Self::Person => None,
        }
    }
}

/// A client of one bridge.
pub(super) struct Http {
    base: String,
    agent: Agent,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// What the bridge says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Http {
    pub(super) fn new(base: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // The bridge is here or behind a tunnel; `http_proxy` must not carry a passphrase away.
            .proxy(None)
            .user_agent("bcm")
            .timeout_connect(Patience::Short.limit())
            .max_idle_age(KEEP_ALIVE)
            .build();
        Self {
            base: base.to_owned(),
            agent: Agent::new_with_config(config),
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Ends every connection, also that of a call which another thread waits for.
    pub(super) fn hang_up(&self) {
        self.agent.clone().shutdown();
    }

    /// Posts `body` and returns the answer, which may be `limit` bytes long.
    pub(super) fn post(
        &self,
        path: &str,
        body: &[u8],
        patience: Patience,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, TransportError> {
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Origin", ORIGIN)
            .config()
            .timeout_global(patience.limit())
            .build();
        let mut response = request.send(body).map_err(lost)?;
        let status = response.status().as_u16();
        let answer = read(response.body_mut().as_reader(), limit)?;
        match status {
            200 => Ok(answer),
            status => Err(refused(status, &answer)),
        }
    }
}

fn refused(status: u16, answer: &[u8]) -> TransportError {
    if answer.trim_ascii().is_empty() {
        let text = "an empty page".to_owned();
        return TransportError::Bridge { status, text };
    }
    let Ok(Refusal { error }) = serde_json::from_slice(answer) else {
        let text = printable(answer);
        return TransportError::Bridge { status, text };
    };
    match error.as_str() {
        "session not found" => TransportError::Stolen,
        "device disconnected during action" => TransportError::Gone(None),
        "wrong previous session" | "other call in progress" => TransportError::Busy,
        other => TransportError::Bridge {
            status,
            text: printable(other.as_bytes()),
        },
    }
}

fn lost(error: ureq::Error) -> TransportError {
    match error {
        ureq::Error::Io(error) => TransportError::Gone(Some(error)),
        ureq::Error::Timeout(_) => TransportError::Gone(Some(io::ErrorKind::TimedOut.into())),
        ureq::Error::ConnectionFailed => {
            TransportError::Gone(Some(io::ErrorKind::ConnectionRefused.into()))
        }
        ureq::Error::HostNotFound => {
            TransportError::Io(io::Error::new(io::ErrorKind::NotFound, "host not found"))
        }
        error => {
            let error = printable(error.to_string().as_bytes());
            TransportError::Malformed(format!("no HTTP answer: {error}"))
        }
    }
}

/// Reads to the end, into buffers that are wiped also where they grow.
fn read(mut from: impl Read, limit: usize) -> Result<Zeroizing<Vec<u8>>, TransportError> {
    let mut answer = Zeroizing::new(Vec::with_capacity(4096));
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        let length = match from.read(piece.as_mut_slice()) {
            Ok(0) => return Ok(answer),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(lost(ureq::Error::from(error))),
        };
        if answer.len() + length > limit {
            return Err(TransportError::Malformed(format!(
                "the bridge answers more than {limit} bytes"
            )));
        }
        if answer.len() + length > answer.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * answer.capacity()));
            larger.extend_from_slice(&answer);
            answer = larger;
        }
        answer.extend_from_slice(&piece[..length]);
    }
}

/// Returns `text` for an error: cut, with `?` for what a terminal should not be sent, and without long
/// hex, which may be an echo of what the bridge was sent.
pub(super) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.trim_ascii());
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    let text: String = text.chars().take(MAX_QUOTE).map(printable).collect();
    let words = text.split_inclusive(|c: char| !c.is_ascii_hexdigit());
    let shown = words.map(|word| match word.find(|c: char| !c.is_ascii_hexdigit()) {
        Some(end) if end >= MAX_HEX => format!("[hex]{}", &word[end..]),
        None if word.len() >= MAX_HEX => "[hex]".to_owned(),
        _ => word.to_owned(),
    });
    shown.collect()
}
