//! The vectors of the specifications, and what they leave out.

use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;

use super::map::{
    AMOUNT, INPUT_COUNT, Map, Maps, OUTPUT_COUNT, OUTPUT_INDEX, PREVIOUS_TXID, REQUIRED_HEIGHT,
    REQUIRED_TIME, SCRIPT, SEQUENCE, TX_MODIFIABLE, TX_VERSION, UNSIGNED_TX, VERSION,
};
use super::*;

#[derive(Deserialize)]
struct Vectors {
    bip174: Cases,
    bip371: Cases,
    bip370: Valid,
}

#[derive(Deserialize)]
struct Valid {
    valid: Vec<String>,
}

#[derive(Deserialize)]
struct Cases {
    valid: Vec<String>,
    invalid: Vec<String>,
}

fn vectors() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/psbt.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn valid() -> Vec<String> {
    let Vectors { bip174, bip371, .. } = vectors();
    bip174.valid.into_iter().chain(bip371.valid).collect()
}

#[test]
fn valid_psbts_of_bip_174_and_371_are_read_and_written_again() {
    let all = valid();
    assert_eq!(all.len(), 12);
    for text in all {
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.encoding, Encoding::Base64);
        assert_eq!(document.version(), 0);
        let again = Document::parse(&document.to_bytes()).unwrap();
        assert_eq!(again.psbt, document.psbt);
        assert_eq!(again.encoding, Encoding::Binary);
        let hex = hex::encode(document.to_bytes());
        assert_eq!(Document::parse(hex.as_bytes()).unwrap().psbt, document.psbt);
    }
}

