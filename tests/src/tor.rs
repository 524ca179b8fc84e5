//! A real Tor network of its own on loopback: what the Internet's Tor does, without the Internet.
//!
//! `TestingTorNetwork` refuses the authorities that Tor is built with, so a forgotten line cannot
//! reach the real network.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::wait::{free_port, wait_until};

/// How long the relays may take to agree on a first consensus, and the clients to use it.
const BOOTSTRAP: Duration = Duration::from_secs(180);

/// How long the descriptor of a new onion service may take to its directories.
const PUBLISH: Duration = Duration::from_secs(60);

/// Fewest directories that have to know an onion service before it counts as published.
const DIRECTORIES: usize = 3;

/// Where the folders of networks lie, each with the id of its process behind it.
const FOLDER: &str = "/tmp/bcm-tor-";

/// Votes often, or the first consensus would take an hour.
const AUTHORITY: &str = "AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo nobody@localhost
TestingV3AuthInitialVotingInterval 20
TestingV3AuthInitialVoteDelay 4
TestingV3AuthInitialDistDelay 4
V3AuthVotingInterval 20
V3AuthVoteDelay 4
V3AuthDistDelay 4
";

const EXIT: &str = "ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept *:*
";

/// Three authorities, two exits, a Tor that has onion services and one for those who visit them.
///
/// It ends with the process that started it.
#[derive(Debug)]
pub struct TorNetwork {
    folder: PathBuf,
    socks: u16,
    nodes: Vec<Child>,
}

impl TorNetwork {
    /// Returns the one that all tests of this process share, and starts it at the first call.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn shared() -> &'static Self {
        static NETWORK: OnceLock<TorNetwork> = OnceLock::new();
        NETWORK.get_or_init(Self::start)
    }

    /// Starts one. It takes half a minute until the relays agree.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start() -> Self {
        let folder = new_folder();
        let authorities = ["auth1", "auth2", "auth3"].map(|name| Authority::new(&folder, name));
        let mut network = String::from(
            "TestingTorNetwork 1
PathsNeededToBuildCircuits 0.67
TestingDirAuthVoteExit *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
V3AuthNIntervalsValid 2
AssumeReachable 1
Address 127.0.0.1
ShutdownWaitLength 0
",
        );
        for authority in &authorities {
            writeln!(network, "{}", authority.line).unwrap();
        }
        let socks = free_port();
        let mut nodes = Vec::new();
        for authority in &authorities {
            let ports = format!("DirPort {}\n{AUTHORITY}{EXIT}", authority.dir_port);
            let own = relay(authority.or_port, &ports);
            nodes.push(run(&folder, authority.name, &network, &own));
        }
        for name in ["exit1", "exit2"] {
            let own = relay(free_port(), EXIT);
            nodes.push(run(&folder, name, &network, &own));
        }
        let control = |name: &str| {
            let socket = folder.join(name).join("control");
            format!("ControlPort unix:{}\n", socket.display())
        };
        for (name, port) in [("onions", "0".to_owned()), ("client", socks.to_string())] {
            let own = format!("SocksPort {port}\n{}", control(name));
            nodes.push(run(&folder, name, &network, &own));
        }
        let network = Self {
            folder,
            socks,
            nodes,
        };
        for name in ["onions", "client"] {
            wait_until(&format!("tor `{name}` has circuits"), BOOTSTRAP, || {
                let phase = network
                    .control(name)
                    .ok()?
                    .ask("GETINFO status/bootstrap-phase");
                phase.ok()?.contains("PROGRESS=100").then_some(())
            });
        }
        network
    }

    /// Returns where visitors find the SOCKS port, `HOST:PORT`.
    pub fn socks(&self) -> String {
        format!("127.0.0.1:{}", self.socks)
    }

    /// Makes an onion service whose every port leads to the same port on loopback, and waits until
    /// it can be found. Returns its name, which ends in `.onion`.
    ///
    /// It lives as long as the network.
    ///
    /// # Panics
    ///
    /// When Tor refuses, or cannot publish it.
    pub fn onion_service(&self, port: u16) -> String {
        let target = format!("127.0.0.1:{port}");
        self.onion_service_at(port, &target, None)
    }

    /// Makes an onion service that has `port` and leads to `target`, `HOST:PORT` or
    /// `unix:PATH`. With a client's x25519 key in base32 nobody else can find it.
    ///
    /// # Panics
    ///
    /// When Tor refuses, or cannot publish it.
    pub fn onion_service_at(&self, port: u16, target: &str, client: Option<&str>) -> String {
        let mut control = self.control("onions").unwrap();
        control.ask("SETEVENTS HS_DESC").unwrap();
        let (flags, client) = match client {
            Some(key) => (",V3Auth", format!(" ClientAuthV3={key}")),
            None => ("", String::new()),
        };
        let made = control
            .ask(&format!(
                "ADD_ONION NEW:ED25519-V3 Flags=Detach,DiscardPK{flags} Port={port},{target}{client}"
            ))
            .unwrap();
        let service = made
            .lines()
            .find_map(|line| line.strip_prefix("250-ServiceID="));
        let service = service.unwrap_or_else(|| panic!("{made}")).to_owned();
        let uploaded = format!("650 HS_DESC UPLOADED {service}");
        let mut directories = 0;
        while directories < DIRECTORIES {
            let line = control
                .line()
                .expect("the descriptor reaches its directories");
            directories += usize::from(line.starts_with(&uploaded));
        }
        format!("{service}.onion")
    }

    /// Tells the visitors' Tor the private key, x25519 in base64, that opens an onion service.
    ///
    /// # Panics
    ///
    /// When Tor refuses.
    pub fn authorize_client(&self, onion: &str, key: &str) {
        let service = onion.trim_end_matches(".onion");
        let mut control = self.control("client").unwrap();
        let request = format!("ONION_CLIENT_AUTH_ADD {service} x25519:{key}");
        control.ask(&request).unwrap();
    }

    fn control(&self, name: &str) -> io::Result<Control> {
        Control::connect(&self.folder.join(name))
    }
}

