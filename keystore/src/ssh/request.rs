//! What an agent is asked to sign: a login or a file signature, and nothing else.
//!
//! A user key signs whatever an agent is given, so the agent looks first. Two shapes are known and
//! cannot be taken for each other: the request of a login begins with the length of a session
//! identifier, a file signature with `SSHSIG`. Everything else, certificates included, is refused.

use ssh_agent_lib::ssh_encoding::Decode;
use ssh_key::Certificate;
use ssh_key::public::KeyData;

use crate::hint::Hint;

/// `SSH_MSG_USERAUTH_REQUEST` of [RFC 4252 section 6](https://www.rfc-editor.org/rfc/rfc4252#section-6).
const USERAUTH_REQUEST: u8 = 50;

/// First bytes of what a file signature signs.
const SSHSIG: &[u8] = b"SSHSIG";

/// Longest text that is taken from a request; login names and namespaces are far shorter.
const MAX_TEXT: usize = 256;

/// Most bytes that the device is asked to sign; a login at a host with the longest RSA key fits.
pub const MAX_SIGNED: usize = 4096;

/// Data that an SSH user key may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedData {
    /// A login.
    Login(Box<Login>),
    /// A file, a git commit.
    File(FileSignature),
}

/// A login: [RFC 4252 section 7](https://www.rfc-editor.org/rfc/rfc4252#section-7), method
/// `publickey`, or `publickey-hostbound-v00@openssh.com` of
/// [PROTOCOL section 1.8](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Identifier of the connection that is logged in to.
    pub session_id: Vec<u8>,
    /// The login name.
    pub user: String,
    /// The key that logs in.
    pub key: KeyData,
    /// The certificate of that key, where it logs in with one.
    pub certificate: Option<Box<Certificate>>,
    /// The host key that the client saw, where the method binds it.
    pub host_key: Option<KeyData>,
}

/// A signature over a file or a commit:
/// [PROTOCOL.sshsig](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSignature {
    /// What the signature is good for: `git`, `file`.
    pub namespace: String,
    /// `sha256` or `sha512`.
    pub hash: String,
    /// The hash of the file.
    pub digest: Vec<u8>,
}

/// Why an agent does not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not a login, nor a file signature.
    #[error("the data is neither a login nor a file signature")]
    Unknown,
    /// It is longer than [`MAX_SIGNED`].
    #[error("{0} bytes are too many to sign, {MAX_SIGNED} at most")]
    TooLong(usize),
    /// It begins like a login or a file signature and goes on as something else.
    #[error("the {0} is malformed")]
    Malformed(&'static str),
    /// The agent does not keep the key.
    #[error("the key {0} is not in this agent")]
    NoSuchKey(String),
    /// The login names another key than the one that is to sign.
    #[error("the login is for another key than the one that is to sign")]
    OtherKey,
    /// The login belongs to another connection than the one that the client bound.
    #[error("the login is for another connection than the one that the client proved")]
    OtherSession,
    /// The login names another host key than the one that the client bound.
    #[error("the login is for another host key than the one that the client proved")]
    OtherHost,
    /// A connection that was bound to log in somewhere asks for something else.
    #[error("a connection for a login asks for a file signature")]
    NotALogin,
    /// The request comes from a host that this agent was forwarded to.
    #[error("the agent was forwarded to another host, which may not ask it to sign")]
    Forwarded,
    /// The host is not one that a session certificate is good for: the session key signs without asking.
    #[error("the session certificate is not for {0}")]
    OtherCluster(String),
    /// The session certificate is no longer good.
    #[error("the session certificate has expired")]
    Expired,
    /// The client could not prove the host that it is connected to.
    #[error("the client did not prove which host it is connected to")]
    Unproven,
}

impl Hint for RequestError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchKey(_) => Some("list the keys of this agent with `ssh list`".into()),
            Self::Forwarded => {
                Some("connect without `ssh -A`; use `ssh -J` to pass through a host".into())
            }
            Self::Expired => Some("make a new one: `ssh certify`".into()),
            Self::OtherCluster(_) => {
                Some("it logs in to hosts whose keys are pinned, with OpenSSH 8.9 or later".into())
            }
            Self::Unknown => Some("bcm signs logins, `ssh-keygen -Y sign` and git commits".into()),
            _ => None,
        }
    }
}

