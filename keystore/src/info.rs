//! What a device says of itself, in the words that bcm shows.

use serde::Serialize;
use trezor_client::protos::Features;
use trezor_client::protos::features::{Capability, RecoveryStatus};

use crate::interaction::Prompt;

/// `fw_vendor` of the genuine emulator and of bcm's simulator.
pub const SIMULATED_VENDOR: &str = "EMULATOR";

/// What a device says of itself (`Features` of the Trezor protocol).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// The name that its owner gave it.
    pub label: Option<String>,
    /// Model: `T`, `Safe 3`, …; `1` for the Trezor One.
    pub model: String,
    /// Firmware version, `2.12.4`.
    pub version: String,
    /// Device id, printable; changes when the device is wiped.
    pub device_id: Option<String>,
    /// The way to it, `udp:127.0.0.1:21324`.
    pub transport: String,
    /// No hardware: the simulator, or the firmware's emulator.
    pub simulated: bool,
    /// It is in the bootloader, where no key can be used.
    pub bootloader: bool,
    /// It has a seed.
    pub initialized: bool,
    /// A recovery or a backup was begun and not ended.
    pub unfinished_setup: bool,
    /// A PIN is set; `None` while the device does not say.
    pub pin_protection: Option<bool>,
    /// Passphrases are on; `None` while the device is locked by its PIN.
    pub passphrase_protection: Option<bool>,
    /// It takes passphrases on its own screen only.
    pub passphrase_always_on_device: bool,
    /// It can take a passphrase on its own screen.
    pub passphrase_entry: bool,
    /// It is unlocked by its PIN, or has none; `None` while it does not say.
    pub unlocked: Option<bool>,
}

impl DeviceInfo {
    /// Reads the device's own words; `transport` names the way to it.
    pub fn new(features: &Features, transport: &str) -> Self {
        let printable = |text: &str| Prompt::new(text).to_string();
        let bootloader = features.bootloader_mode();
        Self {
            label: features
                .label
                .as_deref()
                .map(printable)
                .filter(|label| !label.is_empty()),
            model: printable(features.model()),
            version: format!(
                "{}.{}.{}",
                features.major_version(),
                features.minor_version(),
                features.patch_version()
            ),
            device_id: features.device_id.as_deref().map(printable),
            transport: transport.to_owned(),
            simulated: features.fw_vendor() == SIMULATED_VENDOR || transport == "simulator",
            bootloader,
            initialized: features.initialized(),
            unfinished_setup: features.recovery_status() != RecoveryStatus::Nothing
                || features.unfinished_backup(),
            pin_protection: features.pin_protection,
            passphrase_protection: features.passphrase_protection,
            passphrase_always_on_device: features.passphrase_always_on_device(),
            passphrase_entry: features.capabilities.iter().any(|capability| {
                capability.enum_value() == Ok(Capability::Capability_PassphraseEntry)
            }),
            unlocked: features.unlocked,
        }
    }

    /// Returns the label, or the model where the owner gave none.
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.model)
    }
}
