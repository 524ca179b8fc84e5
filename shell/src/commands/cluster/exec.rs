//! `cluster exec`: one command on many hosts.

use bcm_cluster::{Answer, Output, RemoteCommand, RemoteError, Status};
use bcm_keystore::Hint as _;
use clap::Args;
use serde::Serialize;

use super::fan::{Fan, Tally};
use super::reach::with_cluster;
use crate::app::App;
use crate::report::Report;
use crate::ui::{self, Style};

/// Most bytes of each stream of a host that are kept until it is done.
const KEPT: usize = 1 << 20;

/// What to run, and where.
#[derive(Args, Debug)]
pub struct Exec {
    #[command(flatten)]
    fan: Fan,
    /// A program and its arguments; what is meant for a shell goes to `sh -c`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What came of a host, as it is printed.
#[derive(Serialize)]
struct Line {
    host: String,
    /// What the command returned; nothing where a signal ended it or it did not run to its end.
    code: Option<u8>,
    stdout: String,
    stderr: String,
    truncated: bool,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Line {
    fn new(answer: &Answer<Output>) -> Self {
        let text = |bytes: &[u8]| ui::printable_output(bytes);
        let seconds = (answer.took.as_secs_f64() * 1000.0).round() / 1000.0;
        let host = answer.host.to_string();
        match &answer.outcome {
            Ok(output) => Self {
                host,
                code: match output.status {
                    Status::Code(code) => Some(code),
                    Status::Signal => None,
                },
                stdout: text(&output.stdout),
                stderr: text(&output.stderr),
                truncated: output.truncated,
                seconds,
                error: None,
                hint: None,
            },
            Err(error) => Self {
                host,
                code: None,
                stdout: String::new(),
                stderr: String::new(),
                truncated: false,
                seconds,
                error: Some(ui::printable(&error.to_string())),
                hint: error.hint().map(|hint| ui::printable(&hint)),
            },
        }
    }

    /// Shows it: what was printed on stdout, everything else on stderr.
    fn show(&self, outcome: Result<Status, RemoteError>) -> Result<(), Report> {
        let status = match outcome {
            Ok(status) => status,
            Err(error) => {
                Report::from(error).print();
                return Ok(());
            }
        };
        let host = ui::paint_stdout(Style::Name, &self.host);
        let status = match status.success() {
            true => String::new(),
            false => format!(" ({status})"),
        };
        let indented = self.stdout.lines().map(|line| format!("\n  {line}"));
        ui::out(&format!("{host}{status}:{}", indented.collect::<String>()))?;
        for line in self.stderr.lines() {
            ui::say(&format!("{}: {line}", self.host));
        }
        if self.truncated {
            ui::say(&format!(
                "{}: it printed more than the {} KiB of a stream that are kept",
                self.host,
                KEPT >> 10
            ));
        }
        Ok(())
    }
}

impl Exec {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let command = RemoteCommand::leashed(&self.command)?;
        with_cluster(app, async |cluster| {
            let mut tally = Tally::default();
            let mut lines = Vec::new();
            let mut shown = Ok(());
            let command = &command;
            let work = |remote: bcm_cluster::Remote| async move {
                remote.run_capped(command, b"", KEPT).await
            };
            let hear = |answer: Answer<Output>| {
                match &answer.outcome {
                    Ok(output) if output.status.success() => tally.good(),
                    Ok(_) => tally.bad(&answer.host),
                    Err(error) => tally.error(&answer.host, error),
                }
                let line = Line::new(&answer);
                if json {
                    lines.push(line);
                } else if shown.is_ok() {
                    shown = line.show(answer.outcome.map(|output| output.status));
                }
            };
            self.fan.each(cluster, work, hear).await?;
            shown?;
            if json {
                lines.sort_by(|a, b| a.host.cmp(&b.host));
                ui::json(&lines)?;
            }
            tally.conclude()
        })
    }
}
