//! Payments: from what is wanted to a transaction on the network, one check after another.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bcm_keystore::wallet::message::parse_address;
use bcm_keystore::wallet::policy::Review;
use bcm_keystore::wallet::psbt::{extract, finalize};
use bcm_keystore::wallet::{
    Fee, Known, Ledger, Recipient, SignError, SignRequest, WalletError, WalletName, sign_psbt,
};
use bdk_wallet::bitcoin::{Amount, Denomination, FeeRate, OutPoint, Psbt, Transaction, Txid};
use serde::Serialize;

use super::{How, book, btc, guard};
use crate::app::App;
use crate::commands::psbt::accept_fee;
use crate::files::{self, Access, Overwrite};
use crate::report::Report;
use crate::session::{Keeper, Open, blocking};
use crate::ui::{self, Style};
use crate::wallet::{Endpoint, Source, Via};

/// For a confirmation within an hour, as a rule.
const TARGET: u16 = 6;

/// What a payment is to do.
#[derive(Clone, Debug)]
enum What {
    Pay(Recipient, Vec<OutPoint>),
    Bump(Txid),
    Cancel(Txid),
}

/// A payment on its way.
#[derive(Debug)]
pub struct Spend {
    what: What,
    how: How,
    endpoint: Option<Endpoint>,
    via: Via,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    wallet: String,
    review: Review,
    signed: bool,
    complete: bool,
    broadcast: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    psbt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
}

impl Spend {
    /// Pays an amount, or everything.
    pub(super) fn send(
        app: &App,
        address: &str,
        amount_text: Option<&str>,
        coins: Vec<OutPoint>,
        how: &How,
        json: bool,
    ) -> Result<(), Report> {
        let chain = app.keeper.status().map(|status| status.chain);
        let chain = chain.ok_or_else(|| Report::from(bcm_keystore::DeviceError::Locked))?;
        let address = parse_address(address, chain)?;
        let recipient = match amount_text {
            Some(text) => Recipient::Amount(address, amount(text)?),
            None => Recipient::Everything(address),
        };
        Self::run(app, What::Pay(recipient, coins), how, json)
    }

    /// Replaces a payment by one with a higher fee, or by none.
    pub(super) fn replace(
        app: &App,
        txid: Txid,
        cancel: bool,
        how: &How,
        json: bool,
    ) -> Result<(), Report> {
        let what = if cancel {
            What::Cancel(txid)
        } else {
            What::Bump(txid)
        };
        Self::run(app, what, how, json)
    }

    fn run(app: &App, what: What, how: &How, json: bool) -> Result<(), Report> {
        if let Some(path) = &how.output {
            files::check_free(path, Overwrite::when(how.force))?;
        }
        let spend = Self {
            what,
            how: how.clone(),
            endpoint: how.source.endpoint(app)?,
            via: how.source.via(app)?,
        };
        let keeper = app.keeper.clone();
        let outcome = app
            .runtime()
            .block_on(keeper.with_open(async |open| spend.spend(open, &keeper).await))?;
        if json {
            return ui::json(&outcome);
        }
        match (&how.output, outcome.broadcast) {
            (Some(path), false) => ui::say(&format!("written to `{}`", path.display())),
            (None, false) => return ui::out(outcome.psbt.as_deref().unwrap_or_default()),
            (_, true) => {}
        }
        ui::out(&outcome.review.txid.to_string())
    }

