//! The device as age identity, on the simulated device.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::*;
use crate::age::{derive, encrypt};
use crate::device::DeviceError;
use crate::interaction::NoInteraction;
use crate::secret::{LockedPage, Passphrase};
use crate::session::{Session, Unlocked};
use crate::simulator::{Act, AutoConfirm, Script, Simulator};
use crate::store::Home;

/// A wallet that the test opens, on a device that decides as `simulator` says.
struct Wallet {
    session: Session<Unlocked>,
    _home: tempfile::TempDir,
}

impl Wallet {
    async fn open(simulator: &Simulator) -> Self {
        let home = tempfile::tempdir().unwrap();
        let device = Device::spawn(simulator.transport(), Arc::new(OnDevice));
        let session = Session::new(device, Home::below(home.path()));
        Self {
            session: session.unlock().await.unwrap(),
            _home: home,
        }
    }

    async fn key(&self, name: &str) -> DeviceKey {
        let name = name.parse().unwrap();
        derive(self.session.device(), &name).await.unwrap()
    }

    async fn unwrap(
        &self,
        key: &DeviceKey,
        stanzas: &[Stanza],
    ) -> Result<Option<FileKey>, AgeError> {
        unwrap(self.session.device(), key, stanzas, "test").await
    }
}

#[derive(Debug)]
struct OnDevice;

impl crate::Interaction for OnDevice {
    fn device_waits(&self, prompt: &Prompt, wait: crate::interaction::DeviceWait) {
        NoInteraction.device_waits(prompt, wait);
    }

    fn passphrase(
        &self,
        _prompt: &Prompt,
    ) -> Result<crate::interaction::PassphraseEntry, crate::interaction::NoAnswer> {
        Ok(crate::interaction::PassphraseEntry::OnDevice)
    }

    fn pin_matrix(
        &self,
        prompt: &Prompt,
    ) -> Result<crate::secret::Pin, crate::interaction::NoAnswer> {
        NoInteraction.pin_matrix(prompt)
    }
}

fn typed(passphrase: &str) -> LockedPage {
    let mut page = LockedPage::new();
    assert!(page.extend(passphrase.as_bytes()));
    page
}

fn simulator(passphrase: &str) -> Simulator {
    let person = AutoConfirm {
        passphrase: Passphrase::parse(&typed(passphrase)).ok(),
        pin: None,
    };
    Simulator::builder().person(person).build()
}

/// A wallet of a person who acts as `script` is told afterwards.
async fn scripted(script: &Script) -> Wallet {
    script.then([Act::Passphrase(typed("bcm test"))]);
    let person = script.clone();
    let wallet = Wallet::open(&Simulator::builder().person(person).build()).await;
    script.take_shown();
    wallet
}

fn copy(stanza: &Stanza) -> Stanza {
    Stanza {
        tag: stanza.tag.clone(),
        args: stanza.args.clone(),
        body: stanza.body.clone(),
    }
}

fn wrapped(recipient: &dyn ::age::Recipient) -> (Vec<Stanza>, FileKey) {
    let file_key = FileKey::new(Box::new([7; FILE_KEY_BYTES]));
    let (stanzas, _) = recipient.wrap_file_key(&file_key).unwrap();
    (stanzas, file_key)
}

fn opened(file_key: Option<FileKey>) -> [u8; FILE_KEY_BYTES] {
    use age_core::secrecy::ExposeSecret;
    *file_key.expect("a file key").expose_secret()
}

#[tokio::test]
async fn recipients_equal_those_of_age_plugin_trezor() {
    let lines = include_str!("../../../vectors/peers/age-plugin-trezor.txt");
    let wallet = Wallet::open(&simulator("bcm test")).await;
    for entry in lines.lines().collect::<Vec<_>>().chunks(3) {
        let name = entry[1].strip_prefix("# SLIP-0017: ").unwrap();
        let key = wallet.key(name).await;
        assert_eq!(format!("# recipient: {key}"), entry[0]);
        assert_eq!(key.recipient().to_string(), key.to_string());
        assert_eq!(key.identity_line(), entry[2]);
    }
}

