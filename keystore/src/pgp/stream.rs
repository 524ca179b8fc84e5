//! Data that goes through, a piece at a time.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use super::error::PgpError;

/// How much is read at a time.
const PIECE: usize = 1 << 16;

/// How much the library holds back until the end of a message is seen. Whoever shows a message
/// waits for the end anyway.
pub(super) const BUFFER: usize = 1 << 20;

/// What begins the last line of ASCII armor.
const ARMOR_END: &[u8] = b"-----END PGP ";

/// What begins its first line.
const ARMOR_BEGIN: &[u8] = b"-----BEGIN PGP ";

/// Copies to the end and tells which side failed.
pub(super) fn copy(input: &mut dyn Read, output: &mut dyn Write) -> Result<(), PgpError> {
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    loop {
        let length = match input.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(PgpError::Read(error)),
        };
        output
            .write_all(&piece[..length])
            .map_err(PgpError::Write)?;
    }
}

/// Copies what the library reads out of a message.
pub(super) fn copy_out(message: &mut dyn Read, output: &mut dyn Write) -> Result<(), PgpError> {
    copy(message, output).map_err(|error| match error {
        // not the file: what is in it
        PgpError::Read(error) => PgpError::of_io(&error),
        other => other,
    })
}

/// A reader that remembers why it failed, since the library wraps what it is told, and whether
/// there is text around the armor, since the library skips it.
pub(super) struct Input<'a> {
    inner: &'a mut (dyn Read + Send + Sync),
    failure: Option<io::Error>,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    place: Place,
    /// It begins as data does that needs no armor, or as text does that is not English.
    binary: bool,
}

/// Where in a file with armor the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before anything that is no blank.
    Before,
    /// In armor, or in data that needs none.
    Inside,
    /// After the armor.
    After,
    /// In text that no signature covers.
    Outside,
}

impl<'a> Input<'a> {
    pub(super) fn new(inner: &'a mut (dyn Read + Send + Sync)) -> Self {
        Self {
            inner,
            failure: None,
            line: Vec::new(),
            place: Place::Before,
            binary: false,
        }
    }

    /// Fails if reading failed.
    pub(super) fn failure(&mut self) -> Result<(), PgpError> {
        self.failure
            .take()
            .map_or(Ok(()), |error| Err(PgpError::Read(error)))
    }

    /// Reads to the end and fails if there is text around the armor: whoever reads the file would
    /// take it for signed. `clear` tells that the signed part is text itself.
    pub(super) fn check_surroundings(&mut self, clear: bool) -> Result<(), PgpError> {
        let drained = copy(self, &mut io::sink());
        self.failure()?;
        drained?;
        match self.place {
            _ if clear && self.binary => Err(PgpError::Surrounded),
            Place::Outside => Err(PgpError::Surrounded),
            _ => Ok(()),
        }
    }

    fn look(&mut self, bytes: &[u8]) {
        if self.place == Place::Outside {
            return;
        }
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
            } else if self.line.len() < ARMOR_BEGIN.len() {
                self.line.push(*byte);
                if self.line.len() == ARMOR_BEGIN.len() {
                    self.see();
                }
            }
        }
    }

    fn end_line(&mut self) {
        if self.line.len() < ARMOR_BEGIN.len() && !self.line.trim_ascii().is_empty() {
            self.see();
        }
        self.line.clear();
    }

    /// Judges a line by its beginning.
    fn see(&mut self) {
        let is_armor = self.line.starts_with(ARMOR_BEGIN);
        let is_binary = self.line.first().is_some_and(|first| *first >= 0x80);
        self.binary |= is_binary && self.place == Place::Before;
        self.place = match self.place {
            Place::Before if is_armor || is_binary => Place::Inside,
            Place::Before | Place::After => Place::Outside,
            Place::Inside if self.line.starts_with(ARMOR_END) => Place::After,
            place => place,
        };
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            // the last line may have no end
            Ok(0) => {
                self.end_line();
                Ok(0)
            }
            Ok(length) => {
                self.look(&buffer[..length]);
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.failure.get_or_insert(error);
                Err(told)
            }
        }
    }
}
