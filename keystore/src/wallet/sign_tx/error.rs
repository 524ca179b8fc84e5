//! Why a PSBT was not signed.

use bitcoin::bip32::Fingerprint;
use bitcoin::{Amount, Txid};

use crate::chain::Chain;
use crate::device::DeviceError;
use crate::hint::Hint;
use crate::path::DerivationPath;

/// What is wrong with the claim that a script belongs to this wallet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The script given for it is another one.
    #[error("its redeem script is not the one that it pays to")]
    RedeemScript,
    /// The script given for it is another one.
    #[error("its witness script is not the one that it pays to")]
    WitnessScript,
    /// Without the script nobody can tell who owns it.
    #[error("its redeem or witness script is missing")]
    ScriptMissing,
    /// Neither one key nor a multisig of keys.
    #[error("its script is of a kind that the device does not sign")]
    Unsupported,
    /// A script path, or a key path below a script tree.
    #[error("it has a taproot script tree, of which the device signs no part")]
    ScriptTree,
    /// The key does not appear in the script.
    #[error("the key that it names as `{0}` of this wallet is not in its script")]
    NotInScript(DerivationPath),
    /// The key in the script is another than the one at that path.
    #[error("the key that it names as `{0}` of this wallet is not the wallet's key there")]
    NotOurKey(DerivationPath),
    /// A key of the script is not of the cosigner that it is said to be of.
    #[error("its key of cosigner `{0}` is not that cosigner's")]
    NotCosignersKey(Fingerprint),
    /// A key of the script belongs to nobody who is known.
    #[error("its key `{0}` belongs to none of the known cosigners")]
    UnknownCosigner(String),
}

/// A fee that nobody pays on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeAlarm {
    /// The fee.
    pub fee: Amount,
    /// In hundredths of what is paid to others, or of everything where nothing is.
    pub percent: u64,
    /// In satoshi for a virtual byte.
    pub rate: u64,
}

impl FeeAlarm {
    /// What the person has to type to pay it all the same: the fee in satoshi.
    pub fn phrase(&self) -> String {
        self.fee.to_sat().to_string()
    }
}

