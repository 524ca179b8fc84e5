//! `ssh certify`, `ssh certificate`: one confirmation on the device for all logins of a session.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bcm_keystore::identity::Curve;
use bcm_keystore::ssh::certificate::{DEFAULT_TTL, certify};
use bcm_keystore::ssh::{
    Certified, Certify as Wanted, HostPin, Issued, SessionCertificate, SshIdentity, SshKey,
    SshStore, ca_identity, derive, krl,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use ssh_key::{Certificate, PublicKey};

use super::agent::{RunningAgent, ensure};
use crate::app::App;
use crate::config::ConfirmLogins;
use crate::files::{self, Access, Overwrite};
use crate::report::{Kind, Report};
use crate::session::{Keeper, Open};
use crate::ui;

/// The login name on hosts that bcm prepared.
pub const LOGIN: &str = "bcm";

/// Longest file with a public key.
const MAX_KEY: u64 = 64 << 10;

/// Makes sure that the agent holds a certificate of `cluster`'s CA for logins to `hosts`.
///
/// One confirmation on the device at the first need; none as long as it is good.
pub async fn session_certificate(
    keeper: &Keeper,
    open: &mut Open,
    confirm: ConfirmLogins,
    cluster: &str,
    wanted: &Wanted,
    hosts: &[HostPin],
) -> Result<Arc<Certified>, Report> {
    let now = SystemTime::now();
    let agent = ensure(keeper, open)?;
    let good = |held: &Arc<Certified>| {
        held.cluster() == cluster
            && held.asks() == (confirm == ConfirmLogins::Each)
            && held.covers(&wanted.principals, now)
            && (!wanted.pty || held.certificate().extensions().contains_key("permit-pty"))
    };
    if let Some(held) = agent.certificates().into_iter().find(good) {
        held.allow(hosts);
        return Ok(held);
    }
    make(keeper, open, confirm, cluster, wanted, hosts).await
}

/// Returns the line for the host's `TrustedUserCAKeys`; nothing is confirmed.
pub async fn ca_public_key(open: &Open, cluster: &str) -> Result<String, Report> {
    Ok(super::public_line(&ca(open, cluster).await?))
}

async fn ca(open: &Open, cluster: &str) -> Result<SshKey, Report> {
    let identity = ca_identity(cluster).map_err(|error| usage(&error, cluster))?;
    Ok(derive(open.session.device(), &identity, Curve::Ed25519).await?)
}

fn usage(error: &dyn std::fmt::Display, cluster: &str) -> Report {
    let cluster = ui::printable(cluster);
    Report::usage(format!("`{cluster}` is no name of a cluster: {error}"))
}

async fn make(
    keeper: &Keeper,
    open: &mut Open,
    confirm: ConfirmLogins,
    cluster: &str,
    wanted: &Wanted,
    hosts: &[HostPin],
) -> Result<Arc<Certified>, Report> {
    let ca = ca(open, cluster).await?;
    let device = open.session.device().clone();
    let now = SystemTime::now();
    let certified = match confirm {
        ConfirmLogins::Session => {
            let made = SessionCertificate::make(&device, &ca, wanted, now).await?;
            Certified::session(cluster, made)
        }
        ConfirmLogins::Each => {
            let login = SshIdentity::new(LOGIN, cluster, None);
            let login = login.map_err(|error| usage(&error, cluster))?;
            let key = derive(&device, &login, Curve::Ed25519).await?;
            let public = key.public_key().key_data();
            let certificate = certify(&device, &ca, public, wanted, now).await?;
            Certified::device(cluster, key, certificate)
        }
    };
    note(open, cluster, certified.certificate(), now)?;
    certified.allow(hosts);
    let agent = ensure(keeper, open)?;
    let serial = certified.certificate().serial();
    agent.certify(certified);
    let mut held = agent.certificates().into_iter();
    let held = held.find(|held| held.certificate().serial() == serial);
    Ok(held.expect("it was put there"))
}

/// Writes down what was issued, before anybody uses it.
fn note(
    open: &Open,
    cluster: &str,
    certificate: &Certificate,
    now: SystemTime,
) -> Result<(), Report> {
    let mut store = SshStore::open(open.session.store())?;
    Ok(store.issue(Issued::new(cluster, certificate), seconds(now))?)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// What to certify.
#[derive(Args, Debug)]
pub struct Certify {
    /// The cluster whose CA signs
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// A login name that it is good for; may be given more than once [default: bcm]
    #[arg(long = "principal", value_name = "USER")]
    principals: Vec<String>,
    /// How long it is good, 12h at most [default: 8h]
    #[arg(long, value_name = "TIME", value_parser = time)]
    ttl: Option<Duration>,
    /// Allow a terminal
    #[arg(long)]
    pty: bool,
    /// Certify this public key instead of one of the session, and print the certificate
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Write the certificate to this file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE", requires = "public_key")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

/// Reads `8h`, `30m` or `90s`.
fn time(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time such as 8h, 30m or 90s".to_owned();
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(expected)?;
    let unit = match unit {
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Err(expected()),
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let seconds = number.parse::<u64>().ok().filter(|_| digits);
    let seconds = seconds.and_then(|number| number.checked_mul(unit));
    seconds.map(Duration::from_secs).ok_or_else(expected)
}

impl Certify {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<u8, Report> {
        let confirm = app.config()?.confirm_logins();
        let keeper = app.keeper.clone();
        let wanted = Wanted {
            principals: match self.principals.is_empty() {
                true => vec![LOGIN.to_owned()],
                false => self.principals,
            },
            ttl: self.ttl.unwrap_or(DEFAULT_TTL),
            pty: self.pty,
        };
        let cluster = self.cluster;
        let Some(file) = self.public_key else {
            let line = app.runtime().block_on(keeper.with_open(async |open| {
                let hosts = SshStore::open(open.session.store())?.hosts().to_vec();
                let held =
                    session_certificate(&keeper, open, confirm, &cluster, &wanted, &hosts).await?;
                Ok(Line::new(&Issued::new(&cluster, held.certificate()), true))
            }))?;
            if json {
                return ui::json(&line).map(|()| 0);
            }
            ui::say(&format!(
                "certificate {} is good as {} until {}, or until the session locks",
                line.serial,
                line.principals.join(", "),
                line.expires
            ));
            return Ok(0);
        };
        let overwrite = Overwrite::when(self.force);
        if let Some(output) = &self.output {
            files::check_free(output, overwrite)?;
        }
        let key = read_key(&file)?;
        let certificate = app.runtime().block_on(keeper.with_open(async |open| {
            let ca = ca(open, &cluster).await?;
            let (device, now) = (open.session.device(), SystemTime::now());
            let made = certify(device, &ca, key.key_data(), &wanted, now).await?;
            note(open, &cluster, &made, now)?;
            Ok(made)
        }))?;
        let line = certificate.to_openssh().expect("a certificate encodes");
        match (self.output, json) {
            (Some(output), _) => {
                let bytes = format!("{line}\n");
                files::put(&output, Access::Umask, overwrite, bytes.as_bytes())?;
            }
            (None, true) => ui::json(&Line::new(&Issued::new(&cluster, &certificate), false))?,
            (None, false) => ui::out(&line)?,
        }
        Ok(0)
    }
}

fn read_key(file: &std::path::Path) -> Result<PublicKey, Report> {
    let bytes = files::read_small(file, MAX_KEY)?;
    let key = std::str::from_utf8(&bytes).ok();
    let key = key.and_then(|text| PublicKey::from_openssh(text.trim()).ok());
    key.ok_or_else(|| {
        let name = files::name_of(file);
        Report::text(
            Kind::Failed,
            format!("`{name}` is no public key of OpenSSH"),
        )
        .with_hint("give the file that ends with `.pub`")
    })
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the certificates that were issued and are still good
    #[command(after_help = "Example:\n  bcm ssh certificate list --json")]
    List,
    /// Print the certificates that this session holds
    #[command(
        after_help = "Example:\n  bcm -c 'ssh certify --cluster home; ssh certificate show' | ssh-keygen -L -f -"
    )]
    Show,
    /// Revoke certificates: here at once, on hosts with the list that `krl` writes
    #[command(after_help = "Examples:
  bcm ssh certificate revoke 3f9a02c1d2e4a5b6
  bcm ssh certificate revoke --all --cluster home")]
    Revoke {
        /// Serials, as `list` prints them
        #[arg(value_name = "SERIAL", required_unless_present = "all")]
        serials: Vec<String>,
        /// Every certificate that is still good
        #[arg(long, conflicts_with = "serials")]
        all: bool,
        /// Those of this cluster's CA alone
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// Print the cluster's CA, for `TrustedUserCAKeys` of its hosts
    #[command(
        after_help = "Example:\n  bcm ssh certificate ca --cluster home > /etc/ssh/bcm_ca.pub"
    )]
    Ca {
        /// The cluster
        #[arg(long, value_name = "NAME")]
        cluster: String,
    },
    /// Write the list of what is revoked, for `RevokedKeys` of the cluster's hosts
    #[command(after_help = "Example:\n  bcm ssh certificate krl --cluster home --output bcm.krl")]
    Krl {
        /// The cluster
        #[arg(long, value_name = "NAME")]
        cluster: String,
        /// The file
        #[arg(long, short = 'o', value_name = "FILE")]
        output: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
}

/// A certificate as it is printed.
#[derive(Debug, Serialize)]
struct Line {
    serial: String,
    cluster: String,
    principals: Vec<String>,
    expires: String,
    revoked: bool,
    /// This session holds its key.
    held: bool,
}

impl Line {
    fn new(issued: &Issued, held: bool) -> Self {
        let expires = i64::try_from(issued.expires).ok();
        let expires = expires.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        Self {
            serial: issued.serial.clone(),
            cluster: issued.cluster.clone(),
            principals: issued.principals.clone(),
            expires: expires.map_or_else(|| "never".into(), |time| time.to_string()),
            revoked: issued.revoked,
            held,
        }
    }

    fn row(self) -> [String; 5] {
        let state = match (self.revoked, self.held) {
            (true, _) => "revoked",
            (false, true) => "in this session",
            (false, false) => "issued",
        };
        let names = self.principals.join(" ");
        [self.serial, self.cluster, names, self.expires, state.into()]
    }
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<u8, Report> {
        match self {
            Self::List => list(app, json),
            Self::Show => show(app, json),
            Self::Revoke {
                serials, cluster, ..
            } => revoke(app, &serials, cluster.as_deref(), json),
            Self::Ca { cluster } => {
                let keeper = app.keeper.clone();
                let ca = keeper.with_open(async |open| ca_public_key(open, &cluster).await);
                let line = app.runtime().block_on(ca)?;
                match json {
                    true => ui::json(&serde_json::json!({ "cluster": cluster, "ca": line }))?,
                    false => ui::out(&line)?,
                }
                Ok(0)
            }
            Self::Krl {
                cluster,
                output,
                force,
            } => write_krl(app, &cluster, &output, Overwrite::when(force)),
        }
    }
}

fn list(app: &mut App, json: bool) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    let lines = app.runtime().block_on(keeper.with_open(async |open| {
        let store = SshStore::open(open.session.store())?;
        let held = held(open.agent.as_ref());
        let now = seconds(SystemTime::now());
        let good = store.issued().iter().filter(|issued| issued.expires > now);
        let lines = good.map(|issued| Line::new(issued, held.contains(&issued.serial)));
        Ok(lines.collect::<Vec<_>>())
    }))?;
    if json {
        ui::json(&lines)?;
    } else if lines.is_empty() {
        ui::say("no certificates: `ssh certify --cluster NAME` makes one");
    } else {
        let header = ["serial", "cluster", "login names", "good until", "state"];
        ui::out(&ui::table(header, lines.into_iter().map(Line::row)))?;
    }
    Ok(0)
}

fn held(agent: Option<&RunningAgent>) -> Vec<String> {
    let held = agent.map(RunningAgent::certificates).unwrap_or_default();
    let serial = |held: &Arc<Certified>| format!("{:016x}", held.certificate().serial());
    held.iter().map(serial).collect()
}

fn show(app: &mut App, json: bool) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    let lines = app.runtime().block_on(keeper.with_open(async |open| {
        let held = open.agent.as_ref().map(RunningAgent::certificates);
        let held = held.unwrap_or_default();
        let line = |held: &Arc<Certified>| held.certificate().to_openssh();
        let lines = held.iter().map(line).collect::<Result<Vec<_>, _>>();
        Ok(lines.expect("a certificate encodes"))
    }))?;
    if json {
        return ui::json(&lines).map(|()| 0);
    }
    if lines.is_empty() {
        ui::say("this session holds no certificate: `ssh certify --cluster NAME` makes one");
        return Ok(0);
    }
    ui::out(&lines.join("\n")).map(|()| 0)
}

