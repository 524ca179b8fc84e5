//! Keys from the seed: [BIP-32](https://github.com/bitcoin/bips/blob/master/bip-0032.mediawiki) and
//! [SLIP-0010](https://github.com/satoshilabs/slips/blob/master/slip-0010.md) on four curves, and the
//! symmetric keys of [SLIP-0021](https://github.com/satoshilabs/slips/blob/master/slip-0021.md).

use std::sync::LazyLock;

use bitcoin::hashes::{Hash, hash160};
use bitcoin::secp256k1::{self, All, Secp256k1};
use ed25519_dalek::Signer;
use hmac::{Hmac, Mac};
use p256::elliptic_curve::PrimeField;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::Sha512;
use zeroize::{Zeroize, Zeroizing};

use super::engine::Stop;

/// Marks a hardened child.
pub(super) const HARDENED: u32 = 1 << 31;

/// The seed of one wallet: mnemonic and passphrase, stretched.
pub(super) type Seed = Zeroizing<[u8; 64]>;

static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// Returns the shared context, whose making takes a while.
pub(super) fn secp() -> &'static Secp256k1<All> {
    &SECP
}

/// A curve that the device derives keys on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    Secp256k1,
    Nist256p1,
    Ed25519,
    Curve25519,
}

impl Curve {
    fn by_name(name: &str) -> Option<Self> {
        match name {
            "secp256k1" => Some(Self::Secp256k1),
            "nist256p1" => Some(Self::Nist256p1),
            "ed25519" => Some(Self::Ed25519),
            "curve25519" => Some(Self::Curve25519),
            _ => None,
        }
    }

    fn domain(self) -> &'static [u8] {
        match self {
            Self::Secp256k1 => b"Bitcoin seed",
            Self::Nist256p1 => b"Nist256p1 seed",
            Self::Ed25519 => b"ed25519 seed",
            Self::Curve25519 => b"curve25519 seed",
        }
    }

    fn is_valid(self, key: &[u8; 32]) -> bool {
        match self {
            Self::Secp256k1 => secp256k1::SecretKey::from_slice(key).is_ok(),
            Self::Nist256p1 => p256::SecretKey::from_slice(key).is_ok(),
            Self::Ed25519 | Self::Curve25519 => true,
        }
    }

    /// Adds `tweak` to `key`; `None` where there is no such key.
    fn add(self, key: &[u8; 32], tweak: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        match self {
            Self::Secp256k1 => {
                let tweak = secp256k1::Scalar::from_be_bytes(*tweak).ok()?;
                let key = secp256k1::SecretKey::from_slice(key).ok()?;
                Some(Zeroizing::new(key.add_tweak(&tweak).ok()?.secret_bytes()))
            }
            Self::Nist256p1 => {
                let tweak: p256::Scalar = Option::from(p256::Scalar::from_repr((*tweak).into()))?;
                let key: p256::Scalar = Option::from(p256::Scalar::from_repr((*key).into()))?;
                let sum: [u8; 32] = (key + tweak).to_repr().into();
                self.is_valid(&sum).then(|| Zeroizing::new(sum))
            }
            Self::Ed25519 | Self::Curve25519 => Some(Zeroizing::new(*tweak)),
        }
    }
}

/// All keys of one wallet, which can be derived without asking again.
pub(super) struct Keychain {
    seed: Seed,
}

impl Keychain {
    pub(super) fn new(seed: &Seed) -> Self {
        Self { seed: seed.clone() }
    }

    /// Derives the key at `path` on the curve that the host names.
    pub(super) fn derive(&self, curve: &str, path: &[u32]) -> Result<Node, Stop> {
        let root = self.root(curve)?;
        path.iter()
            .try_fold(root, |node, &number| node.child(number))
    }

    /// Returns the fingerprint of the root on this curve.
    pub(super) fn root_fingerprint(&self, curve: &str) -> Result<u32, Stop> {
        Ok(self.root(curve)?.fingerprint())
    }

