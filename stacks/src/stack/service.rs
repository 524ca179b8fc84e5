//! What a stack runs: services, their volumes, files, secrets and limits.

use std::collections::BTreeMap;

use bcm_keystore::Chain;
use serde::{Deserialize, Serialize};

use super::StackName;
use super::text::{
    Capability, ContainerPath, EnvName, EnvValue, FileName, Line, PartName, Signal, UserId, Word,
};

/// One container of a stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name within the stack.
    pub name: PartName,
    /// The program, in place of the image's own entry point.
    #[serde(default)]
    pub command: Vec<Word>,
    /// What the program is called with.
    #[serde(default)]
    pub args: Vec<Word>,
    /// Whom it runs as.
    pub user: UserId,
    /// Whether its root file system can be written to, and why it has to be.
    #[serde(default)]
    pub writable_root: Option<Line>,
    /// Folders in memory.
    #[serde(default)]
    pub tmpfs: Vec<Tmpfs>,
    /// What it keeps of the capabilities, all of which are dropped first.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// Its environment; a variable that renders to nothing is left out.
    #[serde(default)]
    pub env: BTreeMap<EnvName, EnvValue>,
    /// Where it listens, by chain; `all` where chains do not differ.
    #[serde(default)]
    pub ports: BTreeMap<PortsOn, BTreeMap<PartName, u16>>,
    /// Where volumes are mounted.
    #[serde(default, rename = "mount")]
    pub mounts: Vec<VolumeMount>,
    /// The files that are rendered for it.
    #[serde(default, rename = "file")]
    pub files: Vec<File>,
    /// The secrets that it finds as files of their own.
    #[serde(default, rename = "secret_file")]
    pub secret_files: Vec<SecretFile>,
    /// The stacks whose services it speaks to, besides its own.
    #[serde(default)]
    pub uses: Vec<StackName>,
    /// How it leaves.
    #[serde(default)]
    pub tor: Tor,
    /// Whether it has a route out. The stack `tor` alone may.
    #[serde(default)]
    pub egress: bool,
    /// Where the keys of every onion service are put. The stack `tor` alone may have them.
    #[serde(default)]
    pub onion_keys: Option<ContainerPath>,
    /// Its onion services.
    #[serde(default, rename = "onion")]
    pub onions: Vec<Onion>,
    /// What it may take.
    pub limits: Limits,
    /// How long it may take to stop before it is killed.
    pub stop_grace_s: u32,
    /// The signal that stops it.
    #[serde(default)]
    pub stop_signal: Option<Signal>,
    /// How long it may take until it is ready, the first synchronisation not counted.
    pub start_limit_s: u32,
    /// How the application says that it is ready.
    pub ready: Probe,
}

/// The chains that a table of ports is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortsOn {
    /// Each.
    All,
    /// Mainnet.
    Mainnet,
    /// Testnet4.
    Testnet4,
    /// Signet.
    Signet,
    /// Regtest.
    Regtest,
}

impl From<Chain> for PortsOn {
    fn from(chain: Chain) -> Self {
        match chain {
            Chain::Mainnet => Self::Mainnet,
            Chain::Testnet4 => Self::Testnet4,
            Chain::Signet => Self::Signet,
            Chain::Regtest => Self::Regtest,
        }
    }
}

impl Service {
    /// Returns the ports on `chain`, by name.
    pub fn ports_on(&self, chain: Chain) -> BTreeMap<&str, u16> {
        [PortsOn::All, chain.into()]
            .iter()
            .filter_map(|on| self.ports.get(on))
            .flatten()
            .map(|(name, port)| (name.as_str(), *port))
            .collect()
    }
}

/// A folder in memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tmpfs {
    /// Where.
    pub path: ContainerPath,
    /// How large at most.
    pub size_mb: u32,
}

/// A volume in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeMount {
    /// The volume.
    pub volume: PartName,
    /// The stack that it belongs to, when it is another's: then both are on one host, and the volume is
    /// mounted only where that stack runs.
    #[serde(default)]
    pub of: Option<StackName>,
    /// Where.
    pub path: ContainerPath,
    /// Cannot be written to.
    #[serde(default)]
    pub read_only: bool,
}

/// A file that is rendered from a template.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The template, in the folder of the stack.
    pub template: FileName,
    /// Where it is found.
    pub path: ContainerPath,
    /// It holds secrets, and is one.
    #[serde(default)]
    pub secret: bool,
    /// Its mode, in octal digits; `0440` unless given, and readable by the user of the service.
    #[serde(default)]
    pub mode: Option<Mode>,
}

/// A secret as a file of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// The secret, of this stack.
    pub secret: PartName,
    /// Where it is found.
    pub path: ContainerPath,
    /// What stands before it, such as `user:`.
    #[serde(default)]
    pub prefix: Option<Word>,
}

