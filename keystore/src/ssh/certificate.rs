//! Certificates of OpenSSH, signed by a key on the device: one confirmation, any number of logins.
//!
//! A host that trusts the device's CA (`TrustedUserCAKeys`) lets in whoever holds a key that the CA certified,
//! as one of the principals named in the certificate, until it expires. The CA of a cluster is the SSH key
//! `ssh://bcm-ca@CLUSTER`. The format is that of
//! [PROTOCOL.certkeys](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.certkeys).
//!
//! A [`SessionCertificate`] holds its key in locked memory, in this process alone. It is wiped when dropped,
//! and signs logins and records of a session, never what acts on a cluster or on money.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::Signer as _;
use rand::RngCore;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, Certificate, Signature};
use zeroize::Zeroizing;

use super::key::{SshError, SshKey, sign_shown};
use crate::device::Device;
use crate::hint::Hint;
use crate::identity::{SshIdentity, SshIdentityError};
use crate::interaction::Prompt;
use crate::secret::SecretKey;

/// The user of the CA's identity; the host is the name of the cluster.
pub const CA_USER: &str = "bcm-ca";

/// How long a certificate is good unless another time is given.
pub const DEFAULT_TTL: Duration = Duration::from_secs(8 * 3600);

/// How long a certificate is good at most.
pub const MAX_TTL: Duration = Duration::from_secs(12 * 3600);

/// How long a certificate is good at least: less would end before anybody has logged in.
const MIN_TTL: Duration = Duration::from_secs(10);

/// How long a certificate has to be good still, to be used for another login.
const REMAINING: Duration = Duration::from_secs(5);

/// How far the clock of a host may be behind.
const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// Most principals, and longest one: the device shows them.
const MAX_PRINCIPALS: usize = 16;
const MAX_PRINCIPAL: usize = 32;

/// Longest list of principals that the device shows in full.
const MAX_SHOWN: usize = 40;

/// Returns the name of the CA of a cluster: `ssh://bcm-ca@home`.
///
/// # Errors
///
/// [`SshIdentityError`] where the name of the cluster cannot stand in an identity.
pub fn ca_identity(cluster: &str) -> Result<SshIdentity, SshIdentityError> {
    SshIdentity::new(CA_USER, cluster, None)
}

/// What a certificate is to be good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certify {
    /// The login names that it is good for.
    pub principals: Vec<String>,
    /// How long from now.
    pub ttl: Duration,
    /// Whether it may have a terminal.
    pub pty: bool,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The device made no signature that can be used.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// Without principals it would be good for every login name, or for none.
    #[error("a certificate names 1 to {MAX_PRINCIPALS} login names, not {0}")]
    Principals(usize),
    /// What is no login name.
    #[error("`{0}` is no login name for a certificate")]
    Principal(String),
    /// Too short, or too long to be forgotten about.
    #[error(
        "a certificate is good for {} s to {} h, not {} s",
        MIN_TTL.as_secs(),
        MAX_TTL.as_secs() / 3600,
        .0.as_secs()
    )]
    Ttl(Duration),
    /// The clock of this computer is set to before 1970 or far into the future.
    #[error("the time of this computer does not fit a certificate")]
    Clock,
    /// A certificate cannot be made of that key.
    #[error("this key cannot be certified: {0}")]
    Key(String),
}

impl Hint for CertificateError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Ssh(error) => error.hint(),
            Self::Principals(_) => Some("name them with `--principal NAME`".into()),
            Self::Principal(_) => Some("a login name is 1 to 32 letters, digits and `._-`".into()),
            Self::Ttl(_) => Some("give it as `--ttl 8h`".into()),
            Self::Clock => Some("set the clock: `date -u`".into()),
            Self::Key(_) => Some("give a public key in OpenSSH's format".into()),
        }
    }
}

