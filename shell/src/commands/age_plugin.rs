//! `age-plugin`: what `age` runs as `age-plugin-trezor`, and speaks
//! [its protocol](https://c2sp.org/age-plugin) to on stdin and stdout.
//!
//! It opens no device: the session of a running bcm does what it asks for.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use age::Recipient as _;
use age_plugin::identity::{self, IdentityPluginV1};
use age_plugin::recipient::{self, RecipientPluginV1};
use age_plugin::{Callbacks, PluginHandler};
use bcm_keystore::age::{AgeName, AgeNameError, FileKey, PLUGIN, Stanza};
use clap::{Args, ValueEnum};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::client::Client;
use crate::report::{Kind, Report};
use crate::session::protocol::{Answer, Request, WireStanza};

/// The type of stanzas that the device opens.
const TAG: &str = "X25519";

/// How long this program lives after age closed its stdin.
const GRACE: Duration = Duration::from_secs(1);

/// How age calls it.
#[derive(Debug, Args)]
pub struct AgePlugin {
    /// Which of the two dialogues age wants
    #[arg(long = "age-plugin", value_name = "DIALOGUE")]
    dialogue: Dialogue,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dialogue {
    /// Decrypt
    #[value(name = "identity-v1")]
    Identity,
    /// Encrypt to an identity
    #[value(name = "recipient-v1")]
    Recipient,
}

impl AgePlugin {
    /// Talks to age until it is done.
    pub fn run(self) -> Result<(), Report> {
        end_with_age();
        let dialogue = match self.dialogue {
            Dialogue::Identity => "identity-v1",
            Dialogue::Recipient => "recipient-v1",
        };
        age_plugin::run_state_machine(dialogue, Plugin).map_err(|error| {
            Report::text(Kind::Failed, format!("cannot talk to age: {error}"))
                .with_hint("this is for `age` to run: `age -d -i IDENTITY FILE`")
        })
    }
}

/// Ends this program when age ends, which closes our stdin: whatever the session does for it is then
/// cancelled on the device, and the next request need not wait for it.
fn end_with_age() {
    std::thread::spawn(|| {
        let stdin = io::stdin();
        // what is to be read is the dialogue's business: only a hang-up is waited for
        let mut hangup = [PollFd::new(&stdin, PollFlags::empty())];
        while matches!(poll(&mut hangup, None), Err(Errno::INTR)) {}
        if hangup[0].revents().contains(PollFlags::HUP) {
            // when it ended well, so do we in this time
            std::thread::sleep(GRACE);
            crate::process::exit(Kind::Failed as u8);
        }
    });
}

struct Plugin;

impl PluginHandler for Plugin {
    type RecipientV1 = Encrypting;
    type IdentityV1 = Decrypting;

    fn recipient_v1(self) -> io::Result<Encrypting> {
        Ok(Encrypting::default())
    }

    fn identity_v1(self) -> io::Result<Decrypting> {
        Ok(Decrypting::default())
    }
}

/// Reads the name out of an identity that age hands over without its envelope.
fn name(plugin: &str, bytes: &[u8]) -> Result<AgeName, AgeNameError> {
    if plugin != PLUGIN {
        return Err(AgeNameError::IdentityLine);
    }
    AgeName::from_bytes(bytes.to_vec())
}

/// Says what is wrong and what to do in one paragraph, as age shows it.
fn words(report: &Report) -> String {
    match report.words() {
        (what, Some(hint)) => format!("{what} ({hint})"),
        (what, None) => what,
    }
}

/// The dialogue that decrypts.
#[derive(Default)]
struct Decrypting {
    /// Each with its number among the identities.
    names: Vec<(usize, AgeName)>,
}

impl IdentityPluginV1 for Decrypting {
    fn add_identity(
        &mut self,
        index: usize,
        plugin: &str,
        bytes: &[u8],
    ) -> Result<(), identity::Error> {
        let name = name(plugin, bytes).map_err(|error| identity::Error::Identity {
            index,
            message: error.to_string(),
        })?;
        self.names.push((index, name));
        Ok(())
    }

