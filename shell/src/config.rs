//! `config.toml`: strict in what it takes, and written so that it is the old one or the new one.
//!
//! A flag is over an environment variable is over this file is over the default. Comments and the
//! order of lines survive `config set`.

mod key;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bcm_keystore::device::DeviceSelector;
use bcm_keystore::store::{create_private_dir, write_private};
use bcm_keystore::{Chain, Hint};
use toml_edit::{Document, DocumentMut, Item, TableLike};

pub use key::{Color, ConfirmLogins, Curve, Key, PassphraseOn, Value, ValueError};

/// Longest configuration that is read; nobody writes more by hand.
const MAX_BYTES: u64 = 1 << 20;

/// Why the configuration cannot be used. The file is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file system refused.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not TOML: not UTF-8, a duplicate key, a syntax error.
    #[error("`{}` line {line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// What the parser says.
        what: String,
    },
    /// No such key, in the file.
    #[error("`{}` line {line}: unknown key `{key}`", path.display())]
    UnknownInFile {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// As written there.
        key: String,
        /// What was probably meant.
        nearest: Option<Key>,
    },
    /// The key does not take that value, in the file.
    #[error("`{}` line {line}: {error}", path.display())]
    ValueInFile {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// Key, value, and what is expected.
        error: ValueError,
    },
    /// No such key, on the command line.
    #[error("unknown configuration key `{key}`")]
    Unknown {
        /// As typed.
        key: String,
        /// What was probably meant.
        nearest: Option<Key>,
    },
    /// The key does not take that value, on the command line.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// `config set` takes pairs.
    #[error("`{0}` is not KEY=VALUE")]
    NoPair(String),
}

impl ConfigError {
    /// Tells whether what was typed is wrong, and not what is in the file.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Unknown { .. } | Self::Value(_) | Self::NoPair(_)
        )
    }
}

impl Hint for ConfigError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => "check who owns it".into(),
            Self::Syntax { path, .. } => format!("correct it: `$EDITOR {}`", path.display()),
            Self::Unknown { nearest, .. } | Self::UnknownInFile { nearest, .. } => match nearest {
                Some(key) => format!("did you mean `{}`?", key.name()),
                None => "run `config list` for the keys there are".into(),
            },
            Self::ValueInFile { error, .. } => {
                format!(
                    "correct it there, or run `bcm config unset {}`",
                    error.key.name()
                )
            }
            Self::Value(error) => format!(
                "for example `config set {}={}`",
                error.key.name(),
                error.key.example()
            ),
            Self::NoPair(_) => "for example `config set chain=regtest`".into(),
        })
    }
}

/// Looks a key up by the name that was typed.
pub fn key(name: &str) -> Result<Key, ConfigError> {
    Key::from_name(name).ok_or_else(|| ConfigError::Unknown {
        key: name.to_owned(),
        nearest: Key::nearest(name),
    })
}

/// The configuration file: what it says, each value checked.
#[derive(Clone, Debug)]
pub struct Config {
    path: PathBuf,
    values: Vec<(Key, Value)>,
}

