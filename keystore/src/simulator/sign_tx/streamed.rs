//! A transaction as the host told it the first time, to which everything later must be equal.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::PublicKey;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::{
    Amount, CompressedPublicKey, EcdsaSighashType, ScriptBuf, Sequence, TapSighashType,
    Transaction, TxIn, TxOut, Txid, Witness,
};

use super::super::engine::Stop;
use super::change::{ChangeDetector, fingerprint};
use super::exchange::{outpoint, version};
use super::{Input, changed};

/// Sequence above which an input does not say that it may be replaced
/// ([BIP-125](https://github.com/bitcoin/bips/blob/master/bip-0125.mediawiki)).
const MAX_REPLACEABLE: u32 = 0xffff_fffd;

pub(super) struct Streamed {
    cache: SighashCache<Transaction>,
    spent: Vec<TxOut>,
    prints: Vec<sha256::Hash>,
    pub(super) change: ChangeDetector,
    min_sequence: u32,
}

impl Streamed {
    pub(super) fn new(number: u32, lock_time: u32) -> Self {
        Self::of(Transaction {
            version: version(number),
            lock_time: LockTime::from_consensus(lock_time),
            input: Vec::new(),
            output: Vec::new(),
        })
    }

    pub(super) fn of(empty: Transaction) -> Self {
        Self {
            cache: SighashCache::new(empty),
            spent: Vec::new(),
            prints: Vec::new(),
            change: ChangeDetector::default(),
            min_sequence: u32::MAX,
        }
    }

    fn transaction(&self) -> &Transaction {
        self.cache.transaction()
    }

    /// Changes the transaction; whatever was hashed of it before is forgotten.
    fn edit(&mut self, edit: impl FnOnce(&mut Transaction)) {
        let empty = Transaction {
            version: version(0),
            lock_time: LockTime::ZERO,
            input: Vec::new(),
            output: Vec::new(),
        };
        let cache = std::mem::replace(&mut self.cache, SighashCache::new(empty));
        let mut transaction = cache.into_transaction();
        edit(&mut transaction);
        self.cache = SighashCache::new(transaction);
    }

    pub(super) fn version(&self) -> u32 {
        self.transaction().version.0.cast_unsigned()
    }

    pub(super) fn lock_time(&self) -> u32 {
        self.transaction().lock_time.to_consensus_u32()
    }

    pub(super) fn lock_time_is_disabled(&self) -> bool {
        self.min_sequence == u32::MAX
    }

    pub(super) fn replacement_is_disabled(&self) -> bool {
        self.min_sequence > MAX_REPLACEABLE
    }

    pub(super) fn txid(&self) -> Txid {
        self.transaction().compute_txid()
    }

    pub(super) fn spent(&self, index: usize) -> &TxOut {
        &self.spent[index]
    }

    pub(super) fn add_input(
        &mut self,
        input: &Input,
        script: &ScriptBuf,
        external: bool,
    ) -> Result<(), Stop> {
        self.prints.push(print(input)?);
        self.min_sequence = self.min_sequence.min(input.sequence());
        if !external {
            self.change.add_input(input)?;
        }
        self.spent.push(TxOut {
            value: Amount::from_sat(input.amount()),
            script_pubkey: script.clone(),
        });
        let added = TxIn {
            previous_output: outpoint(input),
            script_sig: ScriptBuf::from_bytes(input.script_sig().to_vec()),
            sequence: Sequence(input.sequence()),
            witness: Witness::new(),
        };
        self.edit(|transaction| transaction.input.push(added));
        Ok(())
    }

    pub(super) fn add_output(&mut self, amount: u64, script: &ScriptBuf) {
        let added = TxOut {
            value: Amount::from_sat(amount),
            script_pubkey: script.clone(),
        };
        self.edit(|transaction| transaction.output.push(added));
    }

    pub(super) fn compare_input(&self, index: usize, input: &Input) -> Result<(), Stop> {
        let same = self.prints.get(index) == Some(&print(input)?);
        if same { Ok(()) } else { Err(changed()) }
    }

    pub(super) fn compare_output(
        &self,
        index: usize,
        amount: u64,
        script: &ScriptBuf,
    ) -> Result<(), Stop> {
        let told = self.transaction().output.get(index);
        let same =
            told.is_some_and(|told| told.value.to_sat() == amount && told.script_pubkey == *script);
        if same { Ok(()) } else { Err(changed()) }
    }

    pub(super) fn legacy_digest(&self, index: usize, script: &ScriptBuf) -> Result<[u8; 32], Stop> {
        let all = EcdsaSighashType::All.to_u32();
        let digest = self.cache.legacy_signature_hash(index, script, all);
        Ok(digest.map_err(|_| changed())?.to_byte_array())
    }

    /// Returns what a key signs that alone owns a witness output, nested or not.
    pub(super) fn segwit_key_digest(
        &mut self,
        index: usize,
        key: &PublicKey,
    ) -> Result<[u8; 32], Stop> {
        let script = ScriptBuf::new_p2wpkh(&CompressedPublicKey(*key).wpubkey_hash());
        let amount = self.spent[index].value;
        let all = EcdsaSighashType::All;
        let digest = self
            .cache
            .p2wpkh_signature_hash(index, &script, amount, all);
        Ok(digest.map_err(|_| changed())?.to_byte_array())
    }

    pub(super) fn segwit_script_digest(
        &mut self,
        index: usize,
        script: &ScriptBuf,
    ) -> Result<[u8; 32], Stop> {
        let amount = self.spent[index].value;
        let all = EcdsaSighashType::All;
        let digest = self.cache.p2wsh_signature_hash(index, script, amount, all);
        Ok(digest.map_err(|_| changed())?.to_byte_array())
    }

    pub(super) fn taproot_digest(&mut self, index: usize) -> Result<[u8; 32], Stop> {
        let spent = Prevouts::All(&self.spent);
        let all = TapSighashType::Default;
        let digest = self
            .cache
            .taproot_key_spend_signature_hash(index, &spent, all);
        Ok(digest.map_err(|_| changed())?.to_byte_array())
    }
}

/// Hashes everything of an input that must stay as it was told.
fn print(input: &Input) -> Result<sha256::Hash, Stop> {
    let mut engine = sha256::Hash::engine();
    let multisig = input.multisig.as_ref().map(fingerprint).transpose()?;
    let path: Vec<u8> = input
        .address_n
        .iter()
        .flat_map(|step| step.to_le_bytes())
        .collect();
    let pieces: [&[u8]; 9] = [
        &path,
        input.prev_hash(),
        input.script_sig(),
        input.witness(),
        input.ownership_proof(),
        input.orig_hash(),
        input.script_pubkey(),
        multisig.as_ref().map_or(&[], |hash| hash.as_byte_array()),
        &input.amount().to_le_bytes(),
    ];
    for piece in pieces {
        engine.input(&(piece.len() as u64).to_le_bytes());
        engine.input(piece);
    }
    let words = [
        input.prev_index(),
        input.sequence(),
        input.script_type() as u32,
        input.orig_index(),
    ];
    for word in words {
        engine.input(&word.to_le_bytes());
    }
    Ok(sha256::Hash::from_engine(engine))
}
