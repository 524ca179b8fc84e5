//! `ssh`: keys that stay on the device, and logging in with them.

mod agent;
pub mod certificate;
mod connect;
mod hosts;

use bcm_cluster::{Destination, HostKeyFingerprint};
use bcm_keystore::ssh::{SshIdentity, SshKey, SshStore, SshStoreError, derive};
use clap::Subcommand;
use serde::Serialize;

use crate::app::App;
use crate::config::Curve;
use crate::report::Report;
use crate::ui;

pub use agent::{RunningAgent, ensure as ensure_agent, exit_code, run_child};
pub use certificate::session_certificate;
pub use connect::{ClientVia, Meeting, meet};

/// What to do with SSH keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key for a login and print its public line, for `authorized_keys`
    #[command(after_help = "Example:\n  bcm ssh newkey alice@node-1 >> authorized_keys")]
    Newkey {
        /// The login that the key is for
        #[arg(value_name = "USER@HOST[:PORT]")]
        login: SshIdentity,
        /// ed25519, or nist256p1 for servers that refuse it [default: ed25519]
        #[arg(long, hide_possible_values = true)]
        curve: Option<Curve>,
    },
    /// List the keys of this wallet
    #[command(after_help = "Example:\n  bcm ssh list --json")]
    List,
    /// Print the public line of a key
    #[command(after_help = "Example:\n  bcm ssh show alice@node-1")]
    Show {
        /// Login, fingerprint or comment
        #[arg(value_name = "KEY")]
        name: String,
    },
    /// Forget a key; the device can make it again
    #[command(after_help = "Example:\n  bcm ssh remove alice@node-1")]
    Remove {
        /// Login, fingerprint or comment
        #[arg(value_name = "KEY")]
        name: String,
    },
    /// Offer the keys of this wallet to other programs
    #[command(after_help = "Examples:
  bcm ssh agent -- git push
  bcm ssh agent                print SSH_AUTH_SOCK and serve until a signal")]
    Agent {
        /// Run this with the agent, and end with it
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Have the device certify a key for logins: of this session, or of a file
    #[command(after_help = "Examples:
  bcm -c 'ssh certify --cluster home; ssh connect bcm@node-1; ssh connect bcm@node-2'
  bcm ssh certify --cluster home --public-key laptop.pub --output laptop-cert.pub

One confirmation serves every login of the session to the hosts of `ssh hosts` that trust the cluster's
CA. The key lives in locked memory until the session locks. `config set ssh.confirm=each` has the device
confirm each login instead.")]
    Certify(certificate::Certify),
    /// Look at certificates, revoke them, and print what hosts need
    #[command(
        subcommand,
        after_help = "Example:\n  bcm ssh certificate ca --cluster home"
    )]
    Certificate(certificate::Command),
    /// List the hosts whose keys were accepted from this wallet
    #[command(after_help = "Example:\n  bcm ssh hosts --json")]
    Hosts,
    /// Forget the accepted key of a host, such as one that was reinstalled
    #[command(after_help = "Example:\n  bcm ssh unpin node-1:2222")]
    Unpin {
        /// As `ssh hosts` prints it, or HOST[:PORT]
        host: String,
    },
    /// Log in to a host with a key of this wallet
    #[command(after_help = "Examples:
  bcm ssh connect alice@node-1
  bcm ssh connect alice@node-1 --fingerprint SHA256:… -- uptime
  bcm ssh connect alice@node-1 -- sh -c 'df -h | tail -1'

