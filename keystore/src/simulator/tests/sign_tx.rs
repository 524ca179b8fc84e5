//! What `SignTx` refuses: recorded dialogues in which the host tells something else than before.

use std::path::Path;

use serde::Deserialize;
use trezor_client::protos::failure::FailureType;
use trezor_client::protos::tx_request::RequestType;
use trezor_client::protos::{ButtonAck, ButtonRequest, Failure, SignTx, TxAck, TxRequest};

use super::host::{Host, PASSPHRASE};
use crate::device::Message;
use crate::simulator::{AutoConfirm, Script, Shown, Simulator};

#[derive(Deserialize)]
struct Transcript {
    messages: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    from: String,
    r#type: Option<u16>,
    payload: Option<String>,
}

/// The host's messages of a recorded dialogue, without those that answer buttons.
fn recorded(name: &str) -> (SignTx, Vec<TxAck>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/transcripts");
    let text = std::fs::read_to_string(path.join(format!("{name}.json"))).unwrap();
    let steps = serde_json::from_str::<Transcript>(&text).unwrap().messages;
    let mut messages = steps
        .into_iter()
        .filter(|step| step.from == "host")
        .map(|step| {
            let payload = hex::decode(step.payload.unwrap()).unwrap();
            Message::new(step.r#type.unwrap(), payload)
        });
    let first = messages.next().unwrap().decode().unwrap();
    let acks = messages.filter(Message::is::<TxAck>);
    (first, acks.map(|ack| ack.decode().unwrap()).collect())
}

fn unlocked(person: impl crate::simulator::Person + 'static) -> Host {
    let mut host = Host::of(&Simulator::builder().person(person).build());
    host.initialize(None);
    host.open(PASSPHRASE).unwrap();
    host
}

/// Plays a recording, each answer changed by `alter` first, and returns what ended it.
fn play(
    host: &mut Host,
    name: &str,
    alter: impl Fn(usize, &mut TxAck),
) -> Result<TxRequest, Failure> {
    let (start, acks) = recorded(name);
    play_from(host, &start, acks, alter)
}

fn play_from(
    host: &mut Host,
    start: &SignTx,
    acks: Vec<TxAck>,
    alter: impl Fn(usize, &mut TxAck),
) -> Result<TxRequest, Failure> {
    let mut acks = acks.into_iter().enumerate();
    let mut answer = host.ask(start);
    loop {
        while answer.is::<ButtonRequest>() {
            answer = host.ask(&ButtonAck::new());
        }
        if answer.is::<Failure>() {
            return Err(answer.decode().unwrap());
        }
        let request: TxRequest = answer.decode().unwrap();
        if request.request_type() == RequestType::TXFINISHED {
            return Ok(request);
        }
        let (index, mut ack) = acks.next().expect("the recording goes on");
        alter(index, &mut ack);
        answer = host.ask(&ack);
    }
}

#[track_caller]
fn refused(name: &str, alter: impl Fn(usize, &mut TxAck), code: FailureType, words: &str) {
    let mut host = unlocked(AutoConfirm::default());
    let failure = play(&mut host, name, alter).unwrap_err();
    assert_eq!(failure.code(), code, "{}", failure.message());
    assert!(failure.message().contains(words), "{}", failure.message());
    // and the device is free for the next one
    assert!(play(&mut host, name, |_, _| {}).is_ok());
}

const PROCESS: FailureType = FailureType::Failure_ProcessError;
const DATA: FailureType = FailureType::Failure_DataError;

#[test]
fn what_was_told_once_may_not_change() {
    // answers of tx-p2wpkh-change: input, two outputs; input, meta, input and outputs of what is
    // spent; input, two outputs to serialize; input to sign
    let changed = "Transaction has changed during signing";
    for place in [3, 8, 11] {
        let sequence = move |index, ack: &mut TxAck| {
            if index == place {
                ack.tx.as_mut().unwrap().inputs[0].set_sequence(7);
            }
        };
        refused("tx-p2wpkh-change", sequence, PROCESS, changed);
    }
    for place in [9, 10] {
        let amount = move |index, ack: &mut TxAck| {
            if index == place {
                ack.tx.as_mut().unwrap().outputs[0].set_amount(7);
            }
        };
        refused("tx-p2wpkh-change", amount, PROCESS, changed);
    }
}

#[test]
fn what_is_spent_has_to_be_what_the_input_says() {
    let fake = |index, ack: &mut TxAck| {
        if index == 5 {
            ack.tx.as_mut().unwrap().inputs[0].set_sequence(7);
        }
    };
    refused(
        "tx-p2wpkh-change",
        fake,
        PROCESS,
        "Encountered invalid prev_hash",
    );
    let few = |index, ack: &mut TxAck| {
        if index == 4 {
            ack.tx.as_mut().unwrap().set_outputs_cnt(1);
        }
    };
    refused(
        "tx-p2wpkh-change",
        few,
        PROCESS,
        "Not enough outputs in previous transaction",
    );
    let path = |index, ack: &mut TxAck| {
        if index == 0 || index == 3 {
            ack.tx.as_mut().unwrap().inputs[0].address_n[4] = 77;
        }
    };
    refused(
        "tx-p2wpkh-change",
        path,
        DATA,
        "Input does not match scriptPubKey",
    );
}

#[test]
fn paths_of_another_coin_are_forbidden() {
    let foreign = |index, ack: &mut TxAck| {
        if index == 0 {
            ack.tx.as_mut().unwrap().inputs[0].address_n[1] = 1 << 31;
        }
    };
    refused("tx-p2wpkh-change", foreign, DATA, "Forbidden key path");
    let foreign = |index, ack: &mut TxAck| {
        if index == 2 {
            ack.tx.as_mut().unwrap().outputs[0].address_n[1] = 1 << 31;
        }
    };
    refused("tx-p2wpkh-change", foreign, DATA, "Forbidden key path");
    let mainnet = |index, ack: &mut TxAck| {
        if index == 1 {
            let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned();
            ack.tx.as_mut().unwrap().outputs[0].set_address(address);
        }
    };
    refused("tx-p2wpkh-change", mainnet, DATA, "Invalid address");
}

#[test]
fn a_fee_ten_times_over_the_limit_is_refused() {
    let tiny = |index, ack: &mut TxAck| {
        if index == 1 {
            ack.tx.as_mut().unwrap().outputs[0].set_amount(1);
        }
        if index == 0 {
            ack.tx.as_mut().unwrap().inputs[0].set_amount(100_000_000);
        }
    };
    refused("tx-high-fee", tiny, DATA, "The fee is unexpectedly large");
}

#[test]
fn an_external_input_that_nobody_signed_is_refused() {
    let external = |index, ack: &mut TxAck| {
        if index == 0 {
            let input = &mut ack.tx.as_mut().unwrap().inputs[0];
            input.address_n.clear();
            input.set_script_type(trezor_client::InputScriptType::EXTERNAL);
            input.set_script_pubkey(vec![0; 22]);
        }
    };
    refused(
        "tx-p2wpkh-change",
        external,
        PROCESS,
        "Unverifiable external input",
    );
}

#[test]
fn what_replaces_a_transaction_may_not_send_more() {
    // answers of tx-replace-p2wpkh: input, meta, original input; output, original output, twice
    let more = |index, ack: &mut TxAck| {
        if index == 3 {
            ack.tx.as_mut().unwrap().outputs[0].set_amount(600_001);
        }
    };
    let words = "Increasing original output amounts is not supported";
    refused("tx-replace-p2wpkh", more, PROCESS, words);
    let forged = |index, ack: &mut TxAck| {
        if index == 6 {
            ack.tx.as_mut().unwrap().outputs[0].set_amount(7);
        }
    };
    refused(
        "tx-replace-p2wpkh",
        forged,
        PROCESS,
        "Invalid original TXID",
    );
    let elsewhere = |index, ack: &mut TxAck| {
        if index == 2 {
            ack.tx.as_mut().unwrap().inputs[0].set_prev_index(0);
        }
    };
    let words = "Original input does not match current input";
    refused("tx-replace-p2wpkh", elsewhere, PROCESS, words);
    let unsigned = |index, ack: &mut TxAck| {
        // in both passes, so that it is the signature that is looked at
        let tx = ack.tx.as_mut().unwrap();
        if let Some(witness) = tx
            .inputs
            .first_mut()
            .and_then(|input| input.witness.as_mut())
        {
            witness[10] ^= 1;
        }
        let _ = index;
    };
    refused("tx-replace-p2wpkh", unsigned, DATA, "Invalid signature");
}

#[test]
fn a_sum_of_change_outputs_is_not_silent() {
    let script = Script::default();
    let mut host = unlocked(script.clone());
    script.take_shown();
    let (mut start, mut acks) = recorded("tx-two-changes");
    // a third one, instead of the payment
    let change = acks[2].clone();
    let third = |ack: &mut TxAck| {
        let mut change = change.clone();
        change.tx.as_mut().unwrap().outputs[0].set_amount(100_000);
        change.tx.as_mut().unwrap().outputs[0].address_n[4] = 9;
        *ack = change;
    };
    third(&mut acks[1]);
    // lock time that no input lets take effect
    start.set_lock_time(500_000);
    for ack in &mut acks {
        let tx = ack.tx.as_mut().unwrap();
        if let Some(input) = tx
            .inputs
            .first_mut()
            .filter(|input| !input.address_n.is_empty())
        {
            input.set_sequence(u32::MAX);
        }
    }
    acks.truncate(4);
    let (_, more) = recorded("tx-two-changes");
    let more = more.into_iter().skip(4).take(4);
    acks.extend(more);
    // the recording does not fit any further: the dialogue is left after the questions
    let mut answer = host.ask(&start);
    let mut acks = acks.into_iter();
    let mut names = Vec::new();
    loop {
        while answer.is::<ButtonRequest>() {
            let request: ButtonRequest = answer.decode().unwrap();
            names.push(request.name().to_owned());
            answer = host.ask(&ButtonAck::new());
        }
        let Some(ack) = acks.next().filter(|_| answer.is::<TxRequest>()) else {
            break;
        };
        answer = host.ask(&ack);
    }
    let expected = [
        "change_count_over_threshold",
        "nondefault_locktime",
        "confirm_total",
    ];
    assert_eq!(names, expected);
    let shown = script.take_shown();
    let Shown::Question(lock_time) = &shown[1] else {
        panic!("{shown:?}")
    };
    let text: String = lock_time.pages().collect();
    assert!(text.contains("will have no effect"), "{text}");
}