impl Certify {
    fn check(&self) -> Result<(), CertificateError> {
        let count = self.principals.len();
        if count == 0 || count > MAX_PRINCIPALS {
            return Err(CertificateError::Principals(count));
        }
        let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good = |name: &str| {
            !name.is_empty()
                && name.len() <= MAX_PRINCIPAL
                && !name.starts_with('-')
                && name.chars().all(word)
        };
        if let Some(wrong) = self.principals.iter().find(|name| !good(name)) {
            let shown: String = wrong.chars().take(80).collect();
            return Err(CertificateError::Principal(Prompt::new(shown).to_string()));
        }
        match (MIN_TTL..=MAX_TTL).contains(&self.ttl) {
            true => Ok(()),
            false => Err(CertificateError::Ttl(self.ttl)),
        }
    }

    /// Returns the text that the device shows; as with logins it informs, and is not covered.
    ///
    /// ```text
    /// bcm v1 certify 8 h as bcm,root serial 3f9a02c1d2e4a5b6
    /// ```
    fn visual(&self, serial: u64) -> String {
        let (names, time) = (self.names(), self.time());
        format!("bcm v1 certify {time} as {names} serial {serial:016x}")
    }

    fn names(&self) -> String {
        let whole = self.principals.join(",");
        match whole.len() > MAX_SHOWN {
            false => whole,
            true => format!(
                "{} and {} more",
                self.principals[0],
                self.principals.len() - 1
            ),
        }
    }

    fn time(&self) -> String {
        let seconds = self.ttl.as_secs();
        match (seconds % 3600, seconds % 60) {
            (0, _) => format!("{} h", seconds / 3600),
            (_, 0) => format!("{} min", seconds / 60),
            _ => format!("{seconds} s"),
        }
    }
}

/// Has the device certify a public key; one confirmation.
///
/// The certificate may open connections to unix sockets on the host (`permit-port-forwarding`), and nothing
/// else unless it is asked for: no terminal, no agent, no X11, no `~/.ssh/rc`.
///
/// # Errors
///
/// Any [`CertificateError`].
pub async fn certify(
    device: &Device,
    ca: &SshKey,
    key: &KeyData,
    wanted: &Certify,
    now: SystemTime,
) -> Result<Certificate, CertificateError> {
    wanted.check()?;
    let serial = rand::thread_rng().next_u64();
    let mut nonce = [0; 32];
    rand::thread_rng().fill_bytes(&mut nonce);
    let build = || build(key, wanted, &nonce, serial, now);
    let to_sign = Capture::of(ca, build()?);
    let to_sign = to_sign.ok_or_else(|| CertificateError::Key("it does not encode".into()))?;
    let prompt = Prompt::new(format!(
        "certify a key for {} as {} with {}",
        wanted.time(),
        wanted.names(),
        ca.identity()
    ));
    let signature = sign_shown(device, ca, wanted.visual(serial), prompt, &to_sign).await?;
    let signed = build()?.sign(&Given {
        ca: ca.public_key().key_data().clone(),
        signature,
    });
    signed.map_err(|error| CertificateError::Key(error.to_string()))
}

fn build(
    key: &KeyData,
    wanted: &Certify,
    nonce: &[u8],
    serial: u64,
    now: SystemTime,
) -> Result<Builder, CertificateError> {
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_err(|_| CertificateError::Clock)?;
    let from = now.saturating_sub(BACKDATED).as_secs();
    let until = (now + wanted.ttl).as_secs();
    let fields = || -> ssh_key::Result<Builder> {
        let mut builder = Builder::new(nonce, key.clone(), from, until)?;
        builder.serial(serial)?;
        builder.cert_type(CertType::User)?;
        builder.key_id(format!("bcm session {serial:016x}"))?;
        for name in &wanted.principals {
            builder.valid_principal(name)?;
        }
        builder.extension("permit-port-forwarding", "")?;
        if wanted.pty {
            builder.extension("permit-pty", "")?;
        }
        Ok(builder)
    };
    fields().map_err(|_| CertificateError::Clock)
}

