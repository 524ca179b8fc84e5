//! `psbt sign`: what belongs to this wallet, signed on the device.

use bcm_keystore::wallet::sign_tx::{
    FeeAlarm, SignError, SignReport, SignRequest, complete_origins, sign_psbt,
};
use serde::Serialize;

use super::known::Transactions;
use super::{Sign, file, write};
use crate::app::App;
use crate::commands::wallet::guard::{self, Owned};
use crate::report::{Kind, Report};
use crate::session::{Keeper, Open};
use crate::ui::tty::{EntryError, Tty};
use crate::ui::{self, Style};

#[derive(Serialize)]
struct Signed<'a> {
    txid: String,
    signed_inputs: &'a [usize],
    confirmed: &'a [String],
    digest_before: String,
    digest_after: String,
    psbt: Option<&'a str>,
}

pub(super) fn run(app: &mut App, sign: &Sign, json: bool) -> Result<(), Report> {
    // what is wrong with the files is said before anybody reaches for the device
    let mut document = file::read(&sign.file)?;
    let known = Transactions::read(&sign.previous)?;
    let output = &sign.output;
    if let Some(path) = output
        .output
        .as_ref()
        .filter(|path| !output.force && path.exists())
    {
        let text = format!("`{}` exists already", path.display());
        let report = Report::text(Kind::Failed, text);
        return Err(report.with_hint("choose another name, or give `--force`"));
    }
    let place = sign.source.endpoint(app)?;
    let via = sign.source.via(app)?;
    let source = place.map(|endpoint| (endpoint, via));
    app.unlock_first()?;
    let keeper = app.keeper.clone();
    let psbt = &mut document.psbt;
    let report = app.runtime().block_on(keeper.with_open(async |open| {
        let device = open.session.device().clone();
        let replaces = sign.replaces;
        let owned = Owned::find(open, psbt, replaces)?;
        complete_origins(psbt, &owned.accounts);
        guard::check_rules(open, psbt, &owned.review, &owned.wallets, replaces, source).await?;
        let make = |allow_fee: bool| request(open, sign, &known, &owned, allow_fee);
        let report = match sign_psbt(&device, psbt, make(false)).await {
            Err(SignError::AbsurdFee(alarm)) => {
                accept_fee(&keeper, sign.accept_fee, alarm)?;
                sign_psbt(&device, psbt, make(true)).await?
            }
            outcome => outcome?,
        };
        guard::record(open, &report, &owned.review, None, &owned.wallets, replaces)?;
        Ok(report)
    }))?;
    let text = document.to_base64();
    write(&document, &text, output)?;
    print(&report, output.output.is_none().then_some(&text), json)
}

fn request(
    open: &Open,
    sign: &Sign,
    known: &Transactions,
    owned: &Owned,
    allow_fee: bool,
) -> SignRequest {
    let mut request = SignRequest::new(open.chain, open.session.fingerprint());
    request.accounts = sign.cosigner.iter().map(Into::into).collect();
    if sign.cosigner.is_empty() {
        request.accounts.clone_from(&owned.accounts);
    }
    request.previous = Box::new(known.clone().beside(owned.known.clone()));
    request.replaces = sign.replaces;
    request.allow_sighash = sign.allow_sighash;
    request.allow_fee = allow_fee;
    request
}

/// Has the person type the fee, unless they wrote it on the command line.
pub(in crate::commands) fn accept_fee(
    keeper: &Keeper,
    accepted: Option<u64>,
    alarm: FeeAlarm,
) -> Result<(), Report> {
    let error = || Report::from(SignError::AbsurdFee(alarm));
    if let Some(accepted) = accepted {
        return if accepted == alarm.fee.to_sat() {
            Ok(())
        } else {
            Err(error().with_note(format!("{accepted} satoshi were accepted")))
        };
    }
    let Ok(tty) = Tty::open() else {
        return Err(error());
    };
    ui::say(&format!(
        "{} {}",
        ui::paint_stderr(Style::Attention, "warning:"),
        SignError::AbsurdFee(alarm)
    ));
    let question = "type the fee in satoshi to pay it, or nothing to stop: ";
    match tty.line(question, &|| keeper.is_ending()) {
        Ok(typed) if typed.trim() == alarm.phrase() => Ok(()),
        Ok(_) | Err(EntryError::NoTerminal) => Err(error()),
        Err(EntryError::GivenUp) => Err(Report::text(Kind::Failed, "cancelled")),
    }
}

fn print(report: &SignReport, psbt: Option<&String>, json: bool) -> Result<(), Report> {
    if json {
        let hex = |digest: &[u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
        return ui::json(&Signed {
            txid: report.txid.to_string(),
            signed_inputs: &report.signed_inputs,
            confirmed: &report.confirmed,
            digest_before: hex(&report.digest_before),
            digest_after: hex(&report.digest_after),
            psbt: psbt.map(String::as_str),
        });
    }
    let inputs = match report.signed_inputs.len() {
        1 => "1 input".to_owned(),
        many => format!("{many} inputs"),
    };
    ui::say(&format!("signed {inputs} of transaction {}", report.txid));
    psbt.map_or(Ok(()), |psbt| ui::out(psbt))
}
