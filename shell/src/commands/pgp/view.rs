//! Certs as a person and a program read them.

use std::time::SystemTime;

use bcm_keystore::pgp::{Cert, Entry, PgpError, PgpStore, Trust, state};
use sequoia_openpgp::cert::amalgamation::ValidateAmalgamation;
use sequoia_openpgp::crypto::mpi::PublicKey;
use sequoia_openpgp::policy::StandardPolicy;
use serde::Serialize;

use super::times::{day, rfc3339};
use crate::ui;

/// A cert as it is printed.
#[derive(Debug, Serialize)]
pub struct View {
    pub fingerprint: String,
    pub user_ids: Vec<String>,
    /// Whose it is: `own`, `trusted` or `unmarked`.
    pub trust: &'static str,
    /// The name that the person marked it with.
    pub marked_as: Option<String>,
    /// It signs unless another is named.
    pub default: bool,
    /// The identity of its keys on the device.
    pub identity: Option<String>,
    pub created: String,
    pub expires: Option<String>,
    /// Why it is not to be used now, if so.
    pub problem: Option<String>,
    pub keys: Vec<KeyView>,
    /// How long it is good, or why it is not.
    #[serde(skip)]
    until: String,
}

/// One of its keys.
#[derive(Debug, Serialize)]
pub struct KeyView {
    fingerprint: String,
    algorithm: String,
    created: String,
    uses: Vec<&'static str>,
}

impl View {
    pub fn new(store: &PgpStore, entry: Entry<'_>, now: SystemTime) -> Self {
        let cert = entry.cert();
        let state = state(cert, now);
        let own = match entry {
            Entry::Own(own) => Some(own),
            Entry::Other(_) => None,
        };
        let until = match (&state.problem, state.expires) {
            (Some(problem), _) => verdict(problem).to_owned(),
            (None, Some(expires)) => format!("until {}", day(expires)),
            (None, None) => "good".into(),
        };
        Self {
            until,
            fingerprint: cert.fingerprint().to_hex(),
            user_ids: state.user_ids,
            trust: word(entry.trust()),
            marked_as: entry.mark().map(|mark| mark.name.clone()),
            default: store.default_cert() == Some(cert.fingerprint()),
            identity: own.map(|own| own.identity().to_string()),
            created: rfc3339(state.created),
            expires: state.expires.map(rfc3339),
            problem: state.problem.map(|problem| problem.to_string()),
            keys: keys(cert, now),
        }
    }

    /// The name of a cert in a line of text.
    pub fn name(&self) -> &str {
        let own = || self.user_ids.first().map(String::as_str);
        let name = self.marked_as.as_deref().or_else(own);
        name.unwrap_or("no user ID")
    }

    pub fn row(&self) -> [String; 4] {
        let standing = if self.default {
            "own, default"
        } else {
            self.trust
        };
        [
            self.name().to_owned(),
            self.fingerprint.clone(),
            standing.to_owned(),
            self.until.clone(),
        ]
    }

    pub fn page(&self) -> String {
        let mut rows = vec![["fingerprint".to_owned(), spaced(&self.fingerprint)]];
        let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
        for user_id in &self.user_ids {
            row("user ID", user_id.clone());
        }
        row(
            "trust",
            match (&self.marked_as, self.trust) {
                (Some(name), _) => format!("trusted as {name}"),
                (None, "own") if self.default => "own, the default".into(),
                (None, "own") => "own".into(),
                (None, _) => "not marked: whose it is nobody checked".into(),
            },
        );
        if let Some(identity) = &self.identity {
            row("on the device", identity.clone());
        }
        row("created", self.created.clone());
        row(
            "expires",
            self.expires.clone().unwrap_or_else(|| "never".into()),
        );
        if let Some(problem) = &self.problem {
            row("problem", problem.clone());
        }
        for key in &self.keys {
            let uses = key.uses.join(", ");
            row(
                "key",
                format!("{} {}, {uses}", key.fingerprint, key.algorithm),
            );
        }
        ui::table(["", ""], rows)
    }
}

fn word(trust: Trust) -> &'static str {
    match trust {
        Trust::Own => "own",
        Trust::Trusted => "trusted",
        Trust::Unmarked => "unmarked",
    }
}

/// Says in one word why a cert is not to be used.
fn verdict(problem: &PgpError) -> &'static str {
    match problem {
        PgpError::Revoked { .. } => "REVOKED",
        PgpError::Expired { .. } => "EXPIRED",
        _ => "UNUSABLE",
    }
}

/// Groups the digits by four, as GnuPG does, so that they can be compared.
pub fn spaced(fingerprint: &str) -> String {
    let digits: Vec<_> = fingerprint.chars().collect();
    let groups: Vec<String> = digits
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(" ")
}

fn keys(cert: &Cert, now: SystemTime) -> Vec<KeyView> {
    let policy = StandardPolicy::at(now);
    let keys = cert.keys().map(|key| {
        let flags = key
            .clone()
            .with_policy(&policy, now)
            .ok()
            .and_then(|valid| valid.key_flags());
        let uses = flags.map_or_else(Vec::new, |flags| {
            [
                ("certify", flags.for_certification()),
                ("sign", flags.for_signing()),
                ("authenticate", flags.for_authentication()),
                (
                    "encrypt",
                    flags.for_transport_encryption() || flags.for_storage_encryption(),
                ),
            ]
            .into_iter()
            .filter_map(|(name, may)| may.then_some(name))
            .collect()
        });
        let key = key.key();
        let algorithm = match key.mpis() {
            PublicKey::EdDSA { curve, .. }
            | PublicKey::ECDSA { curve, .. }
            | PublicKey::ECDH { curve, .. } => format!("{:?} on {curve:?}", key.pk_algo()),
            _ => format!("{:?}", key.pk_algo()),
        };
        KeyView {
            fingerprint: key.fingerprint().to_hex(),
            algorithm,
            created: day(key.creation_time()),
            uses,
        }
    });
    keys.collect()
}
