//! A PSBT in plain words: what goes where, what it costs, what is odd about it.

use bitcoin::bip32::Fingerprint;
use bitcoin::psbt::{Input, PsbtSighashType};
use bitcoin::{Address, Amount, EcdsaSighashType, Psbt, TapSighashType, TxOut};
use serde::Serialize;

use super::network;
use super::template::{Claims, ScriptKind, Template};
use crate::chain::Chain;

/// A PSBT in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Id of the unsigned transaction; another in the end, where an input gets a script.
    pub txid: String,
    /// Version of the transaction.
    pub version: i32,
    /// Its lock time.
    pub lock_time: u32,
    /// What is spent.
    pub inputs: Vec<InputReview>,
    /// Where it goes.
    pub outputs: Vec<OutputReview>,
    /// What the miners get, in satoshi, where all amounts are known.
    pub fee: Option<u64>,
    /// Size of the signed transaction in virtual bytes, about.
    pub virtual_size: u64,
    /// What is odd.
    pub warnings: Vec<String>,
}

/// An input in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputReview {
    /// Transaction and output that it spends.
    pub spends: String,
    /// Satoshi that it holds, where that is known.
    pub amount: Option<u64>,
    /// The address that it was paid to.
    pub address: Option<String>,
    /// How it is spent.
    pub script: Option<String>,
    /// Where the key of this wallet is said to live.
    pub path: Option<String>,
    /// Signatures that it has.
    pub signatures: usize,
    /// Signatures that it takes, where that is known.
    pub needed: Option<usize>,
    /// Whether it needs nothing more.
    pub is_final: bool,
}

/// An output in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutputReview {
    /// Satoshi.
    pub amount: u64,
    /// The address, `data` or the script.
    pub to: String,
    /// Whether it is said to come back to the wallet.
    pub is_change: bool,
    /// Where its key is said to live.
    pub path: Option<String>,
}

impl Review {
    /// Reviews `psbt` as the wallet `fingerprint` sees it, or as the one that all inputs name.
    ///
    /// Nothing is asked of a device: what the PSBT claims of change is checked when it is signed.
    pub fn of(psbt: &Psbt, chain: Chain, fingerprint: Option<Fingerprint>) -> Self {
        let fingerprint = fingerprint.or_else(|| common_wallet(psbt));
        let transaction = &psbt.unsigned_tx;
        let spent: Vec<Option<TxOut>> = (0..psbt.inputs.len())
            .map(|index| psbt.spend_utxo(index).ok().cloned())
            .collect();
        let inputs: Vec<InputReview> = psbt
            .inputs
            .iter()
            .zip(&transaction.input)
            .zip(&spent)
            .map(|((input, spends), spent)| {
                let outpoint = spends.previous_output.to_string();
                review_input(input, outpoint, spent.as_ref(), chain, fingerprint)
            })
            .collect();
        let outputs: Vec<OutputReview> = transaction
            .output
            .iter()
            .zip(&psbt.outputs)
            .map(|(output, claims)| {
                let path = own_path(&Claims::from(claims), output, fingerprint);
                OutputReview {
                    amount: output.value.to_sat(),
                    to: destination(output, chain),
                    is_change: path.is_some(),
                    path,
                }
            })
            .collect();
        let known: Option<Vec<TxOut>> = spent.into_iter().collect();
        let known = known.unwrap_or_default();
        let held: u128 = known
            .iter()
            .map(|output| u128::from(output.value.to_sat()))
            .sum();
        let outs = transaction.output.iter();
        let paid: u128 = outs.map(|output| u128::from(output.value.to_sat())).sum();
        let complete = known.len() == transaction.input.len();
        let fee = held
            .checked_sub(paid)
            .and_then(|fee| u64::try_from(fee).ok());
        let mut review = Self {
            txid: transaction.compute_txid().to_string(),
            version: transaction.version.0,
            lock_time: transaction.lock_time.to_consensus_u32(),
            inputs,
            outputs,
            fee: fee.filter(|_| complete),
            virtual_size: virtual_size(psbt, &known),
            warnings: Vec::new(),
        };
        review.warn(psbt, complete);
        review
    }

    fn warn(&mut self, psbt: &Psbt, complete: bool) {
        let mut warnings = Vec::new();
        if !complete {
            warnings.push("not every input says what it spends: the fee is not known".to_owned());
        } else if self.fee.is_none() {
            warnings.push("the outputs pay more than the inputs hold".to_owned());
        }
        if let Some(fee) = self.fee {
            let payments = self.outputs.iter().filter(|output| !output.is_change);
            let sent: u64 = payments.fold(0, |sum, output| sum.saturating_add(output.amount));
            let rate = fee / self.virtual_size.max(1);
            if sent > 0 && fee.saturating_mul(10) > sent {
                let percent = fee.saturating_mul(100) / sent;
                warnings.push(format!("the fee is {percent} % of what is sent"));
            }
            if rate > 1000 {
                warnings.push(format!("the fee is {rate} sat/vB"));
            }
        }
        if self
            .outputs
            .iter()
            .filter(|output| output.is_change)
            .count()
            > 2
        {
            warnings.push("more than two outputs come back to the wallet".to_owned());
        }
        for (index, input) in psbt.inputs.iter().enumerate() {
            let outpoint = psbt.unsigned_tx.input[index].previous_output;
            if let Some(previous) = &input.non_witness_utxo {
                if previous.compute_txid() != outpoint.txid {
                    warnings.push(format!(
                        "input {index} comes with another transaction than it spends"
                    ));
                } else if let (Some(told), Some(found)) = (
                    &input.witness_utxo,
                    previous
                        .output
                        .get(usize::try_from(outpoint.vout).unwrap_or(usize::MAX)),
                ) && told != found
                {
                    warnings.push(format!(
                        "input {index} is said to hold {}, its transaction says {}",
                        told.value, found.value
                    ));
                }
            }
            if let Some(sighash) = input.sighash_type.filter(|asked| !covers_all(*asked)) {
                warnings.push(format!(
                    "input {index} asks for a signature of type {sighash}, which leaves parts open"
                ));
            }
        }
        let sequences = psbt.unsigned_tx.input.iter().map(|input| input.sequence);
        if self.lock_time > 0 && sequences.clone().all(|sequence| sequence.is_final()) {
            warnings.push("the lock time has no effect: every sequence is final".to_owned());
        }
        self.warnings = warnings;
    }
}