    async fn spend(&self, open: &Open, keeper: &Keeper) -> Result<Outcome, Report> {
        let book = book(open);
        let mut ledger = book.open(self.how.wallet.as_ref().map(WalletName::as_str))?;
        let rate = self.rate(open).await?;
        let mut psbt = self.unsigned(&mut ledger, rate)?;
        let review = Review::new(&psbt, open.chain, |script| ledger.is_ours(script))?;
        show(&review);
        // the change address is spoken for from here on
        book.save(&mut ledger)?;
        let mut outcome = Outcome {
            wallet: ledger.name().to_string(),
            review,
            signed: false,
            complete: false,
            broadcast: false,
            psbt: None,
            transaction: None,
        };
        if !self.how.unsigned {
            let transaction = self
                .sign(open, keeper, &ledger, &mut psbt, &outcome.review)
                .await?;
            outcome.signed = true;
            outcome.complete = transaction.is_some();
            if let Some(transaction) = transaction {
                outcome.review.txid = transaction.compute_txid();
                let raw = bdk_wallet::bitcoin::consensus::encode::serialize_hex(&transaction);
                outcome.transaction = Some(raw);
                self.write(&psbt)?;
                outcome.broadcast = self.broadcast(open, &transaction).await?;
                if outcome.broadcast {
                    ledger.note_sent(transaction, unix_time().unsigned_abs());
                    book.save(&mut ledger)?;
                }
            } else {
                ui::say("other cosigners have to sign too: `psbt sign`, then `psbt broadcast`");
            }
        }
        if !outcome.broadcast {
            self.write(&psbt)?;
        }
        outcome.psbt = Some(BASE64.encode(psbt.serialize()));
        Ok(outcome)
    }

    fn unsigned(&self, ledger: &mut Ledger, rate: FeeRate) -> Result<Psbt, Report> {
        Ok(match &self.what {
            What::Pay(recipient, coins) => ledger.pay(recipient, Fee::Rate(rate), coins)?,
            What::Bump(txid) => ledger.bump(*txid, rate)?,
            What::Cancel(txid) => ledger.cancel(*txid, rate)?,
        })
    }

    async fn rate(&self, open: &Open) -> Result<FeeRate, Report> {
        if let Some(rate) = self.how.fee_rate {
            return Ok(rate);
        }
        let target = self.how.target.unwrap_or(TARGET);
        let Some(endpoint) = self.endpoint.clone() else {
            return Err(Report::usage("nothing says what the fee should be")
                .with_hint("give `--fee-rate 2`, or a source to ask: `--source`"));
        };
        let (via, chain) = (self.via.clone(), open.chain);
        blocking(None, move |_| {
            Ok(Source::connect(&endpoint, &via, chain)?.fee_rate(target)?)
        })
        .await
    }

    /// Has the device sign, once the rules allow it, and keeps a record.
    async fn sign(
        &self,
        open: &Open,
        keeper: &Keeper,
        ledger: &Ledger,
        psbt: &mut Psbt,
        review: &Review,
    ) -> Result<Option<Transaction>, Report> {
        let replaced = match self.what {
            What::Bump(txid) | What::Cancel(txid) => Some(txid),
            What::Pay(..) => None,
        };
        let place = self.endpoint.clone();
        let source = place.map(|endpoint| (endpoint, self.via.clone()));
        let wallets = [ledger.name().clone()];
        guard::check_rules(open, psbt, review, &wallets, replaced, source).await?;
        let root = open.session.fingerprint();
        // a payment that is taken back is a new one for the device, which shows where it goes
        let replaces = match self.what {
            What::Bump(txid) => Some(txid),
            _ => None,
        };
        let mut known = Known::default();
        known.add(ledger, psbt, replaces, root);
        let request = |allow_fee: bool| SignRequest {
            accounts: ledger.descriptor().keys().iter().map(Into::into).collect(),
            previous: Box::new(known.clone()),
            replaces,
            allow_fee,
            ..SignRequest::new(open.chain, root)
        };
        let device = open.session.device();
        let report = match sign_psbt(device, psbt, request(false)).await {
            Err(SignError::AbsurdFee(alarm)) => {
                accept_fee(keeper, self.how.accept_fee, alarm)?;
                sign_psbt(device, psbt, request(true)).await?
            }
            outcome => outcome?,
        };
        let mut complete = psbt.clone();
        let transaction = match finalize(&mut complete) {
            Ok(()) => {
                *psbt = complete;
                Some(extract(psbt)?)
            }
            Err(_) => None,
        };
        let txid = transaction.as_ref().map(Transaction::compute_txid);
        guard::record(open, &report, review, txid, &wallets, replaced)?;
        Ok(transaction)
    }

