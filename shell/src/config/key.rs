//! Every key of the configuration: its name, what it takes, and what holds without it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bcm_keystore::Chain;
use bcm_keystore::device::DeviceSelector;
use clap::ValueEnum;

use crate::wallet::Endpoint;

/// The idle lock of a person who set none.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(600);

/// The longest idle time: over a day is `off`.
const MAX_IDLE: Duration = Duration::from_secs(24 * 3600);

/// A key of the configuration. There is none that nothing reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The chain to work on.
    Chain,
    /// Which way to look for a device.
    Device,
    /// Where the passphrase is typed.
    PassphraseOn,
    /// When a session locks by itself.
    LockIdle,
    /// When to use colours.
    Color,
    /// The curve of new SSH keys.
    SshCurve,
    /// Whether the device confirms each login, or once for a session.
    SshConfirm,
    /// The folder of the passwords.
    PasswordsPath,
    /// Where images get Debian's packages from.
    ImageMirror,
    /// Where wallets get blocks from.
    WalletSource,
    /// Where bitcoind keeps the cookie of its RPC.
    WalletCookie,
    /// Tor's SOCKS port, for wallets alone.
    WalletTor,
    /// Tor's SOCKS port.
    TorSocks,
    /// The folder of the person's own stacks.
    StacksPath,
}

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Key::Chain`].
    Chain(Chain),
    /// Of [`Key::Device`].
    Device(DeviceSelector),
    /// Of [`Key::PassphraseOn`].
    PassphraseOn(PassphraseOn),
    /// Of [`Key::LockIdle`]; `None` is `off`.
    Idle(Option<Duration>),
    /// Of [`Key::Color`].
    Color(Color),
    /// Of [`Key::SshCurve`].
    Curve(Curve),
    /// Of [`Key::SshConfirm`].
    Confirm(ConfirmLogins),
    /// Of [`Key::PasswordsPath`] and [`Key::StacksPath`], as it was typed.
    Folder(PathBuf),
    /// Of [`Key::WalletSource`].
    Source(Endpoint),
    /// Of [`Key::ImageMirror`].
    Mirror(String),
    /// Of [`Key::WalletCookie`].
    Path(PathBuf),
    /// Of [`Key::WalletTor`] and [`Key::TorSocks`].
    Socket(SocketAddr),
}

/// Where the passphrase is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PassphraseOn {
    /// On the device: this computer never sees it
    Device,
    /// On this computer, with no echo
    Host,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Also in files and pipes
    Always,
    /// Nowhere
    Never,
}

/// What the device confirms of logins with certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfirmLogins {
    /// The certificate of the session, once
    Session,
    /// Each login
    Each,
}

/// A curve for SSH keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Curve {
    /// Ed25519, the default of OpenSSH
    Ed25519,
    /// NIST P-256, for servers that refuse Ed25519
    #[value(name = "nist256p1")]
    Nist256p1,
}

impl From<Curve> for bcm_keystore::identity::Curve {
    fn from(curve: Curve) -> Self {
        match curve {
            Curve::Ed25519 => Self::Ed25519,
            Curve::Nist256p1 => Self::Nist256p1,
        }
    }
}

/// Why a key does not take a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be `{value}`, expected {}", key.name(), key.takes())]
pub struct ValueError {
    /// The key.
    pub key: Key,
    /// The value, printable.
    pub value: String,
}

impl Key {
    /// Every key, in the order of `config list`.
    pub const ALL: [Self; 14] = [
        Self::Chain,
        Self::Device,
        Self::PassphraseOn,
        Self::LockIdle,
        Self::Color,
        Self::SshCurve,
        Self::SshConfirm,
        Self::PasswordsPath,
        Self::ImageMirror,
        Self::WalletSource,
        Self::WalletCookie,
        Self::WalletTor,
        Self::TorSocks,
        Self::StacksPath,
    ];

    /// Returns the dotted name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Device => "device",
            Self::PassphraseOn => "passphrase_on",
            Self::LockIdle => "lock.idle",
            Self::Color => "color",
            Self::SshCurve => "ssh.curve",
            Self::SshConfirm => "ssh.confirm",
            Self::PasswordsPath => "passwords.path",
            Self::ImageMirror => "image.mirror",
            Self::WalletSource => "wallet.source",
            Self::WalletCookie => "wallet.cookie",
            Self::WalletTor => "wallet.tor",
            Self::TorSocks => "tor.socks",
            Self::StacksPath => "stacks.path",
        }
    }

    /// Returns what the key takes, for a person.
    pub fn takes(self) -> &'static str {
        match self {
            Self::Chain => "mainnet, testnet4, signet or regtest",
            Self::Device => "auto, usb, bridge[:URL], udp[:HOST:PORT] or simulator",
            Self::PassphraseOn => "device or host",
            Self::LockIdle => "a time from 10s to 24h such as 90s, 10m or 2h, or off",
            Self::Color => "auto, always or never",
            Self::SshCurve => "ed25519 or nist256p1",
            Self::SshConfirm => "session or each",
            Self::ImageMirror => {
                "an address, a line or a file of sources, as `mmdebstrap` takes it"
            }
            Self::PasswordsPath => "a folder such as ~/.passage/store, from / or ~/",
            Self::WalletSource => {
                "http://HOST:PORT (bitcoind), tcp://HOST:PORT (Electrum) or file:PATH"
            }
            Self::WalletCookie => "the whole path of the file with USER:PASSWORD of bitcoind's RPC",
            Self::WalletTor | Self::TorSocks => "IP:PORT of Tor's SOCKS port",
            Self::StacksPath => "a folder with a folder for each stack, from / or ~/",
        }
    }

    /// Returns the words that complete it, as far as they can be listed.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Chain => &["mainnet", "testnet4", "signet", "regtest"],
            Self::Device => &["auto", "usb", "bridge", "udp", "simulator"],
            Self::PassphraseOn => &["device", "host"],
            Self::LockIdle => &["10m", "1h", "off"],
            Self::Color => &["auto", "always", "never"],
            Self::SshCurve => &["ed25519", "nist256p1"],
            Self::SshConfirm => &["session", "each"],
            Self::PasswordsPath => &["~/.passage/store"],
            Self::ImageMirror => &["/etc/apt/sources.list"],
            Self::WalletSource => &["http://127.0.0.1:8332", "tcp://127.0.0.1:50001"],
            Self::WalletCookie => &["/var/lib/bitcoind/.cookie"],
            Self::WalletTor | Self::TorSocks => &["127.0.0.1:9050"],
            Self::StacksPath => &["~/stacks"],
        }
    }

    /// Returns a value that it takes.
    pub fn example(self) -> &'static str {
        match self {
            Self::Chain => "regtest",
            _ => self.words()[0],
        }
    }

    /// Returns what holds when nothing is said.
    pub fn default(self) -> &'static str {
        match self {
            Self::Chain => "mainnet on a Trezor, regtest on a simulated one",
            Self::Device | Self::Color => "auto",
            Self::PassphraseOn => "device",
            Self::LockIdle => "10m",
            Self::SshCurve => "ed25519",
            Self::SshConfirm => "session",
            Self::PasswordsPath => "passwords in the folder of the wallet",
            Self::ImageMirror => "the system's own sources",
            Self::WalletSource => "none",
            Self::WalletCookie => "none",
            Self::WalletTor => "that of tor.socks",
            Self::TorSocks => "127.0.0.1:9050",
            Self::StacksPath => "the built-in stacks alone",
        }
    }

    /// Looks a key up.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Returns the key whose name is near enough to be what was meant.
    pub fn nearest(name: &str) -> Option<Self> {
        let alike = |key: &Self| {
            let leaf = key.leaf();
            strsim::jaro_winkler(name, key.name()).max(strsim::jaro_winkler(name, leaf))
        };
        Self::ALL
            .into_iter()
            .filter(|key| alike(key) > 0.75)
            .max_by(|a, b| alike(a).total_cmp(&alike(b)))
    }

    /// Tells whether `name` is a table that holds keys.
    pub fn is_section(name: &str) -> bool {
        Self::ALL.into_iter().any(|key| key.section() == Some(name))
    }

    /// Returns the table it stands in, `None` at the top.
    pub fn section(self) -> Option<&'static str> {
        Some(self.name().split_once('.')?.0)
    }

    /// Returns its name within that table.
    pub fn leaf(self) -> &'static str {
        self.name()
            .split_once('.')
            .map_or(self.name(), |(_, leaf)| leaf)
    }

    /// Checks `text` as a value.
    pub fn parse(self, text: &str) -> Result<Value, ValueError> {
        let refuse = || ValueError {
            key: self,
            value: crate::ui::printable(text),
        };
        match self {
            Self::Chain => text.parse().map(Value::Chain).map_err(|_| refuse()),
            Self::Device => text.parse().map(Value::Device).map_err(|_| refuse()),
            Self::PassphraseOn => PassphraseOn::from_str(text, false)
                .map(Value::PassphraseOn)
                .map_err(|_| refuse()),
            Self::LockIdle => idle(text).map(Value::Idle).ok_or_else(refuse),
            Self::Color => Color::from_str(text, false)
                .map(Value::Color)
                .map_err(|_| refuse()),
            Self::SshCurve => Curve::from_str(text, false)
                .map(Value::Curve)
                .map_err(|_| refuse()),
            Self::SshConfirm => ConfirmLogins::from_str(text, false)
                .map(Value::Confirm)
                .map_err(|_| refuse()),
            // a relative one would be another store in each folder
            Self::PasswordsPath | Self::StacksPath => match Path::new(text) {
                path if path.is_absolute() || path.starts_with("~") => {
                    Ok(Value::Folder(path.to_owned()))
                }
                _ => Err(refuse()),
            },
            Self::ImageMirror => {
                let scheme = text.split_once(":/").map(|(scheme, _)| scheme);
                let address = scheme.is_some_and(|scheme| {
                    let known = |c: char| c.is_ascii_alphanumeric() || c == '+';
                    !scheme.is_empty() && scheme.chars().all(known)
                });
                let source = address || text.starts_with('/') || text.starts_with("deb ");
                match source && !text.contains(char::is_control) {
                    true => Ok(Value::Mirror(text.to_owned())),
                    false => Err(refuse()),
                }
            }
            Self::WalletSource => text.parse().map(Value::Source).map_err(|_| refuse()),
            // the file of the configuration outlives the folder that it was written from
            Self::WalletCookie if !text.starts_with('/') => Err(refuse()),
            Self::WalletCookie => Ok(Value::Path(text.into())),
            Self::WalletTor | Self::TorSocks => {
                text.parse().map(Value::Socket).map_err(|_| refuse())
            }
        }
    }

    /// Refuses an item of the file that is no string.
    pub fn not_text(self, item: &toml_edit::Item) -> ValueError {
        ValueError {
            key: self,
            value: crate::ui::printable(item.to_string().trim()),
        }
    }
}

fn idle(text: &str) -> Option<Option<Duration>> {
    if text == "off" {
        return Some(None);
    }
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let time = Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(seconds)?);
    (Duration::from_secs(10)..=MAX_IDLE)
        .contains(&time)
        .then_some(Some(time))
}

fn word(value: &impl ValueEnum) -> String {
    let word = value.to_possible_value();
    word.expect("no value is skipped").get_name().to_owned()
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(chain) => chain.fmt(f),
            Self::Device(selector) => selector.fmt(f),
            Self::PassphraseOn(place) => f.write_str(&word(place)),
            Self::Idle(None) => f.write_str("off"),
            Self::Idle(Some(time)) => match time.as_secs() {
                seconds if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
                seconds if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
                seconds => write!(f, "{seconds}s"),
            },
            Self::Color(color) => f.write_str(&word(color)),
            Self::Curve(curve) => f.write_str(&word(curve)),
            Self::Confirm(what) => f.write_str(&word(what)),
            Self::Folder(path) => path.display().fmt(f),
            Self::Source(endpoint) => endpoint.fmt(f),
            Self::Mirror(mirror) => f.write_str(mirror),
            Self::Path(path) => path.display().fmt(f),
            Self::Socket(address) => address.fmt(f),
        }
    }
}
