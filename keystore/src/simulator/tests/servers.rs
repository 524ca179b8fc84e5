//! The simulated device on the network of this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use trezor_client::protos::debug_link_decision::DebugButton;
use trezor_client::protos::failure::FailureType;
use trezor_client::protos::{
    ButtonAck, ButtonRequest, Cancel, DebugLinkDecision, DebugLinkGetState, Failure, Features,
    GetFeatures, Ping, Success,
};

use super::host::{Host, read};
use crate::device::Message;
use crate::device::codec::{Decoder, bridge_decode, bridge_encode, encode_chunks};
use crate::simulator::{Act, Script, Simulator};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

const LONG: Duration = Duration::from_secs(20);

struct UdpHost(UdpSocket);

impl UdpHost {
    fn connect(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(ANY).unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Self(socket)
    }

    fn send(&self, message: &Message) {
        for chunk in encode_chunks(message).unwrap().iter() {
            self.0.send(chunk).unwrap();
        }
    }

    fn receive(&self) -> Message {
        let mut decoder = Decoder::new();
        let mut chunk = [0; 64];
        loop {
            let length = self.0.recv(&mut chunk).unwrap();
            if let Some(message) = decoder.push(&chunk[..length]).unwrap() {
                return message;
            }
        }
    }

    fn ask(&self, message: &Message) -> Message {
        self.send(message);
        self.receive()
    }

    fn ping(&self) -> bool {
        self.0.send(b"PINGPING").unwrap();
        let mut pong = [0; 8];
        matches!(self.0.recv(&mut pong), Ok(8)) && &pong == b"PONGPONG"
    }
}

fn features() -> Message {
    Message::encode(&GetFeatures::new())
}

fn button() -> Message {
    let mut ping = Ping::new();
    ping.set_message("hello".into());
    ping.set_button_protection(true);
    Message::encode(&ping)
}

fn ack() -> Message {
    Message::encode(&ButtonAck::new())
}

fn cancel() -> Message {
    Message::encode(&Cancel::new())
}

fn staring() -> Simulator {
    Simulator::builder()
        .person(Script::new([Act::Stare]))
        .build()
}

#[test]
fn pings_are_answered_in_the_middle_of_a_dialogue() {
    let server = staring().serve_udp(ANY).unwrap();
    let host = UdpHost::connect(server.address());
    assert!(host.ping());
    read::<ButtonRequest>(&host.ask(&button()));
    host.send(&ack());
    assert!(host.ping());
    let failure: Failure = read(&host.ask(&cancel()));
    assert_eq!(failure.code(), FailureType::Failure_ActionCancelled);
}

#[test]
fn another_udp_host_is_refused_and_the_first_goes_on() {
    let server = Simulator::builder().build().serve_udp(ANY).unwrap();
    let first = UdpHost::connect(server.address());
    let second = UdpHost::connect(server.address());
    read::<ButtonRequest>(&first.ask(&button()));
    let failure: Failure = read(&second.ask(&features()));
    assert_eq!(failure.code(), FailureType::Failure_Busy);
    let name = format!("udp:{}", first.0.local_addr().unwrap());
    assert!(failure.message().contains(&name), "{}", failure.message());
    assert_eq!(read::<Success>(&first.ask(&ack())).message(), "hello");
    read::<Features>(&second.ask(&features()));
}

#[test]
fn datagrams_that_are_no_chunks_are_dropped() {
    let server = Simulator::builder().build().serve_udp(ANY).unwrap();
    let host = UdpHost::connect(server.address());
    for rubbish in [&b""[..], b"PINGPONG", &[0xff; 64], &[b'?'; 64], &[0; 1000]] {
        host.0.send(rubbish).unwrap();
    }
    read::<Features>(&host.ask(&features()));
}

