//! `file`: sign, verify, encrypt and decrypt files of any size with keys on the device.

mod age;
mod decrypt;
mod encrypt;
mod format;
mod pgp;
mod sign;
mod signify;
mod ssh;
mod verify;

use clap::Subcommand;

use crate::app::App;
use crate::report::Report;

/// What to do with files.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign a file with a key on the device
    #[command(after_help = "\
Examples:
  bcm file sign release.tar                      release.tar.asc, for `gpg --verify`
  bcm file sign --clear notes.txt                notes.txt.asc, text and signature in one
  bcm file sign --format ssh --key a@h x.tar     x.tar.sig, for `ssh-keygen -Y verify`
  bcm file sign --format signify --key me SHA256 SHA256.sig, for `signify -V`
  bcm file sign --format signify --key me --prehash x.tar
                                                 x.tar.minisig, for `minisign -V`")]
    Sign(sign::Args),
    /// Verify the signature of a file: who signed it, when, with which key
    #[command(after_help = "\
Examples:
  bcm file verify release.tar                    with release.tar.asc, .sig or .minisig
  bcm file verify release.tar other.sig --signer alice@example.org
  bcm file verify x.tar --allowed-signers allowed_signers
  bcm file verify SHA256 SHA256.sig --public-key openbsd-77-base.pub

The format is recognised from the signature. Exit code 4 unless every signature is good.")]
    Verify(verify::Args),
    /// Encrypt a file to others and to this device
    #[command(after_help = "\
Examples:
  bcm file encrypt -r alice@example.org notes.txt     notes.txt.gpg, for `gpg --decrypt`
  bcm file encrypt --format age -r age1… notes.txt    notes.txt.age, for `age --decrypt`
  tar c folder | bcm file encrypt --format age - -o folder.tar.age")]
    Encrypt(encrypt::Args),
    /// Decrypt a file with a key on the device
    #[command(after_help = "\
Examples:
  bcm file decrypt notes.txt.gpg                      notes.txt
  bcm file decrypt folder.tar.age -o - | tar x

A file appears when all of it was checked, or not at all. Standard output shows each piece as soon
as it was checked alone: when bcm fails after that, nothing that it printed may be used.")]
    Decrypt(decrypt::Args),
    /// Print the public key of a signify key, for `signify -p` and `minisign -p`
    #[command(after_help = "Example:\n  bcm file signify-key me -o me.pub")]
    SignifyKey(signify::KeyArgs),
}

impl Command {
    /// Refuses what does not fit together, before anything is unlocked for it.
    pub fn check(&self) -> Result<(), Report> {
        match self {
            Self::Sign(arguments) => arguments.check(),
            Self::Encrypt(arguments) => arguments.suffix().map(drop),
            _ => Ok(()),
        }
    }

    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Sign(arguments) => arguments.run(app, json),
            Self::Verify(arguments) => arguments.run(app, json),
            Self::Encrypt(arguments) => arguments.run(app, json),
            Self::Decrypt(arguments) => arguments.run(app, json),
            Self::SignifyKey(arguments) => arguments.run(app, json),
        }
    }
}

/// What a command works with while it runs on a thread of its own.
struct Work<'a> {
    device: &'a bcm_keystore::Device,
    wallet: &'a bcm_keystore::WalletStore,
    cancelled: &'a crate::session::Cancelled,
}

/// Runs `work` in the open session, on a thread that may wait.
fn in_session<T: Send + 'static>(
    app: &mut App,
    work: impl FnOnce(&Work<'_>) -> Result<T, Report> + Send + 'static,
) -> Result<T, Report> {
    let keeper = app.keeper.clone();
    app.runtime().block_on(keeper.with_open(async |open| {
        let device = open.session.device().clone();
        let wallet = open.session.store().clone();
        crate::session::blocking(Some(device.clone()), move |cancelled| {
            work(&Work {
                device: &device,
                wallet: &wallet,
                cancelled,
            })
        })
        .await
    }))
}
