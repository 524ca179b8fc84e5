//! Work that is not async, in a command that Ctrl-C, the idle lock or a lost device can end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bcm_keystore::Device;

use crate::report::{Kind, Report};

/// How long work that was told to end may take to clean up behind itself.
const CLEAN_UP: Duration = Duration::from_secs(3);

/// Tells work that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    /// Fails once nobody waits; a loop over a stream asks with each piece.
    pub fn check(&self) -> std::io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            // not `Interrupted`, which readers and writers try again after
            return Err(std::io::Error::other("cancelled"));
        }
        Ok(())
    }
}

/// Runs `work` on a thread of its own.
///
/// Dropping the future tells `work` to end, cancels what it asks of `device`, and waits a moment for
/// it to remove what it had begun to write.
pub async fn blocking<T: Send + 'static>(
    device: Option<Device>,
    work: impl FnOnce(&Cancelled) -> Result<T, Report> + Send + 'static,
) -> Result<T, Report> {
    let cancelled = Cancelled::default();
    let (ended, wait) = mpsc::channel();
    let mut guard = Guard {
        cancelled: cancelled.clone(),
        device,
        wait: Some(wait),
    };
    let task = tokio::task::spawn_blocking(move || {
        let _ended: mpsc::Sender<()> = ended;
        work(&cancelled)
    });
    let outcome = task.await;
    guard.wait = None;
    outcome.unwrap_or_else(|_| Err(Report::text(Kind::Failed, "bcm made a mistake and stopped")))
}

struct Guard {
    cancelled: Cancelled,
    device: Option<Device>,
    wait: Option<Receiver<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(wait) = self.wait.take() else { return };
        self.cancelled.0.store(true, Ordering::Relaxed);
        if let Some(device) = &self.device {
            device.cancel();
        }
        // the sender is dropped with the end of the work
        let _ = wait.recv_timeout(CLEAN_UP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_begun_is_cleaned_up_before_a_cancelled_command_ends() {
        let cleaned = Arc::new(AtomicBool::new(false));
        let (begun, begins) = tokio::sync::oneshot::channel();
        let flag = cleaned.clone();
        let work = blocking(None, move |cancelled| {
            begun.send(()).expect("the test waits");
            while cancelled.check().is_ok() {
                std::thread::yield_now();
            }
            flag.store(true, Ordering::Relaxed);
            Ok(())
        });
        tokio::select! {
            _ = work => panic!("it was cancelled"),
            _ = async { begins.await.expect("the work begins") } => {}
        }
        assert!(cleaned.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn work_that_ends_is_returned() {
        assert_eq!(blocking(None, |_| Ok(7)).await.unwrap(), 7);
    }
}
