//! When the session was last used, and how long is too long.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::ui::lock;

/// When the session was last used, by a command or by a request of the agent.
#[derive(Debug)]
pub struct Activity {
    times: Mutex<Times>,
    limit_changed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    last: Instant,
    /// Commands that run now.
    running: usize,
    /// How long without use is too long.
    limit: Option<Duration>,
}

impl Activity {
    /// Notes that it is used now.
    pub fn touch(&self) {
        lock(&self.times).last = Instant::now();
    }

    /// Sets after how long without use the session locks, counted from now.
    pub fn set_limit(&self, limit: Option<Duration>) {
        self.touch();
        lock(&self.times).limit = limit;
        self.limit_changed.notify_one();
    }

    /// Notes that it is in use until the guard is dropped.
    pub(super) fn busy(&self) -> Busy<'_> {
        lock(&self.times).running += 1;
        Busy(self)
    }

    /// Resolves to the limit when it was not in use for so long.
    pub(super) async fn idle(&self) -> Duration {
        loop {
            let state = *lock(&self.times);
            let Some(limit) = state.limit else {
                self.limit_changed.notified().await;
                continue;
            };
            let left = match state.running {
                0 => limit.saturating_sub(state.last.elapsed()),
                _ => limit,
            };
            if left.is_zero() {
                return limit;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = self.limit_changed.notified() => {}
            }
        }
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            times: Mutex::new(Times {
                last: Instant::now(),
                running: 0,
                limit: None,
            }),
            limit_changed: Notify::new(),
        }
    }
}

/// Keeps the session from idling until dropped.
#[derive(Debug)]
pub(super) struct Busy<'a>(&'a Activity);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        lock(&self.0.times).running -= 1;
        self.0.touch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    async fn locks_within(activity: &Activity, wait: Duration) -> bool {
        tokio::time::timeout(wait, activity.idle()).await.is_ok()
    }

    #[tokio::test]
    async fn a_session_idles_only_when_nothing_uses_it() {
        let activity = Activity::default();
        assert!(!locks_within(&activity, LIMIT * 2).await);
        activity.set_limit(Some(LIMIT));
        let busy = activity.busy();
        assert!(!locks_within(&activity, LIMIT * 3).await);
        drop(busy);
        assert!(!locks_within(&activity, LIMIT / 5).await);
        assert!(locks_within(&activity, LIMIT * 20).await);
    }

    #[tokio::test]
    async fn a_shorter_limit_holds_at_once() {
        let activity = Activity::default();
        activity.set_limit(Some(Duration::from_secs(3600)));
        let (locked, ()) = tokio::join!(locks_within(&activity, LIMIT * 40), async {
            tokio::time::sleep(LIMIT).await;
            activity.set_limit(Some(LIMIT));
        });
        assert!(locked);
    }
}
