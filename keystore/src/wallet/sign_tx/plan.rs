//! Everything that the device may ask for, ready before it asks.

use std::collections::HashMap;

use bitcoin::{Psbt, Transaction, Txid};
use trezor_client::protos::{AmountUnit, SignTx, TxAck};

use super::accounts::Accounts;
use super::check::{Checked, known_accounts};
use super::error::SignError;
use super::message::{self, Untellable, external_input, own_input, own_output};
use super::original::{self, Original};
use super::{SignRequest, coin_name, network};

/// The answers to one run of the dialogue.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) sign_tx: SignTx,
    pub(super) inputs: Vec<TxAck>,
    pub(super) outputs: Vec<TxAck>,
    pub(super) previous: HashMap<Txid, Transaction>,
    pub(super) original: Option<Original>,
    /// Inputs that the device signs.
    pub(super) signs: Vec<bool>,
    shown: Vec<String>,
}

impl Plan {
    pub(super) fn new(
        psbt: &Psbt,
        checked: &Checked,
        request: &SignRequest,
    ) -> Result<Self, SignError> {
        let network = network(request.chain);
        let known = known_accounts(psbt, request);
        let accounts = Accounts::new(&known);
        let transaction = &checked.transaction;
        let mut inputs = Vec::with_capacity(transaction.input.len());
        for (index, own) in checked.inputs.iter().enumerate() {
            let (input, spent) = (&transaction.input[index], &checked.spent[index]);
            inputs.push(match own {
                Some(own) => own_input(input, spent, own, &accounts),
                None => {
                    let given = &psbt.inputs[index];
                    let (script_sig, witness) =
                        (&given.final_script_sig, &given.final_script_witness);
                    external_input(input, spent, script_sig.as_ref(), witness.as_ref())
                }
            });
        }
        let mut outputs = Vec::with_capacity(transaction.output.len());
        let mut shown = Vec::new();
        for (index, (output, own)) in transaction.output.iter().zip(&checked.outputs).enumerate() {
            outputs.push(match own {
                Some(own) => own_output(output, own, &accounts),
                None => {
                    let told = message::payment(output, network);
                    let told = told.map_err(|error| match error {
                        Untellable::Script => SignError::UnknownOutput(index),
                        Untellable::Data => SignError::DataOutput(index),
                    })?;
                    shown.push(match told.op_return_data() {
                        [] => format!("{} to {}", output.value, told.address()),
                        data => format!("data {}", hex::encode(data)),
                    });
                    told
                }
            });
        }
        shown.push(format!("fee {}", checked.fee));
        let lock_time = transaction.lock_time.to_consensus_u32();
        if lock_time > 0 {
            shown.push(format!("lock time {lock_time}"));
        }
        let original = match request.replaces {
            None => None,
            Some(txid) => {
                shown = vec![
                    format!("replace transaction {txid}"),
                    format!("fee {}", checked.fee),
                ];
                let parts = original::Parts {
                    checked,
                    accounts: &accounts,
                    inputs: &mut inputs,
                    outputs: &mut outputs,
                };
                Some(parts.link(txid, request)?)
            }
        };
        let count = |n: usize| u32::try_from(n).expect("a transaction has fewer than 2^32 parts");
        let mut sign_tx = SignTx::new();
        sign_tx.set_outputs_count(count(outputs.len()));
        sign_tx.set_inputs_count(count(inputs.len()));
        sign_tx.set_coin_name(coin_name(request.chain).to_owned());
        sign_tx.set_version(transaction.version.0.cast_unsigned());
        sign_tx.set_lock_time(lock_time);
        sign_tx.set_amount_unit(AmountUnit::BITCOIN);
        sign_tx.set_decred_staking_ticket(false);
        sign_tx.set_serialize(true);
        Ok(Self {
            sign_tx,
            inputs: inputs.into_iter().map(message::ack_input).collect(),
            outputs: outputs.into_iter().map(message::ack_output).collect(),
            previous: checked.previous.clone(),
            original,
            signs: checked.inputs.iter().map(Option::is_some).collect(),
            shown,
        })
    }

    /// Says what the person was asked to confirm on the device.
    pub(super) fn confirmed(&self) -> Vec<String> {
        self.shown.clone()
    }
}
