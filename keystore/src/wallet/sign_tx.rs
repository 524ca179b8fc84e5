//! From a PSBT to signatures: the host's half of the device's `SignTx` dialogue.
//!
//! Everything that can be checked is checked before the device is asked, and every signature that it
//! returns is verified before it enters the PSBT. Between the two the host answers what the device
//! asks for, piece by piece, and decides nothing.

mod accounts;
mod check;
mod dialogue;
mod error;
mod message;
mod original;
mod plan;
pub mod review;
mod template;
mod verify;

use std::fmt;

use bitcoin::bip32::{DerivationPath, Fingerprint, KeySource, Xpub};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Network, Psbt, Script, Transaction, Txid};

use crate::chain::Chain;
use crate::device::Device;
use crate::interaction::Prompt;

pub use accounts::complete_origins;
pub use error::{ClaimError, FeeAlarm, SignError};
pub use template::{ScriptKind, Template};

pub(crate) use verify::{Signature, verify_signature};

/// Transactions that a wallet knows besides those in the PSBT.
pub trait PreviousTransactions: Send {
    /// Returns the transaction with this id.
    fn get(&self, txid: &Txid) -> Option<Transaction>;

    /// Returns where the key of an own script lives, for outputs of a replaced transaction that the
    /// new one no longer has.
    fn origin(&self, _script: &Script) -> Option<KeySource> {
        None
    }
}

/// Knows none: the PSBT has to hold everything.
impl PreviousTransactions for () {
    fn get(&self, _txid: &Txid) -> Option<Transaction> {
        None
    }
}

/// The public key of an account, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKey {
    /// Fingerprint of the root that the account belongs to.
    pub fingerprint: Fingerprint,
    /// Path from that root.
    pub path: DerivationPath,
    /// The key there.
    pub xpub: Xpub,
}

/// What the caller knows and allows when a PSBT is signed.
pub struct SignRequest {
    /// The chain that the transaction is for.
    pub chain: Chain,
    /// Fingerprint of this wallet's root.
    pub fingerprint: Fingerprint,
    /// Account keys that are known: this wallet's own, and cosigners', in the order of the
    /// descriptor. An own one that is missing is asked of the device; with a cosigner's among them,
    /// every key of a multisig script has to be of one of them.
    pub accounts: Vec<AccountKey>,
    /// Where transactions are found that the PSBT does not hold.
    pub previous: Box<dyn PreviousTransactions>,
    /// The transaction that this one replaces, which `previous` has to know.
    pub replaces: Option<Txid>,
    /// Sign with `ALL` what asks for another sighash type; the device knows no other.
    pub allow_sighash: bool,
    /// Go on with a fee that [`SignError::AbsurdFee`] would stop.
    pub allow_fee: bool,
}

impl SignRequest {
    /// Returns a request that allows nothing out of the ordinary.
    pub fn new(chain: Chain, fingerprint: Fingerprint) -> Self {
        Self {
            chain,
            fingerprint,
            accounts: Vec::new(),
            previous: Box::new(()),
            replaces: None,
            allow_sighash: false,
            allow_fee: false,
        }
    }
}

impl fmt::Debug for SignRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignRequest")
            .field("chain", &self.chain)
            .field("fingerprint", &self.fingerprint)
            .field("accounts", &self.accounts)
            .field("replaces", &self.replaces)
            .field("allow_sighash", &self.allow_sighash)
            .field("allow_fee", &self.allow_fee)
            .finish_non_exhaustive()
    }
}

/// What came of signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignReport {
    /// Inputs that have a signature of this wallet now.
    pub signed_inputs: Vec<usize>,
    /// Id of the transaction with the signatures of this wallet: final, unless signatures of others
    /// are still to come into a script without witness.
    pub txid: Txid,
    /// SHA-256 of the PSBT as it came.
    pub digest_before: [u8; 32],
    /// SHA-256 of the PSBT as it is now.
    pub digest_after: [u8; 32],
    /// What the device showed and the person confirmed, a line each.
    pub confirmed: Vec<String>,
}

/// Signs every input of `psbt` that belongs to the wallet.
///
/// Nothing is put into `psbt` unless everything is in order.
///
/// # Errors
///
/// [`SignError::AbsurdFee`] where the person has to be asked first; else what is wrong with the PSBT,
/// with the device, or ([`SignError::is_verification`]) with what the device returned.
pub async fn sign_psbt(
    device: &Device,
    psbt: &mut Psbt,
    mut request: SignRequest,
) -> Result<SignReport, SignError> {
    let digest_before = digest(psbt);
    let wanted = check::unknown_accounts(psbt, &request)?;
    if !wanted.is_empty() {
        let known = accounts::ask(device, request.chain, request.fingerprint, wanted).await?;
        request.accounts.extend(known);
    }
    let checked = check::check(psbt, &request)?;
    let plan = plan::Plan::new(psbt, &checked, &request)?;
    let prompt = Prompt::new(format!("sign transaction {}", checked.txid()));
    let plan = std::sync::Arc::new(plan);
    let told = plan.clone();
    let outcome = device
        .dialogue(prompt, move |device| Ok(dialogue::run(device, &told)))
        .await??;
    let signed = verify::verify(psbt, &checked, &outcome)?;
    let txid = signed.txid();
    let signed_inputs = signed.insert(psbt);
    Ok(SignReport {
        signed_inputs,
        txid,
        digest_before,
        digest_after: digest(psbt),
        confirmed: plan.confirmed(),
    })
}

fn digest(psbt: &Psbt) -> [u8; 32] {
    sha256::Hash::hash(&psbt.serialize()).to_byte_array()
}

/// Returns the chain as addresses know it.
pub(crate) fn network(chain: Chain) -> Network {
    match chain {
        Chain::Mainnet => Network::Bitcoin,
        Chain::Testnet4 => Network::Testnet4,
        Chain::Signet => Network::Signet,
        Chain::Regtest => Network::Regtest,
    }
}

/// Returns the chain as the device calls it.
fn coin_name(chain: Chain) -> &'static str {
    match chain {
        Chain::Mainnet => "Bitcoin",
        Chain::Testnet4 | Chain::Signet => "Testnet",
        Chain::Regtest => "Regtest",
    }
}

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;
