//! The files of a prepared host.

use std::fmt::Write as _;

use super::USER;
use super::facts::Facts;
use super::wanted::Wanted;

/// The packages that a host needs, without what they depend on.
pub(super) const PACKAGES: [&str; 4] = ["nftables", "sudo", "tor", "unattended-upgrades"];

/// An engine, if there is none from Docker itself.
pub(super) const ENGINE: &str = "docker.io";
/// The engine of Docker's own repository.
pub(super) const OTHER_ENGINE: &str = "docker-ce";

/// What keeps the time, if nothing else does.
pub(super) const CLOCK: &str = "systemd-timesyncd";
/// What else may keep the time.
pub(super) const OTHER_CLOCKS: [&str; 4] = ["chrony", "ntpsec", "ntp", "openntpd"];

pub(super) const CA: &str = "/etc/ssh/bcm/ca.pub";
pub(super) const PRINCIPALS: &str = "/etc/ssh/bcm/principals/bcm";
pub(super) const REVOKED: &str = "/etc/ssh/bcm/revoked";
pub(super) const ACCESS: &str = "/etc/ssh/sshd_config.d/00-bcm-access.conf";
pub(super) const ONLY: &str = "/etc/ssh/sshd_config.d/01-bcm-only.conf";
pub(super) const SUDO: &str = "/etc/sudoers.d/bcm";
pub(super) const ENGINE_CONFIG: &str = "/etc/docker/daemon.json";
pub(super) const UPGRADES: &str = "/etc/apt/apt.conf.d/52bcm";
pub(super) const SYSCTL: &str = "/etc/sysctl.d/99-bcm.conf";
pub(super) const LIMITS: &str = "/etc/security/limits.d/99-bcm.conf";
pub(super) const COREDUMP: &str = "/etc/systemd/coredump.conf.d/99-bcm.conf";
pub(super) const FIREWALL: &str = "/etc/bcm/firewall.nft";
pub(super) const FIREWALL_UNIT: &str = "/etc/systemd/system/bcm-firewall.service";
pub(super) const TORRC: &str = "/etc/tor/torrc";

/// The folder of the onion service, as Tor lays it out.
pub(super) const ONION: &str = "/var/lib/tor/bcm-ssh";
/// Where Tor reads who may find it: one file for each client.
pub(super) const ONION_CLIENTS: &str = "/var/lib/tor/bcm-ssh/authorized_clients";

/// Every file that a host is asked for; those of [`ONION_CLIENTS`] are added.
pub(super) const ALL: [&str; 19] = [
    CA,
    PRINCIPALS,
    REVOKED,
    ACCESS,
    ONLY,
    SUDO,
    ENGINE_CONFIG,
    UPGRADES,
    SYSCTL,
    LIMITS,
    COREDUMP,
    FIREWALL,
    FIREWALL_UNIT,
    TORRC,
    "/var/lib/bcm-prepare/engine",
    "/var/lib/bcm-prepare/firewall",
    "/var/lib/bcm-prepare/ssh",
    "/var/lib/bcm-prepare/sysctl",
    "/var/lib/bcm-prepare/tor",
];

/// Where is written which files a service has read: see [`loaded`].
pub(super) const LOADED: &str = "/var/lib/bcm-prepare";

/// Returns the file that says which files `service` has read.
///
/// A run that was cut between a file and the service that reads it leaves the file right and the service
/// wrong. So the digests of what was read are written down after the service has read them.
pub(super) fn loaded(service: &str) -> String {
    format!("{LOADED}/{service}")
}

/// The folders that a host is asked for, each with its owner and mode.
pub(super) const FOLDERS: [(&str, &str, &str); 9] = [
    ("/etc/bcm", "root:root", "0755"),
    ("/etc/docker", "root:root", "0755"),
    ("/etc/ssh/bcm", "root:root", "0755"),
    ("/etc/ssh/bcm/principals", "root:root", "0755"),
    ("/etc/security/limits.d", "root:root", "0755"),
    ("/etc/systemd/coredump.conf.d", "root:root", "0755"),
    (LOADED, "root:root", "0700"),
    (ONION, "debian-tor:debian-tor", "2700"),
    (ONION_CLIENTS, "debian-tor:debian-tor", "2700"),
];

