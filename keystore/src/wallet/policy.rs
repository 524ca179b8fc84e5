//! What a wallet's owner allows, checked before the device is asked.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Address, Amount, Psbt, ScriptBuf, Txid};
use serde::{Deserialize, Serialize};

use super::book::WalletName;
use super::record::Record;
use crate::chain::Chain;
use crate::hint::Hint;

/// What counts as a day.
const DAY: i64 = 24 * 3600;

/// The rules for one chain, or for one wallet on it; without a rule everything is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Highest fee rate, sat/vB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fee_rate: Option<u64>,
    /// Highest fee, sat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fee: Option<u64>,
    /// Most that may leave in 24 hours, fees counted, sat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u64>,
    /// The only addresses that may be paid, besides one's own.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<String>,
    /// Whether one's own node has to know every coin before it is spent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own_node: bool,
}

/// An output that leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paid {
    /// To whom; `None` for a script without an address.
    pub address: Option<String>,
    /// How much, sat.
    pub amount: u64,
}

/// What a transaction would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Which.
    pub txid: Txid,
    /// Whom it pays.
    pub payments: Vec<Paid>,
    /// What comes back, sat.
    pub change: u64,
    /// The fee, sat.
    pub fee: u64,
    /// The fee rate, sat/vB, rounded up.
    pub fee_rate: u64,
    /// What the inputs are worth, sat.
    pub spent: u64,
}

impl Review {
    /// Looks at a PSBT; its fee rate is the one that it will have once it is signed.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnknownInput`] for an input whose amount is not told.
    pub fn new(
        psbt: &Psbt,
        chain: Chain,
        is_ours: impl Fn(&ScriptBuf) -> bool,
    ) -> Result<Self, PolicyError> {
        let mut spent = Amount::ZERO;
        let mut outputs = Vec::new();
        for (index, input) in psbt.iter_funding_utxos().enumerate() {
            let output = input.map_err(|_| PolicyError::UnknownInput(index))?;
            spent = spent
                .checked_add(output.value)
                .ok_or(PolicyError::UnknownInput(index))?;
            outputs.push(output.clone());
        }
        let size = super::sign_tx::review::virtual_size(psbt, &outputs);
        let mut payments = Vec::new();
        let mut change = Amount::ZERO;
        for output in &psbt.unsigned_tx.output {
            if is_ours(&output.script_pubkey) {
                change += output.value;
                continue;
            }
            let address = Address::from_script(&output.script_pubkey, chain.network());
            payments.push(Paid {
                address: address.ok().map(|address| address.to_string()),
                amount: output.value.to_sat(),
            });
        }
        let paid: u64 = payments.iter().map(|paid| paid.amount).sum();
        let fee = spent
            .to_sat()
            .checked_sub(paid.saturating_add(change.to_sat()))
            .ok_or(PolicyError::Overspent)?;
        Ok(Self {
            txid: psbt.unsigned_tx.compute_txid(),
            payments,
            change: change.to_sat(),
            fee,
            fee_rate: fee.div_ceil(size.max(1)),
            spent: spent.to_sat(),
        })
    }

    /// Returns what leaves the wallet, the fee counted, in sat.
    pub fn leaving(&self) -> u64 {
        let paid: u64 = self.payments.iter().map(|paid| paid.amount).sum();
        paid.saturating_add(self.fee)
    }
}

/// Why the owner's own rules forbid a transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A fee rate above the cap.
    #[error("the policy allows {cap} sat/vB, this pays {rate} sat/vB")]
    FeeRate {
        /// Allowed.
        cap: u64,
        /// Found.
        rate: u64,
    },
    /// A fee above the cap.
    #[error("the policy allows a fee of {cap} sat, this pays {fee} sat")]
    Fee {
        /// Allowed.
        cap: u64,
        /// Found.
        fee: u64,
    },
    /// More than the day has left.
    #[error(
        "the policy lets {limit} sat leave in 24 hours, {spent} sat have left, this is {leaving} sat more"
    )]
    PerDay {
        /// Allowed.
        limit: u64,
        /// Gone.
        spent: u64,
        /// Asked for.
        leaving: u64,
    },
    /// An address that is not on the list.
    #[error("the policy does not allow to pay `{0}`")]
    NotAllowed(String),
    /// The owner's own node does not know a coin.
    #[error("the own node does not know the coin `{coin}`: {reason}")]
    OwnNode {
        /// The coin.
        coin: String,
        /// What the node says.
        reason: String,
    },
    /// A rule for one wallet alone.
    #[error("the wallet `{wallet}` has its own rules: {rule}")]
    Wallet {
        /// The wallet.
        wallet: WalletName,
        /// The rule.
        #[source]
        rule: Box<Self>,
    },
    /// An input whose amount nobody tells.
    #[error("the PSBT does not say what input {0} is worth")]
    UnknownInput(usize),
    /// More goes out than comes in.
    #[error("the outputs are worth more than the inputs")]
    Overspent,
}

impl Hint for PolicyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownInput(_) | Self::Overspent => {
                Some("ask whoever made the PSBT for a complete one".into())
            }
            Self::OwnNode { .. } => Some("sync the node, then `wallet sync`".into()),
            Self::Wallet { wallet, .. } => Some(format!(
                "the device was not asked; `wallet policy --wallet {wallet}` shows and changes the rules"
            )),
            _ => {
                Some("the device was not asked; `wallet policy` shows and changes the rules".into())
            }
        }
    }
}

