//! The ways in to a host that is prepared: the one that it has, and the one that it gets.

use std::sync::Arc;
use std::time::Duration;

use bcm_cluster::connections::LoginKeysError;
use bcm_cluster::prepare::{TryLogin, USER};
use bcm_cluster::{
    ClientSettings, Connections, Destination, Host, HostTarget, LoginKey, LoginKeys, Remote,
    RemoteCommand, SshTarget,
};
use bcm_keystore::Hint as _;
use bcm_keystore::identity::Curve;
use bcm_keystore::ssh::{Issued, SshIdentity, SshStore, ca_identity, derive, krl};
use futures::future::BoxFuture;
use ssh_key::PublicKey;

use super::super::reach::InCluster;
use crate::report::Report;
use crate::session::Open;

/// How often the new way is tried: sshd is told to reload, and answers as before, or not at all, until it has.
const ATTEMPTS: u32 = 5;
/// How long it is given in between.
const PAUSE: Duration = Duration::from_millis(1500);

/// Returns the CA of a cluster, and the list of its certificates that are good no more.
///
/// The list depends on nothing but what was revoked, so that it differs only when that does.
pub(super) async fn authority(open: &Open, cluster: &str) -> Result<(PublicKey, Vec<u8>), Report> {
    let identity = ca_identity(cluster).map_err(|error| Report::usage(error.to_string()))?;
    let ca = derive(open.session.device(), &identity, Curve::Ed25519).await?;
    let ca = PublicKey::new(ca.public_key().key_data().clone(), "");
    let store = SshStore::open(open.session.store())?;
    let issued = store.issued().iter().filter(|issued| issued.revoked);
    let revoked: Vec<_> = issued
        .filter(|issued| issued.ca.key_data() == ca.key_data())
        .collect();
    let Some(latest) = revoked.iter().map(|issued| issued.expires).max() else {
        return Ok((ca, Vec::new()));
    };
    let serials: Vec<_> = revoked.into_iter().filter_map(Issued::number).collect();
    let list = krl(ca.key_data(), &serials, latest, cluster);
    Ok((ca, list))
}

/// The ways in to one host.
pub(super) struct Access {
    now: Host,
    prepared: Host,
    target: SshTarget,
}

impl Access {
    /// Knows how a host is reached now, and how it is reached once it is prepared.
    pub(super) fn new(host: &Host, target: &SshTarget) -> Self {
        let now = target.destination.identity();
        let user = SshIdentity::new(USER, now.host(), now.port());
        let user = user.expect("the host and the port are those of an identity");
        let target = SshTarget {
            destination: Destination::from(user),
            certified: true,
            ..target.clone()
        };
        let mut prepared = host.clone();
        match &mut prepared.target {
            HostTarget::Local => {}
            HostTarget::Ssh(at) | HostTarget::Lxd { guest: at, .. } => *at = target.clone(),
        }
        Self {
            now: host.clone(),
            prepared,
            target,
        }
    }

    /// Tells whether the host is reached as a prepared one already.
    pub(super) fn is_prepared(&self) -> bool {
        self.now == self.prepared
    }

    /// Returns how the host is reached once it is prepared.
    pub(super) fn prepared(&self) -> &HostTarget {
        &self.prepared.target
    }

    /// Returns the way that the host has.
    pub(super) async fn present(&self, cluster: &mut InCluster<'_>) -> Result<Remote, Report> {
        way(cluster, &self.now).await
    }

    /// Returns the way that a prepared host has; the device certifies the session's key at the first need.
    pub(super) async fn new_way(&self, cluster: &mut InCluster<'_>) -> Result<Remote, Report> {
        way(cluster, &self.prepared).await
    }

    /// Returns the proof that the new way works.
    pub(super) async fn trial(&self, cluster: &mut InCluster<'_>) -> Result<Trial, Report> {
        // the certificate is there then
        self.new_way(cluster).await?;
        let mut certificates = cluster.login_keys(&self.target)?;
        certificates.retain(|key| matches!(key, LoginKey::Certificate(_)));
        let via = self.prepared.target.via();
        let via = via.map(|via| cluster.login_keys(via)).transpose()?;
        Ok(Trial {
            host: self.prepared.clone(),
            settings: cluster.settings()?,
            keys: TrialKeys {
                target: self.target.clone(),
                certificates,
                via: via.unwrap_or_default(),
            },
        })
    }
}

async fn way(cluster: &mut InCluster<'_>, host: &Host) -> Result<Remote, Report> {
    let mut remotes = cluster.remotes(std::slice::from_ref(host)).await?;
    Ok(remotes.remove(0))
}

/// Offers the session's certificate and nothing else.
#[derive(Clone, Debug)]
struct TrialKeys {
    target: SshTarget,
    certificates: Vec<LoginKey>,
    via: Vec<LoginKey>,
}

impl LoginKeys for TrialKeys {
    fn keys<'a>(
        &'a self,
        target: &'a SshTarget,
    ) -> BoxFuture<'a, Result<Vec<LoginKey>, LoginKeysError>> {
        Box::pin(async move {
            Ok(match *target == self.target {
                true => self.certificates.clone(),
                false => self.via.clone(),
            })
        })
    }
}

/// Logs in as a person who comes anew would.
pub(super) struct Trial {
    host: Host,
    settings: ClientSettings,
    keys: TrialKeys,
}

impl TryLogin for Trial {
    async fn try_login(&self, user: &str) -> Result<(), String> {
        if user != self.keys.target.destination.user() {
            return Err(format!("`{user}` is not the account that bcm uses"));
        }
        let mut last = self.once(user).await;
        for _ in 1..ATTEMPTS {
            if last.is_ok() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            last = self.once(user).await;
        }
        last
    }
}

impl Trial {
    async fn once(&self, user: &str) -> Result<(), String> {
        // a pool of its own: a connection that is open already proves nothing
        let keys = Arc::new(self.keys.clone());
        let pool = Connections::new(self.settings.clone(), keys, Arc::new(|_| {}));
        let root = RemoteCommand::new(&["sudo", "-n", "true"]).expect("words without zero bytes");
        let ran = pool.remote(&self.host).run(&root, b"").await;
        let output = ran.map_err(|error| {
            let hint = error.hint().map(|hint| format!(" ({hint})"));
            format!("{error}{}", hint.unwrap_or_default())
        })?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("`{user}` cannot become root there")),
        }
    }
}
