//! The owner's rules, and the record of what was signed.

use bcm_keystore::wallet::WalletName;
use bcm_keystore::wallet::message::parse_address;
use bcm_keystore::wallet::policy::Policy;
use bcm_keystore::wallet::record::Spending;
use bdk_wallet::bitcoin::Amount;
use clap::{Args, ValueEnum};

use super::spend::amount;
use super::{book, btc};
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

/// A new limit, or none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// None.
    Off,
    /// At most this.
    At(u64),
}

impl Limit {
    fn rate(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|rate| *rate > 0);
        let refuse = || "expected a whole number of sat/vB, or `off`".to_owned();
        Self::parse(text, |text| number(text).ok_or_else(refuse))
    }

    fn amount(text: &str) -> Result<Self, String> {
        Self::parse(text, |text| {
            let parsed = amount(text).map_err(|error| format!("{error}, nor `off`"));
            parsed.map(Amount::to_sat)
        })
    }

    fn parse(text: &str, number: impl FnOnce(&str) -> Result<u64, String>) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            text => number(text).map(Self::At),
        }
    }

    /// Changes `old` where a new limit was given.
    fn set(new: Option<Self>, old: &mut Option<u64>) {
        match new {
            None => {}
            Some(Self::Off) => *old = None,
            Some(Self::At(limit)) => *old = Some(limit),
        }
    }
}

/// What to change.
#[derive(Args, Debug)]
pub struct Rules {
    /// The rules of this wallet alone, which hold besides those of the chain
    #[arg(long, value_name = "NAME")]
    wallet: Option<WalletName>,
    /// Highest fee rate, sat/vB, or `off`
    #[arg(long, value_name = "RATE", value_parser = Limit::rate)]
    max_fee_rate: Option<Limit>,
    /// Highest fee, or `off`
    #[arg(long, value_name = "AMOUNT", value_parser = Limit::amount)]
    max_fee: Option<Limit>,
    /// Most that may leave in 24 hours, fees counted, or `off`
    #[arg(long, value_name = "AMOUNT", value_parser = Limit::amount)]
    per_day: Option<Limit>,
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
            let wallet = self.wallet.as_ref();
            if let Some(name) = wallet {
                // a rule for a name that is misspelled would hold for nothing
                book(open).open(Some(name.as_str()))?;
            }
            let mut spending = Spending::open(open.session.store())?;
            if self.is_empty() {
                return Ok((spending.policy(chain, wallet), chain));
            }
            let addresses = |texts: &[String]| -> Result<Vec<String>, Report> {
                let parse = |text: &String| Ok(parse_address(text, chain)?.to_string());
                texts.iter().map(parse).collect()
            };
            let (allow, disallow) = (addresses(&self.allow)?, addresses(&self.disallow)?);
            let policy = spending.change_policy(chain, wallet, |policy| {
                if self.clear {
                    *policy = Policy::default();
                }
                Limit::set(self.max_fee_rate, &mut policy.max_fee_rate);
                Limit::set(self.max_fee, &mut policy.max_fee);
                Limit::set(self.per_day, &mut policy.per_day);
                policy.allow.extend(allow);
                for address in &disallow {
                    policy.allow.remove(address);
                }
                policy.own_node = self.own_node.map_or(policy.own_node, |s| s == Switch::On);
            })?;
            Ok((policy, chain))
        }))?;
        if json {
            return ui::json(&policy);
        }
        if policy == Policy::default() {
            ui::say(&match &self.wallet {
                None => format!("no rules on {chain}: the device alone decides"),
                Some(name) => format!("no rules for `{name}` besides those of {chain}"),
            });
            return Ok(());
        }
        print(&policy)
    }
}

fn print(policy: &Policy) -> Result<(), Report> {
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
            if record.wallets.is_empty() {
                "-".into()
            } else {
                record.wallets.join(", ")
            },
            btc(Amount::from_sat(record.leaving)),
            record.txid.to_string(),
        ]
    });
    ui::out(&ui::table(
        ["time", "chain", "wallet", "left", "transaction"],
        rows,
    ))
}
