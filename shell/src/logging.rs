//! The log on stderr: off unless `RUST_LOG` asks for it, and never with a secret in it.
//!
//! The crate `trezor_client` writes whole messages, passphrases included, as events; others write
//! request bodies. What is let through is therefore decided by the origin of an event and not by
//! the filter that a person gives: our own crates at any level, warnings of others, and of
//! `trezor_client` nothing at all.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Crates of which nothing is ever written.
const NEVER: &str = "trezor_client";

/// Crates of which everything may be written: they know no secret as text.
const OURS: [&str; 4] = ["bcm", "bcm_keystore", "bcm_cluster", "bcm_stacks"];

/// Starts the log, if there is a filter.
pub fn start(filter: Option<&str>) {
    let Some(filter) = filter else { return };
    let subscriber = subscriber(filter, std::io::stderr);
    // it is set once, at the very start
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn subscriber<W>(filter: &str, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .without_time();
    tracing_subscriber::registry().with(
        lines
            .with_filter(EnvFilter::builder().parse_lossy(filter))
            .with_filter(filter_fn(is_harmless)),
    )
}

/// Decides by target and by module, since a target can be chosen freely.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let origins = [Some(metadata.target()), metadata.module_path()];
    let mut origins = origins.into_iter().flatten().map(crate_of);
    if origins.clone().any(|origin| origin == NEVER) {
        return false;
    }
    *metadata.level() <= Level::WARN || origins.all(|origin| OURS.contains(&origin))
}

fn crate_of(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_our_own_words_are_written_whatever_the_filter_says() {
        for filter in [
            "trace",
            "trezor_client=trace",
            "trezor_client::client=trace,trace",
            "[{secret}]=trace",
        ] {
            let sink = Sink::default();
            let writer = sink.clone();
            tracing::subscriber::with_default(subscriber(filter, move || writer.clone()), || {
                for _ in 0..2 {
                    tracing::trace!(target: "trezor_client", secret = "hunter2", "sending");
                    tracing::error!(target: "trezor_client::client", "hunter2");
                    tracing::debug!(target: "ureq_proto::body", "hunter2");
                    tracing::trace!(target: "rustyline", "hunter2");
                    tracing::debug!(target: "ssh_agent_lib::agent", "hunter2");
                    tracing::info!(target: "bcm_keystore::device", secret = 1, "ours");
                    tracing::warn!(target: "ureq", secret = 1, "theirs");
                }
            });
            let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
            assert!(!written.contains("hunter2"), "{filter}: {written}");
            if filter == "trace" {
                assert!(
                    written.contains("ours") && written.contains("theirs"),
                    "{written}"
                );
            }
        }
    }
}
