//! `message`: texts signed with the key of an address.

use bcm_keystore::wallet::message::{self, parse_address, verify};
use bcm_keystore::wallet::{WalletError, WalletName};
use bdk_wallet::bitcoin::Address;
use bdk_wallet::bitcoin::address::NetworkUnchecked;
use clap::Subcommand;

use super::wallet::book;
use crate::app::App;
use crate::report::Report;
use crate::ui;

/// What to do with messages.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign a text on the device with the key of one of its addresses
    #[command(after_help = "Example:\n  bcm message sign 'I own this' --address bc1q…")]
    Sign {
        /// The text
        text: String,
        /// The address; it has to be one of a wallet's
        #[arg(long)]
        address: String,
        /// The wallet, if there are several
        #[arg(long, value_name = "NAME")]
        wallet: Option<WalletName>,
    },
    /// Verify a signature of BIP-137 or BIP-322; no device is needed
    #[command(after_help = "Example:\n  bcm message verify bc1q… H3x… 'I own this'")]
    Verify {
        /// The address
        address: String,
        /// The signature, base64
        signature: String,
        /// The text
        text: String,
    },
}

impl Command {
    /// Tells whether it needs an open wallet.
    pub fn needs_device(&self) -> bool {
        matches!(self, Self::Sign { .. })
    }

    /// Runs it.
    pub fn run(self, app: &App, json: bool) -> Result<(), Report> {
        match self {
            Self::Sign {
                text,
                address,
                wallet,
            } => sign(app, &text, &address, wallet.as_ref(), json),
            Self::Verify {
                address,
                signature,
                text,
            } => {
                let parsed: Address<NetworkUnchecked> = address
                    .parse()
                    .map_err(|_| WalletError::Address(ui::printable(&address)))?;
                let format = verify(&parsed.assume_checked(), text.as_bytes(), &signature)?;
                if json {
                    return ui::json(&serde_json::json!({"good": true, "format": format.name()}));
                }
                ui::say(&format!(
                    "good signature ({}) of `{address}`",
                    format.name()
                ));
                Ok(())
            }
        }
    }
}

fn sign(
    app: &App,
    text: &str,
    address: &str,
    wallet: Option<&WalletName>,
    json: bool,
) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let signed = app.runtime().block_on(keeper.with_open(async |open| {
        let ledger = book(open).open(wallet.map(WalletName::as_str))?;
        let address = parse_address(address, open.chain)?;
        let place = ledger.place(&address)?;
        let device = open.session.device();
        let descriptor = ledger.descriptor();
        Ok(message::sign(device, descriptor, open.chain, place, text.as_bytes()).await?)
    }))?;
    if json {
        return ui::json(&serde_json::json!({
            "address": signed.address.to_string(), "signature": signed.signature,
        }));
    }
    ui::out(&signed.signature)
}
