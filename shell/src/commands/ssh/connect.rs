//! `ssh connect`: the system's `ssh`, a key of the wallet, and a host whose key was accepted.

use std::time::{Duration, SystemTime};

use bcm_cluster::{
    ClientEnv, Connection, ConnectionError, Destination, FirstContact, HostKey, HostKeyFingerprint,
    KnownHosts, PinnedHost, RemoteCommand, scan,
};
use bcm_keystore::identity::Curve;
use bcm_keystore::ssh::{SshIdentity, SshKey, SshStore};

use super::agent::{ensure, exit_code};
use crate::app::App;
use crate::report::{Kind, Report};
use crate::session::{Keeper, Open};
use crate::ui::{self, Asking, Question};

/// How long a host may take to show its key.
const PATIENCE: Duration = Duration::from_secs(15);

/// A login as it was asked for.
#[derive(Debug)]
pub struct Login {
    /// Who, where.
    pub destination: Destination,
    /// The host key that is accepted on the first contact.
    pub fingerprint: Option<HostKeyFingerprint>,
    /// Run instead of a shell.
    pub command: Vec<String>,
}

impl Login {
    /// Logs in and returns the exit code of what ran there.
    pub fn run(self, app: &mut App) -> Result<u8, Report> {
        let curve = app.config()?.curve().into();
        let env = ClientEnv::pick(crate::env::variables());
        let keeper = app.keeper.clone();
        app.runtime()
            .block_on(keeper.with_open(async |open| self.log_in(&keeper, open, curve, env).await))
    }

    async fn log_in(
        &self,
        keeper: &Keeper,
        open: &mut Open,
        curve: Curve,
        env: ClientEnv,
    ) -> Result<u8, Report> {
        let command = match self.command.as_slice() {
            [] => None,
            words => Some(RemoteCommand::new(words)?),
        };
        let wallet = open.session.store().clone();
        let mut store = SshStore::open(&wallet)?;
        let keys = choose(&store, self.destination.identity(), curve);
        let agent = ensure(keeper, open)?;
        let user = [self.destination.user().to_owned()];
        let now = SystemTime::now();
        let certificates = agent.certificates().into_iter();
        let certificates: Vec<_> = certificates
            .filter(|held| held.covers(&user, now))
            .collect();
        if keys.is_empty() && certificates.is_empty() {
            return Err(no_key(self.destination.identity()));
        }
        let host = self.host(&mut store, &env).await?;
        agent.refresh(&store);
        let certificate = certificates.first();
        if let Some(certificate) = certificate {
            // whoever types this login wants it, and accepted the host's key
            certificate.allow(&[host.pin()]);
        }
        let keys: Vec<_> = keys.iter().collect();
        let mut connection = Connection::new(host, &keys, agent.socket(), env)?;
        if let Some(certificate) = certificate {
            connection = connection.with_certificate(certificate.certificate())?;
        }
        if let Some(command) = command {
            connection = connection.with_command(command);
        }
        let hush = agent.hush();
        let ended = {
            let _terminal = keeper.lend_terminal();
            connection.run().await
        };
        match (ended, hush.failure()) {
            (Ok(status), _) => Ok(exit_code(status)),
            (Err(error @ ConnectionError::HostKey(_)), _) | (Err(error), None) => Err(error.into()),
            (Err(_), Some(failure)) => Err(failure.into()),
        }
    }

    /// Finds the host's accepted key, or has it accepted.
    async fn host(&self, store: &mut SshStore<'_>, env: &ClientEnv) -> Result<PinnedHost, Report> {
        let known = KnownHosts::new(store.hosts());
        if let (Some(host), None) = (known.find(&self.destination), self.fingerprint) {
            return Ok(host);
        }
        let offered = scan(&self.destination, PATIENCE, env).await?;
        let host = known.pin(&self.destination, &offered, self.fingerprint, |key| {
            self.ask(key)
        })?;
        if known.find(&self.destination).is_none() {
            store.pin_hosts(vec![host.pin()])?;
            let (host, print) = (
                host.destination().known_hosts_name(),
                host.key().fingerprint(),
            );
            ui::say(&format!(
                "pinned the key {print} of `{}`",
                ui::printable(&host)
            ));
        }
        Ok(host)
    }

    fn ask(&self, key: &HostKey) -> FirstContact {
        let text = format!(
            "`{}` was never met from this wallet. It offers this {} key:\n\n  {}\n\nCompare it with \
             what the host shows on its own console:\n  \
             for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done",
            self.destination,
            key.algorithm(),
            key.fingerprint(),
        );
        let question = Question {
            text: &text,
            question: "is it the same?",
        };
        match question.ask(&|| false) {
            Asking::Yes => FirstContact::Accept,
            Asking::No => FirstContact::Decline,
            Asking::Nobody => FirstContact::Nobody,
        }
    }
}

/// Picks the keys of a login, that on `curve` first.
fn choose(store: &SshStore<'_>, login: &SshIdentity, curve: Curve) -> Vec<SshKey> {
    let mut keys: Vec<_> = store.for_login(login).into_iter().cloned().collect();
    keys.sort_by_key(|key| key.curve() != curve);
    keys
}

fn no_key(login: &SshIdentity) -> Report {
    let login = login.login();
    Report::text(Kind::Failed, format!("there is no key for `{login}`"))
        .with_note("nothing was sent")
        .with_hint(format!(
            "make one: `ssh newkey {login}`, and put it into the host's authorized_keys"
        ))
}
