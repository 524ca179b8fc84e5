//! Everything that is checked before the device is asked.

use std::collections::{BTreeSet, HashMap};

use bitcoin::bip32::{ChildNumber, DerivationPath, KeySource};
use bitcoin::psbt::{Input, PsbtSighashType};
use bitcoin::{
    Amount, EcdsaSighashType, OutPoint, Psbt, PublicKey, TapSighashType, Transaction, TxOut, Txid,
};

use super::accounts::{Accounts, account_of};
use super::error::{ClaimError, FeeAlarm, SignError};
use super::template::{Claims, Own, ScriptKind};
use super::{AccountKey, SignRequest};
use crate::chain::Chain;

/// Accounts of one wallet in one transaction; more, and someone makes the device work for nothing.
const MAX_ACCOUNTS: usize = 64;

/// Percent of what is sent, above which a fee is absurd.
const MAX_FEE_PERCENT: u64 = 10;

/// Satoshi for a virtual byte, above which a fee is absurd.
const MAX_FEE_RATE: u64 = 1000;

/// A PSBT whose claims hold.
#[derive(Debug)]
pub(super) struct Checked {
    /// What is signed.
    pub(super) transaction: Transaction,
    /// What each input spends.
    pub(super) spent: Vec<TxOut>,
    /// Inputs that this wallet signs.
    pub(super) inputs: Vec<Option<Own>>,
    /// Outputs that come back to it.
    pub(super) outputs: Vec<Option<Own>>,
    /// What the miners get.
    pub(super) fee: Amount,
    /// The transactions that are spent, as far as they are known.
    pub(super) previous: HashMap<Txid, Transaction>,
    txid: Txid,
}

impl Checked {
    pub(super) fn txid(&self) -> Txid {
        self.txid
    }

    /// Tells whether the device reads no previous transactions.
    pub(super) fn is_taproot_only(&self) -> bool {
        let kinds = self.inputs.iter().flatten().map(|own| own.template.kind);
        kinds.into_iter().all(|kind| kind == ScriptKind::P2tr)
    }
}

/// Returns the accounts of this wallet that the PSBT names and the request does not know.
pub(super) fn unknown_accounts(
    psbt: &Psbt,
    request: &SignRequest,
) -> Result<Vec<DerivationPath>, SignError> {
    let inputs = psbt.inputs.iter().map(Claims::from);
    let claims = inputs.chain(psbt.outputs.iter().map(Claims::from));
    let accounts = Accounts::new(&request.accounts);
    let mut wanted = BTreeSet::new();
    for source in claims.flat_map(|claims| claims.sources()) {
        if source.0 != request.fingerprint {
            continue;
        }
        check_chain(&source.1, request.chain)?;
        let account = account_of(&source.1);
        if !account.is_empty() && accounts.find(source).is_none() {
            wanted.insert(DerivationPath::from(account.to_vec()));
        }
    }
    if wanted.len() > MAX_ACCOUNTS {
        return Err(SignError::TooManyAccounts(wanted.len()));
    }
    Ok(wanted.into_iter().collect())
}

/// Refuses keys that stand where another chain's keys are, see
/// [SLIP-0044](https://github.com/satoshilabs/slips/blob/master/slip-0044.md).
fn check_chain(path: &DerivationPath, chain: Chain) -> Result<(), SignError> {
    let steps: &[ChildNumber] = path.as_ref();
    let [
        ChildNumber::Hardened {
            index: 44 | 48 | 49 | 84 | 86,
        },
        ChildNumber::Hardened { index: coin },
        ..,
    ] = steps
    else {
        return Ok(());
    };
    if *coin == u32::from(chain != Chain::Mainnet) {
        return Ok(());
    }
    Err(SignError::OtherChain {
        chain,
        path: path.clone().into(),
    })
}

