//! Bare hosts: LXD system containers with systemd and sshd, on a bridge that leads nowhere.
//!
//! One LXD serves the whole test process and ends with it, however it ends; what a former run left is
//! removed first. A host starts in a few seconds and is deleted when dropped.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::peers::prepared;
use crate::wait::wait_until;

/// How long a container may take to boot on a busy machine.
const BOOT: Duration = Duration::from_secs(60);

/// The LXD of this process.
#[derive(Debug)]
struct Server {
    /// Its life hangs on the pipe to this process.
    _supervisor: Child,
    dir: PathBuf,
    /// The third byte of its addresses.
    number: u8,
    peers: PathBuf,
}

impl Server {
    fn ready() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| {
            assert!(
                rustix::process::geteuid().is_root(),
                "LXD is started by root: run these tests as root"
            );
            let peers = prepared("lxd");
            let first = std::process::id() % 200;
            (0..50)
                .find_map(|more| {
                    let number = u8::try_from((first + more) % 200 + 50).ok()?;
                    Self::start(&peers, number)
                })
                .expect("LXD starts")
        })
    }

    fn start(peers: &Path, number: u8) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/lxd-serve");
        let mut supervisor = Command::new(script)
            .arg(peers)
            .arg(number.to_string())
            .env_remove("LXD_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches the tests, whose end it then sees.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = supervisor.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        if line.is_empty() {
            let _ = supervisor.wait();
            return None;
        }
        Some(Self {
            _supervisor: supervisor,
            dir: line.trim_end().into(),
            number,
            peers: peers.to_owned(),
        })
    }

    fn lxc(&self) -> Command {
        let mut command = Command::new("lxc");
        command.env("LXD_DIR", &self.dir).stdin(Stdio::null());
        command
    }
}

/// A bare host that runs. Deleted when dropped.
#[derive(Debug)]
pub struct LxdHost {
    server: &'static Server,
    instance: String,
    /// The last byte of its address.
    index: u8,
}

/// The LXD of this process, for whoever makes instances there.
#[derive(Clone, Copy, Debug)]
pub struct LxdServer(&'static Server);

impl LxdServer {
    /// Returns it, started when first asked for. It has an image `bare`.
    pub fn ready() -> Self {
        Self(Server::ready())
    }

    /// Returns its folder, as for `LXD_DIR`.
    pub fn dir(&self) -> &'static Path {
        &self.0.dir
    }

    /// Returns its bridge.
    pub fn bridge(&self) -> String {
        format!("bcmt{}", self.0.number)
    }

    /// Returns an address on its bridge.
    pub fn address(&self, index: u8) -> String {
        format!("10.231.{}.{index}", self.0.number)
    }

    /// Lists its instances.
    pub fn instances(&self) -> Vec<String> {
        let list = ["list", "--format", "csv", "--columns", "n"];
        let output = self.0.lxc().args(list).output().unwrap();
        let names = String::from_utf8(output.stdout).unwrap();
        names.lines().map(str::to_owned).collect()
    }

    /// Deletes an instance.
    pub fn delete(&self, name: &str) {
        let mut delete = self.0.lxc();
        let _ = delete.args(["delete", "--force", name]).output();
    }
}

