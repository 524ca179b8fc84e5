//! Certs, signatures and messages on the simulated device, with GnuPG as the second opinion.

mod gpg;
mod messages;
mod signatures;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::CertBuilder;

use super::*;
use crate::identity::Curve;
use crate::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry, Prompt};
use crate::secret::{Passphrase, Pin};
use crate::session::{Session, Unlocked};
use crate::simulator::Simulator;
use crate::store::Home;
use crate::{Device, DeviceError};

const SATOSHI: &str = "Satoshi Nakamoto <satoshi@bitcoin.org>";

/// A person who types this passphrase on the host.
#[derive(Debug)]
struct Typist(&'static str);

impl Interaction for Typist {
    fn device_waits(&self, _: &Prompt, _: DeviceWait) {}

    fn passphrase(&self, _: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        Ok(PassphraseEntry::Host(Passphrase::read_line(
            self.0.as_bytes(),
        )?))
    }

    fn pin_matrix(&self, _: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

/// An unlocked wallet on a computer of its own.
struct Wallet {
    session: Session<Unlocked>,
    store: PgpStore,
    _home: tempfile::TempDir,
}

impl Wallet {
    fn new() -> Self {
        Self::on(&Simulator::builder().build(), "bcm test")
    }

    fn on(simulator: &Simulator, passphrase: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let device = Device::spawn(simulator.transport(), Arc::new(Typist(passphrase)));
        let session = Session::new(device, Home::below(home.path()));
        let session = futures::executor::block_on(session.unlock()).unwrap();
        Self {
            store: PgpStore::open(session.store()).unwrap(),
            session,
            _home: home,
        }
    }

    fn device(&self) -> &Device {
        self.session.device()
    }

    fn make(&mut self, curve: Curve) -> OwnCert {
        let own = self.try_make(SATOSHI, curve, None).unwrap();
        self.store
            .add_own(self.session.store(), own.clone())
            .unwrap();
        own
    }

    fn try_make(
        &self,
        user_id: &str,
        curve: Curve,
        validity: Option<Duration>,
    ) -> Result<OwnCert, PgpError> {
        let created = UNIX_EPOCH + TREZOR_TIME;
        OwnCert::make(self.device(), user_id.parse()?, curve, created, validity)
    }

    fn import(&mut self, cert: &Cert) -> bool {
        let cert = cert.clone().strip_secret_key_material();
        let found = vec![Imported::Cert(Box::new(cert))];
        let changes = self.store.import(self.session.store(), found).unwrap();
        changes[0].1 != Change::Unchanged
    }

    fn sign(&self, own: &OwnCert, mode: SignMode, data: &[u8]) -> Vec<u8> {
        let mut signed = Vec::new();
        let purpose = Purpose::new("sign a test");
        sign(
            self.device(),
            own,
            mode,
            &purpose,
            &mut &*data,
            &mut signed,
            now(),
        )
        .unwrap();
        signed
    }

    fn verify(&self, signature: &[u8], data: &[u8]) -> Result<Vec<GoodSignature>, PgpError> {
        verify_detached(&self.store, &mut &*signature, &mut &*data, now())
    }

    fn verify_message(&self, message: &[u8]) -> Result<(Vec<u8>, Vec<GoodSignature>), PgpError> {
        let mut content = Vec::new();
        let good = verify_message(&self.store, &mut &*message, Some(&mut content), now())?;
        Ok((content, good))
    }

    fn decrypt(&self, message: &[u8]) -> Result<(Vec<u8>, Decrypted), PgpError> {
        let mut content = Vec::new();
        let device = self.device();
        let opened = decrypt(device, &self.store, &mut &*message, &mut content, now())?;
        Ok((content, opened))
    }
}

/// Some time in 2026.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// A cert of somebody whose keys are in memory.
fn alice() -> Cert {
    let made = CertBuilder::general_purpose(Some("Alice <alice@example.org>"))
        .set_creation_time(now() - Duration::from_secs(86_400))
        .generate();
    made.unwrap().0
}

fn encrypted(recipients: &[&Cert], data: &[u8]) -> Vec<u8> {
    let recipients: Vec<_> = recipients.iter().copied().cloned().collect();
    let mut message = Vec::new();
    encrypt(&recipients, false, &mut &*data, &mut message, now()).unwrap();
    message
}

/// What trezor-gpg made of the same seed, passphrase, user ID and time.
fn recorded(curve: Curve) -> Cert {
    use openpgp::parse::Parse;
    let armor = match curve {
        Curve::Nist256p1 => include_str!("../../vectors/peers/trezor-gpg-nist256p1.asc"),
        _ => include_str!("../../vectors/peers/trezor-gpg-ed25519.asc"),
    };
    Cert::from_bytes(armor.as_bytes()).unwrap()
}

#[test]
fn a_cert_has_the_keys_of_the_one_that_trezor_gpg_makes() {
    let wallet = Wallet::new();
    for curve in [Curve::Ed25519, Curve::Nist256p1] {
        let ours = wallet.try_make(SATOSHI, curve, None).unwrap();
        let theirs = recorded(curve);
        assert_eq!(ours.fingerprint(), theirs.fingerprint());
        let keys =
            |cert: &Cert| -> Vec<_> { cert.keys().map(|key| key.key().fingerprint()).collect() };
        assert_eq!(keys(ours.cert()), keys(&theirs));
        assert_eq!(keys(&theirs).len(), 2);
        // neither program's self-signatures are foreign to the other's cert
        let both = ours.merge(theirs).unwrap();
        assert_eq!(both.cert().bad_signatures().count(), 0);
    }
}

#[test]
fn what_the_person_declines_makes_no_cert() {
    let declining = Simulator::builder()
        .person(crate::simulator::Script::new([
            crate::simulator::Act::Confirm,
            crate::simulator::Act::Confirm,
            crate::simulator::Act::Reject,
        ]))
        .build();
    let wallet = Wallet::on(&declining, "bcm test");
    let error = wallet.try_make(SATOSHI, Curve::Ed25519, None).unwrap_err();
    assert!(
        matches!(error, PgpError::Device(DeviceError::Declined)),
        "{error:?}"
    );
}

#[test]
fn other_curves_have_no_openpgp_keys() {
    let wallet = Wallet::new();
    for curve in [Curve::Secp256k1, Curve::Curve25519] {
        let error = wallet.try_make(SATOSHI, curve, None).unwrap_err();
        assert!(matches!(error, PgpError::Curve(_)), "{error:?}");
    }
}

#[test]
fn another_wallets_device_signs_nothing() {
    let mut wallet = Wallet::new();
    let own = wallet.make(Curve::Ed25519);
    let other = Wallet::on(&Simulator::builder().build(), "another");
    let mut signed = Vec::new();
    let mode = SignMode::Detached {
        text: false,
        armor: false,
    };
    let purpose = Purpose::new("x");
    let error = sign(
        other.device(),
        &own,
        mode,
        &purpose,
        &mut &b"x"[..],
        &mut signed,
        now(),
    )
    .unwrap_err();
    assert!(matches!(error, PgpError::KeyChanged(_)), "{error:?}");
    let message = encrypted(&[own.cert()], b"x");
    let error = decrypt(
        other.device(),
        &wallet.store,
        &mut &*message,
        &mut signed,
        now(),
    )
    .unwrap_err();
    assert!(matches!(error, PgpError::KeyChanged(_)), "{error:?}");
    assert!(signed.is_empty());
}
