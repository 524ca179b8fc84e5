//! A root file system out of Debian's signed packages, as a tar.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::error::BuildError;
use super::{Build, BuildEnv};

/// How often a running program is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// How long a program may take to clean up when it is ended.
const CLEAN_UP: u32 = 60;

/// The file in which the time of the snapshot is left.
pub(super) const EPOCH: &str = "var/lib/dpkg/bcm-epoch";

/// Writes down which packages were unpacked, which `dpkg` does only when it installs them, and of when the
/// lists of packages are.
const HOOK: &str = r#"set -e
for deb in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb --field "$deb" | sed 's/^Package: .*/&\nStatus: install ok installed/'
    echo
done >"$1"/var/lib/dpkg/status
sed -n 's/^Date: //p' "$1"/var/lib/apt/lists/*Release |
    while read -r date; do date -u -d "$date" +%s; done |
    sort -n | tail -n 1 >"$1"/var/lib/dpkg/bcm-epoch"#;

/// Where packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The suite: `bookworm`, `sid`.
    pub suite: String,
    /// Addresses, lines or files of sources as `mmdebstrap` takes them; without one, its own choice for the suite.
    pub mirrors: Vec<String>,
    /// They are a snapshot: their lists may be past the date until which they are good.
    pub snapshot: bool,
}

/// Has `mmdebstrap` write a root file system with these packages into `tar`.
pub(super) fn make(build: &Build<'_>, packages: &[&str], tar: &File) -> Result<(), BuildError> {
    let sources = &build.sources;
    check_word("suite", &sources.suite)?;
    for package in packages {
        check_word("package", package)?;
    }
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--variant=extract", "--format=tar", "--quiet"])
        .arg(format!("--architectures={}", debian_architecture(build)?))
        .arg(format!("--include={}", packages.join(",")))
        .arg(format!("--extract-hook={HOOK}"));
    if sources.snapshot {
        command.arg(r#"--aptopt=Acquire::Check-Valid-Until "false""#);
    }
    command.arg(&sources.suite).arg("-");
    for mirror in &sources.mirrors {
        if mirror.starts_with('-') {
            return Err(name("source", mirror));
        }
        command.arg(mirror);
    }
    let output = tar.try_clone().map_err(BuildError::Files)?;
    run(
        "mmdebstrap",
        command,
        build.env,
        Stdio::from(output),
        build.check,
    )
}

fn debian_architecture<'a>(build: &'a Build<'_>) -> Result<&'a str, BuildError> {
    match build.platform.architecture() {
        known @ ("amd64" | "arm64" | "riscv64") => Ok(known),
        "arm" => Ok("armhf"),
        other => Err(name("architecture", other)),
    }
}

fn name(what: &'static str, name: &str) -> BuildError {
    BuildError::Name {
        what,
        name: name.chars().take(100).collect(),
    }
}

/// Refuses what is not one plain word: `mmdebstrap` hands it to apt, where `?` and `~` are patterns.
fn check_word(what: &'static str, word: &str) -> Result<(), BuildError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    match word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.chars().all(plain) {
        true => Ok(()),
        false => Err(name(what, word)),
    }
}

/// Runs a program to its end, or ends it when nobody waits any more.
pub(super) fn run(
    program: &'static str,
    mut command: Command,
    env: &BuildEnv,
    output: Stdio,
    check: &dyn Fn() -> io::Result<()>,
) -> Result<(), BuildError> {
    let mut log = tempfile::tempfile().map_err(BuildError::Files)?;
    let told = log.try_clone().map_err(BuildError::Files)?;
    env.apply(&mut command);
    let child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(told)
        .spawn()
        .map_err(|source| BuildError::Start { program, source })?;
    let status = wait(child, check)?;
    if status.success() {
        return Ok(());
    }
    Err(BuildError::Failed {
        program,
        said: last_words(&mut log).unwrap_or_else(|_| status.to_string()),
    })
}

fn wait(mut child: Child, check: &dyn Fn() -> io::Result<()>) -> Result<ExitStatus, BuildError> {
    loop {
        if let Some(status) = child.try_wait().map_err(BuildError::Files)? {
            return Ok(status);
        }
        if check().is_err() {
            end(&mut child);
            return Err(BuildError::Cancelled);
        }
        std::thread::sleep(GLANCE);
    }
}

/// Asks a program to end, so that it unmounts and removes what it made, and makes it end if it does not.
fn end(child: &mut Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        // it may have ended by itself
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    for _ in 0..CLEAN_UP {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(GLANCE);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Returns the last lines that say something.
fn last_words(log: &mut File) -> io::Result<String> {
    const MOST: u64 = 1 << 16;
    let length = log.seek(SeekFrom::End(0))?;
    log.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
    let mut bytes = Vec::new();
    log.take(MOST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("E:"))
        .copied()
        .collect();
    let told = if errors.is_empty() { lines } else { errors };
    Ok(told[told.len().saturating_sub(3)..].join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_apt_or_mmdebstrap_would_take_for_something_else_are_refused() {
        check_word("suite", "bookworm-backports").unwrap();
        check_word("package", "libstdc++6").unwrap();
        for bad in ["", "-x", "?essential", "a,b", "a b", "a/b", "~n", "../x"] {
            assert!(check_word("package", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_program_is_ended_when_nobody_waits() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let env = BuildEnv(vec![("PATH".into(), "/usr/bin:/bin".into())]);
        let cancelled = || Err(io::Error::other("cancelled"));
        let error = run("sleep", command, &env, Stdio::null(), &cancelled).unwrap_err();
        assert!(matches!(error, BuildError::Cancelled), "{error:?}");
    }

    #[test]
    fn what_a_program_said_last_is_told() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo one >&2; echo 'E: two' >&2; echo three >&2; exit 3",
        ]);
        let env = BuildEnv(vec![("PATH".into(), "/usr/bin:/bin".into())]);
        let error = run("sh", command, &env, Stdio::null(), &|| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed: E: two");
    }
}
