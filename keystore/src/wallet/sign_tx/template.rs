//! The kinds of scripts that the device signs, and what a PSBT has to say about each.

use std::collections::BTreeMap;
use std::fmt;

use bitcoin::bip32::{Fingerprint, KeySource};
use bitcoin::opcodes::all::OP_CHECKMULTISIG;
use bitcoin::psbt::{Input, Output};
use bitcoin::script::Instruction;
use bitcoin::secp256k1::{self, Parity, XOnlyPublicKey};
use bitcoin::taproot::TapLeafHash;
use bitcoin::{CompressedPublicKey, PublicKey, Script, ScriptBuf};
use trezor_client::InputScriptType;
use trezor_client::protos::OutputScriptType;

use super::error::ClaimError;
use super::verify::secp;

/// How an output is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptKind {
    /// One key, signed without a witness.
    P2pkh,
    /// One key, nested.
    P2shP2wpkh,
    /// One key.
    P2wpkh,
    /// One key, [BIP-341](https://github.com/bitcoin/bips/blob/master/bip-0341.mediawiki) key path.
    P2tr,
    /// Several keys, signed without a witness.
    P2shMultisig,
    /// Several keys, nested.
    P2shP2wshMultisig,
    /// Several keys.
    P2wshMultisig,
}

impl ScriptKind {
    /// Returns the name that descriptors' users know.
    pub fn name(self) -> &'static str {
        match self {
            Self::P2pkh => "p2pkh",
            Self::P2shP2wpkh => "p2sh-p2wpkh",
            Self::P2wpkh => "p2wpkh",
            Self::P2tr => "p2tr",
            Self::P2shMultisig => "p2sh multisig",
            Self::P2shP2wshMultisig => "p2sh-p2wsh multisig",
            Self::P2wshMultisig => "p2wsh multisig",
        }
    }

    pub(super) fn input_type(self) -> InputScriptType {
        match self {
            Self::P2pkh => InputScriptType::SPENDADDRESS,
            Self::P2shMultisig => InputScriptType::SPENDMULTISIG,
            Self::P2shP2wpkh | Self::P2shP2wshMultisig => InputScriptType::SPENDP2SHWITNESS,
            Self::P2wpkh | Self::P2wshMultisig => InputScriptType::SPENDWITNESS,
            Self::P2tr => InputScriptType::SPENDTAPROOT,
        }
    }

    pub(super) fn output_type(self) -> OutputScriptType {
        match self {
            Self::P2pkh => OutputScriptType::PAYTOADDRESS,
            Self::P2shMultisig => OutputScriptType::PAYTOMULTISIG,
            Self::P2shP2wpkh | Self::P2shP2wshMultisig => OutputScriptType::PAYTOP2SHWITNESS,
            Self::P2wpkh | Self::P2wshMultisig => OutputScriptType::PAYTOWITNESS,
            Self::P2tr => OutputScriptType::PAYTOTAPROOT,
        }
    }
}

impl fmt::Display for ScriptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A script of a kind that is known, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// How it is spent.
    pub kind: ScriptKind,
    /// What is signed for: the innermost script.
    pub inner: ScriptBuf,
    /// How many of which keys, in their order, where there are several.
    pub multisig: Option<(usize, Vec<PublicKey>)>,
}

