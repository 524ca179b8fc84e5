//! Signatures over files in the format of `ssh-keygen -Y sign`:
//! [PROTOCOL.sshsig](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig).
//!
//! What is signed is a namespace and a hash of the file, so files of any size are read in a stream.

mod allowed;

use std::io::{self, Read};

use p256::ecdsa::signature::Verifier;
use sha2::{Digest, Sha256, Sha512};
use ssh_agent_lib::ssh_encoding::Encode;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Fingerprint, HashAlg, LineEnding, SshSig};

use super::key::{SshError, SshKey};
use super::purpose::{BoundHost, Purpose};
use super::request::{FileSignature, SignedData};
use crate::device::Device;
use crate::hint::Hint;

pub use allowed::{AllowedSigner, AllowedSigners};

/// The namespace that `ssh-keygen` proposes for files.
pub const FILE_NAMESPACE: &str = "file";

/// Longest namespace.
const MAX_NAMESPACE: usize = 64;

/// What a signature says it is good for: `file`, `git`, `release@example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(FILE_NAMESPACE.to_owned())
    }
}

impl std::str::FromStr for Namespace {
    type Err = SshSigError;

    fn from_str(text: &str) -> Result<Self, SshSigError> {
        let graphic = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > MAX_NAMESPACE || !graphic {
            return Err(SshSigError::Namespace);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why a file was not signed, or its signature is not good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SshSigError {
    /// The device did not sign.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The input could not be read.
    #[error("cannot read the input")]
    Read(#[source] io::Error),
    /// No namespace can be written like that.
    #[error("a namespace is 1 to {MAX_NAMESPACE} visible ASCII characters")]
    Namespace,
    /// It does not begin and end as a signature.
    #[error("this is no SSH signature")]
    NoSignature,
    /// The key or the algorithm cannot be verified here, or is broken.
    #[error("the signature is of algorithm `{0}`, which bcm does not accept")]
    Algorithm(String),
    /// It was made for something else.
    #[error("the signature is for the namespace `{found}`, not for `{expected}`")]
    OtherNamespace {
        /// What was to be verified.
        expected: String,
        /// What the signature says.
        found: String,
    },
    /// The file or the signature was changed.
    #[error("BAD signature: the key {0} did not sign this")]
    Bad(Box<Fingerprint>),
    /// A file of allowed signers cannot be understood.
    #[error("line {line} of the allowed signers: {reason}")]
    Allowed {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Hint for SshSigError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Ssh(error) => return error.hint(),
                Self::Read(_) => return None,
                Self::Namespace => "choose one like `file` or `release@example.org`",
                Self::NoSignature => {
                    "name the file that begins with `-----BEGIN SSH SIGNATURE-----`"
                }
                Self::Algorithm(_) => "have it signed with an Ed25519 key",
                Self::OtherNamespace { found, .. } => {
                    return Some(format!("if that is what you expect: `--namespace {found}`"));
                }
                Self::Bad(_) => "the file or the signature was changed: get both again",
                Self::Allowed { .. } => "see ALLOWED SIGNERS in `man ssh-keygen`",
            }
            .to_owned(),
        )
    }
}

/// Signs what `input` holds and returns the armored signature.
///
/// The device asks once. The signature is OpenSSH's: `ssh-keygen -Y verify` takes it.
///
/// # Errors
///
/// [`SshSigError::Read`], or what the device answered.
pub fn sign_file(
    device: &Device,
    key: &SshKey,
    namespace: &Namespace,
    input: &mut dyn Read,
) -> Result<String, SshSigError> {
    let digest = hash(HashAlg::Sha512, input)?;
    let purpose = Purpose::new(
        SignedData::File(FileSignature {
            namespace: namespace.0.clone(),
            hash: HashAlg::Sha512.as_str().to_owned(),
            digest: digest.clone(),
        }),
        BoundHost::Unbound,
    );
    let data = signed_data(&namespace.0, &[], HashAlg::Sha512, &digest);
    let signature = futures::executor::block_on(super::key::sign(device, key, &purpose, &data))?;
    let key = key.public_key().key_data().clone();
    SshSig::new(key, &*namespace.0, HashAlg::Sha512, signature)
        .and_then(|signature| signature.to_pem(LineEnding::LF))
        .map_err(|_| SshSigError::NoSignature)
}

/// A signature that is good for the file that it was verified with. Whose it is, is another question.
#[derive(Clone, Debug)]
pub struct GoodSshSig {
    key: KeyData,
}

impl GoodSshSig {
    /// Returns the key that signed.
    pub fn key(&self) -> &KeyData {
        &self.key
    }

    /// Returns the SHA-256 fingerprint of the key that signed.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint(HashAlg::Sha256)
    }
}

/// Verifies the armored signature `armor` over what `input` holds.
///
/// # Errors
///
/// Any [`SshSigError`] but those of the device; what is not [`SshSigError::Read`] is a signature
/// that is not good.
pub fn verify_file(
    armor: &[u8],
    namespace: &Namespace,
    input: &mut dyn Read,
) -> Result<GoodSshSig, SshSigError> {
    let text = armor.trim_ascii_end();
    let signature = SshSig::from_pem(text).map_err(|_| SshSigError::NoSignature)?;
    // the crate takes versions that there are not, and lengths that are too long
    let written = signature.to_pem(LineEnding::LF);
    let same =
        written.is_ok_and(|written| without_blanks(written.as_bytes()).eq(without_blanks(text)));
    if !same || signature.version() != 1 {
        return Err(SshSigError::NoSignature);
    }
    if signature.namespace() != namespace.0 {
        return Err(SshSigError::OtherNamespace {
            expected: namespace.0.clone(),
            found: shown(signature.namespace()),
        });
    }
    let key = signature.public_key();
    accept(key, &signature)?;
    let digest = hash(signature.hash_alg(), input)?;
    let data = signed_data(
        signature.namespace(),
        signature.reserved(),
        signature.hash_alg(),
        &digest,
    );
    key.verify(&data, signature.signature())
        .map_err(|_| SshSigError::Bad(Box::new(key.fingerprint(HashAlg::Sha256))))?;
    Ok(GoodSshSig { key: key.clone() })
}

fn without_blanks(armor: &[u8]) -> impl Iterator<Item = u8> {
    armor
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
}

/// Refuses what OpenSSH refuses too: RSA with SHA-1, and a signature of another kind than the key.
fn accept(key: &KeyData, signature: &SshSig) -> Result<(), SshSigError> {
    let algorithm = signature.signature().algorithm();
    let accepted = match key.algorithm() {
        Algorithm::Rsa { .. } => matches!(algorithm, Algorithm::Rsa { hash: Some(_) }),
        kind => kind == algorithm && kind != Algorithm::Dsa,
    };
    if accepted {
        return Ok(());
    }
    Err(SshSigError::Algorithm(shown(algorithm.as_str())))
}

fn shown(text: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    text.chars().take(MAX_NAMESPACE).map(printable).collect()
}

fn hash(algorithm: HashAlg, input: &mut dyn Read) -> Result<Vec<u8>, SshSigError> {
    match algorithm {
        HashAlg::Sha256 => digest::<Sha256>(input),
        HashAlg::Sha512 => digest::<Sha512>(input),
        other => Err(SshSigError::Algorithm(shown(other.as_str()))),
    }
}

fn digest<D: Digest>(input: &mut dyn Read) -> Result<Vec<u8>, SshSigError> {
    let mut hash = D::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match input.read(&mut piece) {
            Ok(0) => return Ok(hash.finalize().to_vec()),
            Ok(read) => hash.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SshSigError::Read(error)),
        }
    }
}

/// Lays out what is signed.
fn signed_data(namespace: &str, reserved: &[u8], algorithm: HashAlg, digest: &[u8]) -> Vec<u8> {
    let mut data = b"SSHSIG".to_vec();
    for field in [
        namespace.as_bytes(),
        reserved,
        algorithm.as_str().as_bytes(),
        digest,
    ] {
        field
            .encode(&mut data)
            .expect("a buffer takes short fields");
    }
    data
}

#[cfg(test)]
mod tests;