Each word after `--` reaches the program on the host as it was typed; what is meant for a shell goes
to `sh -c`. The exit code is that of what ran there, whatever it means here.")]
    Connect {
        /// The login
        #[arg(value_name = "USER@HOST[:PORT]")]
        login: Destination,
        /// The fingerprint that the host key has to have
        #[arg(long, value_name = "SHA256:…")]
        fingerprint: Option<HostKeyFingerprint>,
        /// Run this on the host instead of a shell
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

impl Command {
    /// Runs it and returns the exit code of what it ran.
    pub fn run(self, app: &mut App, json: bool) -> Result<u8, Report> {
        match self {
            Self::Newkey { login, curve } => newkey(app, &login, curve, json),
            Self::List => list(app, json),
            Self::Show { name } => show(app, &name, json),
            Self::Remove { name } => remove(app, &name, json),
            Self::Agent { command } => agent::run(app, &command, json),
            Self::Certify(certify) => certify.run(app, json),
            Self::Certificate(command) => command.run(app, json),
            Self::Hosts => hosts::list(app, json),
            Self::Unpin { host } => hosts::unpin(app, &host, json),
            Self::Connect {
                login: destination,
                fingerprint,
                command,
            } => connect::Login {
                destination,
                fingerprint,
                command,
            }
            .run(app),
        }
    }
}

/// A key as it is printed.
#[derive(Serialize)]
struct Line {
    login: String,
    curve: String,
    fingerprint: String,
    public_key: String,
}

impl Line {
    fn new(key: &SshKey) -> Self {
        Self {
            login: key.identity().login(),
            curve: key.curve().to_string(),
            fingerprint: key.fingerprint().to_string(),
            public_key: public_line(key),
        }
    }

    fn print(&self, json: bool) -> Result<(), Report> {
        if json {
            ui::json(self)
        } else {
            ui::out(&self.public_key)
        }
    }
}

/// The line for `authorized_keys`, as trezor-agent prints it.
fn public_line(key: &SshKey) -> String {
    key.public_key()
        .to_openssh()
        .expect("a public key always encodes")
}

fn newkey(
    app: &mut App,
    login: &SshIdentity,
    curve: Option<Curve>,
    json: bool,
) -> Result<u8, Report> {
    let configured = app.config()?.curve();
    let curve = curve.unwrap_or(configured).into();
    let keeper = app.keeper.clone();
    let line = app.runtime().block_on(keeper.with_open(async |open| {
        let key = derive(open.session.device(), login, curve).await?;
        let mut store = SshStore::open(open.session.store())?;
        match store.add(key.clone()) {
            Ok(()) => {}
            Err(SshStoreError::Duplicate(name)) => ui::say(&format!("`{name}` is stored already")),
            Err(error) => return Err(error.into()),
        }
        if let Some(agent) = &open.agent {
            agent.refresh(&store);
        }
        Ok(Line::new(&key))
    }))?;
    line.print(json).map(|()| 0)
}

fn list(app: &mut App, json: bool) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    let lines = app.runtime().block_on(keeper.with_open(async |open| {
        let store = SshStore::open(open.session.store())?;
        Ok(store.keys().iter().map(Line::new).collect::<Vec<_>>())
    }))?;
    if json {
        ui::json(&lines)?;
    } else if lines.is_empty() {
        ui::say("no SSH keys yet: make one with `ssh newkey user@host`");
    } else {
        let rows = lines
            .into_iter()
            .map(|line| [line.login, line.curve, line.fingerprint]);
        ui::out(&ui::table(["login", "curve", "fingerprint"], rows))?;
    }
    Ok(0)
}

fn show(app: &mut App, name: &str, json: bool) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    let line = app.runtime().block_on(keeper.with_open(async |open| {
        let store = SshStore::open(open.session.store())?;
        Ok(Line::new(store.find(name)?))
    }))?;
    line.print(json).map(|()| 0)
}

fn remove(app: &mut App, name: &str, json: bool) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    let line = app.runtime().block_on(keeper.with_open(async |open| {
        let mut store = SshStore::open(open.session.store())?;
        let key = store.remove(name)?;
        if let Some(agent) = &open.agent {
            agent.refresh(&store);
        }
        Ok(Line::new(&key))
    }))?;
    if json {
        ui::json(&line)?;
    } else {
        let Line { login, curve, .. } = line;
        ui::say(&format!(
            "forgot the {curve} key of `{login}`; `ssh newkey {login}` makes it again"
        ));
    }
    Ok(0)
}
