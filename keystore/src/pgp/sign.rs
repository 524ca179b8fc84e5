//! Signatures over data of any size.

use std::io::{Read, Write};
use std::time::SystemTime;

use sequoia_openpgp::armor;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::serialize::stream::{Armorer, LiteralWriter, Message, Signer};
use sequoia_openpgp::types::{HashAlgorithm, SignatureType};

use super::cert::{self, OwnCert};
use super::error::PgpError;
use super::key::{DeviceSigner, Purpose};
use super::stream::copy;
use crate::device::Device;

/// What a signature looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignMode {
    /// Beside the data: `X` and `X.asc`.
    Detached {
        /// Over text, whose line ends may change on its way.
        text: bool,
        /// In ASCII armor.
        armor: bool,
    },
    /// Around the data, which cannot be read without an OpenPGP program.
    Inline {
        /// In ASCII armor.
        armor: bool,
    },
    /// Below a text that stays readable
    /// ([RFC 9580 section 7](https://www.rfc-editor.org/rfc/rfc9580#section-7)).
    Clear,
}

/// Signs `input` with the primary key of `key`; one confirmation on the device.
///
/// `purpose` is shown on the device and on the terminal. The signature does not cover it.
///
/// # Errors
///
/// Any [`PgpError`]; what was written to `output` is then to be thrown away.
pub fn sign(
    device: &Device,
    key: &OwnCert,
    mode: SignMode,
    purpose: &Purpose,
    input: &mut dyn Read,
    output: &mut (dyn Write + Send + Sync),
    now: SystemTime,
) -> Result<(), PgpError> {
    cert::check(key.cert(), now)?;
    let now = cert::whole(now)?;
    let signer = DeviceSigner::new(device, key, purpose.clone());
    let typ = match mode {
        SignMode::Detached { text: true, .. } | SignMode::Clear => SignatureType::Text,
        SignMode::Detached { .. } | SignMode::Inline { .. } => SignatureType::Binary,
    };
    let open = || {
        let message = Message::new(&mut *output);
        let message = match mode {
            SignMode::Detached { armor: true, .. } => {
                Armorer::new(message).kind(armor::Kind::Signature).build()?
            }
            SignMode::Inline { armor: true } => {
                Armorer::new(message).kind(armor::Kind::Message).build()?
            }
            _ => message,
        };
        let signer = Signer::with_template(message, signer, SignatureBuilder::new(typ))?
            .hash_algo(HashAlgorithm::SHA256)?
            .creation_time(now);
        match mode {
            SignMode::Detached { .. } => signer.detached().build(),
            SignMode::Clear => signer.cleartext().build(),
            SignMode::Inline { .. } => LiteralWriter::new(signer.build()?).build(),
        }
    };
    let mut message = open().map_err(PgpError::library)?;
    copy(input, &mut message)?;
    message.finalize().map_err(PgpError::library)
}