impl SignedData {
    /// Reads what is to be signed.
    ///
    /// # Errors
    ///
    /// [`RequestError::Unknown`], [`RequestError::TooLong`] or [`RequestError::Malformed`].
    pub fn parse(data: &[u8]) -> Result<Self, RequestError> {
        if data.len() > MAX_SIGNED {
            return Err(RequestError::TooLong(data.len()));
        }
        if let Some(rest) = data.strip_prefix(SSHSIG) {
            let malformed = RequestError::Malformed("file signature");
            return file_signature(rest).ok_or(malformed).map(Self::File);
        }
        let mut reader = data;
        let Ok(session_id) = Vec::<u8>::decode(&mut reader) else {
            return Err(RequestError::Unknown);
        };
        match reader.split_first() {
            Some((&USERAUTH_REQUEST, rest)) => login(session_id, rest)
                .ok_or(RequestError::Malformed("login"))
                .map(|login| Self::Login(Box::new(login))),
            _ => Err(RequestError::Unknown),
        }
    }
}

fn login(session_id: Vec<u8>, mut reader: &[u8]) -> Option<Login> {
    let reader = &mut reader;
    let user = text(reader)?;
    let service = text(reader)?;
    let method = text(reader)?;
    let signed = u8::decode(reader).ok()?;
    let algorithm = text(reader)?;
    let (key, certificate) = credential(reader)?;
    let host_key = match &*method {
        "publickey" => None,
        "publickey-hostbound-v00@openssh.com" => Some(self::key(reader)?),
        _ => return None,
    };
    let expected = match &certificate {
        None => key.algorithm().as_str().to_owned(),
        Some(certificate) => certificate.algorithm().to_certificate_type(),
    };
    let well_formed = reader.is_empty()
        && !session_id.is_empty()
        && service == "ssh-connection"
        && signed == 1
        && algorithm == expected;
    well_formed.then_some(Login {
        session_id,
        user,
        key,
        certificate,
        host_key,
    })
}

fn file_signature(mut reader: &[u8]) -> Option<FileSignature> {
    let reader = &mut reader;
    let namespace = text(reader)?;
    let _reserved = Vec::<u8>::decode(reader).ok()?;
    let hash = text(reader)?;
    let digest = Vec::<u8>::decode(reader).ok()?;
    let length = match &*hash {
        "sha256" => 32,
        "sha512" => 64,
        _ => return None,
    };
    (reader.is_empty() && !namespace.is_empty() && digest.len() == length).then_some(
        FileSignature {
            namespace,
            hash,
            digest,
        },
    )
}

fn text(reader: &mut &[u8]) -> Option<String> {
    let text = String::decode(reader).ok()?;
    (text.len() <= MAX_TEXT).then_some(text)
}

/// Reads a key, or a certificate with the key that it is about.
fn credential(reader: &mut &[u8]) -> Option<(KeyData, Option<Box<Certificate>>)> {
    let mut ahead = *reader;
    let blob = Vec::<u8>::decode(&mut ahead).ok()?;
    let name = text(&mut &blob[..])?;
    if ssh_key::Algorithm::new_certificate(&name).is_err() {
        return key(reader).map(|key| (key, None));
    }
    let mut blob = &blob[..];
    let certificate = Certificate::decode(&mut blob).ok()?;
    *reader = ahead;
    let key = certificate.public_key().clone();
    blob.is_empty().then(|| (key, Some(Box::new(certificate))))
}

fn key(reader: &mut &[u8]) -> Option<KeyData> {
    let blob = Vec::<u8>::decode(reader).ok()?;
    let mut blob = &blob[..];
    let key = KeyData::decode(&mut blob).ok()?;
    blob.is_empty().then_some(key)
}

#[cfg(test)]
mod tests;
