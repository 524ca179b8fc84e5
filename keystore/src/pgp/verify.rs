//! Verification: who signed, when, with which key, and whether that key is one to rely on.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::amalgamation::{ValidAmalgamation, ValidateAmalgamation};
use sequoia_openpgp::packet::{Signature, Tag};
use sequoia_openpgp::parse::stream::{
    DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationError,
    VerificationHelper, VerificationResult, VerifierBuilder,
};
use sequoia_openpgp::parse::{PacketParser, Parse};
use sequoia_openpgp::types::RevocationStatus;
use sequoia_openpgp::{Cert, Fingerprint, KeyHandle};

use super::cert;
use super::error::{PgpError, plain};
use super::sign::copy;
use super::store::PgpStore;

/// How far the clock of a signer may be ahead of ours.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// How much the library holds back until the end of a message is seen. Whoever shows a message
/// waits for the end anyway.
pub(super) const BUFFER: usize = 1 << 20;

/// What a person thinks of the key behind a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is on this device.
    Own,
    /// The person compared its fingerprint and marked it.
    Trusted,
    /// It was imported, and whose it is nobody checked.
    Unmarked,
}

/// What a signature says of itself, checked or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureFacts {
    /// Fingerprint or key ID of the signing key, in hexadecimal.
    pub issuer: Option<String>,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When it ends to be good, if ever.
    pub expires: Option<SystemTime>,
    /// Version of its packet.
    pub version: u8,
    /// Number of its public-key algorithm.
    pub public_key_algorithm: u8,
    /// Number of its hash algorithm.
    pub hash_algorithm: u8,
    /// Its type: 0 over bytes, 1 over text.
    pub class: u8,
}

impl SignatureFacts {
    fn of(signature: &Signature) -> Self {
        let issuers = signature.get_issuers();
        Self {
            issuer: issuers.first().map(KeyHandle::to_hex),
            created: signature.signature_creation_time(),
            expires: signature.signature_expiration_time(),
            version: signature.version(),
            public_key_algorithm: signature.pk_algo().into(),
            hash_algorithm: signature.hash_algo().into(),
            class: signature.typ().into(),
        }
    }

    fn issuer(&self) -> String {
        self.issuer
            .clone()
            .unwrap_or_else(|| "an unnamed key".into())
    }
}

/// A signature that belongs to the data and to a known key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoodSignature {
    /// The key that made it.
    pub fingerprint: Fingerprint,
    /// The primary key of its cert: what a person compares.
    pub primary: Fingerprint,
    /// Whose it is; the name that the person marked, where there is a mark.
    pub user_id: String,
    /// When it was made, as the signer says.
    pub created: SystemTime,
    /// What the person thinks of the key.
    pub trust: Trust,
    /// The rest of what it says.
    pub facts: SignatureFacts,
}

/// What came of checking one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Good.
    Good(GoodSignature),
    /// It belongs to the data, and the cert has expired by now.
    Expired {
        /// The signature.
        signature: GoodSignature,
        /// When.
        at: SystemTime,
    },
    /// The cert is revoked by now.
    Revoked {
        /// The signature.
        signature: GoodSignature,
        /// Why, as its owner wrote.
        reason: String,
    },
    /// Nobody has imported the signer's cert.
    Unknown(SignatureFacts),
    /// The cert is not one to rely on.
    Unusable {
        /// What the signature says.
        facts: SignatureFacts,
        /// The signer's user ID.
        user_id: String,
        /// The signer's primary key.
        primary: Fingerprint,
        /// Why.
        reason: String,
    },
    /// It does not belong to the data, or is none.
    Bad {
        /// What the signature says, where it can be read.
        facts: Option<SignatureFacts>,
        /// The user ID of the key that it names.
        user_id: Option<String>,
        /// What is wrong.
        reason: String,
    },
}

