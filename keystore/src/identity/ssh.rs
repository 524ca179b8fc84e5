//! The strict identities that bcm makes for logins: one way to read them, one key.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::str::FromStr;

use super::{IdentityUri, ascii, quoted};
use crate::hint::Hint;

/// Longest login name, in characters: what `useradd` allows.
pub const MAX_LOGIN_NAME: usize = 32;

/// Longest `user@host:port`, in characters: one page of the device's screen.
pub const MAX_SSH_IDENTITY: usize = 112;

/// Who logs in where: names the SSH key `ssh://user@host[:port]`, index 0.
///
/// A user is letters, digits and `._+$-`, a host letters, digits and `._-`; neither is empty or
/// starts with `-`. So the parts cannot run into each other, a shell or `ssh` cannot mistake them
/// for something else, and what the device shows is what was typed. Case is kept, as it changes
/// the key. A port that is written is part of the name: `bcm@node:22` is another key than
/// `bcm@node`, as it is in trezor-agent.
///
/// An IPv6 host stands in brackets and is kept in the form of
/// [RFC 5952](https://www.rfc-editor.org/rfc/rfc5952), `[2001:db8::1]`, so that one address has one
/// key; the brackets keep its colons apart from the port's. Zone identifiers (`%eth0`) are refused:
/// they mean something on one machine alone.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct SshIdentity {
    user: String,
    host: String,
    port: Option<NonZeroU16>,
}

impl SshIdentity {
    /// Makes the identity of `user` at `host`; an IPv6 address comes with or without brackets.
    ///
    /// # Errors
    ///
    /// Fails with [`SshIdentityError`] when a part is empty, too long, or holds what does not belong.
    pub fn new(user: &str, host: &str, port: Option<NonZeroU16>) -> Result<Self, SshIdentityError> {
        check(Part::User, user)?;
        if user.len() > MAX_LOGIN_NAME {
            return Err(SshIdentityError::TooLong {
                part: Part::User,
                length: user.len(),
                most: MAX_LOGIN_NAME,
            });
        }
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => match host.strip_prefix('[') {
                Some(_) => bracketed(host)?,
                None => {
                    check(Part::Host, host)?;
                    host.to_owned()
                }
            },
        };
        let identity = Self {
            user: user.to_owned(),
            host,
            port,
        };
        let length = identity.login().len();
        if length > MAX_SSH_IDENTITY {
            return Err(SshIdentityError::TooLong {
                part: Part::Host,
                length,
                most: MAX_SSH_IDENTITY,
            });
        }
        Ok(identity)
    }

    /// Returns the login name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the host, an IPv6 address with its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port that is part of the name.
    pub fn port(&self) -> Option<NonZeroU16> {
        self.port
    }

    /// Returns `user@host[:port]`, as a person types it.
    pub fn login(&self) -> String {
        match self.port {
            Some(port) => format!("{}@{}:{port}", self.user, self.host),
            None => format!("{}@{}", self.user, self.host),
        }
    }

    /// Returns the name of the key on the device: `ssh://user@host[:port]`, index 0.
    pub fn uri(&self) -> IdentityUri {
        IdentityUri {
            proto: Some("ssh".to_owned()),
            user: Some(self.user.clone()),
            host: self.host.clone(),
            port: self.port.map(|port| port.to_string()),
            path: None,
            index: 0,
        }
    }
}

impl FromStr for SshIdentity {
    type Err = SshIdentityError;

    /// Reads `[ssh://]user@host[:port]`.
    fn from_str(text: &str) -> Result<Self, SshIdentityError> {
        let login = text.strip_prefix("ssh://").unwrap_or(text);
        if let Some((proto, _)) = login.split_once("://") {
            return Err(SshIdentityError::Proto(quoted(proto)));
        }
        let (user, rest) = login
            .split_once('@')
            .ok_or_else(|| SshIdentityError::NoUser(quoted(text)))?;
        let (host, port) = match rest.find(']') {
            Some(end) if rest.starts_with('[') => match &rest[end + 1..] {
                "" => (rest, None),
                after => match after.strip_prefix(':') {
                    Some(port) => (&rest[..=end], Some(port)),
                    None => return Err(SshIdentityError::Address(quoted(rest))),
                },
            },
            _ if rest.parse::<Ipv6Addr>().is_ok() => {
                return Err(SshIdentityError::NoBrackets(rest.to_owned()));
            }
            _ => match rest.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map(parse_port).transpose()?;
        Self::new(user, host, port)
    }
}

impl TryFrom<String> for SshIdentity {
    type Error = SshIdentityError;