fn revoke(
    app: &mut App,
    serials: &[String],
    cluster: Option<&str>,
    json: bool,
) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    let lines = app.runtime().block_on(keeper.with_open(async |open| {
        let mut store = SshStore::open(open.session.store())?;
        let of_cluster = |issued: &Issued| cluster.is_none_or(|name| issued.cluster == name);
        let known = |serial: &&String| {
            let mut issued = store.issued().iter();
            issued.any(|issued| issued.serial == **serial && of_cluster(issued))
        };
        if let Some(unknown) = serials.iter().find(|serial| !known(serial)) {
            let unknown = ui::printable(unknown);
            let what = format!("no certificate `{unknown}` was issued that is still good");
            return Err(Report::text(Kind::Failed, what)
                .with_note("nothing was revoked")
                .with_hint("list them with `ssh certificate list`"));
        }
        let all = serials.is_empty();
        let revoked = store
            .revoke(|issued| of_cluster(issued) && (all || serials.contains(&issued.serial)))?;
        if let Some(agent) = &open.agent {
            agent.drop_certificates(|held| {
                let serial = Some(held.certificate().serial());
                revoked.iter().any(|issued| issued.number() == serial)
            });
        }
        let lines = revoked.iter().map(|issued| Line::new(issued, false));
        Ok(lines.collect::<Vec<_>>())
    }))?;
    if json {
        return ui::json(&lines).map(|()| 0);
    }
    for Line { serial, .. } in &lines {
        ui::say(&format!("revoked {serial}"));
    }
    ui::say("hosts refuse it once they have the new list: `ssh certificate krl`");
    Ok(0)
}

