//! A statement with its signatures, as files and in memory. Nothing here is trusted yet.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::approval::{Approval, MAX_APPROVAL};
use super::error::StatementError;
use super::verify::Anchors;
use super::{MAX_STATEMENT, Statement, visual};
use crate::device::{Device, DeviceError};
use crate::pgp::{OwnCert, PgpError, Purpose, SignMode};
use crate::store::write_private;

/// Longest OpenPGP signature, in bytes.
pub(super) const MAX_SIGNATURE: usize = 64 * 1024;

/// A statement and what is said to be its signatures: bytes, not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `X.json`.
    pub json: Vec<u8>,
    /// `X.json.asc`.
    pub asc: Vec<u8>,
    /// `X.json.approval`.
    pub approval: Option<Vec<u8>>,
}

/// Has the device approve and sign a statement: two confirmations where the kind needs an approval, else one.
///
/// The approval comes first, since it is the one that covers what the screen shows. To be called within a tokio
/// runtime; dropping the future cancels on the device.
///
/// # Errors
///
/// [`StatementError::Device`], [`StatementError::Signing`].
pub async fn sign(
    device: &Device,
    cert: &OwnCert,
    statement: &Statement,
    now: SystemTime,
) -> Result<Signed, StatementError> {
    let approval = match statement.kind().needs_approval() {
        true => Some(Approval::ask(device, statement).await?.to_bytes()),
        false => None,
    };
    let json = statement.canonical().to_vec();
    let mut cancel = CancelOnDrop(Some(device.clone()));
    let (signer, cert) = (device.clone(), cert.clone());
    let purpose = Purpose::new(visual::purpose(statement));
    let data = json.clone();
    let signing = tokio::task::spawn_blocking(move || {
        let mut asc = Vec::new();
        let mode = SignMode::Detached {
            text: false,
            armor: true,
        };
        let input = &mut &*data;
        crate::pgp::sign(&signer, &cert, mode, &purpose, input, &mut asc, now).map(|()| asc)
    });
    let signed = signing.await;
    cancel.0 = None;
    // a runtime that ends while it waits is a command that was cancelled
    let signed = signed.unwrap_or(Err(PgpError::Device(DeviceError::Cancelled)));
    let asc = signed.map_err(|error| match error {
        PgpError::Device(error) => StatementError::Device(error),
        error => StatementError::Signing(error),
    })?;
    Ok(Signed {
        json,
        asc,
        approval,
    })
}

struct CancelOnDrop(Option<Device>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(device) = &self.0 {
            device.cancel();
        }
    }
}

impl Signed {
    /// Reads `X.json` and what lies beside it.
    ///
    /// # Errors
    ///
    /// [`StatementError::Io`], [`StatementError::TooLong`].
    pub fn read(path: &Path) -> Result<Self, StatementError> {
        let approval = beside(path, "approval");
        let there = approval
            .try_exists()
            .map_err(|source| io(&approval, source))?;
        Ok(Self {
            json: read(path, MAX_STATEMENT)?,
            asc: read(&beside(path, "asc"), MAX_SIGNATURE)?,
            approval: there.then(|| read(&approval, MAX_APPROVAL)).transpose()?,
        })
    }

    /// Writes `X.json` and what lies beside it, of mode 0600; `X.json` last, so that it is there only when the
    /// rest is.
    ///
    /// # Errors
    ///
    /// [`StatementError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), StatementError> {
        let write = |path: &Path, bytes: &[u8]| {
            write_private(path, bytes).map_err(|source| io(path, source))
        };
        write(&beside(path, "asc"), &self.asc)?;
        if let Some(approval) = &self.approval {
            write(&beside(path, "approval"), approval)?;
        }
        write(path, &self.json)
    }

    /// Checks who approved and signed it, and returns what it says: to look back at what was done, wherever it
    /// stands and whether or not it has expired. Nothing acts on this.
    ///
    /// # Errors
    ///
    /// As [`Signed::verify`], but for place and time.
    pub fn examine(&self, anchors: &Anchors, now: SystemTime) -> Result<Statement, StatementError> {
        let statement = self.unverified()?;
        if statement.head().cluster != anchors.cluster {
            return Err(StatementError::Cluster {
                expected: anchors.cluster.clone(),
                found: statement.head().cluster.clone(),
            });
        }
        self.check_signatures(&statement, anchors, now)?;
        Ok(statement)
    }

    /// Reads the statement, whoever signed it: to show it.
    ///
    /// # Errors
    ///
    /// As [`Statement::parse`].
    pub fn unverified(&self) -> Result<Statement, StatementError> {
        Statement::parse(&self.json)
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn io(path: &Path, source: std::io::Error) -> StatementError {
    StatementError::Io {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, StatementError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|source| io(path, source))?;
    let most = limit as u64 + 1;
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(|source| io(path, source))?;
    match bytes.len() > limit {
        false => Ok(bytes),
        true => Err(StatementError::TooLong {
            length: bytes.len(),
            limit,
        }),
    }
}
