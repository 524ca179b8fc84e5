//! `SignTx`: the device reads the transaction piece by piece, as often as it needs to, and never has
//! to believe what it was told before.
//!
//! The order of the steps, what is asked in each and what ends the dialogue are those of firmware
//! 2.12.4. Where that compares digests at the end of a pass, this compares each piece at once.

mod approval;
mod change;
mod exchange;
mod keys;
mod original;
mod screens;
mod script;
mod streamed;
mod verify;
mod weight;

use bitcoin::ScriptBuf;
use trezor_client::InputScriptType;
use trezor_client::protos::tx_ack::transaction_type::{TxInputType, TxOutputType};
use trezor_client::protos::tx_request::RequestType;
use trezor_client::protos::{AmountUnit, SignTx, TxRequest};

use super::coin::Coin;
use super::engine::{Engine, Stop};
use approval::Totals;
use exchange::Pending;
use keys::Keys;
use original::Original;
use streamed::Streamed;

type Input = TxInputType;
type Output = TxOutputType;

impl Engine {
    pub(super) fn sign_tx(&mut self, request: &SignTx) -> Result<TxRequest, Stop> {
        let coin = Coin::by_name(request.coin_name.as_deref())
            .ok_or_else(|| Stop::data("Unsupported coin type"))?;
        if request.coinjoin_request.is_some() {
            return Err(Stop::process("No preauthorized operation"));
        }
        let keychain = self.keychain()?;
        let signing = Signing {
            engine: self,
            coin,
            keys: Keys::new(coin, keychain),
            unit: request.amount_unit(),
            serialize: request.serialize(),
            inputs: count(request.inputs_count()),
            outputs: count(request.outputs_count()),
            pending: Pending::default(),
            tx: Streamed::new(request.version(), request.lock_time()),
            kinds: Vec::new(),
            taproot_only: true,
            originals: Vec::new(),
            totals: Totals::default(),
        };
        signing.run()
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).expect("usize has 32 bits or more")
}

/// What has to be done about an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Ours, signed over the whole transaction once more.
    Legacy,
    /// Ours, with a witness.
    Segwit,
    /// Another's.
    External { witness: bool, presigned: bool },
}

impl Kind {
    fn has_witness(self) -> bool {
        matches!(self, Self::Segwit | Self::External { witness: true, .. })
    }

    fn is_presigned(self) -> bool {
        matches!(
            self,
            Self::External {
                presigned: true,
                ..
            }
        )
    }
}

/// One run of the dialogue.
struct Signing<'e> {
    engine: &'e mut Engine,
    coin: &'static Coin,
    keys: Keys,
    unit: AmountUnit,
    serialize: bool,
    inputs: usize,
    outputs: usize,
    pending: Pending,
    tx: Streamed,
    kinds: Vec<Kind>,
    taproot_only: bool,
    originals: Vec<Original>,
    totals: Totals,
}

fn changed() -> Stop {
    Stop::process("Transaction has changed during signing")
}

