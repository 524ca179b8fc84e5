//! Bytes from a USB port, a UDP port or a bridge: a message, or an error.

#![no_main]

use bcm_keystore::device::Message;
use bcm_keystore::device::codec::{CHUNK, Decoder, bridge_decode, bridge_encode, encode_chunks};
use libfuzzer_sys::fuzz_target;
use trezor_client::TrezorMessage;
use trezor_client::protos::{
    ButtonRequest, ECDHSessionKey, Failure, Features, MessageSignature, PassphraseRequest,
    PublicKey, SignedIdentity,
};

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new();
    for chunk in bytes.chunks(CHUNK) {
        if let Ok(Some(message)) = decoder.push(chunk) {
            check(&message);
        }
    }
    if let Ok(message) = bridge_decode(bytes) {
        check(&message);
    }
});

/// What was read is written and read again as the same, and its body is a protobuf or an error.
fn check(message: &Message) {
    let mut decoder = Decoder::new();
    let chunks = encode_chunks(message).expect("what was read is short enough");
    let again = chunks
        .iter()
        .find_map(|chunk| decoder.push(chunk).expect("a chunk of ours"));
    assert_eq!(again.as_ref(), Some(message));

    let text = bridge_encode(message).expect("what was read is short enough");
    assert_eq!(bridge_decode(text.as_bytes()).as_ref(), Ok(message));

    parse::<Features>(message);
    parse::<ButtonRequest>(message);
    parse::<PassphraseRequest>(message);
    parse::<PublicKey>(message);
    parse::<SignedIdentity>(message);
    parse::<ECDHSessionKey>(message);
    parse::<MessageSignature>(message);
    parse::<Failure>(message);
}

fn parse<M: TrezorMessage>(message: &Message) {
    let _ = message.decode::<M>();
}