impl Config {
    /// Reads `path`; a file that is not there says nothing.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &text(path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = document(path, text)?;
        let mut values = Vec::new();
        for entry in entries(document.as_table(), "") {
            let line = line(text, entry.at);
            let path = path.to_owned();
            let Some(key) = Key::from_name(&entry.name) else {
                return Err(ConfigError::UnknownInFile {
                    path,
                    line,
                    nearest: Key::nearest(&entry.name),
                    key: entry.name,
                });
            };
            let value = match entry.item.as_str() {
                Some(text) => key.parse(text),
                None => Err(key.not_text(entry.item)),
            };
            let value = value.map_err(|error| ConfigError::ValueInFile { path, line, error })?;
            values.push((key, value));
        }
        Ok(Self {
            path: path.to_owned(),
            values,
        })
    }

    /// Returns what the file says of `key`.
    pub fn value(&self, key: Key) -> Option<&Value> {
        Some(&self.values.iter().find(|(found, _)| *found == key)?.1)
    }

    /// Writes the pairs into the file, all or none, and reads it again.
    pub fn set(&mut self, pairs: &[(Key, Value)]) -> Result<(), ConfigError> {
        self.change(|document| {
            for (key, value) in pairs {
                put(document, *key, value);
            }
        })
    }

    /// Removes `key` from the file at `path`; `false` when it was not in there.
    ///
    /// Works on a file whose values are wrong, which is how such a file is mended.
    pub fn unset(path: &Path, key: Key) -> Result<bool, ConfigError> {
        let text = text(path)?;
        let mut document = document(path, &text)?.into_mut();
        let removed = match key.section() {
            None => document.remove(key.leaf()).is_some(),
            Some(section) => {
                let table = document.get_mut(section).and_then(Item::as_table_like_mut);
                let (removed, empty) = match table {
                    Some(table) => (table.remove(key.leaf()).is_some(), table.is_empty()),
                    None => (false, false),
                };
                if removed && empty {
                    document.remove(section);
                }
                removed
            }
        };
        if removed {
            write(path, &document)?;
        }
        Ok(removed)
    }

    fn change(&mut self, change: impl FnOnce(&mut DocumentMut)) -> Result<(), ConfigError> {
        let text = text(&self.path)?;
        let mut document = document(&self.path, &text)?.into_mut();
        change(&mut document);
        let changed = Self::parse(&self.path, &document.to_string())?;
        write(&self.path, &document)?;
        *self = changed;
        Ok(())
    }

    /// Returns the chain to work on, if the file names one.
    pub fn chain(&self) -> Option<Chain> {
        match self.value(Key::Chain) {
            Some(Value::Chain(chain)) => Some(*chain),
            _ => None,
        }
    }

    /// Returns which way to look for a device.
    pub fn device(&self) -> DeviceSelector {
        match self.value(Key::Device) {
            Some(Value::Device(selector)) => selector.clone(),
            _ => DeviceSelector::Auto,
        }
    }

    /// Returns where the passphrase is typed.
    pub fn passphrase_on(&self) -> PassphraseOn {
        match self.value(Key::PassphraseOn) {
            Some(Value::PassphraseOn(place)) => *place,
            _ => PassphraseOn::Device,
        }
    }

    /// Returns after how long without a request the session locks; `None` never.
    pub fn idle(&self) -> Option<Duration> {
        match self.value(Key::LockIdle) {
            Some(Value::Idle(idle)) => *idle,
            _ => Some(key::DEFAULT_IDLE),
        }
    }

    /// Returns when to use colours.
    pub fn color(&self) -> Color {
        match self.value(Key::Color) {
            Some(Value::Color(color)) => *color,
            _ => Color::Auto,
        }
    }

    /// Returns the folder of the passwords, if another than the wallet's own was chosen.
    pub fn passwords(&self) -> Option<PathBuf> {
        match self.value(Key::PasswordsPath) {
            Some(Value::Folder(path)) => Some(crate::env::expand_home(path.as_os_str())),
            _ => None,
        }
    }

    /// Returns the folder of the person's own stacks.
    pub fn stacks(&self) -> Option<PathBuf> {
        match self.value(Key::StacksPath) {
            Some(Value::Folder(path)) => Some(crate::env::expand_home(path.as_os_str())),
            _ => None,
        }
    }

    /// Returns where images get Debian's packages from.
    pub fn image_mirror(&self) -> Option<String> {
        match self.value(Key::ImageMirror) {
            Some(Value::Mirror(mirror)) => Some(mirror.clone()),
            _ => None,
        }
    }

    /// Returns where wallets get blocks from.
    pub fn wallet_source(&self) -> Option<crate::wallet::Endpoint> {
        match self.value(Key::WalletSource) {
            Some(Value::Source(endpoint)) => Some(endpoint.clone()),
            _ => None,
        }
    }

    /// Returns the file with the cookie of bitcoind's RPC.
    pub fn wallet_cookie(&self) -> Option<std::path::PathBuf> {
        match self.value(Key::WalletCookie) {
            Some(Value::Path(path)) => Some(path.clone()),
            _ => None,
        }
    }

    /// Returns Tor's SOCKS port for wallets.
    pub fn wallet_tor(&self) -> String {
        match self.value(Key::WalletTor) {
            Some(Value::Socket(address)) => address.to_string(),
            _ => self.tor_socks().to_string(),
        }
    }

    /// Returns Tor's SOCKS port.
    pub fn tor_socks(&self) -> SocketAddr {
        match self.value(Key::TorSocks) {
            Some(Value::Socket(address)) => *address,
            _ => (Ipv4Addr::LOCALHOST, 9050).into(),
        }
    }

    /// Returns what the device confirms of logins with certificates.
    pub fn confirm_logins(&self) -> ConfirmLogins {
        match self.value(Key::SshConfirm) {
            Some(Value::Confirm(what)) => *what,
            _ => ConfirmLogins::Session,
        }
    }

    /// Returns the curve of new SSH keys.
    pub fn curve(&self) -> Curve {
        match self.value(Key::SshCurve) {
            Some(Value::Curve(curve)) => *curve,
            _ => Curve::Ed25519,
        }
    }
}

