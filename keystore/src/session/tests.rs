//! Every rule of the unlock, on the simulated device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trezor_client::protos::{GetPublicKey, LockDevice, PublicKey, Success};

use super::*;
use crate::device::Loss;
use crate::interaction::{DeviceWait, Interaction, NoAnswer, PassphraseEntry};
use crate::secret::{LockedPage, Passphrase, Pin};
use crate::simulator::{Act, AutoConfirm, Deny, Script, Simulator};

/// The person at the terminal: types this on the host, or goes to the device.
#[derive(Debug)]
struct Terminal(Option<&'static str>);

impl Interaction for Terminal {
    fn device_waits(&self, _prompt: &Prompt, _wait: DeviceWait) {}

    fn passphrase(&self, _prompt: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        Ok(match self.0 {
            Some(typed) => {
                PassphraseEntry::Host(Passphrase::parse(&page(typed)).expect("a passphrase"))
            }
            None => PassphraseEntry::OnDevice,
        })
    }

    fn pin_matrix(&self, _prompt: &Prompt) -> Result<Pin, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
}

fn page(text: &str) -> LockedPage {
    let mut page = LockedPage::new();
    assert!(page.extend(text.as_bytes()));
    page
}

fn typing(passphrase: &str) -> AutoConfirm {
    AutoConfirm {
        passphrase: Passphrase::parse(&page(passphrase)).ok(),
        pin: None,
    }
}

struct Computer(tempfile::TempDir);

impl Computer {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn session(&self, simulator: &Simulator, typed: Option<&'static str>) -> Session<Locked> {
        let device = Device::spawn(simulator.transport(), Arc::new(Terminal(typed)));
        Session::new(device, Home::below(&self.0.path().join("bcm")))
    }
}

async fn read_key(session: &Session<Unlocked>) -> Result<PublicKey, DeviceError> {
    let mut request = GetPublicKey::new();
    request.address_n = vec![1 << 31];
    session
        .device()
        .call(Prompt::new("read a key"), request)
        .await
}

#[tokio::test]
async fn both_places_of_entry_open_the_same_wallet_which_is_then_known() {
    let computer = Computer::new();
    let simulator = Simulator::builder().person(typing("bcm test")).build();
    let on_device = computer.session(&simulator, None).unlock().await.unwrap();
    assert_eq!(on_device.fingerprint().to_string(), "dd53b9b4");
    assert!(!on_device.seen_before());
    assert!(!on_device.may_be_standard());
    assert!(on_device.info().simulated);

    let on_host = computer
        .session(&simulator, Some("bcm test"))
        .unlock()
        .await
        .unwrap();
    assert_eq!(on_host.fingerprint(), on_device.fingerprint());
    assert_eq!(on_host.wallet(), on_device.wallet());
    assert!(on_host.seen_before());

    let mistyped = computer
        .session(&simulator, Some("bcm tset"))
        .unlock()
        .await
        .unwrap();
    assert_ne!(mistyped.wallet(), on_device.wallet());
    assert!(!mistyped.seen_before());
}

#[tokio::test]
async fn the_standard_wallet_is_refused_wherever_it_can_be_told() {
    let computer = Computer::new();
    let empty = || Script::new([Act::Passphrase(page("")), Act::Confirm]);
    let simulator = Simulator::builder().person(empty()).build();
    let error = computer
        .session(&simulator, None)
        .unlock()
        .await
        .unwrap_err();
    assert!(matches!(error, UnlockError::StandardWallet), "{error}");

    let simulator = Simulator::builder()
        .person(empty())
        .passphrase_always_on_device(true)
        .build();
    let session = computer.session(&simulator, None).unlock().await.unwrap();
    assert!(session.may_be_standard());
}

#[tokio::test]
async fn a_device_without_passphrases_is_refused_until_they_are_turned_on() {
    let computer = Computer::new();
    let simulator = Simulator::builder()
        .passphrase_protection(false)
        .person(typing("bcm test"))
        .build();
    let session = computer.session(&simulator, None);
    assert!(session.enable_passphrase().await.unwrap());
    assert!(!session.enable_passphrase().await.unwrap());
    assert!(session.unlock().await.is_ok());

    let off = Simulator::builder().passphrase_protection(false).build();
    let error = computer
        .session(&off, Some("bcm test"))
        .unlock()
        .await
        .unwrap_err();
    assert!(matches!(error, UnlockError::PassphraseOff), "{error}");
    assert!(
        crate::Hint::hint(&error)
            .unwrap()
            .contains("bcm device enable-passphrase")
    );

    let declined = Simulator::builder()
        .passphrase_protection(false)
        .person(Deny)
        .build();
    let error = computer
        .session(&declined, None)
        .enable_passphrase()
        .await
        .unwrap_err();
    assert!(
        matches!(error, UnlockError::Device(DeviceError::Declined)),
        "{error}"
    );
}

#[tokio::test]
async fn a_device_without_a_seed_is_refused() {
    let simulator = Simulator::builder().uninitialized().build();
    let error = Computer::new()
        .session(&simulator, None)
        .unlock()
        .await
        .unwrap_err();
    assert!(matches!(error, UnlockError::Uninitialized), "{error}");
}

#[tokio::test]
async fn a_wrong_pin_is_asked_for_again_on_the_device() {
    let script = Script::new([
        Act::Pin(page("9999")),
        Act::Pin(page("1234")),
        Act::Passphrase(page("bcm test")),
    ]);
    let simulator = Simulator::builder()
        .pin(page("1234"))
        .person(script)
        .build();
    let session = Computer::new()
        .session(&simulator, None)
        .unlock()
        .await
        .unwrap();
    assert_eq!(session.fingerprint().to_string(), "dd53b9b4");
    assert_eq!(session.info().passphrase_protection, Some(true));
}

#[tokio::test]
async fn a_declined_passphrase_screen_opens_nothing() {
    let computer = Computer::new();
    let simulator = Simulator::builder().person(Deny).build();
    let error = computer
        .session(&simulator, Some("bcm test"))
        .unlock()
        .await
        .unwrap_err();
    assert!(
        matches!(error, UnlockError::Device(DeviceError::Declined)),
        "{error}"
    );
    assert!(
        !computer.0.path().join("bcm").exists(),
        "nothing was written"
    );
}

#[tokio::test]
async fn two_programs_with_two_wallets_do_not_get_each_others_keys() {
    let computer = Computer::new();
    let simulator = Simulator::builder().build();
    let ours = computer
        .session(&simulator, Some("ours"))
        .unlock()
        .await
        .unwrap();
    let theirs = computer
        .session(&simulator, Some("theirs"))
        .unlock()
        .await
        .unwrap();
    for _ in 0..2 {
        let key = read_key(&ours).await.unwrap();
        assert_eq!(
            key.root_fingerprint().to_be_bytes(),
            ours.fingerprint().to_bytes()
        );
        let key = read_key(&theirs).await.unwrap();
        assert_eq!(
            key.root_fingerprint().to_be_bytes(),
            theirs.fingerprint().to_bytes()
        );
    }
    theirs.lock().await;
    assert!(
        read_key(&ours).await.is_ok(),
        "locking one leaves the other open"
    );
}

#[tokio::test]
async fn a_locked_session_and_a_session_ended_elsewhere_have_no_keys() {
    let computer = Computer::new();
    let simulator = Simulator::builder().pin(page("1")).person(Script::new([
        Act::Pin(page("1")),
        Act::Confirm,
        Act::Confirm,
    ]));
    let session = computer
        .session(&simulator.build(), Some("bcm test"))
        .unlock()
        .await
        .unwrap();
    let device = session.device().clone();
    let locked: Result<Success, _> = device
        .call(Prompt::new("lock the device"), LockDevice::new())
        .await;
    locked.unwrap();
    assert!(
        read_key(&session).await.is_err(),
        "the script types no second PIN"
    );
    session.lock().await;
    let request = device.call::<_, PublicKey>(Prompt::new("x"), GetPublicKey::new());
    assert!(matches!(request.await.unwrap_err(), DeviceError::Locked));
}

#[tokio::test]
async fn a_device_that_vanishes_in_mid_request_is_noticed_within_two_seconds() {
    let script = Script::new([Act::Confirm, Act::Confirm, Act::Stare]);
    let simulator = Simulator::builder().person(script).build();
    let session = Computer::new()
        .session(&simulator, Some("bcm test"))
        .unlock()
        .await
        .unwrap();
    let mut request = GetPublicKey::new();
    request.address_n = vec![1 << 31];
    request.set_show_display(true);
    let waiting = session
        .device()
        .call::<_, PublicKey>(Prompt::new("show a key"), request);
    let vanish = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        simulator.vanish();
        Instant::now()
    };
    let (answer, vanished) = tokio::join!(waiting, vanish);
    assert!(matches!(
        answer.unwrap_err(),
        DeviceError::Lost {
            loss: Loss::Gone,
            ..
        }
    ));
    assert!(vanished.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn looking_at_a_device_opens_no_session() {
    let simulator = Simulator::builder().label("mine").build();
    let info = Computer::new()
        .session(&simulator, None)
        .inspect()
        .await
        .unwrap();
    assert_eq!(info.name(), "mine");
    assert_eq!(
        (info.model.as_str(), info.version.as_str()),
        ("T", "2.12.4")
    );
    assert_eq!(info.passphrase_protection, Some(true));
}
