//! What stands between a PSBT and the device: the owner's rules; and behind it: the record.

use bcm_keystore::wallet::policy::{PolicyError, Review};
use bcm_keystore::wallet::record::{OwnNode, Record, Spending};
use bcm_keystore::wallet::{AccountKey, Known, Ledger, SignReport, WalletName};
use bdk_wallet::bitcoin::{OutPoint, Psbt, Txid};

use super::{book, unix_time};
use crate::report::Report;
use crate::session::{Open, blocking};
use crate::wallet::{Endpoint, Source, SourceError, Via};

/// What bcm's own wallets know of a PSBT that came from elsewhere.
#[derive(Debug)]
pub struct Owned {
    /// What it would do to them.
    pub review: Review,
    /// The wallets that pay.
    pub wallets: Vec<WalletName>,
    /// Their keys.
    pub accounts: Vec<AccountKey>,
    /// What the device may ask for.
    pub known: Known,
}

impl Owned {
    /// Looks through the wallets of this chain.
    ///
    /// # Errors
    ///
    /// What a wallet or the PSBT refuses.
    pub fn find(open: &Open, psbt: &Psbt, replaces: Option<Txid>) -> Result<Self, Report> {
        let book = book(open);
        let root = open.session.fingerprint();
        let mut paying: Vec<Ledger> = Vec::new();
        for wallet in book.list()? {
            let ledger = book.open(Some(wallet.name.as_str()))?;
            let mut spent = psbt.iter_funding_utxos().flatten();
            if spent.any(|output| ledger.is_ours(&output.script_pubkey)) {
                paying.push(ledger);
            }
        }
        let mut known = Known::default();
        for ledger in &paying {
            known.add(ledger, psbt, replaces, root);
        }
        let keys = paying.iter().flat_map(|ledger| ledger.descriptor().keys());
        Ok(Self {
            review: Review::new(psbt, open.chain, |script| {
                paying.iter().any(|ledger| ledger.is_ours(script))
            })?,
            wallets: paying.iter().map(|ledger| ledger.name().clone()).collect(),
            accounts: keys.map(Into::into).collect(),
            known,
        })
    }
}

/// Checks a transaction against the owner's rules, with the own node where they want it.
///
/// # Errors
///
/// The first rule that forbids it.
pub async fn check_rules(
    open: &Open,
    psbt: &Psbt,
    review: &Review,
    wallets: &[WalletName],
    replaced: Option<Txid>,
    source: Option<(Endpoint, Via)>,
) -> Result<(), Report> {
    let spending = Spending::open(open.session.store())?;
    let own_node = spending.check(open.chain, wallets, review, replaced, unix_time())?;
    if own_node == OwnNode::NotNeeded {
        return Ok(());
    }
    let (endpoint, via) = source.ok_or(SourceError::NotOwn)?;
    let chain = open.chain;
    let inputs = psbt.unsigned_tx.input.iter();
    let coins: Vec<OutPoint> = inputs.map(|input| input.previous_output).collect();
    let claimed = psbt.iter_funding_utxos();
    let claimed: Vec<_> = claimed.map(|output| output.ok().cloned()).collect();
    // what is replaced spends the same coins in the node's mempool
    let mempool = replaced.is_none();
    blocking(None, move |cancelled| {
        let source = Source::connect(&endpoint, &via, chain)?;
        for (coin, claimed) in coins.iter().zip(claimed) {
            cancelled.check().map_err(|_| SourceError::Cancelled)?;
            let refuse = |reason: &str| PolicyError::OwnNode {
                coin: coin.to_string(),
                reason: reason.to_owned(),
            };
            match source.unspent(*coin, mempool)? {
                None => return Err(refuse("it is spent, or never was").into()),
                Some(found) if Some(&found) != claimed.as_ref() => {
                    return Err(refuse("it has another amount or owner").into());
                }
                Some(_) => {}
            }
        }
        Ok(())
    })
    .await
}

/// Keeps a record of what was signed.
///
/// # Errors
///
/// What the store refuses.
pub fn record(
    open: &Open,
    report: &SignReport,
    review: &Review,
    txid: Option<Txid>,
    wallets: &[WalletName],
    replaces: Option<Txid>,
) -> Result<(), Report> {
    let mut spending = Spending::open(open.session.store())?;
    Ok(spending.add(Record {
        txid: txid.unwrap_or(report.txid),
        chain: open.chain,
        time: unix_time(),
        wallets: wallets.iter().map(ToString::to_string).collect(),
        leaving: review.leaving(),
        fee: review.fee,
        replaces,
        digest_before: hex::encode(report.digest_before),
        digest_after: hex::encode(report.digest_after),
        confirmed: report.confirmed.clone(),
    })?)
}
