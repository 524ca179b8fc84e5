//! What the simulated device keeps while it is switched on.

use std::fmt;

use bip39::Language;
use rand::RngCore;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::keys::Seed;
use crate::hint::Hint;
use crate::secret::LockedPage;

/// Room for the longest mnemonic: 24 words of 8 letters.
const ENTRY_BYTES: usize = 512;

/// The seed that every Trezor test uses, public as can be.
const PUBLIC_WORDS: &str = "all all all all all all all all all all all all";

/// Why what was given is not a mnemonic.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MnemonicError {
    /// It cannot be read.
    #[error("cannot read the mnemonic")]
    Io(#[from] std::io::Error),
    /// Not 12, 15, 18, 21 or 24 words of the English list, or a word is mistyped.
    #[error("the mnemonic is not one of BIP-39: count, words or checksum are wrong")]
    Invalid,
}

impl Hint for MnemonicError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io(_) => "give an open descriptor: `--mnemonic-fd 3 3<FILE`".into(),
            Self::Invalid => {
                "give 12 to 24 English words on one line, single spaces between".into()
            }
        })
    }
}

/// The words of [BIP-39](https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki) that make
/// the seed of a simulated device. Wiped on drop, never printed.
pub struct Mnemonic(Zeroizing<bip39::Mnemonic>);

impl Mnemonic {
    /// Checks the words.
    ///
    /// # Errors
    ///
    /// Refuses what no wallet could have made.
    pub fn parse(typed: &LockedPage) -> Result<Self, MnemonicError> {
        let text = std::str::from_utf8(typed.as_bytes()).map_err(|_| MnemonicError::Invalid)?;
        bip39::Mnemonic::parse_in_normalized(Language::English, text.trim())
            .map(|words| Self(Zeroizing::new(words)))
            .map_err(|_| MnemonicError::Invalid)
    }

    /// Reads one line from `source` (`--mnemonic-fd`) and checks it.
    ///
    /// # Errors
    ///
    /// Fails when `source` cannot be read, or as [`Mnemonic::parse`] does.
    pub fn read_line(mut source: impl std::io::Read) -> Result<Self, MnemonicError> {
        let mut typed = LockedPage::new();
        let mut byte = Zeroizing::new([0_u8; 1]);
        while source.read(&mut *byte)? == 1 && byte[0] != b'\n' {
            if typed.as_bytes().len() == ENTRY_BYTES || !typed.push(byte[0]) {
                return Err(MnemonicError::Invalid);
            }
        }
        Self::parse(&typed)
    }

    /// Stretches the words and `passphrase` to a wallet's seed: 2048 rounds.
    pub(super) fn seed(&self, passphrase: &str) -> Seed {
        Zeroizing::new(self.0.to_seed_normalized(passphrase))
    }
}

impl Default for Mnemonic {
    /// The seed of [SLIP-0014](https://github.com/satoshilabs/slips/blob/master/slip-0014.md):
    /// `all` twelve times.
    fn default() -> Self {
        let words = bip39::Mnemonic::parse_in_normalized(Language::English, PUBLIC_WORDS);
        Self(Zeroizing::new(
            words.expect("the words of SLIP-0014 are a mnemonic"),
        ))
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mnemonic([redacted])")
    }
}

/// Settings and secrets.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) device_id: String,
    pub(super) mnemonic: Option<Mnemonic>,
    pub(super) label: Option<String>,
    pub(super) passphrase_protection: bool,
    pub(super) passphrase_always_on_device: bool,
    pub(super) pin: Option<LockedPage>,
    pub(super) flags: u32,
    pub(super) unlocked: bool,
    pub(super) wrong_pins: u32,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            mnemonic: Some(Mnemonic::default()),
            label: Some("bcm".into()),
            passphrase_protection: true,
            ..Self::wiped()
        }
    }
}

impl Memory {
    /// The memory of a device that was never set up, with an id of its own.
    pub(super) fn wiped() -> Self {
        let mut id = [0; 12];
        rand::thread_rng().fill_bytes(&mut id);
        Self {
            device_id: hex::encode_upper(id),
            mnemonic: None,
            label: None,
            passphrase_protection: false,
            passphrase_always_on_device: false,
            pin: None,
            flags: 0,
            unlocked: true,
            wrong_pins: 0,
        }
    }

    /// Unlocks the device if `typed` is its PIN, and counts it if not.
    pub(super) fn try_pin(&mut self, typed: &LockedPage) -> bool {
        let pin = self.pin.as_ref().map_or(&[][..], LockedPage::as_bytes);
        self.unlocked = pin.ct_eq(typed.as_bytes()).into();
        self.wrong_pins = if self.unlocked {
            0
        } else {
            self.wrong_pins + 1
        };
        self.unlocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mnemonic_is_one_line_of_words_with_a_checksum() {
        let zoo = "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong";
        for line in [
            zoo.to_owned(),
            format!("{zoo}\n"),
            format!("{zoo}\r\nsecond"),
        ] {
            assert!(Mnemonic::read_line(line.as_bytes()).is_ok(), "{line}");
        }
        for line in [
            "",
            "zoo",
            "all all",
            &zoo.replace("wrong", "zoo"),
            "\u{fffd}",
        ] {
            let error = Mnemonic::read_line(line.as_bytes()).unwrap_err();
            assert!(matches!(error, MnemonicError::Invalid), "{line}");
        }
        assert!(Mnemonic::read_line(std::io::repeat(b'x')).is_err());
        assert!(Mnemonic::read_line(&b"\xff\xfe"[..]).is_err());
    }

    #[test]
    fn a_mnemonic_prints_as_redacted() {
        assert_eq!(format!("{:?}", Mnemonic::default()), "Mnemonic([redacted])");
        assert!(!format!("{:?}", Memory::default()).contains("all"));
    }
}
