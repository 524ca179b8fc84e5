//! What is written: a file that gets its name when it is whole, or standard output.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{FileError, PIECE, STANDARD, Source, WAITING, is_standard, name_of};
use crate::ui::lock;

/// Written bytes after which the disk is told to begin, so that the sync at the end is short.
const SYNC_EVERY: usize = 64 << 20;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone: what was encrypted.
    Private,
    /// Whoever the umask lets: ciphertext and signatures.
    Umask,
}

impl Access {
    fn mode(self) -> Mode {
        Mode::from_raw_mode(match self {
            Self::Private => 0o600,
            Self::Umask => 0o666,
        })
    }
}

/// What happens to what has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays, and nothing is written.
    Never,
    /// It is replaced once the new file is whole (`--force`).
    Force,
}

impl Overwrite {
    /// Reads the flag `--force`.
    pub fn when(force: bool) -> Self {
        if force { Self::Force } else { Self::Never }
    }
}

/// What is written.
#[derive(Debug)]
pub struct Target {
    name: String,
    output: Output,
}

#[derive(Debug)]
enum Output {
    /// Standard output, a pipe or a device: written as it comes.
    Stream { file: File, text_only: bool },
    /// A file, from here on without a name or with one that it loses.
    File(Unnamed),
}

/// A file that is not in its place yet.
#[derive(Debug)]
struct Unnamed {
    file: File,
    folder: OwnedFd,
    place: PathBuf,
    overwrite: Overwrite,
    /// Where the file system has no files without a name.
    temporary: Option<Temporary>,
}

/// A name that is removed when the file does not come into its place.
#[derive(Debug)]
struct Temporary {
    folder: OwnedFd,
    name: String,
    kept: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // a file system that has gone away keeps what it has
            let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

impl Target {
    /// Prepares to write `path`, or standard output for `-`; none of `sources` may be that file.
    ///
    /// `binary` output is kept from a terminal unless forced.
    pub fn create(
        path: &Path,
        access: Access,
        overwrite: Overwrite,
        binary: bool,
        sources: &[&Source],
    ) -> Result<Self, FileError> {
        if is_standard(path) {
            return standard(overwrite, binary);
        }
        let name = name_of(path);
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(FileError::Folder(name));
        }
        if let Some(stream) = stream(path, &name, overwrite, sources)? {
            let output = Output::Stream {
                file: stream,
                text_only: false,
            };
            return Ok(Self { name, output });
        }
        let output =
            unnamed(path, access, overwrite)
                .map(Output::File)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                        FileError::NoFolder(name_of(&folder_of(path)))
                    }
                    _ => FileError::write(&name, error),
                })?;
        Ok(Self { name, output })
    }

    /// Names it in a message.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether it is written as it comes, and cannot be taken back.
    pub fn is_stream(&self) -> bool {
        matches!(self.output, Output::Stream { .. })
    }

    /// Writes it behind, on a thread of its own.
    pub fn writer(self) -> Writer {
        let (full, pieces) = sync_channel(WAITING);
        let (empty, used) = channel();
        let failure = Arc::default();
        let behind = Behind {
            name: self.name.clone(),
            output: self.output,
            unsynced: 0,
            syncer: None,
        };
        let told = Arc::clone(&failure);
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || behind.run(&pieces, &empty, &told))
            .expect("a thread for the writer");
        Writer {
            name: self.name,
            piece: Vec::new(),
            pieces: Some(full),
            used: Mutex::new(used),
            thread: Some(thread),
            failure,
        }
    }
}

fn standard(overwrite: Overwrite, binary: bool) -> Result<Target, FileError> {
    let terminal = io::stdout().is_terminal() && overwrite == Overwrite::Never;
    if terminal && binary {
        return Err(FileError::Terminal);
    }
    let file = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| FileError::write(STANDARD, error))?;
    Ok(Target {
        name: STANDARD.to_owned(),
        output: Output::Stream {
            file: file.into(),
            text_only: terminal,
        },
    })
}

/// Decides what to do with what stands at `path`; a pipe or a device is written to as it is.
fn stream(
    path: &Path,
    name: &str,
    overwrite: Overwrite,
    sources: &[&Source],
) -> Result<Option<File>, FileError> {
    let failed = |error| FileError::write(name, error);
    let link = match path.symlink_metadata() {
        Err(error) if absent(&error) => return Ok(None),
        link => link.map_err(failed)?.is_symlink(),
    };
    let there = match path.metadata() {
        // a link to nowhere
        Err(error) if absent(&error) => None,
        there => Some(there.map_err(failed)?),
    };
    let same = |there: &Metadata| sources.iter().find(|source| source.is(there)).copied();
    if let Some(source) = there.as_ref().and_then(same) {
        return Err(FileError::Same {
            target: name.to_owned(),
            source_name: source.name().to_owned(),
        });
    }
    let kind = there.as_ref().map(Metadata::file_type);
    if kind.is_some_and(|kind| kind.is_dir()) {
        return Err(FileError::Folder(name.to_owned()));
    }
    if overwrite == Overwrite::Never {
        return Err(match link {
            true => FileError::Link(name.to_owned()),
            false => FileError::Exists(name.to_owned()),
        });
    }
    match kind {
        Some(kind) if kind.is_char_device() || kind.is_fifo() => File::options()
            .write(true)
            .open(path)
            .map(Some)
            .map_err(failed),
        Some(kind) if kind.is_block_device() || kind.is_socket() => {
            Err(FileError::Special(name.to_owned()))
        }
        _ => Ok(None),
    }
}

fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn unnamed(path: &Path, access: Access, overwrite: Overwrite) -> io::Result<Unnamed> {
    let place = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let folder = rustix::fs::openat(CWD, folder_of(path), flags, Mode::empty())?;
    let place = PathBuf::from(place);
    if place.as_os_str().len() > 255 {
        return Err(Errno::NAMETOOLONG.into());
    }
    let (file, temporary) = match without_name(&folder, access) {
        Ok(file) if Path::new(&by_number(file.as_fd())).exists() => (file, None),
        // the file system knows no files without a name, or there is no /proc to give it one
        Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            let (file, temporary) = named(&folder, access)?;
            (file, Some(temporary))
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Unnamed {
        file: file.into(),
        folder,
        place,
        overwrite,
        temporary,
    })
}

fn without_name(folder: &OwnedFd, access: Access) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, ".", flags, access.mode())
}

fn named(folder: &OwnedFd, access: Access) -> io::Result<(OwnedFd, Temporary)> {
    let name = fresh_name();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &name, flags, access.mode())?;
    let temporary = Temporary {
        folder: folder.try_clone()?,
        name,
        kept: false,
    };
    Ok((file, temporary))
}

fn fresh_name() -> String {
    let random: [u64; 2] = std::array::from_fn(|_| rand::random());
    format!(".bcm-{:016x}{:016x}", random[0], random[1])
}

