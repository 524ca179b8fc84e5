//! Decryption with the ECDH keys of this wallet.

use std::cell::RefCell;
use std::io::{self, Cursor, Read, Write};
use std::time::SystemTime;

use sequoia_openpgp as openpgp;
use sequoia_openpgp::crypto::{SessionKey, mpi};
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};
use sequoia_openpgp::packet::{Key, PKESK, SKESK, Tag};
use sequoia_openpgp::parse::buffered_reader::BufferedReader;
use sequoia_openpgp::parse::stream::{
    DecryptionHelper, DecryptorBuilder, MessageStructure, VerificationHelper,
};
use sequoia_openpgp::parse::{PacketParser, PacketParserResult, Parse};
use sequoia_openpgp::types::{PublicKeyAlgorithm, SymmetricAlgorithm};
use sequoia_openpgp::{Cert, Fingerprint, KeyHandle};

use super::cert::{self, OwnCert};
use super::error::PgpError;
use super::key::{DeviceDecryptor, is_peer_point};
use super::store::PgpStore;
use super::stream::{BUFFER, Input, copy_out};
use super::verdict::{GoodSignature, Verdict, judge};
use super::verify::{CLOCK_SKEW, Examiner, Outcome};
use crate::device::Device;
use crate::identity::Curve;
use crate::interaction::Prompt;

/// How often one message may make the device ask: whoever writes it names its recipients.
const MAX_ASKED: usize = 4;

/// Within how many bytes the encrypted part begins; before it stand the recipients.
const START: usize = 1 << 20;

/// Random prefix of a block and two bytes, then at the end the packet with the digest ([RFC 9580 section 5.13.1](https://www.rfc-editor.org/rfc/rfc9580#section-5.13.1)); with
/// AEAD the salt and a tag take more.
const MIN_CONTAINER: usize = 16 + 2 + 22;

/// A message that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decrypted {
    /// The subkey that opened it.
    pub recipient: Fingerprint,
    /// The good signatures inside; none is wrong.
    pub signatures: Vec<GoodSignature>,
    /// Keys that signed it and that nobody has imported: who wrote it is not known.
    pub unknown_signers: Vec<String>,
}

/// Decrypts a message to `output`; one confirmation on the device.
///
/// What was written before an error is to be thrown away: the integrity of a message is known at
/// its end.
///
/// # Errors
///
/// Any [`PgpError`].
pub fn decrypt(
    device: &Device,
    store: &PgpStore,
    input: &mut (dyn Read + Send + Sync),
    output: &mut dyn Write,
    now: SystemTime,
) -> Result<Decrypted, PgpError> {
    let outcome = RefCell::new(Outcome::default());
    let recipient = RefCell::new(None);
    let policy = cert::policy(now);
    let mut examiner = Examiner::new(store, now, &outcome);
    examiner.may_be_unsigned = true;
    let opener = Opener {
        device,
        store,
        examiner,
        recipient: &recipient,
        asked: 0,
    };
    let mut input = Input::new(input);
    let start = read_start(&mut input);
    input.failure()?;
    let start = start.map_err(PgpError::Read)?;
    check_start(&start)?;
    let mut whole = Cursor::new(start).chain(&mut input);
    let read = DecryptorBuilder::from_reader(&mut whole)
        .and_then(|builder| {
            builder
                .buffer_size(BUFFER)
                .with_policy(&policy, now + CLOCK_SKEW, opener)
        })
        .map_err(PgpError::of)
        .and_then(|mut message| {
            if recipient.borrow().is_none() {
                return Err(PgpError::NotEncrypted);
            }
            copy_out(&mut message, output)
        });
    drop(whole);
    input.failure()?;
    let outcome = outcome.into_inner();
    match (outcome.error, read) {
        (Some(error), _) | (None, Err(error)) => return Err(error),
        (None, Ok(())) => {}
    }
    let recipient = recipient.into_inner().ok_or(PgpError::NotEncrypted)?;
    let (unknown, known): (Vec<_>, Vec<_>) = outcome
        .verdicts
        .into_iter()
        .partition(|verdict| matches!(verdict, Verdict::Unknown(_)));
    let signatures = match known.is_empty() {
        true => Vec::new(),
        false => judge(known)?,
    };
    let unknown_signers = unknown.into_iter().filter_map(|verdict| match verdict {
        Verdict::Unknown(facts) => facts.issuer,
        _ => None,
    });
    Ok(Decrypted {
        recipient,
        signatures,
        unknown_signers: unknown_signers.collect(),
    })
}