/// The units that a host is asked for.
pub(super) const UNITS: [&str; 8] = [
    "bcm-firewall.service",
    "docker.service",
    "docker.socket",
    "ssh.service",
    "swap.target",
    "systemd-timesyncd.service",
    "tor.service",
    "unattended-upgrades.service",
];

/// Who may log in as [`USER`], while everybody else still may as before: `sshd_config(5)`.
pub(super) fn access() -> String {
    format!(
        "# Made by bcm. A certificate of the cluster's CA opens the account `{USER}`, and nothing else does.\n\
         Match User {USER}\n\
         \x20   TrustedUserCAKeys {CA}\n\
         \x20   AuthorizedPrincipalsFile /etc/ssh/bcm/principals/%u\n\
         \x20   RevokedKeys {REVOKED}\n\
         \x20   AuthorizedKeysFile none\n\
         \x20   AuthenticationMethods publickey\n"
    )
}

/// Nobody else, and nothing but a shell and unix sockets: `sshd_config(5)`.
///
/// To sshd a unix socket is a host whose name is its path, so that `PermitOpen` with the engine's socket
/// refuses every TCP connection and every other socket; `AllowTcpForwarding no` would refuse this one too.
pub(super) fn only() -> String {
    format!(
        "# Made by bcm. Nobody else logs in, and nothing passes but the engine's unix socket.\n\
         AllowUsers {USER}\n\
         AuthenticationMethods publickey\n\
         PubkeyAuthentication yes\n\
         AuthorizedKeysFile none\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         HostbasedAuthentication no\n\
         PermitEmptyPasswords no\n\
         PermitRootLogin no\n\
         AllowStreamLocalForwarding local\n\
         AllowTcpForwarding local\n\
         PermitOpen [/run/docker.sock]:*\n\
         PermitListen none\n\
         GatewayPorts no\n\
         AllowAgentForwarding no\n\
         X11Forwarding no\n\
         PermitTunnel no\n\
         PermitUserEnvironment no\n\
         PermitUserRC no\n\
         DebianBanner no\n\
         LogLevel VERBOSE\n\
         LoginGraceTime 30\n\
         MaxAuthTries 4\n\
         # what runs at once over one connection\n\
         MaxSessions 64\n\
         ClientAliveInterval 15\n\
         ClientAliveCountMax 4\n"
    )
}

/// No password is asked for, because there is none: `sudoers(5)`.
pub(super) fn sudo() -> String {
    format!(
        "# Made by bcm. Who may log in as `{USER}` commands the engine, and so is root anyway.\n\
         {USER} ALL=(ALL:ALL) NOPASSWD: ALL\n"
    )
}

/// How the engine runs: `dockerd(8)`. No `hosts`: the unit's socket is the only one.
pub(super) const ENGINE_JSON: &str = r#"{
  "default-ulimits": {
    "core": { "Name": "core", "Hard": 0, "Soft": 0 }
  },
  "icc": false,
  "ip": "127.0.0.1",
  "live-restore": false,
  "log-driver": "local",
  "log-opts": {
    "max-file": "3",
    "max-size": "10m"
  },
  "no-new-privileges": true,
  "userland-proxy": false
}
"#;

/// Security updates by themselves, restarts by the person: `apt.conf(5)`.
pub(super) const UPGRADES_CONF: &str = "\
// Made by bcm. Security updates install themselves; a restart stays the owner's decision.
APT::Periodic::Update-Package-Lists \"1\";
APT::Periodic::Unattended-Upgrade \"1\";
APT::Periodic::AutocleanInterval \"7\";
Unattended-Upgrade::Automatic-Reboot \"false\";
Unattended-Upgrade::MinimalSteps \"true\";
";