/// The mode of a file: read and execute, never write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// What a file has unless it says otherwise.
    pub const READ: Self = Self(0o440);

    /// Returns its bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bits = match (text.len(), text.bytes().all(|b| b.is_ascii_digit())) {
            (4, true) => u32::from_str_radix(&text, 8).ok(),
            _ => None,
        };
        bits.filter(|bits| bits & !0o555 == 0)
            .map(Self)
            .ok_or_else(|| {
                let shown: String = text.chars().take(20).flat_map(char::escape_debug).collect();
                format!("`{shown}` is no mode of a file: four octal digits, and nobody may write")
            })
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// How a service leaves the data centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tor {
    /// Not at all.
    #[default]
    None,
    /// Through the SOCKS port of the stack `tor`.
    Socks,
}

/// An onion service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Onion {
    /// Its name within the stack.
    pub name: PartName,
    /// The port that the world sees: a number, or the name of a port.
    pub virtual_port: PortRef,
    /// The port of the service.
    pub port: PartName,
    /// Whether only persons with a key may find it.
    pub client_auth: bool,
}

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    /// The number.
    Number(u16),
    /// The name of a port of the service.
    Name(PartName),
}

/// What a service may take.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory, on mainnet.
    pub memory_mb: u32,
    /// Memory during the first synchronisation, where that takes more.
    #[serde(default)]
    pub memory_sync_mb: Option<u32>,
    /// Processes and threads.
    pub pids: u32,
    /// Thousandths of a processor; no limit when absent.
    #[serde(default)]
    pub cpu_milli: Option<u32>,
    /// Disk on mainnet, an estimate to plan with.
    pub disk_gb: u32,
}

/// How an application says that it is ready: exactly one of `exec`, `http`, `electrum`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// A command in the container that has to succeed.
    #[serde(default)]
    pub exec: Vec<Word>,
    /// A request to a port of the service.
    #[serde(default)]
    pub http: Option<HttpProbe>,
    /// The port that has to answer `server.version` and `server.ping` of the Electrum protocol.
    #[serde(default)]
    pub electrum: Option<PartName>,
    /// What its JSON answer has to say. Without any, an answer is enough.
    #[serde(default)]
    pub expect: Vec<Expect>,
    /// What its answer has to contain, where it is no JSON.
    #[serde(default)]
    pub contains: Option<Line>,
    /// Where the JSON answer has the height reached, as a JSON pointer.
    #[serde(default)]
    pub height: Option<Pointer>,
    /// Where it has the height to reach.
    #[serde(default)]
    pub target: Option<Pointer>,
    /// Where it has the share that is done, from 0 to 1.
    #[serde(default)]
    pub progress: Option<Pointer>,
}

/// A request for a probe.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// The port.
    pub port: PartName,
    /// The path.
    pub path: Word,
    /// The status that is expected.
    pub status: u16,
    /// The file in the container with `USER:PASSWORD`, where one is asked for.
    #[serde(default)]
    pub credentials: Option<ContainerPath>,
}

/// A value in a JSON answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Where.
    pub at: Pointer,
    /// What stands there; nothing when absent.
    #[serde(default)]
    pub is: Option<Scalar>,
}

/// A simple value of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(Line),
}

/// A JSON pointer, [RFC 6901](https://www.rfc-editor.org/rfc/rfc6901).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub struct Pointer(Line);

impl Pointer {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<Line> for Pointer {
    type Error = String;

    fn try_from(line: Line) -> Result<Self, String> {
        if line.as_str().is_empty() || line.as_str().starts_with('/') {
            Ok(Self(line))
        } else {
            Err(format!("`{line}` is no JSON pointer: it begins with `/`"))
        }
    }
}

impl From<Pointer> for Line {
    fn from(pointer: Pointer) -> Self {
        pointer.0
    }
}

/// A volume, and what a backup does with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name within the stack.
    pub name: PartName,
    /// Whom it belongs to, where the image does not say so.
    #[serde(default)]
    pub owner: Option<UserId>,
    /// What is in it.
    pub holds: Line,
    /// What a backup does with it.
    pub backup: Backup,
}

/// What a backup does with a volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Whether it is in the backup.
    pub keep: bool,
    /// Why.
    pub reason: Line,
    /// How what is saved is made to fit together.
    #[serde(default)]
    pub consistent: Consistent,
    /// The application's own export, run in `service`; its files are what is saved.
    #[serde(default)]
    pub export: Vec<Word>,
    /// The service that `export` runs in.
    #[serde(default)]
    pub service: Option<PartName>,
    /// The paths that alone are saved; all when empty. `*` stands for one name.
    #[serde(default)]
    pub include: Vec<Line>,
    /// The paths that are left out.
    #[serde(default)]
    pub exclude: Vec<Line>,
    /// What must never come back older than it was: a restore refuses these.
    #[serde(default)]
    pub never_roll_back: Vec<Line>,
}

/// How what is saved is made to fit together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistent {
    /// The service is stopped while the copy is taken.
    #[default]
    Stop,
    /// A copy of a running service is good.
    Live,
    /// The application exports.
    Export,
}
