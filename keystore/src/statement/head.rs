//! Where and when a statement is good, and what it is about.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::digest::Sha256Digest;
use super::kind::StatementKind;
use super::{Fields, shown};
use crate::chain::Chain;

/// Longest name of a cluster.
const MAX_CLUSTER_NAME: usize = 63;

/// Longest name of a subject.
const MAX_SUBJECT_NAME: usize = 200;

/// Last serial: the largest integer of canonical JSON.
const MAX_SERIAL: u64 = (1 << 53) - 1;

/// Where and when a statement is good: in one cluster, after one statement, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The cluster's id: 32 lower-case hex digits (`cluster`).
    pub cluster: String,
    /// Its name, for the person: ASCII letters, digits and `._-`, at most 63 (`clusterName`).
    pub cluster_name: String,
    /// The chain that it is about, where it is about one (`chain`).
    pub chain: Option<Chain>,
    /// 1 for the first statement of a cluster, one more with each (`serial`).
    pub serial: u64,
    /// SHA-256 of the statement before, `None` for the first (`previous`).
    pub previous: Option<Sha256Digest>,
    /// When it was made (`issuedAt`, [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339), whole seconds, UTC).
    pub issued_at: SystemTime,
    /// When it ends to be good (`expiresAt`); what acts on a cluster always ends.
    pub expires_at: Option<SystemTime>,
}

impl Head {
    /// Returns its fields as they stand in the predicate.
    pub(super) fn fields(&self) -> Result<Vec<(&'static str, Value)>, String> {
        let mut fields = vec![
            ("cluster", json!(self.cluster)),
            ("clusterName", json!(self.cluster_name)),
            ("serial", json!(self.serial)),
            ("issuedAt", json!(write_time(self.issued_at)?)),
        ];
        fields.extend(self.chain.map(|chain| ("chain", json!(chain.name()))));
        fields.extend(self.previous.map(|digest| ("previous", json!(digest))));
        if let Some(expires_at) = self.expires_at {
            fields.push(("expiresAt", json!(write_time(expires_at)?)));
        }
        Ok(fields)
    }

    /// Takes its fields out of a predicate.
    pub(super) fn read(predicate: &mut Fields) -> Result<Self, String> {
        let chain = predicate.maybe_text("chain")?;
        let chain = chain.map(|name| name.parse::<Chain>());
        let previous = predicate.maybe_text("previous")?;
        let expires_at = predicate.maybe_text("expiresAt")?;
        Ok(Self {
            cluster: predicate.text("cluster")?,
            cluster_name: predicate.text("clusterName")?,
            chain: chain.transpose().map_err(|error| error.to_string())?,
            serial: predicate.number("serial")?,
            previous: previous.map(|text| text.parse()).transpose()?,
            issued_at: read_time(&predicate.text("issuedAt")?)?,
            expires_at: expires_at.map(|text| read_time(&text)).transpose()?,
        })
    }

    pub(super) fn check(&self, kind: StatementKind) -> Result<(), String> {
        check_cluster(&self.cluster)?;
        let name = &self.cluster_name;
        let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > MAX_CLUSTER_NAME || !name.chars().all(word) {
            let name = shown(name);
            return Err(format!(
                "the name `{name}` of its cluster is not 1 to {MAX_CLUSTER_NAME} letters, digits and `._-`"
            ));
        }
        match (self.serial, self.previous) {
            (0, _) => return Err("its serial is 0, the first is 1".into()),
            (1, Some(_)) => return Err("it is the first, and names one before".into()),
            (2.., None) => return Err(format!("#{} names none before", self.serial)),
            (serial, _) if serial > MAX_SERIAL => return Err("its serial is too large".into()),
            _ => {}
        }
        let of_chain = matches!(kind, StatementKind::Deployment | StatementKind::Restore);
        if of_chain && self.chain.is_none() {
            return Err(format!("a {kind} has to name its chain"));
        }
        match self.expires_at {
            None if kind.needs_approval() => Err(format!("a {kind} has to expire")),
            Some(at) if at <= self.issued_at => Err("it expires before it is made".into()),
            _ => Ok(()),
        }
    }
}

/// Checks the form of a cluster's id.
pub(super) fn check_cluster(id: &str) -> Result<(), String> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match id.len() == 32 && id.bytes().all(hex) {
        true => Ok(()),
        false => {
            let id = shown(id);
            Err(format!(
                "`{id}` is no cluster id of 32 lower-case hex digits"
            ))
        }
    }
}

/// Something that a statement is about, by name and by content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `stack/bitcoind`, `host/node-1`: ASCII letters, digits and `._-/:@`, at most 200.
    pub name: String,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
}

impl Subject {
    pub(super) fn to_json(&self) -> Value {
        json!({ "name": self.name, "digest": { "sha256": self.sha256 } })
    }

    pub(super) fn list(value: Value) -> Result<Vec<Self>, String> {
        let Value::Array(values) = value else {
            return Err("`subject` is no list".into());
        };
        if values.is_empty() {
            return Err("it has no subject".into());
        }
        let subjects: Vec<_> = values
            .into_iter()
            .map(Self::read)
            .collect::<Result<_, _>>()?;
        let mut names: Vec<_> = subjects.iter().map(|subject| &*subject.name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(subjects),
            Some(pair) => Err(format!("the subject `{}` stands in it twice", pair[0])),
        }
    }

    fn read(value: Value) -> Result<Self, String> {
        let mut fields = Fields::of(value, "a subject")?;
        let name = fields.text("name")?;
        let mut digest = Fields::of(fields.take("digest")?, "the digest of a subject")?;
        fields.end()?;
        let sha256 = digest.text("sha256")?.parse()?;
        digest.end()?;
        let word = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        let subject = Self { name, sha256 };
        let name = &subject.name;
        if name.len() > MAX_SUBJECT_NAME || !name.chars().all(word) || subject.short().is_empty() {
            let name = shown(name);
            return Err(format!(
                "the subject `{name}` is not 1 to {MAX_SUBJECT_NAME} letters, digits and `._-/:@`"
            ));
        }
        Ok(subject)
    }

    /// Returns what the device shows: the name without what stands up to its first `/`.
    pub(super) fn short(&self) -> &str {
        self.name
            .split_once('/')
            .map_or(&self.name, |(_, name)| name)
    }
}

/// Writes whole seconds, in UTC.
pub(super) fn write_time(time: SystemTime) -> Result<String, String> {
    let seconds = time.duration_since(UNIX_EPOCH).ok();
    let seconds = seconds.and_then(|since| i64::try_from(since.as_secs()).ok());
    let stamp = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let stamp = stamp.ok_or("a time is not between 1970 and 9999")?;
    Ok(stamp.to_string())
}

/// Reads what [`write_time`] writes, and no other spelling.
fn read_time(text: &str) -> Result<SystemTime, String> {
    let stamp = text.parse::<jiff::Timestamp>().ok();
    let seconds = stamp.and_then(|stamp| u64::try_from(stamp.as_second()).ok());
    let time = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    match time {
        Some(time) if write_time(time).as_deref() == Ok(text) => Ok(time),
        _ => Err(format!(
            "`{}` is no time as `2009-01-03T18:15:05Z`",
            shown(text)
        )),
    }
}