impl Verdict {
    /// Returns the signature if it is good.
    ///
    /// # Errors
    ///
    /// The [`PgpError`] of kind verification that says why not.
    pub fn good(self) -> Result<GoodSignature, PgpError> {
        Err(match self {
            Self::Good(signature) => return Ok(signature),
            Self::Expired { signature, at } => PgpError::Expired {
                user_id: signature.user_id,
                fingerprint: signature.primary.to_hex(),
                at,
            },
            Self::Revoked { signature, reason } => PgpError::Revoked {
                user_id: signature.user_id,
                fingerprint: signature.primary.to_hex(),
                reason,
            },
            Self::Unknown(facts) => PgpError::UnknownSigner {
                issuer: facts.issuer(),
            },
            Self::Unusable {
                user_id,
                primary,
                reason,
                ..
            } => PgpError::Unusable {
                user_id,
                fingerprint: primary.to_hex(),
                reason,
            },
            Self::Bad {
                facts,
                user_id,
                reason,
            } => PgpError::BadSignature {
                signer: user_id
                    .map(|user_id| format!("`{user_id}`"))
                    .or_else(|| facts.map(|facts| facts.issuer()))
                    .unwrap_or_else(|| "nobody who is named".into()),
                reason,
            },
        })
    }
}

/// Decides over all signatures of one piece of data: one at least is good, and none is wrong.
///
/// Signatures by people whose certs are not known do no harm beside a good one.
///
/// # Errors
///
/// The first [`PgpError`] of kind verification.
pub fn judge(verdicts: Vec<Verdict>) -> Result<Vec<GoodSignature>, PgpError> {
    let (unknown, known): (Vec<_>, Vec<_>) = verdicts
        .into_iter()
        .partition(|verdict| matches!(verdict, Verdict::Unknown(_)));
    let good = known
        .into_iter()
        .map(Verdict::good)
        .collect::<Result<Vec<_>, _>>()?;
    if !good.is_empty() {
        return Ok(good);
    }
    match unknown.into_iter().next() {
        Some(unknown) => unknown.good().map(|signature| vec![signature]),
        None => Err(PgpError::NotSigned),
    }
}

/// Checks each signature over `data` and returns what came of it.
///
/// # Errors
///
/// [`PgpError`] where there is no signature to check, or `data` cannot be read.
pub fn examine_detached(
    store: &PgpStore,
    signature: &mut (dyn Read + Send + Sync),
    data: &mut (dyn Read + Send + Sync),
    now: SystemTime,
) -> Result<Vec<Verdict>, PgpError> {
    let outcome = RefCell::new(Outcome::default());
    let policy = cert::policy(now);
    let examiner = Examiner::new(store, now, &outcome);
    let mut signature = Input::new(signature);
    let mut data = Input::new(data);
    let verified = DetachedVerifierBuilder::from_reader(&mut signature)
        .and_then(|builder| builder.with_policy(&policy, now + CLOCK_SKEW, examiner))
        .and_then(|mut verifier| verifier.verify_reader(&mut data));
    signature.failure()?;
    data.failure()?;
    let outcome = outcome.into_inner();
    match (outcome.error, verified) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(PgpError::of(error)),
        (None, Ok(())) if outcome.verdicts.is_empty() => Err(PgpError::NotSigned),
        (None, Ok(())) => Ok(outcome.verdicts),
    }
}

/// Verifies a detached signature over `data`.
///
/// # Errors
///
/// A [`PgpError`] of kind verification unless a signature is good and none is wrong.
pub fn verify_detached(
    store: &PgpStore,
    signature: &mut (dyn Read + Send + Sync),
    data: &mut (dyn Read + Send + Sync),
    now: SystemTime,
) -> Result<Vec<GoodSignature>, PgpError> {
    judge(examine_detached(store, signature, data, now)?)
}

/// Verifies a message that carries its signature, inline or in cleartext, and writes its content.
///
/// What was written before an error is to be thrown away.
///
/// # Errors
///
/// As [`verify_detached`].
pub fn verify_message(
    store: &PgpStore,
    input: &mut (dyn Read + Send + Sync),
    output: Option<&mut dyn Write>,
    now: SystemTime,
) -> Result<Vec<GoodSignature>, PgpError> {
    let outcome = RefCell::new(Outcome::default());
    let policy = cert::policy(now);
    let examiner = Examiner::new(store, now, &outcome);
    let mut input = Input::new(input);
    let mut nowhere = io::sink();
    let output = output.unwrap_or(&mut nowhere);
    let read = VerifierBuilder::from_reader(&mut input)
        .and_then(|builder| {
            builder
                .buffer_size(BUFFER)
                .with_policy(&policy, now + CLOCK_SKEW, examiner)
        })
        .map_err(PgpError::of)
        .and_then(|mut verifier| copy_out(&mut verifier, output));
    input.failure()?;
    conclude(outcome.into_inner(), read)
}

