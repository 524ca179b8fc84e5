//! Waiting for a peer, with a limit and without guessing how long it takes.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

/// Asks `ready` again and again until it has an answer.
///
/// # Panics
///
/// After `limit`, with `what` did not happen.
pub fn wait_until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns a port that nobody has now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
