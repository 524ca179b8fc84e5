//! `ssh hosts`, `ssh unpin`: the host keys that were accepted from this wallet.

use bcm_keystore::ssh::{HostPin, SshStore};
use serde::Serialize;

use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// A host as it is printed.
#[derive(Serialize)]
struct Line {
    host: String,
    algorithm: String,
    fingerprint: String,
}

impl Line {
    fn new(pin: &HostPin) -> Self {
        Self {
            host: pin.host.clone(),
            algorithm: pin.key.algorithm().to_string(),
            fingerprint: pin.fingerprint().to_string(),
        }
    }
}

/// Lists them.
pub fn list(app: &mut App, json: bool) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    let lines = app.runtime().block_on(keeper.with_open(async |open| {
        let store = SshStore::open(open.session.store())?;
        Ok(store.hosts().iter().map(Line::new).collect::<Vec<_>>())
    }))?;
    if json {
        ui::json(&lines)?;
    } else if lines.is_empty() {
        ui::say("no hosts yet: `ssh connect user@host` asks for the first");
    } else {
        let rows = lines
            .into_iter()
            .map(|line| [line.host, line.algorithm, line.fingerprint]);
        ui::out(&ui::table(["host", "algorithm", "fingerprint"], rows))?;
    }
    Ok(0)
}

/// Forgets one, so that its key is compared anew with the next login.
pub fn unpin(app: &mut App, host: &str, json: bool) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    let line = app.runtime().block_on(keeper.with_open(async |open| {
        let mut store = SshStore::open(open.session.store())?;
        let wanted = known_hosts_name(host);
        let pins = store.hosts();
        let pin = pins
            .iter()
            .find(|pin| pin.host == host || pin.host == wanted);
        let Some(line) = pin.map(Line::new) else {
            let report = Report::text(Kind::Failed, format!("no key of `{host}` was accepted"));
            return Err(report.with_hint("`ssh hosts` lists those that were"));
        };
        store.unpin_host(&line.host)?;
        if let Some(agent) = &open.agent {
            agent.refresh(&store);
        }
        Ok(line)
    }))?;
    if json {
        ui::json(&line)?;
    } else {
        ui::say(&format!(
            "forgot the key {} of `{}`; the next login asks for its key again",
            line.fingerprint, line.host
        ));
    }
    Ok(0)
}

/// Writes `HOST:PORT` as `known_hosts` does; anything else is left as it is.
fn known_hosts_name(host: &str) -> String {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, "22")) => name.to_owned(),
        Some((name, port)) if !name.contains([':', '[']) => format!("[{name}]:{port}"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_be_named_as_in_a_login() {
        for (typed, name) in [
            ("node-1", "node-1"),
            ("alice@node-1:22", "node-1"),
            ("node-1:2222", "[node-1]:2222"),
            ("[node-1]:2222", "[node-1]:2222"),
            ("::1", "::1"),
        ] {
            assert_eq!(known_hosts_name(typed), name);
        }
    }
}
