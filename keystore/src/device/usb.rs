//! WebUSB, through `rusb`, which `trezor-client` uses as well.
//!
//! Its `WebUsbTransport` does not serve here: it unwraps the start of libusb (which fails where there
//! is no USB), reads without a timeout, so that a request can be neither cancelled nor noticed to be
//! alone, and prints on a wrong magic. Vendor and product numbers, interface and endpoints are its.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use rusb::{Context, Device, DeviceHandle, UsbContext};
use zeroize::Zeroizing;

use super::codec::{CHUNK, Decoder, encode_chunks};
use super::discovery::Obstacle;
use super::transport::{Message, Transport, TransportError};

/// The rules that let a logged-in person open a Trezor, for `/etc/udev/rules.d/51-trezor.rules`.
///
/// They are those of the vendor's `51-trezor.rules` that concern WebUSB.
pub const UDEV_RULES: &str = r#"SUBSYSTEM=="usb", ATTR{idVendor}=="534c", ATTR{idProduct}=="0001", MODE="0660", GROUP="plugdev", TAG+="uaccess", TAG+="udev-acl", SYMLINK+="trezor%n"
SUBSYSTEM=="usb", ATTR{idVendor}=="1209", ATTR{idProduct}=="53c0", MODE="0660", GROUP="plugdev", TAG+="uaccess", TAG+="udev-acl", SYMLINK+="trezor%n"
SUBSYSTEM=="usb", ATTR{idVendor}=="1209", ATTR{idProduct}=="53c1", MODE="0660", GROUP="plugdev", TAG+="uaccess", TAG+="udev-acl", SYMLINK+="trezor%n"
"#;

/// Trezor One, any Trezor in its bootloader, any Trezor.
const IDS: [(u16, u16); 3] = [(0x534c, 0x0001), (0x1209, 0x53c0), (0x1209, 0x53c1)];

const INTERFACE: u8 = 0;
const WRITE_TO: u8 = 0x01;
const READ_FROM: u8 = 0x81;
const VENDOR_CLASS: u8 = 0xff;

const WRITE_WAIT: Duration = Duration::from_secs(1);

/// libusb takes zero for "no timeout".
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Most chunks thrown away before a request.
const STALE: usize = 1024;

/// A Trezor on a USB port, its interface claimed.
#[derive(Debug)]
pub struct UsbTransport(Wire<DeviceHandle<Context>>);

impl UsbTransport {
    /// Opens the one Trezor that is plugged in.
    ///
    /// # Errors
    ///
    /// Fails when there is none, more than one, or one that this user or program cannot have.
    pub fn open() -> Result<Self, Obstacle> {
        let context = Context::new().map_err(Obstacle::NoUsb)?;
        let devices = context.devices().map_err(Obstacle::NoUsb)?;
        let trezors: Vec<_> = devices.iter().filter(is_trezor).collect();
        match trezors.as_slice() {
            [] => Err(Obstacle::Absent),
            [trezor] => open(trezor),
            several => Err(Obstacle::Several(several.iter().map(port).collect())),
        }
    }
}

fn is_trezor(device: &Device<Context>) -> bool {
    device
        .device_descriptor()
        .is_ok_and(|found| IDS.contains(&(found.vendor_id(), found.product_id())))
}

/// Names a device as `lsusb` does.
fn port(device: &Device<Context>) -> String {
    format!(
        "bus {:03} device {:03}",
        device.bus_number(),
        device.address()
    )
}

fn open(device: &Device<Context>) -> Result<UsbTransport, Obstacle> {
    let obstacle = |error| obstacle(error, port(device));
    let configuration = device.config_descriptor(0).map_err(obstacle)?;
    let is_webusb = configuration
        .interfaces()
        .filter(|interface| interface.number() == INTERFACE)
        .flat_map(|interface| interface.descriptors())
        .any(|descriptor| descriptor.class_code() == VENDOR_CLASS);
    if !is_webusb {
        return Err(Obstacle::HidOnly(port(device)));
    }
    let handle = device.open().map_err(obstacle)?;
    handle.claim_interface(INTERFACE).map_err(obstacle)?;
    Ok(UsbTransport(Wire::new(handle)))
}

