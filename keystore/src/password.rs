//! Passwords in a folder of `.age` files, as [passage](https://github.com/FiloSottile/passage) keeps them.
//!
//! `web/example.org` is the file `web/example.org.age`; its content is the secret, a line feed, and
//! whatever else belongs to it. A `.age-recipients` file, in the folder or the nearest one above, lists
//! to whom the files below are encrypted; bcm adds the device where it is missing. Names are readable
//! by whoever reads the disk: that is passage's format.

mod error;
mod generate;
mod name;
mod recipients;

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use crate::age::{AgeError, Identity, Recipient, decrypt, encrypt};
use crate::store::create_private_dir;

pub use error::PasswordError;
pub use generate::{Alphabet, DEFAULT_LENGTH, LENGTHS, generate};
pub use name::{PasswordName, PasswordNameError};

/// What the name of a password's file ends with.
const ENDING: &str = ".age";

/// Longest secret, with all that belongs to it.
pub const MAX_SECRET: usize = 1 << 20;

/// The content of a password file: its first line is the secret. Wiped on drop, never shown.
pub struct Entry(Zeroizing<Vec<u8>>);

impl Entry {
    /// Makes one that is this secret alone.
    pub fn of_secret(secret: &[u8]) -> Self {
        let mut content = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
        content.extend_from_slice(secret);
        content.push(b'\n');
        Self(content)
    }

    /// Reads one, adding the line feed at the end where it is missing.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Empty`], [`PasswordError::TooLong`], [`PasswordError::Input`].
    pub fn read(input: impl Read) -> Result<Self, PasswordError> {
        let mut content = Sink(Zeroizing::new(Vec::new()));
        let mut buffer = Zeroizing::new([0; 4096]);
        let mut input = input.take(MAX_SECRET as u64 + 1);
        loop {
            match input.read(&mut *buffer) {
                Ok(0) => break,
                Ok(read) => content
                    .write_all(&buffer[..read])
                    .map_err(PasswordError::Input)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PasswordError::Input(error)),
            }
        }
        let mut content = content.0;
        if content.len() > MAX_SECRET {
            return Err(PasswordError::TooLong);
        }
        if content.last() != Some(&b'\n') {
            // may move: the old place is wiped by hand
            let mut longer = Zeroizing::new(Vec::with_capacity(content.len() + 1));
            longer.extend_from_slice(&content);
            longer.push(b'\n');
            content = longer;
        }
        let entry = Self(content);
        if entry.secret().is_empty() {
            return Err(PasswordError::Empty);
        }
        Ok(entry)
    }

    /// Returns the first line without its end.
    pub fn secret(&self) -> &[u8] {
        let line = self.0.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// Returns all of it.
    pub fn content(&self) -> &[u8] {
        &self.0
    }

    /// Returns the same with another secret: what else belongs to it stays.
    #[must_use]
    pub fn with_secret(&self, secret: &[u8]) -> Self {
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let rest = end.map_or(&[][..], |end| &self.0[end + 1..]);
        let mut content = Zeroizing::new(Vec::with_capacity(secret.len() + 1 + rest.len()));
        content.extend_from_slice(secret);
        content.push(b'\n');
        content.extend_from_slice(rest);
        Self(content)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry([redacted])")
    }
}

