//! `psbt broadcast`: a complete transaction, to the network.

use std::path::Path;

use bcm_keystore::wallet::psbt::{extract, finalize};
use serde_json::json;

use super::file;
use crate::app::App;
use crate::commands::wallet::{Source, note_sent};
use crate::report::Report;
use crate::session::blocking;
use crate::ui;
use crate::wallet;

pub(super) fn run(app: &mut App, path: &Path, source: &Source, json: bool) -> Result<(), Report> {
    let mut document = file::read(path)?;
    if extract(&document.psbt).is_err() {
        finalize(&mut document.psbt)?;
    }
    let transaction = extract(&document.psbt)?;
    let endpoint = source.endpoint(app)?.ok_or_else(wallet::no_source)?;
    let via = source.via(app)?;
    // where neither a session nor the configuration names a chain, the node's own is the one: it
    // refuses what spends no coins of it
    let chain = match app.keeper.status() {
        Some(status) => Some(status.chain),
        None => app.config()?.chain(),
    };
    let keeper = app.keeper.clone();
    let sent = transaction.clone();
    let work = blocking(None, move |_| {
        let source = wallet::Source::connect(&endpoint, &via, chain)?;
        Ok(source.broadcast(&sent)?)
    });
    app.runtime().block_on(keeper.interruptible(work))?;
    let txid = transaction.compute_txid();
    note_sent(app, &transaction)?;
    if json {
        return ui::json(&json!({"txid": txid.to_string()}));
    }
    ui::say("sent");
    ui::out(&txid.to_string())
}
