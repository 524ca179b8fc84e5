//! One thing asked of many hosts at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;

use crate::connections::{IMPATIENCE, Waiting};
use crate::name::HostName;
use crate::remote::{Remote, RemoteError};

/// Hosts at once, unless it is said otherwise.
pub const DEFAULT_LIMIT: usize = 64;

/// How many hosts at once, and for how long each.
#[derive(Clone, Copy, Debug)]
pub struct FanOut {
    /// Hosts at once.
    pub limit: usize,
    /// Longest time for one host, its login counted; `None` is for ever.
    pub timeout: Option<Duration>,
}

/// What came of one host.
#[derive(Debug)]
pub struct Answer<T> {
    /// The host.
    pub host: HostName,
    /// What it did.
    pub outcome: Result<T, RemoteError>,
    /// How long it took.
    pub took: Duration,
}

impl FanOut {
    /// Asks `work` of each host, and gives each answer to `hear` when it is there, in the order of
    /// their coming. What lasts is told to `tell`. Dropping the future ends all of it.
    pub async fn each<T, F: Future<Output = Result<T, RemoteError>>>(
        self,
        remotes: &[Remote],
        work: impl Fn(Remote) -> F,
        tell: impl Fn(Waiting),
        mut hear: impl FnMut(Answer<T>),
    ) {
        let begun = Instant::now();
        let mut waiting: BTreeSet<_> = remotes.iter().map(|remote| remote.name().clone()).collect();
        let jobs = remotes.iter().map(|remote| {
            let (host, job) = (remote.name().clone(), work(remote.clone()));
            async move {
                let start = Instant::now();
                let outcome = match self.timeout {
                    None => job.await,
                    Some(after) => tokio::time::timeout(after, job).await.unwrap_or_else(|_| {
                        let host = host.clone();
                        Err(RemoteError::Timeout { host, after })
                    }),
                };
                let took = start.elapsed();
                Answer {
                    host,
                    outcome,
                    took,
                }
            }
        });
        let mut answers = stream::iter(jobs).buffer_unordered(self.limit.max(1));
        loop {
            match tokio::time::timeout(IMPATIENCE, answers.next()).await {
                Ok(None) => return,
                Ok(Some(answer)) => {
                    waiting.remove(&answer.host);
                    hear(answer);
                }
                Err(_) => tell(Waiting::Answers {
                    hosts: waiting.iter().cloned().collect(),
                    since: begun.elapsed(),
                }),
            }
        }
    }
}
