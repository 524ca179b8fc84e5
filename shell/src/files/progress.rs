//! The bar that shows how far a long stream is.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::ui::lock;

/// Work that ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bar that is on the terminal.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// How far a stream is; on a terminal, and after a second, a bar on stderr.
#[derive(Debug)]
pub struct Progress {
    name: String,
    length: Option<u64>,
    begun: Instant,
    done: u64,
    terminal: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins with nothing done of `length`, if that is known.
    pub fn new(name: &str, length: Option<u64>) -> Self {
        Self {
            name: crate::ui::printable(name),
            length,
            begun: Instant::now(),
            done: 0,
            terminal: io::stderr().is_terminal(),
            bar: None,
        }
    }

    /// Goes on by so many bytes.
    pub fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        if !self.terminal {
            return;
        }
        // drawn where bytes move and nowhere else: never over a question of the device
        if self.bar.is_none() && self.begun.elapsed() >= PATIENCE {
            let bar = bar(&self.name, self.length);
            bar.set_elapsed(self.begun.elapsed());
            *lock(&SHOWN) = Some(bar.clone());
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            lock(&SHOWN).take();
        }
    }
}

fn bar(name: &str, length: Option<u64>) -> ProgressBar {
    let template = match length {
        Some(_) => "{prefix} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
        None => "{prefix} {bytes} {binary_bytes_per_sec}",
    };
    let style =
        ProgressStyle::with_template(template).expect("the templates above are well-formed");
    let target = ProgressDrawTarget::stderr_with_hz(10);
    ProgressBar::with_draw_target(length, target)
        .with_style(style.progress_chars("=> "))
        .with_prefix(name.to_owned())
}

/// Runs `write`, which writes to the terminal, with no bar in its way.
pub fn suspended<T>(write: impl FnOnce() -> T) -> T {
    let shown = lock(&SHOWN).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
