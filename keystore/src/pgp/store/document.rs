//! What is written down, and what may be done with it.

use std::time::{SystemTime, UNIX_EPOCH};

use sequoia_openpgp::packet::{Signature, UserID};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::MarshalInto;
use sequoia_openpgp::{Cert, Fingerprint, KeyHandle};
use serde::{Deserialize, Serialize};

use super::error::PgpStoreError;
use super::{Change, Entry};
use crate::identity::Curve;
use crate::pgp::PgpError;
use crate::pgp::cert::{OwnCert, armored, name_of};
use crate::pgp::user_id::UserId;

/// Name of the sealed document.
pub(super) const DOCUMENT: &str = "pgp";

/// Largest cert of somebody else that is kept: strangers can append to a cert on its way.
const MAX_CERT: usize = 1 << 20;

/// Shortest part of a user ID that finds a cert.
const MIN_PART: usize = 3;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) own: Vec<OwnCert>,
    #[serde(default)]
    pub(super) others: Vec<OtherCert>,
    /// Fingerprint of the cert that signs unless another is named.
    #[serde(default)]
    pub(super) default: Option<String>,
}

/// The cert of somebody else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Record", try_from = "Record")]
pub struct OtherCert {
    /// The cert.
    pub cert: Cert,
    /// What the person made of it.
    pub mark: Option<TrustMark>,
}

/// The person compared the fingerprint: this key is that of whom it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustMark {
    /// The user ID when it was marked. It stays what the person sees, whatever name the key's owner
    /// gives it later.
    pub name: String,
    /// When, in seconds since 1970.
    pub since: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    cert: String,
    #[serde(default)]
    mark: Option<TrustMark>,
}

impl From<OtherCert> for Record {
    fn from(other: OtherCert) -> Self {
        Self {
            cert: armored(&other.cert),
            mark: other.mark,
        }
    }
}

impl TryFrom<Record> for OtherCert {
    type Error = PgpError;

    fn try_from(record: Record) -> Result<Self, PgpError> {
        Ok(Self {
            cert: Cert::from_bytes(record.cert.as_bytes()).map_err(PgpError::of)?,
            mark: record.mark,
        })
    }
}

