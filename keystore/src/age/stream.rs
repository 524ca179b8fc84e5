//! Whole files, streamed: memory stays flat whatever the size.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use ::age::armor::{ArmoredReader, ArmoredWriter, Format};
use ::age::{Decryptor, Encryptor};
use zeroize::Zeroizing;

use super::error::{AgeError, failed_read};

/// The payload is encrypted in pieces of this size; reads and writes are of it or its multiples.
const CHUNK: usize = 64 * 1024;

/// Longest header that is read into memory: some 8000 recipients.
const MAX_HEADER: usize = 1 << 20;

/// Encrypts `input` to `recipients`; their stanzas are in the order given, the device's best first.
///
/// # Errors
///
/// [`AgeError::Read`] and [`AgeError::Write`] tell the two sides apart; what was written is then to
/// be thrown away.
#[expect(
    clippy::needless_pass_by_value,
    reason = "they are made for one file, and nothing keeps them"
)]
pub fn encrypt(
    recipients: Vec<Box<dyn ::age::Recipient + Send>>,
    armor: bool,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<(), AgeError> {
    let recipients = recipients.iter().map(|one| &**one as &dyn ::age::Recipient);
    let encryptor = Encryptor::with_recipients(recipients)?;
    let format = if armor {
        Format::AsciiArmor
    } else {
        Format::Binary
    };
    let output = ArmoredWriter::wrap_output(output, format).map_err(AgeError::Write)?;
    let mut output = encryptor.wrap_output(output).map_err(AgeError::Write)?;
    copy(input, &mut output, AgeError::Read)?;
    let armored = output.finish().map_err(AgeError::Write)?;
    let output = armored.finish().map_err(AgeError::Write)?;
    output.flush().map_err(AgeError::Write)
}

/// Decrypts `input`, binary or armored, with the first of `identities` that can.
///
/// What is written is authenticated piece by piece, and the end only at the end: `output` is to be
/// thrown away when this fails.
///
/// # Errors
///
/// Any [`AgeError`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "they are made for one file, and nothing keeps them"
)]
pub fn decrypt(
    identities: Vec<Box<dyn ::age::Identity>>,
    input: impl Read,
    output: &mut dyn Write,
) -> Result<(), AgeError> {
    let in_header = Rc::new(Cell::new(Some(0)));
    let input = Source {
        input,
        in_header: in_header.clone(),
    };
    let mut input = BufReader::with_capacity(CHUNK, input);
    // of the two forms one begins with `a`, the other with `-`
    let armored = input
        .fill_buf()
        .map_err(AgeError::of_io)?
        .first()
        .is_some_and(|first| *first != b'a');
    if armored {
        let input = BufReader::with_capacity(CHUNK, ArmoredReader::new(input));
        open(&identities, input, &in_header, output)
    } else {
        open(&identities, input, &in_header, output)
    }
}

fn open(
    identities: &[Box<dyn ::age::Identity>],
    input: impl BufRead,
    in_header: &Cell<Option<usize>>,
    output: &mut dyn Write,
) -> Result<(), AgeError> {
    let decryptor =
        Decryptor::new_buffered(input).map_err(|error| match AgeError::from(error) {
            // what is too short for a header, or is garbage
            AgeError::Damaged(_) if in_header.get().is_some_and(|read| read == 0) => {
                AgeError::NotAge
            }
            error => error,
        })?;
    in_header.set(None);
    if decryptor.is_scrypt() {
        return Err(AgeError::Passphrase);
    }
    let mut plain =
        decryptor.decrypt(identities.iter().map(|one| &**one as &dyn ::age::Identity))?;
    copy(&mut plain, output, AgeError::of_io)?;
    output.flush().map_err(AgeError::Write)
}

/// Copies all of `input`, in whole pieces as far as it gives them.
fn copy(
    input: &mut dyn Read,
    output: &mut dyn Write,
    failed: impl Fn(io::Error) -> AgeError,
) -> Result<(), AgeError> {
    let mut buffer = Zeroizing::new(vec![0; CHUNK]);
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        output.write_all(&buffer[..read]).map_err(AgeError::Write)?;
    }
}

/// The input: tells its own failures from those of the decryption, and ends a header that does not.
struct Source<R> {
    input: R,
    /// Bytes read so far, as long as they may be the header.
    in_header: Rc<Cell<Option<usize>>>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer).map_err(failed_read)?;
        if let Some(before) = self.in_header.get() {
            let total = before + read;
            if total > MAX_HEADER {
                let error = AgeError::Damaged("its header is longer than 1 MiB".into());
                return Err(io::Error::other(error));
            }
            self.in_header.set(Some(total));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
