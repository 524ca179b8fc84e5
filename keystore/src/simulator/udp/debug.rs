//! The emulator's second port, through which test software presses the buttons of the firmware's
//! debug build. Clients such as `hwi` take it for granted wherever they find an emulator.
//!
//! Nobody presses a button here: the [`Person`](crate::simulator::Person) alone does. What is sent is
//! read and dropped, and a question is answered with a `Failure`, so that no client waits for ever.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use trezor_client::protos::failure::FailureType;
use trezor_client::protos::{DebugLinkDecision, DebugLinkStop};

use super::{CHUNK, MAX_HOSTS, PING, PONG};
use crate::device::Message;
use crate::device::codec::{Decoder, encode_chunks};
use crate::simulator::engine::failure;

/// Serves until `ended`.
pub(super) fn run(socket: &UdpSocket, ended: &AtomicBool) {
    let mut decoders: HashMap<SocketAddr, Decoder> = HashMap::new();
    let mut datagram = [0; 2 * CHUNK];
    while !ended.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        let datagram = &datagram[..length];
        if datagram == PING {
            // an answer that is lost is asked for again
            let _ = socket.send_to(PONG, from);
            continue;
        }
        if decoders.len() >= MAX_HOSTS {
            decoders.clear();
        }
        // what is no chunk is dropped
        if let Ok(Some(message)) = decoders.entry(from).or_default().push(datagram) {
            answer(socket, from, &message);
        }
    }
}

fn answer(socket: &UdpSocket, to: SocketAddr, message: &Message) {
    if message.is::<DebugLinkDecision>() || message.is::<DebugLinkStop>() {
        return;
    }
    let code = FailureType::Failure_UnexpectedMessage;
    let refusal = failure(code, "The simulator has no debug link");
    for chunk in encode_chunks(&refusal)
        .iter()
        .flat_map(|chunks| chunks.iter())
    {
        // an answer that is lost is lost
        let _ = socket.send_to(chunk, to);
    }
}
