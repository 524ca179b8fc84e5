//! Keys of onion services, made by bcm: an address is known before tor runs, and survives its volume.

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha512};
use sha3::Sha3_256;
use zeroize::Zeroizing;

/// Returns the address, with `.onion`, of the service whose key grows out of `seed`.
///
/// See [the specification](https://spec.torproject.org/rend-spec/encoding-onion-addresses.html).
pub(crate) fn address(seed: &[u8; 32]) -> String {
    const VERSION: u8 = 3;
    let key = SigningKey::from_bytes(seed).verifying_key().to_bytes();
    let checksum = Sha3_256::new()
        .chain_update(b".onion checksum")
        .chain_update(key)
        .chain_update([VERSION])
        .finalize();
    let bytes = [&key[..], &checksum[..2], &[VERSION]].concat();
    format!("{}.onion", base32(&bytes))
}

/// Returns the file `hs_ed25519_secret_key` of that service: a header, then the expanded key.
pub(crate) fn key_file(seed: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut file = Zeroizing::new(Vec::with_capacity(96));
    file.extend_from_slice(b"== ed25519v1-secret: type0 ==\0\0\0");
    let expanded: Zeroizing<[u8; 64]> = Zeroizing::new(Sha512::digest(seed).into());
    file.extend_from_slice(&*expanded);
    // RFC 8032, 5.1.5
    file[32] &= 248;
    file[63] &= 63;
    file[63] |= 64;
    file
}

/// RFC 4648, lower case, of a length that needs no padding.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digit = |chunk: &[u8], at: usize| {
        let five = chunk
            .iter()
            .fold(0u64, |all, byte| (all << 8) | u64::from(*byte));
        char::from(DIGITS[(five >> (35 - 5 * at)) as usize & 31])
    };
    let chunks = bytes.chunks_exact(5);
    debug_assert!(chunks.remainder().is_empty());
    chunks
        .flat_map(|chunk| (0..8).map(move |at| digit(chunk, at)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_56_characters_and_ends_as_version_3_does() {
        let address = address(&[7; 32]);
        assert_eq!(address.len(), 56 + 6);
        assert!(address.ends_with("d.onion"), "{address}");
        assert_eq!(key_file(&[7; 32]).len(), 96);
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        assert_eq!(base32(b"fooba"), "mzxw6ytb");
    }
}
