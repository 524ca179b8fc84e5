//! The secrets of stacks: made at random, kept by the shell, known to a plan by digest alone.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bcm_keystore::Chain;
use hmac::{Hmac, Mac};
use rand::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::stack::{PartName, StackName};

/// Which secret: `CHAIN/STACK/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretId {
    /// The chain that it is used on.
    pub chain: Chain,
    /// The stack that it belongs to.
    pub stack: StackName,
    /// Its name there.
    pub name: PartName,
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.chain, self.stack, self.name)
    }
}

/// A text that does not name a secret.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not CHAIN/STACK/NAME", .0.chars().take(80).flat_map(char::escape_debug).collect::<String>())]
pub struct SecretIdError(String);

impl FromStr for SecretId {
    type Err = SecretIdError;

    fn from_str(text: &str) -> Result<Self, SecretIdError> {
        let parse = || {
            let (chain, rest) = text.split_once('/')?;
            let (stack, name) = rest.split_once('/')?;
            Some(Self {
                chain: chain.parse().ok()?,
                stack: stack.parse().ok()?,
                name: name.parse().ok()?,
            })
        };
        parse().ok_or_else(|| SecretIdError(text.to_owned()))
    }
}

impl TryFrom<String> for SecretId {
    type Error = SecretIdError;

    fn try_from(text: String) -> Result<Self, SecretIdError> {
        text.parse()
    }
}

impl From<SecretId> for String {
    fn from(id: SecretId) -> Self {
        id.to_string()
    }
}

/// 256 random bits as 64 hexadecimal digits, wiped when dropped.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<[u8; 64]>);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue([redacted])")
    }
}

impl SecretValue {
    fn random(rng: &mut (impl CryptoRng + RngCore)) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self::of(&bytes)
    }

    fn of(bytes: &[u8; 32]) -> Self {
        let mut text = Zeroizing::new([0; 64]);
        hex::encode_to_slice(bytes, &mut *text).expect("twice as many digits as bytes");
        Self(text)
    }

    /// Returns the digits.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&*self.0).expect("hexadecimal digits")
    }

    /// Returns the bits, for a key that is made of them.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(&self.0[..], &mut *seed).expect("hexadecimal digits");
        seed
    }

    /// Returns the line that lets `user` in at bitcoind with this password, without telling it.
    ///
    /// The salt is made of the password, so that the line is the same each time. See
    /// [rpcauth.py](https://github.com/bitcoin/bitcoin/blob/master/share/rpcauth/rpcauth.py).
    pub fn rpcauth(&self, user: &str) -> String {
        let salted = Sha256::new()
            .chain_update(b"bcm rpcauth salt")
            .chain_update(&self.0[..]);
        let salt = hex::encode(&salted.finalize()[..16]);
        let mut mac = Hmac::<Sha256>::new_from_slice(salt.as_bytes()).expect("any length fits");
        mac.update(&self.0[..]);
        format!("{user}:{salt}${}", hex::encode(mac.finalize().into_bytes()))
    }

    /// Returns its SHA-256, which programs keep in place of a password.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.0[..]))
    }
}

/// Every secret of a cluster's stacks.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    values: BTreeMap<SecretId, SecretValue>,
    preview: bool,
}

/// Kept secrets that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the kept secrets of the stacks are damaged")]
pub struct SecretsError;

impl Secrets {
    /// Returns a source whose secrets are none: to look at a plan that nobody can sign.
    pub fn preview() -> Self {
        Self {
            values: BTreeMap::new(),
            preview: true,
        }
    }

    /// Tells whether the secrets are none.
    pub fn is_preview(&self) -> bool {
        self.preview
    }

    /// Returns a secret.
    pub fn get(&self, id: &SecretId) -> Option<SecretValue> {
        if self.preview {
            let of = Sha256::new().chain_update(b"bcm preview, no secret: ");
            let bytes = of.chain_update(id.to_string().as_bytes()).finalize();
            return Some(SecretValue::of(&bytes.into()));
        }
        self.values.get(id).cloned()
    }