    fn root(&self, curve: &str) -> Result<Node, Stop> {
        let curve = Curve::by_name(curve)
            .ok_or_else(|| Stop::firmware("Failed to derive the root node"))?;
        let mut mixed = hmac_sha512(curve.domain(), &[&*self.seed]);
        while !curve.is_valid(left(&mixed)) {
            mixed = hmac_sha512(curve.domain(), &[&*mixed]);
        }
        Ok(Node {
            curve,
            depth: 0,
            parent: 0,
            number: 0,
            chain_code: Zeroizing::new(*right(&mixed)),
            key: Zeroizing::new(*left(&mixed)),
        })
    }

    /// Derives the symmetric key at `labels`.
    pub(super) fn symmetric(&self, labels: &[&str]) -> Zeroizing<[u8; 32]> {
        let root = hmac_sha512(b"Symmetric key seed", &[&*self.seed]);
        let node = labels.iter().fold(root, |node, label| {
            hmac_sha512(left(&node), &[&[0], label.as_bytes()])
        });
        Zeroizing::new(*right(&node))
    }
}

/// One key and its place in the tree.
pub(super) struct Node {
    curve: Curve,
    depth: u8,
    parent: u32,
    number: u32,
    chain_code: Zeroizing<[u8; 32]>,
    key: Zeroizing<[u8; 32]>,
}

impl Node {
    /// Derives the child `number`.
    pub(super) fn child(&self, number: u32) -> Result<Self, Stop> {
        let failed = || Stop::firmware("Failed to derive path");
        let depth = self.depth.checked_add(1).ok_or_else(failed)?;
        let hardened = number & HARDENED != 0;
        let big_endian = number.to_be_bytes();
        let mut mixed = match (hardened, self.curve) {
            (true, _) => hmac_sha512(&*self.chain_code, &[&[0], &*self.key, &big_endian]),
            (false, Curve::Secp256k1 | Curve::Nist256p1) => {
                hmac_sha512(&*self.chain_code, &[&self.public_key(), &big_endian])
            }
            (false, Curve::Ed25519 | Curve::Curve25519) => return Err(failed()),
        };
        let key = loop {
            match self.curve.add(&self.key, left(&mixed)) {
                Some(key) => break key,
                None => mixed = hmac_sha512(&*self.chain_code, &[&[1], right(&mixed), &big_endian]),
            }
        };
        Ok(Self {
            curve: self.curve,
            depth,
            parent: self.fingerprint(),
            number,
            chain_code: Zeroizing::new(*right(&mixed)),
            key,
        })
    }

    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    pub(super) fn parent_fingerprint(&self) -> u32 {
        self.parent
    }

    pub(super) fn child_number(&self) -> u32 {
        self.number
    }

    pub(super) fn chain_code(&self) -> &[u8; 32] {
        &self.chain_code
    }

    /// Returns the private key, for what is computed from it and nothing else.
    pub(super) fn private_key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Returns the compressed public key; on the Edwards and Montgomery curves behind a zero byte.
    pub(super) fn public_key(&self) -> [u8; 33] {
        let mut public = [0; 33];
        match self.curve {
            Curve::Secp256k1 => public = self.secp_secret().public_key(secp()).serialize(),
            Curve::Nist256p1 => {
                let point = self.p256_secret().public_key().to_encoded_point(true);
                public.copy_from_slice(point.as_bytes());
            }
            Curve::Ed25519 => {
                let pair = ed25519_dalek::SigningKey::from_bytes(&self.key);
                public[1..].copy_from_slice(pair.verifying_key().as_bytes());
            }
            Curve::Curve25519 => {
                let secret = x25519_dalek::StaticSecret::from(*self.key);
                public[1..].copy_from_slice(x25519_dalek::PublicKey::from(&secret).as_bytes());
            }
        }
        public
    }

