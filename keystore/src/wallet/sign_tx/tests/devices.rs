//! Devices, wallets and transactions for the tests.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::bip32::{DerivationPath, Fingerprint, KeySource, Xpriv, Xpub};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, CompressedPublicKey, NetworkKind, OutPoint, Psbt, ScriptBuf, Sequence, Transaction,
    TxIn, TxOut, Witness,
};
use trezor_client::protos::tx_request::RequestType;
use trezor_client::protos::{SignTx, TxAck, TxRequest};

use super::super::{AccountKey, SignRequest};
use crate::chain::Chain;
use crate::device::{Device, Message, Transport, TransportError};
use crate::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry, Prompt};
use crate::secret::{LockedPage, Passphrase, Pin};
use crate::session::{Session, Unlocked};
use crate::simulator::{Mnemonic, Script, Simulator};
use crate::store::Home;

pub(super) const ALL: &str = "all all all all all all all all all all all all";
pub(super) const ZOO: &str = "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong";
pub(super) const LEGAL: &str =
    "legal winner thank year wave sausage worth useful legal winner thank yellow";

pub(super) fn page(text: &str) -> LockedPage {
    let mut page = LockedPage::new();
    assert!(page.extend(text.as_bytes()));
    page
}

#[derive(Debug)]
struct Typing(&'static str);

impl Interaction for Typing {
    fn device_waits(&self, _prompt: &Prompt, _wait: DeviceWait) {}

    fn passphrase(&self, _prompt: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        let passphrase = Passphrase::parse(&page(self.0)).expect("a passphrase");
        Ok(PassphraseEntry::Host(passphrase))
    }

    fn pin_matrix(&self, _prompt: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

/// What went to the device.
pub(super) type Log = Arc<Mutex<Vec<Message>>>;

/// Changes what the device says.
pub(super) type Spoil = Arc<dyn Fn(&mut TxRequest) + Send + Sync>;

/// A wire that remembers what is sent, and may lie about what comes.
struct Wire {
    inner: Box<dyn Transport>,
    log: Log,
    spoil: Option<Spoil>,
    endless: bool,
    waiting: VecDeque<Message>,
}

impl Wire {
    /// Asks for the first input for ever, in the device's place.
    fn ask_for_ever(&mut self, message: &Message) -> bool {
        if !self.endless || !(message.is::<SignTx>() || message.is::<TxAck>()) {
            return false;
        }
        let mut request = TxRequest::new();
        request.set_request_type(RequestType::TXINPUT);
        request.details.mut_or_insert_default().set_request_index(0);
        self.waiting.push_back(Message::encode(&request));
        true
    }
}

impl Transport for Wire {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn send(&mut self, message: &Message) -> Result<(), TransportError> {
        self.log.lock().unwrap().push(message.clone());
        if self.ask_for_ever(message) {
            return Ok(());
        }
        self.inner.send(message)
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Message>, TransportError> {
        if let Some(message) = self.waiting.pop_front() {
            return Ok(Some(message));
        }
        let message = self.inner.receive(wait)?;
        Ok(message.map(|message| match &self.spoil {
            Some(spoil) if message.is::<TxRequest>() => {
                let mut request: TxRequest = message.decode().unwrap();
                spoil(&mut request);
                Message::encode(&request)
            }
            _ => message,
        }))
    }
}

/// An unlocked wallet on a simulated device.
pub(super) struct Open {
    session: Session<Unlocked>,
    pub(super) script: Script,
    pub(super) log: Log,
    _home: tempfile::TempDir,
}

impl Open {
    pub(super) async fn recorded() -> Self {
        Self::new(ALL, "bcm test").await
    }

    pub(super) async fn spoiled(spoil: impl Fn(&mut TxRequest) + Send + Sync + 'static) -> Self {
        Self::open(ALL, "bcm test", Some(Arc::new(spoil)), false).await
    }

    pub(super) async fn endless() -> Self {
        Self::open(ALL, "bcm test", None, true).await
    }

    pub(super) async fn new(words: &str, passphrase: &'static str) -> Self {
        Self::open(words, passphrase, None, false).await
    }

    async fn open(
        words: &str,
        passphrase: &'static str,
        spoil: Option<Spoil>,
        endless: bool,
    ) -> Self {
        let script = Script::default();
        let simulator = Simulator::builder()
            .mnemonic(Mnemonic::parse(&page(words)).unwrap())
            .person(script.clone())
            .build();
        let log = Log::default();
        let wire = Wire {
            inner: simulator.transport(),
            log: log.clone(),
            spoil,
            endless,
            waiting: VecDeque::new(),
        };
        let home = tempfile::tempdir().unwrap();
        let device = Device::spawn(Box::new(wire), Arc::new(Typing(passphrase)));
        let session = Session::new(device, Home::below(&home.path().join("bcm")));
        let session = session.unlock().await.unwrap();
        script.take_shown();
        log.lock().unwrap().clear();
        Self {
            session,
            script,
            log,
            _home: home,
        }
    }

    pub(super) fn device(&self) -> &Device {
        self.session.device()
    }

    pub(super) fn request(&self) -> SignRequest {
        SignRequest::new(Chain::Regtest, self.session.fingerprint())
    }
}

pub(super) fn secp() -> Secp256k1<All> {
    Secp256k1::new()
}

/// Keys as a cosigner has them in software.
pub(super) struct Root(Xpriv);

impl Root {
    pub(super) fn new(words: &str, passphrase: &str) -> Self {
        let seed = bip39::Mnemonic::parse(words).unwrap().to_seed(passphrase);
        Self(Xpriv::new_master(NetworkKind::Test, &seed).unwrap())
    }

    pub(super) fn recorded() -> Self {
        Self::new(ALL, "bcm test")
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint(&secp())
    }

    pub(super) fn account(&self, path: &str) -> AccountKey {
        let path = DerivationPath::from_str(path).unwrap();
        let key = self.0.derive_priv(&secp(), &path).unwrap();
        AccountKey {
            fingerprint: self.fingerprint(),
            path,
            xpub: Xpub::from_priv(&secp(), &key),
        }
    }

    pub(super) fn secret(&self, path: &str) -> SecretKey {
        let path = DerivationPath::from_str(path).unwrap();
        self.0.derive_priv(&secp(), &path).unwrap().private_key
    }

    pub(super) fn key(&self, path: &str) -> (PublicKey, KeySource) {
        let key = self.secret(path).public_key(&secp());
        let path = DerivationPath::from_str(path).unwrap();
        (key, (self.fingerprint(), path))
    }
}

pub(super) fn wpkh(key: PublicKey) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&CompressedPublicKey(key).wpubkey_hash())
}

/// Returns a transaction that pays `amount` to `script`, unlike any other `number`.
pub(super) fn funding(number: u32, amount: u64, script: &ScriptBuf) -> Transaction {
    use bitcoin::hashes::Hash;
    let txid = bitcoin::Txid::hash(&number.to_le_bytes());
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(txid, 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![output(amount, script)],
    }
}

pub(super) fn output(amount: u64, script: &ScriptBuf) -> TxOut {
    TxOut {
        value: Amount::from_sat(amount),
        script_pubkey: script.clone(),
    }
}

/// Returns a PSBT that spends the first output of each transaction.
pub(super) fn spending(previous: &[Transaction], outputs: Vec<TxOut>) -> Psbt {
    let input = previous.iter().map(|previous| TxIn {
        previous_output: OutPoint::new(previous.compute_txid(), 0),
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    });
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: input.collect(),
        output: outputs,
    };
    let mut psbt = Psbt::from_unsigned_tx(transaction).unwrap();
    for (input, previous) in psbt.inputs.iter_mut().zip(previous) {
        input.non_witness_utxo = Some(previous.clone());
        if previous.output[0].script_pubkey.is_witness_program() {
            input.witness_utxo = Some(previous.output[0].clone());
        }
    }
    psbt
}

/// The address that somebody else has.
pub(super) fn stranger() -> ScriptBuf {
    wpkh(Root::new(ZOO, "stranger").key("m/84h/1h/0h/0/0").0)
}

/// A PSBT with one p2wpkh input of the recorded wallet, a payment and change.
pub(super) fn simple() -> Psbt {
    let root = Root::recorded();
    let (key, source) = root.key("m/84h/1h/0h/0/0");
    let (change, change_source) = root.key("m/84h/1h/0h/1/0");
    let previous = funding(1, 1_000_000, &wpkh(key));
    let outputs = vec![output(600_000, &stranger()), output(399_000, &wpkh(change))];
    let mut psbt = spending(&[previous], outputs);
    psbt.inputs[0].bip32_derivation.insert(key, source);
    psbt.outputs[1]
        .bip32_derivation
        .insert(change, change_source);
    psbt
}
