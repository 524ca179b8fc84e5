//! `ssh connect`: the system's `ssh`, a key of the wallet, and a host whose key was accepted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bcm_cluster::{
    ClientEnv, ClientSettings, Connection, ConnectionError, Destination, FirstContact, HostKey,
    HostKeyError, HostKeyFingerprint, HostKind, KnownHosts, LoginKey, OnionProxy, PinnedHost,
    RemoteCommand, scan,
};
use bcm_keystore::identity::Curve;
use bcm_keystore::ssh::{Certified, SshIdentity, SshKey, SshStore};

use super::agent::{RunningAgent, ensure, exit_code};
use crate::app::App;
use crate::report::{Kind, Report};
use crate::session::{Keeper, Open};
use crate::ui::{self, Asking, Question};

/// How long a host may take to show its key.
const PATIENCE: Duration = Duration::from_secs(15);

/// The same through Tor.
const PATIENCE_ONION: Duration = Duration::from_secs(60);

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
        let via = ClientVia::new(app)?;
        let keeper = app.keeper.clone();
        app.runtime()
            .block_on(keeper.with_open(async |open| self.log_in(&keeper, open, curve, via).await))
    }

    async fn log_in(
        &self,
        keeper: &Keeper,
        open: &mut Open,
        curve: Curve,
        via: ClientVia,
    ) -> Result<u8, Report> {
        let command = match self.command.as_slice() {
            [] => None,
            words => Some(RemoteCommand::new(words)?),
        };
        let wallet = open.session.store().clone();
        let mut store = SshStore::open(&wallet)?;
        let keys = choose(&store, self.destination.identity(), curve);
        let agent = ensure(keeper, open)?;
        let certificate = certificate_for(agent, &self.destination);
        if keys.is_empty() && certificate.is_none() {
            return Err(no_key(self.destination.identity()));
        }
        let settings = via.settings(keeper, agent)?;
        let meeting = Meeting {
            destination: &self.destination,
            fingerprint: self.fingerprint,
            again: &format!("ssh connect {}", self.destination),
        };
        let host = meet(&mut store, &meeting, &settings).await?;
        agent.refresh(&store);
        let mut offered = Vec::new();
        if let Some(certificate) = certificate {
            // whoever types this login wants it, and accepted the host's key
            certificate.allow(&[host.pin()]);
            offered.push(LoginKey::certificate(certificate.certificate()));
        }
        offered.extend(keys.iter().map(LoginKey::from));
        let mut connection = Connection::new(host, &offered, &settings)?;
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
}

/// What this program gives every `ssh` that it runs, as far as no session is needed for it.
#[derive(Debug)]
pub struct ClientVia {
    env: ClientEnv,
    onion: OnionProxy,
}

impl ClientVia {
    /// Reads it from the environment and the configuration.
    pub fn new(app: &App) -> Result<Self, Report> {
        let program = crate::env::this_program().map_err(|error| {
            Report::text(
                Kind::Failed,
                format!("cannot find this program on disk: {error}"),
            )
        })?;
        Ok(Self {
            env: ClientEnv::pick(crate::env::variables()),
            onion: OnionProxy {
                program,
                socks: app.config()?.tor_socks(),
            },
        })
    }

    /// Joins it to what the session has.
    pub fn settings(
        &self,
        keeper: &Keeper,
        agent: &RunningAgent,
    ) -> Result<ClientSettings, Report> {
        Ok(ClientSettings {
            folder: keeper.runtime_folder()?,
            agent: agent.socket().to_owned(),
            env: self.env.clone(),
            onion: Some(self.onion.clone()),
        })
    }
}

/// The first contact with a host, or with one that was reinstalled.
#[derive(Debug)]
pub struct Meeting<'a> {
    /// Who logs in where.
    pub destination: &'a Destination,
    /// The host key that is accepted without asking.
    pub fingerprint: Option<HostKeyFingerprint>,
    /// The command that is run again with `--fingerprint`, where nobody is there to ask.
    pub again: &'a str,
}

impl Meeting<'_> {
    /// Has the key of the host accepted, whatever was accepted before.
    pub async fn anew(&self, settings: &ClientSettings) -> Result<PinnedHost, Report> {
        let offered = self.scan(settings).await?;
        self.pin(&KnownHosts::default(), &offered)
    }

    async fn scan(&self, settings: &ClientSettings) -> Result<Vec<HostKey>, Report> {
        let patience = match self.destination.kind() {
            HostKind::Onion => PATIENCE_ONION,
            HostKind::Name | HostKind::Address(_) => PATIENCE,
        };
        Ok(scan(self.destination, patience, settings).await?)
    }

    fn pin(&self, known: &KnownHosts, offered: &[HostKey]) -> Result<PinnedHost, Report> {
        let Self { destination, .. } = self;
        let pinned = known.pin(destination, offered, self.fingerprint, |key| {
            ask(destination, key)
        });
        pinned.map_err(|error| {
            let hint = match &error {
                HostKeyError::Unknown { offered, .. } => Some(format!(
                    "compare it with the host's own console, then run `{} --fingerprint {offered}`",
                    self.again
                )),
                _ => None,
            };
            Report::from(error).hinting(hint)
        })
    }
}

/// Finds the accepted key of a host, or has the one that it offers accepted and writes it down.
pub async fn meet(
    store: &mut SshStore<'_>,
    meeting: &Meeting<'_>,
    settings: &ClientSettings,
) -> Result<PinnedHost, Report> {
    let known = KnownHosts::new(store.hosts());
    let before = known.find(meeting.destination);
    if let (Some(host), None) = (&before, meeting.fingerprint) {
        return Ok(host.clone());
    }
    let offered = meeting.scan(settings).await?;
    let host = meeting.pin(&known, &offered)?;
    if before.is_none() {
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

fn ask(destination: &Destination, key: &HostKey) -> FirstContact {
    let text = format!(
        "`{}` was never met from this wallet. It offers this {} key:\n\n  {}\n\nCompare it with \
         what the host shows on its own console:\n  \
         for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done",
        destination,
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

/// Finds a certificate of this session that is good for a login.
pub fn certificate_for(agent: &RunningAgent, login: &Destination) -> Option<Arc<Certified>> {
    let (user, now) = ([login.user().to_owned()], SystemTime::now());
    let mut held = agent.certificates().into_iter();
    held.find(|held| held.covers(&user, now))
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