fn by_number(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl Unnamed {
    /// Brings the file to the disk and into its place.
    fn settle(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        match (self.temporary.take(), self.overwrite) {
            // a link is made only where nothing is, so that no race overwrites anything
            (None, Overwrite::Never) => self.link(&self.place)?,
            (None, Overwrite::Force) => {
                let name = fresh_name();
                self.link(Path::new(&name))?;
                let mut temporary = Temporary {
                    folder: self.folder.try_clone()?,
                    name,
                    kept: false,
                };
                self.replace(&mut temporary)?;
            }
            (Some(mut temporary), Overwrite::Never) => self.rename(&mut temporary)?,
            (Some(mut temporary), Overwrite::Force) => self.replace(&mut temporary)?,
        }
        // some network file systems sync no folders
        match rustix::fs::fsync(&self.folder) {
            Err(Errno::INVAL | Errno::BADF | Errno::ROFS) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn link(&self, name: &Path) -> io::Result<()> {
        let by_number = by_number(self.file.as_fd());
        let flags = AtFlags::SYMLINK_FOLLOW;
        Ok(rustix::fs::linkat(
            CWD,
            &by_number,
            &self.folder,
            name,
            flags,
        )?)
    }

    fn replace(&self, temporary: &mut Temporary) -> io::Result<()> {
        rustix::fs::renameat(&self.folder, &temporary.name, &self.folder, &self.place)?;
        temporary.kept = true;
        Ok(())
    }

    fn rename(&self, temporary: &mut Temporary) -> io::Result<()> {
        let (from, folder) = (&temporary.name, &self.folder);
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(folder, from, folder, &self.place, flags) {
            Ok(()) => {
                temporary.kept = true;
                Ok(())
            }
            // the file system cannot promise it, a link can
            Err(Errno::INVAL | Errno::NOSYS) => {
                let flags = AtFlags::empty();
                Ok(rustix::fs::linkat(
                    folder,
                    from,
                    folder,
                    &self.place,
                    flags,
                )?)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The thread that writes behind.
struct Behind {
    name: String,
    output: Output,
    unsynced: usize,
    syncer: Option<Syncer>,
}

/// A thread that brings to the disk what is written while more is written.
struct Syncer {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Syncer {
    fn start(file: File) -> Self {
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("syncer".into())
            .spawn(move || woken.iter().try_for_each(|()| file.sync_data()))
            .expect("a thread for the disk");
        Self { wake, thread }
    }

    /// Waits for it. The system tells of a failed write once: it must not get lost here.
    fn end(self) -> io::Result<()> {
        drop(self.wake);
        self.thread
            .join()
            .expect("the syncer has nothing that panics")
    }
}

impl Behind {
    /// Writes until there is no more, and gives the output back.
    fn run(
        mut self,
        pieces: &Receiver<Vec<u8>>,
        used: &Sender<Vec<u8>>,
        failure: &Mutex<Option<FileError>>,
    ) -> Option<Output> {
        while let Ok(mut piece) = pieces.recv() {
            if let Err(error) = self.write(&piece) {
                *lock(failure) = Some(error);
                return None;
            }
            piece.clear();
            // the writer may need it no more
            let _ = used.send(piece);
        }
        if let Some(Err(error)) = self.syncer.take().map(Syncer::end) {
            *lock(failure) = Some(FileError::write(&self.name, error));
            return None;
        }
        Some(self.output)
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), FileError> {
        let failed = |error| FileError::write(&self.name, error);
        match &mut self.output {
            Output::Stream {
                text_only: true, ..
            } if !is_text(piece) => Err(FileError::Terminal),
            Output::Stream { file, .. } => file.write_all(piece).map_err(failed),
            Output::File(unnamed) => {
                unnamed.file.write_all(piece).map_err(failed)?;
                self.unsynced += piece.len();
                if self.unsynced >= SYNC_EVERY {
                    self.unsynced = 0;
                    if self.syncer.is_none() {
                        let file = unnamed.file.try_clone().map_err(failed)?;
                        self.syncer = Some(Syncer::start(file));
                    }
                    let syncer = self.syncer.as_ref().expect("it was started above");
                    // one that is still busy takes this with the next
                    let _ = syncer.wake.try_send(());
                }
                Ok(())
            }
        }
    }
}

/// Tells whether a piece holds nothing that a terminal would obey.
fn is_text(piece: &[u8]) -> bool {
    piece
        .iter()
        .all(|byte| matches!(byte, b'\n' | b'\r' | b'\t') || *byte >= 0x20 && *byte != 0x7f)
}

/// Hands what is written to the thread that writes behind.
#[derive(Debug)]
pub struct Writer {
    name: String,
    piece: Vec<u8>,
    pieces: Option<SyncSender<Vec<u8>>>,
    /// In a mutex that is never waited for, because the cryptography wants its output to be `Sync`.
    used: Mutex<Receiver<Vec<u8>>>,
    thread: Option<JoinHandle<Option<Output>>>,
    failure: Arc<Mutex<Option<FileError>>>,
}

impl Writer {
    /// Takes what went wrong with the file.
    pub fn failure(&self) -> Option<FileError> {
        lock(&self.failure).take()
    }

    /// Waits until everything is written, on the disk, and in its place.
    pub fn commit(mut self) -> Result<(), FileError> {
        let handed = self.hand_over();
        self.pieces.take();
        let thread = self.thread.take().expect("it is taken here alone");
        let output = thread.join().expect("the writer has nothing that panics");
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let failed = |error| FileError::write(&self.name, error);
        handed.map_err(failed)?;
        match output {
            Some(Output::File(unnamed)) => unnamed.settle().map_err(failed),
            _ => Ok(()),
        }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let used = self.used.get_mut().expect("no thread panics with it");
        let next = used.try_recv().unwrap_or_default();
        let piece = std::mem::replace(&mut self.piece, next);
        let pieces = self.pieces.as_ref().expect("it is taken at the end alone");
        pieces
            .send(piece)
            .map_err(|_| io::Error::other("the output failed"))
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE.saturating_sub(self.piece.len());
        let taken = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() >= PIECE {
            self.hand_over()?;
        }
        Ok(taken)
    }

    /// Hands over what there is, which a pipe's reader may wait for.
    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.hand_over()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.pieces.take();
        // so that what was begun is removed before the command ends
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target as it is on a file system that knows no files without a name.
    fn old(folder: &Path, overwrite: Overwrite) -> Target {
        let place = folder.join("x");
        let mut unnamed = unnamed(&place, Access::Private, overwrite).unwrap();
        let (file, temporary) = named(&unnamed.folder, Access::Private).unwrap();
        unnamed.file = file.into();
        unnamed.temporary = Some(temporary);
        Target {
            name: "x".into(),
            output: Output::File(unnamed),
        }
    }

    fn write(target: Target, content: &[u8]) -> Result<(), FileError> {
        let mut writer = target.writer();
        writer.write_all(content).unwrap();
        writer.commit()
    }

    #[test]
    fn where_files_need_a_name_the_name_goes_away_with_what_failed() {
        let folder = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut writer = old(folder.path(), Overwrite::Never).writer();
        writer.write_all(b"half").unwrap();
        drop(writer);
        assert_eq!(names(), 0);
        let late = old(folder.path(), Overwrite::Never);
        write(old(folder.path(), Overwrite::Never), b"one").unwrap();
        let error = write(late, b"two").unwrap_err();
        assert!(matches!(error, FileError::Exists(_)), "{error}");
        let read = || std::fs::read(folder.path().join("x")).unwrap();
        assert_eq!(read(), b"one");
        write(old(folder.path(), Overwrite::Force), b"two").unwrap();
        assert_eq!(read(), b"two");
        assert_eq!(names(), 1);
    }
}
