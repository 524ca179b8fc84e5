//! Secrets that pass through: locked in memory, wiped on drop, never printed.
//!
//! Lasting keys have no type here: they stay in the device. What must pass through the host is a
//! [`Passphrase`], a [`Pin`] or a [`SecretKey`], each in pages of its own that the kernel keeps out
//! of swap. None of them can be cloned, serialised or shown.

use std::fmt;

use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

use crate::hint::Hint;

/// Longest passphrase a Trezor accepts, in bytes of its NFKD form.
pub const MAX_PASSPHRASE_BYTES: usize = 50;

/// Room for a passphrase while it is typed or read, before it is normalised.
const ENTRY_BYTES: usize = 512;

const PAGE: usize = 4096;

#[repr(C, align(4096))]
struct Page([u8; PAGE]);

/// A page of memory that is not swapped out and that is wiped when dropped.
///
/// Where the kernel refuses to lock it (`RLIMIT_MEMLOCK` used up) the page still works and is still
/// wiped; [`LockedPage::is_locked`] tells.
pub struct LockedPage {
    page: Box<Page>,
    len: usize,
    lock: Option<region::LockGuard>,
}

impl LockedPage {
    /// Bytes that fit.
    pub const CAPACITY: usize = PAGE;

    /// Returns an empty page.
    pub fn new() -> Self {
        let page = Box::new(Page([0; PAGE]));
        let lock = region::lock(page.0.as_ptr(), PAGE).ok();
        Self { page, len: 0, lock }
    }

    /// Tells whether the kernel keeps this page out of swap.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Appends `byte`; `false`, and nothing changed, when the page is full.
    #[must_use]
    pub fn push(&mut self, byte: u8) -> bool {
        self.extend(&[byte])
    }

    /// Appends `bytes`; `false`, and nothing changed, when they do not fit.
    #[must_use]
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.page.0.get_mut(self.len..self.len + bytes.len()) else {
            return false;
        };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }

    /// Removes and wipes the last byte, if there is one.
    pub fn pop(&mut self) -> Option<u8> {
        self.len = self.len.checked_sub(1)?;
        Some(std::mem::take(&mut self.page.0[self.len]))
    }

    /// Wipes everything.
    pub fn clear(&mut self) {
        self.page.0.zeroize();
        self.len = 0;
    }

    /// Returns what was appended.
    pub fn as_bytes(&self) -> &[u8] {
        &self.page.0[..self.len]
    }
}

impl Default for LockedPage {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for LockedPage {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for LockedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedPage([redacted])")
    }
}

/// Why what was typed is not a passphrase that opens a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// It would open the standard wallet, which whoever holds the seed can open.
    #[error("an empty passphrase opens the standard wallet, which bcm does not use")]
    Empty,
    /// The device refuses it.
    #[error("the passphrase is {0} bytes long in NFKD form, the device takes at most 50")]
    TooLong(usize),
    /// It is not text.
    #[error("the passphrase is not UTF-8")]
    NotUtf8,
    /// A line break or another control character: more likely a slip than a choice.
    #[error("the passphrase holds a control character")]
    ControlCharacter,
}

impl Hint for PassphraseError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Empty => "type a passphrase, or choose one now: it opens a new wallet".into(),
            Self::TooLong(_) => "use a shorter one: accents and symbols take several bytes".into(),
            Self::NotUtf8 => "set the terminal or the file to UTF-8".into(),
            Self::ControlCharacter => "type it again; from a file, give one line only".into(),
        })
    }
}

/// The BIP-39 passphrase that opens a wallet of its own, in NFKD form, 1 to 50 bytes.
///
/// See [BIP-39](https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki#from-mnemonic-to-seed).
pub struct Passphrase(LockedPage);

impl Passphrase {
    /// Normalises what was typed.
    ///
    /// # Errors
    ///
    /// Refuses what would open another wallet than the person means: nothing at all, more than the
    /// device takes, control characters, bytes that are not text.
    pub fn parse(typed: &LockedPage) -> Result<Self, PassphraseError> {
        let text = std::str::from_utf8(typed.as_bytes()).map_err(|_| PassphraseError::NotUtf8)?;
        if text.is_empty() {
            return Err(PassphraseError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(PassphraseError::ControlCharacter);
        }
        let mut page = LockedPage::new();
        let mut length = 0;
        let mut utf8 = Zeroizing::new([0_u8; 4]);
        for c in text.nfkd() {
            let bytes = c.encode_utf8(&mut *utf8).as_bytes();
            length += bytes.len();
            // what does not fit the page is far over the limit and refused below
            let _ = page.extend(bytes);
        }
        if length > MAX_PASSPHRASE_BYTES {
            return Err(PassphraseError::TooLong(length));
        }
        Ok(Self(page))
    }

    /// Reads one line from `source` (`--passphrase-fd`) and normalises it.
    ///
    /// # Errors
    ///
    /// Fails when `source` cannot be read, or as [`Passphrase::parse`] does.
    pub fn read_line(mut source: impl std::io::Read) -> Result<Self, ReadPassphraseError> {
        let mut typed = LockedPage::new();
        let mut byte = Zeroizing::new([0_u8; 1]);
        let mut ended = true;
        while source.read(&mut *byte)? == 1 {
            ended = false;
            if byte[0] == b'\n' {
                break;
            }
            if typed.as_bytes().len() == ENTRY_BYTES || !typed.push(byte[0]) {
                return Err(PassphraseError::TooLong(ENTRY_BYTES).into());
            }
        }
        if ended {
            return Err(ReadPassphraseError::End);
        }
        if typed.as_bytes().last() == Some(&b'\r') {
            typed.pop();
        }
        Ok(Self::parse(&typed)?)
    }

    /// Returns the NFKD form, for the message to the device and nothing else.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase([redacted])")
    }
}