fn covers_all(asked: PsbtSighashType) -> bool {
    asked == EcdsaSighashType::All.into() || asked == TapSighashType::Default.into()
}

/// Returns the one wallet that has a key of every input.
fn common_wallet(psbt: &Psbt) -> Option<Fingerprint> {
    let mut inputs = psbt.inputs.iter().map(Claims::from);
    let mut common: Vec<Fingerprint> = inputs.next()?.sources().map(|source| source.0).collect();
    for claims in inputs {
        common.retain(|found| claims.sources().any(|source| source.0 == *found));
    }
    common.dedup();
    common.into_iter().next()
}

fn review_input(
    input: &Input,
    spends: String,
    spent: Option<&TxOut>,
    chain: Chain,
    fingerprint: Option<Fingerprint>,
) -> InputReview {
    let template = spent.and_then(|spent| {
        let (redeem, witness) = (&input.redeem_script, &input.witness_script);
        Template::of(&spent.script_pubkey, redeem.as_ref(), witness.as_ref()).ok()
    });
    let needed = template
        .as_ref()
        .map(|template| template.multisig.as_ref().map_or(1, |(needed, _)| *needed));
    let claims = Claims::from(input);
    InputReview {
        spends,
        amount: spent.map(|spent| spent.value.to_sat()),
        address: spent.map(|spent| destination(spent, chain)),
        script: template.map(|template| template.kind.name().to_owned()),
        path: spent.and_then(|spent| own_path(&claims, spent, fingerprint)),
        signatures: input.partial_sigs.len() + usize::from(input.tap_key_sig.is_some()),
        needed,
        is_final: input.final_script_sig.is_some() || input.final_script_witness.is_some(),
    }
}

fn own_path(
    claims: &Claims<'_>,
    output: &TxOut,
    fingerprint: Option<Fingerprint>,
) -> Option<String> {
    let own = claims.own(&output.script_pubkey, fingerprint?).ok()??;
    Some(crate::path::DerivationPath::from(own.source.1).to_string())
}

fn destination(output: &TxOut, chain: Chain) -> String {
    let script = &output.script_pubkey;
    match Address::from_script(script, network(chain)) {
        Ok(address) => address.to_string(),
        Err(_) if script.is_op_return() => format!("data {}", hex::encode(&script.as_bytes()[1..])),
        Err(_) => format!("script {}", hex::encode(script.as_bytes())),
    }
}

/// Returns the size of the signed transaction in virtual bytes, with the largest signatures.
pub fn virtual_size(psbt: &Psbt, spent: &[TxOut]) -> u64 {
    let transaction = &psbt.unsigned_tx;
    let mut units = 4 * transaction.base_size() as u64;
    let (mut witnesses, mut plain) = (false, 0);
    for (index, input) in psbt.inputs.iter().enumerate() {
        let (script, witness) = satisfaction(input, spent.get(index));
        units += 4 * script + witness;
        witnesses |= witness > 0;
        plain += u64::from(witness == 0);
    }
    if witnesses {
        units += 2 + plain;
    }
    units.div_ceil(4)
}

/// Returns the bytes of script and witness that an input takes; its own count is of one byte.
fn satisfaction(input: &Input, spent: Option<&TxOut>) -> (u64, u64) {
    const SIGNATURE: u64 = 1 + 72;
    const KEY: u64 = 1 + 33;
    if input.final_script_sig.is_some() || input.final_script_witness.is_some() {
        let script = input
            .final_script_sig
            .as_ref()
            .map_or(0, |script| script.len());
        let witness = input.final_script_witness.as_ref();
        return (
            script as u64,
            witness.map_or(0, bitcoin::Witness::size) as u64,
        );
    }
    let Some(spent) = spent else { return (0, 0) };
    let (redeem, witness) = (&input.redeem_script, &input.witness_script);
    let template = Template::of(&spent.script_pubkey, redeem.as_ref(), witness.as_ref());
    let Ok(template) = template else {
        return (0, 0);
    };
    let script = template.inner.len() as u64;
    let needed = template
        .multisig
        .as_ref()
        .map_or(1, |(needed, _)| *needed as u64);
    let many = 1 + needed * SIGNATURE + 3 + script;
    match template.kind {
        ScriptKind::P2pkh => (SIGNATURE + KEY, 0),
        ScriptKind::P2wpkh => (0, 1 + SIGNATURE + KEY),
        ScriptKind::P2shP2wpkh => (23, 1 + SIGNATURE + KEY),
        ScriptKind::P2tr => (0, 1 + 1 + 64),
        ScriptKind::P2shMultisig => (many + 2, 0),
        ScriptKind::P2wshMultisig => (0, 1 + many),
        ScriptKind::P2shP2wshMultisig => (35, 1 + many),
    }
}

/// Writes satoshi as bitcoins.
pub fn in_bitcoin(satoshi: u64) -> String {
    Amount::from_sat(satoshi).to_string()
}
