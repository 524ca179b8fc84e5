//! The way from a command to the hosts of the cluster that is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bcm_cluster::{
    Cluster, ClusterError, ClusterStore, Connections, Host, HostName, LoginKey, LoginKeys, Remote,
    SshTarget,
};
use bcm_keystore::WalletStore;
use bcm_keystore::identity::Curve;
use bcm_keystore::ssh::certificate::DEFAULT_TTL;
use bcm_keystore::ssh::{Certify, SshIdentity, SshKey, SshStore, SshStoreError, derive};
use futures::future::BoxFuture;

use crate::app::App;
use crate::commands::ssh::{ClientVia, ensure_agent, session_certificate};
use crate::config::ConfirmLogins;
use crate::report::Report;
use crate::session::{Keeper, Open};
use crate::ui::{self, Style, lock};

/// Runs `work` with the cluster that is in use.
pub fn with_cluster<T>(
    app: &mut App,
    work: impl AsyncFnOnce(&mut InCluster<'_>) -> Result<T, Report>,
) -> Result<T, Report> {
    let via = ClientVia::new(app)?;
    let config = app.config()?;
    let (curve, confirm) = (config.curve().into(), config.confirm_logins());
    let keeper = app.keeper.clone();
    app.runtime().block_on(keeper.with_open(async |open| {
        let store = ClusterStore::new(open.session.store().clone());
        let cluster = store.read()?.current()?.clone();
        work(&mut InCluster {
            keeper: &keeper,
            open,
            store,
            cluster,
            pty: false,
            via,
            curve,
            confirm,
        })
        .await
    }))
}

/// What a command on a cluster works with.
#[derive(Debug)]
pub struct InCluster<'a> {
    /// Who keeps the session.
    pub keeper: &'a Keeper,
    /// The open wallet.
    pub open: &'a mut Open,
    /// The sealed clusters.
    pub store: ClusterStore,
    /// The one that is in use, as it was when the command began.
    pub cluster: Cluster,
    /// A certificate for a login has to allow a terminal.
    pub pty: bool,
    via: ClientVia,
    curve: Curve,
    confirm: ConfirmLogins,
}

