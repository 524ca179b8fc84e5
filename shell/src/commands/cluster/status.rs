//! `cluster status`: how the hosts are.

use std::time::SystemTime;

use bcm_cluster::status::{HostStatus, status};

use super::reach::with_cluster;
use crate::app::App;
use crate::commands::ssh::ensure_agent;
use crate::report::{Kind, Report};
use crate::ui::{self, Style};

/// Asks all hosts at once, and fails if something is wrong with one.
pub fn run(app: &mut App, json: bool) -> Result<(), Report> {
    let hosts = with_cluster(app, async |cluster| {
        let remotes = cluster.all().await?;
        let hush = ensure_agent(cluster.keeper, cluster.open)?.hush();
        let hosts = status(&remotes, SystemTime::now).await;
        drop(hush);
        Ok(hosts)
    })?;
    if json {
        ui::json(&hosts)?;
    } else {
        let header = [
            "host",
            "role",
            "engine",
            "kernel",
            "load",
            "memory free",
            "disk free",
            "running",
        ];
        ui::out(&ui::table(header, hosts.iter().map(row)))?;
        for host in &hosts {
            for problem in &host.problems {
                let what = ui::printable(&problem.what);
                let name = ui::paint_stderr(Style::Attention, &host.host);
                ui::say(&format!("{name}: {what}"));
                if let Some(hint) = &problem.hint {
                    ui::say(&format!("  {}", ui::printable(hint)));
                }
            }
        }
    }
    let ill = hosts.iter().filter(|host| !host.problems.is_empty());
    let ill: Vec<_> = ill.map(|host| host.host.as_str()).collect();
    if ill.is_empty() {
        return Ok(());
    }
    let what = format!(
        "{} of {} hosts need a look: {}",
        ill.len(),
        hosts.len(),
        ill.join(", ")
    );
    Err(Report::text(Kind::Failed, what))
}

fn row(host: &HostStatus) -> [String; 8] {
    let none = || "-".to_owned();
    let machine = host.machine.as_ref();
    let engine = host.engine.as_ref();
    [
        host.host.clone(),
        host.swarm.as_ref().map_or_else(none, |swarm| {
            let mut words = vec![swarm.role.clone()];
            if swarm.leader {
                words.push("leader".into());
            }
            if !swarm.ready {
                words.push("down".into());
            } else if swarm.availability != "active" {
                words.push(swarm.availability.clone());
            }
            words.join(", ")
        }),
        engine.map_or_else(none, |engine| engine.version.clone()),
        machine.map_or_else(none, |machine| machine.kernel.clone()),
        machine.map_or_else(none, |machine| {
            format!("{:.1} of {}", machine.load[0], machine.cpus)
        }),
        machine.map_or_else(none, |machine| {
            free(machine.memory_available, machine.memory)
        }),
        machine.map_or_else(none, |machine| {
            let disks = machine.disks.iter();
            let least = disks.min_by_key(|disk| disk.available);
            least.map_or_else(none, |disk| free(disk.available, disk.size))
        }),
        engine.map_or_else(none, |engine| engine.running.to_string()),
    ]
}

fn free(available: u64, size: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    format!("{:.1} of {:.1} GiB", gib(available), gib(size))
}