/// Why no passphrase came from where it should be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadPassphraseError {
    /// The descriptor cannot be read.
    #[error("cannot read the passphrase")]
    Io(#[from] std::io::Error),
    /// Nothing was left to read.
    #[error("there is no passphrase to read: the descriptor is at its end")]
    End,
    /// What was read is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

impl Hint for ReadPassphraseError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Io(_) => Some("give an open descriptor: `--passphrase-fd 3 3<FILE`".into()),
            Self::End => {
                Some("give one line for each unlock, or leave `--passphrase-fd` out".into())
            }
            Self::Passphrase(error) => error.hint(),
        }
    }
}

/// Why what was typed is not a PIN as seen on the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a PIN is given as 1 to 50 digits from 1 to 9, the positions on the matrix")]
pub struct PinError;

/// A PIN as positions on the scrambled matrix of an older device.
pub struct Pin(LockedPage);

impl Pin {
    /// Takes the positions that the person typed.
    ///
    /// # Errors
    ///
    /// Refuses anything but 1 to 50 digits from 1 to 9.
    pub fn parse(typed: LockedPage) -> Result<Self, PinError> {
        let digits = typed.as_bytes();
        if digits.is_empty()
            || digits.len() > 50
            || digits.iter().any(|d| !(b'1'..=b'9').contains(d))
        {
            return Err(PinError);
        }
        Ok(Self(typed))
    }

    /// Returns the positions, for the message to the device and nothing else.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin([redacted])")
    }
}

/// A symmetric key of 32 bytes that lives no longer than the session.
pub struct SecretKey(LockedPage);

impl SecretKey {
    /// Moves `bytes` into locked memory and wipes them.
    pub fn new(bytes: &mut [u8; 32]) -> Self {
        let mut page = LockedPage::new();
        assert!(page.extend(bytes), "32 bytes fit a page");
        bytes.zeroize();
        Self(page)
    }

    /// Returns the key, for the cipher and nothing else.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> LockedPage {
        let mut page = LockedPage::new();
        assert!(page.extend(bytes));
        page
    }

    #[test]
    fn a_passphrase_is_sent_in_nfkd_form() {
        let passphrase = Passphrase::parse(&typed("Příliš".as_bytes())).unwrap();
        assert_eq!(
            hex::encode(passphrase.as_bytes()),
            "5072cc8c69cc816c6973cc8c"
        );
    }

    #[test]
    fn the_limit_counts_bytes_of_the_normalised_form() {
        assert!(Passphrase::parse(&typed(&[b'x'; 50])).is_ok());
        assert_eq!(
            Passphrase::parse(&typed(&[b'x'; 51])).unwrap_err(),
            PassphraseError::TooLong(51)
        );
        assert_eq!(
            Passphrase::parse(&typed("ř".repeat(17).as_bytes())).unwrap_err(),
            PassphraseError::TooLong(51)
        );
    }

    #[test]
    fn what_is_no_passphrase_is_refused() {
        assert_eq!(
            Passphrase::parse(&typed(b"")).unwrap_err(),
            PassphraseError::Empty
        );
        assert_eq!(
            Passphrase::parse(&typed(b"a\tb")).unwrap_err(),
            PassphraseError::ControlCharacter
        );
        assert_eq!(
            Passphrase::parse(&typed(b"a\xff")).unwrap_err(),
            PassphraseError::NotUtf8
        );
        let endless = std::io::repeat(b'x');
        assert!(matches!(
            Passphrase::read_line(endless).unwrap_err(),
            ReadPassphraseError::Passphrase(PassphraseError::TooLong(_))
        ));
    }

    #[test]
    fn a_source_at_its_end_holds_no_passphrase_and_an_empty_line_an_empty_one() {
        let read = |source: &[u8]| Passphrase::read_line(source).unwrap_err();
        assert!(matches!(read(b""), ReadPassphraseError::End));
        assert!(matches!(
            read(b"\n"),
            ReadPassphraseError::Passphrase(PassphraseError::Empty)
        ));
    }

    #[test]
    fn one_line_is_read_whatever_its_ending() {
        for source in ["bcm test", "bcm test\n", "bcm test\r\n", "bcm test\nsecond"] {
            let passphrase = Passphrase::read_line(source.as_bytes()).unwrap();
            assert_eq!(passphrase.as_bytes(), b"bcm test");
        }
    }

    #[test]
    fn secrets_print_as_redacted() {
        let passphrase = Passphrase::parse(&typed(b"hunter2")).unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase([redacted])");
        let pin = Pin::parse(typed(b"1234")).unwrap();
        assert_eq!(format!("{pin:?}"), "Pin([redacted])");
        let key = SecretKey::new(&mut [7; 32]);
        assert_eq!(format!("{key:?}"), "SecretKey([redacted])");
        assert_eq!(format!("{:?}", typed(b"x")), "LockedPage([redacted])");
    }

    #[test]
    fn a_page_takes_no_more_than_it_holds_and_wipes_what_is_taken_back() {
        let mut page = LockedPage::new();
        assert!(!page.extend(&[1; LockedPage::CAPACITY + 1]));
        assert!(page.push(b'a'));
        assert_eq!(page.pop(), Some(b'a'));
        assert_eq!(page.pop(), None);
        assert_eq!(page.page.0[0], 0);
    }

    #[test]
    fn a_pin_is_digits_of_the_matrix() {
        assert!(Pin::parse(typed(b"")).is_err());
        assert!(Pin::parse(typed(b"120")).is_err());
        assert!(Pin::parse(typed(b"129")).is_ok());
    }
}
