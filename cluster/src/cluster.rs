//! Clusters and their hosts, as a wallet remembers them.

mod address;
mod store;

use bcm_keystore::{Chain, Hint};
use serde::{Deserialize, Serialize};

use crate::host::Destination;
use crate::host_key::{HostKey, KnownHosts, PinnedHost};
use crate::name::{ClusterId, ClusterName, HostName, InstanceName};

pub use address::{AddressError, HostAddress};
pub use store::{ClusterStore, Clusters};

/// Machines that one owner runs as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// What statements name it by.
    pub id: ClusterId,
    /// What its owner calls it.
    pub name: ClusterName,
    /// Its hosts, oldest first.
    #[serde(default)]
    pub hosts: Vec<Host>,
}

/// A machine of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// What its owner calls it.
    pub name: HostName,
    /// Where it is.
    pub target: HostTarget,
    /// The chains that may run on it; none means every chain.
    #[serde(default)]
    pub chains: Vec<Chain>,
}

/// Where a host is, and what proves that it is that host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are as many as hosts, and none is moved in a loop"
)]
pub enum HostTarget {
    /// This machine.
    Local,
    /// A machine that is reached over SSH, directly or through Tor.
    Ssh(SshTarget),
    /// A system container or VM that bcm made on an LXD or Incus server.
    Lxd {
        /// The server; `None` is this machine.
        #[serde(default)]
        server: Option<SshTarget>,
        /// Its name there.
        instance: InstanceName,
        /// The login to it; through the server where there is one.
        guest: SshTarget,
    },
}

/// A login, and the host key that its owner accepted for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshTarget {
    /// Who logs in where.
    pub destination: Destination,
    /// The accepted key.
    pub pin: HostKey,
    /// It lets in whom the cluster's CA certified.
    #[serde(default)]
    pub certified: bool,
}

impl SshTarget {
    /// Returns the proof that the key was accepted.
    pub fn pinned(&self) -> PinnedHost {
        KnownHosts::accepted(&self.destination, &self.pin)
    }
}

impl From<&PinnedHost> for SshTarget {
    fn from(host: &PinnedHost) -> Self {
        Self {
            destination: host.destination().clone(),
            pin: host.key().clone(),
            certified: false,
        }
    }
}

impl HostTarget {
    /// Returns the login that commands on the host go through, `None` on this machine.
    pub fn ssh(&self) -> Option<&SshTarget> {
        match self {
            Self::Local => None,
            Self::Ssh(target) | Self::Lxd { guest: target, .. } => Some(target),
        }
    }

    /// Returns the server through which that login goes, if there is one.
    pub fn via(&self) -> Option<&SshTarget> {
        match self {
            Self::Lxd { server, .. } => server.as_ref(),
            Self::Local | Self::Ssh(_) => None,
        }
    }

    /// Returns how the host was named when it was added.
    pub fn address(&self) -> HostAddress {
        match self {
            Self::Local => HostAddress::Local,
            Self::Ssh(target) => HostAddress::Ssh(target.destination.clone()),
            Self::Lxd {
                server, instance, ..
            } => HostAddress::Lxd {
                server: server.as_ref().map(|server| server.destination.clone()),
                instance: instance.clone(),
            },
        }
    }
}

impl Host {
    /// Tells whether `chain` may run on it.
    pub fn carries(&self, chain: Chain) -> bool {
        self.chains.is_empty() || self.chains.contains(&chain)
    }
}

impl Cluster {
    /// Makes one without hosts.
    pub fn new(id: ClusterId, name: ClusterName) -> Self {
        Self {
            id,
            name,
            hosts: Vec::new(),
        }
    }

    /// Finds a host.
    ///
    /// # Errors
    ///
    /// [`ClusterError::UnknownHost`] with the nearest name.
    pub fn host(&self, name: &HostName) -> Result<&Host, ClusterError> {
        let index = self.index(name)?;
        Ok(&self.hosts[index])
    }

    /// Finds a host, to change it.
    ///
    /// # Errors
    ///
    /// [`ClusterError::UnknownHost`] with the nearest name.
    pub fn host_mut(&mut self, name: &HostName) -> Result<&mut Host, ClusterError> {
        let index = self.index(name)?;
        Ok(&mut self.hosts[index])
    }

