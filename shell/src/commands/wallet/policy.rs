//! The owner's rules, and the record of what was signed.

use bcm_keystore::wallet::message::parse_address;
use bcm_keystore::wallet::policy::Policy;
use bcm_keystore::wallet::record::Spending;
use bdk_wallet::bitcoin::Amount;
use clap::{Args, ValueEnum};

use super::btc;
use super::spend::amount;
use crate::app::App;
use crate::report::Report;
use crate::ui;

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It holds
    On,
    /// It does not
    Off,
}

/// What to change.
#[derive(Args, Debug)]
pub struct Rules {
    /// Highest fee rate, sat/vB
    #[arg(long, value_name = "RATE")]
    max_fee_rate: Option<u64>,
    /// Highest fee
    #[arg(long, value_name = "AMOUNT")]
    max_fee: Option<String>,
    /// Most that may leave in 24 hours, fees counted
    #[arg(long, value_name = "AMOUNT")]
    per_day: Option<String>,
    /// Pay this address and no other that is not allowed too; repeat it for each
    #[arg(long, value_name = "ADDRESS")]
    allow: Vec<String>,
    /// Take an address off the list
    #[arg(long, value_name = "ADDRESS")]
    disallow: Vec<String>,
    /// Whether one's own node has to know a coin before it is spent: on or off
    #[arg(long, value_name = "SWITCH", hide_possible_values = true)]
    own_node: Option<Switch>,
    /// Drop all rules first
    #[arg(long)]
    clear: bool,
}

impl Rules {
    fn is_empty(&self) -> bool {
        !self.clear
            && self.max_fee_rate.is_none()
            && self.max_fee.is_none()
            && self.per_day.is_none()
            && self.own_node.is_none()
            && self.allow.is_empty()
            && self.disallow.is_empty()
    }

    pub(super) fn run(self, app: &App, json: bool) -> Result<(), Report> {
        let keeper = app.keeper.clone();
        let (policy, chain) = app.runtime().block_on(keeper.with_open(async |open| {
            let chain = open.chain;
            let mut spending = Spending::open(open.session.store())?;
            let mut policy = spending.policy(chain);
            if self.is_empty() {
                return Ok((policy, chain));
            }
            if self.clear {
                policy = Policy::default();
            }
            policy.max_fee_rate = self.max_fee_rate.or(policy.max_fee_rate);
            let sat = |text: &String| amount(text).map(Amount::to_sat);
            policy.max_fee = self
                .max_fee
                .as_ref()
                .map(sat)
                .transpose()?
                .or(policy.max_fee);
            policy.per_day = self
                .per_day
                .as_ref()
                .map(sat)
                .transpose()?
                .or(policy.per_day);
            for text in &self.allow {
                policy.allow.insert(parse_address(text, chain)?.to_string());
            }
            for text in &self.disallow {
                policy
                    .allow
                    .remove(&parse_address(text, chain)?.to_string());
            }
            policy.own_node = self.own_node.map_or(policy.own_node, |s| s == Switch::On);
            spending.set_policy(chain, policy.clone())?;
            Ok((policy, chain))
        }))?;
        if json {
            return ui::json(&policy);
        }
        if policy == Policy::default() {
            ui::say(&format!("no rules on {chain}: the device alone decides"));
            return Ok(());
        }
        let sat = |sat: u64| btc(Amount::from_sat(sat));
        let mut rows = Vec::new();
        let mut row = |name: &str, value: Option<String>| {
            rows.extend(value.map(|value| [name.to_owned(), value]));
        };
        row(
            "highest fee rate",
            policy.max_fee_rate.map(|rate| format!("{rate} sat/vB")),
        );
        row("highest fee", policy.max_fee.map(sat));
        row("in 24 hours", policy.per_day.map(sat));
        row(
            "own node",
            policy.own_node.then(|| "has to know every coin".into()),
        );
        for address in &policy.allow {
            row("allowed", Some(address.clone()));
        }
        ui::out(&ui::table(["rule", "value"], rows))
    }
}

pub(super) fn records(app: &App, json: bool) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let records =
        app.runtime().block_on(keeper.with_open(async |open| {
            Ok(Spending::open(open.session.store())?.records().to_vec())
        }))?;
    if json {
        return ui::json(&records);
    }
    if records.is_empty() {
        ui::say("nothing was signed yet");
        return Ok(());
    }
    let rows = records.into_iter().map(|record| {
        [
            super::sync::local_time(record.time.unsigned_abs()),
            record.chain.to_string(),
            record.wallet.unwrap_or_else(|| "-".into()),
            btc(Amount::from_sat(record.leaving)),
            record.txid.to_string(),
        ]
    });
    ui::out(&ui::table(
        ["time", "chain", "wallet", "left", "transaction"],
        rows,
    ))
}
