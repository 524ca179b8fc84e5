//! `age`: recipients whose files only the device opens.

use bcm_keystore::age::{AgeName, AgeStore, DEFAULT_NAME, DeviceKey, derive};
use clap::Subcommand;
use serde::Serialize;

use crate::app::App;
use crate::report::Report;
use crate::ui;

/// What to do with age keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the recipient and the identity line of a key, as age-plugin-trezor does
    #[command(after_help = "\
Examples:
  bcm age recipient > identity           a file for `age -d -i identity`, with a session running
  age -r \"$(bcm age recipient --bare)\"   encrypt to it; this needs no device
  bcm age recipient backup               another key, in the same way

The identity line holds the name and no secret. Names are printable ASCII, 40 characters at most.")]
    Recipient {
        /// The name of the key
        #[arg(value_name = "NAME", default_value = DEFAULT_NAME)]
        name: AgeName,
        /// Print the recipient alone, for `age -r`
        #[arg(long)]
        bare: bool,
    },
    /// List the keys that were printed in this wallet
    #[command(after_help = "Example:\n  bcm age list --json")]
    List,
    /// Forget a key; the device can make it again
    #[command(after_help = "Example:\n  bcm age remove backup")]
    Remove {
        /// The name of the key
        #[arg(value_name = "NAME")]
        name: AgeName,
    },
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Recipient { name, bare } => recipient(app, &name, bare, json),
            Self::List => list(app, json),
            Self::Remove { name } => remove(app, &name, json),
        }
    }
}

/// A key as it is printed.
#[derive(Serialize)]
struct Line {
    name: String,
    recipient: String,
    identity: String,
}

impl Line {
    fn new(key: &DeviceKey) -> Self {
        Self {
            name: key.name().to_string(),
            recipient: key.to_string(),
            identity: key.identity_line(),
        }
    }
}

fn recipient(app: &mut App, name: &AgeName, bare: bool, json: bool) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let line = app.runtime().block_on(keeper.with_open(async |open| {
        let key = derive(open.session.device(), name).await?;
        AgeStore::open(open.session.store())?.add(&key)?;
        Ok(Line::new(&key))
    }))?;
    if json {
        return ui::json(&line);
    }
    let Line {
        name,
        recipient,
        identity,
    } = line;
    if bare {
        return ui::out(&recipient);
    }
    ui::out(&format!(
        "# recipient: {recipient}\n# SLIP-0017: {name}\n{identity}"
    ))
}

fn list(app: &mut App, json: bool) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let lines = app.runtime().block_on(keeper.with_open(async |open| {
        let store = AgeStore::open(open.session.store())?;
        Ok(store.keys().iter().map(Line::new).collect::<Vec<_>>())
    }))?;
    if json {
        return ui::json(&lines);
    }
    if lines.is_empty() {
        ui::say("no age keys yet: make one with `age recipient`");
        return Ok(());
    }
    let rows = lines.into_iter().map(|line| [line.name, line.recipient]);
    ui::out(&ui::table(["name", "recipient"], rows))
}

fn remove(app: &mut App, name: &AgeName, json: bool) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let line = app.runtime().block_on(keeper.with_open(async |open| {
        let key = AgeStore::open(open.session.store())?.remove(name)?;
        Ok(Line::new(&key))
    }))?;
    if json {
        return ui::json(&line);
    }
    ui::say(&format!(
        "forgot the age key `{0}`; `age recipient {0}` makes it again",
        line.name
    ));
    Ok(())
}
