//! Statements: what is to be done, or was done, in a form that is signed and checked before anybody acts.
//!
//! A [`Statement`] is an [in-toto Statement v1](https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md)
//! in the canonical JSON of [RFC 8785](https://www.rfc-editor.org/rfc/rfc8785), in a file of its own:
//!
//! ```text
//! X.json           the statement; not one byte differs from its canonical form
//! X.json.asc       OpenPGP signature in ASCII armor: `gpg --verify X.json.asc X.json`
//! X.json.approval  the bound approval, for what acts on a cluster: see [`Approval`]
//! ```
//!
//! In the predicate stand, beside what the kind says itself, the fields of a [`Head`]: the cluster, its chain,
//! `serial`, which grows by one, `previous`, the SHA-256 of the statement before, and until when it is good.
//!
//! Whoever acts demands a `&`[`VerifiedStatement`], which [`Signed::verify`] alone makes: there is no way to
//! forget the check.

mod approval;
pub mod canonical;
mod digest;
mod error;
mod head;
mod kind;
mod ledger;
mod signed;
mod verify;
mod visual;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use approval::{Approval, ApprovalKey};
pub use canonical::MAX_STATEMENT;
pub use digest::Sha256Digest;
pub use error::StatementError;
pub use head::{Head, Subject};
pub use kind::{StatementKind, UnknownKind};
pub use ledger::{Entry, Ledger, Position};
pub use signed::{Signed, sign};
pub use verify::{Anchors, CLOCK_SKEW, Place, Trust, VerifiedStatement};
pub use visual::MAX_VISUAL;

/// The `_type` of every statement.
const TYPE: &str = "https://in-toto.io/Statement/v1";

/// What is signed: a kind, where and when it is good, what it is about, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    kind: StatementKind,
    head: Head,
    subjects: Vec<Subject>,
    body: Map<String, Value>,
    bytes: Vec<u8>,
    digest: Sha256Digest,
}

impl Statement {
    /// Makes a statement; times are cut to whole seconds.
    ///
    /// `body` is what the kind says beside the head: it stands in the predicate, and must not use the names
    /// of the head's fields.
    ///
    /// # Errors
    ///
    /// [`StatementError::Unmakeable`], [`StatementError::TooLong`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is given becomes part of the statement"
    )]
    pub fn new(
        kind: StatementKind,
        head: Head,
        subjects: Vec<Subject>,
        body: Map<String, Value>,
    ) -> Result<Self, StatementError> {
        let mut predicate = body;
        for (name, value) in head.fields().map_err(StatementError::Unmakeable)? {
            if predicate.insert(name.to_owned(), value).is_some() {
                let flaw = format!("its body has a field `{name}`, which belongs to the head");
                return Err(StatementError::Unmakeable(flaw));
            }
        }
        let subject: Vec<_> = subjects.iter().map(Subject::to_json).collect();
        let value = serde_json::json!({
            "_type": TYPE,
            "subject": subject,
            "predicateType": kind.predicate_type(),
            "predicate": predicate,
        });
        let bytes = canonical::to_vec(&value).map_err(StatementError::Unmakeable)?;
        // whatever is made can be read: the one set of rules is the reader's
        Self::parse(&bytes).map_err(|error| match error {
            StatementError::Malformed(flaw) => StatementError::Unmakeable(flaw),
            StatementError::NotCanonical(at) => {
                StatementError::Unmakeable(format!("it has no canonical form, at byte {at}"))
            }
            other => other,
        })
    }

    /// Reads a statement from its bytes, and refuses any other spelling of the same.
    ///
    /// # Errors
    ///
    /// [`StatementError::TooLong`], [`StatementError::NotCanonical`], [`StatementError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let value = canonical::parse(bytes, MAX_STATEMENT)?;
        let read = || -> Result<_, String> {
            let mut top = Fields::of(value, "the statement")?;
            let typ = top.text("_type")?;
            if typ != TYPE {
                return Err(format!("its `_type` is `{typ}`, expected `{TYPE}`"));
            }
            let kind = StatementKind::of_predicate_type(&top.text("predicateType")?)?;
            let subjects = Subject::list(top.take("subject")?)?;
            let mut predicate = Fields::of(top.take("predicate")?, "its predicate")?;
            top.end()?;
            let head = Head::read(&mut predicate)?;
            head.check(kind)?;
            Ok((kind, head, subjects, predicate.rest()))
        };
        let (kind, head, subjects, body) = read().map_err(StatementError::Malformed)?;
        Ok(Self {
            kind,
            head,
            subjects,
            body,
            digest: Sha256Digest::of(bytes),
            bytes: bytes.to_owned(),
        })
    }

    /// Returns what kind of statement it is.
    pub fn kind(&self) -> StatementKind {
        self.kind
    }

    /// Returns where and when it is good.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns what it is about, in its order; at least one.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// Returns what it says beside its head.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// Reads what it says beside its head; `T` denies unknown fields, so that nothing signed is overlooked.
    ///
    /// # Errors
    ///
    /// [`StatementError::Malformed`].
    pub fn body_as<T: DeserializeOwned>(&self) -> Result<T, StatementError> {
        serde_json::from_value(Value::Object(self.body.clone()))
            .map_err(|error| StatementError::Malformed(error.to_string()))
    }

    /// Returns its bytes: those that are written, hashed and signed.
    pub fn canonical(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the SHA-256 of its bytes.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Returns the text that the device shows and, in an approval, signs.
    ///
    /// ```text
    /// bcm v1 TAG SUBJECTS [chain CHAIN] cluster NAME #SERIAL DIGEST
    /// bcm v1 deploy tor+bitcoind chain mainnet cluster home #42 3f9a02c1
    /// ```
    ///
    /// `TAG` is [`StatementKind::tag`]. `SUBJECTS` are the subjects' names without what stands up to their
    /// first `/`, joined by `+`; where the text would be longer than [`MAX_VISUAL`], as many from the front as
    /// fit, then ` and N more`; where not even the first fits, its beginning and `...`. `DIGEST` is the first eight hex digits of the
    /// statement's SHA-256. The text is printable ASCII, and no name can hold a space or a `+`.
    pub fn visual(&self) -> String {
        visual::text(self)
    }
}

/// An object that is taken apart until nothing is left.
struct Fields {
    map: Map<String, Value>,
    what: &'static str,
}

impl Fields {
    fn of(value: Value, what: &'static str) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self { map, what }),
            _ => Err(format!("{what} is no object")),
        }
    }

    fn take(&mut self, name: &str) -> Result<Value, String> {
        let missing = || format!("{} has no `{name}`", self.what);
        self.map.remove(name).ok_or_else(missing)
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(format!("`{name}` is no text")),
        }
    }

    fn maybe_text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.map.contains_key(name) {
            true => self.text(name).map(Some),
            false => Ok(None),
        }
    }

    fn number(&mut self, name: &str) -> Result<u64, String> {
        let value = self.take(name)?;
        value
            .as_u64()
            .ok_or_else(|| format!("`{name}` is no number"))
    }

    fn end(self) -> Result<(), String> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!(
                "{} has an unknown field `{}`",
                self.what,
                shown(name)
            )),
        }
    }

    fn rest(self) -> Map<String, Value> {
        self.map
    }
}

/// Returns at most 80 characters of `text` in printable ASCII, for an error.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    crate::interaction::Prompt::new(cut).to_string()
}

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;
