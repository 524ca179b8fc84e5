//! The terminal itself: secrets typed with no echo, and the state it is left in.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bcm_keystore::secret::LockedPage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush,
    tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use super::lock;

/// Longest entry; what is longer is refused by its type in its own words.
const MAX_ENTRY: usize = 1024;

/// How often an open question looks whether it was withdrawn.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Grows with each withdrawal.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// How the terminal was before bcm changed it.
static ORIGINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Why nothing was typed.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Ctrl-C, Ctrl-D on nothing, the question was withdrawn, or the terminal went away.
    #[error("given up")]
    GivenUp,
    /// There is no terminal.
    #[error("there is no terminal")]
    NoTerminal,
}

/// The controlling terminal, opened for one question.
#[derive(Debug)]
pub struct Tty(File);

impl Tty {
    /// Opens the controlling terminal, wherever stdin and stdout lead.
    pub fn open() -> Result<Self, EntryError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .map(Self)
            .map_err(|_| EntryError::NoTerminal)
    }

    /// Tells whether there is a terminal to ask on.
    pub fn exists() -> bool {
        Self::open().is_ok()
    }

    /// Asks for a secret: nothing is shown of it, not even its length. `off` withdraws the question.
    pub fn secret(&self, question: &str, off: &dyn Fn() -> bool) -> Result<LockedPage, EntryError> {
        let _raw = Raw::enter(&self.0)?;
        self.write(question)?;
        let typed = read_entry(&mut Polled::new(&self.0, off));
        self.write("\r\n")?;
        typed
    }

    /// Asks for one key and returns it; Enter is `\r`. `off` withdraws the question.
    pub fn key(&self, question: &str, off: &dyn Fn() -> bool) -> Result<char, EntryError> {
        let _raw = Raw::enter(&self.0)?;
        self.write(question)?;
        let key = match next_byte(&mut Polled::new(&self.0, off)) {
            Ok(INTERRUPT | END) => Err(EntryError::GivenUp),
            key => key.map(char::from),
        };
        let shown = match key {
            Ok(c) if c.is_ascii_graphic() => c.to_string(),
            _ => String::new(),
        };
        self.write(&format!("{shown}\r\n"))?;
        key
    }

    /// Asks for a line, which is shown as it is typed. `off` withdraws the question.
    pub fn line(&self, question: &str, off: &dyn Fn() -> bool) -> Result<String, EntryError> {
        const LONGEST: usize = 1000;
        // what was typed ahead was not meant for this question
        tcflush(&self.0, QueueSelector::IFlush).map_err(|_| EntryError::NoTerminal)?;
        self.write(question)?;
        let mut source = Polled::new(&self.0, off);
        let mut typed = Vec::new();
        loop {
            match next_byte(&mut source)? {
                b'\r' | b'\n' => return Ok(String::from_utf8_lossy(&typed).into_owned()),
                byte if typed.len() < LONGEST => typed.push(byte),
                _ => {}
            }
        }
    }

    fn write(&self, text: &str) -> Result<(), EntryError> {
        (&self.0)
            .write_all(text.as_bytes())
            .map_err(|_| EntryError::GivenUp)
    }
}

/// Reads the terminal until the question is withdrawn.
struct Polled<'a> {
    tty: &'a File,
    off: &'a dyn Fn() -> bool,
    generation: u64,
}

impl<'a> Polled<'a> {
    fn new(tty: &'a File, off: &'a dyn Fn() -> bool) -> Self {
        let generation = GENERATION.load(Ordering::Acquire);
        Self {
            tty,
            off,
            generation,
        }
    }
}

impl Read for Polled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if (self.off)() || GENERATION.load(Ordering::Acquire) != self.generation {
                return Err(io::Error::other("withdrawn"));
            }
            let mut ready = [PollFd::new(self.tty, PollFlags::IN)];
            if poll(&mut ready, Some(&GLANCE))? > 0 {
                return self.tty.read(buffer);
            }
        }
    }
}

/// Withdraws every question that is open on the terminal.
pub fn withdraw_questions() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
}

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CLEAR: u8 = 0x15;
const WORD: u8 = 0x17;
const DELETE: u8 = 0x7f;

/// Reads up to Enter, byte by byte, into locked memory.
fn read_entry(source: &mut impl Read) -> Result<LockedPage, EntryError> {
    let mut typed = LockedPage::new();
    loop {
        match next_byte(source)? {
            b'\r' | b'\n' => return Ok(typed),
            INTERRUPT => return Err(EntryError::GivenUp),
            END if typed.as_bytes().is_empty() => return Err(EntryError::GivenUp),
            END => return Ok(typed),
            BACKSPACE | DELETE => pop_character(&mut typed),
            CLEAR | WORD => typed.clear(),
            // also Tab and arrow keys: what they leave is refused later, and not silently another
            // passphrase
            byte => {
                if typed.as_bytes().len() < MAX_ENTRY {
                    // the page is larger than any entry
                    let _ = typed.push(byte);
                }
            }
        }
    }
}

