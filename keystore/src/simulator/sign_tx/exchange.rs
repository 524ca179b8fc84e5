//! One question of the device and one answer of the host, checked for shape.

use bitcoin::consensus::{Encodable, serialize};
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, VarInt, Witness,
};
use protobuf::MessageField;
use trezor_client::InputScriptType;
use trezor_client::protos::tx_ack::TransactionType;
use trezor_client::protos::tx_request::{
    RequestType, TxRequestDetailsType, TxRequestSerializedType,
};
use trezor_client::protos::{OutputScriptType, TxAck, TxRequest};

use super::super::engine::Stop;
use super::{Input, Output, Signing, count};

/// What goes to the host with the next question.
#[derive(Default)]
pub(super) struct Pending {
    signature: Option<(usize, Vec<u8>)>,
    bytes: Vec<u8>,
}

impl Pending {
    pub(super) fn write(&mut self, value: &impl Encodable) {
        self.bytes.extend(serialize(value));
    }

    pub(super) fn write_count(&mut self, number: usize) {
        self.write(&VarInt::from(number));
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub(super) fn write_input(&mut self, input: &Input, script_sig: &[u8]) {
        self.write(&outpoint(input));
        self.write(&ScriptBuf::from_bytes(script_sig.to_vec()));
        self.write(&input.sequence());
    }

    pub(super) fn sign(&mut self, index: usize, signature: Vec<u8>) {
        self.signature = Some((index, signature));
    }
}

/// Counts of a transaction that the device is about to read, and the place for it.
pub(super) struct Meta {
    pub(super) transaction: Transaction,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

/// Returns a transaction id in the order in which people and this protocol write it.
pub(super) fn to_wire(txid: Txid) -> [u8; 32] {
    let mut bytes = txid.to_byte_array();
    bytes.reverse();
    bytes
}

pub(super) fn outpoint(input: &Input) -> OutPoint {
    previous(input.prev_hash(), input.prev_index())
}

fn previous(hash: &[u8], vout: u32) -> OutPoint {
    let mut bytes = <[u8; 32]>::try_from(hash).expect("its length was checked when it was read");
    bytes.reverse();
    OutPoint::new(Txid::from_byte_array(bytes), vout)
}

pub(super) fn version(number: u32) -> Version {
    Version(number.cast_signed())
}

impl Signing<'_> {
    /// Puts a question together, with everything that is ready for the host.
    pub(super) fn question(
        &mut self,
        kind: RequestType,
        index: Option<usize>,
        hash: Option<&[u8]>,
    ) -> TxRequest {
        let number = |index| u32::try_from(index).expect("counts are 32 bit");
        let pending = std::mem::take(&mut self.pending);
        let mut details = TxRequestDetailsType::new();
        details.request_index = index.map(number);
        details.tx_hash = hash.map(<[u8]>::to_vec);
        let mut serialized = TxRequestSerializedType::new();
        if let Some((index, signature)) = pending.signature {
            serialized.set_signature_index(number(index));
            serialized.set_signature(signature);
        }
        serialized.set_serialized_tx(pending.bytes);
        let mut question = TxRequest::new();
        question.set_request_type(kind);
        question.details = MessageField::some(details);
        question.serialized = MessageField::some(serialized);
        question
    }

    fn ask(
        &mut self,
        kind: RequestType,
        index: Option<usize>,
        hash: Option<&[u8]>,
    ) -> Result<TransactionType, Stop> {
        let question = self.question(kind, index, hash);
        let ack: TxAck = self.engine.ask(&question)?;
        ack.tx.into_option().ok_or_else(incomplete)
    }

    /// Reads input `index` of the transaction, or of the `original` that it replaces.
    pub(super) fn input(&mut self, index: usize, original: Option<&[u8]>) -> Result<Input, Stop> {
        let kind = match original {
            Some(_) => RequestType::TXORIGINPUT,
            None => RequestType::TXINPUT,
        };
        let mut told = self.ask(kind, Some(index), original)?;
        let input = told.inputs.pop().ok_or_else(incomplete)?;
        check_input(&input)?;
        Ok(input)
    }

    /// Reads output `index` of the transaction, or of the `original` that it replaces.
    pub(super) fn output(&mut self, index: usize, original: Option<&[u8]>) -> Result<Output, Stop> {
        let kind = match original {
            Some(_) => RequestType::TXORIGOUTPUT,
            None => RequestType::TXOUTPUT,
        };
        let mut told = self.ask(kind, Some(index), original)?;
        let output = told.outputs.pop().ok_or_else(incomplete)?;
        check_output(&output)?;
        Ok(output)
    }