impl Document {
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let own = self.own.iter().map(Entry::Own);
        own.chain(self.others.iter().map(Entry::Other))
    }

    pub(super) fn find(&self, name: &str) -> Result<Entry<'_>, PgpStoreError> {
        for level in Match::ALL {
            let found: Vec<_> = self
                .entries()
                .filter(|entry| level.holds(entry.cert(), name))
                .collect();
            match *found {
                [] => {}
                [entry] => return Ok(entry),
                _ => {
                    return Err(PgpStoreError::Ambiguous {
                        name: shown(name),
                        matches: found
                            .iter()
                            .map(|entry| fingerprint(entry.cert()))
                            .collect(),
                    });
                }
            }
        }
        Err(PgpStoreError::NotFound {
            name: shown(name),
            nearest: self.nearest(name),
        })
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let names = self.entries().flat_map(|entry| user_ids(entry.cert()));
        let close = |user_id: &String| strsim::jaro_winkler(user_id, name);
        let best = names.max_by(|a, b| close(a).total_cmp(&close(b)))?;
        (close(&best) > 0.8).then_some(best)
    }

    pub(super) fn signer(&self, name: Option<&str>) -> Result<&OwnCert, PgpStoreError> {
        if let Some(name) = name {
            // a name that fits one of ours and one of somebody else's means ours
            let own = Self {
                own: self.own.clone(),
                ..Self::default()
            };
            let found = match own.find(name) {
                Ok(entry) => entry.cert().fingerprint(),
                Err(PgpStoreError::NotFound { .. }) => {
                    return Err(match self.find(name) {
                        Ok(_) => PgpStoreError::NotOwn(shown(name)),
                        Err(error) => error,
                    });
                }
                Err(error) => return Err(error),
            };
            return self.own_by(&found).ok_or(PgpStoreError::NoCert);
        }
        let is_default = |own: &&OwnCert| Some(own.fingerprint().to_hex()) == self.default;
        match (self.own.iter().find(is_default), &*self.own) {
            (Some(own), _) | (None, [own]) => Ok(own),
            (None, []) => Err(PgpStoreError::NoCert),
            (None, several) => Err(PgpStoreError::NoDefault(
                several
                    .iter()
                    .map(|own| own.user_id().to_string())
                    .collect(),
            )),
        }
    }

    fn own_by(&self, fingerprint: &Fingerprint) -> Option<&OwnCert> {
        self.own
            .iter()
            .find(|own| own.fingerprint() == *fingerprint)
    }

    pub(super) fn check_new(&self, user_id: &UserId, curve: Curve) -> Result<(), PgpStoreError> {
        let identity = user_id.identity().ascii();
        let same = |old: &&OwnCert| old.identity().ascii() == identity && old.curve() == curve;
        match self.own.iter().find(same) {
            Some(old) => Err(PgpStoreError::Duplicate {
                user_id: old.user_id().to_string(),
                fingerprint: old.fingerprint().to_hex(),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn add_own(&mut self, own: OwnCert) -> Result<(), PgpStoreError> {
        self.check_new(own.user_id(), own.curve())?;
        // it may have been imported as if it were somebody else's
        let imported = self
            .others
            .iter()
            .position(|other| other.cert.fingerprint() == own.fingerprint());
        let own = match imported {
            Some(at) => own.merge(self.others.remove(at).cert)?,
            None => own,
        };
        self.own.push(own);
        Ok(())
    }

    pub(super) fn update_own(&mut self, own: &OwnCert) -> Result<(), PgpStoreError> {
        let old = self
            .own
            .iter_mut()
            .find(|old| old.fingerprint() == own.fingerprint())
            .ok_or_else(|| PgpStoreError::NotOwn(own.user_id().to_string()))?;
        *old = old.merge(own.cert().clone())?;
        Ok(())
    }

    pub(super) fn import(&mut self, cert: Cert) -> Result<Change, PgpStoreError> {
        if cert.is_tsk() {
            return Err(PgpStoreError::Secret(fingerprint(&cert)));
        }
        if let Some(own) = self
            .own
            .iter_mut()
            .find(|own| own.fingerprint() == cert.fingerprint())
        {
            let merged = own.merge(cert)?;
            check_size(merged.cert())?;
            let change = updated(own.cert(), merged.cert());
            *own = merged;
            return Ok(change);
        }
        let old = self
            .others
            .iter_mut()
            .find(|other| other.cert.fingerprint() == cert.fingerprint());
        match old {
            Some(old) => {
                let merged = old
                    .cert
                    .clone()
                    .merge_public(cert)
                    .map_err(PgpError::library)?;
                check_size(&merged)?;
                let change = updated(&old.cert, &merged);
                old.cert = merged;
                Ok(change)
            }
            None => {
                check_size(&cert)?;
                self.others.push(OtherCert { cert, mark: None });
                Ok(Change::New)
            }
        }
    }

    pub(super) fn import_revocation(
        &mut self,
        revocation: Signature,
    ) -> Result<Fingerprint, PgpStoreError> {
        let issuers = revocation.get_issuers();
        let fits = |cert: &Cert| {
            let primary = cert.primary_key().key();
            issuers
                .iter()
                .any(|issuer| issuer.aliases(primary.key_handle()))
                && revocation
                    .verify_primary_key_revocation(primary, primary)
                    .is_ok()
        };
        if let Some(own) = self.own.iter_mut().find(|own| fits(own.cert())) {
            *own = own.insert(vec![revocation.into()])?;
            return Ok(own.fingerprint());
        }
        match self.others.iter_mut().find(|other| fits(&other.cert)) {
            Some(other) => {
                let cert = other.cert.clone().insert_packets(vec![revocation]);
                other.cert = cert.map_err(PgpError::library)?.0;
                Ok(other.cert.fingerprint())
            }
            None => {
                let issuer = issuers
                    .first()
                    .map_or_else(|| "nobody".into(), KeyHandle::to_hex);
                Err(PgpStoreError::Revocation(issuer))
            }
        }
    }

    pub(super) fn trust(
        &mut self,
        name: &str,
        compared: &str,
        now: SystemTime,
    ) -> Result<TrustMark, PgpStoreError> {
        let other = self.other(name)?;
        let found = other.cert.fingerprint();
        let given: Option<Fingerprint> = hexadecimal(compared).and_then(|hex| hex.parse().ok());
        if given.as_ref() != Some(&found) {
            return Err(PgpStoreError::OtherFingerprint {
                name: shown(name),
                found: found.to_hex(),
                given: shown(compared),
            });
        }
        let mark = TrustMark {
            name: name_of(&other.cert, now),
            since: now
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        other.mark = Some(mark.clone());
        Ok(mark)
    }

    pub(super) fn distrust(&mut self, name: &str) -> Result<bool, PgpStoreError> {
        Ok(self.other(name)?.mark.take().is_some())
    }

    fn other(&mut self, name: &str) -> Result<&mut OtherCert, PgpStoreError> {
        let found = match self.find(name)? {
            Entry::Own(own) => return Err(PgpStoreError::Own(own.user_id().to_string())),
            Entry::Other(other) => other.cert.fingerprint(),
        };
        let mut others = self.others.iter_mut();
        let other = others.find(|other| other.cert.fingerprint() == found);
        Ok(other.expect("it was found a line above"))
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<Cert, PgpStoreError> {
        let cert = self.find(name)?.cert().clone();
        let fingerprint = cert.fingerprint();
        self.own.retain(|own| own.fingerprint() != fingerprint);
        self.others
            .retain(|other| other.cert.fingerprint() != fingerprint);
        if self.default == Some(fingerprint.to_hex()) {
            self.default = None;
        }
        Ok(cert)
    }
}

fn updated(old: &Cert, new: &Cert) -> Change {
    if old == new {
        Change::Unchanged
    } else {
        Change::Updated
    }
}

fn check_size(cert: &Cert) -> Result<(), PgpStoreError> {
    let length = cert.serialized_len();
    if length > MAX_CERT {
        return Err(PgpStoreError::TooLarge {
            fingerprint: fingerprint(cert),
            length,
            limit: MAX_CERT,
        });
    }
    Ok(())
}

/// In which way a name means a cert, the strictest first.
#[derive(Clone, Copy)]
enum Match {
    Fingerprint,
    UserId,
    Mail,
    Part,
}

impl Match {
    const ALL: [Self; 4] = [Self::Fingerprint, Self::UserId, Self::Mail, Self::Part];

    fn holds(self, cert: &Cert, name: &str) -> bool {
        match self {
            Self::Fingerprint => {
                let Some(handle) = hexadecimal(name).and_then(|hex| hex.parse::<KeyHandle>().ok())
                else {
                    return false;
                };
                // 8 digits are made to measure in seconds
                let long = matches!(&handle, KeyHandle::Fingerprint(_) | KeyHandle::KeyID(_));
                long && cert
                    .keys()
                    .any(|key| key.key().key_handle().aliases(&handle))
            }
            Self::UserId => user_ids(cert).any(|user_id| user_id == name),
            Self::Mail => cert.userids().any(|user_id| {
                let mail = UserID::email(user_id.userid()).ok().flatten();
                mail.is_some_and(|mail| mail.eq_ignore_ascii_case(name))
            }),
            Self::Part => {
                let name = name.to_lowercase();
                name.len() >= MIN_PART
                    && user_ids(cert).any(|user_id| user_id.to_lowercase().contains(&name))
            }
        }
    }
}

/// Returns the digits of a fingerprint or key ID however it is grouped, `None` for anything else.
fn hexadecimal(text: &str) -> Option<String> {
    let digits: String = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != ':')
        .collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    let right = [16, 40, 64].contains(&digits.len());
    (right && digits.chars().all(|c| c.is_ascii_hexdigit())).then(|| digits.to_uppercase())
}

fn user_ids(cert: &Cert) -> impl Iterator<Item = String> {
    cert.userids()
        .map(|user_id| String::from_utf8_lossy(user_id.userid().value()).into_owned())
}

fn fingerprint(cert: &Cert) -> String {
    cert.fingerprint().to_hex()
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}
