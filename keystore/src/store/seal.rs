//! Authenticated encryption of bcm's own state, under the key that the device makes at unlock.
//!
//! ```text
//! offset  bytes
//!  0      10     "bcm-sealed"
//! 10       1     format, 1
//! 11       5     zero
//! 16       8     key check: tells whose key opens this, and nothing else
//! 24      24     nonce, random
//! 48       …     XChaCha20-Poly1305 of: length (u32, little endian), document, zeros up to a
//!                multiple of 16 KiB; the associated data is the first 24 bytes and the name
//! ```

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand::RngCore;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::SecretKey;

const MAGIC: &[u8; 10] = b"bcm-sealed";
const FORMAT: u8 = 1;
const HEADER: usize = 24;
const NONCE: usize = 24;
const BLOCK: usize = 16 * 1024;

/// Why a sealed document does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealError {
    /// Sealed under another key.
    OtherKey,
    /// A format of a later bcm.
    Version(u8),
    /// Not sealed by bcm, cut short or changed.
    Damaged(&'static str),
}

/// Seals and opens documents.
#[derive(Debug)]
pub(crate) struct Sealer {
    key: SecretKey,
    check: [u8; 8],
}

impl Sealer {
    pub(crate) fn new(key: &SecretKey) -> Self {
        let derive = Hkdf::<Sha256>::new(None, key.as_bytes());
        let mut encryption = [0; 32];
        let mut check = [0; 8];
        derive
            .expand(b"bcm seal v1 key", &mut encryption)
            .expect("a valid HKDF length");
        derive
            .expand(b"bcm seal v1 check", &mut check)
            .expect("a valid HKDF length");
        let sealer = Self {
            key: SecretKey::new(&mut encryption),
            check,
        };
        encryption.zeroize();
        sealer
    }

    pub(crate) fn seal(&self, name: &str, document: &[u8]) -> Vec<u8> {
        let mut padded = Zeroizing::new(Vec::with_capacity(document.len() + 4 + BLOCK));
        let length = u32::try_from(document.len()).expect("documents are far below 4 GiB");
        padded.extend_from_slice(&length.to_le_bytes());
        padded.extend_from_slice(document);
        let whole = padded.len().next_multiple_of(BLOCK);
        padded.resize(whole, 0);

        let mut sealed = Vec::with_capacity(HEADER + NONCE + padded.len() + 16);
        sealed.extend_from_slice(MAGIC);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&[0; 5]);
        sealed.extend_from_slice(&self.check);
        let mut nonce = XNonce::default();
        rand::thread_rng().fill_bytes(&mut nonce);
        let associated = [&sealed[..], name.as_bytes()].concat();
        let ciphertext = self
            .cipher()
            .encrypt(
                &nonce,
                Payload {
                    msg: &padded,
                    aad: &associated,
                },
            )
            .expect("documents are far below the cipher's limit");
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// Looks whether `sealed` was sealed under this key, without opening it.
    pub(crate) fn check(&self, sealed: &[u8]) -> Result<(), SealError> {
        if sealed.len() < HEADER + NONCE || !sealed.starts_with(MAGIC) {
            return Err(SealError::Damaged("it is no sealed document of bcm"));
        }
        if sealed[MAGIC.len()] != FORMAT {
            return Err(SealError::Version(sealed[MAGIC.len()]));
        }
        if sealed[16..HEADER] != self.check {
            return Err(SealError::OtherKey);
        }
        Ok(())
    }

    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.check(sealed)?;
        let (header, rest) = sealed.split_at(HEADER);
        let (nonce, ciphertext) = rest.split_at(NONCE);
        let associated = [header, name.as_bytes()].concat();
        let padded = self
            .cipher()
            .decrypt(
                XNonce::from_slice(nonce),
                Payload {
                    msg: ciphertext,
                    aad: &associated,
                },
            )
            .map_err(|_| SealError::Damaged("it was changed or cut short"))?;
        let mut document = Zeroizing::new(padded);
        let length = document
            .first_chunk::<4>()
            .map(|length| u32::from_le_bytes(*length) as usize)
            .filter(|length| length + 4 <= document.len())
            .ok_or(SealError::Damaged("its length is wrong"))?;
        document.drain(..4);
        document.truncate(length);
        Ok(document)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new_from_slice(self.key.as_bytes()).expect("the key is 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&SecretKey::new(&mut [byte; 32]))
    }

    #[test]
    fn what_is_sealed_opens_under_the_same_key_and_name_only() {
        let sealed = sealer(1).seal("ssh", b"node-1");
        assert_eq!(
            sealer(1).open("ssh", &sealed).unwrap().as_slice(),
            b"node-1"
        );
        assert_eq!(
            sealer(2).open("ssh", &sealed).unwrap_err(),
            SealError::OtherKey
        );
        assert!(matches!(
            sealer(1).open("pgp", &sealed).unwrap_err(),
            SealError::Damaged(_)
        ));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let sealed = sealer(1).seal("ssh", b"node-1");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer(1).open("ssh", &changed).is_err(), "byte {at}");
            assert!(sealer(1).open("ssh", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_length_of_a_document_does_not_show() {
        let short = sealer(1).seal("ssh", b"");
        let long = sealer(1).seal("ssh", &[b'x'; 1000]);
        assert_eq!(short.len(), long.len());
        assert!(!long.windows(3).any(|bytes| bytes == b"xxx"));
    }

    #[test]
    fn a_later_format_is_named() {
        let mut sealed = sealer(1).seal("ssh", b"");
        sealed[10] = 2;
        assert_eq!(
            sealer(1).open("ssh", &sealed).unwrap_err(),
            SealError::Version(2)
        );
    }
}
