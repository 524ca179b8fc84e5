//! `stack`: what can be deployed.

use bcm_stacks::{Catalog, Maintenance, Stack};
use clap::Subcommand;

use crate::report::Report;
use crate::ui;

/// What to do with stacks.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the catalogue
    #[command(after_help = "Example:\n  bcm stack list --json")]
    List,
}

impl Command {
    /// Runs it.
    pub fn run(self, json: bool) -> Result<(), Report> {
        let Self::List = self;
        let catalog = Catalog::builtin();
        if json {
            return ui::json(&catalog.iter().collect::<Vec<_>>());
        }
        ui::out(&ui::table(
            ["stack", "version", "upstream", "needs", "what it is"],
            catalog.iter().map(row),
        ))
    }
}

fn row(stack: &Stack) -> [String; 5] {
    let needs: Vec<_> = stack.depends.iter().map(ToString::to_string).collect();
    let state = match stack.maintenance {
        Maintenance::Maintained {} => "maintained",
        _ => "unmaintained",
    };
    [
        stack.name.to_string(),
        stack.upstream.version.to_string(),
        state.into(),
        if needs.is_empty() {
            "-".into()
        } else {
            needs.join(" ")
        },
        stack.summary.to_string(),
    ]
}