/// Says how a message ended of which all was read.
pub(super) fn conclude(
    outcome: Outcome,
    read: Result<(), PgpError>,
) -> Result<Vec<GoodSignature>, PgpError> {
    match (outcome.error, read) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(())) => judge(outcome.verdicts),
    }
}

/// Copies what the library reads out of a message.
pub(super) fn copy_out(message: &mut dyn Read, output: &mut dyn Write) -> Result<(), PgpError> {
    copy(message, output).map_err(|error| match error {
        // not the file: what is in it
        PgpError::Read(error) => PgpError::of_io(&error),
        other => other,
    })
}

/// What is found out about a message while it is read.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) verdicts: Vec<Verdict>,
    /// What the library would wrap or swallow.
    pub(super) error: Option<PgpError>,
}

/// Answers the library's questions: which certs there are, and what its findings mean.
pub(super) struct Examiner<'a> {
    store: &'a PgpStore,
    now: SystemTime,
    outcome: &'a RefCell<Outcome>,
    /// Unsigned content is good: it comes out of an encrypted message.
    pub(super) may_be_unsigned: bool,
}

impl<'a> Examiner<'a> {
    pub(super) fn new(store: &'a PgpStore, now: SystemTime, outcome: &'a RefCell<Outcome>) -> Self {
        Self {
            store,
            now,
            outcome,
            may_be_unsigned: false,
        }
    }

    /// Notes an error where the library cannot change it, and stops it.
    pub(super) fn fail<T>(&self, error: PgpError) -> openpgp::Result<T> {
        let text = error.to_string();
        self.outcome.borrow_mut().error.get_or_insert(error);
        Err(openpgp::Error::InvalidOperation(text).into())
    }

    fn verdict(&self, result: VerificationResult<'_>) -> Verdict {
        match result {
            Ok(good) => self.of_good(&good),
            Err(VerificationError::MissingKey { sig }) => Verdict::Unknown(SignatureFacts::of(sig)),
            Err(VerificationError::UnboundKey { sig, cert, error }) => Verdict::Unusable {
                facts: SignatureFacts::of(sig),
                user_id: self.name(cert),
                primary: cert.fingerprint(),
                reason: plain(&error),
            },
            Err(VerificationError::BadKey { sig, ka, error }) => {
                let cert = ka.cert();
                let signature = self.signature(sig, ka.key().fingerprint(), cert);
                if let Some(reason) = revoked(&ka.valid_cert().revocation_status())
                    .or_else(|| revoked(&ka.revocation_status()))
                {
                    return Verdict::Revoked { signature, reason };
                }
                match error.downcast_ref::<openpgp::Error>() {
                    Some(openpgp::Error::Expired(at)) => {
                        let at = *at;
                        Verdict::Expired { signature, at }
                    }
                    _ => Verdict::Unusable {
                        facts: signature.facts,
                        user_id: signature.user_id,
                        primary: signature.primary,
                        reason: plain(&error),
                    },
                }
            }
            Err(VerificationError::BadSignature { sig, ka, error }) => Verdict::Bad {
                facts: Some(SignatureFacts::of(sig)),
                user_id: Some(self.name(ka.cert())),
                reason: bad(&error),
            },
            Err(VerificationError::MalformedSignature { sig, error }) => Verdict::Bad {
                facts: Some(SignatureFacts::of(sig)),
                user_id: None,
                reason: plain(&error),
            },
            Err(error) => Verdict::Bad {
                facts: None,
                user_id: None,
                reason: error.to_string().to_lowercase(),
            },
        }
    }

