//! What the person at a simulated device types.

use std::io::{self, Read};

use bcm_keystore::secret::LockedPage;
use zeroize::Zeroizing;

use super::descriptor::inherited;
use super::interaction::free_terminal;
use super::tty::Tty;

/// Asks for a secret that the simulated device's person types, with no echo.
pub fn typed_secret(question: &str, off: &dyn Fn() -> bool) -> Option<LockedPage> {
    let _terminal = free_terminal().ok()?;
    Tty::open().ok()?.secret(question, off).ok()
}

/// Reads one line from an inherited descriptor, up to what a page holds.
pub fn descriptor_line(number: u32) -> io::Result<LockedPage> {
    let mut source = inherited(number)?;
    let mut line = LockedPage::new();
    let mut byte = Zeroizing::new([0_u8; 1]);
    while source.read(&mut *byte)? == 1 && byte[0] != b'\n' {
        if !line.push(byte[0]) {
            return Err(io::Error::other("the line is too long"));
        }
    }
    if line.as_bytes().last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}