/// `hwi` takes the debug port for granted and sends its decisions there.
#[test]
fn the_debug_port_presses_no_button() {
    let server = staring().serve_udp(ANY).unwrap();
    let mut debug = server.address();
    debug.set_port(debug.port() + 1);
    let debug = UdpHost::connect(debug);
    assert!(debug.ping(), "the port above is closed");
    let host = UdpHost::connect(server.address());
    read::<ButtonRequest>(&host.ask(&button()));
    host.send(&ack());
    let mut press = DebugLinkDecision::new();
    press.set_button(DebugButton::YES);
    debug.send(&Message::encode(&press));
    let failure: Failure = read(&debug.ask(&Message::encode(&DebugLinkGetState::new())));
    assert_eq!(failure.code(), FailureType::Failure_UnexpectedMessage);
    let failure: Failure = read(&host.ask(&cancel()));
    assert_eq!(failure.code(), FailureType::Failure_ActionCancelled);
}

#[test]
fn a_server_that_is_dropped_listens_no_more() {
    let simulator = Simulator::builder().build();
    let server = simulator.serve_udp(ANY).unwrap();
    let address = server.address();
    drop(server);
    let socket = UdpSocket::bind(address).unwrap();
    drop(socket);
    let server = simulator.serve_udp(address).unwrap();
    read::<Features>(&UdpHost::connect(server.address()).ask(&features()));
}

#[test]
fn a_device_that_vanished_answers_no_ping() {
    let simulator = Simulator::builder().build();
    let server = simulator.serve_udp(ANY).unwrap();
    let host = UdpHost::connect(server.address());
    assert!(host.ping());
    simulator.vanish();
    host.0
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let start = Instant::now();
    while host.ping() {
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}

fn request_from(origin: &str, address: SocketAddr, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}",
    )
    .unwrap();
    stream
}

/// Posts to a bridge and returns status and body.
fn post_from(origin: &str, address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let mut answer = String::new();
    let mut stream = request_from(origin, address, path, body);
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn request(address: SocketAddr, path: &str, body: &str) -> TcpStream {
    request_from("https://python.trezor.io", address, path, body)
}

fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    post_from("https://python.trezor.io", address, path, body)
}

fn refused(words: &str) -> (u16, String) {
    (400, format!("{{\"error\":\"{words}\"}}"))
}

fn hex_of(message: &Message) -> String {
    bridge_encode(message).unwrap().to_string()
}

fn call(address: SocketAddr, session: &str, message: &Message) -> Message {
    let (status, body) = post(address, &format!("/call/{session}"), &hex_of(message));
    assert_eq!(status, 200, "{body}");
    bridge_decode(body.as_bytes()).unwrap()
}

#[test]
fn a_bridge_hands_the_device_to_one_session_at_a_time() {
    let server = Simulator::builder().build().serve_bridge(ANY).unwrap();
    let at = server.address();
    assert_eq!(post(at, "/", ""), (200, "{\"version\":\"2.0.33\"}".into()));
    let free = "[{\"debug\":false,\"debugSession\":null,\"path\":\"1\",\"product\":21441,\
                \"session\":null,\"vendor\":4617}]";
    assert_eq!(post(at, "/enumerate", ""), (200, free.into()));
    assert_eq!(post(at, "/call/1", ""), refused("session not found"));
    assert_eq!(post(at, "/acquire/2/null", ""), refused("device not found"));
    assert_eq!(
        post(at, "/acquire/1/null", ""),
        (200, "{\"session\":\"1\"}".into())
    );
    assert_eq!(
        post(at, "/acquire/1/null", ""),
        refused("wrong previous session")
    );
    read::<Features>(&call(at, "1", &features()));

    assert_eq!(
        post(at, "/acquire/1/1", ""),
        (200, "{\"session\":\"2\"}".into())
    );
    assert_eq!(
        post(at, "/call/1", &hex_of(&features())),
        refused("session not found")
    );
    assert_eq!(post(at, "/call/2", "xyz"), refused("malformed data"));
    assert_eq!(post(at, "/release/2", "").0, 200);
    assert_eq!(post(at, "/release/2", ""), refused("session not found"));
    assert_eq!(post(at, "/enumerate", ""), (200, free.into()));
    assert_eq!(post(at, "/nothing", "").0, 404);
}