impl Policy {
    /// Checks a transaction that would replace `replaces`, at the time `now`; `records` are those that
    /// the rules are for.
    ///
    /// # Errors
    ///
    /// The first rule that forbids it.
    pub fn check(
        &self,
        review: &Review,
        replaces: Option<Txid>,
        records: &[&Record],
        now: i64,
    ) -> Result<(), PolicyError> {
        if let Some(cap) = self.max_fee_rate.filter(|cap| review.fee_rate > *cap) {
            return Err(PolicyError::FeeRate {
                cap,
                rate: review.fee_rate,
            });
        }
        if let Some(cap) = self.max_fee.filter(|cap| review.fee > *cap) {
            return Err(PolicyError::Fee {
                cap,
                fee: review.fee,
            });
        }
        if !self.allow.is_empty() {
            for paid in &review.payments {
                let address = paid
                    .address
                    .as_deref()
                    .unwrap_or("a script without address");
                if !self.allow.contains(address) {
                    return Err(PolicyError::NotAllowed(address.to_owned()));
                }
            }
        }
        if let Some(limit) = self.per_day {
            let spent = spent_since(records, review.txid, replaces, now - DAY);
            let leaving = review.leaving();
            if spent.saturating_add(leaving) > limit {
                return Err(PolicyError::PerDay {
                    limit,
                    spent,
                    leaving,
                });
            }
        }
        Ok(())
    }
}

/// Sums what left; a transaction signed twice counts once, one that was replaced not at all.
fn spent_since(records: &[&Record], this: Txid, replaces: Option<Txid>, since: i64) -> u64 {
    let replaced: BTreeSet<Txid> = records
        .iter()
        .filter_map(|record| record.replaces)
        .chain(replaces)
        .chain([this])
        .collect();
    let counted: BTreeMap<Txid, u64> = records
        .iter()
        .filter(|record| record.time > since)
        .filter(|record| !replaced.contains(&record.txid))
        .map(|record| (record.txid, record.leaving))
        .collect();
    counted
        .values()
        .fold(0, |sum, left| sum.saturating_add(*left))
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn txid(byte: u8) -> Txid {
        Txid::from_byte_array([byte; 32])
    }

    fn review(byte: u8, amount: u64, fee: u64, fee_rate: u64) -> Review {
        Review {
            txid: txid(byte),
            payments: vec![Paid {
                address: Some("bcrt1qa".into()),
                amount,
            }],
            change: 0,
            fee,
            fee_rate,
            spent: amount + fee,
        }
    }

    fn record(byte: u8, leaving: u64, time: i64, replaces: Option<Txid>) -> Record {
        Record {
            txid: txid(byte),
            chain: Chain::Regtest,
            time,
            wallets: Vec::new(),
            leaving,
            fee: 0,
            replaces,
            digest_before: String::new(),
            digest_after: String::new(),
            confirmed: Vec::new(),
        }
    }

    fn check(policy: &Policy, review: &Review, records: &[Record]) -> Result<(), PolicyError> {
        let records: Vec<_> = records.iter().collect();
        policy.check(review, None, &records, NOW)
    }

    #[test]
    fn each_rule_forbids_what_it_says() {
        let sound = review(1, 10_000, 200, 2);
        assert!(check(&Policy::default(), &sound, &[]).is_ok());
        let cap = |max_fee_rate, max_fee| Policy {
            max_fee_rate,
            max_fee,
            ..Policy::default()
        };
        assert!(check(&cap(Some(2), Some(200)), &sound, &[]).is_ok());
        assert!(check(&cap(Some(1), None), &sound, &[]).is_err());
        assert!(check(&cap(None, Some(199)), &sound, &[]).is_err());
        let mut list = Policy::default();
        list.allow.insert("bcrt1qb".into());
        assert!(check(&list, &sound, &[]).is_err());
        list.allow.insert("bcrt1qa".into());
        assert!(check(&list, &sound, &[]).is_ok());
    }

    #[test]
    fn a_day_counts_each_payment_once_and_forgets_yesterday() {
        let policy = Policy {
            per_day: Some(30_000),
            ..Policy::default()
        };
        let this = review(9, 9_800, 200, 2);
        let old = record(1, 30_000, NOW - DAY, None);
        let today = record(2, 20_000, NOW - 60, None);
        assert!(check(&policy, &this, &[old.clone(), today.clone()]).is_ok());
        let again = record(9, 10_000, NOW - 30, None);
        assert!(check(&policy, &this, &[today.clone(), again]).is_ok());
        let more = record(3, 1, NOW - 30, None);
        assert!(check(&policy, &this, &[today.clone(), more.clone()]).is_err());
        let replaced = record(4, 1, NOW - 20, Some(txid(3)));
        let records = [today, more, replaced];
        assert!(check(&policy, &this, &records).is_err());
        let records: Vec<_> = records.iter().collect();
        let as_replacement = policy.check(&this, Some(txid(4)), &records, NOW);
        assert!(as_replacement.is_ok());
    }
}
