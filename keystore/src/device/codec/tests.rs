use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn through_chunks(message: &Message) -> Message {
    let mut decoder = Decoder::new();
    let chunks = encode_chunks(message).unwrap();
    let (last, first) = chunks.split_last().unwrap();
    for chunk in first {
        assert_eq!(decoder.push(chunk), Ok(None));
    }
    decoder.push(last).unwrap().unwrap()
}

#[test]
fn an_empty_message_is_one_chunk_of_magic_type_length_and_zeros() {
    // Initialize is type 0, Ping is 1: the first bytes of every dialogue of trezorlib.
    let chunks = encode_chunks(&Message::new(1, vec![])).unwrap();
    assert_eq!(chunks.len(), 1);
    assert_eq!(&chunks[0][..9], b"?##\0\x01\0\0\0\0");
    assert!(chunks[0][9..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_body_of_56_bytes_needs_a_second_chunk() {
    for (length, count) in [(55, 1), (56, 2), (55 + 63, 2), (55 + 63 + 1, 3)] {
        let chunks = encode_chunks(&Message::new(2, vec![7; length])).unwrap();
        assert_eq!(chunks.len(), count, "{length}");
        assert!(chunks.iter().all(|chunk| chunk[0] == b'?'));
    }
}

#[test]
fn the_longest_message_passes_and_a_longer_one_is_refused() {
    let longest = Message::new(3, vec![5; MAX_PAYLOAD]);
    assert_eq!(through_chunks(&longest), longest);
    let text = bridge_encode(&longest).unwrap();
    assert_eq!(bridge_decode(text.as_bytes()), Ok(longest));

    let longer = Message::new(3, vec![5; MAX_PAYLOAD + 1]);
    let refused = CodecError::TooLong(MAX_PAYLOAD + 1);
    assert_eq!(encode_chunks(&longer).unwrap_err(), refused);
    assert_eq!(bridge_encode(&longer).unwrap_err(), refused);
}

#[test]
fn a_wrong_magic_mark_or_size_is_named_and_leaves_a_new_decoder() {
    let message = Message::new(17, vec![1; 100]);
    let chunks = encode_chunks(&message).unwrap();
    let mut decoder = Decoder::new();

    let mut wrong = chunks[0];
    wrong[1] = b'!';
    let error = decoder.push(&wrong).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a message begins with 3f2123, expected 3f2323"
    );

    assert_eq!(decoder.push(&chunks[0]), Ok(None));
    assert!(decoder.is_midway());
    let mut wrong = chunks[1];
    wrong[0] = 0;
    assert_eq!(decoder.push(&wrong), Err(CodecError::Mark(0)));
    assert!(!decoder.is_midway());

    for length in [0, 1, 63, 65, 4096] {
        assert_eq!(decoder.push(&chunks[0]), Ok(None));
        let error = decoder.push(&vec![b'?'; length]).unwrap_err();
        assert_eq!(error, CodecError::ChunkSize(length));
        assert!(!decoder.is_midway());
    }
    assert_eq!(decoder.push(&chunks[0]), Ok(None));
    assert_eq!(decoder.push(&chunks[1]), Ok(Some(message)));
}

#[test]
fn a_length_that_is_a_lie_allocates_nothing() {
    let mut chunk = encode_chunks(&Message::new(1, vec![])).unwrap()[0];
    chunk[5..9].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut decoder = Decoder::new();
    assert_eq!(
        decoder.push(&chunk),
        Err(CodecError::TooLong(u32::MAX as usize))
    );
    assert_eq!(
        bridge_decode(b"0001ffffffff"),
        Err(CodecError::TooLong(u32::MAX as usize))
    );
}

#[test]
fn what_the_bridge_says_is_one_message_or_an_error() {
    let message = Message::new(2, vec![0x0a, 0x01, 0x78]);
    assert_eq!(
        bridge_encode(&message).unwrap().as_str(),
        "0002000000030a0178"
    );
    assert_eq!(bridge_decode(b" 0002000000030A0178\n"), Ok(message.clone()));
    for (text, error) in [
        ("", CodecError::Truncated(0)),
        ("0002", CodecError::Truncated(2)),
        ("00020000000", CodecError::Hex),
        ("{\"error\":\"no\"}", CodecError::Hex),
        ("0002000000030a01", CodecError::Length { said: 3, found: 2 }),
        (
            "0002000000030a017800",
            CodecError::Length { said: 3, found: 4 },
        ),
    ] {
        assert_eq!(bridge_decode(text.as_bytes()), Err(error), "{text}");
    }
}

#[test]
fn neither_decoder_nor_error_shows_a_body() {
    let mut decoder = Decoder::new();
    let chunks = encode_chunks(&Message::new(42, vec![b's'; 100])).unwrap();
    assert_eq!(decoder.push(&chunks[0]), Ok(None));
    assert_eq!(format!("{decoder:?}"), "Decoder(55 of 100)");
    let error = TransportError::from(CodecError::Hex).to_string();
    assert_eq!(
        error,
        "the peer does not speak the Trezor protocol: an answer is not hex"
    );
}

proptest! {
    #[test]
    fn every_message_comes_back(kind: u16, payload in vec(any::<u8>(), 0..2000)) {
        let message = Message::new(kind, payload);
        prop_assert_eq!(&through_chunks(&message), &message);
        let text = bridge_encode(&message).unwrap();
        prop_assert_eq!(bridge_decode(text.as_bytes()), Ok(message));
    }

    #[test]
    fn any_chunks_are_messages_or_errors(
        chunks in vec(
            prop_oneof![
                vec(any::<u8>(), 0..130),
                // near misses: right size, right magic, any header
                vec(any::<u8>(), 61).prop_map(|rest| [b"?##".as_slice(), &rest].concat()),
                vec(any::<u8>(), 63).prop_map(|rest| [b"?".as_slice(), &rest].concat()),
                (0..3000_u32, any::<u16>()).prop_map(|(length, kind)| {
                    let mut chunk = vec![0; CHUNK];
                    chunk[..3].copy_from_slice(b"?##");
                    chunk[3..5].copy_from_slice(&kind.to_be_bytes());
                    chunk[5..9].copy_from_slice(&length.to_be_bytes());
                    chunk
                }),
            ],
            0..40,
        )
    ) {
        let mut decoder = Decoder::new();
        for chunk in &chunks {
            let before = decoder.is_midway();
            match decoder.push(chunk) {
                Ok(Some(message)) => {
                    prop_assert!(message.payload().len() <= 63 * chunks.len());
                    prop_assert!(!decoder.is_midway());
                }
                Ok(None) => {
                    let begun = decoder.begun.as_ref().unwrap();
                    prop_assert!(begun.payload.len() < begun.length);
                    prop_assert!(begun.payload.capacity() <= MAX_PAYLOAD);
                }
                Err(_) => prop_assert!(!decoder.is_midway(), "midway before: {}", before),
            }
        }
    }

    #[test]
    fn any_text_is_a_message_or_an_error(text in vec(any::<u8>(), 0..300)) {
        if let Ok(message) = bridge_decode(&text) {
            let again = bridge_encode(&message).unwrap();
            prop_assert!(text.trim_ascii().eq_ignore_ascii_case(again.as_bytes()));
        }
    }
}
