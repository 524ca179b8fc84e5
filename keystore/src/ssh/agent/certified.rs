//! A certificate that an agent offers, who signs for it, and for which hosts.

use std::time::SystemTime;

use ssh_key::Certificate;

use crate::ssh::certificate::SessionCertificate;
use crate::ssh::key::SshKey;
use crate::ssh::store::HostPin;

/// A certificate of an agent.
#[derive(Debug)]
pub struct Certified {
    holder: Holder,
    hosts: Box<[HostPin]>,
}

/// Who has the key of a certificate.
#[derive(Debug)]
pub(super) enum Holder {
    /// This session: it signs logins to the hosts, and nobody is asked.
    Session(SessionCertificate),
    /// The device: each login is confirmed there.
    Device(SshKey, Box<Certificate>),
}

impl Certified {
    /// Offers the key of a session, for logins to these hosts alone.
    pub fn session(certificate: SessionCertificate, hosts: &[HostPin]) -> Self {
        Self {
            holder: Holder::Session(certificate),
            hosts: hosts.into(),
        }
    }

    /// Offers a key of the device with a certificate of it; the person confirms each login, to a host that is
    /// named as in `hosts`.
    pub fn device(key: SshKey, certificate: Certificate, hosts: &[HostPin]) -> Self {
        Self {
            holder: Holder::Device(key, Box::new(certificate)),
            hosts: hosts.into(),
        }
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> &Certificate {
        match &self.holder {
            Holder::Session(session) => session.certificate(),
            Holder::Device(_, certificate) => certificate,
        }
    }

    /// Returns the hosts that it is meant for.
    pub fn hosts(&self) -> &[HostPin] {
        &self.hosts
    }

    /// Tells whether each login is confirmed on the device.
    pub fn asks(&self) -> bool {
        matches!(self.holder, Holder::Device(..))
    }

    /// Tells whether it is good no more.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        now >= self.certificate().valid_before_time()
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Tells whether `old` is of no further use beside this one.
    pub(super) fn replaces(&self, old: &Self) -> bool {
        let (ours, theirs) = (self.certificate(), old.certificate());
        let covered = |name: &String| ours.valid_principals().contains(name);
        ours.signature_key() == theirs.signature_key()
            && theirs.valid_principals().iter().all(covered)
    }
}