fn obstacle(error: rusb::Error, port: String) -> Obstacle {
    match error {
        rusb::Error::Access => Obstacle::Denied(port),
        rusb::Error::Busy => Obstacle::Claimed(port),
        rusb::Error::NoDevice | rusb::Error::NotFound => Obstacle::Absent,
        error => Obstacle::Io(io::Error::other(error)),
    }
}

impl Transport for UsbTransport {
    fn name(&self) -> String {
        "usb".to_owned()
    }

    fn send(&mut self, message: &Message) -> Result<(), TransportError> {
        self.0.drain()?;
        self.0.write(message)
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Message>, TransportError> {
        self.0.receive(wait)
    }

    fn alive(&mut self) -> Result<(), TransportError> {
        self.0.drain()
    }

    fn cancel(&mut self) -> Result<(), TransportError> {
        // Not `send`: the answer to what is cancelled may be on its way already.
        let cancel = Message::encode(&trezor_client::protos::Cancel::new());
        self.0.write(&cancel)
    }
}

/// The two endpoints, apart from libusb so that the tests can stand in for its faults.
trait Endpoints {
    fn read(&self, buffer: &mut [u8], wait: Duration) -> rusb::Result<usize>;
    fn write(&self, chunk: &[u8], wait: Duration) -> rusb::Result<usize>;
}

impl Endpoints for DeviceHandle<Context> {
    fn read(&self, buffer: &mut [u8], wait: Duration) -> rusb::Result<usize> {
        self.read_interrupt(READ_FROM, buffer, wait)
    }

    fn write(&self, chunk: &[u8], wait: Duration) -> rusb::Result<usize> {
        self.write_interrupt(WRITE_TO, chunk, wait)
    }
}

struct Wire<E> {
    endpoints: E,
    decoder: Decoder,
}

impl<E> fmt::Debug for Wire<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decoder.fmt(f)
    }
}

impl<E: Endpoints> Wire<E> {
    fn new(endpoints: E) -> Self {
        let decoder = Decoder::new();
        Self { endpoints, decoder }
    }

    fn write(&self, message: &Message) -> Result<(), TransportError> {
        for chunk in encode_chunks(message)?.iter() {
            let written = self.endpoints.write(chunk, WRITE_WAIT).map_err(lost)?;
            if written != CHUNK {
                return Err(TransportError::Io(io::ErrorKind::WriteZero.into()));
            }
        }
        Ok(())
    }

    /// Reads one chunk, `None` when none came in time.
    fn read(&self, wait: Duration) -> Result<Option<Zeroizing<[u8; CHUNK]>>, TransportError> {
        let mut chunk = Zeroizing::new([0; CHUNK]);
        match self
            .endpoints
            .read(chunk.as_mut_slice(), wait.max(SHORTEST_WAIT))
        {
            Ok(CHUNK) => Ok(Some(chunk)),
            Ok(length) => {
                let found = format!("a USB packet of {length} bytes, expected {CHUNK}");
                Err(TransportError::Malformed(found))
            }
            Err(rusb::Error::Timeout | rusb::Error::Interrupted) => Ok(None),
            Err(error) => Err(lost(error)),
        }
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Message>, TransportError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(chunk) = self.read(left)?
                && let Some(message) = self.decoder.push(chunk.as_slice())?
            {
                return Ok(Some(message));
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Throws away what an earlier request left behind.
    fn drain(&mut self) -> Result<(), TransportError> {
        self.decoder.clear();
        for _ in 0..STALE {
            match self.read(SHORTEST_WAIT) {
                Ok(None) => break,
                Ok(Some(_)) | Err(TransportError::Malformed(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn lost(error: rusb::Error) -> TransportError {
    use rusb::Error::{Access, Busy, Io, NoDevice, NotFound, Overflow, Pipe, Timeout};
    match error {
        NoDevice | NotFound | Pipe | Io => TransportError::Gone(Some(io::Error::other(error))),
        Busy => TransportError::Busy,
        Overflow => TransportError::Malformed(format!("a USB packet of more than {CHUNK} bytes")),
        Access => TransportError::Io(io::ErrorKind::PermissionDenied.into()),
        Timeout => TransportError::Io(io::ErrorKind::TimedOut.into()),
        error => TransportError::Io(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests;
