//! `password export`: everything in the clear, for whoever leaves.

use bcm_keystore::password::{Entry, PasswordName};
use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::access::Access;
use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// What has to be typed.
const PHRASE: &str = "export in the clear";

/// What to export.
#[derive(Debug, Args)]
pub struct Export {
    /// Its name
    #[arg(
        value_name = "NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    name: Option<PasswordName>,
    /// All of them, with a confirmation on the device for each
    #[arg(long)]
    all: bool,
    /// The phrase `export in the clear`, where there is no terminal to type it on
    #[arg(long, value_name = "PHRASE")]
    confirm: Option<String>,
}

#[derive(Serialize)]
struct Exported<'a> {
    name: &'a str,
    content: &'a str,
}

impl Export {
    /// Runs it.
    pub fn run(self, app: &mut App) -> Result<(), Report> {
        let names = match self.name {
            Some(name) => vec![name],
            None => Access::with(app, async |access| Ok(access.store().list(None)?))?,
        };
        let typed = match self.confirm {
            Some(typed) => typed,
            None => {
                ui::say(&format!(
                    "{} will be printed, and be protected by nothing",
                    match names.len() {
                        1 => "1 password".to_owned(),
                        number => format!("{number} passwords"),
                    }
                ));
                ui::phrase(&format!("Type `{PHRASE}`: "))
                    .map_err(|report| report.with_hint(format!("`--confirm '{PHRASE}'`")))?
            }
        };
        if typed.trim() != PHRASE {
            return Err(Report::usage(format!("`{PHRASE}` was not typed"))
                .with_note("nothing was decrypted"));
        }
        let entries = Access::with(app, async |access| {
            let mut entries = Vec::new();
            for name in &names {
                entries.push(access.read(name).await?);
            }
            Ok(entries)
        })?;
        let exported = names.iter().zip(&entries).map(exported);
        let exported = exported.collect::<Result<Vec<_>, _>>()?;
        let json = serde_json::to_vec_pretty(&exported).expect("texts are JSON");
        let mut json = Zeroizing::new(json);
        json.push(b'\n');
        ui::out_secret(&json)
    }
}

fn exported<'a>((name, entry): (&'a PasswordName, &'a Entry)) -> Result<Exported<'a>, Report> {
    let content = std::str::from_utf8(entry.content()).map_err(|_| {
        Report::text(Kind::Failed, format!("`{name}` is not UTF-8")).with_hint(format!(
            "`password show {name} --stdout` prints it as it is"
        ))
    })?;
    Ok(Exported {
        name: name.as_str(),
        content,
    })
}