#[test]
fn invalid_psbts_of_bip_174_and_371_are_refused() {
    let Vectors { bip174, bip371, .. } = vectors();
    assert_eq!((bip174.invalid.len(), bip371.invalid.len()), (5, 10));
    for text in bip174.invalid.iter().chain(&bip371.invalid) {
        assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_psbt_that_is_cut_off_or_has_more_behind_is_refused() {
    let bytes = Document::parse(valid()[0].as_bytes()).unwrap().to_bytes();
    for length in 0..bytes.len() {
        assert!(Document::parse(&bytes[..length]).is_err(), "{length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let error = Document::parse(&longer).unwrap_err();
    assert!(matches!(error, PsbtError::Trailing(1)), "{error}");
    let wrapped = BASE64
        .encode(&bytes)
        .chars()
        .fold(String::new(), |text, c| text + &format!("{c}\n"));
    assert!(Document::parse(wrapped.as_bytes()).is_ok());
}

#[test]
fn what_is_too_long_or_no_psbt_at_all_is_refused() {
    let mut huge = MAGIC.to_vec();
    huge.resize(MAX_PSBT + 1, 0);
    assert!(matches!(Document::parse(&huge), Err(PsbtError::TooLong)));
    let text = BASE64.encode(&huge);
    assert!(matches!(
        Document::parse(text.as_bytes()),
        Err(PsbtError::TooLong)
    ));
    for bytes in [&b""[..], b"hello", b"psbt", b"PSBT\xff", b"0100"] {
        assert!(matches!(Document::parse(bytes), Err(PsbtError::NotPsbt)));
    }
    assert!(matches!(Document::parse(b"cHNidP8?"), Err(PsbtError::Text)));
    // counts that no memory could hold end with the bytes
    let claims = [
        MAGIC,
        &[1, 0xfb, 4, 2, 0, 0, 0, 1, 4, 9],
        &[0xff; 9],
        &[1, 5, 1, 0, 0],
    ]
    .concat();
    assert!(matches!(
        Document::parse(&claims),
        Err(PsbtError::Truncated)
    ));
}

#[test]
fn the_same_field_twice_is_refused() {
    let bytes = Document::parse(valid()[0].as_bytes()).unwrap().to_bytes();
    let (maps, _) = Maps::parse(&bytes).unwrap();
    let transaction = &maps.global[&vec![UNSIGNED_TX]];
    let pair = [
        bitcoin::consensus::serialize(&vec![UNSIGNED_TX]),
        bitcoin::consensus::serialize(transaction),
    ]
    .concat();
    let twice = [MAGIC, &pair, &bytes[MAGIC.len()..]].concat();
    assert!(matches!(
        Document::parse(&twice),
        Err(PsbtError::Duplicate(_))
    ));
}

/// Writes a PSBT of version 0 as one of version 2.
fn as_version_2(document: &Document) -> Maps {
    let (mut maps, _) = Maps::parse(&document.to_bytes()).unwrap();
    let transaction = &document.psbt.unsigned_tx;
    let put = |map: &mut Map, field: u8, value: &[u8]| map.insert(vec![field], value.to_vec());
    maps.global.remove(&vec![UNSIGNED_TX]);
    put(&mut maps.global, VERSION, &2_u32.to_le_bytes());
    put(
        &mut maps.global,
        TX_VERSION,
        &transaction.version.0.to_le_bytes(),
    );
    let count = |n: usize| bitcoin::consensus::serialize(&bitcoin::VarInt::from(n));
    put(
        &mut maps.global,
        INPUT_COUNT,
        &count(transaction.input.len()),
    );
    put(
        &mut maps.global,
        OUTPUT_COUNT,
        &count(transaction.output.len()),
    );
    for (map, input) in maps.inputs.iter_mut().zip(&transaction.input) {
        let outpoint = input.previous_output;
        put(
            map,
            PREVIOUS_TXID,
            &bitcoin::consensus::serialize(&outpoint.txid),
        );
        put(map, OUTPUT_INDEX, &outpoint.vout.to_le_bytes());
        put(map, SEQUENCE, &input.sequence.0.to_le_bytes());
        let lock_time = transaction.lock_time.to_consensus_u32();
        if lock_time > 0 {
            put(map, REQUIRED_HEIGHT, &lock_time.to_le_bytes());
        }
    }
    for (map, output) in maps.outputs.iter_mut().zip(&transaction.output) {
        put(map, AMOUNT, &output.value.to_sat().to_le_bytes());
        put(map, SCRIPT, output.script_pubkey.as_bytes());
    }
    maps
}

#[test]
fn a_psbt_of_version_2_is_the_same_transaction_and_stays_of_version_2() {
    for text in valid() {
        let old = Document::parse(text.as_bytes()).unwrap();
        let bytes = as_version_2(&old).to_bytes();
        let new = Document::parse(&bytes).unwrap();
        assert_eq!(new.version(), 2);
        assert_eq!(new.psbt, old.psbt);
        assert_eq!(new.to_bytes(), bytes);
    }
}

#[test]
fn valid_psbts_of_bip_370_are_read_and_written_again() {
    let all = vectors().bip370.valid;
    assert_eq!(all.len(), 10);
    let mut lock_times = Vec::new();
    for text in &all {
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.version(), 2, "{text}");
        let transaction = &document.psbt.unsigned_tx;
        assert_eq!((transaction.input.len(), transaction.output.len()), (1, 2));
        lock_times.push(transaction.lock_time.to_consensus_u32());
        // a map has no order: field for field, it is what came
        let maps = |bytes: &[u8]| Maps::parse(bytes).unwrap().0.to_bytes();
        let came = BASE64.decode(text).unwrap();
        assert_eq!(maps(&document.to_bytes()), maps(&came), "{text}");
        let again = Document::parse(&document.to_bytes()).unwrap();
        assert_eq!(again.psbt, document.psbt);
    }
    assert_eq!(lock_times, [0, 0, 0, 10_000, 0, 0, 0, 0, 0, 10_000]);
}

#[test]
fn what_bip_370_lists_as_invalid_is_refused() {
    let Vectors { bip370, .. } = vectors();
    let bytes = BASE64.decode(&bip370.valid[9]).unwrap();
    let refused = |change: &dyn Fn(&mut Maps)| {
        let (mut maps, _) = Maps::parse(&bytes).unwrap();
        change(&mut maps);
        assert!(Document::parse(&maps.to_bytes()).is_err());
    };
    for field in [TX_VERSION, INPUT_COUNT, OUTPUT_COUNT] {
        refused(&|maps| drop(maps.global.remove(&vec![field])));
    }
    for field in [PREVIOUS_TXID, OUTPUT_INDEX] {
        refused(&|maps| drop(maps.inputs[0].remove(&vec![field])));
    }
    for field in [AMOUNT, SCRIPT] {
        refused(&|maps| drop(maps.outputs[0].remove(&vec![field])));
    }
    for (field, value) in [
        (REQUIRED_TIME, 499_999_999_u32),
        (REQUIRED_HEIGHT, 500_000_000),
    ] {
        refused(&|maps| {
            maps.inputs[0].insert(vec![field], value.to_le_bytes().to_vec());
        });
    }
    refused(&|maps| {
        maps.global.insert(vec![UNSIGNED_TX], vec![0; 10]);
    });
}

#[test]
fn a_signed_psbt_of_version_2_may_not_be_modified_any_more() {
    let signed = valid()
        .iter()
        .map(|text| Document::parse(text.as_bytes()).unwrap())
        .find(|document| {
            document
                .psbt
                .inputs
                .iter()
                .any(|input| !input.partial_sigs.is_empty())
        })
        .unwrap();
    let mut maps = as_version_2(&signed);
    maps.global.insert(vec![TX_MODIFIABLE], vec![0b111]);
    let document = Document::parse(&maps.to_bytes()).unwrap();
    let (maps, _) = Maps::parse(&document.to_bytes()).unwrap();
    assert_eq!(maps.global[&vec![TX_MODIFIABLE]], [0b100]);
}

#[test]
fn the_fields_of_one_version_are_refused_in_the_other() {
    let document = Document::parse(valid()[0].as_bytes()).unwrap();
    let refused = |maps: &Maps| {
        let error = Document::parse(&maps.to_bytes()).unwrap_err();
        assert!(matches!(error, PsbtError::Forbidden { .. }), "{error}");
    };
    for field in super::map::NEWER_GLOBAL {
        let (mut maps, _) = Maps::parse(&document.to_bytes()).unwrap();
        maps.global.insert(vec![field], vec![1, 0, 0, 0]);
        refused(&maps);
    }
    for field in super::map::NEWER_INPUT {
        let (mut maps, _) = Maps::parse(&document.to_bytes()).unwrap();
        maps.inputs[0].insert(vec![field], vec![1, 0, 0, 0]);
        refused(&maps);
    }
    for field in super::map::NEWER_OUTPUT {
        let (mut maps, _) = Maps::parse(&document.to_bytes()).unwrap();
        maps.outputs[0].insert(vec![field], vec![1, 0, 0, 0]);
        refused(&maps);
    }
    let mut maps = as_version_2(&document);
    maps.global.insert(vec![UNSIGNED_TX], vec![0; 10]);
    refused(&maps);
}

#[test]
fn version_2_demands_its_fields() {
    let document = Document::parse(valid()[0].as_bytes()).unwrap();
    for field in [TX_VERSION, INPUT_COUNT, OUTPUT_COUNT] {
        let mut maps = as_version_2(&document);
        maps.global.remove(&vec![field]);
        assert!(Document::parse(&maps.to_bytes()).is_err());
    }
    for field in [PREVIOUS_TXID, OUTPUT_INDEX] {
        let mut maps = as_version_2(&document);
        maps.inputs[0].remove(&vec![field]);
        let error = Document::parse(&maps.to_bytes()).unwrap_err();
        assert!(matches!(error, PsbtError::Missing(_)), "{error}");
    }
    for field in [AMOUNT, SCRIPT] {
        let mut maps = as_version_2(&document);
        maps.outputs[0].remove(&vec![field]);
        let error = Document::parse(&maps.to_bytes()).unwrap_err();
        assert!(matches!(error, PsbtError::Missing(_)), "{error}");
    }
    let mut maps = as_version_2(&document);
    maps.outputs[0].insert(vec![AMOUNT], (-1_i64).to_le_bytes().to_vec());
    let error = Document::parse(&maps.to_bytes()).unwrap_err();
    assert!(matches!(error, PsbtError::Invalid(_)), "{error}");
}

#[test]
fn the_lock_time_of_version_2_is_one_that_all_inputs_accept() {
    let two_inputs = valid()
        .iter()
        .map(|text| Document::parse(text.as_bytes()).unwrap())
        .find(|document| document.psbt.inputs.len() == 2)
        .unwrap();
    let lock_time = |first: &[(u8, u32)], second: &[(u8, u32)]| {
        let mut maps = as_version_2(&two_inputs);
        for (map, fields) in maps.inputs.iter_mut().zip([first, second]) {
            map.remove(&vec![REQUIRED_HEIGHT]);
            for (field, value) in fields {
                map.insert(vec![*field], value.to_le_bytes().to_vec());
            }
        }
        let document = Document::parse(&maps.to_bytes()).ok()?;
        Some(document.psbt.unsigned_tx.lock_time.to_consensus_u32())
    };
    let (height, time) = (REQUIRED_HEIGHT, REQUIRED_TIME);
    assert_eq!(lock_time(&[], &[]), Some(0));
    assert_eq!(lock_time(&[(height, 10_000)], &[]), Some(10_000));
    assert_eq!(
        lock_time(&[(height, 10_000)], &[(height, 9000)]),
        Some(10_000)
    );
    let both = [(height, 10_000), (time, 1_657_048_460)];
    assert_eq!(lock_time(&both, &[(height, 9000)]), Some(10_000));
    assert_eq!(
        lock_time(&both, &[(time, 1_657_048_459)]),
        Some(1_657_048_460)
    );
    assert_eq!(lock_time(&both, &both), Some(10_000));
    assert_eq!(lock_time(&[(height, 1)], &[(time, 1_657_048_460)]), None);
    assert_eq!(lock_time(&[(height, 500_000_000)], &[]), None);
    assert_eq!(lock_time(&[(time, 499_999_999)], &[]), None);
}

#[test]
fn an_input_that_spends_an_output_that_is_not_there_is_refused() {
    let texts = valid();
    let refused = texts.iter().filter_map(|text| {
        let mut document = Document::parse(text.as_bytes()).ok()?;
        let with_parent = document.psbt.inputs.iter();
        let index = with_parent
            .clone()
            .position(|input| input.non_witness_utxo.is_some())?;
        document.psbt.unsigned_tx.input[index].previous_output.vout = 1 << 24;
        Some(Document::parse(&document.psbt.serialize()).unwrap_err())
    });
    let refused: Vec<_> = refused.collect();
    assert!(!refused.is_empty());
    for error in refused {
        assert!(matches!(error, PsbtError::NoOutput { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&bytes);
        let _ = Document::parse(&[MAGIC, &bytes].concat());
    }

    #[test]
    fn nothing_panics_on_a_psbt_with_a_byte_changed(which in 0_usize..12, place in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = Document::parse(valid()[which].as_bytes()).unwrap().to_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(mut document) = Document::parse(&bytes) {
            let _ = finalize(&mut document.psbt);
            let _ = extract(&document.psbt);
            let _ = document.to_bytes();
        }
    }
}
