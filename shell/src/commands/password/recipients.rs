//! `password recipients`: who else can read the passwords.

use bcm_keystore::password::PasswordName;
use clap::{Args, Subcommand};

use super::access::Access;
use crate::app::App;
use crate::report::Report;
use crate::ui::{self, Asking, Question};

/// What to do with the lists of recipients.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the recipients; the device is always one
    #[command(after_help = "Example:\n  bcm password recipients list --in shared")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Add one, and encrypt what is there anew, with a confirmation on the device for each password
    #[command(after_help = "\
Examples:
  bcm password recipients add age1… --in shared
  bcm password recipients add 'ssh-ed25519 AAAA…' --later")]
    Add {
        /// `age1…` or an SSH public key
        #[arg(value_name = "RECIPIENT")]
        recipient: String,
        #[command(flatten)]
        place: Place,
        /// Leave what is there for `apply`
        #[arg(long)]
        later: bool,
    },
    /// Remove one, and encrypt what is there anew: what it has read, it knows
    #[command(after_help = "\
Example:
  bcm password recipients remove age1… --in shared

Whoever was a recipient may have kept the secrets: `password rotate` them.")]
    Remove {
        /// As `list` prints it
        #[arg(value_name = "RECIPIENT")]
        recipient: String,
        #[command(flatten)]
        place: Place,
        /// Leave what is there for `apply`
        #[arg(long)]
        later: bool,
    },
    /// Accept recipients that something else than bcm wrote into the lists
    #[command(after_help = "\
Example:
  bcm password recipients accept

bcm encrypts to nobody on a list that any program could write, before you accept them.")]
    Accept {
        #[command(flatten)]
        place: Place,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Encrypt anew what was encrypted before its list was changed
    #[command(after_help = "Example:\n  bcm password recipients apply")]
    Apply {
        #[command(flatten)]
        place: Place,
    },
}

/// Which list.
#[derive(Args, Debug)]
pub struct Place {
    /// Of this folder, instead of the whole store
    #[arg(long = "in", value_name = "FOLDER")]
    folder: Option<PasswordName>,
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::List { place } => list(app, place.folder.as_ref(), json),
            Self::Add {
                recipient,
                place: Place { folder },
                later,
            } => {
                let folder = folder.as_ref();
                Access::with(app, async |access| {
                    let store = access.store();
                    store.add_recipient(folder, &recipient, access.key())?;
                    Ok(access.keys()?.accept([recipient.trim().to_owned()])?)
                })?;
                ui::say("added it to the recipients");
                changed(app, folder, later)
            }
            Self::Remove {
                recipient,
                place: Place { folder },
                later,
            } => {
                let folder = folder.as_ref();
                Access::with(app, async |access| {
                    if recipient.trim() == access.key().to_string() {
                        return Err(Report::usage("the device is always a recipient"));
                    }
                    access.store().remove_recipient(folder, &recipient)?;
                    Ok(access.keys()?.forget(recipient.trim())?)
                })?;
                ui::say("removed it from the recipients; the secrets that it could read, it knows");
                changed(app, folder, later)
            }
            Self::Accept { place, yes } => accept(app, place.folder.as_ref(), yes),
            Self::Apply { place } => apply(app, place.folder.as_ref()),
        }
    }
}

fn list(app: &mut App, folder: Option<&PasswordName>, json: bool) -> Result<(), Report> {
    let (mut recipients, device) = Access::with(app, async |access| {
        Ok((access.store().recipients(folder)?, access.key().to_string()))
    })?;
    if !recipients.contains(&device) {
        recipients.insert(0, device);
    }
    if json {
        return ui::json(&recipients);
    }
    ui::out(&ui::printable_lines(&recipients.join("\n")))
}

fn accept(app: &mut App, folder: Option<&PasswordName>, yes: bool) -> Result<(), Report> {
    let new = Access::with(app, async |access| {
        let (keys, own) = (access.keys()?, access.key().to_string());
        let mut listed = access.store().recipients(folder)?;
        listed.retain(|recipient| *recipient != own && !keys.accepted().contains(recipient));
        Ok(listed)
    })?;
    let mut accepted = Vec::new();
    for recipient in new {
        let question = Question {
            text: &ui::printable(&recipient),
            question: "Let whoever has this key read the passwords?",
        };
        let answer = if yes {
            Asking::Yes
        } else {
            question.ask(&|| false)
        };
        match answer {
            Asking::Yes => accepted.push(recipient),
            Asking::No => {}
            Asking::Nobody => {
                return Err(Report::usage("there is no terminal to ask on")
                    .with_hint("compare them in `password recipients list`, then use `--yes`"));
            }
        }
    }
    let number = accepted.len();
    Access::with(app, async |access| Ok(access.keys()?.accept(accepted)?))?;
    ui::say(&match number {
        1 => "accepted 1 recipient".to_owned(),
        _ => format!("accepted {number} recipients"),
    });
    Ok(())
}

fn changed(app: &mut App, folder: Option<&PasswordName>, later: bool) -> Result<(), Report> {
    if !later {
        return apply(app, folder);
    }
    let left = Access::with(app, async |access| Ok(access.store().outdated(folder)?))?;
    if !left.is_empty() {
        ui::say(&format!(
            "{} still as before: `password recipients apply`",
            count(left.len())
        ));
    }
    Ok(())
}

fn apply(app: &mut App, folder: Option<&PasswordName>) -> Result<(), Report> {
    let done = Access::with(app, async |access| {
        let names = access.store().outdated(folder)?;
        if !names.is_empty() {
            ui::say(&format!(
                "encrypting {} anew, each confirmed on the device",
                count(names.len())
            ));
        }
        for (done, name) in names.iter().enumerate() {
            let again = async {
                let entry = access.read(name).await?;
                access.write(name, &entry, true).await
            };
            again.await.map_err(|report| {
                report
                    .with_note(format!("{done} of {} are done", names.len()))
                    .with_hint("go on with `password recipients apply`")
            })?;
        }
        Ok(names.len())
    })?;
    ui::say(&match done {
        0 => "every password is encrypted to its recipients".to_owned(),
        done => format!("encrypted {} anew", count(done)),
    });
    Ok(())
}

fn count(number: usize) -> String {
    match number {
        1 => "1 password".to_owned(),
        _ => format!("{number} passwords"),
    }
}
