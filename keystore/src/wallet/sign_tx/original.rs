//! The transaction that is replaced: with it the device shows a fee that rises, not a new payment.

use bitcoin::hashes::Hash;
use bitcoin::{Transaction, Txid};
use trezor_client::protos::TxAck;
use trezor_client::protos::tx_ack::transaction_type::{TxInputType, TxOutputType};

use super::accounts::Accounts;
use super::check::Checked;
use super::error::SignError;
use super::message::{self, Untellable, to_wire};
use super::{SignRequest, network};

/// The answers about the replaced transaction.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) txid: Txid,
    pub(super) meta: TxAck,
    pub(super) inputs: Vec<TxAck>,
    pub(super) outputs: Vec<TxAck>,
}

/// The parts of the new transaction, which are told to be those of the old one.
pub(super) struct Parts<'a> {
    pub(super) checked: &'a Checked,
    pub(super) accounts: &'a Accounts<'a>,
    pub(super) inputs: &'a mut [TxInputType],
    pub(super) outputs: &'a mut [TxOutputType],
}

impl Parts<'_> {
    /// Finds the parts of the transaction `txid` among the new ones.
    pub(super) fn link(self, txid: Txid, request: &SignRequest) -> Result<Original, SignError> {
        let known = request.previous.get(&txid);
        let transaction = known
            .filter(|found| found.compute_txid() == txid)
            .ok_or(SignError::UnknownOriginal(txid))?;
        let mut parts = self;
        let inputs = parts.link_inputs(txid, &transaction)?;
        let outputs = parts.link_outputs(txid, &transaction, request)?;
        Ok(Original {
            txid,
            meta: message::ack_meta(&transaction),
            inputs,
            outputs,
        })
    }

    fn link_inputs(&mut self, txid: Txid, original: &Transaction) -> Result<Vec<TxAck>, SignError> {
        let mut after = 0;
        let mut told = Vec::with_capacity(original.input.len());
        for (index, old) in original.input.iter().enumerate() {
            let new = self.checked.transaction.input.iter();
            let place = new
                .skip(after)
                .position(|new| new.previous_output == old.previous_output)
                .ok_or(SignError::OriginalInput { txid, input: index })?;
            let place = after + place;
            after = place + 1;
            let mut was = self.inputs[place].clone();
            was.set_sequence(old.sequence.0);
            was.script_sig = None;
            was.witness = None;
            message::sign(&mut was, Some(&old.script_sig), Some(&old.witness));
            told.push(message::ack_input(was));
            let new = &mut self.inputs[place];
            new.set_orig_hash(to_wire(txid));
            new.set_orig_index(number(index));
        }
        Ok(told)
    }

    fn link_outputs(
        &mut self,
        txid: Txid,
        original: &Transaction,
        request: &SignRequest,
    ) -> Result<Vec<TxAck>, SignError> {
        let mut after = 0;
        let mut told = Vec::with_capacity(original.output.len());
        for (index, old) in original.output.iter().enumerate() {
            let new = self.checked.transaction.output.iter();
            let place = new
                .skip(after)
                .position(|new| new.script_pubkey == old.script_pubkey)
                .map(|place| after + place);
            let was = match place {
                Some(place) => {
                    after = place + 1;
                    let mut was = self.outputs[place].clone();
                    was.set_amount(old.value.to_sat());
                    let new = &mut self.outputs[place];
                    new.set_orig_hash(to_wire(txid));
                    new.set_orig_index(number(index));
                    was
                }
                None => self.removed(old, request, index)?,
            };
            told.push(message::ack_output(was));
        }
        Ok(told)
    }

    /// Tells of an output that the new transaction no longer has.
    fn removed(
        &self,
        old: &bitcoin::TxOut,
        request: &SignRequest,
        index: usize,
    ) -> Result<TxOutputType, SignError> {
        let source = request.previous.origin(&old.script_pubkey);
        // of the same kind as what is spent, or the device would not take it for change either
        let like = self.checked.inputs.iter().flatten().next();
        if let (Some(source), Some(like)) = (source, like)
            && source.0 == request.fingerprint
            && like.template.multisig.is_none()
        {
            let mut own = like.clone();
            own.source = source;
            return Ok(message::own_output(old, &own, self.accounts));
        }
        message::payment(old, network(request.chain)).map_err(|error| match error {
            Untellable::Script => SignError::UnknownOutput(index),
            Untellable::Data => SignError::DataOutput(index),
        })
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a transaction has fewer than 2^32 parts")
}

/// Tells whether the device means the replaced transaction.
pub(super) fn is(original: Option<&Original>, txid: &Txid) -> bool {
    original.is_some_and(|original| original.txid.to_byte_array() == txid.to_byte_array())
}