    /// Judges the key of a signature by what is known of it now, not only when it signed: a stolen
    /// key signs with any date.
    fn of_good(&self, good: &GoodChecksum<'_>) -> Verdict {
        let cert = good.ka.cert();
        let fingerprint = good.ka.key().fingerprint();
        let signature = self.signature(good.sig, fingerprint.clone(), cert);
        let unusable = |signature: GoodSignature, reason: String| Verdict::Unusable {
            facts: signature.facts,
            user_id: signature.user_id,
            primary: signature.primary,
            reason,
        };
        match cert::check(cert, self.now) {
            Ok(()) => {}
            Err(PgpError::Expired { at, .. }) => return Verdict::Expired { signature, at },
            Err(PgpError::Revoked { reason, .. }) => return Verdict::Revoked { signature, reason },
            Err(PgpError::Unusable { reason, .. }) => return unusable(signature, reason),
            Err(error) => return unusable(signature, error.to_string()),
        }
        let policy = cert::policy(self.now);
        let key = cert.keys().key_handle(fingerprint).next();
        match key.map(|key| key.with_policy(&policy, self.now)) {
            Some(Ok(key)) => {
                if let Some(reason) = revoked(&key.revocation_status()) {
                    return Verdict::Revoked { signature, reason };
                }
                match key.alive() {
                    Ok(()) => Verdict::Good(signature),
                    Err(error) => match error.downcast_ref::<openpgp::Error>() {
                        Some(openpgp::Error::Expired(at)) => {
                            let at = *at;
                            Verdict::Expired { signature, at }
                        }
                        _ => unusable(signature, plain(&error)),
                    },
                }
            }
            Some(Err(error)) => unusable(signature, plain(&error)),
            None => unusable(signature, "the signing key is not in it".into()),
        }
    }

    fn signature(&self, sig: &Signature, fingerprint: Fingerprint, cert: &Cert) -> GoodSignature {
        let facts = SignatureFacts::of(sig);
        let primary = cert.fingerprint();
        GoodSignature {
            user_id: self.name(cert),
            trust: self.store.trust_of(&primary),
            created: facts.created.unwrap_or(SystemTime::UNIX_EPOCH),
            fingerprint,
            primary,
            facts,
        }
    }

    fn name(&self, cert: &Cert) -> String {
        let marked = self.store.mark_of(&cert.fingerprint());
        marked.map_or_else(|| cert::name_of(cert, self.now), |mark| mark.name.clone())
    }
}

impl VerificationHelper for Examiner<'_> {
    fn inspect(&mut self, packet: &PacketParser<'_>) -> openpgp::Result<()> {
        match packet.packet.tag() {
            Tag::SEIP if !self.may_be_unsigned => self.fail(PgpError::Encrypted),
            _ => Ok(()),
        }
    }

    fn get_certs(&mut self, ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(self.store.by_handles(ids))
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        let mut verdicts = Vec::new();
        for layer in structure {
            if let MessageLayer::SignatureGroup { results } = layer {
                verdicts.extend(results.into_iter().map(|result| self.verdict(result)));
            }
        }
        self.outcome.borrow_mut().verdicts = verdicts;
        Ok(())
    }
}

fn revoked(status: &RevocationStatus<'_>) -> Option<String> {
    let RevocationStatus::Revoked(signatures) = status else {
        return None;
    };
    let reason = signatures
        .first()
        .and_then(|signature| signature.reason_for_revocation());
    Some(reason.map_or_else(String::new, |(code, text)| {
        cert::revocation_text(code, text)
    }))
}

fn bad(error: &openpgp::anyhow::Error) -> String {
    match error.downcast_ref::<openpgp::Error>() {
        Some(openpgp::Error::Expired(at)) => {
            format!("the signature expired on {}", super::error::time(*at))
        }
        Some(openpgp::Error::NotYetLive(at)) => {
            format!(
                "the signature is of the future, {}",
                super::error::time(*at)
            )
        }
        Some(openpgp::Error::PolicyViolation(what, _)) => {
            format!("its algorithm is no longer to be relied on, {what}")
        }
        _ => "it does not belong to this data".into(),
    }
}

/// A reader that remembers why it failed: the library wraps what it is told.
pub(super) struct Input<'a> {
    inner: &'a mut (dyn Read + Send + Sync),
    failure: Option<io::Error>,
}

impl<'a> Input<'a> {
    pub(super) fn new(inner: &'a mut (dyn Read + Send + Sync)) -> Self {
        Self {
            inner,
            failure: None,
        }
    }

    /// Fails if reading failed.
    pub(super) fn failure(&mut self) -> Result<(), PgpError> {
        self.failure
            .take()
            .map_or(Ok(()), |error| Err(PgpError::Read(error)))
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let told = io::Error::new(error.kind(), error.to_string());
            self.failure.get_or_insert(error);
            told
        })
    }
}