/// Checks what a PSBT claims.
pub(super) fn check(psbt: &Psbt, request: &SignRequest) -> Result<Checked, SignError> {
    let transaction = psbt.unsigned_tx.clone();
    let mut previous = HashMap::new();
    let mut spent = Vec::with_capacity(psbt.inputs.len());
    for index in 0..psbt.inputs.len() {
        spent.push(spent_output(psbt, index, request, &mut previous)?);
    }
    let known = known_accounts(psbt, request);
    let mut keys = Keys {
        accounts: Accounts::new(&known),
        cosigners_known: cosigners_known(request),
    };
    let mut inputs = Vec::with_capacity(psbt.inputs.len());
    for (index, (input, output)) in psbt.inputs.iter().zip(&spent).enumerate() {
        let own = if is_final(input) {
            None
        } else {
            let claims = Claims::from(input);
            let own = claims.own(&output.script_pubkey, request.fingerprint);
            let own = own.and_then(|own| keys.check(own));
            own.map_err(|source| SignError::Input {
                input: index,
                source,
            })?
        };
        if own.is_some() && !request.allow_sighash {
            check_sighash(index, input)?;
        }
        inputs.push(own);
    }
    if psbt.inputs.iter().all(is_final) {
        return Err(SignError::AllFinal);
    }
    if inputs.iter().all(Option::is_none) {
        return Err(SignError::NothingToSign(request.fingerprint));
    }
    let mut outputs = Vec::with_capacity(psbt.outputs.len());
    for (index, output) in psbt.outputs.iter().enumerate() {
        let script = &transaction.output[index].script_pubkey;
        let own = Claims::from(output).own(script, request.fingerprint);
        let own = own.and_then(|own| keys.check(own));
        let own = own.map_err(|source| SignError::Output {
            output: index,
            source,
        })?;
        outputs.push(own.filter(|own| keys.can_be_shown(own)));
    }
    let fee = fee(&transaction, &spent)?;
    let txid = transaction.compute_txid();
    let checked = Checked {
        transaction,
        spent,
        inputs,
        outputs,
        fee,
        previous,
        txid,
    };
    if !checked.is_taproot_only() {
        check_previous(&checked)?;
    }
    if !request.allow_fee {
        check_fee(psbt, &checked)?;
    }
    Ok(checked)
}

/// Returns the account keys that are believed: the caller's, and where that names no cosigners, those
/// that the PSBT names for them. Never one that the PSBT names for this wallet.
pub(super) fn known_accounts(psbt: &Psbt, request: &SignRequest) -> Vec<AccountKey> {
    let told = psbt.xpub.iter().map(|(xpub, source)| AccountKey {
        fingerprint: source.0,
        path: source.1.clone(),
        xpub: *xpub,
    });
    let told = told
        .filter(|account| !cosigners_known(request) && account.fingerprint != request.fingerprint)
        .take(MAX_ACCOUNTS);
    request.accounts.iter().cloned().chain(told).collect()
}

fn cosigners_known(request: &SignRequest) -> bool {
    let mut accounts = request.accounts.iter();
    accounts.any(|account| account.fingerprint != request.fingerprint)
}

fn is_final(input: &Input) -> bool {
    input.final_script_sig.is_some() || input.final_script_witness.is_some()
}

/// Finds what an input spends, and compares what is said of it in several places.
fn spent_output(
    psbt: &Psbt,
    index: usize,
    request: &SignRequest,
    known: &mut HashMap<Txid, Transaction>,
) -> Result<TxOut, SignError> {
    let input = &psbt.inputs[index];
    let OutPoint { txid, vout } = psbt.unsigned_tx.input[index].previous_output;
    if let Some(previous) = &input.non_witness_utxo {
        let given = previous.compute_txid();
        if given != txid {
            return Err(SignError::OtherPrevious {
                input: index,
                given,
                spent: txid,
            });
        }
        known.entry(txid).or_insert_with(|| previous.clone());
    } else if !known.contains_key(&txid) {
        let stored = request.previous.get(&txid);
        let stored = stored.filter(|stored| stored.compute_txid() == txid);
        known.extend(stored.map(|stored| (txid, stored)));
    }
    let Some(previous) = known.get(&txid) else {
        return input.witness_utxo.clone().ok_or(SignError::NoUtxo(index));
    };
    let place = usize::try_from(vout).unwrap_or(usize::MAX);
    let found = previous.output.get(place).ok_or(SignError::NoSuchOutput {
        input: index,
        txid,
        vout,
    })?;
    if let Some(told) = &input.witness_utxo {
        if told.value != found.value {
            return Err(SignError::AmountLie {
                input: index,
                told: told.value,
                found: found.value,
            });
        }
        if told.script_pubkey != found.script_pubkey {
            return Err(SignError::ScriptLie(index));
        }
    }
    Ok(found.clone())
}

/// Compares keys with the accounts that they are said to be of.
struct Keys<'a> {
    accounts: Accounts<'a>,
    cosigners_known: bool,
}

