//! `pgp`: OpenPGP certificates, of this wallet and of other people.

mod exchange;
mod own;
mod times;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bcm_keystore::pgp::{PgpStore, Reason, UserId};
use bcm_keystore::{Device, WalletStore};
use clap::{Subcommand, ValueEnum};

use crate::app::App;
use crate::config::Curve;
use crate::report::{Kind, Report};
use crate::session::{Cancelled, blocking};
use crate::ui;

use times::{Time, Validity};
use view::View;

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a certificate whose keys stay on the device
    #[command(after_help = "Examples:
  bcm pgp init --user-id 'Satoshi Nakamoto <satoshi@bitcoin.org>'
  bcm pgp init --user-id 'Satoshi <satoshi@bitcoin.org>' --expires 2y

Seed, passphrase, user ID, curve and time of creation make the same keys on any computer, and in
trezor-gpg (`--time 1231006505` there).")]
    Init {
        /// Who it is for; it names the keys on the device
        #[arg(long, value_name = "NAME <MAIL>")]
        user_id: String,
        /// ed25519, or nist256p1 for old programs [default: ed25519]
        #[arg(long, hide_possible_values = true)]
        curve: Option<Curve>,
        /// When it was made [default: 2009-01-03T18:15:05Z, so that it can be made again]
        #[arg(long, value_name = "TIME")]
        created: Option<Time>,
        /// How long it is good from now: 2y, 90d, never [default: never]
        #[arg(long, value_name = "DURATION")]
        expires: Option<Validity>,
    },
    /// List the certificates that this wallet knows
    #[command(after_help = "Example:\n  bcm pgp list --json")]
    List,
    /// Show a certificate: whose it is, its keys, whether it is good
    #[command(after_help = "Example:\n  bcm pgp show satoshi@bitcoin.org")]
    Show {
        /// Fingerprint, key ID, user ID or mail address [default: the default certificate]
        #[arg(value_name = "CERT")]
        name: Option<String>,
    },
    /// Print a certificate for other people, in ASCII armor
    #[command(after_help = "Example:\n  bcm pgp export | gpg --import")]
    Export {
        /// Fingerprint, key ID, user ID or mail address [default: the default certificate]
        #[arg(value_name = "CERT")]
        name: Option<String>,
        /// Leave out what is old, and what others wrote
        #[arg(long)]
        minimal: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Add other people's certificates, newer states of them, and revocations
    #[command(after_help = "Examples:
  bcm pgp import alice.asc
  gpg --export alice@example.org | bcm pgp import -")]
    Import {
        /// A file, or `-` for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Mark a certificate as that of whom it names, after comparing its fingerprint
    #[command(after_help = "Examples:
  bcm pgp trust alice@example.org --fingerprint 'F858 E564 AA2A C64A 4D30 9CCF AA6C 5695 9082 35BB'
  bcm pgp trust alice@example.org --remove

Take the fingerprint from its owner: from a card, by phone, not from where the certificate came from.")]
    Trust {
        /// Fingerprint, key ID, user ID or mail address
        #[arg(value_name = "CERT")]
        name: String,
        /// The whole fingerprint, as its owner gave it
        #[arg(long, required_unless_present = "remove", conflicts_with = "remove")]
        fingerprint: Option<String>,
        /// Take the mark away
        #[arg(long)]
        remove: bool,
    },
    /// Make a certificate of this wallet the one that signs
    #[command(after_help = "Example:\n  bcm pgp use satoshi@bitcoin.org")]
    Use {
        /// Fingerprint, key ID, user ID or mail address
        #[arg(value_name = "CERT")]
        name: String,
    },
    /// Add another name to a certificate of this wallet
    #[command(
        after_help = "Example:\n  bcm pgp add-user-id satoshi@bitcoin.org 'Satoshi <s@example.org>'"
    )]
    AddUserId {
        /// Fingerprint, key ID, user ID or mail address
        #[arg(value_name = "CERT")]
        name: String,
        /// The new name
        #[arg(value_name = "NAME <MAIL>")]
        user_id: String,
    },
    /// Set how long a certificate of this wallet is good from now
    #[command(after_help = "Example:\n  bcm pgp expire satoshi@bitcoin.org 2y")]
    Expire {
        /// Fingerprint, key ID, user ID or mail address
        #[arg(value_name = "CERT")]
        name: String,
        /// 2y, 6mo, 90d, or never
        #[arg(value_name = "DURATION")]
        validity: Validity,
    },
    /// Make a revocation certificate; it revokes where it is imported, here too
    #[command(after_help = "Examples:
  bcm pgp revoke satoshi@bitcoin.org --output revocation.asc
  bcm pgp import revocation.asc")]
    Revoke {
        /// Fingerprint, key ID, user ID or mail address
        #[arg(value_name = "CERT")]
        name: String,
        /// Why: unspecified, superseded, compromised or retired [default: unspecified]
        #[arg(long, hide_possible_values = true)]
        reason: Option<Why>,
        /// A line for whoever reads it
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Forget a certificate; the device can make its own again
    #[command(after_help = "Example:\n  bcm pgp remove alice@example.org")]
    Remove {
        /// Fingerprint, key ID, user ID or mail address
        #[arg(value_name = "CERT")]
        name: String,
    },
}