#[tokio::test]
async fn what_is_encrypted_to_the_recipient_opens_on_the_device_and_nowhere_else() {
    let wallet = Wallet::open(&simulator("bcm test")).await;
    let key = wallet.key("backup").await;
    let (stanzas, _) = wrapped(&key.recipient());
    assert_eq!(
        opened(wallet.unwrap(&key, &stanzas).await.unwrap()),
        [7; FILE_KEY_BYTES]
    );
    let other_name = wallet.key("backup2").await;
    assert!(
        wallet
            .unwrap(&other_name, &stanzas)
            .await
            .unwrap()
            .is_none()
    );
    let other = Wallet::open(&simulator("another wallet")).await;
    let other_key = other.key("backup").await;
    assert_ne!(key, other_key);
    assert!(other.unwrap(&other_key, &stanzas).await.unwrap().is_none());
    // the key that was pinned is another one than this wallet has
    assert!(matches!(
        other.unwrap(&key, &stanzas).await.map(|_| ()),
        Err(AgeError::KeyChanged(_))
    ));
}

#[tokio::test]
async fn stanzas_of_others_are_passed_over() {
    let wallet = Wallet::open(&simulator("bcm test")).await;
    let key = wallet.key("backup").await;
    let (ours, _) = wrapped(&key.recipient());
    let (theirs, _) = wrapped(&::age::x25519::Identity::generate().to_public());
    let foreign = Stanza {
        tag: "piv-p256".into(),
        args: vec!["x".into()],
        body: vec![],
    };
    let all: Vec<_> = [foreign].into_iter().chain(theirs).chain(ours).collect();
    assert_eq!(
        opened(wallet.unwrap(&key, &all).await.unwrap()),
        [7; FILE_KEY_BYTES]
    );
    assert!(wallet.unwrap(&key, &all[..2]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_malformed_stanza_is_refused_before_the_device_is_asked() {
    let script = Script::default();
    let wallet = scripted(&script).await;
    let key = wallet.key("backup").await;
    let (stanzas, _) = wrapped(&key.recipient());
    let mut long = copy(&stanzas[0]);
    long.body.push(0);
    let mut more = copy(&stanzas[0]);
    more.args.push("x".into());
    let mut padded = copy(&stanzas[0]);
    padded.args[0].push('=');
    for stanza in [long, more, padded] {
        let stanzas = [copy(&stanzas[0]), stanza];
        let refused = wallet.unwrap(&key, &stanzas).await.map(|_| ());
        assert!(matches!(refused.unwrap_err(), AgeError::Damaged(_)));
    }
    assert_eq!(script.take_shown(), []);
}

#[tokio::test]
async fn a_point_of_low_order_is_refused() {
    let wallet = Wallet::open(&simulator("bcm test")).await;
    let key = wallet.key("backup").await;
    for order in [0_u8, 1] {
        let mut share = [0; 32];
        share[0] = order;
        let wrapping = hkdf(&[share, *key.public()].concat(), LABEL, &[0; 32]);
        let stanza = Stanza {
            tag: TAG.into(),
            args: vec![BASE64_STANDARD_NO_PAD.encode(share)],
            body: age_core::primitives::aead_encrypt(&wrapping, &[7; FILE_KEY_BYTES]),
        };
        assert!(wallet.unwrap(&key, &[stanza]).await.is_err());
    }
}

#[tokio::test]
async fn who_declines_on_the_device_ends_the_decryption() {
    let script = Script::default();
    let wallet = scripted(&script).await;
    script.then([Act::Reject]);
    let key = wallet.key("backup").await;
    let mut file = Vec::new();
    encrypt(
        vec![Box::new(key.recipient())],
        false,
        &mut &b"plain"[..],
        &mut file,
    )
    .unwrap();
    let device = wallet.session.device().clone();
    let refused = tokio::task::spawn_blocking(move || {
        let identity = DeviceIdentity::new(device, key).with_purpose("decrypt a test");
        crate::age::decrypt(vec![Box::new(identity)], &file[..], &mut Vec::new())
    });
    assert!(matches!(
        refused.await.unwrap().unwrap_err(),
        AgeError::Device(DeviceError::Declined)
    ));
    assert_eq!(script.take_shown().len(), 1);
}
