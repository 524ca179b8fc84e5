//! What is read: a file that was opened once, or standard input.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::progress::Progress;
use super::{FileError, PIECE, STANDARD, WAITING, is_standard, name_of};
use crate::session::Cancelled;
use crate::ui::lock;

/// How often whoever waits for a pipe looks whether the command was ended.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// What is read.
#[derive(Debug)]
pub struct Source {
    name: String,
    input: Input,
    /// Device and inode.
    id: Option<(u64, u64)>,
    length: Option<u64>,
}

#[derive(Debug)]
enum Input {
    Standard,
    File(File),
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Standard => rustix::stdio::stdin(),
            Self::File(file) => file.as_fd(),
        }
    }
}

impl Read for Input {
    /// Reads the descriptor itself: what `std` keeps of standard input would be lost to the next one.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.as_fd(), buffer)?)
    }
}

impl Source {
    /// Opens `path`, or standard input for `-`.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        if is_standard(path) {
            let input = Input::Standard;
            let metadata = input
                .as_fd()
                .try_clone_to_owned()
                .and_then(|input| File::from(input).metadata());
            return Ok(Self {
                name: STANDARD.to_owned(),
                id: metadata.ok().as_ref().map(id),
                input,
                length: None,
            });
        }
        let name = name_of(path);
        // a pipe that nobody writes to is waited for where it is read, and Ctrl-C ends that
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
        let file = File::options()
            .read(true)
            .custom_flags(i32::try_from(nonblocking).expect("a flag of open(2)"))
            .open(path)
            .map_err(|error| FileError::read(&name, error))?;
        let metadata = file
            .metadata()
            .map_err(|error| FileError::read(&name, error))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Err(FileError::Folder(name));
        }
        if kind.is_block_device() || kind.is_socket() {
            return Err(FileError::Special(name));
        }
        Ok(Self {
            name,
            id: Some(id(&metadata)),
            length: kind.is_file().then_some(metadata.len()),
            input: Input::File(file),
        })
    }

    /// Names it in a message.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether it is the file with this metadata.
    pub fn is(&self, metadata: &Metadata) -> bool {
        metadata.is_file() && self.id == Some(id(metadata))
    }

    /// Reads it on this thread, without a bar.
    pub fn into_read(self) -> impl Read {
        Waiting {
            input: self.input,
            cancelled: Cancelled::default(),
        }
    }

    /// Reads it ahead on a thread of its own, up to the end or until `cancelled`.
    pub fn reader(self, cancelled: &Cancelled) -> Reader {
        let (full, pieces) = sync_channel(WAITING);
        let (empty, used) = channel();
        let failure = Arc::default();
        let ahead = Ahead {
            progress: Progress::new(&self.name, self.length),
            name: self.name,
            length: self.length,
            input: Waiting {
                input: self.input,
                cancelled: cancelled.clone(),
            },
        };
        let told = Arc::clone(&failure);
        // not waited for: a reader that hangs in a dead network file system must not hang bcm
        std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || ahead.run(&full, &used, &told))
            .expect("a thread for the reader");
        Reader {
            pieces: Mutex::new(pieces),
            used: empty,
            piece: Piece::default(),
            failure,
        }
    }
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// An input that is waited for until the command is ended.
#[derive(Debug)]
struct Waiting {
    input: Input,
    cancelled: Cancelled,
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.cancelled.check()?;
            let mut ready = [PollFd::new(&self.input, PollFlags::IN)];
            match poll(&mut ready, Some(&GLANCE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match self.input.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Bytes, and how many of them were taken.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    taken: usize,
}

/// The thread that reads ahead.
struct Ahead {
    name: String,
    length: Option<u64>,
    input: Waiting,
    progress: Progress,
}

impl Ahead {
    fn run(
        mut self,
        full: &SyncSender<Vec<u8>>,
        used: &Receiver<Vec<u8>>,
        failure: &Mutex<Option<FileError>>,
    ) {
        let mut total = 0;
        loop {
            let mut piece = used.try_recv().unwrap_or_default();
            match self.fill(&mut piece) {
                Ok(()) if piece.is_empty() => break,
                Ok(()) => {}
                Err(error) => {
                    *lock(failure) = Some(FileError::read(&self.name, error));
                    return;
                }
            }
            let read = piece.len() as u64;
            total += read;
            if full.send(piece).is_err() {
                // nobody wants the rest
                return;
            }
            self.progress.advance(read);
        }
        if let Some(expected) = self.length.filter(|expected| total < *expected) {
            *lock(failure) = Some(FileError::Shrank {
                name: self.name,
                expected,
                found: total,
            });
        }
    }

    /// Fills a piece from a file, or takes what a pipe has.
    fn fill(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        piece.resize(PIECE, 0);
        let mut filled = 0;
        while filled < PIECE {
            match self.input.read(&mut piece[filled..])? {
                0 => break,
                read => filled += read,
            }
            if self.length.is_none() {
                break;
            }
        }
        piece.truncate(filled);
        Ok(())
    }
}

/// Reads what the thread has read ahead.
#[derive(Debug)]
pub struct Reader {
    /// In a mutex that is never waited for, because the cryptography wants its input to be `Sync`.
    pieces: Mutex<Receiver<Vec<u8>>>,
    used: Sender<Vec<u8>>,
    piece: Piece,
    failure: Arc<Mutex<Option<FileError>>>,
}

impl Reader {
    /// Takes what went wrong with the file.
    pub fn failure(&self) -> Option<FileError> {
        lock(&self.failure).take()
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.taken == self.piece.bytes.len() {
            let used = std::mem::take(&mut self.piece).bytes;
            if used.capacity() > 0 {
                // the thread may have come to the end and not need it
                let _ = self.used.send(used);
            }
            let pieces = self.pieces.get_mut().expect("no thread panics with it");
            match pieces.recv() {
                Ok(bytes) => self.piece = Piece { bytes, taken: 0 },
                Err(_) if lock(&self.failure).is_some() => {
                    return Err(io::Error::other("the input failed"));
                }
                Err(_) => return Ok(0),
            }
        }
        let rest = &self.piece.bytes[self.piece.taken..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        self.piece.taken += read;
        Ok(read)
    }
}
