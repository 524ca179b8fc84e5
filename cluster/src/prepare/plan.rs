//! What is missing between what a host is and what it is to become.

use std::collections::BTreeMap;

use bcm_keystore::statement::Sha256Digest;
use serde::Serialize;

use super::USER;
use super::error::PrepareError;
use super::facts::Facts;
use super::files::{self, loaded};
use super::operation::{Content, Operation, owned};
use super::wanted::Wanted;

/// What packages and an engine take, in MiB, with some to spare.
const SPACE: u64 = 1024;

/// What is to be done on a host, in order. Empty where nothing is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The operations.
    pub operations: Vec<Operation>,
}

impl Plan {
    /// Tells whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Compares what a host is with what it is to become.
///
/// It looks at nothing else, so the same two give the same plan, byte for byte.
///
/// # Errors
///
/// [`PrepareError::Unsupported`], [`PrepareError::Space`], [`PrepareError::NoSshPort`],
/// [`PrepareError::Occupied`].
pub fn plan(facts: &Facts, wanted: &Wanted) -> Result<Plan, PrepareError> {
    if !facts.system.is_supported() {
        let mut found = facts.system.name();
        if !facts.system.systemd {
            found.push_str(" without systemd");
        }
        return Err(PrepareError::Unsupported { found });
    }
    if facts.ssh_ports.is_empty() {
        return Err(PrepareError::NoSshPort);
    }
    let mut planner = Planner {
        facts,
        wanted,
        operations: Vec::new(),
        read: BTreeMap::new(),
    };
    planner.packages_fetch()?;
    planner.policy()?;
    planner.packages_install();
    planner.kernel()?;
    planner.engine()?;
    planner.services();
    planner.account()?;
    planner.access()?;
    planner.onion()?;
    Ok(Plan {
        operations: planner.operations,
    })
}

struct Planner<'a> {
    facts: &'a Facts,
    wanted: &'a Wanted,
    operations: Vec<Operation>,
    /// The files that each service reads, with the digests that it should have read.
    read: BTreeMap<&'static str, String>,
}

