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
use super::store::PgpStore;
use super::stream::{BUFFER, Input, copy_out};
use super::verdict::{GoodSignature, SignatureFacts, Verdict, judge};

/// How far the clock of a signer may be ahead of ours.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

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
    let outcome = outcome.into_inner();
    let clear = outcome.clear;
    let good = conclude(outcome, read)?;
    input.check_surroundings(clear)?;
    Ok(good)
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

/// What is found out about a message while it is read.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) verdicts: Vec<Verdict>,
    /// The signed part is text that can be read as it is.
    clear: bool,
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
        self.outcome.borrow_mut().clear = structure.processed_csf_message();
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
