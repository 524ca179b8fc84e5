//! What the recordings do not show.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use trezor_client::protos::failure::FailureType;
use trezor_client::protos::{
    ApplyFlags, ApplySettings, ButtonAck, ButtonRequest, Cancel, Failure, Features, GetAddress,
    GetFeatures, GetPublicKey, IdentityType, LockDevice, PassphraseRequest, Ping, SignIdentity,
    Success, WipeDevice,
};

use super::host::{Host, PASSPHRASE, read, typed};
use crate::device::{Message, TransportError};
use crate::simulator::{Act, AutoConfirm, Deny, Script, Shown, Simulator};

fn ping_with_button() -> Ping {
    let mut ping = Ping::new();
    ping.set_message("hello".into());
    ping.set_button_protection(true);
    ping
}

fn code(answer: &Message) -> FailureType {
    read::<Failure>(answer).code()
}

/// A device whose person stares at one question, and a host that has brought it there.
fn staring() -> (Simulator, Host) {
    let simulator = Simulator::builder()
        .person(Script::new([Act::Stare]))
        .build();
    let mut host = Host::of(&simulator);
    read::<ButtonRequest>(&host.ask(&ping_with_button()));
    host.send(&Message::encode(&ButtonAck::new()));
    (simulator, host)
}

#[test]
fn the_eleventh_session_costs_the_first_its_place() {
    let mut host = Host::of(&Simulator::builder().build());
    let ids: Vec<_> = (0..11)
        .map(|_| host.initialize(None).session_id().to_vec())
        .collect();
    assert_eq!(host.initialize(Some(&ids[1])).session_id(), ids[1]);
    assert_ne!(host.initialize(Some(&ids[0])).session_id(), ids[0]);
}

#[test]
fn flags_that_are_set_stay_set() {
    let mut host = Host::of(&Simulator::builder().build());
    for (flags, then) in [(0, 0), (4, 4), (1, 5), (0, 5)] {
        let mut request = ApplyFlags::new();
        request.set_flags(flags);
        let _: Success = host.call(&request);
        let told: Features = host.call(&GetFeatures::new());
        assert_eq!(told.flags(), then);
    }
}

#[test]
fn each_session_is_a_wallet_of_its_own() {
    let mut host = Host::of(&Simulator::builder().build());
    let first = host.initialize(None).session_id().to_vec();
    let one = host.open(PASSPHRASE).unwrap();
    host.initialize(None);
    let other = host.open("another").unwrap();
    assert_ne!(one.root_fingerprint(), other.root_fingerprint());
    host.initialize(Some(&first));
    let again = host.open("not asked for").unwrap();
    assert_eq!(again.root_fingerprint(), one.root_fingerprint());
}

#[test]
fn a_key_needs_a_session() {
    let mut host = Host::of(&Simulator::builder().build());
    let mut request = GetPublicKey::new();
    request.address_n = vec![1 << 31];
    assert_eq!(
        code(&host.ask(&request)),
        FailureType::Failure_InvalidSession
    );
}

#[test]
fn cancel_takes_a_question_off_the_screen_and_is_answered_once() {
    let (_simulator, mut host) = staring();
    assert_eq!(
        code(&host.ask(&Cancel::new())),
        FailureType::Failure_ActionCancelled
    );
    let told: Features = host.call(&GetFeatures::new());
    assert_eq!(told.label(), "bcm");
}

#[test]
fn a_new_request_takes_the_question_of_the_last_off_the_screen() {
    let (_simulator, mut host) = staring();
    assert!(host.initialize(None).session_id.is_some());
    assert!(host.open(PASSPHRASE).is_some());
}

#[test]
fn a_request_instead_of_an_acknowledgement_is_served() {
    let mut host = Host::of(&Simulator::builder().build());
    read::<ButtonRequest>(&host.ask(&ping_with_button()));
    let told: Features = host.call(&GetFeatures::new());
    assert!(told.initialized());
}

#[test]
fn another_host_is_told_that_the_device_is_busy() {
    let (simulator, mut first) = staring();
    let mut second = Host::of(&simulator);
    let refusal = second.ask(&GetFeatures::new());
    assert_eq!(code(&refusal), FailureType::Failure_Busy);
    let text = read::<Failure>(&refusal).message().to_owned();
    assert!(text.contains("a program in the same process"), "{text}");
    assert_eq!(
        code(&first.ask(&Cancel::new())),
        FailureType::Failure_ActionCancelled
    );
    read::<Features>(&second.ask(&GetFeatures::new()));
}

#[test]
fn a_host_that_waits_too_long_loses_its_dialogue() {
    let patience = Duration::from_millis(200);
    let simulator = Simulator::builder().patience(patience).build();
    let (mut slow, mut other) = (Host::of(&simulator), Host::of(&simulator));
    read::<ButtonRequest>(&slow.ask(&ping_with_button()));
    assert_eq!(
        code(&other.ask(&GetFeatures::new())),
        FailureType::Failure_Busy
    );
    std::thread::sleep(patience);
    read::<Features>(&other.ask(&GetFeatures::new()));
    let late = slow.ask(&ButtonAck::new());
    assert_eq!(code(&late), FailureType::Failure_UnexpectedMessage);
}

