//! Looking into a wallet: balance, history, coins.

use bcm_keystore::wallet::WalletName;
use serde::Serialize;

use super::{btc, with_wallet};
use crate::app::App;
use crate::report::Report;
use crate::ui;

#[derive(Serialize)]
struct Balance {
    wallet: String,
    height: u32,
    confirmed: u64,
    pending: u64,
    untrusted: u64,
    immature: u64,
    frozen: u64,
    total: u64,
}

pub(super) fn balance(app: &App, name: Option<&WalletName>, json: bool) -> Result<(), Report> {
    let (wallet, height, balance, frozen) = with_wallet(app, name, |_, ledger| {
        let frozen = ledger.frozen_value();
        Ok((
            ledger.name().to_string(),
            ledger.height(),
            ledger.balance(),
            frozen,
        ))
    })?;
    if json {
        return ui::json(&Balance {
            wallet,
            height,
            confirmed: balance.confirmed.to_sat(),
            pending: balance.trusted_pending.to_sat(),
            untrusted: balance.untrusted_pending.to_sat(),
            immature: balance.immature.to_sat(),
            frozen: frozen.to_sat(),
            total: balance.total().to_sat(),
        });
    }
    let mut rows = vec![["total".to_owned(), btc(balance.total())]];
    for (what, amount) in [
        ("confirmed", balance.confirmed),
        ("own, unconfirmed", balance.trusted_pending),
        ("incoming, unconfirmed", balance.untrusted_pending),
        ("immature", balance.immature),
        ("frozen of it", frozen),
    ] {
        if amount.to_sat() > 0 {
            rows.push([what.to_owned(), btc(amount)]);
        }
    }
    if height == 0 {
        ui::say("this wallet was never synced: `wallet sync`");
    }
    ui::out(&ui::table(["", ""], rows))
}

#[derive(Serialize)]
struct Event {
    txid: String,
    change: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

pub(super) fn history(app: &App, name: Option<&WalletName>, json: bool) -> Result<(), Report> {
    let events = with_wallet(app, name, |_, ledger| Ok(ledger.history()))?;
    if json {
        let events = events.into_iter().map(|event| Event {
            txid: event.txid.to_string(),
            change: event.change.to_sat(),
            fee: event.fee.map(bdk_wallet::bitcoin::Amount::to_sat),
            height: event.height,
            time: event.time,
            label: event.label,
        });
        return ui::json(&events.collect::<Vec<_>>());
    }
    if events.is_empty() {
        ui::say("no transactions yet");
        return Ok(());
    }
    // line by line: a table would have to be laid out as a whole first
    let mut text = String::new();
    for event in events {
        let time = event
            .time
            .map_or_else(|| "-".repeat(16), super::sync::local_time);
        let place = event
            .height
            .map_or("unconfirmed".into(), |height| height.to_string());
        let change = event
            .change
            .display_in(bdk_wallet::bitcoin::Denomination::Bitcoin);
        let label = ui::printable(&event.label.unwrap_or_default());
        let line = format!(
            "{time}  {place:>11}  {change:>+17.8}  {}  {label}",
            event.txid
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    ui::out(text.trim_end())
}

#[derive(Serialize)]
struct Coin {
    coin: String,
    value: u64,
    address: String,
    change: bool,
    confirmations: u32,
    frozen: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

pub(super) fn utxos(app: &App, name: Option<&WalletName>, json: bool) -> Result<(), Report> {
    let coins = with_wallet(app, name, |_, ledger| Ok(ledger.coins()))?;
    let coins = coins.into_iter().map(|coin| Coin {
        coin: coin.outpoint.to_string(),
        value: coin.value.to_sat(),
        address: coin.address.to_string(),
        change: coin.is_change,
        confirmations: coin.confirmations,
        frozen: coin.frozen,
        label: coin.label,
    });
    let coins: Vec<Coin> = coins.collect();
    if json {
        return ui::json(&coins);
    }
    if coins.is_empty() {
        ui::say("no coins yet");
        return Ok(());
    }
    let rows = coins.into_iter().map(|coin| {
        let marks = [(coin.change, "change"), (coin.frozen, "frozen")];
        let marks = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark);
        let marks: Vec<&str> = marks.collect();
        let value = bdk_wallet::bitcoin::Amount::from_sat(coin.value);
        [
            coin.coin,
            btc(value),
            coin.confirmations.to_string(),
            marks.join(" "),
            coin.label.unwrap_or_default(),
        ]
    });
    let titles = ["coin", "value", "confirmations", "", "label"];
    ui::out(&ui::table(titles, rows))
}
