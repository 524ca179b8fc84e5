//! New secrets.

use std::ops::RangeInclusive;

use rand::Rng;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

/// Characters of a secret when nothing else is said, as passage's: 163 bits with symbols.
pub const DEFAULT_LENGTH: usize = 25;

/// Lengths that are made.
pub const LENGTHS: RangeInclusive<usize> = 4..=1024;

/// What a secret is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Letters and digits.
    Alphanumeric,
    /// Those and the 32 punctuation characters of ASCII.
    Symbols,
}

impl Alphabet {
    fn characters(self) -> impl Iterator<Item = u8> {
        (b'!'..=b'~').filter(move |c| self == Self::Symbols || c.is_ascii_alphanumeric())
    }
}

/// Makes a secret of `length` characters, each equally likely, out of the operating system's randomness.
///
/// # Panics
///
/// Panics when the operating system gives no randomness.
pub fn generate(length: usize, alphabet: Alphabet) -> Zeroizing<Vec<u8>> {
    let characters: Vec<u8> = alphabet.characters().collect();
    let mut secret = Zeroizing::new(Vec::with_capacity(length));
    // `gen_range` draws again rather than to favour the first characters
    secret.extend((0..length).map(|_| characters[OsRng.gen_range(0..characters.len())]));
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabets_are_complete() {
        assert_eq!(Alphabet::Alphanumeric.characters().count(), 62);
        assert_eq!(Alphabet::Symbols.characters().count(), 94);
        assert!(!Alphabet::Symbols.characters().any(|c| c == b' '));
    }

    #[test]
    fn every_character_is_about_equally_likely() {
        let draws = 62_000;
        let secret = generate(draws, Alphabet::Alphanumeric);
        assert_eq!(secret.len(), draws);
        let mut seen = [0_u32; 256];
        for byte in secret.iter() {
            seen[usize::from(*byte)] += 1;
        }
        // 1000 each on average, with a standard deviation of 32: eight of them are beyond chance
        for c in Alphabet::Alphanumeric.characters() {
            assert!((740..1260).contains(&seen[usize::from(c)]), "{c}");
        }
        assert_eq!(seen.iter().sum::<u32>(), 62_000);
    }

    #[test]
    fn no_two_are_alike() {
        assert_ne!(
            generate(DEFAULT_LENGTH, Alphabet::Symbols),
            generate(DEFAULT_LENGTH, Alphabet::Symbols)
        );
    }
}
