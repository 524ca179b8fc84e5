//! No USB device can be made here: a scripted pair of endpoints stands in for libusb's answers.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::*;

#[derive(Default)]
struct Script {
    reads: RefCell<VecDeque<rusb::Result<Vec<u8>>>>,
    written: RefCell<Vec<Vec<u8>>>,
    refuses: Option<rusb::Error>,
}

impl Endpoints for Script {
    fn read(&self, buffer: &mut [u8], wait: Duration) -> rusb::Result<usize> {
        assert!(!wait.is_zero(), "libusb would wait for ever");
        let Some(next) = self.reads.borrow_mut().pop_front() else {
            std::thread::sleep(wait);
            return Err(rusb::Error::Timeout);
        };
        let bytes = next?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write(&self, chunk: &[u8], _wait: Duration) -> rusb::Result<usize> {
        self.written.borrow_mut().push(chunk.to_vec());
        self.refuses.map_or(Ok(chunk.len()), Err)
    }
}

fn wire(reads: Vec<rusb::Result<Vec<u8>>>) -> Wire<Script> {
    let reads = RefCell::new(reads.into());
    Wire::new(Script {
        reads,
        ..Script::default()
    })
}

fn chunks(message: &Message) -> Vec<rusb::Result<Vec<u8>>> {
    let chunks = encode_chunks(message).unwrap();
    chunks.iter().map(|chunk| Ok(chunk.to_vec())).collect()
}

const WAIT: Duration = Duration::from_millis(20);

#[test]
fn a_message_is_put_together_across_timeouts() {
    let message = Message::new(17, vec![9; 150]);
    let mut reads = chunks(&message);
    reads.insert(1, Err(rusb::Error::Timeout));
    reads.insert(2, Err(rusb::Error::Interrupted));
    let mut wire = wire(reads);
    assert_eq!(wire.receive(WAIT).unwrap(), Some(message));
    assert_eq!(wire.receive(Duration::ZERO).unwrap(), None);
}

#[test]
fn a_request_is_written_in_chunks_after_stale_ones_are_drained() {
    let stale = Message::new(3, vec![1; 60]);
    let mut reads = chunks(&stale);
    reads.push(Ok(vec![0; 3]));
    let mut wire = wire(reads);
    wire.drain().unwrap();
    wire.write(&Message::new(1, vec![7; 60])).unwrap();
    assert_eq!(wire.endpoints.written.borrow().len(), 2);
    assert_eq!(wire.receive(WAIT).unwrap(), None);
}

#[test]
fn an_unplugged_device_is_gone() {
    for error in [rusb::Error::NoDevice, rusb::Error::Pipe, rusb::Error::Io] {
        let mut pulled = wire(vec![Err(error)]);
        let found = pulled.receive(WAIT).unwrap_err();
        assert!(matches!(found, TransportError::Gone(Some(_))), "{found}");

        let mut refusing = wire(vec![]);
        refusing.endpoints.refuses = Some(error);
        let found = refusing.write(&Message::new(0, vec![])).unwrap_err();
        assert!(matches!(found, TransportError::Gone(Some(_))), "{found}");
    }
}

#[test]
fn short_long_and_strange_packets_are_malformed() {
    for read in [
        Ok(vec![]),
        Ok(vec![0x3f; 63]),
        Ok(vec![0; 64]),
        Err(rusb::Error::Overflow),
    ] {
        let found = wire(vec![read]).receive(WAIT).unwrap_err();
        assert!(matches!(found, TransportError::Malformed(_)), "{found}");
    }
}

#[test]
fn what_libusb_says_when_opening_is_told_apart() {
    let said = |error| obstacle(error, "bus 001 device 004".to_owned()).to_string();
    assert_eq!(
        said(rusb::Error::Access),
        "found a Trezor at bus 001 device 004, but permission denied"
    );
    assert_eq!(
        said(rusb::Error::Busy),
        "found a Trezor at bus 001 device 004, but another program is using the device"
    );
    assert_eq!(said(rusb::Error::NoDevice), "no Trezor found");
    assert_eq!(said(rusb::Error::NoMem), "Insufficient memory");
}

#[test]
fn a_machine_without_usb_gets_an_error_and_no_panic() {
    // With USB and a Trezor this opens it, which is fine as well: it is closed again at once.
    if let Err(obstacle) = UsbTransport::open() {
        assert!(!obstacle.to_string().is_empty());
    }
}