/// Takes a whole UTF-8 character back.
fn pop_character(typed: &mut LockedPage) {
    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

fn next_byte(source: &mut impl Read) -> Result<u8, EntryError> {
    let mut byte = Zeroizing::new([0_u8; 1]);
    loop {
        match source.read(&mut *byte) {
            Ok(1) => return Ok(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return Err(EntryError::GivenUp),
        }
    }
}

/// Raw mode for the time of one question.
struct Raw<'a> {
    tty: &'a File,
    original: Termios,
}

impl<'a> Raw<'a> {
    fn enter(tty: &'a File) -> Result<Self, EntryError> {
        let original = tcgetattr(tty).map_err(|_| EntryError::NoTerminal)?;
        let mut raw = original.clone();
        raw.local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        raw.input_modes.remove(InputModes::ICRNL | InputModes::IXON);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        lock(&ORIGINAL).get_or_insert_with(|| original.clone());
        // what was typed ahead was not meant for this question
        tcsetattr(tty, OptionalActions::Flush, &raw).map_err(|_| EntryError::NoTerminal)?;
        Ok(Self { tty, original })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // a terminal that went away needs no restoring
        let _ = tcsetattr(self.tty, OptionalActions::Now, &self.original);
    }
}

/// Remembers how the terminal is before the line editor changes it.
pub fn remember() {
    if let Ok(tty) = Tty::open()
        && let Ok(termios) = tcgetattr(&tty.0)
    {
        lock(&ORIGINAL).get_or_insert(termios);
    }
}

/// Leaves the terminal as it was found, for an end that runs no destructors.
pub fn restore() {
    if let Some(original) = lock(&ORIGINAL).as_ref()
        && let Ok(tty) = Tty::open()
    {
        let _ = tcsetattr(&tty.0, OptionalActions::Now, original);
    }
}

/// Turns off what the line editor turned on, for an end while it reads.
pub fn end_bracketed_paste() {
    if lock(&ORIGINAL).is_some()
        && let Ok(tty) = Tty::open()
    {
        // a terminal that went away needs no restoring
        let _ = tty.write("\u{1b}[?2004l");
    }
}

/// Tells whether stderr is a terminal that turns no line feed into a new line.
pub fn is_raw() -> bool {
    use rustix::termios::OutputModes;
    tcgetattr(io::stderr().as_fd())
        .is_ok_and(|termios| !termios.output_modes.contains(OutputModes::OPOST))
}

#[cfg(test)]
mod tests {
    use bcm_keystore::secret::{Passphrase, PassphraseError};

    use super::*;

    fn entry(keys: &[u8]) -> Result<Vec<u8>, EntryError> {
        read_entry(&mut &*keys).map(|page| page.as_bytes().to_vec())
    }

    #[test]
    fn enter_ends_and_keys_edit() {
        assert_eq!(entry(b"bcm test\r").unwrap(), b"bcm test");
        assert_eq!(entry(b"bcx\x7fm\n").unwrap(), b"bcm");
        assert_eq!(entry("bcř\x7fm\r".as_bytes()).unwrap(), b"bcm");
        assert_eq!(entry("日本\x08\r".as_bytes()).unwrap(), "日".as_bytes());
        assert_eq!(entry(b"wrong\x15right\r").unwrap(), b"right");
        assert_eq!(entry(b"\x7f\x7fa\r").unwrap(), b"a");
        assert_eq!(entry(b"a\x04").unwrap(), b"a");
    }

    #[test]
    fn what_tab_and_arrows_leave_is_no_passphrase() {
        for keys in [&b"a\x1b[Db\r"[..], b"a\tb\r", b"a\x00\r"] {
            let typed = read_entry(&mut &*keys).unwrap();
            assert_eq!(
                Passphrase::parse(&typed).unwrap_err(),
                PassphraseError::ControlCharacter
            );
        }
    }

    #[test]
    fn giving_up_and_a_lost_terminal_end_the_entry() {
        for keys in [&b"abc\x03"[..], b"\x04", b"abc", b""] {
            assert!(matches!(entry(keys), Err(EntryError::GivenUp)), "{keys:?}");
        }
    }

    #[test]
    fn an_endless_line_does_not_grow() {
        let mut keys = vec![b'x'; 100_000];
        keys.push(b'\r');
        assert_eq!(entry(&keys).unwrap().len(), MAX_ENTRY);
    }
}
