//! What the person has to approve, and what nobody may approve.

use bitcoin::ScriptBuf;
use trezor_client::protos::OutputScriptType;

use super::super::engine::Stop;
use super::super::path;
use super::change::input_script_type;
use super::weight::Weight;
use super::{Input, Output, Signing};

/// Change outputs that are not worth a question.
const SILENT_CHANGES: usize = 2;

/// Sums of satoshi, and how often something was seen.
#[derive(Debug, Default)]
pub(super) struct Totals {
    weight: Weight,
    inputs: i128,
    external_inputs: i128,
    outputs: i128,
    change: i128,
    changes: usize,
    shown: usize,
    original_inputs: i128,
    original_external: i128,
    original_outputs: i128,
    original_change: i128,
}

impl Totals {
    pub(super) fn add_original_output(&mut self, amount: u64, change: bool) {
        self.original_outputs += i128::from(amount);
        if change {
            self.original_change += i128::from(amount);
        }
    }

    fn add_input(&mut self, input: &Input, external: bool) -> Result<(), Stop> {
        self.weight.add_input(input)?;
        let amount = i128::from(input.amount());
        let (original, external_amount) = (
            !input.orig_hash().is_empty(),
            if external { amount } else { 0 },
        );
        self.inputs += amount;
        self.external_inputs += external_amount;
        if original {
            self.original_inputs += amount;
            self.original_external += external_amount;
        }
        Ok(())
    }

    fn is_payjoin(&self) -> bool {
        self.external_inputs != self.original_external
    }
}

impl Signing<'_> {
    pub(super) fn add_external_input(&mut self, input: &Input) -> Result<(), Stop> {
        if !input.ownership_proof().is_empty() {
            // SLIP-0019 proofs serve CoinJoin, which this device does not do
            return Err(Stop::data("Invalid external input"));
        }
        if input.witness().is_empty() && input.script_sig().is_empty() {
            return Err(Stop::process("Unverifiable external input."));
        }
        self.totals.add_input(input, true)
    }

    pub(super) fn add_internal_input(&mut self, input: &Input) -> Result<(), Stop> {
        let path = &input.address_n;
        self.keys.derive(path)?;
        let multisig = input.multisig.is_some();
        if !path::fits(self.coin, input.script_type(), multisig, path) {
            self.engine.warn_of_path(path)?;
        }
        self.totals.add_input(input, false)
    }

    pub(super) fn approve_output(
        &mut self,
        output: &Output,
        script: &ScriptBuf,
        original: Option<&Output>,
    ) -> Result<(), Stop> {
        let path = &output.address_n;
        if let (false, Some(kind)) = (path.is_empty(), input_script_type(output.script_type()))
            && !path::fits(self.coin, kind, output.multisig.is_some(), path)
        {
            self.engine.warn_of_path(path)?;
        }
        self.totals.weight.add_output(script.len());
        self.totals.outputs += i128::from(output.amount());
        if self.tx.change.is_change(output)? {
            self.totals.change += i128::from(output.amount());
            self.totals.changes += 1;
            return Ok(());
        }
        if let Some(original) = original {
            self.approve_new_amount(output, original.amount())?;
        }
        let op_return = output.script_type() == OutputScriptType::PAYTOOPRETURN;
        if self.totals.original_inputs > 0 {
            if op_return && original.is_none() {
                return Err(Stop::process(
                    "Adding new OP_RETURN outputs in replacement transactions is not supported.",
                ));
            }
            return Ok(());
        }
        self.totals.shown += 1;
        if op_return {
            self.show_op_return(output.op_return_data())
        } else {
            self.show_output(self.totals.shown, output)
        }
    }

    fn approve_new_amount(&mut self, output: &Output, before: u64) -> Result<(), Stop> {
        let payjoin = self.totals.is_payjoin();
        if output.amount() < before {
            if payjoin {
                let text = "Reducing original output amounts is not supported.";
                return Err(Stop::process(text));
            }
            return self.show_new_amount(output, before);
        }
        if output.amount() > before && !payjoin {
            let text = "Increasing original output amounts is not supported.";
            return Err(Stop::process(text));
        }
        Ok(())
    }

    pub(super) fn approve_originals(&mut self) -> Result<(), Stop> {
        let title = self.replacement_title();
        for place in 0..self.originals.len() {
            let hash = self.originals[place].hash.clone();
            self.show_replacement(title, &hash)?;
        }
        Ok(())
    }

    fn replacement_title(&self) -> &'static str {
        let replaceable = |tx: &super::Original| !tx.tx.replacement_is_disabled();
        if self.totals.is_payjoin() {
            "PayJoin"
        } else if self.tx.replacement_is_disabled() && self.originals.iter().any(replaceable) {
            "Finalize transaction"
        } else if self.originals.len() > 1 {
            "Meld transactions"
        } else {
            "Update transaction"
        }
    }

    pub(super) fn approve_total(&mut self) -> Result<(), Stop> {
        if !self.tx.change.is_one_account() {
            self.warn_of_accounts()?;
        }
        let fee = self.totals.inputs - self.totals.outputs;
        if fee < 0 {
            use trezor_client::protos::failure::FailureType::Failure_NotEnoughFunds;
            return Err(Stop::failure(Failure_NotEnoughFunds, "Not enough funds"));
        }
        let total = self.totals.inputs - self.totals.change;
        let spending = total - self.totals.external_inputs;
        let size = self.totals.weight.virtual_size();
        let threshold = i128::from(self.coin.max_fee_per_kb) * (size as i128);
        if 1000 * fee > threshold {
            if 1000 * fee > 10 * threshold {
                return Err(Stop::data("The fee is unexpectedly large"));
            }
            self.warn_of_fee(fee)?;
        }
        if self.totals.changes > SILENT_CHANGES {
            self.warn_of_changes(self.totals.changes)?;
        }
        if !self.originals.is_empty() {
            return self.approve_replacement(spending, fee);
        }
        if self.tx.lock_time() > 0 {
            let (lock_time, disabled) = (self.tx.lock_time(), self.tx.lock_time_is_disabled());
            self.show_lock_time(lock_time, disabled)?;
        }
        if self.totals.external_inputs == 0 {
            self.show_total(total, fee)
        } else {
            self.show_joint_total(spending, total)
        }
    }

    fn approve_replacement(&mut self, spending: i128, fee: i128) -> Result<(), Stop> {
        let totals = &self.totals;
        let original_spending =
            totals.original_inputs - totals.original_change - totals.original_external;
        let original_fee = totals.original_inputs - totals.original_outputs;
        if original_fee < 0 {
            let text = "Negative fees not supported in transaction replacement.";
            return Err(Stop::process(text));
        }
        // more may be spent than before, but on the fee alone
        if spending - original_spending > fee - original_fee {
            return Err(Stop::process("Invalid replacement transaction."));
        }
        let effective = |tx: &super::Streamed| {
            if tx.lock_time_is_disabled() {
                0
            } else {
                tx.lock_time()
            }
        };
        let lock_time = effective(&self.tx);
        if self
            .originals
            .iter()
            .any(|original| effective(&original.tx) != lock_time)
        {
            return Err(Stop::process(
                "Original transactions must have same effective nLockTime as replacement transaction.",
            ));
        }
        let title = self.replacement_title();
        if !self.totals.is_payjoin() {
            self.show_new_fee(title, fee - original_fee, fee)
        } else if spending > original_spending {
            self.show_new_fee(title, spending - original_spending, fee)
        } else {
            Ok(())
        }
    }
}
