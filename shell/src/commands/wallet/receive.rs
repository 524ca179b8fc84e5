//! Giving out an address.

use std::io::IsTerminal;

use bcm_keystore::wallet::labels::Label;
use bcm_keystore::wallet::{WalletName, show_address};
use bdk_wallet::KeychainKind;
use qrcode::QrCode;
use qrcode::render::unicode;

use super::book;
use crate::app::App;
use crate::report::Report;
use crate::ui;

pub(super) struct Receive {
    pub(super) name: Option<WalletName>,
    pub(super) show: bool,
    pub(super) new: bool,
    pub(super) label: Option<String>,
    pub(super) qr: bool,
}

impl Receive {
    pub(super) fn run(self, app: &App, json: bool) -> Result<(), Report> {
        let keeper = app.keeper.clone();
        let (address, index) = app.runtime().block_on(keeper.with_open(async |open| {
            let book = book(open);
            let name = self.name.as_ref().map(WalletName::as_str);
            // saved before it is shown: what somebody has seen is watched, whatever happens next
            let (ledger, given) = book.update(name, |ledger| {
                let given = ledger.receive(self.new);
                if let Some(label) = &self.label {
                    ledger.set_label(Label {
                        kind: "addr".into(),
                        reference: given.address.to_string(),
                        label: label.clone(),
                        origin: None,
                        spendable: None,
                    });
                }
                given
            })?;
            if self.show {
                let device = open.session.device();
                let root = open.session.fingerprint();
                let place = (KeychainKind::External, given.index);
                let descriptor = ledger.descriptor();
                show_address(device, root, descriptor, open.chain, place.0, place.1).await?;
            }
            Ok((given.address, given.index))
        }))?;
        if json {
            return ui::json(&serde_json::json!({
                "address": address.to_string(), "index": index, "confirmed_on_device": self.show,
            }));
        }
        if self.qr || std::io::stdout().is_terminal() {
            // upper case is shorter in a QR code, and bech32 is the same in both
            let text = match address.to_string() {
                text if text.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    format!("bitcoin:{text}").to_uppercase()
                }
                text => format!("bitcoin:{text}"),
            };
            let code = QrCode::new(text).expect("an address fits into a QR code");
            ui::say(&code.render::<unicode::Dense1x2>().build());
        }
        if !self.show {
            ui::say("not compared on the device: `wallet receive --show` does");
        }
        ui::out(&address.to_string())
    }
}