/// Grows without leaving copies behind, up to a little more than [`MAX_SECRET`].
struct Sink(Zeroizing<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.0.len() + bytes.len();
        if length > MAX_SECRET + 1 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if length > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity((2 * length).max(4096)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder of passwords.
#[derive(Clone, Debug)]
pub struct PasswordStore {
    root: PathBuf,
}

impl PasswordStore {
    /// Takes the store at `root`, which need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Lists the passwords below `folder`, or all, in alphabetical order.
    ///
    /// What is hidden, is a link, or has no name that bcm would give is left out.
    ///
    /// # Errors
    ///
    /// [`PasswordError::NoFolder`], [`PasswordError::Io`].
    pub fn list(&self, folder: Option<&PasswordName>) -> Result<Vec<PasswordName>, PasswordError> {
        let mut found = Vec::new();
        let start = match folder {
            None => self.root.clone(),
            Some(folder) => self.place(folder.as_str())?,
        };
        let prefix = folder.map_or_else(String::new, |folder| format!("{folder}/"));
        match fs::symlink_metadata(&start) {
            Ok(metadata) if metadata.is_dir() || folder.is_none() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_none() => {
                return Ok(found);
            }
            _ => return Err(PasswordError::NoFolder(prefix)),
        }
        walk(&start, &prefix, &mut found)?;
        found.sort();
        Ok(found)
    }

    /// Counts the passwords.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Io`].
    pub fn count(&self) -> Result<usize, PasswordError> {
        Ok(self.list(None)?.len())
    }

    /// Tells whether there is such a password.
    pub fn contains(&self, name: &PasswordName) -> bool {
        self.file(name).is_ok_and(|path| path.is_file())
    }

    /// Decrypts a password with the first of `identities` that can.
    ///
    /// # Errors
    ///
    /// [`PasswordError::NotFound`] with the nearest name, or any other.
    pub fn read(
        &self,
        name: &PasswordName,
        identities: Vec<Box<dyn Identity>>,
    ) -> Result<Entry, PasswordError> {
        let file = self.open(name)?;
        let mut content = Sink(Zeroizing::new(Vec::new()));
        decrypt(identities, file, &mut content).map_err(|error| match error {
            AgeError::Write(_) => PasswordError::TooLong,
            error => PasswordError::Age {
                name: name.to_string(),
                error,
            },
        })?;
        Ok(Entry(content.0))
    }

    /// Encrypts a password; with `replace` over one that is there.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Exists`], or any other; what was there is then still there.
    pub fn write(
        &self,
        name: &PasswordName,
        entry: &Entry,
        recipients: Vec<Box<dyn Recipient + Send>>,
        replace: bool,
    ) -> Result<(), PasswordError> {
        let mut file = Vec::new();
        encrypt(recipients, false, &mut entry.content(), &mut file).map_err(|error| {
            PasswordError::Age {
                name: name.to_string(),
                error,
            }
        })?;
        self.put(name, &file, replace)
    }

    /// Keeps the file of `name` as it is under another name too.
    ///
    /// # Errors
    ///
    /// [`PasswordError::NotFound`], [`PasswordError::Exists`], or any other.
    pub fn keep_as(
        &self,
        name: &PasswordName,
        other: &PasswordName,
        replace: bool,
    ) -> Result<(), PasswordError> {
        let mut file = Vec::new();
        let path = self.file(name)?;
        self.open(name)?
            .take(2 * MAX_SECRET as u64)
            .read_to_end(&mut file)
            .map_err(|error| PasswordError::io(&path, error))?;
        self.put(other, &file, replace)
    }

    /// Removes a password, and the folders that it leaves empty.
    ///
    /// # Errors
    ///
    /// [`PasswordError::NotFound`], [`PasswordError::Io`].
    pub fn remove(&self, name: &PasswordName) -> Result<(), PasswordError> {
        let path = self.file(name)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.not_found(name));
            }
            Err(error) => return Err(PasswordError::io(&path, error)),
        }
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|folder| *folder != self.root) {
            // the first that is not empty ends it
            if fs::remove_dir(empty).is_err() {
                break;
            }
            folder = empty.parent();
        }
        Ok(())
    }

    fn open(&self, name: &PasswordName) -> Result<File, PasswordError> {
        let path = self.file(name)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => Ok(file.into()),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Err(self.not_found(name)),
            Err(error) => Err(PasswordError::io(&path, error.into())),
        }
    }

    /// Writes a file beside its place, to the disk, and then into its place.
    fn put(&self, name: &PasswordName, file: &[u8], replace: bool) -> Result<(), PasswordError> {
        let path = self.file(name)?;
        let folder = path.parent().expect("a file is in a folder").to_owned();
        let failed = |error| PasswordError::io(&path, error);
        if !replace && fs::symlink_metadata(&path).is_ok() {
            return Err(PasswordError::Exists(name.to_string()));
        }
        self.create_folders(&folder)?;
        let mut temporary = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&folder)
            .map_err(failed)?;
        temporary.write_all(file).map_err(failed)?;
        temporary.as_file().sync_all().map_err(failed)?;
        let put = if replace {
            temporary.persist(&path)
        } else {
            temporary.persist_noclobber(&path)
        };
        put.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => PasswordError::Exists(name.to_string()),
            _ => PasswordError::io(&path, error.error),
        })?;
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }

    fn create_folders(&self, folder: &Path) -> Result<(), PasswordError> {
        // a store that the person chose keeps the mode that it has
        if !self.root.is_dir() {
            create_private_dir(&self.root).map_err(|error| PasswordError::io(&self.root, error))?;
        }
        if folder != self.root {
            create_private_dir(folder).map_err(|error| PasswordError::io(folder, error))?;
        }
        Ok(())
    }

    /// Returns the file of a password, behind no link.
    fn file(&self, name: &PasswordName) -> Result<PathBuf, PasswordError> {
        self.place(&format!("{name}{ENDING}"))
    }

    /// Returns a place below the root. Links are refused: they may lead out of the store, and writing
    /// would replace them.
    fn place(&self, relative: &str) -> Result<PathBuf, PasswordError> {
        let mut path = self.root.clone();
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            if fs::symlink_metadata(&path).is_ok_and(|file| file.is_symlink()) {
                return Err(PasswordError::Symlink(path));
            }
        }
        Ok(path)
    }

    fn not_found(&self, name: &PasswordName) -> PasswordError {
        let alike = |other: &PasswordName| strsim::jaro_winkler(other.as_str(), name.as_str());
        let nearest = self.list(None).unwrap_or_default().into_iter();
        let nearest = nearest
            .filter(|other| alike(other) > 0.8)
            .max_by(|a, b| alike(a).total_cmp(&alike(b)));
        PasswordError::NotFound {
            name: name.to_string(),
            nearest: nearest.map(|name| name.to_string()),
        }
    }
}

/// Collects the passwords below a folder.
fn walk(folder: &Path, prefix: &str, found: &mut Vec<PasswordName>) -> Result<(), PasswordError> {
    let failed = |error| PasswordError::io(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let below = format!("{prefix}{name}");
        if kind.is_dir() && below.parse::<PasswordName>().is_ok() {
            walk(&entry.path(), &format!("{below}/"), found)?;
        } else if kind.is_file()
            && let Some(name) = below.strip_suffix(ENDING)
            && let Ok(name) = name.parse()
        {
            found.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