impl Keys<'_> {
    fn check(&mut self, own: Option<Own>) -> Result<Option<Own>, ClaimError> {
        let Some(own) = own else { return Ok(None) };
        if !self
            .is_key_of(&own.source, &own.key, own.template.kind)
            .unwrap_or(true)
        {
            return Err(ClaimError::NotOurKey(own.source.1.into()));
        }
        let keys = own.template.multisig.iter().flat_map(|(_, keys)| keys);
        for (key, source) in keys.zip(&own.cosigners) {
            let known = source
                .as_ref()
                .and_then(|source| self.is_key_of(source, key, own.template.kind));
            match (known, source) {
                (Some(true), _) => {}
                (Some(false), Some((fingerprint, _))) => {
                    return Err(ClaimError::NotCosignersKey(*fingerprint));
                }
                _ if self.cosigners_known => {
                    return Err(ClaimError::UnknownCosigner(key.to_string()));
                }
                _ => {}
            }
        }
        Ok(Some(own))
    }

    /// Tells whether `key` is the key of that account there; `None` where the account is unknown.
    fn is_key_of(&mut self, source: &KeySource, key: &PublicKey, kind: ScriptKind) -> Option<bool> {
        let derived = self.accounts.derive(source)?;
        Some(if kind == ScriptKind::P2tr {
            derived.x_only_public_key().0 == key.inner.x_only_public_key().0
        } else {
            derived == key.inner
        })
    }

    /// Tells whether the device can derive the script itself, and so tell change from a payment.
    fn can_be_shown(&self, own: &Own) -> bool {
        let known = |source: &KeySource| self.accounts.find(source).is_some();
        known(&own.source)
            && own
                .cosigners
                .iter()
                .all(|source| source.as_ref().is_some_and(known))
    }
}

fn check_sighash(index: usize, input: &Input) -> Result<(), SignError> {
    let Some(asked) = input.sighash_type else {
        return Ok(());
    };
    let all = [
        PsbtSighashType::from(EcdsaSighashType::All),
        PsbtSighashType::from(TapSighashType::Default),
    ];
    if all.contains(&asked) {
        return Ok(());
    }
    Err(SignError::Sighash {
        input: index,
        sighash: asked.to_string(),
    })
}

/// Makes sure that every transaction is there that the device will ask for.
fn check_previous(checked: &Checked) -> Result<(), SignError> {
    for (index, input) in checked.transaction.input.iter().enumerate() {
        let txid = input.previous_output.txid;
        if !checked.previous.contains_key(&txid) {
            return Err(SignError::MissingPrevious { input: index, txid });
        }
    }
    Ok(())
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Result<Amount, SignError> {
    let mut sum = Amount::ZERO;
    for amount in amounts {
        sum = sum
            .checked_add(amount)
            .filter(|sum| *sum <= Amount::MAX_MONEY)
            .ok_or(SignError::TooMuch)?;
    }
    Ok(sum)
}

fn fee(transaction: &Transaction, spent: &[TxOut]) -> Result<Amount, SignError> {
    let paid = sum(transaction.output.iter().map(|output| output.value))?;
    let spent = sum(spent.iter().map(|output| output.value))?;
    spent
        .checked_sub(paid)
        .ok_or(SignError::NotEnough { paid, spent })
}

fn check_fee(psbt: &Psbt, checked: &Checked) -> Result<(), SignError> {
    let outputs = checked.transaction.output.iter().zip(&checked.outputs);
    let sent = outputs
        .filter(|(_, own)| own.is_none())
        .map(|(output, _)| output.value);
    let sent = match sum(sent)? {
        Amount::ZERO => sum(checked.spent.iter().map(|output| output.value))?,
        sent => sent,
    };
    let fee = checked.fee.to_sat();
    let size = super::review::virtual_size(psbt, &checked.spent);
    let alarm = FeeAlarm {
        fee: checked.fee,
        percent: fee.saturating_mul(100) / sent.to_sat().max(1),
        rate: fee / size.max(1),
    };
    let absurd = fee.saturating_mul(100) > sent.to_sat().saturating_mul(MAX_FEE_PERCENT)
        || fee > size.saturating_mul(MAX_FEE_RATE);
    if absurd {
        return Err(SignError::AbsurdFee(alarm));
    }
    Ok(())
}
