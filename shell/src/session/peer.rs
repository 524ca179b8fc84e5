//! Which program is at the other end of the session socket, for the words on the terminal.

use std::fmt;
use std::fs;

/// A program, as far as the kernel tells: its name is its own choice and proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The process that connected.
    pid: Option<i32>,
    /// Its name.
    name: Option<String>,
    /// Who started it, where it is but a helper.
    parent: Option<String>,
}

impl Peer {
    /// Looks a process up.
    pub fn of(pid: Option<i32>) -> Self {
        let name = pid.and_then(name);
        let helper = name
            .as_deref()
            .is_some_and(|name| name == "bcm" || name.starts_with("age-plugin-"));
        let parent = pid.filter(|_| helper).and_then(parent).and_then(self::name);
        Self { pid, name, parent }
    }
}

impl fmt::Display for Peer {
    /// Writes `age-plugin-trezo of age (process 4242)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("a program"))?;
        if let Some(parent) = &self.parent {
            write!(f, " of {parent}")?;
        }
        match self.pid {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}

/// Reads the name that the kernel keeps, at most 15 bytes.
fn name(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let name = name.trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Reads who started a process: the fourth field of
/// [`/proc/PID/stat`](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html), after the name,
/// which may hold anything.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_with_who_started_it() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(
            Peer::of(Some(own))
                .to_string()
                .ends_with(&format!("(process {own})"))
        );
        assert!(parent(own).is_some());
        let peer = Peer {
            pid: Some(7),
            name: Some("age-plugin-trez".into()),
            parent: Some("age".into()),
        };
        assert_eq!(peer.to_string(), "age-plugin-trez of age (process 7)");
        assert_eq!(Peer::of(None).to_string(), "a program");
        assert_eq!(Peer::of(Some(-1)).to_string(), "a program (process -1)");
    }
}
