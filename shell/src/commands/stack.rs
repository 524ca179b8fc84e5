//! `stack`: what can be deployed, what deploying it would do, and doing it.

mod act;
mod choices;
mod deploy;
mod kept;
mod list;
mod look;
mod plan;

use std::path::PathBuf;

use bcm_keystore::Chain;
use bcm_keystore::device::DeviceSelector;
use bcm_stacks::{Catalog, GraphFormat};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::app::App;
use crate::report::Report;
use crate::ui;

pub use choices::Choices;
pub use look::Passthrough;

/// What to do with stacks.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the catalogue
    #[command(after_help = "Example:\n  bcm stack list --json")]
    List,
    /// Check the folder of a stack of your own
    #[command(after_help = "Example:\n  bcm stack lint ~/stacks/my-explorer

What a folder holds is told by stacks/SCHEMA.md. `config set stacks.path=~/stacks` adds it to the catalogue.")]
    Lint {
        /// The folder, with a `stack.toml` in it
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Show what starting stacks would do, and do nothing
    #[command(after_help = "Examples:
  bcm stack plan --offline --chain regtest electrs
  bcm stack plan --offline --set bitcoind.dbcache=2048 --diff bitcoind
  bcm stack plan --offline --json btcpayserver lnd")]
    Plan(plan::Plan),
    /// Show what needs what
    #[command(after_help = "Example:\n  bcm stack graph --format dot | dot -Tsvg > stacks.svg")]
    Graph(Graph),
    /// Start stacks and what they need: signed on the device, then done
    #[command(after_help = "Examples:
  bcm stack start electrs
  bcm stack start bitcoind --set bitcoind.dbcache=2048

The plan is shown, approved and signed on the device once, and exactly its calls are made. A run that was cut off
is finished by the same command.")]
    Start(act::Start),
    /// Stop stacks; everything of theirs stays
    #[command(after_help = "Example:\n  bcm stack stop electrs")]
    Stop(act::Named),
    /// Stop stacks and start them again
    #[command(after_help = "Example:\n  bcm stack restart bitcoind")]
    Restart(act::Named),
    /// Remove stacks; their volumes stay unless told otherwise
    #[command(after_help = "Examples:
  bcm stack remove electrs
  bcm stack remove electrs bitcoind --delete-data      after it was typed out")]
    Remove(act::Remove),
    /// Bring stacks to the release of the catalogue, or another image
    #[command(after_help = "Example:\n  bcm stack upgrade bitcoind")]
    Upgrade(act::Start),
    /// Show how far each service is, by what it says itself
    #[command(after_help = "Example:\n  bcm stack status --json")]
    Status(look::Look),
    /// Compare what runs with what was signed last; exit code 4 unless they are the same
    #[command(after_help = "Example:\n  bcm stack verify --chain mainnet")]
    Verify(look::Look),
    /// Show what a service says
    #[command(after_help = "Example:\n  bcm stack logs -f bitcoind")]
    Logs(look::Logs),
    /// Reach the page of a stack through a tunnel that ends on this machine's loopback
    #[command(after_help = "Example:\n  bcm stack open btcpayserver")]
    Open(look::Open),
    /// Work on the secrets of stacks
    #[command(subcommand, after_help = "Example:\n  bcm stack secret rotate electrs")]
    Secret(Secret),
}

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Make the secrets of stacks anew, and give them to who uses them; keys of onion services stay
    #[command(after_help = "Example:\n  bcm stack secret rotate electrs")]
    Rotate(act::Named),
}

/// What needs what.
#[derive(Args, Debug)]
pub struct Graph {
    /// Only these stacks and what they need
    #[arg(value_name = "NAME")]
    stacks: Vec<String>,
    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// How a graph is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line for each stack
    Text,
    /// For Graphviz
    Dot,
    /// For Mermaid
    Mermaid,
}

impl Command {
    /// Tells whether it works on a cluster.
    pub fn needs_unlock(&self) -> bool {
        !matches!(
            self,
            Self::List | Self::Lint { .. } | Self::Plan(_) | Self::Graph(_)
        )
    }

    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::List => list::run(&catalog(app)?, json),
            Self::Lint { folder } => lint(&folder, json),
            Self::Plan(plan) => plan.run(app, json),
            Self::Graph(graph) => graph.run(app, json),
            Self::Start(start) => start.run(app, false, json),
            Self::Stop(named) => named.stop(app, json),
            Self::Restart(named) => named.restart(app, json),
            Self::Remove(remove) => remove.run(app, json),
            Self::Upgrade(start) => start.run(app, true, json),
            Self::Status(look) => look.status(app, json),
            Self::Verify(look) => look.verify(app, json),
            Self::Logs(logs) => logs.run(app),
            Self::Open(open) => open.run(app),
            Self::Secret(Secret::Rotate(named)) => named.rotate(app, json),
        }
    }
}

/// Reads the catalogue, with the person's own stacks.
pub fn catalog(app: &App) -> Result<Catalog, Report> {
    match app.config()?.stacks() {
        Some(folder) => Ok(Catalog::with_folder(&folder)?),
        None => Ok(Catalog::builtin()),
    }
}

/// Returns the chain to work on: flag over file over what fits the device.
pub fn chain(app: &App, asked: Option<Chain>) -> Result<Chain, Report> {
    if let Some(chain) = asked.or(app.config()?.chain()) {
        return Ok(chain);
    }
    Ok(match app.selector()? {
        DeviceSelector::Simulator => Chain::Regtest,
        _ => Chain::Mainnet,
    })
}

fn lint(folder: &std::path::Path, json: bool) -> Result<(), Report> {
    // `.` and `..` have no name of their own
    let folder = std::fs::canonicalize(folder).map_err(|error| {
        let shown = folder.display();
        Report::text(
            crate::report::Kind::Failed,
            format!("cannot read `{shown}`: {error}"),
        )
    })?;
    let linted = bcm_stacks::lint(&folder)?;
    if json {
        let chains = linted.chains.iter().map(|(chain, (services, files))| {
            (
                chain.name().to_owned(),
                json!({ "services": services, "files": files }),
            )
        });
        let chains: serde_json::Map<_, _> = chains.collect();
        return ui::json(&json!({ "stack": linted.name, "chains": chains }));
    }
    let chains = linted.chains.iter().map(|(chain, (services, files))| {
        [chain.to_string(), services.to_string(), files.to_string()]
    });
    ui::say(&format!("`{}` is in order", linted.name));
    ui::out(&ui::table(["chain", "services", "files"], chains))
}

impl Graph {
    fn run(self, app: &App, json: bool) -> Result<(), Report> {
        let catalog = catalog(app)?;
        let all = || catalog.iter().map(|stack| stack.name.to_string()).collect();
        let names: Vec<String> = if self.stacks.is_empty() {
            all()
        } else {
            self.stacks
        };
        let order = catalog.start_order(&names)?;
        if json {
            let nodes = order.iter().map(|stack| {
                json!({ "stack": stack.name, "depends": stack.depends, "optional": stack.optional })
            });
            return ui::json(&nodes.collect::<Vec<_>>());
        }
        let format = match self.format {
            Format::Text => GraphFormat::Text,
            Format::Dot => GraphFormat::Dot,
            Format::Mermaid => GraphFormat::Mermaid,
        };
        ui::out(&bcm_stacks::draw(&order, format))
    }
}
