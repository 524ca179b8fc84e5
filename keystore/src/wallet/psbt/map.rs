//! The maps that a PSBT is made of, whatever their fields mean.

use bitcoin::VarInt;
use bitcoin::consensus::{Decodable, serialize};
use std::collections::BTreeMap;

use super::{MAGIC, PsbtError};

/// Fields of one map, by type and key data.
pub(super) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) const UNSIGNED_TX: u8 = 0x00;
pub(super) const TX_VERSION: u8 = 0x02;
pub(super) const FALLBACK_LOCK_TIME: u8 = 0x03;
pub(super) const INPUT_COUNT: u8 = 0x04;
pub(super) const OUTPUT_COUNT: u8 = 0x05;
pub(super) const TX_MODIFIABLE: u8 = 0x06;
pub(super) const VERSION: u8 = 0xfb;
pub(super) const PREVIOUS_TXID: u8 = 0x0e;
pub(super) const OUTPUT_INDEX: u8 = 0x0f;
pub(super) const SEQUENCE: u8 = 0x10;
pub(super) const REQUIRED_TIME: u8 = 0x11;
pub(super) const REQUIRED_HEIGHT: u8 = 0x12;
pub(super) const AMOUNT: u8 = 0x03;
pub(super) const SCRIPT: u8 = 0x04;

/// Fields that version 2 alone has.
pub(super) const NEWER_GLOBAL: [u8; 5] = [
    TX_VERSION,
    FALLBACK_LOCK_TIME,
    INPUT_COUNT,
    OUTPUT_COUNT,
    TX_MODIFIABLE,
];
pub(super) const NEWER_INPUT: [u8; 5] = [
    PREVIOUS_TXID,
    OUTPUT_INDEX,
    SEQUENCE,
    REQUIRED_TIME,
    REQUIRED_HEIGHT,
];
pub(super) const NEWER_OUTPUT: [u8; 2] = [AMOUNT, SCRIPT];

/// All maps of a PSBT.
#[derive(Debug)]
pub(super) struct Maps {
    pub(super) global: Map,
    pub(super) inputs: Vec<Map>,
    pub(super) outputs: Vec<Map>,
}

impl Maps {
    /// Takes a PSBT apart and returns its version.
    pub(super) fn parse(bytes: &[u8]) -> Result<(Self, u32), PsbtError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(PsbtError::NotPsbt)?;
        let global = map(&mut rest)?;
        let version = match global.get(&[VERSION][..]) {
            Some(value) => number(value).ok_or(PsbtError::Invalid("PSBT_GLOBAL_VERSION"))?,
            None => 0,
        };
        let (inputs, outputs) = match version {
            0 => counts_of_transaction(&global)?,
            2 => (
                count(&global, INPUT_COUNT, "PSBT_GLOBAL_INPUT_COUNT")?,
                count(&global, OUTPUT_COUNT, "PSBT_GLOBAL_OUTPUT_COUNT")?,
            ),
            other => return Err(PsbtError::Version(other)),
        };
        let mut maps = |count: u64| -> Result<Vec<Map>, PsbtError> {
            (0..count).map(|_| map(&mut rest)).collect()
        };
        let maps = Self {
            inputs: maps(inputs)?,
            outputs: maps(outputs)?,
            global,
        };
        match rest.len() {
            0 => Ok((maps, version)),
            more => Err(PsbtError::Trailing(more)),
        }
    }

    /// Refuses fields of version 2 in version 0.
    pub(super) fn refuse_newer_fields(&self) -> Result<(), PsbtError> {
        let found = newest(&self.global, &NEWER_GLOBAL)
            .or_else(|| self.inputs.iter().find_map(|map| newest(map, &NEWER_INPUT)))
            .or_else(|| {
                self.outputs
                    .iter()
                    .find_map(|map| newest(map, &NEWER_OUTPUT))
            });
        match found {
            None => Ok(()),
            Some(field) => Err(PsbtError::Forbidden {
                version: 0,
                field: format!("{field:02x}"),
            }),
        }
    }

    /// Puts a PSBT together.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let maps = std::iter::once(&self.global)
            .chain(&self.inputs)
            .chain(&self.outputs);
        for map in maps {
            for (key, value) in map {
                bytes.extend(serialize(key));
                bytes.extend(serialize(value));
            }
            bytes.push(0);
        }
        bytes
    }
}

fn newest(map: &Map, fields: &[u8]) -> Option<u8> {
    fields
        .iter()
        .copied()
        .find(|field| map.contains_key(&[*field][..]))
}

fn counts_of_transaction(global: &Map) -> Result<(u64, u64), PsbtError> {
    let bytes = global.get(&[UNSIGNED_TX][..]).ok_or(PsbtError::Malformed(
        bitcoin::psbt::Error::MustHaveUnsignedTx,
    ))?;
    let counts = unsigned_counts(bytes);
    counts.ok_or(PsbtError::Malformed(
        bitcoin::psbt::Error::MustHaveUnsignedTx,
    ))
}

/// Counts the inputs and outputs of a transaction that is written without witnesses.
fn unsigned_counts(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut rest = bytes.get(4..)?;
    let inputs = VarInt::consensus_decode(&mut rest).ok()?.0;
    for _ in 0..inputs {
        rest = rest.get(36..)?;
        let script = VarInt::consensus_decode(&mut rest).ok()?.0;
        rest = rest.get(usize::try_from(script).ok()?..)?.get(4..)?;
    }
    Some((inputs, VarInt::consensus_decode(&mut rest).ok()?.0))
}

fn count(global: &Map, field: u8, name: &'static str) -> Result<u64, PsbtError> {
    let mut value = &global.get(&[field][..]).ok_or(PsbtError::Missing(name))?[..];
    let count = VarInt::consensus_decode(&mut value).map_err(|_| PsbtError::Invalid(name))?;
    if value.is_empty() {
        Ok(count.0)
    } else {
        Err(PsbtError::Invalid(name))
    }
}

pub(super) fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(value.try_into().ok()?))
}

fn map(rest: &mut &[u8]) -> Result<Map, PsbtError> {
    let mut map = Map::new();
    loop {
        let key = bytes(rest)?;
        if key.is_empty() {
            return Ok(map);
        }
        let value = bytes(rest)?;
        if map.insert(key.to_vec(), value.to_vec()).is_some() {
            return Err(PsbtError::Duplicate(hex::encode(key)));
        }
    }
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], PsbtError> {
    let length = VarInt::consensus_decode(rest).map_err(|_| PsbtError::Truncated)?;
    let length = usize::try_from(length.0).map_err(|_| PsbtError::Truncated)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(PsbtError::Truncated)?;
    *rest = after;
    Ok(bytes)
}