/// Why a PSBT was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The device or the person refused, or the device is gone.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No input names a key of this wallet.
    #[error("no input of this PSBT belongs to the wallet `{0}`")]
    NothingToSign(Fingerprint),
    /// There is nothing left to sign.
    #[error("every input of this PSBT is final already")]
    AllFinal,
    /// Neither the output that is spent nor its transaction is known.
    #[error("input {0} does not say what it spends")]
    NoUtxo(usize),
    /// The device wants to see the transaction that an input spends.
    #[error("the transaction `{txid}` that input {input} spends is missing")]
    MissingPrevious {
        /// The input.
        input: usize,
        /// The transaction.
        txid: Txid,
    },
    /// The transaction that is given for an input is another one.
    #[error("input {input} comes with the transaction `{given}` but spends `{spent}`")]
    OtherPrevious {
        /// The input.
        input: usize,
        /// The one that it comes with.
        given: Txid,
        /// The one that it spends.
        spent: Txid,
    },
    /// The transaction that is spent has no such output.
    #[error("input {input} spends output {vout} of `{txid}`, which has no such output")]
    NoSuchOutput {
        /// The input.
        input: usize,
        /// The transaction.
        txid: Txid,
        /// The output.
        vout: u32,
    },
    /// The amount or script that is told differs from that in the transaction that is spent.
    #[error("input {input} is said to hold {told}, its transaction says {found}")]
    AmountLie {
        /// The input.
        input: usize,
        /// The amount in `witness_utxo`.
        told: Amount,
        /// The amount in the transaction.
        found: Amount,
    },
    /// As above, with the same amount.
    #[error("input {0} is said to spend another script than its transaction has")]
    ScriptLie(usize),
    /// Claims about an input that do not hold.
    #[error("input {input} cannot be signed: {source}")]
    Input {
        /// The input.
        input: usize,
        /// What is wrong.
        source: ClaimError,
    },
    /// Claims about an output that do not hold: someone wants money to look like change.
    #[error("output {output} is presented as this wallet's and is not: {source}")]
    Output {
        /// The output.
        output: usize,
        /// What is wrong.
        source: ClaimError,
    },
    /// An output that the device cannot be told of.
    #[error("output {0} pays to a script that the device does not know")]
    UnknownOutput(usize),
    /// A data output with money in it, or with data that the device would write in another way.
    #[error("output {0} is a data output of a form that the device does not sign")]
    DataOutput(usize),
    /// Another sighash type than ALL or DEFAULT.
    #[error(
        "input {input} asks for a signature of type {sighash}, which leaves parts of the transaction open"
    )]
    Sighash {
        /// The input.
        input: usize,
        /// The type.
        sighash: String,
    },
    /// The keys are those of another chain.
    #[error("this PSBT is for another chain than {chain}: its keys are at `{path}`")]
    OtherChain {
        /// The chain that is in use.
        chain: Chain,
        /// Where the keys are.
        path: DerivationPath,
    },
    /// Amounts that do not exist.
    #[error("the amounts of this PSBT add up to more than there are bitcoins")]
    TooMuch,
    /// More is paid than is spent.
    #[error("the outputs pay {paid}, the inputs hold only {spent}")]
    NotEnough {
        /// Sum of the outputs.
        paid: Amount,
        /// Sum of the inputs.
        spent: Amount,
    },
    /// The fee is out of all proportion.
    #[error("the fee of {} is {} % of what is sent and {} sat/vB", .0.fee, .0.percent, .0.rate)]
    AbsurdFee(FeeAlarm),
    /// Keys of so many accounts that no wallet made this.
    #[error("the PSBT names keys of {0} accounts of this wallet")]
    TooManyAccounts(usize),
    /// The replaced transaction is not known.
    #[error("the transaction `{0}` that is to be replaced is not known")]
    UnknownOriginal(Txid),
    /// What replaces a transaction has to spend what that spends, in its order.
    #[error(
        "input {input} of the replaced transaction `{txid}` is missing in the PSBT or out of order"
    )]
    OriginalInput {
        /// The replaced transaction.
        txid: Txid,
        /// The input of it.
        input: usize,
    },
    /// The device signed for an input that is not this wallet's, twice, or not at all.
    #[error("the device returned no proper signature for input {0}")]
    NoSignature(usize),
    /// The signature does not fit.
    #[error(
        "the device returned a signature for input {0} that is not of this transaction and key"
    )]
    BadSignature(usize),
    /// The transaction that the device serialized is another one.
    #[error("the device returned another transaction than the one that it was asked to sign")]
    OtherTransaction,
}

impl SignError {
    /// Tells whether this says that the device, or something between, is not to be trusted.
    pub fn is_verification(&self) -> bool {
        matches!(
            self,
            Self::NoSignature(_)
                | Self::BadSignature(_)
                | Self::OtherTransaction
                | Self::OtherPrevious { .. }
                | Self::AmountLie { .. }
                | Self::ScriptLie(_)
                | Self::Input { .. }
                | Self::Output { .. }
        )
    }
}

impl Hint for SignError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Device(error) => return error.hint(),
            Self::NothingToSign(_) => {
                "open the wallet that the PSBT was made for; `psbt show` names its keys".into()
            }
            Self::AllFinal => "run `psbt extract` for the transaction".into(),
            Self::NoUtxo(_) | Self::MissingPrevious { .. } => {
                "make the PSBT with whole previous transactions (`non_witness_utxo`)".into()
            }
            Self::OtherPrevious { .. }
            | Self::NoSuchOutput { .. }
            | Self::AmountLie { .. }
            | Self::ScriptLie(_) => {
                "do not sign it: whoever made this PSBT lies about what is spent, and the rest of \
                 the amount would go to the miners"
                    .into()
            }
            Self::Output { .. } => {
                "do not sign it: whoever made this PSBT wants a payment to look like change".into()
            }
            Self::Input { .. } => "compare the PSBT with the wallet that it was made for".into(),
            Self::Sighash { .. } => {
                "have it made with ALL, or sign with `--allow-sighash`, which signs with ALL".into()
            }
            Self::OtherChain { .. } => "choose its chain: `config set chain=…`".into(),
            Self::AbsurdFee(alarm) => format!(
                "if you mean it, type `{}` when asked, or give `--accept-fee {}`",
                alarm.phrase(),
                alarm.phrase()
            ),
            Self::UnknownOriginal(_) => "sync the wallet that sent it".into(),
            Self::NoSignature(_) | Self::BadSignature(_) | Self::OtherTransaction => {
                "stop: the device, or something between it and bcm, is not to be trusted".into()
            }
            _ => return None,
        })
    }
}
