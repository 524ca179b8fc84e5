//! What a machine says of itself, read from one command.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Problem, SKEW};
use crate::command::RemoteCommand;
use crate::docker::engine::shown;
use crate::remote::{Remote, RemoteError};

/// Most bytes of an answer that are kept; a real one is some 2 kB.
const CAP: usize = 64 << 10;

/// Below this part of a disk little works for long.
const DISK_FLOOR: f64 = 0.05;

/// The time first: what follows takes a while.
const SCRIPT: &str = "LC_ALL=C; export LC_ALL; date +%s.%N; uname -r; cat /proc/loadavg; \
     grep -c ^processor /proc/cpuinfo; grep -E '^(MemTotal|MemAvailable):' /proc/meminfo; \
     df -Pk / /var/lib/docker 2>/dev/null; true";

/// How a machine is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Its kernel.
    pub kernel: String,
    /// Processors.
    pub cpus: u32,
    /// The load of the last 1, 5 and 15 minutes.
    pub load: [f32; 3],
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of it that a program could get.
    pub memory_available: u64,
    /// The file systems of `/` and of the engine's data.
    pub disks: Vec<Disk>,
    /// Seconds that its clock is ahead of ours; within half a round trip it is 0.
    pub clock_skew: f64,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Its bytes.
    pub size: u64,
    /// Those that are free.
    pub available: u64,
}

impl Machine {
    /// Lists what is wrong.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.clock_skew.abs() > SKEW.as_secs_f64() {
            problems.push(Problem {
                what: format!("its clock is off by {:+.0} s", self.clock_skew),
                hint: Some("on the host: `timedatectl set-ntp true`".into()),
            });
        }
        for disk in &self.disks {
            #[expect(clippy::cast_precision_loss, reason = "a fraction of a disk")]
            let free = disk.available as f64 / disk.size.max(1) as f64;
            if free < DISK_FLOOR {
                problems.push(Problem {
                    what: format!(
                        "its disk `{}` is full: {:.0} % free",
                        disk.mount,
                        free * 100.0
                    ),
                    hint: Some("on the host: `docker system df`, `du -xh --max-depth=2 /`".into()),
                });
            }
        }
        problems
    }
}

/// Asks a machine; `None` where the answer cannot be read.
pub(super) async fn ask(
    remote: &Remote,
    now: fn() -> SystemTime,
) -> Result<Option<Machine>, RemoteError> {
    let command = RemoteCommand::new(&["sh", "-c", SCRIPT]).expect("words without zero bytes");
    let before = now();
    let output = remote.run_capped(&command, &[], CAP).await?;
    Ok(read(
        &String::from_utf8_lossy(&output.stdout),
        before,
        now(),
    ))
}

fn read(text: &str, before: SystemTime, after: SystemTime) -> Option<Machine> {
    let mut lines = text.lines();
    let time: f64 = lines.next()?.parse().ok()?;
    let kernel = shown(lines.next()?);
    let mut load = lines.next()?.split(' ').map(str::parse);
    let mut next_load = || load.next()?.ok();
    let load = [next_load()?, next_load()?, next_load()?];
    let cpus = lines.next()?.parse().ok()?;
    let mut memory = |name: &str| -> Option<u64> {
        let line = lines.next()?.strip_prefix(name)?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        kilobytes.checked_mul(1024)
    };
    let total = memory("MemTotal:")?;
    let available = memory("MemAvailable:")?;
    let mut disks: Vec<_> = lines.filter_map(disk).collect();
    disks.dedup();
    Some(Machine {
        kernel,
        cpus,
        load,
        memory: total,
        memory_available: available,
        disks,
        clock_skew: skew(time, before, after),
    })
}

/// Reads a line of `df -Pk`: device, blocks, used, available, per cent, mount.
fn disk(line: &str) -> Option<Disk> {
    let mut words = line.split_whitespace();
    let (_, size) = (words.next()?, words.next()?.parse::<u64>().ok()?);
    let (_, available) = (words.next()?, words.next()?.parse::<u64>().ok()?);
    words.next()?;
    Some(Disk {
        mount: shown(&words.collect::<Vec<_>>().join(" ")),
        size: size.checked_mul(1024)?,
        available: available.checked_mul(1024)?,
    })
}

/// The host looked at its clock at some time between `before` and `after`.
fn skew(time: f64, before: SystemTime, after: SystemTime) -> f64 {
    let seconds = |at: SystemTime| {
        at.duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs_f64()
    };
    let (before, after) = (seconds(before), seconds(after));
    if time < before {
        time - before
    } else if time > after {
        time - after
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
1790000010.250000000
6.1.0-28-amd64
0.52 0.41 0.30 1/204 9
4
MemTotal:       16303240 kB
MemAvailable:   12017048 kB
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/vda1         100000000 96000000   4000000      97% /
/dev/vda1         100000000 96000000   4000000      97% /
";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_machine_is_read_and_what_is_wrong_with_it_told() {
        let machine = read(ANSWER, at(1_790_000_010), at(1_790_000_011)).unwrap();
        assert_eq!(machine.kernel, "6.1.0-28-amd64");
        assert_eq!((machine.cpus, machine.load), (4, [0.52, 0.41, 0.30]));
        assert_eq!(machine.memory, 16_303_240 * 1024);
        assert_eq!(machine.disks.len(), 1);
        assert!(machine.clock_skew.abs() < f64::EPSILON);
        let problems = machine.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].what, "its disk `/` is full: 4 % free");

        let late = read(ANSWER, at(1_790_000_610), at(1_790_000_611)).unwrap();
        assert_eq!(late.problems()[0].what, "its clock is off by -600 s");
        let early = read(ANSWER, at(1_789_999_000), at(1_789_999_001)).unwrap();
        assert_eq!(early.problems()[0].what, "its clock is off by +1009 s");
    }

    #[test]
    fn what_no_machine_says_is_not_believed() {
        let lines: Vec<_> = ANSWER.lines().collect();
        for end in 0..6 {
            assert_eq!(read(&lines[..end].join("\n"), at(0), at(1)), None, "{end}");
        }
        let huge = ANSWER.replace("16303240", "99999999999999999999");
        assert_eq!(read(&huge, at(0), at(1)), None);
        let escape = ANSWER.replace("6.1.0", "\u{1b}[2J6.1.0");
        assert_eq!(
            read(&escape, at(0), at(1)).unwrap().kernel,
            "6.1.0-28-amd64"
        );
    }
}
