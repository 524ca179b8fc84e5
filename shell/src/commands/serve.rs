//! `serve`: the session without a prompt, for other programs.

use clap::Args;
use tokio::process::Command;

use super::ssh::{ensure_agent, run_child};
use crate::app::App;
use crate::env;
use crate::report::{Kind, Report};
use crate::ui;

/// What to serve for.
#[derive(Debug, Args)]
pub struct Serve {
    /// Run this with the session, and end with it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Serve {
    /// Runs it; without a command it prints where the session is, and waits unless at a prompt.
    pub fn run(self, app: &mut App) -> Result<u8, Report> {
        let keeper = app.keeper.clone();
        if let Some((program, arguments)) = self.command.split_first() {
            return app.runtime().block_on(keeper.with_open(async |open| {
                let socket = keeper.offer_socket(open)?;
                let agent = ensure_agent(&keeper, open)?.socket().to_owned();
                let mut child = Command::new(program);
                child
                    .args(arguments)
                    .env(env::BCM_SOCKET, socket)
                    .env("SSH_AUTH_SOCK", agent);
                run_child(&keeper, program, child).await
            }));
        }
        let print = keeper.with_open(async |open| {
            let socket = keeper.offer_socket(open)?;
            let agent = ensure_agent(&keeper, open)?.socket().to_owned();
            let mut lines = Vec::new();
            for (name, path) in [(env::BCM_SOCKET, socket), ("SSH_AUTH_SOCK", agent)] {
                let quoted = path.to_str().and_then(|path| shlex::try_quote(path).ok());
                let quoted = quoted.ok_or_else(|| {
                    Report::text(Kind::Failed, "the path of the runtime folder is not UTF-8")
                })?;
                lines.push(format!("{name}={quoted}; export {name};"));
            }
            ui::out(&lines.join("\n"))
        });
        app.runtime().block_on(print)?;
        if app.interactive {
            keeper.want_agent();
            return Ok(0);
        }
        app.runtime()
            .block_on(keeper.serve_until_signal())
            .map(|()| 0)
    }
}
