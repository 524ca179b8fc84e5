//! Peers on loopback sockets; the well-behaved ones are in the tests of the simulator's UDP server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

/// An emulator that answers pings while `alive`, and every chunk with `answers`.
struct Peer {
    address: SocketAddr,
    alive: Arc<AtomicBool>,
}

fn peer(answers: Vec<Vec<u8>>) -> Peer {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let alive = Arc::new(AtomicBool::new(true));
    let is_alive = alive.clone();
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if !is_alive.load(Ordering::Relaxed) {
                continue;
            }
            let reply = |bytes: &[u8]| socket.send_to(bytes, from).map(drop).unwrap();
            match &buffer[..length] {
                b"PINGPING" => reply(PONG),
                _ => answers.iter().for_each(|answer| reply(answer)),
            }
        }
    });
    Peer { address, alive }
}

fn chunks(message: &Message) -> Vec<Vec<u8>> {
    let chunks = encode_chunks(message).unwrap();
    chunks.iter().map(|chunk| chunk.to_vec()).collect()
}

const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_closed_port_is_refused_and_a_silent_one_is_silent() {
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = UdpTransport::open(closed).unwrap_err();
    assert!(matches!(refused, Obstacle::Refused), "{refused}");

    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let silent = UdpTransport::open(mute.local_addr().unwrap()).unwrap_err();
    assert!(matches!(silent, Obstacle::Silent), "{silent}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_peer_that_answers_pings_with_rubbish_is_no_emulator() {
    for rubbish in [vec![], vec![0; 64], vec![7; 1000]] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 100];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&rubbish, from).unwrap();
            }
        });
        let found = UdpTransport::open(address).unwrap_err();
        let is_malformed = matches!(found, Obstacle::Transport(TransportError::Malformed(_)));
        assert!(is_malformed, "{found}");
    }
}

#[test]
fn a_message_comes_through_between_stray_pongs() {
    let message = Message::new(17, vec![4; 150]);
    let mut answers = chunks(&message);
    answers.insert(1, PONG.to_vec());
    answers.insert(0, PONG.to_vec());
    let peer = peer(answers);
    let mut transport = UdpTransport::open(peer.address).unwrap();
    assert_eq!(transport.name(), format!("udp:{}", peer.address));
    transport.send(&Message::new(0, vec![])).unwrap();
    assert_eq!(transport.receive(LONG).unwrap(), Some(message));
    assert_eq!(transport.receive(Duration::ZERO).unwrap(), None);
    transport.alive().unwrap();
}

#[test]
fn what_is_left_of_an_earlier_request_is_no_answer_to_the_next() {
    // A cancel that crosses the answer: both come, and the second request begins anew.
    let message = Message::new(2, vec![1; 60]);
    let peer = peer(chunks(&message));
    let mut transport = UdpTransport::open(peer.address).unwrap();
    for _ in 0..3 {
        transport.send(&Message::new(1, vec![])).unwrap();
        transport.cancel().unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    transport.drain().unwrap();
    assert_eq!(transport.receive(Duration::from_millis(50)).unwrap(), None);
}

#[test]
fn rubbish_in_an_answer_is_malformed() {
    let cut = chunks(&Message::new(2, vec![1; 100]))[0].clone();
    let mut huge = cut.clone();
    huge[5..9].fill(0xff);
    for (answers, says) in [
        (vec![vec![0; 64]], "a message begins with 000000"),
        (vec![vec![b'?'; 63]], "a datagram of 63 bytes, expected 64"),
        (vec![vec![]], "a datagram of 0 bytes, expected 64"),
        (vec![vec![1; 1000]], "a datagram of 65 bytes, expected 64"),
        (vec![cut.clone(), cut.clone(), vec![1; 64]], "begins with"),
        (vec![cut, vec![1; 64]], "a chunk begins with 01"),
        (vec![huge], "a message of 4294967295 bytes"),
    ] {
        let peer = peer(answers);
        let mut transport = UdpTransport::open(peer.address).unwrap();
        transport.send(&Message::new(1, vec![])).unwrap();
        let error = loop {
            match transport.receive(LONG) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no answer, expected {says}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, TransportError::Malformed(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_peer_that_falls_silent_in_a_request_is_gone_within_two_seconds() {
    let peer = peer(vec![]);
    let mut transport = UdpTransport::open(peer.address).unwrap();
    transport.send(&Message::new(1, vec![])).unwrap();
    // As long as it answers pings the person may think.
    let thinking = Instant::now();
    while thinking.elapsed() < PATIENCE + 2 * PING_EVERY {
        assert_eq!(transport.receive(Duration::from_millis(50)).unwrap(), None);
    }
    peer.alive.store(false, Ordering::Relaxed);
    let silent = Instant::now();
    let error = loop {
        if let Err(error) = transport.receive(Duration::from_millis(50)) {
            break error;
        }
    };
    assert!(matches!(error, TransportError::Gone(Some(_))), "{error}");
    assert!(silent.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_peer_that_ends_in_a_request_is_gone_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let pong = thread::spawn(move || {
        let mut buffer = [0; 100];
        let (_, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(PONG, from).unwrap();
        socket.recv_from(&mut buffer).unwrap();
    });
    let mut transport = UdpTransport::open(address).unwrap();
    transport.send(&Message::new(1, vec![])).unwrap();
    pong.join().unwrap();
    let error = transport.receive(LONG).unwrap_err();
    assert!(matches!(error, TransportError::Gone(Some(_))), "{error}");
    thread::sleep(PING_EVERY);
    let error = transport.alive().unwrap_err();
    assert!(matches!(error, TransportError::Gone(Some(_))), "{error}");
}

#[test]
fn an_idle_peer_that_falls_silent_is_given_a_second_look() {
    let peer = peer(vec![]);
    let mut transport = UdpTransport::open(peer.address).unwrap();
    peer.alive.store(false, Ordering::Relaxed);
    thread::sleep(PING_EVERY);
    transport.alive().unwrap();
    thread::sleep(PATIENCE);
    let error = transport.alive().unwrap_err();
    assert!(matches!(error, TransportError::Gone(Some(_))), "{error}");
}