    fn unwrap_file_keys(
        &mut self,
        files: Vec<Vec<Stanza>>,
        mut callbacks: impl Callbacks<identity::Error>,
    ) -> io::Result<HashMap<usize, Result<FileKey, Vec<identity::Error>>>> {
        let mut unwrapped = HashMap::new();
        for (file, stanzas) in files.iter().enumerate() {
            let ours = || stanzas.iter().filter(|stanza| stanza.tag == TAG);
            // other plugins and keys may open it
            if ours().next().is_none() {
                continue;
            }
            for (index, name) in &self.names {
                let said = callbacks
                    .message(&format!("confirm on the Trezor: decrypt with age://{name}"))?;
                // an age without a terminal shows nothing, and the device still does
                drop(said);
                match unwrap(name, ours().map(WireStanza::from).collect()) {
                    Ok(Some(file_key)) => {
                        unwrapped.insert(file, Ok(file_key));
                        break;
                    }
                    Ok(None) => {
                        let said = callbacks.message(&format!(
                            "age://{name} of the wallet that is open does not open this file"
                        ))?;
                        drop(said);
                    }
                    Err(report) => {
                        let error = identity::Error::Identity {
                            index: *index,
                            message: words(&report),
                        };
                        // what is wrong with the session is so for every other file
                        unwrapped.insert(file, Err(vec![error]));
                        return Ok(unwrapped);
                    }
                }
            }
        }
        Ok(unwrapped)
    }
}

/// Asks the session to open one file.
fn unwrap(name: &AgeName, stanzas: Vec<WireStanza>) -> Result<Option<FileKey>, Report> {
    let client = Client::find()?;
    let request = Request::AgeUnwrap {
        name: name.to_string(),
        stanzas,
    };
    match client.ask(&request)? {
        Answer::AgeFileKey { file_key } => Ok(file_key.map(|key| key.file_key())),
        _ => Err(client.unexpected()),
    }
}

/// The dialogue that encrypts to an identity.
#[derive(Default)]
struct Encrypting {
    names: Vec<(usize, AgeName)>,
}

impl RecipientPluginV1 for Encrypting {
    fn add_recipient(
        &mut self,
        index: usize,
        _plugin: &str,
        _bytes: &[u8],
    ) -> Result<(), recipient::Error> {
        Err(recipient::Error::Recipient {
            index,
            message: "a Trezor has plain recipients, `age1…`: `bcm age recipient` prints it".into(),
        })
    }

    fn add_identity(
        &mut self,
        index: usize,
        plugin: &str,
        bytes: &[u8],
    ) -> Result<(), recipient::Error> {
        let name = name(plugin, bytes).map_err(|error| recipient::Error::Identity {
            index,
            message: error.to_string(),
        })?;
        self.names.push((index, name));
        Ok(())
    }

    fn labels(&mut self) -> HashSet<String> {
        HashSet::new()
    }

    fn wrap_file_keys(
        &mut self,
        file_keys: Vec<FileKey>,
        _callbacks: impl Callbacks<recipient::Error>,
    ) -> io::Result<Result<Vec<Vec<Stanza>>, Vec<recipient::Error>>> {
        let mut errors = Vec::new();
        let mut recipients = Vec::new();
        for (index, name) in &self.names {
            match recipient(name) {
                Ok(recipient) => recipients.push(recipient),
                Err(report) => errors.push(recipient::Error::Identity {
                    index: *index,
                    message: words(&report),
                }),
            }
        }
        if !errors.is_empty() {
            return Ok(Err(errors));
        }
        let mut wrapped = Vec::new();
        for file_key in &file_keys {
            let mut stanzas = Vec::new();
            for recipient in &recipients {
                let (more, _) = recipient
                    .wrap_file_key(file_key)
                    .map_err(io::Error::other)?;
                stanzas.extend(more);
            }
            wrapped.push(stanzas);
        }
        Ok(Ok(wrapped))
    }
}

/// Asks the session for the recipient of a key.
fn recipient(name: &AgeName) -> Result<age::x25519::Recipient, Report> {
    let client = Client::find()?;
    let request = Request::AgeRecipient {
        name: name.to_string(),
    };
    match client.ask(&request)? {
        Answer::AgeRecipient { recipient } => recipient.parse().map_err(|_| client.unexpected()),
        _ => Err(client.unexpected()),
    }
}