/// Returns the list of what is revoked of a cluster's CA, for the hosts' `RevokedKeys`; nothing is confirmed.
pub async fn revocation_list(open: &Open, cluster: &str) -> Result<Vec<u8>, Report> {
    let ca = ca(open, cluster).await?;
    let store = SshStore::open(open.session.store())?;
    let ca = ca.public_key().key_data();
    let revoked = store.issued().iter().filter(|issued| issued.revoked);
    let serials: Vec<_> = revoked
        .filter(|issued| issued.ca.key_data() == ca)
        .filter_map(Issued::number)
        .collect();
    Ok(krl(ca, &serials, seconds(SystemTime::now()), cluster))
}

fn write_krl(
    app: &mut App,
    cluster: &str,
    output: &std::path::Path,
    overwrite: Overwrite,
) -> Result<u8, Report> {
    files::check_free(output, overwrite)?;
    let keeper = app.keeper.clone();
    let list = keeper.with_open(async |open| revocation_list(open, cluster).await);
    let list = app.runtime().block_on(list)?;
    files::put(output, Access::Umask, overwrite, &list)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("8h"), Ok(Duration::from_secs(8 * 3600)));
        assert_eq!(time("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        for wrong in [
            "",
            "8",
            "h",
            "-1h",
            "+1h",
            "1.5h",
            "8ů",
            "99999999999999999999h",
        ] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
