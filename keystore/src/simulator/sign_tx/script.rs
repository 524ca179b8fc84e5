//! The scripts of inputs and outputs, and what is put into them.

use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::opcodes::OP_FALSE;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{Address, CompressedPublicKey, EcdsaSighashType, ScriptBuf, Witness};
use trezor_client::InputScriptType;
use trezor_client::protos::{MultisigRedeemScriptType, OutputScriptType};

use super::super::address::{multisig_address, multisig_script, single_address};
use super::super::coin::Coin;
use super::super::engine::Stop;
use super::change::input_script_type;
use super::{Input, Output, Signing, changed};

impl Signing<'_> {
    /// Returns the script that an input has to satisfy.
    pub(super) fn input_script(&mut self, input: &Input) -> Result<ScriptBuf, Stop> {
        if input.script_type() == InputScriptType::EXTERNAL {
            return Ok(ScriptBuf::from_bytes(input.script_pubkey().to_vec()));
        }
        let address = self.own_address(
            &input.address_n,
            input.script_type(),
            input.multisig.as_ref(),
        )?;
        address_script(self.coin, &address)
    }

    /// Returns the script of an output, and puts the address into it where that is our own.
    pub(super) fn output_script(&mut self, output: &mut Output) -> Result<ScriptBuf, Stop> {
        if output.script_type() == OutputScriptType::PAYTOOPRETURN {
            let data = PushBytesBuf::try_from(output.op_return_data().to_vec())
                .map_err(|_| Stop::data("OP_RETURN data is too long"))?;
            let builder = Builder::new().push_opcode(OP_RETURN);
            return Ok(builder.push_slice(data).into_script());
        }
        if !output.address_n.is_empty() {
            let script = input_script_type(output.script_type())
                .ok_or_else(|| Stop::data("Invalid script type"))?;
            let address = self.own_address(&output.address_n, script, output.multisig.as_ref())?;
            output.set_address(address);
        }
        address_script(self.coin, output.address())
    }

    fn own_address(
        &mut self,
        path: &[u32],
        script: InputScriptType,
        multisig: Option<&MultisigRedeemScriptType>,
    ) -> Result<String, Stop> {
        let key = CompressedPublicKey(self.keys.derive(path)?.secp_public());
        match multisig {
            Some(multisig) => multisig_address(self.coin, script, key, multisig),
            None => single_address(self.coin, script, key),
        }
    }

    fn own_key(&mut self, input: &Input) -> Result<CompressedPublicKey, Stop> {
        let node = self.keys.derive(&input.address_n)?;
        Ok(CompressedPublicKey(node.secp_public()))
    }

    /// Returns the script of all cosigners of an input.
    pub(super) fn multisig_script(&mut self, input: &Input) -> Result<ScriptBuf, Stop> {
        let key = self.own_key(input)?;
        multisig_script(key, input.multisig.as_ref().ok_or_else(changed)?)
    }

    /// Returns what stands in the place of signatures where those are in the witness.
    pub(super) fn segwit_script_sig(&mut self, input: &Input) -> Result<Vec<u8>, Stop> {
        if input.script_type() != InputScriptType::SPENDP2SHWITNESS {
            return Ok(Vec::new());
        }
        let program = match input.multisig.as_ref() {
            Some(_) => self.multisig_script(input)?.to_p2wsh(),
            None => ScriptBuf::new_p2wpkh(&self.own_key(input)?.wpubkey_hash()),
        };
        let builder = Builder::new().push_slice(pushed(program.into_bytes()));
        Ok(builder.into_bytes())
    }

    /// Returns a complete script with our signature, and with the cosigners' that the host has.
    pub(super) fn legacy_script_sig(
        &mut self,
        input: &Input,
        signature: &[u8],
    ) -> Result<Vec<u8>, Stop> {
        let builder = Builder::new();
        let builder = if input.multisig.is_some() {
            let signatures = self.all_signatures(input, signature)?;
            let builder = builder.push_opcode(OP_FALSE);
            let builder = signatures.into_iter().fold(builder, |builder, signature| {
                builder.push_slice(pushed(signature))
            });
            let script = self.multisig_script(input)?;
            builder.push_slice(pushed(script.into_bytes()))
        } else {
            let key = self.own_key(input)?;
            builder
                .push_slice(pushed(with_type(signature)))
                .push_slice(key.to_bytes())
        };
        Ok(builder.into_bytes())
    }

    /// Returns a complete witness with our signature, and with the cosigners' that the host has.
    pub(super) fn witness(&mut self, input: &Input, signature: &[u8]) -> Result<Witness, Stop> {
        if input.script_type() == InputScriptType::SPENDTAPROOT {
            return Ok(Witness::from_slice(&[signature]));
        }
        let mut witness = Witness::new();
        if input.multisig.is_some() {
            witness.push([]);
            for signature in self.all_signatures(input, signature)? {
                witness.push(signature);
            }
            witness.push(self.multisig_script(input)?);
        } else {
            witness.push(with_type(signature));
            witness.push(self.own_key(input)?.to_bytes());
        }
        Ok(witness)
    }

    fn all_signatures(&mut self, input: &Input, ours: &[u8]) -> Result<Vec<Vec<u8>>, Stop> {
        let own = self.own_key(input)?.to_bytes();
        let script = self.multisig_script(input)?;
        let mut keys = script
            .instructions()
            .filter_map(|instruction| {
                instruction
                    .ok()?
                    .push_bytes()
                    .map(|key| key.as_bytes().to_vec())
            })
            .filter(|key| key.len() == own.len());
        let place = keys.position(|key| key == own).ok_or_else(changed)?;
        let multisig = input.multisig.as_ref().ok_or_else(changed)?;
        let mut signatures = multisig.signatures.clone();
        let number = multisig.nodes.len().max(multisig.pubkeys.len());
        signatures.resize(number, Vec::new());
        let invalid = || Stop::data("Invalid multisig parameters");
        let free = signatures.get_mut(place).ok_or_else(invalid)?;
        if !free.is_empty() {
            return Err(invalid());
        }
        *free = ours.to_vec();
        let given = signatures.iter().filter(|signature| !signature.is_empty());
        Ok(given.map(|signature| with_type(signature)).collect())
    }
}

fn with_type(signature: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.push(EcdsaSighashType::All as u8);
    bytes
}

fn pushed(bytes: Vec<u8>) -> PushBytesBuf {
    PushBytesBuf::try_from(bytes).expect("keys, signatures and scripts of 15 keys are short")
}

fn address_script(coin: &Coin, address: &str) -> Result<ScriptBuf, Stop> {
    let address = Address::<NetworkUnchecked>::from_str(address)
        .ok()
        .and_then(|address| address.require_network(coin.network).ok())
        .ok_or_else(|| Stop::data("Invalid address"))?;
    Ok(address.script_pubkey())
}
