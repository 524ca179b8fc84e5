//! A certificate that an agent offers, who signs for it, and for which hosts.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use ssh_key::Certificate;

use crate::ssh::certificate::{SessionCertificate, covers};
use crate::ssh::key::SshKey;
use crate::ssh::store::HostPin;

/// A certificate of an agent.
#[derive(Debug)]
pub struct Certified {
    cluster: String,
    holder: Holder,
    hosts: RwLock<Arc<[HostPin]>>,
}

/// Who has the key of a certificate.
#[derive(Debug)]
pub(super) enum Holder {
    /// This session: it signs logins to the hosts, and nobody is asked.
    Session(Box<SessionCertificate>),
    /// The device: each login is confirmed there.
    Device(Box<SshKey>, Box<Certificate>),
}

impl Certified {
    /// Offers the key of a session, for logins to hosts that [`Certified::allow`] names, and to no others.
    pub fn session(cluster: &str, certificate: SessionCertificate) -> Self {
        Self::new(cluster, Holder::Session(Box::new(certificate)))
    }

    /// Offers a key of the device with a certificate of it: the person confirms each login.
    pub fn device(cluster: &str, key: SshKey, certificate: Certificate) -> Self {
        Self::new(
            cluster,
            Holder::Device(Box::new(key), Box::new(certificate)),
        )
    }

    fn new(cluster: &str, holder: Holder) -> Self {
        Self {
            cluster: cluster.to_owned(),
            holder,
            hosts: RwLock::new([].into()),
        }
    }

    /// Returns the name of the cluster whose CA signed it.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> &Certificate {
        match &self.holder {
            Holder::Session(session) => session.certificate(),
            Holder::Device(_, certificate) => certificate,
        }
    }

    /// Returns the key of the session, where it has one: for records of the session.
    pub fn of_session(&self) -> Option<&SessionCertificate> {
        match &self.holder {
            Holder::Session(session) => Some(session),
            Holder::Device(..) => None,
        }
    }

    /// Lets it log in to these hosts too.
    pub fn allow(&self, hosts: &[HostPin]) {
        let mut held = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let new = hosts.iter().filter(|pin| !held.contains(pin)).cloned();
        let all: Vec<_> = held.iter().cloned().chain(new).collect();
        *held = all.into();
    }

    /// Tells whether it is good as every one of these login names, for some seconds at least.
    pub fn covers(&self, principals: &[String], now: SystemTime) -> bool {
        covers(self.certificate(), principals, now)
    }

    /// Tells whether each login is confirmed on the device.
    pub fn asks(&self) -> bool {
        matches!(self.holder, Holder::Device(..))
    }

    pub(super) fn has_expired(&self, now: SystemTime) -> bool {
        now >= self.certificate().valid_before_time()
    }

    pub(super) fn hosts(&self) -> Arc<[HostPin]> {
        let held = self.hosts.read();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Tells whether `old` is of no further use beside this one.
    pub(super) fn replaces(&self, old: &Self) -> bool {
        let ours = self.certificate().valid_principals();
        let theirs = old.certificate().valid_principals();
        self.cluster == old.cluster && theirs.iter().all(|name| ours.contains(name))
    }
}