impl Signing<'_> {
    fn run(mut self) -> Result<TxRequest, Stop> {
        self.read_inputs()?;
        self.approve_originals()?;
        self.approve_outputs()?;
        self.approve_total()?;
        self.verify_inputs()?;
        self.serialize_inputs()?;
        self.serialize_outputs()?;
        self.sign_segwit_inputs()?;
        if self.serialize {
            let lock_time = self.tx.lock_time();
            self.pending.write(&lock_time);
        }
        Ok(self.question(RequestType::TXFINISHED, None, None))
    }

    /// Step 1: what is spent.
    fn read_inputs(&mut self) -> Result<(), Stop> {
        for index in 0..self.inputs {
            let input = self.input(index, None)?;
            let external = input.script_type() == InputScriptType::EXTERNAL;
            let witness = self.witness_kind(&input);
            self.taproot_only &= external || input.script_type() == InputScriptType::SPENDTAPROOT;
            self.kinds.push(match (external, witness) {
                (true, witness) => Kind::External {
                    witness,
                    presigned: !input.witness().is_empty() || !input.script_sig().is_empty(),
                },
                (false, true) => Kind::Segwit,
                (false, false) => Kind::Legacy,
            });
            if external {
                self.add_external_input(&input)?;
            } else {
                self.add_internal_input(&input)?;
            }
            let script = self.input_script(&input)?;
            self.tx.add_input(&input, &script, external)?;
            if !input.orig_hash().is_empty() {
                self.read_original_input(&input, &script)?;
            }
        }
        self.finish_original_inputs()
    }

    fn witness_kind(&self, input: &Input) -> bool {
        use InputScriptType as S;
        match input.script_type() {
            S::SPENDWITNESS | S::SPENDP2SHWITNESS | S::SPENDTAPROOT => true,
            S::EXTERNAL => input.witness.is_some(),
            S::SPENDADDRESS | S::SPENDMULTISIG => false,
        }
    }

    /// Step 2: where it goes.
    fn approve_outputs(&mut self) -> Result<(), Stop> {
        for index in 0..self.outputs {
            let mut output = self.output(index, None)?;
            let script = self.output_script(&mut output)?;
            let original = if output.orig_hash().is_empty() {
                None
            } else {
                Some(self.read_original_output(&output, &script)?)
            };
            self.approve_output(&output, &script, original.as_ref())?;
            self.tx.add_output(output.amount(), &script);
        }
        self.finish_original_outputs()
    }

    /// Step 3: that what is spent is what it is said to be.
    ///
    /// A taproot signature covers all amounts and scripts, so a lie makes it worthless. Any other
    /// could be used elsewhere, so the previous transactions are read.
    fn verify_inputs(&mut self) -> Result<(), Stop> {
        for index in 0..self.inputs {
            let presigned = self.kinds[index].is_presigned();
            if self.taproot_only && !presigned {
                continue;
            }
            let input = self.input(index, None)?;
            if !self.taproot_only {
                let (amount, script) = self.previous_output(&input)?;
                if amount != input.amount() {
                    return Err(Stop::data("Invalid amount specified"));
                }
                if script != self.input_script(&input)? {
                    return Err(Stop::data("Input does not match scriptPubKey"));
                }
            }
            self.tx.compare_input(index, &input)?;
            if presigned {
                if input.witness().is_empty() {
                    self.read_all_again(None)?;
                }
                verify::input(&mut self.tx, index, input.script_sig(), input.witness())?;
            }
        }
        self.verify_originals()
    }

    fn previous_output(&mut self, input: &Input) -> Result<(u64, ScriptBuf), Stop> {
        let hash = input.prev_hash();
        let mut previous = self.meta(hash)?;
        let (inputs, outputs) = (previous.inputs, previous.outputs);
        let wanted = count(input.prev_index());
        if outputs <= wanted {
            return Err(Stop::process("Not enough outputs in previous transaction."));
        }
        for index in 0..inputs {
            let input = self.previous_input(index, hash)?;
            previous.transaction.input.push(input);
        }
        for index in 0..outputs {
            let output = self.previous_bin_output(index, hash)?;
            previous.transaction.output.push(output);
        }
        if exchange::to_wire(previous.transaction.compute_txid()) != hash {
            return Err(Stop::process("Encountered invalid prev_hash"));
        }
        let output = previous.transaction.output.swap_remove(wanted);
        Ok((output.value.to_sat(), output.script_pubkey))
    }

    /// Step 4: the inputs as they are serialized; those without a witness are signed here.
    fn serialize_inputs(&mut self) -> Result<(), Stop> {
        if self.serialize {
            let segwit = self.kinds.iter().any(|kind| kind.has_witness());
            let version = self.tx.version();
            self.pending.write(&version);
            if segwit {
                self.pending.write(&[0_u8, 1]);
            }
            self.pending.write_count(self.inputs);
        }
        for index in 0..self.inputs {
            match self.kinds[index] {
                Kind::Legacy => self.sign_legacy_input(index)?,
                Kind::Segwit | Kind::External { .. } if !self.serialize => {}
                Kind::Segwit => {
                    let input = self.input(index, None)?;
                    self.tx.compare_input(index, &input)?;
                    let script_sig = self.segwit_script_sig(&input)?;
                    self.pending.write_input(&input, &script_sig);
                }
                Kind::External { .. } => {
                    let input = self.input(index, None)?;
                    self.tx.compare_input(index, &input)?;
                    self.pending.write_input(&input, input.script_sig());
                }
            }
        }
        Ok(())
    }

    fn sign_legacy_input(&mut self, index: usize) -> Result<(), Stop> {
        let input = self.read_all_again(Some(index))?.ok_or_else(changed)?;
        let key = self.keys.derive(&input.address_n)?;
        let script = match input.multisig.as_ref() {
            Some(_) => self.multisig_script(&input)?,
            None => self.input_script(&input)?,
        };
        let digest = self.tx.legacy_digest(index, &script)?;
        let signature = key.sign_der(&digest)?;
        if self.serialize {
            let script_sig = self.legacy_script_sig(&input, &signature)?;
            self.pending.write_input(&input, &script_sig);
        }
        self.pending.sign(index, signature);
        Ok(())
    }

    /// Reads the whole transaction once more, as the digest of a legacy input takes it, and returns
    /// the input that is `wanted`.
    fn read_all_again(&mut self, wanted: Option<usize>) -> Result<Option<Input>, Stop> {
        let mut found = None;
        for index in 0..self.inputs {
            let input = self.input(index, None)?;
            self.tx.compare_input(index, &input)?;
            if Some(index) == wanted {
                found = Some(input);
            }
        }
        for index in 0..self.outputs {
            let mut output = self.output(index, None)?;
            let script = self.output_script(&mut output)?;
            self.tx.compare_output(index, output.amount(), &script)?;
        }
        Ok(found)
    }

    /// Step 5.
    fn serialize_outputs(&mut self) -> Result<(), Stop> {
        if !self.serialize {
            return Ok(());
        }
        self.pending.write_count(self.outputs);
        for index in 0..self.outputs {
            let mut output = self.output(index, None)?;
            let script = self.output_script(&mut output)?;
            self.tx.compare_output(index, output.amount(), &script)?;
            self.pending.write(&output.amount());
            self.pending.write(&script);
        }
        Ok(())
    }

    /// Step 6: the witnesses.
    fn sign_segwit_inputs(&mut self) -> Result<(), Stop> {
        if !self.kinds.iter().any(|kind| kind.has_witness()) {
            return Ok(());
        }
        for index in 0..self.inputs {
            match self.kinds[index] {
                Kind::Segwit => self.sign_segwit_input(index)?,
                _ if !self.serialize => {}
                Kind::External {
                    witness: true,
                    presigned: true,
                } => {
                    let input = self.input(index, None)?;
                    self.tx.compare_input(index, &input)?;
                    let witness = input.witness();
                    self.pending
                        .extend(if witness.is_empty() { &[0] } else { witness });
                }
                Kind::Legacy | Kind::External { .. } => self.pending.extend(&[0]),
            }
        }
        Ok(())
    }

    fn sign_segwit_input(&mut self, index: usize) -> Result<(), Stop> {
        let input = self.input(index, None)?;
        self.tx.compare_input(index, &input)?;
        let key = self.keys.derive(&input.address_n)?;
        let signature = if input.script_type() == InputScriptType::SPENDTAPROOT {
            let digest = self.tx.taproot_digest(index)?;
            key.sign_taproot(&digest).to_vec()
        } else {
            let digest = match input.multisig.as_ref() {
                Some(_) => {
                    let script = self.multisig_script(&input)?;
                    self.tx.segwit_script_digest(index, &script)?
                }
                None => self.tx.segwit_key_digest(index, &key.secp_public())?,
            };
            key.sign_der(&digest)?
        };
        if self.serialize {
            let witness = self.witness(&input, &signature)?;
            self.pending.write(&witness);
        }
        self.pending.sign(index, signature);
        Ok(())
    }
}
