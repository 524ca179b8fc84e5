//! Encryption to certs.

use std::io::{Read, Write};
use std::time::SystemTime;

use sequoia_openpgp::Cert;
use sequoia_openpgp::armor;
use sequoia_openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message, Recipient};
use sequoia_openpgp::types::SymmetricAlgorithm;

use super::cert;
use super::error::PgpError;
use super::stream::copy;

/// Encrypts `input` to every key of `recipients` that is for encryption, with AES-256.
///
/// A message to certs that all announce it is in the format of RFC 9580, else in that of RFC 4880
/// with its integrity check. The device is not needed.
///
/// # Errors
///
/// [`PgpError::CannotEncrypt`], [`PgpError::Expired`], [`PgpError::Revoked`] or
/// [`PgpError::Unusable`] name the recipient that is wrong; nothing is written then.
pub fn encrypt(
    recipients: &[Cert],
    armor: bool,
    input: &mut dyn Read,
    output: &mut (dyn Write + Send + Sync),
    now: SystemTime,
) -> Result<(), PgpError> {
    if recipients.is_empty() {
        return Err(PgpError::NoRecipient);
    }
    for cert in recipients {
        usable_for_encryption(cert, now)?;
    }
    let policy = cert::policy(now);
    let keys = recipients.iter().flat_map(|cert| {
        cert.keys()
            .with_policy(&policy, now)
            .supported()
            .alive()
            .revoked(false)
            .for_transport_encryption()
            .for_storage_encryption()
            .map(Recipient::from)
    });
    let open = || {
        let message = Message::new(&mut *output);
        let message = if armor {
            Armorer::new(message).kind(armor::Kind::Message).build()?
        } else {
            message
        };
        let message = Encryptor::for_recipients(message, keys)
            .symmetric_algo(SymmetricAlgorithm::AES256)
            .build()?;
        LiteralWriter::new(message).build()
    };
    let mut message = open().map_err(PgpError::library)?;
    copy(input, &mut message)?;
    message.finalize().map_err(PgpError::library)
}

/// Checks that something can be encrypted to `cert` now.
///
/// # Errors
///
/// As [`encrypt`].
pub fn usable_for_encryption(cert: &Cert, now: SystemTime) -> Result<(), PgpError> {
    cert::check(cert, now)?;
    let policy = cert::policy(now);
    let mut keys = cert
        .keys()
        .with_policy(&policy, now)
        .supported()
        .alive()
        .revoked(false)
        .for_transport_encryption()
        .for_storage_encryption();
    match keys.next() {
        Some(_) => Ok(()),
        None => Err(PgpError::CannotEncrypt {
            user_id: cert::name_of(cert, now),
            fingerprint: cert.fingerprint().to_hex(),
        }),
    }
}