impl Template {
    /// Takes the script of an output apart, with the scripts that it is the hash of.
    ///
    /// # Errors
    ///
    /// Fails where a script is missing or is not the one that was hashed.
    pub fn of(
        script: &Script,
        redeem: Option<&ScriptBuf>,
        witness: Option<&ScriptBuf>,
    ) -> Result<Self, ClaimError> {
        let single = |kind, inner: &Script| Self {
            kind,
            inner: inner.to_owned(),
            multisig: None,
        };
        if script.is_p2pkh() {
            return Ok(single(ScriptKind::P2pkh, script));
        }
        if script.is_p2wpkh() {
            return Ok(single(ScriptKind::P2wpkh, script));
        }
        if script.is_p2tr() {
            return Ok(single(ScriptKind::P2tr, script));
        }
        if script.is_p2wsh() {
            return witness_script(script, witness, ScriptKind::P2wshMultisig);
        }
        if !script.is_p2sh() {
            return Err(ClaimError::Unsupported);
        }
        let redeem = redeem.ok_or(ClaimError::ScriptMissing)?;
        if redeem.to_p2sh() != *script {
            return Err(ClaimError::RedeemScript);
        }
        if redeem.is_p2wpkh() {
            return Ok(single(ScriptKind::P2shP2wpkh, redeem));
        }
        if redeem.is_p2wsh() {
            return witness_script(redeem, witness, ScriptKind::P2shP2wshMultisig);
        }
        let multisig = multisig(redeem).ok_or(ClaimError::Unsupported)?;
        Ok(Self {
            kind: ScriptKind::P2shMultisig,
            inner: redeem.clone(),
            multisig: Some(multisig),
        })
    }

    /// Tells whether `key` can sign for it.
    pub fn holds(&self, key: &PublicKey) -> bool {
        let compressed = CompressedPublicKey(key.inner);
        match self.kind {
            ScriptKind::P2pkh => self.inner == ScriptBuf::new_p2pkh(&key.pubkey_hash()),
            ScriptKind::P2wpkh | ScriptKind::P2shP2wpkh => {
                key.compressed && self.inner == ScriptBuf::new_p2wpkh(&compressed.wpubkey_hash())
            }
            ScriptKind::P2tr => {
                let (internal, _) = key.inner.x_only_public_key();
                self.inner == ScriptBuf::new_p2tr(secp(), internal, None)
            }
            ScriptKind::P2shMultisig
            | ScriptKind::P2shP2wshMultisig
            | ScriptKind::P2wshMultisig => self
                .multisig
                .as_ref()
                .is_some_and(|(_, keys)| keys.contains(key)),
        }
    }
}

fn witness_script(
    program: &Script,
    witness: Option<&ScriptBuf>,
    kind: ScriptKind,
) -> Result<Template, ClaimError> {
    let witness = witness.ok_or(ClaimError::ScriptMissing)?;
    if witness.to_p2wsh() != *program {
        return Err(ClaimError::WitnessScript);
    }
    let multisig = multisig(witness).ok_or(ClaimError::Unsupported)?;
    if !multisig.1.iter().all(|key| key.compressed) {
        return Err(ClaimError::Unsupported);
    }
    Ok(Template {
        kind,
        inner: witness.clone(),
        multisig: Some(multisig),
    })
}

/// Takes a bare multisig script apart.
fn multisig(script: &Script) -> Option<(usize, Vec<PublicKey>)> {
    let instructions: Vec<Instruction<'_>> = script
        .instructions_minimal()
        .collect::<Result<_, _>>()
        .ok()?;
    let [needed, keys @ .., number, Instruction::Op(OP_CHECKMULTISIG)] = &instructions[..] else {
        return None;
    };
    let small = |instruction: &Instruction<'_>| usize::try_from(instruction.script_num()?).ok();
    let keys: Option<Vec<PublicKey>> = keys
        .iter()
        .map(|key| PublicKey::from_slice(key.push_bytes()?.as_bytes()).ok())
        .collect();
    let (needed, keys) = (small(needed)?, keys?);
    let whole = small(number)? == keys.len() && (1..=keys.len()).contains(&needed);
    whole.then_some((needed, keys))
}

/// What a PSBT claims about an input or an output.
pub(super) struct Claims<'a> {
    keys: &'a BTreeMap<secp256k1::PublicKey, KeySource>,
    taproot_keys: &'a BTreeMap<XOnlyPublicKey, (Vec<TapLeafHash>, KeySource)>,
    internal_key: Option<XOnlyPublicKey>,
    tree: bool,
    redeem: Option<&'a ScriptBuf>,
    witness: Option<&'a ScriptBuf>,
}

