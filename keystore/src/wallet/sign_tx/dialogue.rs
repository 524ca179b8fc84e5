//! Answering the device, which leads the dialogue.

use trezor_client::protos::tx_request::{RequestType, TxRequestSerializedType};
use trezor_client::protos::{Cancel, Success, TxAck, TxRequest};

use super::error::SignError;
use super::message::{self, from_wire};
use super::original;
use super::plan::Plan;
use crate::device::{DeviceError, Dialogue};

/// Longest transaction that the network relays, and more.
const MAX_SERIALIZED: usize = 4_000_000;

/// What the device returned.
#[derive(Debug)]
pub(super) struct Outcome {
    /// One signature for each input that is ours.
    pub(super) signatures: Vec<Option<Vec<u8>>>,
    /// The signed transaction.
    pub(super) serialized: Vec<u8>,
}

/// Leads the dialogue to its end.
///
/// # Errors
///
/// Fails with what the device says, and tells it to stop where it asks for what cannot be.
pub(super) fn run(device: &mut Dialogue<'_>, plan: &Plan) -> Result<Outcome, SignError> {
    let mut outcome = Outcome {
        signatures: vec![None; plan.inputs.len()],
        serialized: Vec::new(),
    };
    let mut request: TxRequest = device.call(&plan.sign_tx)?;
    for _ in 0..most_requests(plan) {
        let taken = request
            .serialized
            .take()
            .map_or(Ok(()), |part| take(&mut outcome, plan, part));
        if request.request_type() == RequestType::TXFINISHED {
            return taken.map(|()| outcome);
        }
        let answer = taken.and_then(|()| answer(plan, &request));
        request = match answer {
            Ok(answer) => device.call(&answer)?,
            Err(error) => {
                // its answer is a Failure that says nothing new
                let _: Result<Success, _> = device.call(&Cancel::new());
                return Err(error);
            }
        };
    }
    let _: Result<Success, _> = device.call(&Cancel::new());
    Err(implausible("it never stops asking for the transaction"))
}

/// How often a device asks at most: for each part in three passes, for every transaction that is
/// spent, and for everything once more with each signature that has no witness.
fn most_requests(plan: &Plan) -> usize {
    let original = plan.original.as_ref();
    let original = original.map_or(0, |original| original.inputs.len() + original.outputs.len());
    let parts = plan.inputs.len() + plan.outputs.len() + original + 2;
    let previous = plan.previous.values();
    let longest = previous
        .map(|tx| tx.input.len() + tx.output.len() + 1)
        .max();
    parts * (plan.inputs.len() + 8) + plan.inputs.len() * longest.unwrap_or(0)
}

fn implausible(what: impl Into<String>) -> SignError {
    DeviceError::Implausible(what.into()).into()
}

fn take(
    outcome: &mut Outcome,
    plan: &Plan,
    mut part: TxRequestSerializedType,
) -> Result<(), SignError> {
    if let Some(piece) = part.serialized_tx.take() {
        outcome.serialized.extend(piece);
        if outcome.serialized.len() > MAX_SERIALIZED {
            return Err(implausible("its transaction is longer than any can be"));
        }
    }
    let Some(signature) = part.signature.take() else {
        return Ok(());
    };
    let index = usize::try_from(part.signature_index()).unwrap_or(usize::MAX);
    let expected = plan.signs.get(index).copied().unwrap_or(false);
    let place = outcome.signatures.get_mut(index);
    match place.filter(|place| expected && place.is_none()) {
        Some(place) => *place = Some(signature),
        None => return Err(SignError::NoSignature(index)),
    }
    Ok(())
}

fn answer(plan: &Plan, request: &TxRequest) -> Result<TxAck, SignError> {
    use RequestType as R;
    let details = &request.details;
    let index = usize::try_from(details.request_index()).unwrap_or(usize::MAX);
    let of_another = details.has_tx_hash();
    let known = |parts: &[TxAck]| {
        let found = parts.get(index).cloned();
        found.ok_or_else(|| implausible(format!("it asks for part {index} of {}", parts.len())))
    };
    match request.request_type() {
        R::TXINPUT if !of_another => return known(&plan.inputs),
        R::TXOUTPUT if !of_another => return known(&plan.outputs),
        R::TXINPUT | R::TXOUTPUT | R::TXMETA | R::TXORIGINPUT | R::TXORIGOUTPUT => {}
        other => return Err(implausible(format!("it asks for {other:?}"))),
    }
    let stranger = || implausible("it asks for a transaction that this one does not spend");
    let txid = from_wire(details.tx_hash()).ok_or_else(stranger)?;
    if original::is(plan.original.as_ref(), &txid)
        && let Some(original) = &plan.original
    {
        match request.request_type() {
            R::TXMETA => return Ok(original.meta.clone()),
            R::TXORIGINPUT => return known(&original.inputs),
            R::TXORIGOUTPUT => return known(&original.outputs),
            _ => {}
        }
    }
    let previous = plan.previous.get(&txid).ok_or_else(stranger)?;
    let missing = || implausible(format!("it asks for part {index} of `{txid}`"));
    match request.request_type() {
        R::TXMETA => Ok(message::ack_meta(previous)),
        R::TXINPUT => {
            let input = previous.input.get(index).ok_or_else(missing)?;
            Ok(message::ack_previous_input(input))
        }
        R::TXOUTPUT => {
            let output = previous.output.get(index).ok_or_else(missing)?;
            Ok(message::ack_previous_output(output))
        }
        _ => Err(stranger()),
    }
}
