//! Faults that a real device cannot be made to have, played by a scripted transport.

use std::collections::VecDeque;
use std::sync::Mutex;

use trezor_client::protos::{Entropy, Failure, GetEntropy, Ping, Success, failure::FailureType};

use super::*;
use crate::device::Device;

/// What the scripted device does with a message.
type Script = Box<dyn FnMut(&Message) -> Result<Vec<Message>, TransportError> + Send>;

struct Scripted {
    script: Script,
    answers: VecDeque<Message>,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Transport for Scripted {
    fn name(&self) -> String {
        "scripted".into()
    }

    fn send(&mut self, message: &Message) -> Result<(), TransportError> {
        self.sent.lock().unwrap().push(message.name().unwrap());
        self.answers.extend((self.script)(message)?);
        Ok(())
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Message>, TransportError> {
        let answer = self.answers.pop_front();
        if answer.is_none() {
            std::thread::sleep(wait);
        }
        Ok(answer)
    }
}

#[derive(Debug)]
struct OnDevice;

impl Interaction for OnDevice {
    fn device_waits(&self, _prompt: &Prompt, _wait: DeviceWait) {}

    fn passphrase(&self, _prompt: &Prompt) -> Result<PassphraseEntry, NoAnswer> {
        Ok(PassphraseEntry::OnDevice)
    }

    fn pin_matrix(&self, _prompt: &Prompt) -> Result<crate::secret::Pin, NoAnswer> {
        Err(NoAnswer::GivenUp)
    }
}

fn device(
    script: impl FnMut(&Message) -> Result<Vec<Message>, TransportError> + Send + 'static,
) -> (Device, Arc<Mutex<Vec<String>>>) {
    let sent = Arc::<Mutex<Vec<String>>>::default();
    let transport = Scripted {
        script: Box::new(script),
        answers: VecDeque::new(),
        sent: sent.clone(),
    };
    (Device::spawn(Box::new(transport), Arc::new(OnDevice)), sent)
}

fn features(session: &[u8]) -> Message {
    let mut features = Features::new();
    features.set_major_version(2);
    features.set_minor_version(12);
    features.set_patch_version(4);
    features.set_session_id(session.to_vec());
    Message::encode(&features)
}

fn failure(code: FailureType) -> Message {
    let mut failure = Failure::new();
    failure.set_code(code);
    failure.set_message("said\nso".into());
    Message::encode(&failure)
}

fn prompt() -> Prompt {
    Prompt::new("test")
}

async fn adopt(device: &Device) {
    device
        .locked_dialogue(prompt(), |dialogue| {
            dialogue.adopt_session(b"ours".to_vec());
            Ok(())
        })
        .await
        .unwrap();
}

async fn ping(device: &Device) -> Result<Success, DeviceError> {
    device.call(prompt(), Ping::new()).await
}

#[tokio::test]
async fn a_locked_session_sends_nothing() {
    let (device, sent) = device(|_| Ok(vec![]));
    assert!(matches!(
        ping(&device).await.unwrap_err(),
        DeviceError::Locked
    ));
    assert!(sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_request_selects_our_session_first() {
    let (device, sent) = device(|message| {
        Ok(vec![if message.is::<Initialize>() {
            assert_eq!(
                message.decode::<Initialize>().unwrap().session_id(),
                b"ours"
            );
            features(b"ours")
        } else {
            Message::encode(&Success::new())
        }])
    });
    adopt(&device).await;
    ping(&device).await.unwrap();
    ping(&device).await.unwrap();
    assert_eq!(
        *sent.lock().unwrap(),
        ["Initialize", "Ping", "Initialize", "Ping"]
    );
}

#[tokio::test]
async fn a_session_that_another_program_ended_is_lost_and_stays_so() {
    let (device, sent) = device(|message| {
        Ok(vec![if message.is::<Initialize>() {
            features(b"another")
        } else {
            Message::encode(&Success::new())
        }])
    });
    adopt(&device).await;
    for _ in 0..2 {
        assert!(matches!(
            ping(&device).await.unwrap_err(),
            DeviceError::Lost {
                loss: Loss::SessionClosed,
                ..
            }
        ));
    }
    assert_eq!(*sent.lock().unwrap(), ["Initialize", "EndSession"]);
}

#[tokio::test]
async fn a_passphrase_asked_for_again_is_never_answered() {
    let (device, sent) = device(|message| {
        Ok(vec![if message.is::<Initialize>() {
            features(b"ours")
        } else if message.is::<protos::Cancel>() {
            failure(FailureType::Failure_ActionCancelled)
        } else {
            Message::encode(&protos::PassphraseRequest::new())
        }])
    });
    adopt(&device).await;
    assert!(matches!(
        ping(&device).await.unwrap_err(),
        DeviceError::Lost {
            loss: Loss::SessionClosed,
            ..
        }
    ));
    assert_eq!(*sent.lock().unwrap(), ["Initialize", "Ping", "Cancel"]);
}

#[tokio::test]
async fn dropping_a_request_cancels_it_and_the_next_one_works() {
    let mut asked = false;
    let (device, sent) = device(move |message| {
        Ok(if message.is::<Initialize>() {
            vec![features(b"ours")]
        } else if message.is::<protos::Cancel>() {
            vec![failure(FailureType::Failure_ActionCancelled)]
        } else if std::mem::replace(&mut asked, true) {
            vec![Message::encode(&Success::new())]
        } else {
            vec![]
        })
    });
    adopt(&device).await;
    let waiting = ping(&device);
    assert!(
        tokio::time::timeout(Duration::from_millis(120), waiting)
            .await
            .is_err()
    );
    ping(&device).await.unwrap();
    assert_eq!(
        *sent.lock().unwrap(),
        ["Initialize", "Ping", "Cancel", "Initialize", "Ping"]
    );
}

#[tokio::test]
async fn an_answer_that_crosses_with_the_cancel_is_not_taken_for_the_next_one() {
    let (device, _) = device(|message| {
        Ok(if message.is::<Initialize>() {
            vec![features(b"ours")]
        } else if message.is::<protos::Cancel>() {
            vec![
                Message::new(12, vec![]),
                failure(FailureType::Failure_ActionCancelled),
            ]
        } else if message.is::<Ping>() {
            vec![Message::encode(&Success::new())]
        } else {
            vec![]
        })
    });
    adopt(&device).await;
    let waiting = {
        let mut request = GetEntropy::new();
        request.set_size(1);
        device.call::<_, Entropy>(prompt(), request)
    };
    assert!(
        tokio::time::timeout(Duration::from_millis(120), waiting)
            .await
            .is_err()
    );
    ping(&device).await.unwrap();
}

#[tokio::test]
async fn a_device_that_ignores_cancel_is_lost() {
    let (device, _) = device(|message| {
        Ok(if message.is::<Initialize>() {
            vec![features(b"ours")]
        } else {
            vec![]
        })
    });
    adopt(&device).await;
    let request = ping(&device);
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(120)).await;
        device.cancel();
    };
    let (answer, ()) = tokio::join!(request, cancel);
    assert!(matches!(
        answer.unwrap_err(),
        DeviceError::Lost {
            loss: Loss::Silent,
            ..
        }
    ));
    assert!(matches!(
        device.lost().await,
        DeviceError::Lost {
            loss: Loss::Silent,
            ..
        }
    ));
}

#[tokio::test]
async fn a_device_that_vanishes_is_one_clear_error() {
    let (device, _) = device(|message| {
        if message.is::<Initialize>() {
            return Ok(vec![features(b"ours")]);
        }
        Err(TransportError::Gone(None))
    });
    adopt(&device).await;
    let error = ping(&device).await.unwrap_err();
    assert_eq!(error.to_string(), "the device at `scripted` is gone");
    assert_eq!(device.lost().await.to_string(), error.to_string());
}

#[tokio::test]
async fn failures_say_what_the_device_said() {
    for (code, expected) in [
        (
            FailureType::Failure_ActionCancelled,
            "declined on the device",
        ),
        (FailureType::Failure_PinInvalid, "wrong PIN"),
        (
            FailureType::Failure_Busy,
            "another program is using the device at `scripted`",
        ),
        (
            FailureType::Failure_DataError,
            "the device refused: said?so (DataError)",
        ),
    ] {
        let (device, _) = device(move |message| {
            Ok(vec![if message.is::<Initialize>() {
                features(b"ours")
            } else {
                failure(code)
            }])
        });
        adopt(&device).await;
        assert_eq!(ping(&device).await.unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn answers_of_another_kind_and_damaged_ones_are_refused() {
    for (answer, expected) in [
        (
            Message::new(12, vec![]),
            "the device answered PublicKey where Success was expected",
        ),
        (
            Message::new(60_000, vec![]),
            "the device answered type 60000 where Success was expected",
        ),
        (
            Message::new(2, vec![0x0a, 0xff]),
            "the device sent a damaged Success message",
        ),
    ] {
        let (device, _) = device(move |message| {
            Ok(vec![if message.is::<Initialize>() {
                features(b"ours")
            } else {
                answer.clone()
            }])
        });
        adopt(&device).await;
        assert_eq!(ping(&device).await.unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_passphrase_is_encoded_as_protobuf_would() {
    let mut ack = protos::PassphraseAck::new();
    ack.set_passphrase("bcm test".into());
    assert!(passphrase_ack(b"bcm test") == Message::encode(&ack));
    assert!(passphrase_ack(b"").payload() == [0x0a, 0x00]);
}
