//! What the owner of a cert adds to it later: names, another end, a revocation.

use std::time::{Duration, SystemTime};

use sequoia_openpgp::armor;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation;
use sequoia_openpgp::cert::{CertRevocationBuilder, ValidCert};
use sequoia_openpgp::packet::UserID;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::serialize::Serialize as _;
use sequoia_openpgp::types::{HashAlgorithm, RevocationStatus, SignatureType};
use sequoia_openpgp::{self as openpgp, Packet};

use super::cert::{self, OwnCert, Reason};
use super::error::PgpError;
use super::key::{DeviceSigner, Purpose};
use super::user_id::UserId;
use crate::device::Device;

impl OwnCert {
    /// Returns when the device last signed something in this cert.
    ///
    /// A signature that is to replace another has to be made in a later second.
    pub fn last_signed(&self) -> Option<SystemTime> {
        let signatures = self.cert().userids().flat_map(|user_id| {
            let signatures: Vec<_> = user_id.self_signatures().collect();
            signatures
        });
        signatures
            .filter_map(|signature| signature.signature_creation_time())
            .max()
    }

    /// Adds a user ID; one confirmation. The first one stays the primary one and goes on naming the
    /// keys on the device.
    ///
    /// # Errors
    ///
    /// [`PgpError::UserIdThere`] when it is in the cert, any other [`PgpError`].
    pub fn add_user_id(
        &self,
        device: &Device,
        user_id: &UserId,
        now: SystemTime,
    ) -> Result<Self, PgpError> {
        cert::check(self.cert(), now)?;
        let name = UserID::from(user_id.as_str());
        if self.cert().userids().any(|old| *old.userid() == name) {
            return Err(PgpError::UserIdThere(user_id.to_string()));
        }
        let policy = cert::policy(now);
        let mut signer = self.signer(device, "certify a user ID");
        let add = || -> openpgp::Result<Vec<Packet>> {
            let valid = self.cert().with_policy(&policy, now)?;
            let primary = valid.primary_userid()?;
            let template = SignatureBuilder::from(primary.binding_signature().clone())
                .set_type(SignatureType::PositiveCertification)
                .set_hash_algo(HashAlgorithm::SHA256)
                .set_primary_userid(false)?
                .set_signature_creation_time(cert::whole(now)?)?;
            let binding = name.bind(&mut signer, self.cert(), template)?;
            Ok(vec![Packet::from(name), binding.into()])
        };
        self.insert(add().map_err(PgpError::library)?)
    }

    /// Sets when the cert ends to be good, or that it never does; one confirmation for each of its
    /// user IDs, whose bindings say it.
    ///
    /// # Errors
    ///
    /// [`PgpError::Past`] when `end` is not after `now`, any other [`PgpError`].
    pub fn expire(
        &self,
        device: &Device,
        end: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<Self, PgpError> {
        match cert::check(self.cert(), now) {
            Ok(()) | Err(PgpError::Expired { .. }) => {}
            Err(error) => return Err(error),
        }
        let validity = match end {
            Some(end) => Some(self.validity(end, now)?),
            None => None,
        };
        let policy = cert::policy(now);
        let valid = self
            .cert()
            .with_policy(&policy, now)
            .map_err(PgpError::library)?;
        let mut signer = self.signer(device, "");
        let packets = rebind(&valid, &mut signer, validity, now).map_err(PgpError::library)?;
        self.insert(packets)
    }

    /// Returns how long after its creation the cert ends.
    fn validity(&self, end: SystemTime, now: SystemTime) -> Result<Duration, PgpError> {
        let created = self.cert().primary_key().key().creation_time();
        if end <= now {
            return Err(PgpError::Past(end));
        }
        cert::whole(end)?
            .duration_since(created)
            .map_err(|_| PgpError::Past(end))
    }

    /// Makes a revocation certificate in ASCII armor; one confirmation.
    ///
    /// Nothing is revoked until it is imported somewhere.
    ///
    /// # Errors
    ///
    /// Any [`PgpError`].
    pub fn revoke(
        &self,
        device: &Device,
        reason: Reason,
        text: &str,
        now: SystemTime,
    ) -> Result<String, PgpError> {
        let mut signer = self.signer(device, "REVOKE this certificate");
        let now = cert::whole(now)?;
        let mut make = || -> openpgp::Result<Vec<u8>> {
            let revocation = CertRevocationBuilder::new()
                .set_signature_creation_time(now)?
                .set_reason_for_revocation(reason.into(), text.as_bytes())?
                .build(&mut signer, self.cert(), HashAlgorithm::SHA256)?;
            let headers = [
                ("Comment", "This is a revocation certificate for"),
                ("Comment", &*self.fingerprint().to_spaced_hex()),
            ];
            let mut writer =
                armor::Writer::with_headers(Vec::new(), armor::Kind::PublicKey, headers)?;
            Packet::from(revocation).serialize(&mut writer)?;
            Ok(writer.finalize()?)
        };
        let bytes = make().map_err(PgpError::library)?;
        Ok(String::from_utf8(bytes).expect("armor is ASCII"))
    }

    fn signer<'a>(&self, device: &'a Device, purpose: &str) -> DeviceSigner<'a> {
        DeviceSigner::new(device, self, Purpose::new(purpose))
    }
}

/// Binds every user ID that is not revoked again, with another end.
fn rebind(
    valid: &ValidCert<'_>,
    signer: &mut DeviceSigner<'_>,
    validity: Option<Duration>,
    now: SystemTime,
) -> openpgp::Result<Vec<Packet>> {
    let user_ids: Vec<_> = valid
        .userids()
        .filter(|user_id| !matches!(user_id.revocation_status(), RevocationStatus::Revoked(_)))
        .collect();
    let mut packets = Vec::new();
    for (number, user_id) in (1..).zip(&user_ids) {
        signer.set_purpose(&match validity {
            Some(_) => format!("{number}/{}: change the expiry", user_ids.len()),
            None => format!("{number}/{}: take the expiry away", user_ids.len()),
        });
        let old = user_id.binding_signature();
        let template = SignatureBuilder::from(old.clone())
            .set_hash_algo(HashAlgorithm::SHA256)
            .set_signature_creation_time(cert::whole(now)?)?
            .set_key_validity_period(validity)?;
        let binding = user_id.userid().bind(signer, valid.cert(), template)?;
        packets.push(binding.into());
    }
    Ok(packets)
}
