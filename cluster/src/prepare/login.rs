//! The new way in, tried before the old one is closed.

use std::future::Future;

/// Opens a fresh connection to the host that is prepared.
///
/// It has to be a connection of its own: one that is open already proves nothing about the next.
pub trait TryLogin {
    /// Logs in as `user` and runs `sudo -n true` there; returns what went wrong.
    fn try_login(&self, user: &str) -> impl Future<Output = Result<(), String>> + Send;
}
