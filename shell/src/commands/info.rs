//! `info`: everything about this session on one page.

use std::path::PathBuf;

use bcm_keystore::pgp::PgpStore;
use bcm_keystore::ssh::SshStore;
use bcm_keystore::{Chain, DeviceInfo};
use serde::Serialize;

use crate::app::App;
use crate::report::Report;
use crate::session::Open;
use crate::ui::{self, Style};

#[derive(Serialize)]
struct Info {
    version: &'static str,
    simulated: bool,
    chain: Chain,
    cluster: Option<String>,
    device: DeviceInfo,
    wallet: Wallet,
    stores: Stores,
    paths: Paths,
}

#[derive(Serialize)]
struct Wallet {
    id: String,
    fingerprint: String,
    seen_before: bool,
}

/// How much is in each store of the wallet.
#[derive(Serialize)]
struct Stores {
    certificates: usize,
    passwords: usize,
    ssh_keys: usize,
    ssh_hosts: usize,
    wallets: usize,
}

#[derive(Serialize)]
struct Paths {
    config: PathBuf,
    data: PathBuf,
    wallet: PathBuf,
    agent: Option<PathBuf>,
    session: Option<PathBuf>,
}

/// Prints it.
pub fn run(app: &mut App, json: bool) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let paths = app.paths.clone();
    let config = app.config()?;
    let info = app.runtime().block_on(keeper.with_open(async |open| {
        let passwords = super::password::store(&config, open).count()?;
        Info::new(open, paths, keeper.socket(), passwords)
    }))?;
    if json {
        ui::json(&info)
    } else {
        ui::out(&info.page())
    }
}

impl Info {
    fn new(
        open: &Open,
        paths: crate::env::Paths,
        socket: Option<PathBuf>,
        passwords: usize,
    ) -> Result<Self, Report> {
        let session = &open.session;
        let ssh = SshStore::open(session.store())?;
        let pgp = PgpStore::open(session.store())?;
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            simulated: session.info().simulated,
            chain: open.chain,
            cluster: None,
            device: session.info().clone(),
            wallet: Wallet {
                id: session.wallet().to_string(),
                fingerprint: session.fingerprint().to_string(),
                seen_before: session.seen_before(),
            },
            stores: Stores {
                certificates: pgp.entries().count(),
                passwords,
                ssh_keys: ssh.keys().len(),
                ssh_hosts: ssh.hosts().len(),
                wallets: 0,
            },
            paths: Paths {
                config: paths.home.config,
                data: paths.home.data,
                wallet: session.store().path().to_owned(),
                agent: open.agent.as_ref().map(|agent| agent.socket().to_owned()),
                session: socket,
            },
        })
    }

    fn page(&self) -> String {
        let row = |name: &str, value: String| [name.to_owned(), value];
        let device = &self.device;
        let path = |path: &PathBuf| path.display().to_string();
        let seen = if self.wallet.seen_before {
            "known"
        } else {
            "new"
        };
        let rows = [
            row(
                "device",
                format!(
                    "{}, Trezor {} with firmware {} at {}",
                    device.name(),
                    device.model,
                    device.version,
                    device.transport
                ),
            ),
            row(
                "wallet",
                format!(
                    "{}, {seen} to this computer, root fingerprint {}",
                    self.wallet.id, self.wallet.fingerprint
                ),
            ),
            row("chain", self.chain.to_string()),
            row("cluster", self.cluster.clone().unwrap_or("none".into())),
            row(
                "certificate store",
                count(self.stores.certificates, "certificate"),
            ),
            row("password store", count(self.stores.passwords, "password")),
            row(
                "ssh store",
                format!(
                    "{} for logins, {} of hosts",
                    count(self.stores.ssh_keys, "key"),
                    count(self.stores.ssh_hosts, "pinned key")
                ),
            ),
            row("wallet store", count(self.stores.wallets, "descriptor")),
            row(
                "ssh agent",
                self.paths.agent.as_ref().map_or("none".into(), path),
            ),
            row(
                "session socket",
                self.paths.session.as_ref().map_or("none".into(), path),
            ),
            row("configuration", path(&self.paths.config)),
            row("data", path(&self.paths.data)),
            row("this wallet's data", path(&self.paths.wallet)),
            row("bcm", self.version.into()),
        ];
        let table = ui::table(["", ""], rows);
        if self.simulated {
            let mark = ui::paint_stdout(Style::Error, "SIMULATED");
            return format!(
                "{mark}: this device protects nothing; use it to try and to test\n{table}"
            );
        }
        table
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
