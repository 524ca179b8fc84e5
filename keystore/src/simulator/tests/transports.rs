//! bcm's own ways to a device, each against the simulated one: what any of them must do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trezor_client::protos::failure::FailureType;
use trezor_client::protos::{ButtonAck, ButtonRequest, Failure, Features, GetFeatures, Ping};

use super::host::{Host, PASSPHRASE, read};
use crate::device::{BridgeDevice, BridgeTransport, Message, TransportError, UdpTransport};
use crate::simulator::{Act, BridgeServer, Script, Simulator, UdpServer};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A device and one way to it.
struct Way {
    host: Host,
    simulator: Simulator,
    _udp: Option<UdpServer>,
    bridge: Option<BridgeServer>,
}

impl Way {
    fn direct(simulator: Simulator) -> Self {
        Self {
            host: Host::of(&simulator),
            simulator,
            _udp: None,
            bridge: None,
        }
    }

    fn udp(simulator: Simulator) -> Self {
        let server = simulator.serve_udp(ANY).unwrap();
        let transport = UdpTransport::open(server.address()).unwrap();
        Self {
            host: Host(Box::new(transport)),
            simulator,
            _udp: Some(server),
            bridge: None,
        }
    }

    fn bridge(simulator: Simulator) -> Self {
        let server = simulator.serve_bridge(ANY).unwrap();
        let transport = acquire(&server, false);
        Self {
            host: Host(Box::new(transport)),
            simulator,
            _udp: None,
            bridge: Some(server),
        }
    }
}

fn acquire(server: &BridgeServer, take_over: bool) -> BridgeTransport {
    let device = BridgeDevice::find(&format!("http://{}", server.address())).unwrap();
    device.acquire(take_over).unwrap()
}

fn ready() -> Simulator {
    Simulator::builder().build()
}

fn staring() -> Simulator {
    Simulator::builder()
        .person(Script::new([Act::Stare]))
        .build()
}

/// Brings the device to a question that nobody answers.
fn bring_to_a_question(host: &mut Host) {
    let mut ping = Ping::new();
    ping.set_button_protection(true);
    read::<ButtonRequest>(&host.ask(&ping));
    host.send(&Message::encode(&ButtonAck::new()));
    assert!(
        host.0
            .receive(Duration::from_millis(100))
            .unwrap()
            .is_none()
    );
}

fn opens_a_wallet(mut way: Way) {
    way.host.initialize(None);
    let told = way.host.open(PASSPHRASE).unwrap();
    assert_eq!(told.root_fingerprint(), 0xdd53_b9b4);
}

fn cancels_a_question(mut way: Way) {
    bring_to_a_question(&mut way.host);
    way.host.0.cancel().unwrap();
    let failure: Failure = read(&way.host.receive());
    assert_eq!(failure.code(), FailureType::Failure_ActionCancelled);
    read::<Features>(&way.host.ask(&GetFeatures::new()));
}

fn notices_a_device_that_vanishes(mut way: Way) {
    bring_to_a_question(&mut way.host);
    way.simulator.vanish();
    let start = Instant::now();
    let error = loop {
        assert!(start.elapsed() < Duration::from_secs(2));
        let answer = way.host.0.receive(Duration::from_millis(100));
        let alive = answer.and_then(|_| way.host.0.alive());
        if let Err(error) = alive {
            break error;
        }
    };
    assert!(matches!(error, TransportError::Gone(_)), "{error:?}");
}

fn notices_between_requests_that_the_device_vanished(mut way: Way) {
    way.host.0.alive().unwrap();
    way.simulator.vanish();
    let start = Instant::now();
    while way.host.0.alive().is_ok() {
        assert!(start.elapsed() < Duration::from_secs(4));
        std::thread::sleep(Duration::from_millis(50));
    }
}

macro_rules! on_each_way {
    ($($module:ident $way:path;)*) => {
        $(
            mod $module {
                use super::*;

                #[test]
                fn opens_a_wallet() {
                    super::opens_a_wallet($way(ready()));
                }

                #[test]
                fn cancels_a_question() {
                    super::cancels_a_question($way(staring()));
                }

                #[test]
                fn notices_a_device_that_vanishes() {
                    super::notices_a_device_that_vanishes($way(staring()));
                }

                #[test]
                fn notices_between_requests_that_the_device_vanished() {
                    super::notices_between_requests_that_the_device_vanished($way(ready()));
                }
            }
        )*
    };
}

on_each_way! {
    direct Way::direct;
    udp Way::udp;
    bridge Way::bridge;
}

#[test]
fn whoever_is_robbed_of_the_device_is_told_so() {
    let mut way = Way::bridge(staring());
    bring_to_a_question(&mut way.host);
    let mut winner = Host(Box::new(acquire(way.bridge.as_ref().unwrap(), true)));
    let error = way.host.0.receive(Duration::from_secs(2)).unwrap_err();
    assert!(matches!(error, TransportError::Stolen), "{error:?}");
    read::<Features>(&winner.ask(&GetFeatures::new()));
}