/// Finds out what is to be signed: the library asks a signer, and this one only listens.
struct Capture {
    ca: KeyData,
    heard: std::cell::RefCell<Option<Vec<u8>>>,
}

impl Capture {
    fn of(ca: &SshKey, builder: Builder) -> Option<Vec<u8>> {
        let capture = Self {
            ca: ca.public_key().key_data().clone(),
            heard: std::cell::RefCell::default(),
        };
        let nothing_signed = builder.sign(&capture);
        debug_assert!(nothing_signed.is_err(), "it has no key");
        capture.heard.into_inner()
    }
}

impl p256::ecdsa::signature::Signer<Signature> for Capture {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, p256::ecdsa::signature::Error> {
        *self.heard.borrow_mut() = Some(message.to_vec());
        Err(p256::ecdsa::signature::Error::new())
    }
}

impl From<&Capture> for KeyData {
    fn from(signer: &Capture) -> Self {
        signer.ca.clone()
    }
}

/// Hands out the signature that the device made.
struct Given {
    ca: KeyData,
    signature: Signature,
}

impl p256::ecdsa::signature::Signer<Signature> for Given {
    fn try_sign(&self, _: &[u8]) -> Result<Signature, p256::ecdsa::signature::Error> {
        Ok(self.signature.clone())
    }
}

impl From<&Given> for KeyData {
    fn from(signer: &Given) -> Self {
        signer.ca.clone()
    }
}

/// A fresh key in locked memory, and the certificate that the device gave it.
pub struct SessionCertificate {
    key: SecretKey,
    certificate: Certificate,
}

impl SessionCertificate {
    /// Makes a key and has the device certify it; one confirmation.
    ///
    /// # Errors
    ///
    /// Any [`CertificateError`].
    pub async fn make(
        device: &Device,
        ca: &SshKey,
        wanted: &Certify,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::thread_rng().fill_bytes(&mut *seed);
        let key = SecretKey::new(&mut seed);
        let public = Ed25519PublicKey(signing_key(&key).verifying_key().to_bytes());
        let certificate = certify(device, ca, &public.into(), wanted, now).await?;
        Ok(Self { key, certificate })
    }

    /// Makes one whose CA is in memory, for tests of what holds it.
    #[cfg(test)]
    pub(super) fn by_software(ca: &ssh_key::PrivateKey, wanted: &Certify, now: SystemTime) -> Self {
        let key = SecretKey::new(&mut [9; 32]);
        let public = Ed25519PublicKey(signing_key(&key).verifying_key().to_bytes());
        let builder = build(&public.into(), wanted, &[7; 32], 7, now).unwrap();
        let certificate = builder.sign(ca).unwrap();
        Self { key, certificate }
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Signs `data`: a login, or a record of the session.
    pub fn sign(&self, data: &[u8]) -> Signature {
        let signature = signing_key(&self.key).sign(data);
        Signature::new(Algorithm::Ed25519, signature.to_bytes()).expect("64 bytes")
    }

    /// Tells whether it is good as every one of these login names, for some seconds at least.
    pub fn covers(&self, principals: &[String], now: SystemTime) -> bool {
        covers(&self.certificate, principals, now)
    }
}

impl fmt::Debug for SessionCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCertificate")
            .field("key_id", &self.certificate.key_id())
            .finish_non_exhaustive()
    }
}

/// The key while it signs: it wipes itself.
fn signing_key(key: &SecretKey) -> ed25519_dalek::SigningKey {
    let seed = key
        .as_bytes()
        .try_into()
        .expect("a secret key has 32 bytes");
    ed25519_dalek::SigningKey::from_bytes(seed)
}

/// Tells whether a certificate is good as every one of these login names, for some seconds at least.
pub fn covers(certificate: &Certificate, principals: &[String], now: SystemTime) -> bool {
    let named = certificate.valid_principals();
    certificate.valid_before_time() > now + REMAINING
        && principals.iter().all(|name| named.contains(name))
}

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;