#[test]
fn a_person_may_take_longer_than_a_host() {
    let simulator = Simulator::builder()
        .patience(Duration::ZERO)
        .person(Script::new([Act::Stare]))
        .build();
    let (mut host, mut other) = (Host::of(&simulator), Host::of(&simulator));
    read::<ButtonRequest>(&host.ask(&ping_with_button()));
    host.send(&Message::encode(&ButtonAck::new()));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(
        code(&other.ask(&GetFeatures::new())),
        FailureType::Failure_Busy
    );
}

#[test]
fn a_host_that_leaves_frees_the_device() {
    let (simulator, host) = staring();
    drop(host);
    read::<Features>(&Host::of(&simulator).ask(&GetFeatures::new()));
}

#[test]
fn a_device_that_vanishes_under_a_question_is_gone_at_once() {
    let (simulator, mut host) = staring();
    simulator.vanish();
    let start = Instant::now();
    let error = host.0.receive(Duration::from_secs(20)).unwrap_err();
    assert!(matches!(error, TransportError::Gone(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(2));
    let error = host.0.send(&Message::encode(&Cancel::new())).unwrap_err();
    assert!(matches!(error, TransportError::Gone(_)), "{error:?}");
}

#[test]
fn a_person_who_denies_ends_every_question() {
    let mut host = Host::of(&Simulator::builder().person(Deny).build());
    host.initialize(None);
    assert!(host.open(PASSPHRASE).is_none());
    read::<ButtonRequest>(&host.ask(&ping_with_button()));
    assert_eq!(
        code(&host.ask(&ButtonAck::new())),
        FailureType::Failure_ActionCancelled
    );
}

#[test]
fn the_pin_of_a_locked_device_is_asked_for_and_the_session_lives_on() {
    let person = AutoConfirm {
        pin: Some(typed("1234")),
        ..AutoConfirm::default()
    };
    let mut host = Host::of(
        &Simulator::builder()
            .pin(typed("1234"))
            .person(person)
            .build(),
    );
    let id = host.initialize(None).session_id().to_vec();
    let opened = host.open(PASSPHRASE).unwrap();
    read::<Success>(&host.ask(&LockDevice::new()));
    let told: Features = host.call(&GetFeatures::new());
    assert!(!told.unlocked() && told.passphrase_protection.is_none());
    assert_eq!(host.initialize(Some(&id)).session_id(), id);
    let again = host.open("not asked for").unwrap();
    assert_eq!(again.root_fingerprint(), opened.root_fingerprint());
}

#[test]
fn a_device_without_pin_does_not_lock() {
    let mut host = Host::of(&Simulator::builder().build());
    read::<Success>(&host.ask(&LockDevice::new()));
    let told: Features = host.call(&GetFeatures::new());
    assert!(told.unlocked());
}

#[test]
fn a_pin_that_is_not_typed_is_cancelled() {
    let device = Simulator::builder().pin(typed("1234")).person(Deny).build();
    let mut host = Host::of(&device);
    host.initialize(None);
    read::<ButtonRequest>(&host.ask(&GetPublicKey::new()));
    assert_eq!(
        code(&host.ask(&ButtonAck::new())),
        FailureType::Failure_PinCancelled
    );
}

#[test]
fn sixteen_wrong_pins_wipe_the_device() {
    let acts = (0..16).map(|_| Act::Pin(typed("9999")));
    let device = Simulator::builder()
        .pin(typed("1234"))
        .person(Script::new(acts))
        .build();
    let mut host = Host::of(&device);
    host.initialize(None);
    assert!(host.open(PASSPHRASE).is_none());
    let told: Features = host.call(&GetFeatures::new());
    assert!(!told.initialized() && !told.pin_protection());
}

#[test]
fn a_passphrase_that_is_always_typed_on_the_device_is_not_asked_from_the_host() {
    let script = Script::new([Act::Passphrase(typed(PASSPHRASE))]);
    let device = Simulator::builder()
        .passphrase_always_on_device(true)
        .person(script.clone());
    let mut host = Host::of(&device.build());
    host.initialize(None);
    let told = host.open("not asked for").unwrap();
    assert_eq!(told.root_fingerprint(), 0xdd53_b9b4);
    assert_eq!(script.take_shown(), [Shown::PassphraseKeyboard]);
}

#[test]
fn what_is_typed_on_the_device_is_normalised() {
    let script = Script::new([Act::Passphrase(typed("Příliš"))]);
    let device = Simulator::builder()
        .passphrase_always_on_device(true)
        .person(script);
    let mut host = Host::of(&device.build());
    host.initialize(None);
    assert_eq!(host.open("").unwrap().root_fingerprint(), 0xd214_6243);
}

#[test]
fn settings_are_changed_one_confirmation_each() {
    let script = Script::default();
    let mut host = Host::of(&Simulator::builder().person(script.clone()).build());
    let mut settings = ApplySettings::new();
    settings.set_label("mine".into());
    settings.set_passphrase_always_on_device(true);
    read::<ButtonRequest>(&host.ask(&settings));
    read::<ButtonRequest>(&host.ask(&ButtonAck::new()));
    read::<Success>(&host.ask(&ButtonAck::new()));
    assert_eq!(script.take_shown().len(), 2);
    let told: Features = host.call(&GetFeatures::new());
    assert_eq!(told.label(), "mine");
    assert!(told.passphrase_always_on_device());

    let mut off = ApplySettings::new();
    off.set_use_passphrase(false);
    read::<ButtonRequest>(&host.ask(&off));
    read::<Success>(&host.ask(&ButtonAck::new()));
    let told: Features = host.call(&GetFeatures::new());
    assert!(!told.passphrase_protection() && !told.passphrase_always_on_device());
    assert_eq!(
        code(&host.ask(&ApplySettings::new())),
        FailureType::Failure_ProcessError
    );
}

#[test]
fn a_device_without_a_seed_takes_no_flags() {
    let mut host = Host::of(&Simulator::builder().uninitialized().build());
    let mut flags = ApplyFlags::new();
    flags.set_flags(0);
    assert_eq!(code(&host.ask(&flags)), FailureType::Failure_NotInitialized);
    host.send(&Message::new(28, vec![]));
    assert_eq!(code(&host.receive()), FailureType::Failure_DataError);
}

#[test]
fn a_key_in_an_unusual_place_is_shown_after_a_warning() {
    let script = Script::default();
    let mut host = Host::of(&Simulator::builder().person(script.clone()).build());
    host.initialize(None);
    host.open(PASSPHRASE);
    script.take_shown();
    let mut request = GetAddress::new();
    request.address_n = vec![44 | 1 << 31, 1 << 31, 1 << 31, 0, 0];
    request.set_script_type(trezor_client::InputScriptType::SPENDWITNESS);
    request.set_show_display(true);
    read::<ButtonRequest>(&host.ask(&request));
    read::<ButtonRequest>(&host.ask(&ButtonAck::new()));
    host.ask(&ButtonAck::new());
    let names: Vec<_> = script
        .take_shown()
        .iter()
        .map(|shown| match shown {
            Shown::Question(screen) => screen.name(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["path_warning", "show_address"]);
}

#[test]
fn messages_that_are_not_simulated_are_unexpected() {
    let mut host = Host::of(&Simulator::builder().build());
    let unexpected = FailureType::Failure_UnexpectedMessage;
    assert_eq!(code(&host.ask(&WipeDevice::new())), unexpected);
    host.send(&Message::new(60_000, vec![]));
    assert_eq!(code(&host.receive()), unexpected);
    host.send(&Message::encode(&PassphraseRequest::new()));
    assert_eq!(code(&host.receive()), unexpected);
}

#[test]
fn what_is_no_protobuf_is_a_data_error() {
    let mut host = Host::of(&Simulator::builder().build());
    host.send(&Message::new(0, vec![0xff; 5]));
    assert_eq!(code(&host.receive()), FailureType::Failure_DataError);
}

#[test]
fn an_identity_that_says_nothing_is_an_identity() {
    let mut host = Host::of(&Simulator::builder().build());
    host.initialize(None);
    host.open(PASSPHRASE);
    let mut request = SignIdentity::new();
    request.identity = protobuf::MessageField::some(IdentityType::new());
    read::<ButtonRequest>(&host.ask(&request));
    let told: trezor_client::protos::SignedIdentity = host.call(&ButtonAck::new());
    assert_eq!(told.signature().len(), 65);
}

#[test]
fn a_simulator_is_ready_at_once() {
    let start = Instant::now();
    let simulator = Simulator::builder().build();
    let built = start.elapsed();
    read::<Features>(&Host::of(&simulator).ask(&GetFeatures::new()));
    assert!(built < Duration::from_millis(50), "{built:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Rubbish, in runs, some of it with the type of a message that the device knows.
    #[test]
    fn rubbish_never_ends_the_device(
        rubbish in proptest::collection::vec(
            (
                prop_oneof![
                    any::<u16>(),
                    proptest::sample::select(vec![
                        0_u16, 1, 11, 20, 23, 24, 25, 27, 29, 38, 42, 53, 55, 61, 83,
                    ]),
                ],
                proptest::collection::vec(any::<u8>(), 0..64),
            ),
            1..40,
        ),
    ) {
        let simulator = Simulator::builder().build();
        let mut host = Host::of(&simulator);
        host.initialize(None);
        host.open(PASSPHRASE);
        for (kind, payload) in rubbish {
            host.send(&Message::new(kind, payload));
        }
        let mut sync = Ping::new();
        sync.set_message("still there".into());
        host.send(&Message::encode(&sync));
        loop {
            let answer = host.receive();
            if answer.is::<Success>() && read::<Success>(&answer).message() == "still there" {
                break;
            }
        }
    }
}