impl LxdHost {
    /// Starts one that has this name and lets `public_key` in as root.
    ///
    /// # Panics
    ///
    /// When LXD is missing, or the container does not come up.
    pub fn start(name: &str, public_key: &str) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(10);
        let index = NEXT.fetch_add(1, Ordering::Relaxed);
        let host = Self {
            server: Server::ready(),
            // two tests may call theirs the same
            instance: format!("{name}-{index}"),
            index,
        };
        host.lxc(["init", "-q", "bare", &host.instance]);
        let root = host.root();
        fs::write(root.join("etc/hostname"), format!("{name}\n")).unwrap();
        let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {name}\n");
        fs::write(root.join("etc/hosts"), hosts).unwrap();
        host.new_host_keys();
        host.authorize("root", public_key);
        let bridge = format!("bcmt{}", host.server.number);
        host.lxc(
            [
                "config",
                "device",
                "add",
                "-q",
                &host.instance,
                "eth0",
                "nic",
            ]
            .into_iter()
            .chain([
                "nictype=bridged",
                &format!("parent={bridge}"),
                "name=eth0",
                &format!("host_name={}", host.link()),
            ]),
        );
        let net = format!(
            "raw.lxc=lxc.net.0.ipv4.address={}/24\nlxc.net.0.ipv4.gateway={}",
            host.address(),
            host.address_of(1),
        );
        host.lxc(["config", "set", &host.instance, &net]);
        host.boot();
        host
    }

    /// Starts it after [`Self::stop`] or [`Self::kill`] and waits for its sshd.
    pub fn boot(&self) {
        self.lxc(["start", "-q", &self.instance]);
        wait_until("sshd answers", BOOT, || {
            TcpStream::connect_timeout(
                &(self.address().parse::<std::net::IpAddr>().unwrap(), 22).into(),
                Duration::from_millis(500),
            )
            .ok()
        });
    }

    /// Shuts it down.
    pub fn stop(&self) {
        self.lxc(["stop", "-q", &self.instance]);
    }

    /// Ends it as a power cut does.
    pub fn kill(&self) {
        self.lxc(["stop", "-q", "--force", &self.instance]);
    }

    /// Returns its address.
    pub fn address(&self) -> String {
        self.address_of(self.index)
    }

    /// Returns the address of the machine that the tests run on, as the host sees it.
    pub fn gateway(&self) -> String {
        self.address_of(1)
    }

    fn address_of(&self, index: u8) -> String {
        format!("10.231.{}.{index}", self.server.number)
    }

    /// Returns `USER@ADDRESS`.
    pub fn destination(&self, user: &str) -> String {
        format!("{user}@{}", self.address())
    }

    /// Returns its root folder, which is a folder of this machine.
    pub fn root(&self) -> PathBuf {
        let containers = self.server.dir.join("storage-pools/default/containers");
        containers.join(&self.instance).join("rootfs")
    }

    /// Lets the holder of this key in.
    pub fn authorize(&self, user: &str, public_key: &str) {
        let home = match user {
            "root" => self.root().join("root"),
            user => self.root().join("home").join(user),
        };
        let owner = fs::metadata(&home).unwrap();
        let folder = home.join(".ssh");
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let path = folder.join("authorized_keys");
        let keys = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{keys}{}\n", public_key.trim_end())).unwrap();
        for path in [&folder, &path] {
            use std::os::unix::fs::MetadataExt as _;
            std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }

    /// Gives it other host keys, as a reinstalled machine has; its sshd takes them when restarted.
    pub fn new_host_keys(&self) {
        let folder = self.root().join("etc/ssh");
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if name.starts_with("ssh_host_") {
                fs::remove_file(&path).unwrap();
            }
        }
        let keygen = Command::new("/usr/bin/ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(folder.join("ssh_host_ed25519_key"))
            .status()
            .expect("ssh-keygen is installed");
        assert!(keygen.success());
    }

    /// Returns the fingerprint of its host key, `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let list = Command::new("/usr/bin/ssh-keygen")
            .args(["-l", "-E", "sha256", "-f"])
            .arg(self.root().join("etc/ssh/ssh_host_ed25519_key.pub"))
            .output()
            .unwrap();
        let text = String::from_utf8(list.stdout).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    }

    /// Runs a shell script as its root, past sshd, and returns what came of it.
    pub fn try_run(&self, script: &str) -> Output {
        let mut command = self.server.lxc();
        command.args(["exec", &self.instance, "--", "sh", "-c", script]);
        command.output().unwrap()
    }

    /// Runs a shell script as its root, past sshd, and returns what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.try_run(script);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{script}`: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Cuts its network: packets vanish, connections stay open.
    pub fn cut(&self) {
        self.set_link("down");
    }

    /// Heals what [`Self::cut`] cut.
    pub fn heal(&self) {
        self.set_link("up");
    }

    /// The name of its network's end on this machine.
    fn link(&self) -> String {
        format!("bcmt{}-{}", self.server.number, self.index)
    }

    fn set_link(&self, state: &str) {
        let link = self.link();
        let set = Command::new("/usr/sbin/ip")
            .args(["link", "set", &link, state])
            .status();
        assert!(set.expect("iproute2 is installed").success());
    }

    /// Puts its clock off, such as by `+10m`: that of every program started from now on that asks the C
    /// library, sshd and `date` among them, once it is restarted.
    pub fn set_clock(&self, offset: &str) {
        let library = self.root().join("usr/local/lib/libfaketime.so.1");
        fs::copy(self.server.peers.join("libfaketime.so.1"), library).unwrap();
        fs::write(self.root().join("etc/faketimerc"), offset).unwrap();
        let preload = self.root().join("etc/ld.so.preload");
        fs::write(preload, "/usr/local/lib/libfaketime.so.1\n").unwrap();
    }

    /// Leaves no space in this folder, by a small file system in its place.
    pub fn fill(&self, folder: &str) {
        self.run(&format!(
            "set -e; size=$(du -sk {folder} | cut -f1); mkdir /run/fill; \
             mount -t tmpfs -o size=$((size + 256))k fill /run/fill; cp -a {folder}/. /run/fill/; \
             mount --move /run/fill {folder} 2>/dev/null || mount --bind /run/fill {folder}; \
             dd if=/dev/zero of={folder}/.fill bs=4k 2>/dev/null || true"
        ));
    }

    /// Gives the space back that [`Self::fill`] took.
    pub fn free(&self, folder: &str) {
        self.run(&format!(
            "umount {folder}; umount /run/fill || true; rmdir /run/fill"
        ));
    }

    #[track_caller]
    fn lxc<'a>(&self, words: impl IntoIterator<Item = &'a str>) {
        let output = self.server.lxc().args(words).output();
        let output = output.expect("lxc is installed");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lxc: {stderr}");
    }
}

impl Drop for LxdHost {
    fn drop(&mut self) {
        let mut delete = self.server.lxc();
        let _ = delete.args(["delete", "--force", &self.instance]).output();
    }
}