fn read_start(input: &mut Input<'_>) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    input.take(START as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Refuses what the library would panic at (2.4.2): a container with fewer bytes than its own
/// header and trailer have.
fn check_start(start: &[u8]) -> Result<(), PgpError> {
    let complete = start.len() < START;
    let Ok(mut next) = PacketParser::from_bytes(start) else {
        return Ok(());
    };
    while let PacketParserResult::Some(mut packet) = next {
        match packet.packet.tag() {
            Tag::PKESK | Tag::SKESK | Tag::Marker | Tag::Padding => {}
            Tag::SEIP => {
                let length = packet.data(MIN_CONTAINER).map_or(0, <[u8]>::len);
                return match length < MIN_CONTAINER {
                    true => Err(PgpError::Truncated),
                    false => Ok(()),
                };
            }
            _ => return Ok(()),
        }
        match packet.next() {
            Ok((_, after)) => next = after,
            Err(_) if complete => return Ok(()),
            Err(_) => break,
        }
    }
    if complete {
        return Ok(());
    }
    Err(PgpError::Malformed(format!(
        "nothing encrypted begins in its first {} KiB",
        START / 1024
    )))
}

/// Finds the session key with the help of the device.
struct Opener<'a> {
    device: &'a Device,
    store: &'a PgpStore,
    examiner: Examiner<'a>,
    recipient: &'a RefCell<Option<Fingerprint>>,
    asked: usize,
}

impl Opener<'_> {
    /// Asks the device to open one packet; `false` when its key is not the right one.
    fn open(
        &mut self,
        own: &OwnCert,
        key: &Key<PublicParts, UnspecifiedRole>,
        pkesk: &PKESK,
        algorithm: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> Result<bool, PgpError> {
        // the device would refuse it after the person confirmed
        if !has_peer_point(pkesk, own.curve()) {
            return Err(PgpError::Malformed(
                "its key exchange is not on the curve of the recipient".into(),
            ));
        }
        if self.asked == MAX_ASKED {
            return Err(PgpError::Malformed(
                "it names too many recipients to try".into(),
            ));
        }
        self.asked += 1;
        let hidden = match pkesk.recipient() {
            None => " whose recipient is hidden",
            Some(_) => "",
        };
        let prompt = Prompt::new(format!(
            "decrypt a message{hidden} with {}",
            own.identity().ascii()
        ));
        let mut decryptor = DeviceDecryptor::new(self.device, key, own, prompt);
        let opened = pkesk.decrypt(&mut decryptor, algorithm);
        if let Some(error) = decryptor.failure {
            return Err(error);
        }
        let opened = opened.is_some_and(|(algorithm, key)| decrypt(algorithm, &key));
        if opened {
            *self.recipient.borrow_mut() = Some(key.fingerprint());
        }
        Ok(opened)
    }

    fn find(
        &mut self,
        pkesks: &[PKESK],
        algorithm: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> Result<Cert, PgpError> {
        // the message names us first; only then what names nobody
        for hidden in [false, true] {
            for pkesk in pkesks {
                if pkesk.recipient().is_none() != hidden
                    || pkesk.pk_algo() != PublicKeyAlgorithm::ECDH
                {
                    continue;
                }
                let store = self.store;
                for own in store.own() {
                    let Some(key) = own.encryption_key() else {
                        continue;
                    };
                    let meant = match pkesk.recipient() {
                        Some(handle) => handle.aliases(key.key_handle()),
                        None => has_peer_point(pkesk, own.curve()),
                    };
                    if meant && self.open(own, &key, pkesk, algorithm, decrypt)? {
                        return Ok(own.cert().clone());
                    }
                }
            }
        }
        if self.asked > 0 {
            return Err(PgpError::NotOpened);
        }
        let recipients = pkesks.iter().filter_map(PKESK::recipient);
        Err(PgpError::NotForUs(
            recipients.map(|handle| handle.to_hex()).collect(),
        ))
    }
}

fn has_peer_point(pkesk: &PKESK, curve: Curve) -> bool {
    match pkesk.esk() {
        mpi::Ciphertext::ECDH { e, .. } => is_peer_point(curve, e.value()),
        _ => false,
    }
}

impl VerificationHelper for Opener<'_> {
    fn inspect(&mut self, packet: &PacketParser<'_>) -> openpgp::Result<()> {
        if packet.packet.tag() == Tag::SEIP && packet.recursion_depth() > 0 {
            let error = PgpError::Malformed("it is encrypted twice".into());
            return self.examiner.fail(error);
        }
        self.examiner.inspect(packet)
    }

    fn get_certs(&mut self, ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        self.examiner.get_certs(ids)
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        self.examiner.check(structure)
    }
}

impl DecryptionHelper for Opener<'_> {
    fn decrypt(
        &mut self,
        pkesks: &[PKESK],
        _skesks: &[SKESK],
        algorithm: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> openpgp::Result<Option<Cert>> {
        match self.find(pkesks, algorithm, decrypt) {
            Ok(cert) => Ok(Some(cert)),
            Err(error) => self.examiner.fail(error),
        }
    }
}
