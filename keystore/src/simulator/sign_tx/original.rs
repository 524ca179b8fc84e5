//! Transactions that this one replaces: what was approved then need not be approved again, once they
//! are proved to be the ones that this device signed.

use bitcoin::ScriptBuf;
use trezor_client::InputScriptType;

use super::super::engine::Stop;
use super::exchange::to_wire;
use super::streamed::Streamed;
use super::{Input, Output, Signing, count, verify};

pub(super) struct Original {
    pub(super) hash: Vec<u8>,
    pub(super) tx: Streamed,
    inputs: usize,
    outputs: usize,
    next: usize,
}

impl Signing<'_> {
    fn original(&self, hash: &[u8]) -> Option<usize> {
        self.originals.iter().position(|known| known.hash == hash)
    }

    /// Reads the input of the replaced transaction that `input` is said to be.
    pub(super) fn read_original_input(
        &mut self,
        input: &Input,
        script: &ScriptBuf,
    ) -> Result<(), Stop> {
        let hash = input.orig_hash();
        let place = match self.original(hash) {
            Some(place) => place,
            None => {
                let meta = self.meta(hash)?;
                self.originals.push(Original {
                    hash: hash.to_vec(),
                    tx: Streamed::of(meta.transaction),
                    inputs: meta.inputs,
                    outputs: meta.outputs,
                    next: 0,
                });
                self.originals.len() - 1
            }
        };
        let index = count(input.orig_index());
        if index >= self.originals[place].inputs {
            let text = "Not enough inputs in original transaction.";
            return Err(Stop::process(text));
        }
        if index != self.originals[place].next {
            let text = "Rearranging or removal of original inputs is not supported.";
            return Err(Stop::process(text));
        }
        let told = self.input(index, Some(hash))?;
        let same = told.prev_hash() == input.prev_hash()
            && told.prev_index() == input.prev_index()
            && told.amount() == input.amount()
            && told.script_type() == input.script_type()
            && self.input_script(&told)? == *script;
        if !same {
            return Err(Stop::process(
                "Original input does not match current input.",
            ));
        }
        let external = told.script_type() == InputScriptType::EXTERNAL;
        let original = &mut self.originals[place];
        original.tx.add_input(&told, script, external)?;
        original.next += 1;
        Ok(())
    }

    pub(super) fn finish_original_inputs(&mut self) -> Result<(), Stop> {
        for original in &mut self.originals {
            if original.next != original.inputs {
                let text = "Removal of original inputs is not supported.";
                return Err(Stop::process(text));
            }
            original.next = 0;
        }
        Ok(())
    }

    /// Reads the output of the replaced transaction that `output` is said to be.
    pub(super) fn read_original_output(
        &mut self,
        output: &Output,
        script: &ScriptBuf,
    ) -> Result<Output, Stop> {
        let place = self
            .original(output.orig_hash())
            .ok_or_else(|| Stop::process("Unknown original transaction."))?;
        let index = count(output.orig_index());
        if index >= self.originals[place].outputs {
            let text = "Not enough outputs in original transaction.";
            return Err(Stop::process(text));
        }
        if self.originals[place].next > index {
            let text = "Rearranging of original outputs is not supported.";
            return Err(Stop::process(text));
        }
        self.read_removed_outputs(place, index)?;
        let mut told = self.output(index, Some(output.orig_hash()))?;
        if self.output_script(&mut told)? != *script {
            return Err(Stop::process("Not an original output."));
        }
        let was_change = self.originals[place].tx.change.is_change(&told)?;
        if self.tx.change.is_change(output)? && !was_change {
            let text = "Original output is missing change-output parameters.";
            return Err(Stop::process(text));
        }
        self.totals.add_original_output(told.amount(), was_change);
        let original = &mut self.originals[place];
        original.tx.add_output(told.amount(), script);
        original.next += 1;
        Ok(told)
    }

    /// Reads outputs that the replacement no longer has; change may go, payments may not.
    fn read_removed_outputs(&mut self, place: usize, end: usize) -> Result<(), Stop> {
        while self.originals[place].next < end {
            let index = self.originals[place].next;
            let hash = self.originals[place].hash.clone();
            let mut told = self.output(index, Some(&hash))?;
            let script = self.output_script(&mut told)?;
            let original = &mut self.originals[place];
            if !original.tx.change.is_change(&told)? {
                let text = "Removal of original external outputs is not supported.";
                return Err(Stop::process(text));
            }
            original.tx.add_output(told.amount(), &script);
            original.next += 1;
            self.totals.add_original_output(told.amount(), true);
        }
        Ok(())
    }

    pub(super) fn finish_original_outputs(&mut self) -> Result<(), Stop> {
        for place in 0..self.originals.len() {
            self.read_removed_outputs(place, self.originals[place].outputs)?;
            let original = &self.originals[place];
            if to_wire(original.tx.txid())[..] != original.hash {
                return Err(Stop::process("Invalid original TXID."));
            }
        }
        Ok(())
    }

    /// Verifies that the replaced transactions are signed.
    pub(super) fn verify_originals(&mut self) -> Result<(), Stop> {
        for place in 0..self.originals.len() {
            let hash = self.originals[place].hash.clone();
            for index in 0..self.originals[place].inputs {
                let told = self.input(index, Some(&hash))?;
                self.originals[place].tx.compare_input(index, &told)?;
                if told.witness().is_empty() {
                    self.read_original_again(place, &hash)?;
                }
                let tx = &mut self.originals[place].tx;
                verify::input(tx, index, told.script_sig(), told.witness())?;
            }
        }
        Ok(())
    }

    fn read_original_again(&mut self, place: usize, hash: &[u8]) -> Result<(), Stop> {
        for index in 0..self.originals[place].inputs {
            let told = self.input(index, Some(hash))?;
            self.originals[place].tx.compare_input(index, &told)?;
        }
        for index in 0..self.originals[place].outputs {
            let mut told = self.output(index, Some(hash))?;
            let script = self.output_script(&mut told)?;
            let tx = &self.originals[place].tx;
            tx.compare_output(index, told.amount(), &script)?;
        }
        Ok(())
    }
}
