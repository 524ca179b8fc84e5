//! Partially signed transactions as files:
//! [BIP-174](https://github.com/bitcoin/bips/blob/master/bip-0174.mediawiki),
//! [BIP-371](https://github.com/bitcoin/bips/blob/master/bip-0371.mediawiki) and, as another way to
//! write the same, [BIP-370](https://github.com/bitcoin/bips/blob/master/bip-0370.mediawiki).

mod finalize;
mod map;
mod version2;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bitcoin::{Psbt, Transaction};

use crate::hint::Hint;
use crate::wallet::sign_tx::ClaimError;

pub use finalize::finalize;
pub(crate) use finalize::spend;
use version2::Version2;

/// Longest PSBT that is read, in bytes once it is decoded.
pub const MAX_PSBT: usize = 16 << 20;

const MAGIC: &[u8] = b"psbt\xff";

/// Why a file is not a PSBT, or why it cannot be completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PsbtError {
    /// It does not begin as one.
    #[error("this is no PSBT: neither the bytes `psbt` nor the base64 of them begin it")]
    NotPsbt,
    /// More than is read.
    #[error("this PSBT is longer than 16 MiB")]
    TooLong,
    /// Not base64 or hexadecimal after all.
    #[error("this PSBT begins as text and goes on as something else")]
    Text,
    /// It ends in the middle.
    #[error("this PSBT is cut off")]
    Truncated,
    /// Bytes stand behind its end.
    #[error("{0} bytes stand behind the end of this PSBT")]
    Trailing(usize),
    /// The same field twice.
    #[error("this PSBT has field `{0}` twice in one map")]
    Duplicate(String),
    /// A version that is not known.
    #[error("this PSBT is of version {0}; 0 and 2 are known")]
    Version(u32),
    /// A field that its version does not have.
    #[error("this PSBT of version {version} has field `{field}`, which that version forbids")]
    Forbidden {
        /// The version.
        version: u32,
        /// The field.
        field: String,
    },
    /// A field that version 2 demands.
    #[error("this PSBT of version 2 lacks `{0}`")]
    Missing(&'static str),
    /// A field of version 2 that cannot be read.
    #[error("this PSBT of version 2 has an invalid `{0}`")]
    Invalid(&'static str),
    /// Anything else that the specification forbids.
    #[error("this PSBT is not valid")]
    Malformed(#[source] bitcoin::psbt::Error),
    /// Two PSBTs of different transactions.
    #[error("these PSBTs are not of the same transaction")]
    OtherTransaction(#[source] bitcoin::psbt::Error),
    /// The transaction that an input spends has no such output.
    #[error("input {input} spends output {output} of a transaction that has {outputs}")]
    NoOutput {
        /// The input.
        input: usize,
        /// The output that it names.
        output: u32,
        /// How many there are.
        outputs: usize,
    },
    /// What an input spends is not known.
    #[error("input {0} does not say what it spends")]
    NoUtxo(usize),
    /// Who makes it final does not know how.
    #[error("input {input} cannot be made final: {source}")]
    Script {
        /// The input.
        input: usize,
        /// What is wrong with it.
        source: ClaimError,
    },
    /// Signatures are missing.
    #[error("input {input} has {have} of {need} signatures")]
    Incomplete {
        /// The input.
        input: usize,
        /// Signatures that are there.
        have: usize,
        /// Signatures that it takes.
        need: usize,
    },
    /// A signature in the PSBT is not good.
    #[error("input {0} has a signature that is not of this transaction and key")]
    BadSignature(usize),
    /// An input that is not final yet.
    #[error("input {0} is not final")]
    NotFinal(usize),
}

impl PsbtError {
    /// Tells whether this is about a signature that is wrong.
    pub fn is_verification(&self) -> bool {
        matches!(self, Self::BadSignature(_))
    }
}

impl Hint for PsbtError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Incomplete { .. } => {
                "have the other cosigners sign, then run `psbt combine`".into()
            }
            Self::NotPsbt => "name a file that a wallet wrote as PSBT, binary or base64".into(),
            Self::NotFinal(_) => "run `psbt finalize` first".into(),
            Self::Truncated | Self::Text => "copy it again, from the first byte to the last".into(),
            Self::BadSignature(_) => {
                "do not trust whoever made this signature; sign again without it".into()
            }
            _ => return None,
        })
    }
}