impl InCluster<'_> {
    /// Returns the way to a host.
    pub async fn remote(&mut self, name: &HostName) -> Result<Remote, Report> {
        let host = self.cluster.host(name)?.clone();
        let mut remotes = self.remotes(std::slice::from_ref(&host)).await?;
        Ok(remotes.remove(0))
    }

    /// Returns the ways to hosts, for all of which there are keys then. Nothing is connected yet.
    pub async fn remotes(&mut self, hosts: &[Host]) -> Result<Vec<Remote>, Report> {
        let targets = hosts.iter().filter_map(|host| host.target.ssh());
        let servers = hosts.iter().filter_map(|host| host.target.via());
        let targets: Vec<_> = targets.chain(servers).collect();
        for target in targets.iter().filter(|target| !target.certified) {
            self.key(target.destination.identity()).await?;
        }
        self.certify(&targets).await?;
        let pool = self.connections()?;
        Ok(hosts.iter().map(|host| pool.remote(host)).collect())
    }

    /// Makes sure that the session can log in where the cluster's CA is trusted: one confirmation, once.
    async fn certify(&mut self, targets: &[&SshTarget]) -> Result<(), Report> {
        let certified = || targets.iter().filter(|target| target.certified);
        let pins: Vec<_> = certified().map(|target| target.pinned().pin()).collect();
        let users: BTreeSet<_> = certified()
            .map(|target| target.destination.user())
            .collect();
        if pins.is_empty() {
            return Ok(());
        }
        // one that is good for every host of the cluster is good for the next command too
        let all = self
            .cluster
            .hosts
            .iter()
            .filter_map(|host| host.target.ssh());
        let all = all.filter(|target| target.certified);
        let users: BTreeSet<_> = all
            .map(|target| target.destination.user())
            .chain(users)
            .collect();
        let wanted = Certify {
            principals: users.into_iter().map(str::to_owned).collect(),
            ttl: DEFAULT_TTL,
            pty: self.pty,
        };
        let cluster = self.cluster.name.to_string();
        let (keeper, confirm) = (self.keeper, self.confirm);
        let held =
            session_certificate(keeper, self.open, confirm, &cluster, &wanted, &pins).await?;
        let line = LoginKey::certificate(held.certificate());
        lock(&self.open.certificates).insert(cluster, line);
        Ok(())
    }

    /// Returns the key of a login, made and kept when there was none; tells whether it is new.
    pub async fn key(&mut self, login: &SshIdentity) -> Result<(SshKey, bool), Report> {
        let wallet = self.open.session.store().clone();
        let mut store = SshStore::open(&wallet)?;
        if let Some(key) = keys_for(&store, login, self.curve).into_iter().next() {
            return Ok((key, false));
        }
        let key = derive(self.open.session.device(), login, self.curve).await?;
        match store.add(key.clone()) {
            Ok(()) | Err(SshStoreError::Duplicate(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(agent) = &self.open.agent {
            agent.refresh(&store);
        }
        Ok((key, true))
    }

    /// Returns the connections of the session.
    pub fn connections(&mut self) -> Result<Connections, Report> {
        if let Some(pool) = &self.open.connections {
            return Ok(pool.clone());
        }
        let agent = ensure_agent(self.keeper, self.open)?;
        let settings = self.via.settings(self.keeper, agent)?;
        let keys = self.keys();
        let fanning = self.open.fanning.clone();
        let tell = move |waiting: bcm_cluster::Waiting| {
            let told_together = match &waiting {
                bcm_cluster::Waiting::Login { .. } => true,
                bcm_cluster::Waiting::Reconnect { since, .. } => since.as_secs() > 0,
                _ => false,
            };
            if !(told_together && fanning.load(Ordering::Relaxed)) {
                note(&waiting.to_string());
            }
        };
        let pool = Connections::new(settings, Arc::new(keys), Arc::new(tell));
        self.open.connections = Some(pool.clone());
        Ok(pool)
    }

    /// Changes the cluster on disk, whatever another bcm has changed there since.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Cluster) -> Result<T, ClusterError>,
    ) -> Result<T, Report> {
        let id = self.cluster.id;
        let name = self.cluster.name.clone();
        let (outcome, cluster) = self.store.update(|clusters| {
            let cluster = clusters.by_id_mut(id);
            let cluster = cluster.ok_or(ClusterError::UnknownCluster {
                name,
                nearest: None,
            })?;
            Ok((change(cluster)?, cluster.clone()))
        })?;
        self.cluster = cluster;
        Ok(outcome)
    }

    /// Returns what every `ssh` of this session is given.
    pub fn settings(&mut self) -> Result<bcm_cluster::ClientSettings, Report> {
        let agent = ensure_agent(self.keeper, self.open)?;
        self.via.settings(self.keeper, agent)
    }

    /// Returns the keys for a login, as the connections offer them.
    pub fn login_keys(&self, target: &SshTarget) -> Result<Vec<LoginKey>, Report> {
        Ok(self.keys().find(target)?)
    }

    fn keys(&self) -> Keys {
        Keys {
            store: self.open.session.store().clone(),
            certificates: self.open.certificates.clone(),
            curve: self.curve,
        }
    }
}

/// Says what is waited for.
pub fn note(text: &str) {
    ui::say(&ui::paint_stderr(Style::Dim, &ui::printable(text)));
}

/// The keys of the wallet, as they are when a host is connected to.
#[derive(Debug)]
pub struct Keys {
    store: Arc<WalletStore>,
    certificates: Certificates,
    curve: Curve,
}

/// The certificates of a session, by cluster.
pub type Certificates = Arc<Mutex<BTreeMap<String, LoginKey>>>;

impl Keys {
    fn find(&self, target: &SshTarget) -> Result<Vec<LoginKey>, SshStoreError> {
        let store = SshStore::open(&self.store)?;
        let keys = keys_for(&store, target.destination.identity(), self.curve);
        let mut offered = Vec::new();
        if target.certified {
            offered.extend(lock(&self.certificates).values().cloned());
        }
        offered.extend(keys.iter().map(LoginKey::from));
        Ok(offered)
    }
}

impl LoginKeys for Keys {
    fn keys<'a>(
        &'a self,
        target: &'a SshTarget,
    ) -> BoxFuture<'a, Result<Vec<LoginKey>, bcm_cluster::connections::LoginKeysError>> {
        Box::pin(async move { Ok(self.find(target)?) })
    }
}

/// Picks the keys of a login, that on `curve` first.
fn keys_for(store: &SshStore<'_>, login: &SshIdentity, curve: Curve) -> Vec<SshKey> {
    let mut keys: Vec<_> = store.for_login(login).into_iter().cloned().collect();
    keys.sort_by_key(|key| key.curve() != curve);
    keys
}
