//! Finding the device: every way is tried at once, none for longer than [`LIMIT`].
//!
//! `auto` prefers USB, then the bridge, then UDP, and never takes the simulator. A way only looks
//! while the others look too; the bridge's device is acquired when its turn has come, so that the
//! search does not fight itself over one device. An emulator is no stand-in for a Trezor that is
//! attached and cannot be used: then UDP is left alone and the error says why.

use std::fmt;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::bridge::BridgeDevice;
use super::selector::{DEFAULT_BRIDGE, DEFAULT_UDP, DeviceSelector};
use super::transport::{Transport, TransportError};
use super::udp::UdpTransport;
use super::usb::{UDEV_RULES, UsbTransport};
use crate::hint::Hint;

/// Longest time that any way costs when there is no device on it.
pub const LIMIT: Duration = Duration::from_millis(500);

/// Where a device was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// WebUSB.
    Usb,
    /// The bridge at this URL.
    Bridge(String),
    /// An emulator at this address.
    Udp(SocketAddr),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usb => f.write_str("usb"),
            Self::Bridge(url) => write!(f, "bridge {url}"),
            Self::Udp(address) => write!(f, "udp:{address}"),
        }
    }
}

/// Why a way led to no device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// The way is open and no device is on it.
    #[error("no Trezor found")]
    Absent,
    /// libusb does not start, as in a VM or container without USB.
    #[error("libusb cannot look at the USB ports: {0}")]
    NoUsb(rusb::Error),
    /// The operating system does not let this user open it.
    #[error("found a Trezor at {0}, but permission denied")]
    Denied(String),
    /// Another program holds its USB interface.
    #[error("found a Trezor at {0}, but another program is using the device")]
    Claimed(String),
    /// A Trezor One with a firmware before 1.7: HID only.
    #[error("found a Trezor One at {0} whose firmware has no WebUSB")]
    HidOnly(String),
    /// Another program has a session with it on the bridge.
    #[error("found a Trezor, but another program holds it in session `{session}`")]
    Held {
        /// The bridge's name for that session.
        session: String,
    },
    /// More than one, and nothing to choose by.
    #[error("found {} devices ({}), expected one", .0.len(), .0.join(", "))]
    Several(Vec<String>),
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer within [`LIMIT`].
    #[error("no answer within {} ms", LIMIT.as_millis())]
    Silent,
    /// An emulator answers; it is not taken while a Trezor is attached.
    #[error("an emulator answers, not used because a Trezor is attached")]
    Withheld,
    /// The operating system refused.
    #[error("{0}")]
    Io(std::io::Error),
    /// What is there did not behave as a device.
    #[error("{0}")]
    Transport(TransportError),
}

impl Obstacle {
    /// Tells whether a Trezor is attached all the same.
    fn is_attached(&self) -> bool {
        matches!(
            self,
            Self::Denied(_)
                | Self::Claimed(_)
                | Self::HidOnly(_)
                | Self::Held { .. }
                | Self::Several(_)
                | Self::Transport(TransportError::Busy)
        )
    }
}

impl From<TransportError> for Obstacle {
    fn from(error: TransportError) -> Self {
        use std::io::ErrorKind::{ConnectionRefused, TimedOut};
        match error {
            TransportError::Gone(Some(error)) | TransportError::Io(error) => match error.kind() {
                ConnectionRefused => Self::Refused,
                TimedOut => Self::Silent,
                _ => Self::Io(error),
            },
            error => Self::Transport(error),
        }
    }
}

/// One way that was tried, and what was in it.
#[derive(Debug)]
pub struct Attempt {
    /// Where.
    pub way: Way,
    /// What happened there.
    pub obstacle: Obstacle,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way, self.obstacle)
    }
}

/// Why there is no device to talk to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Every way was tried.
    #[error("no usable Trezor: {}", join(.tried))]
    NotFound {
        /// All of them, in the order of preference.
        tried: Vec<Attempt>,
    },
    /// [`DeviceSelector::Simulator`] is not found, it is made by whoever asks for it.
    #[error("the simulator is not a device that can be found")]
    Simulator,
}

fn join(tried: &[Attempt]) -> String {
    let tried: Vec<_> = tried.iter().map(Attempt::to_string).collect();
    tried.join("; ")
}

impl Hint for DiscoveryError {
    fn hint(&self) -> Option<String> {
        let Self::NotFound { tried } = self else {
            return None;
        };
        if let Some((_urgency, remedy)) = tried.iter().filter_map(|at| remedy(&at.obstacle)).max() {
            return Some(remedy);
        }
        let connect = "connect the Trezor and unlock it";
        let qubes = "in a Qubes VM run `qvm-connect-tcp 21325:@default:21325`, which takes in dom0 \
                     the policy line `qubes.ConnectTCP +21325 THIS-VM @default allow \
                     target=sys-usb`";
        let simulator = "to try bcm without a Trezor add `--device simulator`";
        Some(match &tried[..] {
            [Attempt { way: Way::Usb, .. }] => format!("{connect}; {simulator}"),
            [
                attempt @ Attempt {
                    way: Way::Bridge(url),
                    ..
                },
            ] => match attempt.obstacle {
                Obstacle::Absent => format!("{connect}, where the bridge runs"),
                Obstacle::Refused | Obstacle::Silent => format!("start the bridge; {qubes}"),
                _ => format!("what answers at {url} is no Trezor bridge: check the URL"),
            },
            [
                attempt @ Attempt {
                    way: Way::Udp(address),
                    ..
                },
            ] => match attempt.obstacle {
                Obstacle::Refused | Obstacle::Silent => format!(
                    "start the emulator, or run `bcm simulator serve --udp {address}` beside"
                ),
                _ => format!("what answers at {address} is no emulator: check the address"),
            },
            _ => format!("{connect}; {qubes}; {simulator}"),
        })
    }
}