impl Planner<'_> {
    fn run(&mut self, why: &str, words: &[&str]) {
        self.operations.push(Operation::run(why, words));
    }

    /// Plans a file unless it is there.
    fn file(&mut self, spec: FileSpec<'_>) -> Result<bool, PrepareError> {
        let FileSpec {
            why,
            path,
            mode,
            owner,
            content,
            check,
        } = spec;
        let sha256 = content.digest();
        let found = self.facts.files.get(path);
        if let Some(found) = found {
            let digest = found
                .sha256
                .ok_or_else(|| PrepareError::Occupied(path.to_owned()))?;
            if digest == sha256 && found.mode == mode && found.owner == owner {
                return Ok(false);
            }
        }
        self.operations.push(Operation::File {
            why: why.to_owned(),
            path: path.to_owned(),
            owner: owner.to_owned(),
            mode: mode.to_owned(),
            content,
            sha256,
            replaces: found.and_then(|found| found.sha256),
            check: owned(check),
        });
        Ok(true)
    }

    /// Plans a file of root's.
    fn text(
        &mut self,
        why: &str,
        path: &str,
        mode: &str,
        text: String,
    ) -> Result<bool, PrepareError> {
        self.file(FileSpec {
            mode,
            ..FileSpec::new(why, path, text)
        })
    }

    fn folder(&mut self, path: &str) {
        let spec = files::FOLDERS.iter().find(|(folder, ..)| *folder == path);
        let (_, owner, mode) = spec.expect("every folder is listed");
        let want = format!("{owner} {mode}");
        if self.facts.folders.get(path) != Some(&want) {
            let (user, group) = owner.split_once(':').expect("an owner has a group");
            self.run(
                "make a folder",
                &["install", "-d", "-o", user, "-g", group, "-m", mode, path],
            );
        }
    }

    /// Notes that a service reads this.
    fn reads(&mut self, service: &'static str, path: &str, content: &[u8]) {
        let digest = Sha256Digest::of(content);
        let line = format!("{digest}  {path}\n");
        self.read.entry(service).or_default().push_str(&line);
    }

    /// Tells whether a service has not read what it should have.
    fn is_stale(&self, service: &str) -> bool {
        let want = self.read.get(service).expect("it reads something");
        let found = self.facts.files.get(&loaded(service));
        found.and_then(|file| file.sha256) != Some(Sha256Digest::of(want.as_bytes()))
    }

    /// Plans to write down what a service has read.
    fn mark(&mut self, service: &'static str) -> Result<(), PrepareError> {
        let text = self.read[service].clone();
        let path = loaded(service);
        let why = "note what the service has read";
        self.text(why, &path, "0644", text).map(drop)
    }

    fn missing_packages(&self) -> Vec<&'static str> {
        let has = |name: &str| self.facts.packages.contains(name);
        let mut missing: Vec<_> = files::PACKAGES
            .into_iter()
            .filter(|name| !has(name))
            .collect();
        if !has(files::OTHER_ENGINE) && !has(files::ENGINE) {
            missing.push(files::ENGINE);
        }
        if !files::OTHER_CLOCKS.iter().any(|name| has(name)) && !has(files::CLOCK) {
            missing.push(files::CLOCK);
        }
        missing.sort_unstable();
        missing
    }

    /// Comes first: it changes nothing but apt's own lists, and fails where packages cannot be had.
    fn packages_fetch(&mut self) -> Result<(), PrepareError> {
        if self.facts.packages_broken {
            self.run(
                "finish what a cut run of dpkg left",
                &[
                    APT_ENV,
                    &["dpkg", "--configure", "-a", "--force-confold"][..],
                ]
                .concat(),
            );
        }
        let missing = self.missing_packages();
        if missing.is_empty() {
            return Ok(());
        }
        let free = self.facts.free / (1 << 20);
        if free < SPACE {
            return Err(PrepareError::Space {
                free,
                expected: SPACE,
            });
        }
        let update = ["update", "-o", "APT::Update::Error-Mode=any"];
        self.run(
            "read the lists of packages",
            &[APT_ENV, APT, &update[..]].concat(),
        );
        let fetch = [APT_ENV, APT, &["install", "--download-only"][..], &missing].concat();
        self.run("fetch packages", &fetch);
        Ok(())
    }

    fn packages_install(&mut self) {
        let missing = self.missing_packages();
        if !missing.is_empty() {
            let install = [APT_ENV, APT, &["install"][..], &missing].concat();
            self.run("install packages", &install);
        }
    }

    /// Comes before the packages, so that what they start finds its configuration.
    fn policy(&mut self) -> Result<(), PrepareError> {
        for folder in [
            "/etc/bcm",
            "/etc/docker",
            "/etc/security/limits.d",
            "/etc/systemd/coredump.conf.d",
            files::LOADED,
        ] {
            self.folder(folder);
        }
        for (why, path, text) in [
            (
                "how the engine runs",
                files::ENGINE_CONFIG,
                files::ENGINE_JSON,
            ),
            (
                "security updates by themselves",
                files::UPGRADES,
                files::UPGRADES_CONF,
            ),
            ("no core dumps", files::LIMITS, files::LIMITS_CONF),
            ("no core dumps", files::COREDUMP, files::COREDUMP_CONF),
        ] {
            self.text(why, path, "0644", text.to_owned())?;
        }
        Ok(())
    }

    /// What governs the kernel, which in a container is another's.
    fn kernel(&mut self) -> Result<(), PrepareError> {
        if self.facts.container.is_some() {
            return Ok(());
        }
        self.reads("sysctl", files::SYSCTL, files::SYSCTL_CONF.as_bytes());
        let text = files::SYSCTL_CONF.to_owned();
        self.text(
            "what the kernel does not write",
            files::SYSCTL,
            "0644",
            text,
        )?;
        if self.is_stale("sysctl") {
            let sysctl = ["/lib/systemd/systemd-sysctl", files::SYSCTL];
            self.run("tell the kernel", &sysctl);
            self.mark("sysctl")?;
        }
        if self.unit("swap.target").enabled != "masked" {
            self.run("no swap from now on", &["systemctl", "mask", "swap.target"]);
        }
        if !self.facts.swaps.is_empty() {
            self.run("no swap now", &["swapoff", "-a"]);
        }
        Ok(())
    }

    fn engine(&mut self) -> Result<(), PrepareError> {
        self.reads(
            "engine",
            files::ENGINE_CONFIG,
            files::ENGINE_JSON.as_bytes(),
        );
        if self.is_stale("engine") {
            let restart = ["systemctl", "restart", "docker.service"];
            self.run("start the engine with its configuration", &restart);
            self.mark("engine")?;
        }
        Ok(())
    }

    fn unit(&self, name: &str) -> super::facts::Unit {
        let none = || super::facts::Unit {
            enabled: String::new(),
            active: String::new(),
        };
        self.facts.units.get(name).cloned().unwrap_or_else(none)
    }

    fn enable(&mut self, name: &str, runs: bool) {
        let unit = self.unit(name);
        let started = !runs || unit.active == "active";
        if unit.enabled != "enabled" || !started {
            let why = format!("start {name}, now and at boot");
            self.run(&why, &["systemctl", "enable", "--now", name]);
        }
    }

    fn services(&mut self) {
        for name in ["docker.service", "unattended-upgrades.service"] {
            self.enable(name, true);
        }
        // in a container it does not run: the clock is another's as well
        if !files::OTHER_CLOCKS
            .iter()
            .any(|name| self.facts.packages.contains(*name))
        {
            let runs = self.facts.container.is_none();
            self.enable("systemd-timesyncd.service", runs);
        }
    }

    fn account(&mut self) -> Result<(), PrepareError> {
        match &self.facts.user {
            None => {
                #[rustfmt::skip]
                let add = [
                    "useradd", "--system", "--user-group", "--groups", "docker", "--create-home",
                    "--home-dir", HOME, "--shell", SHELL, "--password", "*", USER,
                ];
                self.run("make the account", &add);
            }
            Some(user) => {
                if user.shell != SHELL || !user.no_password {
                    let set = ["usermod", "--shell", SHELL, "--password", "*", USER];
                    self.run("let no password open the account", &set);
                }
                if !user.groups.contains("docker") {
                    let join = ["usermod", "--append", "--groups", "docker", USER];
                    self.run("let the account command the engine", &join);
                }
            }
        }
        let check = ["visudo", "--check", "--quiet", "--file", files::SUDO];
        self.file(FileSpec {
            mode: "0440",
            check: &check,
            ..FileSpec::new("let the account become root", files::SUDO, files::sudo())
        })?;
        Ok(())
    }

    /// Opens the new way, tries it, closes the old one, and tries the new one again.
    fn access(&mut self) -> Result<(), PrepareError> {
        self.folder("/etc/ssh/bcm");
        self.folder("/etc/ssh/bcm/principals");
        let ca = self.wanted.ca_line();
        let principals = self.wanted.principal_lines();
        let revoked = Content::from(self.wanted.revoked.clone());
        // these are read at each login: there is nothing to reload
        let mut opened = self.text("the cluster's CA", files::CA, "0644", ca)?;
        let why = "who may log in with its certificate";
        opened |= self.text(why, files::PRINCIPALS, "0644", principals)?;
        let why = "certificates that are good no more";
        opened |= self.file(FileSpec {
            content: revoked,
            ..FileSpec::new(why, files::REVOKED, String::new())
        })?;

        let sshd = ["sshd", "-t"];
        let reload = ["systemctl", "try-reload-or-restart", "ssh.service"];
        self.reads("ssh", files::ACCESS, files::access().as_bytes());
        self.reads("ssh", files::ONLY, files::only().as_bytes());
        let stale = self.is_stale("ssh");
        opened |= self.file(FileSpec {
            mode: "0600",
            check: &sshd,
            ..FileSpec::new("let the cluster's CA in", files::ACCESS, files::access())
        })?;
        if stale {
            self.run("reload sshd", &reload);
        }
        if opened || stale {
            self.login("the new login is open beside the old one", &[]);
        }

        let closing = self.operations.len();
        self.firewall()?;
        let walled = self.operations.len() > closing;
        let mut undo: Vec<&[&str]> = Vec::new();
        if walled {
            undo.push(&["nft", "delete", "table", "inet", "bcm"]);
            undo.push(&["systemctl", "disable", "bcm-firewall.service"]);
        }
        self.file(FileSpec {
            mode: "0600",
            check: &sshd,
            ..FileSpec::new("let nobody else in", files::ONLY, files::only())
        })?;
        if stale {
            self.run("reload sshd", &reload);
            if !self.facts.files.contains_key(files::ONLY) {
                undo.push(&["rm", "-f", files::ONLY]);
            }
            undo.push(&reload);
        }
        if self.operations.len() > closing {
            self.login("the old login is closed", &undo);
        }
        if walled {
            self.mark("firewall")?;
        }
        if stale {
            self.mark("ssh")?;
        }
        Ok(())
    }

    fn login(&mut self, why: &str, otherwise: &[&[&str]]) {
        self.operations.push(Operation::Login {
            why: why.to_owned(),
            user: USER.to_owned(),
            otherwise: otherwise.iter().map(|words| owned(words)).collect(),
        });
    }

    fn firewall(&mut self) -> Result<(), PrepareError> {
        let rules = files::firewall(self.facts, self.wanted);
        self.reads("firewall", files::FIREWALL, rules.as_bytes());
        self.reads(
            "firewall",
            files::FIREWALL_UNIT,
            files::FIREWALL_SERVICE.as_bytes(),
        );
        let check = ["nft", "--check", "--file", files::FIREWALL];
        self.file(FileSpec {
            check: &check,
            ..FileSpec::new("deny what is not known", files::FIREWALL, rules)
        })?;
        let unit = files::FIREWALL_SERVICE.to_owned();
        self.text(
            "deny it from the boot on",
            files::FIREWALL_UNIT,
            "0644",
            unit,
        )?;
        let name = "bcm-firewall.service";
        let unit = self.unit(name);
        let stale = self.is_stale("firewall");
        if stale || unit.enabled != "enabled" {
            self.run("read the unit", &["systemctl", "daemon-reload"]);
            self.run("load the firewall at boot", &["systemctl", "enable", name]);
        }
        if stale || !self.facts.firewall || unit.active != "active" {
            self.run(
                "load the firewall now",
                &["systemctl", "reload-or-restart", name],
            );
        }
        Ok(())
    }

    fn onion(&mut self) -> Result<(), PrepareError> {
        let Some(onion) = self.wanted.onion.clone() else {
            return Ok(());
        };
        self.folder(files::ONION);
        self.folder(files::ONION_CLIENTS);
        let owner = "debian-tor:debian-tor";
        let mut known = Vec::new();
        for (name, key) in onion.clients() {
            let path = format!("{}/{name}.auth", files::ONION_CLIENTS);
            let line = format!("{key}\n");
            self.reads("tor", &path, line.as_bytes());
            self.file(FileSpec {
                owner,
                mode: "0600",
                ..FileSpec::new("who may find the onion service", &path, line)
            })?;
            known.push(path);
        }
        let clients = self.facts.files.keys();
        let former: Vec<_> = clients
            .filter(|path| path.starts_with(files::ONION_CLIENTS) && !known.contains(path))
            .cloned()
            .collect();
        for path in former {
            let why = "who may find the onion service no more".to_owned();
            self.operations.push(Operation::Remove { why, path });
        }
        let torrc = files::torrc(self.facts);
        self.reads("tor", files::TORRC, torrc.as_bytes());
        self.text("sshd as an onion service", files::TORRC, "0644", torrc)?;
        if self.is_stale("tor") {
            // a client that is removed is refused only after a restart
            self.run(
                "start Tor with its configuration",
                &["systemctl", "restart", "tor.service"],
            );
            self.mark("tor")?;
        }
        self.enable("tor.service", true);
        Ok(())
    }
}

/// Where the account lives.
const HOME: &str = "/var/lib/bcm";
/// What it logs in to.
const SHELL: &str = "/bin/bash";

/// No question is asked, and nothing restarts by itself.
const APT_ENV: &[&str] = &[
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "NEEDRESTART_SUSPEND=1",
    "UCF_FORCE_CONFFOLD=1",
];
/// What the person changed stays; a run of apt that is at work is waited for.
const APT: &[&str] = &[
    "apt-get",
    "--quiet",
    "--yes",
    "--no-install-recommends",
    "-o",
    "DPkg::Lock::Timeout=300",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "Dpkg::Use-Pty=0",
];

struct FileSpec<'a> {
    why: &'a str,
    path: &'a str,
    mode: &'a str,
    owner: &'a str,
    content: Content,
    check: &'a [&'a str],
}

impl<'a> FileSpec<'a> {
    fn new(why: &'a str, path: &'a str, text: String) -> Self {
        Self {
            why,
            path,
            mode: "0644",
            owner: "root:root",
            content: text.into(),
            check: &[],
        }
    }
}

#[cfg(test)]
mod tests;