impl<'a> From<&'a Input> for Claims<'a> {
    fn from(input: &'a Input) -> Self {
        Self {
            keys: &input.bip32_derivation,
            taproot_keys: &input.tap_key_origins,
            internal_key: input.tap_internal_key,
            tree: input.tap_merkle_root.is_some(),
            redeem: input.redeem_script.as_ref(),
            witness: input.witness_script.as_ref(),
        }
    }
}

impl<'a> From<&'a Output> for Claims<'a> {
    fn from(output: &'a Output) -> Self {
        Self {
            keys: &output.bip32_derivation,
            taproot_keys: &output.tap_key_origins,
            internal_key: output.tap_internal_key,
            tree: output.tap_tree.is_some(),
            redeem: output.redeem_script.as_ref(),
            witness: output.witness_script.as_ref(),
        }
    }
}

/// A script that this wallet has a key of.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) template: Template,
    pub(super) key: PublicKey,
    pub(super) source: KeySource,
    /// Where the keys of a multisig script are said to come from, in their order.
    pub(super) cosigners: Vec<Option<KeySource>>,
}

impl<'a> Claims<'a> {
    /// Returns where every key is said to live.
    pub(super) fn sources(&self) -> impl Iterator<Item = &'a KeySource> + use<'a> {
        let taproot = self.taproot_keys.values().map(|(_, source)| source);
        self.keys.values().chain(taproot)
    }

    /// Returns what of `script` is claimed to be of the wallet `fingerprint`; `None` if nothing is.
    pub(super) fn own(
        &self,
        script: &Script,
        fingerprint: Fingerprint,
    ) -> Result<Option<Own>, ClaimError> {
        let ours = |(found, _): &KeySource| *found == fingerprint;
        if script.is_p2tr() {
            return self.own_taproot(script, fingerprint);
        }
        if !self.keys.values().any(ours) {
            return Ok(None);
        }
        let template = Template::of(script, self.redeem, self.witness)?;
        let mut claimed = self.keys.iter().filter(|(_, source)| ours(source));
        let held = claimed.find_map(|(key, source)| {
            let keys = [PublicKey::new(*key), PublicKey::new_uncompressed(*key)];
            let key = keys.into_iter().find(|key| template.holds(key))?;
            Some((key, source.clone()))
        });
        let Some((key, source)) = held else {
            let first = self.keys.values().find(|source| ours(source));
            let path = first.map(|(_, path)| path.clone()).unwrap_or_default();
            return Err(ClaimError::NotInScript(path.into()));
        };
        if !key.compressed {
            return Err(ClaimError::Unsupported);
        }
        let keys = template.multisig.iter().flat_map(|(_, keys)| keys);
        let cosigners = keys.map(|key| self.keys.get(&key.inner).cloned()).collect();
        Ok(Some(Own {
            template,
            key,
            source,
            cosigners,
        }))
    }

    fn own_taproot(
        &self,
        script: &Script,
        fingerprint: Fingerprint,
    ) -> Result<Option<Own>, ClaimError> {
        let mut ours = self
            .taproot_keys
            .iter()
            .filter(|(_, (_, (found, _)))| *found == fingerprint)
            .peekable();
        let Some((_, (_, (_, path)))) = ours.peek() else {
            return Ok(None);
        };
        if self.tree {
            return Err(ClaimError::ScriptTree);
        }
        let missing = ClaimError::NotInScript(path.clone().into());
        let Some((key, (_, source))) = ours.find(|(key, (leaves, _))| {
            leaves.is_empty() && self.internal_key.is_none_or(|internal| internal == **key)
        }) else {
            return Err(ClaimError::ScriptTree);
        };
        let template = Template::of(script, None, None)?;
        let key = PublicKey::new(key.public_key(Parity::Even));
        if !template.holds(&key) {
            return Err(missing);
        }
        Ok(Some(Own {
            template,
            key,
            source: source.clone(),
            cosigners: Vec::new(),
        }))
    }
}