impl Drop for TorNetwork {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
        }
        for node in &mut self.nodes {
            let _ = node.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An authority before it runs: the others have to know its keys first.
struct Authority {
    name: &'static str,
    or_port: u16,
    dir_port: u16,
    line: String,
}

impl Authority {
    fn new(folder: &Path, name: &'static str) -> Self {
        let data = folder.join(name);
        let keys = data.join("keys");
        private(&data);
        private(&keys);
        let key = |file: &str| keys.join(file);
        let (or_port, dir_port) = (free_port(), free_port());
        // three months is the shortest that it has
        let mut gencert = Command::new("tor-gencert");
        gencert
            .args(["--create-identity-key", "--passphrase-fd", "0", "-m", "3"])
            .arg("-a")
            .arg(format!("127.0.0.1:{dir_port}"))
            .arg("-i")
            .arg(key("authority_identity_key"))
            .arg("-s")
            .arg(key("authority_signing_key"))
            .arg("-c")
            .arg(key("authority_certificate"));
        said(&mut gencert, b"not a secret\n");
        let certificate = fs::read_to_string(key("authority_certificate")).unwrap();
        let identity = certificate
            .lines()
            .find_map(|line| line.strip_prefix("fingerprint "))
            .expect("a certificate has a fingerprint");
        // an authority that nobody asks: without one tor would take the real ones
        let nobody = "nobody 127.0.0.1:1 ffffffffffffffffffffffffffffffffffffffff";
        let mut list = tor(&data.join("none"));
        list.args(["--ignore-missing-torrc", "--list-fingerprint", "--quiet"])
            .args(["--contactinfo", "nobody@localhost", "--orport", "1"])
            .args(["--nickname", name, "--dirauthority", nobody])
            .arg("--datadirectory")
            .arg(&data);
        let listed = said(&mut list, b"");
        let fingerprint = listed
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("{listed}"));
        let fingerprint: String = fingerprint.split_whitespace().collect();
        let line = format!(
            "DirAuthority {name} orport={or_port} no-v2 v3ident={identity} \
             127.0.0.1:{dir_port} {fingerprint}"
        );
        Self {
            name,
            or_port,
            dir_port,
            line,
        }
    }
}

/// A connection to the control port of a node.
struct Control(BufReader<UnixStream>);

impl Control {
    fn connect(data: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(data.join("control"))?;
        stream.set_read_timeout(Some(PUBLISH))?;
        let mut control = Self(BufReader::new(stream));
        control.ask("AUTHENTICATE")?;
        Ok(control)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    /// Sends a command and returns the lines of the answer.
    fn ask(&mut self, command: &str) -> io::Result<String> {
        write!(self.0.get_mut(), "{command}\r\n")?;
        let mut answer = String::new();
        loop {
            let line = self.line()?;
            if line.starts_with("650") {
                continue;
            }
            answer.push_str(&line);
            match line.get(..4) {
                Some("250 ") => return Ok(answer.replace("\r\n", "\n")),
                Some(end) if end.ends_with(' ') => {
                    return Err(io::Error::other(answer));
                }
                _ => {}
            }
        }
    }
}

fn relay(or_port: u16, more: &str) -> String {
    format!("SocksPort 0\nORPort 127.0.0.1:{or_port}\n{more}")
}

/// Starts a node that ends with this process, whatever becomes of it.
fn run(folder: &Path, name: &str, network: &str, own: &str) -> Child {
    let data = folder.join(name);
    private(&data);
    let torrc = data.join("torrc");
    let nickname = if own.contains("ORPort") {
        format!("Nickname {name}\n")
    } else {
        String::new()
    };
    let text = format!(
        "{network}{own}{nickname}DataDirectory {}\n__OwningControllerProcess {}\n",
        data.display(),
        std::process::id(),
    );
    fs::write(&torrc, text).unwrap();
    let log = File::create(data.join("output")).unwrap();
    tor(&torrc)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("tor starts")
}

fn tor(torrc: &Path) -> Command {
    let mut command = Command::new("tor");
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .args(["--defaults-torrc", "/dev/null", "-f"])
        .arg(torrc);
    command
}

fn said(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the folder of this process, and removes those whose process is no more.
fn new_folder() -> PathBuf {
    let parent = Path::new(FOLDER).parent().expect("it is absolute");
    for entry in fs::read_dir(parent).unwrap().flatten() {
        let path = entry.path();
        let owner = path.to_str().and_then(|path| path.strip_prefix(FOLDER));
        let owner = owner.and_then(|owner| owner.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = fs::remove_dir_all(path);
        }
    }
    let own = format!("{FOLDER}{}-{}", std::process::id(), free_port());
    private(Path::new(&own));
    own.into()
}

fn private(folder: &Path) {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).recursive(true).create(folder).unwrap();
}
