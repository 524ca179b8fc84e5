//! Asking a host what it is, in one round trip.

use std::collections::BTreeMap;

use super::error::PrepareError;
use super::facts::{Facts, FileFacts, System, Unit, UserFacts};
use super::files;
use super::root::Root;
use crate::remote::Remote;

/// Asks a host what it is.
///
/// It takes one round trip and changes nothing.
///
/// # Errors
///
/// [`PrepareError::Remote`], [`PrepareError::NotRoot`], [`PrepareError::Unreadable`].
pub async fn observe(remote: &Remote) -> Result<Facts, PrepareError> {
    let output = Root::new(remote).run(&["sh", "-c", &script()], b"").await?;
    if !output.success {
        return Err(PrepareError::Unreadable(output.said()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| PrepareError::Unreadable("its answer is cut".into()))
}

/// What is asked. Each line of the answer begins with a word that says what it is about.
///
/// sshd answers before a boot is done: services that are still to start are waited for.
fn script() -> String {
    let words = |items: &mut dyn Iterator<Item = &str>| items.collect::<Vec<_>>().join(" ");
    let packages = words(
        &mut files::PACKAGES
            .into_iter()
            .chain(files::OTHER_CLOCKS)
            .chain([files::ENGINE, files::OTHER_ENGINE, files::CLOCK]),
    );
    let files = words(&mut files::ALL.into_iter());
    let folders = words(&mut super::files::FOLDERS.iter().map(|(path, ..)| *path));
    let units = words(&mut super::files::UNITS.into_iter());
    let (user, onion, clients) = (super::USER, files_onion(), super::files::ONION_CLIENTS);
    format!(
        r#"LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH
timeout 12 systemctl is-system-running --wait >/dev/null 2>&1
( . /etc/os-release && echo "system $ID $VERSION_ID" ) 2>/dev/null
[ ! -d /run/systemd/system ] || echo systemd
echo "container $(systemd-detect-virt --container 2>/dev/null)"
dpkg-query -W -f='package ${{Package}} ${{db:Status-Abbrev}}\n' {packages} 2>/dev/null
[ -z "$(dpkg --audit 2>&1)" ] || echo packages-broken
df -Pk /var/cache/apt 2>/dev/null | awk 'NR == 2 {{ print "free", $4 }}'
getent passwd {user} | awk -F: '{{ print "user", $6, $7 }}'
getent shadow {user} | awk -F: '$2 == "*" {{ print "no-password" }}'
id -nG {user} 2>/dev/null | sed 's/^/groups /'
for f in {files} {clients}/*.auth; do
    if [ -f "$f" ] && [ ! -L "$f" ]; then
        echo "file $(stat -c '%U:%G %a' "$f") $(sha256sum <"$f" | cut -c1-64) $f"
    elif [ -e "$f" ] || [ -L "$f" ]; then
        echo "file $(stat -c '%U:%G %a' "$f") - $f"
    fi
done
for d in {folders}; do
    [ ! -d "$d" ] || [ -L "$d" ] || echo "folder $(stat -c '%U:%G %a' "$d") $d"
done
for u in {units}; do
    echo "unit $u $(systemctl is-enabled "$u" 2>/dev/null || :)"
    echo "active $u $(systemctl is-active "$u" 2>/dev/null || :)"
done
awk 'NR > 1 {{ print "swap", $1 }}' /proc/swaps 2>/dev/null
sshd -T 2>/dev/null | awk '$1 == "port" {{ print "ssh-port", $2 }}'
! nft list table inet bcm >/dev/null 2>&1 || echo firewall
[ ! -s {onion}/hostname ] || sed 's/^/onion /' {onion}/hostname
echo end
"#
    )
}

fn files_onion() -> &'static str {
    files::ONION
}

/// Reads the answer; `None` unless it is whole.
fn parse(text: &str) -> Option<Facts> {
    let mut facts = Facts::default();
    let mut enabled = BTreeMap::new();
    let mut whole = false;
    for line in text.lines() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split_ascii_whitespace();
        let mut next = || words.next().map(str::to_owned);
        match key {
            "system" => {
                facts.system.id = next().unwrap_or_default();
                facts.system.version = next().unwrap_or_default();
            }
            "systemd" => facts.system.systemd = true,
            "container" => facts.container = next().filter(|kind| kind != "none"),
            "package" => {
                let (name, status) = (next()?, next()?);
                if status == "ii" || status == "hi" {
                    facts.packages.insert(name);
                }
            }
            "packages-broken" => facts.packages_broken = true,
            "free" => facts.free = next()?.parse::<u64>().ok()?.saturating_mul(1024),
            "user" => {
                facts.user = Some(UserFacts {
                    home: next()?,
                    shell: next().unwrap_or_default(),
                    groups: [].into(),
                    no_password: false,
                });
            }
            "no-password" => facts.user.as_mut()?.no_password = true,
            "groups" => facts.user.as_mut()?.groups = words.map(str::to_owned).collect(),
            "file" => {
                let (owner, mode, digest, path) = (next()?, next()?, next()?, next()?);
                let sha256 = digest.parse().ok();
                let mode = format!("{mode:0>4}");
                let file = FileFacts {
                    owner,
                    mode,
                    sha256,
                };
                facts.files.insert(path, file);
            }
            "folder" => {
                let (owner, mode, path) = (next()?, next()?, next()?);
                facts.folders.insert(path, format!("{owner} {mode:0>4}"));
            }
            "unit" => {
                enabled.insert(next()?, next().unwrap_or_default());
            }
            "active" => {
                let name = next()?;
                let unit = Unit {
                    enabled: enabled.remove(&name).unwrap_or_default(),
                    active: next().unwrap_or_default(),
                };
                facts.units.insert(name, unit);
            }
            "swap" => drop(facts.swaps.insert(next()?)),
            "ssh-port" => drop(facts.ssh_ports.insert(next()?.parse().ok()?)),
            "firewall" => facts.firewall = true,
            "onion" => facts.onion = next(),
            "end" => whole = true,
            _ => {}
        }
    }
    whole.then_some(facts)
}

impl System {
    /// Returns what a person calls it.
    pub(super) fn name(&self) -> String {
        match &*self.id {
            "" => "an unknown system".to_owned(),
            id => format!("{id} {}", self.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
system debian 12
systemd
container lxc
package nftables ii
package tor iU
free 1000
user /var/lib/bcm /bin/bash
no-password
groups bcm docker
file root:root 644 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 /etc/ssh/bcm/ca.pub
file root:root 777 - /etc/tor/torrc
folder root:root 755 /etc/bcm
unit ssh.service enabled
active ssh.service active
unit swap.target
active swap.target inactive
swap /dev/sda2
ssh-port 22
firewall
end
";

    #[test]
    fn an_answer_is_read() {
        let facts = parse(ANSWER).unwrap();
        assert!(facts.system.is_supported());
        assert_eq!(facts.container.as_deref(), Some("lxc"));
        assert!(facts.packages.contains("nftables") && !facts.packages.contains("tor"));
        assert_eq!(facts.free, 1_024_000);
        let user = facts.user.unwrap();
        assert!(user.no_password && user.groups.contains("docker"));
        assert_eq!(facts.files["/etc/ssh/bcm/ca.pub"].mode, "0644");
        assert_eq!(facts.files["/etc/tor/torrc"].sha256, None);
        assert_eq!(facts.folders["/etc/bcm"], "root:root 0755");
        assert_eq!(facts.units["ssh.service"].active, "active");
        assert_eq!(facts.units["swap.target"].enabled, "");
        assert!(facts.swaps.contains("/dev/sda2") && facts.firewall);
        assert!(facts.ssh_ports.contains(&22));
    }

    #[test]
    fn an_answer_that_is_cut_or_wrong_is_none() {
        for end in 0..ANSWER.len() - 4 {
            let cut = &ANSWER[..end];
            assert_eq!(parse(cut), None, "{cut}");
        }
        assert_eq!(parse(&ANSWER.replace("free 1000", "free x")), None);
        assert_eq!(parse(&ANSWER.replace("user /var", "nobody /var")), None);
    }

    #[test]
    fn the_question_is_a_script_that_a_shell_takes() {
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-n", "-c", &script()]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
    }
}