/// How a PSBT was written, and is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As its bytes.
    Binary,
    /// As text.
    Base64,
}

/// A PSBT and the form that it came in.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub psbt: Psbt,
    /// How it was written.
    pub encoding: Encoding,
    version2: Option<Version2>,
}

impl Document {
    /// Reads a PSBT: its bytes, base64 or hexadecimal.
    ///
    /// # Errors
    ///
    /// Refuses what the specifications do not allow, and what is longer than [`MAX_PSBT`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PsbtError> {
        if bytes.starts_with(MAGIC) {
            return Self::parse_binary(bytes, Encoding::Binary);
        }
        if bytes.len() > 3 * MAX_PSBT {
            return Err(PsbtError::TooLong);
        }
        let text: Vec<u8> = bytes
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let decoded = if text.starts_with(b"cHNidP") {
            BASE64.decode(&text).map_err(|_| PsbtError::Text)?
        } else if text.to_ascii_lowercase().starts_with(b"70736274ff") {
            hex::decode(&text).map_err(|_| PsbtError::Text)?
        } else {
            return Err(PsbtError::NotPsbt);
        };
        if !decoded.starts_with(MAGIC) {
            return Err(PsbtError::NotPsbt);
        }
        Self::parse_binary(&decoded, Encoding::Base64)
    }

    fn parse_binary(bytes: &[u8], encoding: Encoding) -> Result<Self, PsbtError> {
        if bytes.len() > MAX_PSBT {
            return Err(PsbtError::TooLong);
        }
        let (mut maps, version) = map::Maps::parse(bytes)?;
        let (version2, whole);
        let bytes = match version {
            0 => {
                version2 = None;
                maps.refuse_newer_fields()?;
                bytes
            }
            2 => {
                version2 = Some(Version2::take(&mut maps)?);
                whole = maps.to_bytes();
                &whole
            }
            other => return Err(PsbtError::Version(other)),
        };
        let psbt = Psbt::deserialize(bytes).map_err(PsbtError::Malformed)?;
        outputs_exist(&psbt)?;
        Ok(Self {
            psbt,
            encoding,
            version2,
        })
    }

    /// Returns the version that it was written in: 0 or 2.
    pub fn version(&self) -> u32 {
        if self.version2.is_some() { 2 } else { 0 }
    }

    /// Returns the bytes of it, in the version that it came in.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = self.psbt.serialize();
        let Some(version2) = &self.version2 else {
            return bytes;
        };
        let Ok((mut maps, _)) = map::Maps::parse(&bytes) else {
            return bytes;
        };
        version2.put(&mut maps, &self.psbt);
        maps.to_bytes()
    }

    /// Returns it as text.
    pub fn to_base64(&self) -> String {
        BASE64.encode(self.to_bytes())
    }

    /// Takes over what `other`, of the same transaction, has more.
    ///
    /// # Errors
    ///
    /// Fails where it is of another transaction.
    pub fn combine(&mut self, other: Self) -> Result<(), PsbtError> {
        let combined = self.psbt.combine(other.psbt);
        combined.map_err(PsbtError::OtherTransaction)
    }
}

/// Returns the transaction of a PSBT whose inputs are all final.
///
/// # Errors
///
/// Names the first input that is not.
pub fn extract(psbt: &Psbt) -> Result<Transaction, PsbtError> {
    let open = psbt
        .inputs
        .iter()
        .position(|input| input.final_script_sig.is_none() && input.final_script_witness.is_none());
    match open {
        Some(input) => Err(PsbtError::NotFinal(input)),
        None => Ok(psbt.clone().extract_tx_unchecked_fee_rate()),
    }
}

/// Refuses an input that spends what its transaction does not have; the library counts on it.
fn outputs_exist(psbt: &Psbt) -> Result<(), PsbtError> {
    let spent = psbt.unsigned_tx.input.iter().zip(&psbt.inputs);
    for (input, (spending, known)) in spent.enumerate() {
        let Some(transaction) = &known.non_witness_utxo else {
            continue;
        };
        let outputs = transaction.output.len();
        let output = spending.previous_output.vout;
        if usize::try_from(output).map_or(true, |output| output >= outputs) {
            return Err(PsbtError::NoOutput {
                input,
                output,
                outputs,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