    /// Gives the transaction to the network, unless it was not wanted or nobody is there to take it.
    async fn broadcast(&self, open: &Open, transaction: &Transaction) -> Result<bool, Report> {
        if self.how.no_broadcast {
            return Ok(false);
        }
        let endpoint = match &self.endpoint {
            Some(Endpoint::File(_)) | None => {
                ui::say("signed, not sent: no source that takes it; `psbt broadcast` sends it");
                return Ok(false);
            }
            Some(endpoint) => endpoint.clone(),
        };
        let (via, chain) = (self.via.clone(), open.chain);
        let transaction = transaction.clone();
        let sent = blocking(None, move |_| {
            let source = Source::connect(&endpoint, &via, chain)?;
            Ok(source.broadcast(&transaction)?)
        })
        .await;
        sent.map_err(|report| report.with_note("it is signed, but was not sent"))?;
        ui::say("sent");
        Ok(true)
    }

    fn write(&self, psbt: &Psbt) -> Result<(), Report> {
        let Some(path) = &self.how.output else {
            return Ok(());
        };
        let text = BASE64.encode(psbt.serialize()) + "\n";
        let overwrite = Overwrite::when(self.how.force);
        Ok(files::put(
            path,
            Access::Private,
            overwrite,
            text.as_bytes(),
        )?)
    }
}

fn show(review: &Review) {
    for paid in &review.payments {
        let to = paid
            .address
            .as_deref()
            .unwrap_or("a script without address");
        let value = btc(Amount::from_sat(paid.amount));
        ui::say(&format!(
            "pays {} to {to}",
            ui::paint_stderr(Style::Name, &value)
        ));
    }
    let fee = btc(Amount::from_sat(review.fee));
    ui::say(&format!("fee {fee} ({} sat/vB)", review.fee_rate));
    if review.change > 0 {
        let change = btc(Amount::from_sat(review.change));
        ui::say(&format!("back to the wallet {change}"));
    }
}

/// Returns now, in seconds of the Unix epoch.
pub fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Parses an amount: `0.001`, `0.001btc` or `100000sat`.
pub fn amount(text: &str) -> Result<Amount, WalletError> {
    let refuse = || WalletError::Amount(ui::printable(&text.chars().take(60).collect::<String>()));
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) = if let Some(number) = lower.strip_suffix("sat") {
        (number, Denomination::Satoshi)
    } else {
        let number = lower.strip_suffix("btc").unwrap_or(&lower);
        (number, Denomination::Bitcoin)
    };
    let amount = Amount::from_str_in(number.trim(), unit).map_err(|_| refuse())?;
    if amount == Amount::ZERO || amount > Amount::MAX_MONEY {
        return Err(refuse());
    }
    Ok(amount)
}

/// Parses a fee rate in sat/vB; fractions count.
pub fn fee_rate(text: &str) -> Result<FeeRate, String> {
    let refuse = || "expected a number of sat/vB, such as 2 or 1.5".to_owned();
    let rate: f64 = text.parse().map_err(|_| refuse())?;
    if !(rate.is_finite() && (0.1..=100_000.0).contains(&rate)) {
        return Err(refuse());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked above"
    )]
    let units = (rate * 250.0).ceil() as u64;
    Ok(FeeRate::from_sat_per_kwu(units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_bitcoin_unless_they_say_sat() {
        let sat = |text: &str| amount(text).unwrap().to_sat();
        assert_eq!(sat("0.001"), 100_000);
        assert_eq!(sat("1BTC"), 100_000_000);
        assert_eq!(sat("546 sat"), 546);
        for wrong in [
            "",
            "-1",
            "0",
            "-0.1sat",
            "0.000000001",
            "1.5sat",
            "21000001",
            "1e3",
            "99999999999999999999",
            "nan",
            "1 000",
            "١",
        ] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fee_rate_is_a_positive_number() {
        assert_eq!(fee_rate("2").unwrap().to_sat_per_kwu(), 500);
        assert_eq!(fee_rate("1.5").unwrap().to_sat_per_kwu(), 375);
        for wrong in ["", "0", "-1", "nan", "inf", "1e9", "x"] {
            assert!(fee_rate(wrong).is_err(), "{wrong}");
        }
    }
}
