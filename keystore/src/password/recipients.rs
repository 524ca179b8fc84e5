//! To whom passwords are encrypted: the lists that passage calls `.age-recipients`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::error::PasswordError;
use super::name::PasswordName;
use super::{ENDING, PasswordStore};
use crate::age::{DeviceKey, Recipient, parse_recipient};
use crate::store::write_private;

/// Name of a list.
const LIST: &str = ".age-recipients";

/// Longest list.
const MAX_LIST: u64 = 1 << 20;

impl PasswordStore {
    /// Returns the recipients of what is in `folder`, as they are written: those of the nearest list in
    /// or above it, none when there is no list.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Io`], [`PasswordError::Symlink`].
    pub fn recipients(&self, folder: Option<&PasswordName>) -> Result<Vec<String>, PasswordError> {
        let Some((_, text)) = self.nearest_list(folder)? else {
            return Ok(Vec::new());
        };
        Ok(lines(&text).map(|(_, line)| line.to_owned()).collect())
    }

    /// Returns whom to encrypt `name` to: the device first, so that it opens the file with one
    /// confirmation, then everybody else on the list, each of whom must be among the `accepted`: any
    /// program can write to the list.
    ///
    /// # Errors
    ///
    /// [`PasswordError::NotAccepted`], [`PasswordError::Recipient`] names the line that is no recipient; else as
    /// [`PasswordStore::recipients`].
    pub fn recipients_for(
        &self,
        name: &PasswordName,
        device: &DeviceKey,
        accepted: &[String],
    ) -> Result<Vec<Box<dyn Recipient + Send>>, PasswordError> {
        let mut recipients: Vec<Box<dyn Recipient + Send>> = vec![Box::new(device.recipient())];
        let folder = name.folder();
        let Some((path, text)) = self.nearest_list(folder.as_ref())? else {
            return Ok(recipients);
        };
        let own = device.to_string();
        for (line, recipient) in lines(&text).filter(|(_, recipient)| *recipient != own) {
            if !accepted.iter().any(|accepted| accepted == recipient) {
                return Err(PasswordError::NotAccepted {
                    recipient: shown(recipient),
                    path,
                });
            }
            let recipient =
                parse_recipient(recipient).map_err(|error| PasswordError::Recipient {
                    path: path.clone(),
                    line,
                    error,
                })?;
            recipients.push(recipient);
        }
        Ok(recipients)
    }

    /// Writes down the device as recipient of everything, in a store that has nothing yet.
    ///
    /// A store of somebody who uses passage without lists is left without: passage would no longer
    /// encrypt to its identities.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Io`].
    pub fn begin(&self, device: &DeviceKey) -> Result<bool, PasswordError> {
        if self.count()? > 0 || self.nearest_list(None)?.is_some() {
            return Ok(false);
        }
        self.create_folders(&self.root)?;
        let text = format!("# age://{} on a Trezor\n{device}\n", device.name());
        self.write_list(None, &text)?;
        Ok(true)
    }

    /// Adds a recipient to what will be written in `folder`; a list of its own begins with those that
    /// held before.
    ///
    /// # Errors
    ///
    /// [`PasswordError::RecipientThere`], [`PasswordError::Recipient`] when it is none, or any other.
    pub fn add_recipient(
        &self,
        folder: Option<&PasswordName>,
        recipient: &str,
        device: &DeviceKey,
    ) -> Result<(), PasswordError> {
        let recipient = recipient.trim();
        parse_recipient(recipient).map_err(|error| PasswordError::Age {
            name: LIST.into(),
            error,
        })?;
        let mut text = match self.nearest_list(folder)? {
            Some((_, text)) => text,
            None => format!("# age://{} on a Trezor\n{device}\n", device.name()),
        };
        if lines(&text).any(|(_, line)| line == recipient) {
            return Err(PasswordError::RecipientThere(recipient.to_owned()));
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(recipient);
        text.push('\n');
        self.write_list(folder, &text)
    }

    /// Removes a recipient from what will be written in `folder`.
    ///
    /// # Errors
    ///
    /// [`PasswordError::RecipientNotThere`], or any other.
    pub fn remove_recipient(
        &self,
        folder: Option<&PasswordName>,
        recipient: &str,
    ) -> Result<(), PasswordError> {
        let recipient = recipient.trim();
        let text = self.nearest_list(folder)?.map(|(_, text)| text);
        let text = text.unwrap_or_default();
        if !lines(&text).any(|(_, line)| line == recipient) {
            return Err(PasswordError::RecipientNotThere(shown(recipient)));
        }
        let kept = text.lines().filter(|line| line.trim() != recipient);
        let text: String = kept.flat_map(|line| [line, "\n"]).collect();
        self.write_list(folder, &text)
    }

    /// Lists what below `folder` was encrypted before its list was last changed.
    ///
    /// # Errors
    ///
    /// As [`PasswordStore::list`].
    pub fn outdated(
        &self,
        folder: Option<&PasswordName>,
    ) -> Result<Vec<PasswordName>, PasswordError> {
        let mut outdated = Vec::new();
        for name in self.list(folder)? {
            let within = name.folder();
            let Some((list, _)) = self.nearest_list(within.as_ref())? else {
                continue;
            };
            let file = self.place(&format!("{name}{ENDING}"))?;
            if modified(&file)? <= modified(&list)? {
                outdated.push(name);
            }
        }
        Ok(outdated)
    }

    /// Finds the list that holds for `folder`, and reads it.
    fn nearest_list(
        &self,
        folder: Option<&PasswordName>,
    ) -> Result<Option<(PathBuf, String)>, PasswordError> {
        let own = folder.map(PasswordName::as_str);
        let above = folder.into_iter().flat_map(PasswordName::folders);
        for folder in own.into_iter().chain(above).chain([""]) {
            let path = self.place(&format!("{folder}/{LIST}"))?;
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_LIST => {
                    let text = fs::read_to_string(&path);
                    let text = text.map_err(|error| PasswordError::io(&path, error))?;
                    return Ok(Some((path, text)));
                }
                Ok(_) => {
                    let error = io::ErrorKind::InvalidData.into();
                    return Err(PasswordError::io(&path, error));
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) => {}
                Err(error) => return Err(PasswordError::io(&path, error)),
            }
        }
        Ok(None)
    }

    fn write_list(&self, folder: Option<&PasswordName>, text: &str) -> Result<(), PasswordError> {
        let folder = folder.map_or("", PasswordName::as_str);
        let path = self.place(&format!("{folder}/{LIST}"))?;
        let parent = path.parent().expect("a list is in a folder");
        self.create_folders(parent)?;
        write_private(&path, text.as_bytes()).map_err(|error| PasswordError::io(&path, error))
    }
}

/// Returns the recipients of a list with the numbers of their lines; `#` begins a comment, as in age.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| (index + 1, line))
}

/// Cuts what a line of somebody else holds, for an error.
fn shown(recipient: &str) -> String {
    recipient.chars().take(80).collect()
}

fn modified(path: &std::path::Path) -> Result<SystemTime, PasswordError> {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.map_err(|error| PasswordError::io(path, error))
}
