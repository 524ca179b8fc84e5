//! The pieces of a transaction as the device takes them.
//!
//! Fields are set as the clients of genuine firmware set them, the ones that say nothing included.

use bitcoin::bip32::ChildNumber;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::Instruction;
use bitcoin::{
    Address, Network, PublicKey, Script, ScriptBuf, Transaction, TxIn, TxOut, Txid, Witness,
};
use protobuf::MessageField;
use trezor_client::InputScriptType;
use trezor_client::protos::multisig_redeem_script_type::HDNodePathType;
use trezor_client::protos::tx_ack::TransactionType;
use trezor_client::protos::tx_ack::transaction_type::{TxInputType, TxOutputBinType, TxOutputType};
use trezor_client::protos::{
    HDNodeType, MultisigPubkeysOrder, MultisigRedeemScriptType, OutputScriptType, TxAck,
};

use super::AccountKey;
use super::accounts::Accounts;
use super::template::Own;

/// Why an output cannot be told to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untellable {
    Script,
    Data,
}

/// Returns a transaction id in the order in which people and this protocol write it.
pub(super) fn to_wire(txid: Txid) -> Vec<u8> {
    let mut bytes = txid.to_byte_array().to_vec();
    bytes.reverse();
    bytes
}

/// Reads a transaction id of the device.
pub(super) fn from_wire(bytes: &[u8]) -> Option<Txid> {
    let mut bytes = <[u8; 32]>::try_from(bytes).ok()?;
    bytes.reverse();
    Some(Txid::from_byte_array(bytes))
}

pub(super) fn ack(tx: TransactionType) -> TxAck {
    let mut ack = TxAck::new();
    ack.tx = MessageField::some(tx);
    ack
}

pub(super) fn ack_input(input: TxInputType) -> TxAck {
    let mut tx = TransactionType::new();
    tx.inputs.push(input);
    ack(tx)
}

pub(super) fn ack_output(output: TxOutputType) -> TxAck {
    let mut tx = TransactionType::new();
    tx.outputs.push(output);
    ack(tx)
}

pub(super) fn ack_meta(transaction: &Transaction) -> TxAck {
    let count = |n: usize| u32::try_from(n).expect("a transaction has fewer than 2^32 parts");
    let mut tx = TransactionType::new();
    tx.set_version(transaction.version.0.cast_unsigned());
    tx.set_lock_time(transaction.lock_time.to_consensus_u32());
    tx.set_inputs_cnt(count(transaction.input.len()));
    tx.set_outputs_cnt(count(transaction.output.len()));
    tx.set_extra_data_len(0);
    ack(tx)
}

/// Tells an input of a transaction that is spent.
pub(super) fn ack_previous_input(input: &TxIn) -> TxAck {
    let mut told = outpoint(input);
    told.set_script_sig(input.script_sig.to_bytes());
    told.set_script_type(InputScriptType::SPENDADDRESS);
    ack_input(told)
}

/// Tells an output of a transaction that is spent.
pub(super) fn ack_previous_output(output: &TxOut) -> TxAck {
    let mut told = TxOutputBinType::new();
    told.set_amount(output.value.to_sat());
    told.set_script_pubkey(output.script_pubkey.to_bytes());
    let mut tx = TransactionType::new();
    tx.bin_outputs.push(told);
    ack(tx)
}

fn outpoint(input: &TxIn) -> TxInputType {
    let mut told = TxInputType::new();
    told.set_prev_hash(to_wire(input.previous_output.txid));
    told.set_prev_index(input.previous_output.vout);
    told.set_sequence(input.sequence.0);
    told.set_coinjoin_flags(0);
    told
}

/// Tells an input that this wallet signs.
pub(super) fn own_input(
    input: &TxIn,
    spent: &TxOut,
    own: &Own,
    accounts: &Accounts<'_>,
) -> TxInputType {
    let mut told = outpoint(input);
    told.address_n = own.source.1.to_u32_vec();
    told.set_script_type(own.template.kind.input_type());
    told.set_amount(spent.value.to_sat());
    told.multisig = multisig(own, accounts);
    told
}

/// Tells an input of someone else, with the signatures that it has.
pub(super) fn external_input(
    input: &TxIn,
    spent: &TxOut,
    script_sig: Option<&ScriptBuf>,
    witness: Option<&Witness>,
) -> TxInputType {
    let mut told = outpoint(input);
    told.set_script_type(InputScriptType::EXTERNAL);
    told.set_amount(spent.value.to_sat());
    told.set_script_pubkey(spent.script_pubkey.to_bytes());
    sign(&mut told, script_sig, witness);
    told
}

/// Adds the signatures that an input has.
pub(super) fn sign(
    told: &mut TxInputType,
    script_sig: Option<&ScriptBuf>,
    witness: Option<&Witness>,
) {
    if let Some(script) = script_sig.filter(|script| !script.is_empty()) {
        told.set_script_sig(script.to_bytes());
    }
    if let Some(witness) = witness.filter(|witness| !witness.is_empty()) {
        told.set_witness(serialize(witness));
    }
}