struct Entry<'a> {
    name: String,
    item: &'a Item,
    at: usize,
}

/// Flattens tables into dotted names; an empty or unknown table is an entry of its own.
fn entries<'a>(table: &'a dyn TableLike, prefix: &str) -> Vec<Entry<'a>> {
    let mut found = Vec::new();
    for (name, item) in table.iter() {
        let at = table
            .key(name)
            .and_then(toml_edit::Key::span)
            .or_else(|| item.span())
            .map_or(0, |span| span.start);
        let full = format!("{prefix}{name}");
        match item.as_table_like() {
            Some(below) if Key::is_section(&full) => {
                found.extend(entries(below, &format!("{full}.")));
            }
            _ => found.push(Entry {
                name: full,
                item,
                at,
            }),
        }
    }
    found
}

fn put(document: &mut DocumentMut, key: Key, value: &Value) {
    let table: &mut dyn TableLike = match key.section() {
        None => document.as_table_mut(),
        Some(section) => {
            let fresh = || Item::Table(toml_edit::Table::new());
            let item = document.entry(section).or_insert_with(fresh);
            if !item.is_table_like() {
                *item = fresh();
            }
            item.as_table_like_mut()
                .expect("it is one since the line above")
        }
    };
    let mut new = toml_edit::Value::from(value.to_string());
    match table.get_mut(key.leaf()).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            table.insert(key.leaf(), Item::Value(new));
        }
    }
}

fn text(path: &Path) -> Result<String, ConfigError> {
    let refuse = |source| ConfigError::Io {
        path: path.to_owned(),
        source,
    };
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(refuse(error)),
    };
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        ConfigError::Syntax {
            path: path.to_owned(),
            line,
            what: "not UTF-8".into(),
        }
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    std::fs::read(path)
}

fn document<'a>(path: &Path, text: &'a str) -> Result<Document<&'a str>, ConfigError> {
    Document::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: line(text, error.span().map_or(0, |span| span.start)),
        what: error
            .message()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    })
}

fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Returns the file that `path` stands for: a link is kept, and what it leads to is written.
fn behind_links(path: &Path) -> PathBuf {
    const MOST: usize = 16;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let Ok(target) = std::fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(Path::new(".")).join(target);
    }
    path
}

fn write(path: &Path, document: &DocumentMut) -> Result<(), ConfigError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_private_dir(folder)
        .and_then(|()| write_private(&behind_links(path), document.to_string().as_bytes()))
        .map_err(|source| ConfigError::Io {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests;