/// What the kernel does not tell and does not write: `sysctl.d(5)`.
pub(super) const SYSCTL_CONF: &str = "\
# Made by bcm. Memory holds keys: none of it is written to a disk.
kernel.core_pattern = |/bin/false
kernel.core_uses_pid = 0
fs.suid_dumpable = 0
vm.swappiness = 1
kernel.dmesg_restrict = 1
kernel.kptr_restrict = 2
kernel.yama.ptrace_scope = 1
kernel.unprivileged_bpf_disabled = 1
net.ipv4.conf.all.accept_redirects = 0
net.ipv4.conf.all.send_redirects = 0
net.ipv4.conf.all.accept_source_route = 0
net.ipv6.conf.all.accept_redirects = 0
";

/// No core dumps: `limits.conf(5)`.
pub(super) const LIMITS_CONF: &str = "\
# Made by bcm. Memory holds keys: no core dumps.
* hard core 0
root hard core 0
";

/// No core dumps: `coredump.conf(5)`.
pub(super) const COREDUMP_CONF: &str = "\
# Made by bcm. Memory holds keys: no core dumps.
[Coredump]
Storage=none
ProcessSizeMax=0
";

/// The unit that loads the firewall before there is a network.
pub(super) const FIREWALL_SERVICE: &str = "\
# Made by bcm.
[Unit]
Description=Firewall of bcm: default deny
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=local-fs.target systemd-modules-load.service nftables.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/bcm/firewall.nft
ExecReload=/usr/sbin/nft -f /etc/bcm/firewall.nft

[Install]
WantedBy=sysinit.target
";

/// A table of our own, which denies what it does not know: `nft(8)`.
///
/// The engine keeps tables of its own, which are not touched. A packet has to be accepted in each, so what the
/// engine opens for a published port stays shut here.
pub(super) fn firewall(facts: &Facts, wanted: &Wanted) -> String {
    let ports = list(facts.ssh_ports.iter());
    let v4 = list(wanted.members.iter().filter(|member| member.is_ipv4()));
    let v6 = list(wanted.members.iter().filter(|member| member.is_ipv6()));
    let mut text = String::from(
        "# Made by bcm. Replaced as a whole: the first two lines make that atomic.\n\
         table inet bcm\n\
         delete table inet bcm\n\
         table inet bcm {\n",
    );
    let mut line = |words: &str| writeln!(text, "{words}").expect("a string takes all");
    line("    chain input {");
    line("        type filter hook input priority filter; policy drop;");
    line("        ct state established,related accept");
    line("        ct state invalid drop");
    line("        iifname \"lo\" accept");
    line(
        "        ip protocol icmp icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept",
    );
    line("        meta l4proto ipv6-icmp accept");
    line(&format!("        tcp dport {{ {ports} }} accept"));
    for (family, members) in [("ip", v4), ("ip6", v6)] {
        if !members.is_empty() {
            line(&format!(
                "        {family} saddr {{ {members} }} jump swarm"
            ));
        }
    }
    line("    }");
    line("    chain swarm {");
    line("        tcp dport { 2377, 7946 } accept");
    line("        udp dport { 4789, 7946 } accept");
    line("        meta l4proto esp accept");
    line("    }");
    line("    chain forward {");
    line("        type filter hook forward priority filter; policy drop;");
    line("        ct state established,related accept");
    for bridge in ["docker0", "docker_gwbridge", "br-*", "lxdbr*", "incusbr*"] {
        line(&format!("        iifname \"{bridge}\" accept"));
    }
    line("    }");
    line("}");
    text
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    items.join(", ")
}

/// sshd as an onion service, and nothing else: `tor(1)`.
pub(super) fn torrc(facts: &Facts) -> String {
    let port = facts.ssh_ports.first().copied().unwrap_or(22);
    format!(
        "# Made by bcm.\n\
         SocksPort 127.0.0.1:9050\n\
         HiddenServiceDir {ONION}\n\
         HiddenServicePort 22 127.0.0.1:{port}\n"
    )
}

/// Returns the addresses of members in one order.
#[cfg(test)]
pub(super) fn members(addresses: &[&str]) -> std::collections::BTreeSet<std::net::IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}
