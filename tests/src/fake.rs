//! Peers that misbehave in ways that neither a Trezor nor the simulator can be made to.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bcm_keystore::device::Message;
use trezor_client::protos::Features;

/// Something on a UDP port that answers pings like a Trezor, and requests as it was told.
#[derive(Debug)]
pub struct FakeDevice {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeDevice {
    /// Answers each packet that is not a ping with the packets that `answer` returns.
    pub fn packets(mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let port = socket.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut packet = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((len, peer)) = socket.recv_from(&mut packet) else {
                    continue;
                };
                let answers = match &packet[..len] {
                    b"PINGPING" => vec![b"PONGPONG".to_vec()],
                    packet => answer(packet),
                };
                for bytes in answers {
                    let _ = socket.send_to(&bytes, peer);
                }
            }
        });
        Self {
            port,
            stop,
            thread: Some(thread),
        }
    }

    /// Answers each whole message with the messages that `answer` returns.
    pub fn messages(mut answer: impl FnMut(&Message) -> Vec<Message> + Send + 'static) -> Self {
        let mut incoming = Vec::new();
        Self::packets(move |packet| {
            if packet.starts_with(b"?##") {
                incoming.clear();
            }
            incoming.extend(packet.get(1..).unwrap_or_default());
            let Some(message) = unframe(&incoming) else {
                return Vec::new();
            };
            incoming.clear();
            answer(&message).iter().flat_map(frame).collect()
        })
    }

    /// Answers every request with these features.
    pub fn with_features(features: &Features) -> Self {
        let answer = Message::encode(features);
        Self::messages(move |_| vec![answer.clone()])
    }

    /// Returns the `--device` that reaches it.
    pub fn device(&self) -> String {
        format!("udp:127.0.0.1:{}", self.port)
    }
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Cuts a message into the 64-byte packets of the v1 codec.
fn frame(message: &Message) -> Vec<Vec<u8>> {
    let payload = message.payload();
    let mut bytes = b"##".to_vec();
    bytes.extend(message.kind().to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    let packet = |chunk: &[u8]| {
        let mut packet = vec![b'?'];
        packet.extend(chunk);
        packet.resize(64, 0);
        packet
    };
    bytes.chunks(63).map(packet).collect()
}

/// Puts the packets of a message together again, `None` while some are missing.
fn unframe(bytes: &[u8]) -> Option<Message> {
    let head: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
    let [b'#', b'#', kind @ .., a, b, c, d] = head else {
        return None;
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let payload = bytes.get(8..8 + length)?;
    Some(Message::new(u16::from_be_bytes(kind), payload.to_vec()))
}

/// Something on a TCP port that answers HTTP as it was told.
pub struct FakeBridge {
    port: u16,
    server: Arc<tiny_http::Server>,
    thread: Option<JoinHandle<()>>,
}

impl FakeBridge {
    /// Answers each request with the status and body that `answer` returns for its path.
    pub fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let port = server.server_addr().to_ip().unwrap().port();
        let serving = Arc::clone(&server);
        let thread = thread::spawn(move || {
            for request in serving.incoming_requests() {
                let (status, body) = answer(request.url());
                let response = tiny_http::Response::from_string(body).with_status_code(status);
                let _ = request.respond(response);
            }
        });
        Self {
            port,
            server,
            thread: Some(thread),
        }
    }

    /// Returns the `--device` that reaches it.
    pub fn device(&self) -> String {
        format!("bridge:http://127.0.0.1:{}", self.port)
    }
}

impl fmt::Debug for FakeBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device())
    }
}

impl Drop for FakeBridge {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A SOCKS port like Tor's that leads every name to one port on loopback.
///
/// It writes down what it was asked, which a real Tor ([`crate::TorNetwork`]) does not tell.
#[derive(Debug)]
pub struct FakeTor {
    port: u16,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl FakeTor {
    /// Starts one that leads to `target`.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&asked);
        // ends with the process: nothing of it outlives the test
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let list = Arc::clone(&list);
                thread::spawn(move || socks(stream, target, &list));
            }
        });
        Self { port, asked }
    }

    /// Returns where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the user of each connection and the name that it asked for.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

/// Serves one connection as RFC 1928 and RFC 1929 say.
fn socks(
    mut stream: TcpStream,
    target: u16,
    asked: &Mutex<Vec<(String, String)>>,
) -> std::io::Result<()> {
    let bytes = |stream: &mut TcpStream, length: usize| -> std::io::Result<Vec<u8>> {
        let mut read = vec![0; length];
        stream.read_exact(&mut read)?;
        Ok(read)
    };
    let hello = bytes(&mut stream, 2)?;
    let methods = bytes(&mut stream, hello[1].into())?;
    assert!(methods.contains(&2), "no user is offered: {methods:?}");
    stream.write_all(&[5, 2])?;
    let head = bytes(&mut stream, 2)?;
    let user = bytes(&mut stream, head[1].into())?;
    let length = bytes(&mut stream, 1)?;
    bytes(&mut stream, length[0].into())?;
    stream.write_all(&[1, 0])?;
    let request = bytes(&mut stream, 4)?;
    assert_eq!(request[3], 3, "a name is asked for, not an address");
    let length = bytes(&mut stream, 1)?;
    let name = bytes(&mut stream, length[0].into())?;
    bytes(&mut stream, 2)?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    asked.lock().unwrap().push((text(user), text(name)));
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0])?;
    let mut upstream = TcpStream::connect(("127.0.0.1", target))?;
    let (mut up, mut down) = (stream.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || std::io::copy(&mut up, &mut upstream));
    std::io::copy(&mut down, &mut stream)?;
    stream.shutdown(std::net::Shutdown::Both)
}