    fn try_from(text: String) -> Result<Self, SshIdentityError> {
        text.parse()
    }
}

impl From<SshIdentity> for String {
    fn from(identity: SshIdentity) -> Self {
        identity.to_string()
    }
}

impl fmt::Display for SshIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh://{}", self.login())
    }
}

/// A part of an identity, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The login name.
    User,
    /// The host name or address.
    Host,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Host => "host",
        })
    }
}

/// Why bcm does not make an SSH key of that name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SshIdentityError {
    /// There is no `@`.
    #[error("`{0}` names no user")]
    NoUser(String),
    /// A scheme other than `ssh`.
    #[error("`{0}://` is not the name of an SSH key")]
    Proto(String),
    /// Nothing stands where the user or the host belongs.
    #[error("the {0} is empty")]
    Empty(Part),
    /// A user or host that programs would take for an option.
    #[error("{part} `{text}` starts with `-`")]
    Dash {
        /// Which part.
        part: Part,
        /// What was given.
        text: String,
    },
    /// A character that would make the name ambiguous, or does not belong in it.
    #[error("{part} `{text}` holds {}", named(*character))]
    Character {
        /// Which part.
        part: Part,
        /// What was given, made printable.
        text: String,
        /// The first character that does not belong.
        character: char,
        /// The same name in ASCII, which gives the key that trezor-agent would use.
        ascii: Option<String>,
    },
    /// More than the device shows on a page, or a system takes as a login name.
    #[error("{part} makes {length} characters, {most} at most")]
    TooLong {
        /// Which part.
        part: Part,
        /// How many there are: of the user alone, or of `user@host:port`.
        length: usize,
        /// How many there may be.
        most: usize,
    },
    /// An IPv6 address whose last group could be a port.
    #[error("IPv6 address `{0}` has no brackets")]
    NoBrackets(String),
    /// What stands in brackets is no IPv6 address.
    #[error("`{0}` is not an IPv6 address in brackets")]
    Address(String),
    /// The port is not a decimal number from 1 to 65535.
    #[error("port `{0}` is not a number from 1 to 65535")]
    Port(String),
}

impl Hint for SshIdentityError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoUser(_) | Self::Empty(_) | Self::Proto(_) => {
                "write it as `user@host` or `user@host:port`".to_owned()
            }
            Self::Dash { .. } => "write the name without the `-` in front".to_owned(),
            Self::Character {
                ascii: Some(ascii), ..
            } => format!("write `{ascii}`, which is the name that trezor-agent would use"),
            Self::Character {
                part: Part::User, ..
            } => "a user is letters, digits and `._+$-`".to_owned(),
            Self::Character {
                part: Part::Host, ..
            } => "a host is letters, digits and `._-`, or an IPv6 address in brackets".to_owned(),
            Self::TooLong {
                part: Part::User, ..
            } => "check the login name".to_owned(),
            Self::TooLong { .. } => "use a shorter name for the host".to_owned(),
            Self::NoBrackets(address) => format!("write `user@[{address}]`"),
            Self::Address(_) => "write it as `user@[2001:db8::1]:22`".to_owned(),
            Self::Port(_) => "write the port in decimal, without zeros in front".to_owned(),
        })
    }
}

fn named(character: char) -> String {
    match character {
        ' ' => "a space".to_owned(),
        '!'..='~' => format!("`{character}`"),
        other => format!("the character U+{:04X}", u32::from(other)),
    }
}

fn check(part: Part, text: &str) -> Result<(), SshIdentityError> {
    if text.is_empty() {
        return Err(SshIdentityError::Empty(part));
    }
    if text.starts_with('-') {
        return Err(SshIdentityError::Dash {
            part,
            text: quoted(text),
        });
    }
    let belongs = |c: char| {
        c.is_ascii_alphanumeric()
            || match part {
                Part::User => "._+$-".contains(c),
                Part::Host => "._-".contains(c),
            }
    };
    match text.chars().find(|c| !belongs(*c)) {
        None => Ok(()),
        Some(character) => Err(SshIdentityError::Character {
            part,
            text: quoted(text),
            character,
            ascii: ascii(text)
                .ok()
                .filter(|ascii| ascii != text && ascii.chars().all(belongs)),
        }),
    }
}

fn bracketed(host: &str) -> Result<String, SshIdentityError> {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .and_then(|address| address.parse::<Ipv6Addr>().ok())
        .map(|address| format!("[{address}]"))
        .ok_or_else(|| SshIdentityError::Address(quoted(host)))
}

fn parse_port(text: &str) -> Result<NonZeroU16, SshIdentityError> {
    let decimal = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse()
        .ok()
        .filter(|_| decimal)
        .ok_or_else(|| SshIdentityError::Port(quoted(text)))
}
