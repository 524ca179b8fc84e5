//! Where on the device a key lives.

use std::fmt;

use bitcoin::bip32::{self, ChildNumber};

/// A [BIP-32](https://github.com/bitcoin/bips/blob/master/bip-0032.mediawiki) path from the root
/// of a wallet, written `m/84h/0h/0h`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DerivationPath(bip32::DerivationPath);

impl DerivationPath {
    /// Returns the path as the numbers that a Trezor takes (`address_n`), the top bit set on
    /// hardened ones.
    pub fn address_n(&self) -> Vec<u32> {
        self.0.to_u32_vec()
    }
}

impl From<Vec<ChildNumber>> for DerivationPath {
    fn from(steps: Vec<ChildNumber>) -> Self {
        Self(steps.into())
    }
}

impl From<bip32::DerivationPath> for DerivationPath {
    fn from(path: bip32::DerivationPath) -> Self {
        Self(path)
    }
}

impl AsRef<bip32::DerivationPath> for DerivationPath {
    fn as_ref(&self) -> &bip32::DerivationPath {
        &self.0
    }
}

impl fmt::Display for DerivationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("m")?;
        for step in &self.0 {
            write!(f, "/{step:#}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_starts_at_m_and_marks_hardened_steps_with_h() {
        let path = DerivationPath::from(vec![
            ChildNumber::from_hardened_idx(84).unwrap(),
            ChildNumber::from_normal_idx(1).unwrap(),
        ]);
        assert_eq!(path.to_string(), "m/84h/1");
        assert_eq!(path.address_n(), [0x8000_0054, 1]);
        assert_eq!(DerivationPath::from(vec![]).to_string(), "m");
    }
}
