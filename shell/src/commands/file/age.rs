//! Encryption with age.

use std::io::{Read, Write};
use std::path::Path;

use bcm_keystore::age::{
    self, AgeName, AgeStore, DEFAULT_NAME, DeviceIdentity, DeviceKey, parse_recipient,
};

use super::{Work, encrypt};
use crate::files;
use crate::report::Report;

/// Longest file of recipients.
const MAX_RECIPIENTS: u64 = 4 << 20;

/// Whom a file is encrypted to.
pub struct Recipients {
    recipients: Vec<Box<dyn age::Recipient + Send>>,
    names: Vec<String>,
}

impl Recipients {
    /// Reads all of them; the device is the first, so that it opens the file with one confirmation.
    pub fn choose(work: &Work<'_>, arguments: &encrypt::Args) -> Result<Self, Report> {
        let mut chosen = Self {
            recipients: Vec::new(),
            names: Vec::new(),
        };
        if !arguments.no_self {
            let key = key(work, arguments.key.as_deref().unwrap_or(DEFAULT_NAME))?;
            chosen.recipients.push(Box::new(key.recipient()));
            chosen.names.push(format!("age://{}", key.name()));
        }
        for recipient in &arguments.recipient {
            chosen.add(recipient)?;
        }
        for path in &arguments.recipients_file {
            chosen.add_file(path)?;
        }
        if chosen.recipients.is_empty() {
            return Err(Report::from(age::AgeError::NoRecipients)
                .with_hint("name one with `-r`, or leave out `--no-self`"));
        }
        Ok(chosen)
    }

    fn add(&mut self, text: &str) -> Result<(), Report> {
        self.recipients.push(parse_recipient(text)?);
        self.names.push(text.trim().to_owned());
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Report> {
        let name = files::name_of(path);
        let text = String::from_utf8(files::read_small(path, MAX_RECIPIENTS)?)
            .map_err(|_| Report::usage(format!("`{name}` is no text")))?;
        let before = self.recipients.len();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.add(line)
                .map_err(|report| report.at(format!("{name}:{}", number + 1)))?;
        }
        if self.recipients.len() == before {
            return Err(Report::usage(format!("there is no recipient in `{name}`")));
        }
        Ok(())
    }

    /// Encrypts and returns the names of those who can decrypt.
    pub fn encrypt(
        self,
        armor: bool,
        input: &mut dyn Read,
        output: &mut dyn Write,
    ) -> Result<Vec<String>, Report> {
        age::encrypt(self.recipients, armor, input, output)?;
        Ok(self.names)
    }
}

/// Decrypts with the keys of these names, or the default one.
pub fn decrypt(
    work: &Work<'_>,
    names: &[String],
    file: &str,
    input: impl Read,
    output: &mut dyn Write,
) -> Result<(), Report> {
    let default = [DEFAULT_NAME.to_owned()];
    let names = if names.is_empty() { &default } else { names };
    let mut identities: Vec<Box<dyn age::Identity>> = Vec::new();
    for name in names {
        let key = key(work, name)?;
        let identity = DeviceIdentity::new(work.device.clone(), key);
        identities.push(Box::new(identity.with_purpose(format!("decrypt {file}"))));
    }
    Ok(age::decrypt(identities, input, output)?)
}

/// Returns the key of this name: as it was stored, else as the device derives it.
fn key(work: &Work<'_>, name: &str) -> Result<DeviceKey, Report> {
    let name: AgeName = name.parse().map_err(age::AgeError::from)?;
    if let Some(key) = AgeStore::open(work.wallet)?.get(&name) {
        return Ok(key.clone());
    }
    // on a thread that may wait
    let key = futures::executor::block_on(age::derive(work.device, &name))?;
    Ok(key)
}