#[test]
fn a_call_that_waits_for_the_person_is_cancelled_by_a_post() {
    let server = staring().serve_bridge(ANY).unwrap();
    let at = server.address();
    post(at, "/acquire/1/null", "");
    read::<ButtonRequest>(&call(at, "1", &button()));
    let waiting = std::thread::spawn(move || call(at, "1", &ack()));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(post(at, "/read/1", ""), refused("other call in progress"));
    assert_eq!(
        post(at, "/post/1", &hex_of(&cancel())),
        (200, String::new())
    );
    let failure: Failure = read(&waiting.join().unwrap());
    assert_eq!(failure.code(), FailureType::Failure_ActionCancelled);
}

#[test]
fn what_is_posted_is_read() {
    let server = Simulator::builder().build().serve_bridge(ANY).unwrap();
    let at = server.address();
    post(at, "/acquire/1/null", "");
    post(at, "/post/1", &hex_of(&features()));
    let (status, body) = post(at, "/read/1", "");
    assert_eq!(status, 200);
    read::<Features>(&bridge_decode(body.as_bytes()).unwrap());
}

#[test]
fn a_session_that_is_stolen_ends_its_call() {
    let server = staring().serve_bridge(ANY).unwrap();
    let at = server.address();
    post(at, "/acquire/1/null", "");
    read::<ButtonRequest>(&call(at, "1", &button()));
    let waiting = std::thread::spawn(move || post(at, "/call/1", &hex_of(&ack())));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(post(at, "/acquire/1/1", "").0, 200);
    assert_eq!(waiting.join().unwrap(), refused("session not found"));
    read::<Features>(&call(at, "2", &features()));
}

#[test]
fn a_listener_is_told_of_a_change() {
    let simulator = Simulator::builder().build();
    let server = simulator.serve_bridge(ANY).unwrap();
    let at = server.address();
    let (_, known) = post(at, "/enumerate", "");
    let waiting = std::thread::spawn(move || post(at, "/listen", &known));
    std::thread::sleep(Duration::from_millis(50));
    simulator.vanish();
    assert_eq!(waiting.join().unwrap(), (200, "[]".into()));
    assert_eq!(post(at, "/acquire/1/null", ""), refused("device not found"));
}

#[test]
fn a_page_from_elsewhere_gets_nothing() {
    let server = Simulator::builder().build().serve_bridge(ANY).unwrap();
    let (status, body) = post_from("https://evil.example", server.address(), "/enumerate", "");
    assert_eq!((status, &body[..]), (403, ""));
}

#[test]
fn a_bridge_that_is_dropped_listens_no_more() {
    let simulator = staring();
    let server = simulator.serve_bridge(ANY).unwrap();
    let at = server.address();
    post(at, "/acquire/1/null", "");
    read::<ButtonRequest>(&call(at, "1", &button()));
    let mut waiting = request(at, "/call/1", &hex_of(&ack()));
    std::thread::sleep(Duration::from_millis(100));
    drop(server);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "");
    assert!(TcpStream::connect(at).is_err());
    read::<Features>(&Host::of(&simulator).ask(&GetFeatures::new()));
}

#[test]
fn an_answer_is_left_to_the_next_call_by_whoever_hangs_up() {
    let script = Script::new([Act::Stare]);
    let simulator = Simulator::builder().person(script).build();
    let server = simulator.serve_bridge(ANY).unwrap();
    let at = server.address();
    post(at, "/acquire/1/null", "");
    read::<ButtonRequest>(&call(at, "1", &button()));
    let waiting = request(at, "/call/1", &hex_of(&ack()));
    std::thread::sleep(Duration::from_millis(200));
    drop(waiting);
    std::thread::sleep(Duration::from_millis(200));
    let failure: Failure = read(&call(at, "1", &cancel()));
    assert_eq!(failure.code(), FailureType::Failure_ActionCancelled);
}
