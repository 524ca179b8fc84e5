//! The simulated device on UDP, as the firmware's emulator serves it: 64-byte chunks, and `PINGPING`
//! answered by `PONGPONG` whatever the device is doing.

mod debug;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wire::{Event, Peer, PeerId};
use crate::device::codec::{CHUNK, Decoder, encode_chunks};

const PING: &[u8] = b"PINGPING";
const PONG: &[u8] = b"PONGPONG";

/// How long the thread sleeps before it looks whether it should end.
const GLANCE: Duration = Duration::from_millis(100);

/// Hosts that are remembered at once; the one silent for longest makes room.
const MAX_HOSTS: usize = 64;

/// How many free ports are tried until one has a free one above it.
const PAIRS: usize = 16;

/// A listener, which ends when this is dropped.
#[derive(Debug)]
pub struct UdpServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl UdpServer {
    pub(super) fn start(events: Sender<Event>, address: SocketAddr) -> io::Result<Self> {
        let (socket, debug_link) = bind(address)?;
        socket.set_read_timeout(Some(GLANCE))?;
        let address = socket.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let listener = Listener {
            socket: Arc::new(socket),
            events,
            hosts: HashMap::new(),
        };
        let mut server = Self {
            address,
            ended,
            threads: Vec::new(),
        };
        server.spawn("simulator-udp", move |ended| listener.run(ended))?;
        if let Some(debug) = debug_link {
            debug.set_read_timeout(Some(GLANCE))?;
            server.spawn("simulator-debug", move |ended| debug::run(&debug, ended))?;
        }
        Ok(server)
    }

    fn spawn(
        &mut self,
        name: &str,
        run: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> io::Result<()> {
        let ended = Arc::clone(&self.ended);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || run(&ended))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Binds `address`, and where it is free the port above, an emulator's debug link.
///
/// Clients that take whatever answers on UDP for an emulator (hwi does) press its buttons there, and
/// give up where that port is closed. An emulator whose next port is taken does without.
fn bind(address: SocketAddr) -> io::Result<(UdpSocket, Option<UdpSocket>)> {
    let tries = if address.port() == 0 { PAIRS } else { 1 };
    let mut bound = UdpSocket::bind(address)?;
    for left in (0..tries).rev() {
        let mut above = bound.local_addr()?;
        let debug_link = above.port().checked_add(1).and_then(|port| {
            above.set_port(port);
            UdpSocket::bind(above).ok()
        });
        if debug_link.is_some() || left == 0 {
            return Ok((bound, debug_link));
        }
        bound = UdpSocket::bind(address)?;
    }
    Ok((bound, None))
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // a listener that panicked has ended too
            let _ = thread.join();
        }
    }
}

struct Host {
    id: PeerId,
    decoder: Decoder,
    heard: Instant,
}

struct Listener {
    socket: Arc<UdpSocket>,
    events: Sender<Event>,
    hosts: HashMap<SocketAddr, Host>,
}

impl Listener {
    fn run(mut self, ended: &AtomicBool) {
        let mut datagram = [0; 2 * CHUNK];
        while !ended.load(Ordering::Relaxed) {
            // a host that refused an answer shows up here as an error; others are still there
            let Ok((length, from)) = self.socket.recv_from(&mut datagram) else {
                continue;
            };
            if self.take(&datagram[..length], from).is_err() {
                return;
            }
        }
        for host in self.hosts.values() {
            // a device that is gone needs no farewell
            let _ = self.events.send(Event::Leave(host.id));
        }
    }

    /// Takes one datagram; fails when the device is gone.
    fn take(&mut self, datagram: &[u8], from: SocketAddr) -> Result<(), GoneError> {
        if datagram == PING {
            self.is_alive()?;
            // an answer that is lost is asked for again
            let _ = self.socket.send_to(PONG, from);
            return Ok(());
        }
        let host = self.host(from)?;
        host.heard = Instant::now();
        // what is no chunk is dropped, as the emulator does
        if let Ok(Some(message)) = host.decoder.push(datagram) {
            let id = host.id;
            self.events
                .send(Event::Message(id, message))
                .map_err(|_| GoneError)?;
        }
        Ok(())
    }

    fn is_alive(&self) -> Result<(), GoneError> {
        let nobody = Event::Leave(PeerId::fresh());
        self.events.send(nobody).map_err(|_| GoneError)
    }

    fn host(&mut self, from: SocketAddr) -> Result<&mut Host, GoneError> {
        if !self.hosts.contains_key(&from) {
            self.make_room()?;
            let id = PeerId::fresh();
            let socket = Arc::clone(&self.socket);
            let reply = Box::new(move |message: &_| {
                // an answer longer than a message may be is never made; one that is lost is lost
                for chunk in encode_chunks(message)
                    .iter()
                    .flat_map(|chunks| chunks.iter())
                {
                    let _ = socket.send_to(chunk, from);
                }
            });
            let name = format!("udp:{from}");
            let join = Event::Join(id, Peer { name, reply });
            self.events.send(join).map_err(|_| GoneError)?;
            let host = Host {
                id,
                decoder: Decoder::new(),
                heard: Instant::now(),
            };
            self.hosts.insert(from, host);
        }
        Ok(self.hosts.get_mut(&from).expect("it was just inserted"))
    }

    fn make_room(&mut self) -> Result<(), GoneError> {
        if self.hosts.len() < MAX_HOSTS {
            return Ok(());
        }
        let oldest = self.hosts.iter().min_by_key(|(_, host)| host.heard);
        if let Some((&address, host)) = oldest {
            self.events
                .send(Event::Leave(host.id))
                .map_err(|_| GoneError)?;
            self.hosts.remove(&address);
        }
        Ok(())
    }
}

/// The device is switched off.
struct GoneError;
