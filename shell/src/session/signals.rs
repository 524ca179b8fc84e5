//! What signals do: Ctrl-C ends a command, SIGHUP locks, SIGTERM locks and ends the program.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{Keeper, Reason};
use crate::report::Kind;
use crate::ui;

/// How long the main thread may take to leave by itself.
const LEAVE_WAIT: Duration = Duration::from_secs(3);

/// Serves the process's signals for as long as it runs.
pub async fn serve_signals(keeper: Arc<Keeper>) {
    let streams = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut hangup), Ok(mut terminate)) = streams else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {
                // at the prompt the line editor sees it, and a child that has the terminal too
                if !keeper.lent.load(Ordering::Acquire) {
                    let _ = keeper.interrupt(Reason::Interrupt);
                }
            }
            _ = hangup.recv() => keeper.lock_because(Reason::Hangup).await,
            _ = terminate.recv() => {
                keeper.ending.store(true, Ordering::Release);
                let editing = ui::stop_editing();
                keeper.lock_because(Reason::Terminate).await;
                if !editing {
                    // the command that was ended is told of and the main thread leaves
                    tokio::time::sleep(LEAVE_WAIT).await;
                }
                crate::commands::password::forget_clipboard();
                keeper.let_go().await;
                keeper.remove_runtime_folder();
                crate::process::exit(Kind::Failed as u8);
            }
        }
    }
}
