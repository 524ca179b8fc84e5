use std::net::{TcpListener, UdpSocket};

use super::super::bridge::tests::FakeBridge;
use super::*;

fn emulator() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(b"PONGPONG", from).unwrap();
        }
    });
    address
}

fn closed_bridge() -> Way {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    Way::Bridge(format!("http://{}", port.unwrap()))
}

fn tried(result: Result<Box<dyn Transport>, DiscoveryError>) -> Vec<Attempt> {
    match result {
        Err(DiscoveryError::NotFound { tried }) => tried,
        Err(error) => panic!("{error}"),
        Ok(transport) => panic!("found {}", transport.name()),
    }
}

#[test]
fn every_way_without_a_device_is_named_with_its_reason() {
    let bridge = closed_bridge();
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = Way::Udp(mute.local_addr().unwrap());
    let started = Instant::now();
    let error = search(vec![bridge.clone(), udp.clone()], false)
        .map(|found| found.name())
        .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(
        error.to_string(),
        format!("no usable Trezor: {bridge}: connection refused; {udp}: no answer within 500 ms")
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("qubes.ConnectTCP +21325"), "{hint}");
}

#[test]
fn ways_are_tried_at_once() {
    let mute: Vec<_> = (0..8)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let ways = mute
        .iter()
        .map(|socket| Way::Udp(socket.local_addr().unwrap()));
    let started = Instant::now();
    assert_eq!(tried(search(ways.collect(), false)).len(), 8);
    // One after the other they would take 8 * 450 ms.
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn an_emulator_is_found_behind_ways_that_lead_nowhere() {
    let address = emulator();
    let empty = FakeBridge::enumerating("[]");
    let ways = vec![
        closed_bridge(),
        Way::Bridge(empty.url.clone()),
        Way::Udp(address),
    ];
    let found = search(ways, false).map(|found| found.name()).unwrap();
    assert_eq!(found, format!("udp:{address}"));
}

#[test]
fn an_emulator_does_not_stand_in_for_a_trezor_that_is_held() {
    let held = FakeBridge::enumerating(r#"[{"path":"1","session":"9"}]"#);
    let ways = vec![Way::Bridge(held.url.clone()), Way::Udp(emulator())];
    let error = search(ways, false).map(|found| found.name()).unwrap_err();
    assert!(error.hint().unwrap().contains("--take-over"));
    let tried = tried(Err(error));
    assert!(matches!(&tried[0].obstacle, Obstacle::Held { session } if session == "9"));
    assert!(matches!(tried[1].obstacle, Obstacle::Withheld));
}

#[test]
fn the_simulator_is_never_found() {
    let error = find(&DeviceSelector::Simulator, false)
        .map(|found| found.name())
        .unwrap_err();
    assert!(matches!(error, DiscoveryError::Simulator));
    assert_eq!(error.hint(), None);
}

#[test]
fn the_hint_is_the_remedy_of_what_is_nearest_to_a_device() {
    let hint = |obstacles: Vec<Obstacle>| {
        let attempt = |obstacle| Attempt {
            way: Way::Usb,
            obstacle,
        };
        let tried = obstacles.into_iter().map(attempt).collect();
        DiscoveryError::NotFound { tried }.hint().unwrap()
    };
    let port = || "bus 001 device 004".to_owned();
    let denied = hint(vec![
        Obstacle::Absent,
        Obstacle::Claimed(port()),
        Obstacle::Denied(port()),
    ]);
    assert!(denied.contains("sudo tee /etc/udev/rules.d/51-trezor.rules"));
    assert!(denied.contains(r#"ATTR{idVendor}=="1209", ATTR{idProduct}=="53c1""#));
    assert!(denied.contains("sudo udevadm control --reload-rules && sudo udevadm trigger"));
    assert!(hint(vec![Obstacle::Claimed(port()), Obstacle::Silent]).contains("--device bridge"));
    assert!(hint(vec![Obstacle::Several(vec![])]).contains("unplug"));
    assert!(hint(vec![Obstacle::HidOnly(port())]).contains("update"));
    assert!(hint(vec![Obstacle::Refused]).contains("--device simulator"));
}
