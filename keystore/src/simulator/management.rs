//! Messages about the device itself: sessions, lock, settings.

use trezor_client::protos::button_request::ButtonRequestType;
use trezor_client::protos::{ApplyFlags, ApplySettings, Features, Initialize, Ping, Success};

use super::engine::{Engine, Stop, TEXT_ROOM};
use super::screen::Screen;

const PROTECT: ButtonRequestType = ButtonRequestType::ButtonRequest_ProtectCall;

const MAX_LABEL_BYTES: usize = 32;

impl Engine {
    pub(super) fn initialize(&mut self, request: &Initialize) -> Features {
        let wanted = request.session_id.as_deref();
        let id = self.sessions.start(wanted, request.derive_cardano);
        self.features(Some(id))
    }

    pub(super) fn ping(&mut self, request: &Ping) -> Result<Success, Stop> {
        if request.button_protection() {
            self.confirm(PROTECT, &Screen::new("ping", "Confirm", "ping", TEXT_ROOM))?;
        }
        Ok(success(request.message()))
    }

    pub(super) fn end_session(&mut self) -> Success {
        self.sessions.end();
        success("")
    }

    /// Locks the device if it has a PIN. Sessions stay: with the PIN they can be gone on with.
    pub(super) fn lock_device(&mut self) -> Success {
        self.memory.unlocked = self.memory.pin.is_none();
        success("")
    }

    pub(super) fn apply_settings(&mut self, request: ApplySettings) -> Result<Success, Stop> {
        if self.memory.mnemonic.is_none() {
            return Err(Stop::not_initialized());
        }
        let ApplySettings {
            label,
            use_passphrase,
            passphrase_always_on_device,
            ..
        } = request;
        if label.is_none() && use_passphrase.is_none() && passphrase_always_on_device.is_none() {
            return Err(Stop::process("No setting provided that is simulated"));
        }
        if let Some(label) = label {
            self.set_label(label)?;
        }
        if let Some(on) = use_passphrase {
            self.set_passphrase_protection(on)?;
        }
        if let Some(always) = passphrase_always_on_device {
            self.set_passphrase_source(always)?;
        }
        Ok(success("Settings applied"))
    }

    /// Sets flags, which stay set. Clients send none at all, to have the PIN asked for.
    pub(super) fn apply_flags(&mut self, request: &ApplyFlags) -> Result<Success, Stop> {
        if self.memory.mnemonic.is_none() {
            return Err(Stop::not_initialized());
        }
        self.memory.flags |= request.flags();
        Ok(success("Flags applied"))
    }

    fn set_label(&mut self, label: String) -> Result<(), Stop> {
        if label.len() > MAX_LABEL_BYTES {
            return Err(Stop::data("Label too long"));
        }
        let text = format!("Change device name to {label}?");
        self.confirm(
            PROTECT,
            &Screen::new("set_label", "Device name", &text, TEXT_ROOM),
        )?;
        self.memory.label = Some(label);
        Ok(())
    }

    fn set_passphrase_protection(&mut self, on: bool) -> Result<(), Stop> {
        let switched = if on { "on" } else { "off" };
        let text = format!("Turn {switched} passphrase protection?");
        let title = "Passphrase settings";
        self.confirm(
            PROTECT,
            &Screen::new("set_passphrase", title, &text, TEXT_ROOM),
        )?;
        self.memory.passphrase_protection = on;
        self.memory.passphrase_always_on_device &= on;
        Ok(())
    }

    fn set_passphrase_source(&mut self, always_on_device: bool) -> Result<(), Stop> {
        if !self.memory.passphrase_protection {
            return Err(Stop::data("Passphrase is not enabled"));
        }
        let text = if always_on_device {
            "Enter passphrase on this device only?"
        } else {
            "Revoke entering passphrase on this device only?"
        };
        let title = "Passphrase settings";
        let screen = Screen::new("set_passphrase_source", title, text, TEXT_ROOM);
        self.confirm(PROTECT, &screen)?;
        self.memory.passphrase_always_on_device = always_on_device;
        Ok(())
    }
}

fn success(text: &str) -> Success {
    let mut success = Success::new();
    success.set_message(text.to_owned());
    success
}
