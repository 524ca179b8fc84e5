//! OpenPGP ([RFC 9580](https://www.rfc-editor.org/rfc/rfc9580), in the formats of RFC 4880) with
//! keys that stay on the device: certs, signatures, encryption.
//!
//! The library is sequoia. Its traits are not async, so neither are these functions: they wait on
//! the thread that calls them while the person confirms on the device.

mod cert;
mod change;
mod decrypt;
mod encrypt;
mod error;
mod exchange;
mod key;
mod pinned;
mod sign;
mod status;
mod store;
mod stream;
mod user_id;
mod verdict;
mod verify;

pub use cert::{OwnCert, Reason, State, TREZOR_TIME, state};
pub use decrypt::{Decrypted, decrypt};
pub use encrypt::{encrypt, usable_for_encryption};
pub use error::PgpError;
pub use exchange::{Imported, export, minimal, read_certs};
pub use key::Purpose;
pub use pinned::{PinnedCert, PinnedError};
pub use sign::{SignMode, sign};
pub use status::status_lines;
pub use store::{Change, Entry, OtherCert, PgpStore, PgpStoreError, TrustMark};
pub use user_id::{UserId, UserIdError};
pub use verdict::{GoodSignature, SignatureFacts, Trust, Verdict, judge};
pub use verify::{examine_detached, verify_detached, verify_message};

pub use sequoia_openpgp::{Cert, Fingerprint, KeyHandle};

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;