    /// Makes those of `needed` that are not there, and returns which.
    pub fn generate(
        &mut self,
        needed: impl IntoIterator<Item = SecretId>,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Vec<SecretId> {
        let mut made = Vec::new();
        for id in needed {
            if !self.values.contains_key(&id) {
                self.values.insert(id.clone(), SecretValue::random(rng));
                made.push(id);
            }
        }
        made
    }

    /// Makes a secret anew. What used the old one is changed by the next plan.
    pub fn rotate(&mut self, id: SecretId, rng: &mut (impl CryptoRng + RngCore)) {
        self.values.insert(id, SecretValue::random(rng));
    }

    /// Returns which secrets there are.
    pub fn ids(&self) -> impl Iterator<Item = &SecretId> {
        self.values.keys()
    }

    /// Forgets a secret.
    pub fn remove(&mut self, id: &SecretId) -> bool {
        self.values.remove(id).is_some()
    }

    /// Writes them down, to be sealed: a line `CHAIN/STACK/NAME VALUE` each.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.values.len() * 160));
        for (id, value) in &self.values {
            bytes.extend_from_slice(id.to_string().as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(&*value.0);
            bytes.push(b'\n');
        }
        bytes
    }

    /// Reads what [`Secrets::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// Fails when a line is another than it writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretsError> {
        let text = std::str::from_utf8(bytes).map_err(|_| SecretsError)?;
        let mut values = BTreeMap::new();
        for line in text.lines() {
            let (id, digits) = line.split_once(' ').ok_or(SecretsError)?;
            let mut seed = [0; 32];
            hex::decode_to_slice(digits, &mut seed).map_err(|_| SecretsError)?;
            values.insert(
                id.parse().map_err(|_| SecretsError)?,
                SecretValue::of(&seed),
            );
            seed.zeroize();
        }
        Ok(Self {
            values,
            preview: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SecretId {
        text.parse().unwrap()
    }

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let mut secrets = Secrets::default();
        let needed = [
            id("regtest/lnd/bitcoind-rpc"),
            id("regtest/electrs/bitcoind-rpc"),
        ];
        assert_eq!(
            secrets.generate(needed.clone(), &mut rand::rngs::OsRng),
            needed
        );
        assert_eq!(secrets.generate(needed.clone(), &mut rand::rngs::OsRng), []);
        let read = Secrets::from_bytes(&secrets.to_bytes()).unwrap();
        let value = |secrets: &Secrets, id| secrets.get(id).unwrap().expose().to_owned();
        assert_eq!(value(&read, &needed[0]), value(&secrets, &needed[0]));
        assert_ne!(value(&read, &needed[0]), value(&read, &needed[1]));
        secrets.rotate(needed[0].clone(), &mut rand::rngs::OsRng);
        assert_ne!(value(&read, &needed[0]), value(&secrets, &needed[0]));
        assert!(!format!("{secrets:?}").contains(&value(&secrets, &needed[0])));
        for damaged in [
            &b"x"[..],
            b"regtest/lnd/x 12\n",
            b"regtest/lnd 00\n",
            b"\xff",
        ] {
            assert!(Secrets::from_bytes(damaged).is_err());
        }
    }

    /// What Bitcoin Core's own `rpcauth.py` computes: HMAC-SHA256 with the salt as key.
    #[test]
    fn rpcauth_is_the_hmac_of_the_password_under_the_salt() {
        let line = Secrets::preview()
            .get(&id("regtest/lnd/bitcoind-rpc"))
            .unwrap();
        let auth = line.rpcauth("lnd");
        let (salt, hash) = auth.strip_prefix("lnd:").unwrap().split_once('$').unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(salt.as_bytes()).unwrap();
        mac.update(line.expose().as_bytes());
        assert_eq!(hash, hex::encode(mac.finalize().into_bytes()));
        assert_eq!((salt.len(), hash.len()), (32, 64));
        assert_eq!(auth, line.rpcauth("lnd"));
    }
}
