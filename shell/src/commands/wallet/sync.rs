//! Bringing a wallet up to date.

use bcm_keystore::wallet::WalletName;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Source, book, unix_time};
use crate::app::App;
use crate::report::Report;
use crate::session::blocking;
use crate::ui;
use crate::wallet::{self, Reading};

pub(super) struct Sync {
    pub(super) name: Option<WalletName>,
    pub(super) source: Source,
    pub(super) rescan: bool,
    pub(super) reading: Reading,
}

impl Sync {
    pub(super) fn run(self, app: &App, json: bool) -> Result<(), Report> {
        let Some(endpoint) = self.source.endpoint(app)? else {
            return Err(wallet::no_source());
        };
        let via = self.source.via(app)?;
        let keeper = app.keeper.clone();
        let (name, synced) = app.runtime().block_on(keeper.with_open(async |open| {
            let book = book(open);
            blocking(None, move |cancelled| {
                let mut ledger = book.open(self.name.as_ref().map(WalletName::as_str))?;
                let connected = wallet::Source::connect(&endpoint, &via, book.chain())?;
                if self.rescan {
                    book.forget_chain(ledger.name().as_str())?;
                    ledger = book.open(Some(ledger.name().as_str()))?;
                }
                let bar = bar();
                let progress = |height: u32, tip: u32| {
                    bar.set_length(tip.into());
                    bar.set_position(height.into());
                };
                let with = wallet::Sync {
                    book: &book,
                    cancelled,
                    progress: &progress,
                    reading: self.reading,
                    now: unix_time().unsigned_abs(),
                };
                let synced = connected.sync(&mut ledger, &with);
                bar.finish_and_clear();
                Ok((ledger.name().to_string(), synced?))
            })
            .await
        }))?;
        if json {
            return ui::json(&synced);
        }
        ui::say(&format!(
            "`{name}` is up to date with block {}",
            synced.height
        ));
        Ok(())
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
    let style = ProgressStyle::with_template("block {pos} of {len} {bar:30}");
    bar.with_style(style.expect("the template is a constant"))
}

/// Writes a time of the Unix epoch as UTC, to the minute.
pub(super) fn local_time(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(
        || seconds.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}
