//! `device`: what can be done without a wallet.

use bcm_keystore::{DeviceInfo, Session};
use clap::Subcommand;

use crate::app::App;
use crate::report::Report;
use crate::ui;

/// What to do with the device.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what the device says of itself; nothing is unlocked
    #[command(after_help = "Example:\n  bcm device info --json")]
    Info,
    /// Turn passphrase protection on, confirmed on the device
    #[command(after_help = "Example:\n  bcm device enable-passphrase")]
    EnablePassphrase,
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Info => {
                let info = look(app)?;
                if json {
                    ui::json(&info)
                } else {
                    ui::out(&ui::table(["", ""], rows(&info)))
                }
            }
            Self::EnablePassphrase => enable_passphrase(app),
        }
    }
}

fn look(app: &mut App) -> Result<DeviceInfo, Report> {
    let keeper = app.keeper.clone();
    let open = keeper.peek(|open| open.session.info().clone());
    if let Some(info) = app.runtime().block_on(open) {
        return Ok(info);
    }
    let session = session(app)?;
    let look = async { Ok(session.inspect().await?) };
    app.runtime().block_on(keeper.interruptible(look))
}

fn enable_passphrase(app: &mut App) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    // an unlocked device has it on, or it would not be unlocked
    let changed = keeper.status().is_none() && {
        let session = session(app)?;
        let enable = async { Ok(session.enable_passphrase().await?) };
        app.runtime().block_on(keeper.interruptible(enable))?
    };
    ui::say(if changed {
        "passphrase protection is on now"
    } else {
        "passphrase protection was on already"
    });
    Ok(())
}

fn session(app: &mut App) -> Result<Session<bcm_keystore::Locked>, Report> {
    Ok(Session::new(app.device()?, app.paths.home.clone()))
}

/// Lays out what the device says of itself.
pub fn rows(info: &DeviceInfo) -> Vec<[String; 2]> {
    let yes_no = |value| if value { "yes" } else { "no" };
    let known = |value: Option<bool>| value.map_or("not told while locked", yes_no);
    let row = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    vec![
        row("label", info.label.as_deref().unwrap_or("none")),
        row("model", &info.model),
        row("firmware", &info.version),
        row("simulated", yes_no(info.simulated)),
        row("at", &info.transport),
        row("id", info.device_id.as_deref().unwrap_or("none")),
        row("initialised", yes_no(info.initialized)),
        row("bootloader", yes_no(info.bootloader)),
        row("passphrase protection", known(info.passphrase_protection)),
        row("PIN", known(info.pin_protection)),
    ]
}