    fn fingerprint(&self) -> u32 {
        let hash = hash160::Hash::hash(&self.public_key()).to_byte_array();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    /// Writes the extended public key in the form that `magic` begins.
    pub(super) fn xpub(&self, magic: u32) -> String {
        let mut bytes = Vec::with_capacity(78);
        bytes.extend(magic.to_be_bytes());
        bytes.push(self.depth);
        bytes.extend(self.parent.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(*self.chain_code);
        bytes.extend(self.public_key());
        bitcoin::base58::encode_check(&bytes)
    }

    /// Returns the public key on secp256k1.
    pub(super) fn secp_public(&self) -> secp256k1::PublicKey {
        self.secp_secret().public_key(secp())
    }

    /// Signs: `message` itself on ed25519, a digest of 32 bytes on the others.
    ///
    /// ECDSA signatures are deterministic ([RFC 6979](https://www.rfc-editor.org/rfc/rfc6979)), their
    /// `s` is the low one on both curves, and a byte that tells the public key stands before them; an
    /// Ed25519 signature stands behind a zero.
    pub(super) fn sign(&self, message: &[u8]) -> Result<[u8; 65], Stop> {
        let digest = || {
            <[u8; 32]>::try_from(message).map_err(|_| Stop::firmware("Invalid length of digest"))
        };
        let (first, signature) = match self.curve {
            Curve::Secp256k1 => {
                let digest = secp256k1::Message::from_digest(digest()?);
                let signature = secp().sign_ecdsa_recoverable(&digest, &self.secp_secret());
                let (recovery, bytes) = signature.serialize_compact();
                (recovery.to_i32() as u8 + COMPRESSED, bytes)
            }
            Curve::Nist256p1 => {
                let key = p256::ecdsa::SigningKey::from(self.p256_secret());
                let (signature, recovery) = key
                    .sign_prehash_recoverable(&digest()?)
                    .map_err(|_| Stop::firmware("Signing failed"))?;
                let (signature, flip) = match signature.normalize_s() {
                    Some(low) => (low, 1),
                    None => (signature, 0),
                };
                (
                    COMPRESSED + (recovery.to_byte() ^ flip),
                    signature.to_bytes().into(),
                )
            }
            Curve::Ed25519 => {
                let pair = ed25519_dalek::SigningKey::from_bytes(&self.key);
                (0, pair.sign(message).to_bytes())
            }
            Curve::Curve25519 => return Err(Stop::data("Unknown curve")),
        };
        let mut bytes = [0; 65];
        bytes[0] = first;
        bytes[1..].copy_from_slice(&signature);
        Ok(bytes)
    }

    /// Signs a digest on secp256k1 and returns the signature in DER, its `s` the low one.
    pub(super) fn sign_der(&self, digest: &[u8; 32]) -> Result<Vec<u8>, Stop> {
        let bytes = self.sign(digest)?;
        let signature =
            secp256k1::ecdsa::Signature::from_compact(&bytes[1..]).expect("it was made a line ago");
        Ok(signature.serialize_der().to_vec())
    }

    /// Signs for an output that this key owns alone
    /// ([BIP-341](https://github.com/bitcoin/bips/blob/master/bip-0341.mediawiki), key path), without
    /// auxiliary randomness.
    pub(super) fn sign_taproot(&self, digest: &[u8; 32]) -> [u8; 64] {
        use bitcoin::key::TapTweak as _;

        let pair = secp256k1::Keypair::from_secret_key(secp(), &self.secp_secret());
        let tweaked = pair.tap_tweak(secp(), None).to_keypair();
        let digest = secp256k1::Message::from_digest(*digest);
        secp()
            .sign_schnorr_no_aux_rand(&digest, &tweaked)
            .serialize()
    }

    /// Multiplies a peer's public key with the private one; `None` when it is no point.
    pub(super) fn multiply(&self, peer: &[u8]) -> Option<Vec<u8>> {
        match self.curve {
            Curve::Secp256k1 => {
                let peer = secp256k1::PublicKey::from_slice(peer).ok()?;
                let shared = peer.mul_tweak(secp(), &self.secp_secret().into()).ok()?;
                Some(shared.serialize_uncompressed().to_vec())
            }
            Curve::Nist256p1 => {
                let peer = p256::PublicKey::from_sec1_bytes(peer).ok()?;
                let scalar = *self.p256_secret().to_nonzero_scalar();
                let shared = (peer.to_projective() * scalar).to_affine();
                Some(shared.to_encoded_point(false).as_bytes().to_vec())
            }
            Curve::Curve25519 => {
                let peer = x25519_dalek::PublicKey::from(<[u8; 32]>::try_from(peer).ok()?);
                let secret = x25519_dalek::StaticSecret::from(*self.key);
                Some(secret.diffie_hellman(&peer).as_bytes().to_vec())
            }
            Curve::Ed25519 => None,
        }
    }

    fn secp_secret(&self) -> secp256k1::SecretKey {
        secp256k1::SecretKey::from_slice(&*self.key).expect("the key was found valid on its curve")
    }

    fn p256_secret(&self) -> p256::SecretKey {
        p256::SecretKey::from_slice(&*self.key).expect("the key was found valid on its curve")
    }
}

/// Header byte of the first signature of a compressed public key.
const COMPRESSED: u8 = 27 + 4;

fn hmac_sha512(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    let mut output = mac.finalize().into_bytes();
    let mixed = Zeroizing::new(output.into());
    output.zeroize();
    mixed
}

fn left(mixed: &[u8; 64]) -> &[u8; 32] {
    mixed.first_chunk().expect("64 bytes have a first half")
}

fn right(mixed: &[u8; 64]) -> &[u8; 32] {
    mixed.last_chunk().expect("64 bytes have a second half")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keychain(seed: &str) -> Keychain {
        // seeds of the published vectors are shorter than the 64 bytes that BIP-39 gives
        let mut bytes = hex::decode(seed).unwrap();
        bytes.resize(64, 0);
        Keychain::new(&Zeroizing::new(bytes.try_into().unwrap()))
    }

    #[test]
    fn slip_21_keys_are_the_published_ones() {
        let seed = "c76c4ac4f4e4a00d6b274d5c39c700bb4a7ddc04fbc6f78e85ca75007b5b495f\
                    74a9043eeb77bdd53aa6fc3a0e31462270316fa04b8c19114c8798706cd02ac8";
        let keychain = keychain(seed);
        let expected = [
            (
                &[][..],
                "dbf12b44133eaab506a740f6565cc117228cbf1dd70635cfa8ddfdc9af734756",
            ),
            (
                &["SLIP-0021"][..],
                "1d065e3ac1bbe5c7fad32cf2305f7d709dc070d672044a19e610c77cdf33de0d",
            ),
            (
                &["SLIP-0021", "Master encryption key"],
                "ea163130e35bbafdf5ddee97a17b39cef2be4b4f390180d65b54cf05c6a82fde",
            ),
        ];
        for (labels, key) in expected {
            assert_eq!(hex::encode(*keychain.symmetric(labels)), key);
        }
    }

    #[test]
    fn unhardened_children_exist_on_the_weierstrass_curves_only() {
        let keychain = keychain("00");
        for (curve, exists) in [
            ("secp256k1", true),
            ("nist256p1", true),
            ("ed25519", false),
            ("curve25519", false),
        ] {
            assert_eq!(keychain.derive(curve, &[0]).is_ok(), exists, "{curve}");
            assert!(keychain.derive(curve, &[HARDENED]).is_ok(), "{curve}");
        }
        assert!(keychain.derive("brainpool", &[]).is_err());
    }

    #[test]
    fn a_path_ends_at_depth_255() {
        let keychain = keychain("00");
        assert!(keychain.derive("ed25519", &[HARDENED; 255]).is_ok());
        assert!(keychain.derive("ed25519", &[HARDENED; 256]).is_err());
    }
}