/// Where something is written to.
#[derive(Clone, Debug, clap::Args)]
pub struct Output {
    /// Write to this file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

/// Why a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Why {
    /// No reason is given
    Unspecified,
    /// Another certificate takes its place
    Superseded,
    /// Somebody else has the key
    Compromised,
    /// It is no longer used
    Retired,
}

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        match why {
            Why::Unspecified => Self::Unspecified,
            Why::Superseded => Self::Superseded,
            Why::Compromised => Self::Compromised,
            Why::Retired => Self::Retired,
        }
    }
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Init {
                user_id,
                curve,
                created,
                expires,
            } => {
                let wanted = own::Wanted {
                    user_id: self::user_id(&user_id)?,
                    curve: curve.unwrap_or(Curve::Ed25519).into(),
                    created,
                    expires: expires.unwrap_or(Validity::Never),
                };
                own::init(app, wanted, json)
            }
            Self::List => list(app, json),
            Self::Show { name } => show(app, name, json),
            Self::Export {
                name,
                minimal,
                output,
            } => exchange::export(app, name, minimal, &output),
            Self::Import { file } => exchange::import(app, &file, json),
            Self::Trust {
                name, fingerprint, ..
            } => trust(app, name, fingerprint),
            Self::Use { name } => use_cert(app, name),
            Self::AddUserId { name, user_id } => {
                own::add_user_id(app, name, self::user_id(&user_id)?, json)
            }
            Self::Expire { name, validity } => own::expire(app, name, validity, json),
            Self::Revoke {
                name,
                reason,
                message,
                output,
            } => {
                let reason = reason.unwrap_or(Why::Unspecified).into();
                own::revoke(app, name, reason, message.unwrap_or_default(), &output)
            }
            Self::Remove { name } => remove(app, name, json),
        }
    }
}

fn user_id(text: &str) -> Result<UserId, Report> {
    Ok(text.parse::<UserId>()?)
}

/// What a command works with, on a thread of its own.
struct Work {
    device: Device,
    wallet: Arc<WalletStore>,
    store: PgpStore,
    now: SystemTime,
    cancelled: Cancelled,
}

impl Work {
    /// Fails when the command was cancelled meanwhile: then nothing is kept.
    fn go_on(&self) -> Result<(), Report> {
        let cancelled = |_| Report::text(Kind::Failed, "cancelled");
        self.cancelled.check().map_err(cancelled)
    }

    fn view(&self, name: &str) -> Result<View, Report> {
        Ok(View::new(&self.store, self.store.find(name)?, self.now))
    }
}

/// Runs `work` in the open session.
fn run<T: Send + 'static>(
    app: &mut App,
    work: impl FnOnce(&mut Work) -> Result<T, Report> + Send + 'static,
) -> Result<T, Report> {
    let keeper = app.keeper.clone();
    app.runtime().block_on(keeper.with_open(async |open| {
        let device = open.session.device().clone();
        let wallet = open.session.store().clone();
        blocking(Some(device.clone()), move |cancelled| {
            let store = PgpStore::open(&wallet)?;
            work(&mut Work {
                device,
                wallet,
                store,
                now: SystemTime::now(),
                cancelled: cancelled.clone(),
            })
        })
        .await
    }))
}

fn list(app: &mut App, json: bool) -> Result<(), Report> {
    let views = run(app, |work| {
        let (store, now) = (&work.store, work.now);
        let views = store.entries().map(|entry| View::new(store, entry, now));
        Ok(views.collect::<Vec<_>>())
    })?;
    if json {
        return ui::json(&views);
    }
    if views.is_empty() {
        ui::say(
            "no certificates yet: make one with `pgp init --user-id \"Name <mail>\"`, or `pgp \
             import FILE`",
        );
        return Ok(());
    }
    let rows = views.iter().map(View::row);
    let header = ["user ID", "fingerprint", "whose", "state"];
    ui::out(&ui::table(header, rows))
}

fn show(app: &mut App, name: Option<String>, json: bool) -> Result<(), Report> {
    let view = run(app, move |work| {
        let name = named(&work.store, name)?;
        work.view(&name)
    })?;
    print(&view, json)
}

fn print(view: &View, json: bool) -> Result<(), Report> {
    if json {
        ui::json(view)
    } else {
        ui::out(&view.page())
    }
}

/// Returns the name that was given, or the fingerprint of the default cert.
fn named(store: &PgpStore, name: Option<String>) -> Result<String, Report> {
    match name {
        Some(name) => Ok(name),
        None => Ok(store.signer(None)?.fingerprint().to_hex()),
    }
}

fn trust(app: &mut App, name: String, fingerprint: Option<String>) -> Result<(), Report> {
    let said = run(app, move |work| {
        let wallet = work.wallet.clone();
        let Some(fingerprint) = fingerprint else {
            let had_mark = work.store.distrust(&wallet, &name)?;
            return Ok(match had_mark {
                true => format!("`{name}` is no longer marked as trusted"),
                false => format!("`{name}` had no mark"),
            });
        };
        let mark = work.store.trust(&wallet, &name, &fingerprint, work.now)?;
        Ok(format!("trusted from now on as `{}`", mark.name))
    })?;
    ui::say(&ui::printable(&said));
    Ok(())
}

fn use_cert(app: &mut App, name: String) -> Result<(), Report> {
    let user_id = run(app, move |work| {
        let wallet = work.wallet.clone();
        work.store.use_cert(&wallet, &name)?;
        Ok(work.store.signer(None)?.user_id().to_string())
    })?;
    ui::say(&format!("signs from now on: `{user_id}`"));
    Ok(())
}

fn remove(app: &mut App, name: String, json: bool) -> Result<(), Report> {
    let (view, own) = run(app, move |work| {
        let view = work.view(&name)?;
        let wallet = work.wallet.clone();
        work.store.remove(&wallet, &view.fingerprint)?;
        let own = view.identity.is_some();
        Ok((view, own))
    })?;
    if json {
        return ui::json(&view);
    }
    let name = ui::printable(view.name());
    ui::say(&match own {
        true => format!(
            "forgot the certificate of `{name}`; `pgp init --user-id '{name}'` makes it again"
        ),
        false => format!("forgot the certificate of `{name}`"),
    });
    Ok(())
}