    /// Reads the header of another transaction.
    pub(super) fn meta(&mut self, hash: &[u8]) -> Result<Meta, Stop> {
        let told = self.ask(RequestType::TXMETA, None, Some(hash))?;
        if told.extra_data_len() != 0 {
            return Err(Stop::data("Extra data not enabled on this coin."));
        }
        let transaction = Transaction {
            version: version(told.version()),
            lock_time: bitcoin::absolute::LockTime::from_consensus(told.lock_time()),
            input: Vec::new(),
            output: Vec::new(),
        };
        Ok(Meta {
            transaction,
            inputs: count(told.inputs_cnt()),
            outputs: count(told.outputs_cnt()),
        })
    }

    pub(super) fn previous_input(&mut self, index: usize, hash: &[u8]) -> Result<TxIn, Stop> {
        let mut told = self.ask(RequestType::TXINPUT, Some(index), Some(hash))?;
        let input = told.inputs.pop().ok_or_else(incomplete)?;
        if input.prev_hash().len() != 32 {
            return Err(Stop::data("Provided prev_hash is invalid."));
        }
        Ok(TxIn {
            previous_output: outpoint(&input),
            script_sig: ScriptBuf::from_bytes(input.script_sig().to_vec()),
            sequence: Sequence(input.sequence()),
            witness: Witness::new(),
        })
    }

    pub(super) fn previous_bin_output(&mut self, index: usize, hash: &[u8]) -> Result<TxOut, Stop> {
        let mut told = self.ask(RequestType::TXOUTPUT, Some(index), Some(hash))?;
        let output = told.bin_outputs.pop().ok_or_else(incomplete)?;
        Ok(TxOut {
            value: Amount::from_sat(output.amount()),
            script_pubkey: ScriptBuf::from_bytes(output.script_pubkey().to_vec()),
        })
    }
}

fn incomplete() -> Stop {
    Stop::data("Failed to decode message")
}

fn check_input(input: &Input) -> Result<(), Stop> {
    use InputScriptType as S;
    let script = input.script_type();
    let multisig = input.multisig.is_some();
    let may_be_multisig = matches!(
        script,
        S::SPENDMULTISIG | S::SPENDP2SHWITNESS | S::SPENDWITNESS
    );
    let wrong = if input.prev_hash().len() != 32 {
        "Provided prev_hash is invalid."
    } else if multisig && !may_be_multisig {
        "Multisig field provided but not expected."
    } else if !multisig && script == S::SPENDMULTISIG {
        "Multisig details required."
    } else if script != S::EXTERNAL && input.address_n.is_empty() {
        "Missing address_n field."
    } else if script != S::EXTERNAL && !input.script_pubkey().is_empty() {
        "Input's script_pubkey provided but not expected."
    } else if script == S::EXTERNAL && !input.address_n.is_empty() {
        "Input's address_n provided but not expected."
    } else if script == S::EXTERNAL && input.script_pubkey().is_empty() {
        "Missing script_pubkey field."
    } else if !input.commitment_data().is_empty() && input.ownership_proof().is_empty() {
        "commitment_data field provided but not expected."
    } else if !input.orig_hash().is_empty() && input.orig_index.is_none() {
        "Missing orig_index field."
    } else {
        return Ok(());
    };
    Err(Stop::data(wrong))
}

fn check_output(output: &Output) -> Result<(), Stop> {
    use OutputScriptType as S;
    let script = output.script_type();
    let multisig = output.multisig.is_some();
    let may_be_multisig = matches!(
        script,
        S::PAYTOMULTISIG | S::PAYTOP2SHWITNESS | S::PAYTOWITNESS
    );
    let (own, address) = (!output.address_n.is_empty(), !output.address().is_empty());
    let wrong = if multisig && !may_be_multisig {
        "Multisig field provided but not expected."
    } else if !multisig && script == S::PAYTOMULTISIG {
        "Multisig details required."
    } else if own && script == S::PAYTOOPRETURN {
        "Output's address_n provided but not expected."
    } else if script == S::PAYTOOPRETURN && output.op_return_data.is_none() {
        "OP_RETURN output without op_return_data"
    } else if script == S::PAYTOOPRETURN && output.amount() != 0 {
        "OP_RETURN output with non-zero amount"
    } else if script == S::PAYTOOPRETURN && (address || multisig) {
        "OP_RETURN output with address or multisig"
    } else if script != S::PAYTOOPRETURN && !output.op_return_data().is_empty() {
        "OP RETURN data provided but not OP RETURN script type."
    } else if script != S::PAYTOOPRETURN && own && address {
        "Both address and address_n provided."
    } else if script != S::PAYTOOPRETURN && !own && !address {
        "Missing address"
    } else if !output.orig_hash().is_empty() && output.orig_index.is_none() {
        "Missing orig_index field."
    } else {
        return Ok(());
    };
    Err(Stop::data(wrong))
}