/// Tells an output that comes back to the wallet.
pub(super) fn own_output(output: &TxOut, own: &Own, accounts: &Accounts<'_>) -> TxOutputType {
    let mut told = TxOutputType::new();
    told.address_n = own.source.1.to_u32_vec();
    told.set_amount(output.value.to_sat());
    told.set_script_type(own.template.kind.output_type());
    told.multisig = multisig(own, accounts);
    told
}

/// Tells a payment, or data.
pub(super) fn payment(output: &TxOut, network: Network) -> Result<TxOutputType, Untellable> {
    let mut told = TxOutputType::new();
    told.set_amount(output.value.to_sat());
    if output.script_pubkey.is_op_return() {
        let data = data_of(&output.script_pubkey).ok_or(Untellable::Data)?;
        if output.value.to_sat() != 0 {
            return Err(Untellable::Data);
        }
        told.set_script_type(OutputScriptType::PAYTOOPRETURN);
        told.set_op_return_data(data);
    } else {
        let address =
            Address::from_script(&output.script_pubkey, network).map_err(|_| Untellable::Script)?;
        told.set_script_type(OutputScriptType::PAYTOADDRESS);
        told.set_address(address.to_string());
    }
    Ok(told)
}

/// Returns the data of an output that is written exactly as the device writes it.
fn data_of(script: &Script) -> Option<Vec<u8>> {
    let mut instructions = script.instructions_minimal();
    let (Some(Ok(Instruction::Op(OP_RETURN))), Some(Ok(Instruction::PushBytes(data))), None) = (
        instructions.next(),
        instructions.next(),
        instructions.next(),
    ) else {
        return None;
    };
    let written = bitcoin::script::Builder::new()
        .push_opcode(OP_RETURN)
        .push_slice(data)
        .into_script();
    (*written == *script).then(|| data.as_bytes().to_vec())
}

fn multisig(own: &Own, accounts: &Accounts<'_>) -> MessageField<MultisigRedeemScriptType> {
    let Some((needed, keys)) = &own.template.multisig else {
        return MessageField::none();
    };
    let mut told = MultisigRedeemScriptType::new();
    told.signatures = vec![Vec::new(); keys.len()];
    told.set_m(u32::try_from(*needed).expect("at most 20 keys stand in a script"));
    let sorted = keys.is_sorted_by_key(|key| key.to_bytes());
    told.set_pubkeys_order(if sorted {
        MultisigPubkeysOrder::LEXICOGRAPHIC
    } else {
        MultisigPubkeysOrder::PRESERVED
    });
    let sources = own.cosigners.iter();
    let known: Option<Vec<_>> = sources
        .clone()
        .map(|source| accounts.find(source.as_ref()?))
        .collect();
    let one_path = |known: &Vec<(usize, &AccountKey, &[ChildNumber])>| {
        known.windows(2).all(|pair| pair[0].2 == pair[1].2)
    };
    match known.filter(one_path) {
        Some(mut known) => {
            if sorted {
                known.sort_by_key(|(place, ..)| *place);
            }
            told.address_n = known
                .first()
                .map_or_else(Vec::new, |(_, _, rest)| steps(rest));
            told.nodes = known.iter().map(|(_, account, _)| node(account)).collect();
        }
        None => {
            told.pubkeys = keys
                .iter()
                .zip(sources)
                .map(|(key, source)| {
                    let found = source.as_ref().and_then(|source| accounts.find(source));
                    let mut told = HDNodePathType::new();
                    told.node = MessageField::some(match &found {
                        Some((_, account, _)) => node(account),
                        None => lone(key),
                    });
                    told.address_n = found.map_or_else(Vec::new, |(_, _, rest)| steps(rest));
                    told
                })
                .collect();
        }
    }
    MessageField::some(told)
}

fn steps(steps: &[ChildNumber]) -> Vec<u32> {
    steps.iter().map(|step| u32::from(*step)).collect()
}

fn node(account: &AccountKey) -> HDNodeType {
    let xpub = &account.xpub;
    let mut told = HDNodeType::new();
    told.set_depth(xpub.depth.into());
    told.set_fingerprint(u32::from_be_bytes(xpub.parent_fingerprint.to_bytes()));
    told.set_child_num(xpub.child_number.into());
    told.set_chain_code(xpub.chain_code.to_bytes().to_vec());
    told.set_public_key(xpub.public_key.serialize().to_vec());
    told
}

/// A key of which nothing is known but itself: good for a signature, not for recognising change.
fn lone(key: &PublicKey) -> HDNodeType {
    let mut told = HDNodeType::new();
    told.set_depth(0);
    told.set_fingerprint(0);
    told.set_child_num(0);
    told.set_chain_code(vec![0; 32]);
    told.set_public_key(key.inner.serialize().to_vec());
    told
}