/// What helps against one obstacle, and how much sooner than what helps against another.
fn remedy(obstacle: &Obstacle) -> Option<(u8, String)> {
    let (urgency, words) = match obstacle {
        Obstacle::Denied(_) => (
            5,
            format!(
                "let this user open it, then plug it in again:\n\
                 sudo tee /etc/udev/rules.d/51-trezor.rules <<'EOF'\n{UDEV_RULES}EOF\n\
                 sudo udevadm control --reload-rules && sudo udevadm trigger"
            ),
        ),
        Obstacle::Held { .. } | Obstacle::Transport(TransportError::Busy) => (
            4,
            "close the other program, or take the device from it with `--take-over`".to_owned(),
        ),
        Obstacle::Several(_) => (3, "unplug all but one".to_owned()),
        Obstacle::Claimed(_) => (
            2,
            "close the program that uses it (Trezor Suite, another bcm), or start a bridge and \
             share it through `--device bridge`"
                .to_owned(),
        ),
        Obstacle::HidOnly(_) => (
            1,
            "update its firmware, or reach it through a bridge with `--device bridge`".to_owned(),
        ),
        _ => return None,
    };
    Some((urgency, words))
}

/// Looks for the device that `selector` names.
///
/// `take_over` takes it from a program that holds it on the bridge.
///
/// # Errors
///
/// Fails with [`DiscoveryError`], after at most [`LIMIT`] where there is no device.
pub fn find(
    selector: &DeviceSelector,
    take_over: bool,
) -> Result<Box<dyn Transport>, DiscoveryError> {
    let ways = match selector {
        DeviceSelector::Auto => vec![
            Way::Usb,
            Way::Bridge(DEFAULT_BRIDGE.to_owned()),
            Way::Udp(DEFAULT_UDP),
        ],
        DeviceSelector::Usb => vec![Way::Usb],
        DeviceSelector::Bridge(url) => vec![Way::Bridge(url.clone())],
        DeviceSelector::Udp(address) => vec![Way::Udp(*address)],
        DeviceSelector::Simulator => return Err(DiscoveryError::Simulator),
    };
    search(ways, take_over)
}

/// Tries `ways` at once and takes the first of them, in their order, that leads to a device.
fn search(ways: Vec<Way>, take_over: bool) -> Result<Box<dyn Transport>, DiscoveryError> {
    let deadline = Instant::now() + LIMIT;
    let probes: Vec<_> = ways.into_iter().map(probe).collect();
    let mut tried: Vec<Attempt> = Vec::new();
    for (way, answer) in probes {
        let attached = tried.iter().any(|attempt| attempt.obstacle.is_attached());
        let left = deadline.saturating_duration_since(Instant::now());
        let taken = answer
            .recv_timeout(left)
            .unwrap_or(Err(Obstacle::Silent))
            .and_then(|found| found.take(take_over, attached));
        match taken {
            Ok(transport) => return Ok(transport),
            Err(obstacle) => tried.push(Attempt { way, obstacle }),
        }
    }
    Err(DiscoveryError::NotFound { tried })
}

/// What a way led to, not taken yet.
enum Found {
    Usb(UsbTransport),
    Bridge(BridgeDevice),
    Udp(UdpTransport),
}

impl Found {
    fn take(self, take_over: bool, attached: bool) -> Result<Box<dyn Transport>, Obstacle> {
        Ok(match self {
            Self::Usb(transport) => Box::new(transport),
            Self::Bridge(device) => Box::new(device.acquire(take_over)?),
            Self::Udp(_) if attached => return Err(Obstacle::Withheld),
            Self::Udp(transport) => Box::new(transport),
        })
    }
}

/// Looks along `way` on a thread of its own, which is left behind when it hangs.
fn probe(way: Way) -> (Way, Receiver<Result<Found, Obstacle>>) {
    let (answer, answers) = mpsc::sync_channel(1);
    let looking = way.clone();
    let look = move || {
        let found = match &looking {
            Way::Usb => UsbTransport::open().map(Found::Usb),
            Way::Bridge(url) => BridgeDevice::find(url).map(Found::Bridge),
            Way::Udp(address) => UdpTransport::open(*address).map(Found::Udp),
        };
        // Nobody waits any more when a better way led to a device.
        let _ = answer.send(found);
    };
    // Where no thread starts the sender is gone, and the way counts as silent.
    let _ = thread::Builder::new()
        .name(format!("find {way}"))
        .spawn(look);
    (way, answers)
}

#[cfg(test)]
mod tests;
