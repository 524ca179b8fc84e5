//! [BIP-370](https://github.com/bitcoin/bips/blob/master/bip-0370.mediawiki): the transaction is
//! spread over the maps. It is put together to be worked on, and taken apart to be written again.

use bitcoin::absolute::{LOCK_TIME_THRESHOLD, LockTime};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};

use super::PsbtError;
use super::map::{
    AMOUNT, FALLBACK_LOCK_TIME, Map, Maps, NEWER_GLOBAL, NEWER_INPUT, NEWER_OUTPUT, OUTPUT_INDEX,
    PREVIOUS_TXID, REQUIRED_HEIGHT, REQUIRED_TIME, SCRIPT, SEQUENCE, TX_MODIFIABLE, TX_VERSION,
    UNSIGNED_TX, VERSION, number,
};

/// Flags of a PSBT whose inputs and outputs may still change.
const MODIFIABLE: u8 = 0b11;

/// The fields that version 0 does not have, as they were.
#[derive(Clone, Debug)]
pub(super) struct Version2 {
    global: Map,
    inputs: Vec<Map>,
    outputs: Vec<Map>,
}

impl Version2 {
    /// Turns `maps` of version 2 into those of version 0 and keeps what is left over.
    pub(super) fn take(maps: &mut Maps) -> Result<Self, PsbtError> {
        if maps.global.contains_key(&[UNSIGNED_TX][..]) {
            return Err(PsbtError::Forbidden {
                version: 2,
                field: "00".to_owned(),
            });
        }
        let mut taken = Self {
            global: split(&mut maps.global, &NEWER_GLOBAL),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        taken.global.extend(split(&mut maps.global, &[VERSION]));
        let each = maps.inputs.iter_mut();
        taken.inputs = each.map(|map| split(map, &NEWER_INPUT)).collect();
        let each = maps.outputs.iter_mut();
        taken.outputs = each.map(|map| split(map, &NEWER_OUTPUT)).collect();
        let transaction = taken.transaction()?;
        maps.global
            .insert(vec![UNSIGNED_TX], serialize(&transaction));
        Ok(taken)
    }

    /// Turns `maps` of version 0 into those of version 2.
    pub(super) fn put(&self, maps: &mut Maps, psbt: &Psbt) {
        maps.global.remove(&[UNSIGNED_TX][..]);
        maps.global.extend(self.global.clone());
        let signed = |input: &bitcoin::psbt::Input| {
            !input.partial_sigs.is_empty() || input.tap_key_sig.is_some()
        };
        if psbt.inputs.iter().any(signed)
            && let Some([flags]) = maps
                .global
                .get_mut(&[TX_MODIFIABLE][..])
                .map(|v| &mut v[..])
        {
            *flags &= !MODIFIABLE;
        }
        for (map, kept) in maps.inputs.iter_mut().zip(&self.inputs) {
            map.extend(kept.clone());
        }
        for (map, kept) in maps.outputs.iter_mut().zip(&self.outputs) {
            map.extend(kept.clone());
        }
    }

    fn transaction(&self) -> Result<Transaction, PsbtError> {
        let version = required(&self.global, TX_VERSION, "PSBT_GLOBAL_TX_VERSION")?;
        Ok(Transaction {
            version: Version(version.cast_signed()),
            lock_time: self.lock_time()?,
            input: self.inputs.iter().map(input).collect::<Result<_, _>>()?,
            output: self.outputs.iter().map(output).collect::<Result<_, _>>()?,
        })
    }

    /// Finds the lock time that all inputs can live with: a height where there is a choice.
    fn lock_time(&self) -> Result<LockTime, PsbtError> {
        let mut highest: Option<u32> = None;
        let mut latest: Option<u32> = None;
        let (mut heights, mut times) = (true, true);
        for map in &self.inputs {
            let height = optional(map, REQUIRED_HEIGHT, "PSBT_IN_REQUIRED_HEIGHT_LOCKTIME")?;
            let time = optional(map, REQUIRED_TIME, "PSBT_IN_REQUIRED_TIME_LOCKTIME")?;
            if height.is_some_and(|height| height == 0 || height >= LOCK_TIME_THRESHOLD) {
                return Err(PsbtError::Invalid("PSBT_IN_REQUIRED_HEIGHT_LOCKTIME"));
            }
            if time.is_some_and(|time| time < LOCK_TIME_THRESHOLD) {
                return Err(PsbtError::Invalid("PSBT_IN_REQUIRED_TIME_LOCKTIME"));
            }
            if height.is_some() || time.is_some() {
                heights &= height.is_some();
                times &= time.is_some();
            }
            highest = highest.max(height);
            latest = latest.max(time);
        }
        let chosen = match (highest.filter(|_| heights), latest.filter(|_| times)) {
            (Some(height), _) => height,
            (None, Some(time)) => time,
            (None, None) if highest.is_some() || latest.is_some() => {
                return Err(PsbtError::Invalid("PSBT_IN_REQUIRED_HEIGHT_LOCKTIME"));
            }
            (None, None) => {
                let name = "PSBT_GLOBAL_FALLBACK_LOCKTIME";
                optional(&self.global, FALLBACK_LOCK_TIME, name)?.unwrap_or(0)
            }
        };
        Ok(LockTime::from_consensus(chosen))
    }
}

/// Takes the fields of these types that have no key data.
fn split(map: &mut Map, fields: &[u8]) -> Map {
    let taken = fields
        .iter()
        .filter_map(|field| map.remove_entry(&[*field][..]));
    taken.collect()
}

fn optional(map: &Map, field: u8, name: &'static str) -> Result<Option<u32>, PsbtError> {
    match map.get(&[field][..]) {
        None => Ok(None),
        Some(value) => number(value).map(Some).ok_or(PsbtError::Invalid(name)),
    }
}

fn required(map: &Map, field: u8, name: &'static str) -> Result<u32, PsbtError> {
    optional(map, field, name)?.ok_or(PsbtError::Missing(name))
}

fn input(map: &Map) -> Result<TxIn, PsbtError> {
    let name = "PSBT_IN_PREVIOUS_TXID";
    let txid = map
        .get(&[PREVIOUS_TXID][..])
        .ok_or(PsbtError::Missing(name))?;
    let txid = Txid::from_slice(txid).map_err(|_| PsbtError::Invalid(name))?;
    let vout = required(map, OUTPUT_INDEX, "PSBT_IN_OUTPUT_INDEX")?;
    let sequence = optional(map, SEQUENCE, "PSBT_IN_SEQUENCE")?;
    Ok(TxIn {
        previous_output: OutPoint::new(txid, vout),
        script_sig: ScriptBuf::new(),
        sequence: sequence.map_or(Sequence::MAX, Sequence),
        witness: Witness::new(),
    })
}

fn output(map: &Map) -> Result<TxOut, PsbtError> {
    let name = "PSBT_OUT_AMOUNT";
    let amount = map.get(&[AMOUNT][..]).ok_or(PsbtError::Missing(name))?;
    let amount = <[u8; 8]>::try_from(&amount[..]).map_err(|_| PsbtError::Invalid(name))?;
    let amount = u64::try_from(i64::from_le_bytes(amount)).map_err(|_| PsbtError::Invalid(name))?;
    let script = map
        .get(&[SCRIPT][..])
        .ok_or(PsbtError::Missing("PSBT_OUT_SCRIPT"))?;
    Ok(TxOut {
        value: Amount::from_sat(amount),
        script_pubkey: ScriptBuf::from_bytes(script.clone()),
    })
}
