//! `psbt show`: a PSBT in plain words. It needs no device.

use std::path::Path;

use bcm_keystore::Chain;
use bcm_keystore::wallet::psbt::Document;
use bcm_keystore::wallet::sign_tx::review::{Review, in_bitcoin};
use serde::Serialize;

use super::file;
use crate::app::App;
use crate::report::Report;
use crate::session::Open;
use crate::ui::{self, Style};

#[derive(Serialize)]
struct Shown<'a> {
    psbt_version: u32,
    chain: &'a str,
    #[serde(flatten)]
    review: &'a Review,
}

pub(super) fn run(app: &mut App, path: &Path, json: bool) -> Result<(), Report> {
    let document = file::read(path)?;
    let keeper = app.keeper.clone();
    let wallet = |open: &mut Open| (open.chain, open.session.fingerprint());
    let open = app.runtime().block_on(keeper.peek(wallet));
    let (chain, fingerprint) = match open {
        Some((chain, fingerprint)) => (chain, Some(fingerprint)),
        None => (
            app.config()?.chain().unwrap_or_else(|| guess(&document)),
            None,
        ),
    };
    let review = Review::of(&document.psbt, chain, fingerprint);
    if json {
        return ui::json(&Shown {
            psbt_version: document.version(),
            chain: chain.name(),
            review: &review,
        });
    }
    ui::out(&describe(&review, chain))
}

/// Tells real money from the rest by the paths of the keys.
fn guess(document: &Document) -> Chain {
    let inputs = document.psbt.inputs.iter();
    let mut paths = inputs.flat_map(|input| {
        let taproot = input.tap_key_origins.values().map(|(_, source)| source);
        input.bip32_derivation.values().chain(taproot)
    });
    let test = paths.any(|(_, path)| path.to_u32_vec().get(1) == Some(&(1 << 31 | 1)));
    if test { Chain::Regtest } else { Chain::Mainnet }
}

fn describe(review: &Review, chain: Chain) -> String {
    let amount = |satoshi: Option<u64>| satoshi.map_or_else(|| "unknown".to_owned(), in_bitcoin);
    let mut lines = vec![format!(
        "transaction {} on {chain}, version {}, about {} vB",
        review.txid, review.version, review.virtual_size
    )];
    if review.lock_time > 0 {
        lines.push(format!("lock time {}", review.lock_time));
    }
    let inputs = review.inputs.iter().enumerate().map(|(index, input)| {
        let signed = match (input.is_final, input.needed) {
            (true, _) => "final".to_owned(),
            (false, Some(needed)) => format!("{} of {needed}", input.signatures),
            (false, None) => input.signatures.to_string(),
        };
        [
            index.to_string(),
            amount(input.amount),
            input
                .address
                .clone()
                .unwrap_or_else(|| input.spends.clone()),
            input.script.clone().unwrap_or_default(),
            input
                .path
                .clone()
                .unwrap_or_else(|| "not this wallet's".to_owned()),
            signed,
        ]
    });
    lines.push(String::new());
    let header = ["input", "holds", "from", "script", "key", "signatures"];
    lines.push(ui::table(header, inputs));
    let outputs = review.outputs.iter().enumerate().map(|(index, output)| {
        let what = match &output.path {
            Some(path) => format!("back to this wallet, {path}"),
            None if output.to.starts_with("data ") => "data".to_owned(),
            None => "payment".to_owned(),
        };
        [
            index.to_string(),
            in_bitcoin(output.amount),
            output.to.clone(),
            what,
        ]
    });
    lines.push(String::new());
    lines.push(ui::table(["output", "gets", "to", "what"], outputs));
    lines.push(String::new());
    lines.push(match review.fee {
        Some(fee) => {
            let rate = fee / review.virtual_size.max(1);
            format!("fee {}, about {rate} sat/vB", in_bitcoin(fee))
        }
        None => "fee unknown".to_owned(),
    });
    if review.outputs.iter().any(|output| output.is_change) {
        lines.push("what comes back is what the file claims: signing checks it".to_owned());
    }
    let warnings = review.warnings.iter().map(|warning| {
        let mark = ui::paint_stdout(Style::Attention, "warning:");
        format!("{mark} {}", ui::printable(warning))
    });
    lines.extend(warnings);
    lines.join("\n")
}