    /// Tells whether a host could be added, before anything is done for it.
    ///
    /// # Errors
    ///
    /// [`ClusterError::DuplicateHost`] or [`ClusterError::SameMachine`].
    pub fn admits(&self, name: &HostName, address: &HostAddress) -> Result<(), ClusterError> {
        for host in &self.hosts {
            if host.name == *name {
                return Err(ClusterError::DuplicateHost {
                    cluster: self.name.clone(),
                    host: name.clone(),
                });
            }
            if host.target.address().is_same_machine(address) {
                return Err(ClusterError::SameMachine {
                    address: address.to_string(),
                    host: host.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Adds a host.
    ///
    /// # Errors
    ///
    /// As [`Cluster::admits`]; nothing is changed then.
    pub fn add(&mut self, host: Host) -> Result<(), ClusterError> {
        self.admits(&host.name, &host.target.address())?;
        self.hosts.push(host);
        Ok(())
    }

    /// Removes a host and returns it.
    ///
    /// # Errors
    ///
    /// [`ClusterError::UnknownHost`] with the nearest name.
    pub fn remove(&mut self, name: &HostName) -> Result<Host, ClusterError> {
        let index = self.index(name)?;
        Ok(self.hosts.remove(index))
    }

    /// Gives a host another name.
    ///
    /// # Errors
    ///
    /// [`ClusterError::UnknownHost`] or [`ClusterError::DuplicateHost`]; nothing is changed then.
    pub fn rename(&mut self, from: &HostName, to: &HostName) -> Result<(), ClusterError> {
        let index = self.index(from)?;
        if self.hosts.iter().any(|host| host.name == *to) {
            return Err(ClusterError::DuplicateHost {
                cluster: self.name.clone(),
                host: to.clone(),
            });
        }
        self.hosts[index].name = to.clone();
        Ok(())
    }

    fn index(&self, name: &HostName) -> Result<usize, ClusterError> {
        let index = self.hosts.iter().position(|host| host.name == *name);
        index.ok_or_else(|| ClusterError::UnknownHost {
            cluster: self.name.clone(),
            host: name.clone(),
            nearest: nearest(name.as_str(), self.hosts.iter().map(|host| &host.name)),
        })
    }
}

/// Returns the name that is near enough to be what was meant.
fn nearest<'a, N: AsNearName + Clone + 'a>(
    typed: &str,
    names: impl Iterator<Item = &'a N>,
) -> Option<N> {
    let close = |name: &&N| strsim::jaro_winkler(name.text(), typed);
    let best = names.max_by(|a, b| close(a).total_cmp(&close(b)))?;
    (close(&best) > 0.8).then(|| best.clone())
}

/// What [`nearest`] compares.
trait AsNearName {
    fn text(&self) -> &str;
}

impl AsNearName for HostName {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl AsNearName for ClusterName {
    fn text(&self) -> &str {
        self.as_str()
    }
}

/// Why clusters and hosts are not as they were asked to be. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The file is not to be used.
    #[error(transparent)]
    Store(#[from] bcm_keystore::store::StoreError),
    /// No cluster goes by that name.
    #[error("no cluster `{name}`")]
    UnknownCluster {
        /// What was looked for.
        name: ClusterName,
        /// The name that is spelled most alike.
        nearest: Option<ClusterName>,
    },
    /// No cluster was chosen.
    #[error("no cluster is in use")]
    NoneInUse,
    /// There is one of that name.
    #[error("there is a cluster `{0}` already")]
    DuplicateCluster(ClusterName),
    /// A cluster is destroyed after its hosts were removed from it.
    #[error("`{cluster}` still has {hosts} host{}", if *hosts == 1 { "" } else { "s" })]
    NotEmpty {
        /// The cluster.
        cluster: ClusterName,
        /// How many.
        hosts: usize,
    },
    /// No host goes by that name.
    #[error("`{cluster}` has no host `{host}`")]
    UnknownHost {
        /// The cluster.
        cluster: ClusterName,
        /// What was looked for.
        host: HostName,
        /// The name that is spelled most alike.
        nearest: Option<HostName>,
    },
    /// There is one of that name.
    #[error("`{cluster}` has a host `{host}` already")]
    DuplicateHost {
        /// The cluster.
        cluster: ClusterName,
        /// The name.
        host: HostName,
    },
    /// The machine is in the cluster under another name.
    #[error("`{address}` is the host `{host}` already")]
    SameMachine {
        /// Where it is.
        address: String,
        /// Its name.
        host: HostName,
    },
}

impl Hint for ClusterError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Store(error) => return error.hint(),
            Self::UnknownCluster {
                nearest: Some(name),
                ..
            } => format!("did you mean `{name}`?"),
            Self::UnknownHost {
                nearest: Some(name),
                ..
            } => format!("did you mean `{name}`?"),
            Self::UnknownCluster { .. } => "`cluster list` shows those there are".into(),
            Self::NoneInUse => "run `cluster use NAME`, or `cluster create NAME`".into(),
            Self::DuplicateCluster(name) => format!("work with it: `cluster use {name}`"),
            Self::NotEmpty { .. } => {
                "remove them first, `cluster host remove NAME`, or run it with `--hosts`".into()
            }
            Self::UnknownHost { .. } => "`cluster host list` shows those there are".into(),
            Self::DuplicateHost { host, .. } | Self::SameMachine { host, .. } => {
                format!("choose another, or look at it: `cluster host show {host}`")
            }
        })
    }
}

#[cfg(test)]
mod tests;
