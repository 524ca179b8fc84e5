//! The clusters of a wallet, sealed on disk: what names hosts is nobody else's business.

use std::sync::Arc;

use bcm_keystore::WalletStore;
use bcm_keystore::store::StoreError;
use serde::{Deserialize, Serialize};

use super::{Cluster, ClusterError, nearest};
use crate::name::{ClusterId, ClusterName};

/// Name of the sealed document.
const DOCUMENT: &str = "clusters";

/// Every cluster of a wallet, and the one that is worked with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clusters {
    #[serde(default)]
    clusters: Vec<Cluster>,
    #[serde(default)]
    current: Option<ClusterId>,
}

impl Clusters {
    /// Returns them, oldest first.
    pub fn all(&self) -> &[Cluster] {
        &self.clusters
    }

    /// Finds one.
    ///
    /// # Errors
    ///
    /// [`ClusterError::UnknownCluster`] with the nearest name.
    pub fn find(&self, name: &ClusterName) -> Result<&Cluster, ClusterError> {
        let index = self.index(name)?;
        Ok(&self.clusters[index])
    }

    /// Returns the one that is worked with.
    ///
    /// # Errors
    ///
    /// [`ClusterError::NoneInUse`].
    pub fn current(&self) -> Result<&Cluster, ClusterError> {
        let current = self
            .clusters
            .iter()
            .find(|cluster| self.is_current(cluster));
        current.ok_or(ClusterError::NoneInUse)
    }

    /// Finds one by its id, to change it.
    pub fn by_id_mut(&mut self, id: ClusterId) -> Option<&mut Cluster> {
        self.clusters.iter_mut().find(|cluster| cluster.id == id)
    }

    /// Tells whether `cluster` is the one that is worked with.
    pub fn is_current(&self, cluster: &Cluster) -> bool {
        self.current == Some(cluster.id)
    }

    /// Adds a cluster and works with it from now on.
    ///
    /// # Errors
    ///
    /// [`ClusterError::DuplicateCluster`].
    pub fn create(&mut self, cluster: Cluster) -> Result<(), ClusterError> {
        if self.find(&cluster.name).is_ok() {
            return Err(ClusterError::DuplicateCluster(cluster.name));
        }
        self.current = Some(cluster.id);
        self.clusters.push(cluster);
        Ok(())
    }

    /// Works with another one from now on.
    ///
    /// # Errors
    ///
    /// [`ClusterError::UnknownCluster`] with the nearest name.
    pub fn choose(&mut self, name: &ClusterName) -> Result<&Cluster, ClusterError> {
        let index = self.index(name)?;
        self.current = Some(self.clusters[index].id);
        Ok(&self.clusters[index])
    }

    /// Forgets a cluster; one that has hosts only where `with_hosts` says so.
    ///
    /// # Errors
    ///
    /// [`ClusterError::UnknownCluster`] or [`ClusterError::NotEmpty`].
    pub fn destroy(
        &mut self,
        name: &ClusterName,
        with_hosts: bool,
    ) -> Result<Cluster, ClusterError> {
        let index = self.index(name)?;
        let hosts = self.clusters[index].hosts.len();
        if hosts > 0 && !with_hosts {
            return Err(ClusterError::NotEmpty {
                cluster: name.clone(),
                hosts,
            });
        }
        let gone = self.clusters.remove(index);
        if self.is_current(&gone) {
            self.current = None;
        }
        Ok(gone)
    }

    fn index(&self, name: &ClusterName) -> Result<usize, ClusterError> {
        let found = self.clusters.iter().position(|known| known.name == *name);
        found.ok_or_else(|| ClusterError::UnknownCluster {
            name: name.clone(),
            nearest: nearest(name.as_str(), self.clusters.iter().map(|known| &known.name)),
        })
    }
}

/// The sealed document of [`Clusters`].
#[derive(Clone, Debug)]
pub struct ClusterStore {
    store: Arc<WalletStore>,
}

impl ClusterStore {
    /// Takes the store of a wallet.
    pub fn new(store: Arc<WalletStore>) -> Self {
        Self { store }
    }

    /// Reads what is there now; a wallet without clusters has none.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub fn read(&self) -> Result<Clusters, StoreError> {
        Ok(self.store.read(DOCUMENT)?.unwrap_or_default())
    }

    /// Changes what is on disk, whatever another bcm has written there since.
    ///
    /// # Errors
    ///
    /// What `change` refuses, or any [`StoreError`]; nothing is changed then.
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut Clusters) -> Result<T, ClusterError>,
    ) -> Result<T, ClusterError> {
        self.store.update(DOCUMENT, change)
    }
}
