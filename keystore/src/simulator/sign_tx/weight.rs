//! How heavy the signed transaction will be, with the largest signatures that there are, see
//! [BIP-141](https://github.com/bitcoin/bips/blob/master/bip-0141.mediawiki#transaction-size-calculations).

use bitcoin::VarInt;
use trezor_client::InputScriptType;

use super::super::engine::Stop;
use super::Input;

const VERSION_AND_LOCK_TIME: usize = 8;
const SEGWIT_MARK: usize = 2;
const OUTPOINT_AND_SEQUENCE: usize = 40;
const AMOUNT: usize = 8;
const KEY: usize = 33;
const DER_SIGNATURE: usize = 72;
const SCHNORR_SIGNATURE: usize = 64;
/// Needed, number and `OP_CHECKMULTISIG`.
const MULTISIG_FRAME: usize = 3;
const P2WPKH: usize = 22;
const P2WSH: usize = 34;

#[derive(Debug, Default)]
pub(super) struct Weight {
    inputs: usize,
    outputs: usize,
    witnesses: usize,
    units: usize,
}

impl Weight {
    pub(super) fn add_input(&mut self, input: &Input) -> Result<(), Stop> {
        use InputScriptType as S;
        self.inputs += 1;
        self.units += 4 * OUTPOINT_AND_SEQUENCE;
        match input.script_type() {
            S::SPENDADDRESS | S::SPENDMULTISIG => {
                let size = signed_size(input)?;
                self.units += 4 * (size + compact(size));
            }
            S::EXTERNAL => {
                let (script, witness) = (input.script_sig().len(), input.witness().len());
                self.units += 4 * (compact(script) + script) + witness;
                self.witnesses += usize::from(witness > 1);
            }
            script @ (S::SPENDWITNESS | S::SPENDP2SHWITNESS | S::SPENDTAPROOT) => {
                self.witnesses += 1;
                let script_sig = match (script, input.multisig.is_some()) {
                    (S::SPENDP2SHWITNESS, true) => 2 + P2WSH,
                    (S::SPENDP2SHWITNESS, false) => 2 + P2WPKH,
                    _ => 1,
                };
                self.units += 4 * script_sig + 1 + signed_size(input)?;
            }
        }
        Ok(())
    }

    pub(super) fn add_output(&mut self, script: usize) {
        self.outputs += 1;
        self.units += 4 * (AMOUNT + compact(script) + script);
    }

    /// Returns the size in virtual bytes.
    pub(super) fn virtual_size(&self) -> usize {
        let mut units = self.units + 4 * VERSION_AND_LOCK_TIME;
        units += 4 * (compact(self.inputs) + compact(self.outputs));
        if self.witnesses > 0 {
            units += SEGWIT_MARK + self.inputs - self.witnesses;
        }
        units.div_ceil(4)
    }
}

fn signed_size(input: &Input) -> Result<usize, Stop> {
    if let Some(multisig) = input.multisig.as_ref() {
        let keys = multisig.nodes.len().max(multisig.pubkeys.len());
        let script = MULTISIG_FRAME + keys * (1 + KEY);
        let legacy = matches!(
            input.script_type(),
            InputScriptType::SPENDADDRESS | InputScriptType::SPENDMULTISIG
        );
        let push = if legacy {
            op_push(script)
        } else {
            compact(script)
        };
        let needed = usize::try_from(multisig.m())
            .ok()
            .filter(|needed| *needed <= keys)
            .ok_or_else(|| Stop::data("Invalid multisig parameters"))?;
        return Ok(1 + needed * (1 + DER_SIGNATURE) + push + script);
    }
    Ok(match input.script_type() {
        InputScriptType::SPENDTAPROOT => 1 + SCHNORR_SIGNATURE,
        _ => 1 + DER_SIGNATURE + 1 + KEY,
    })
}

fn compact(length: usize) -> usize {
    VarInt::from(length).size()
}

fn op_push(length: usize) -> usize {
    match length {
        0..0x4c => 1,
        0x4c..0x100 => 2,
        0x100..0x1_0000 => 3,
        _ => 5,
    }
}
