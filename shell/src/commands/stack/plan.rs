//! `stack plan`: what would be made, changed and removed.

use bcm_stacks::{Change, Observed, Secrets, Thing, Verb};
use clap::Args;

use crate::app::App;
use crate::report::Report;
use crate::ui::{self, Style};

use super::Choices;

/// What starting stacks would do.
#[derive(Args, Debug)]
pub struct Plan {
    /// The stacks; what they need comes along
    #[arg(value_name = "NAME", required = true)]
    stacks: Vec<String>,
    /// Ask no host and no device: plan as for an empty cluster
    #[arg(long, required = true)]
    offline: bool,
    /// Show how each file changes
    #[arg(long)]
    diff: bool,
    #[command(flatten)]
    choices: Choices,
}

impl Plan {
    pub(super) fn run(self, app: &App, json: bool) -> Result<(), Report> {
        let catalog = super::catalog(app)?;
        let chain = super::chain(app, self.choices.chain)?;
        let configuration = self.choices.configuration(&catalog, chain, &self.stacks)?;
        let plan = bcm_stacks::plan(
            &catalog,
            &configuration,
            &Secrets::preview(),
            &Observed::default(),
        )?;
        show(&plan, self.diff, json)?;
        if !json {
            ui::say(
                "planned for an empty cluster and without its secrets: nothing of this can be signed",
            );
        }
        Ok(())
    }
}

/// Shows a plan.
pub fn show(plan: &bcm_stacks::Plan, diff: bool, json: bool) -> Result<(), Report> {
    if json {
        let mut body = plan.body();
        body.insert("chain".into(), plan.chain.name().into());
        body.insert("preview".into(), plan.preview.into());
        body.insert("changes".into(), serde_json::json!(plan.changes));
        return ui::json(&body);
    }
    for change in &plan.changes {
        ui::out(&line(change))?;
        if diff && !change.diff.is_empty() {
            for line in ui::printable_lines(&change.diff).lines() {
                ui::out(&format!("      {line}"))?;
            }
        }
    }
    for warning in &plan.warnings {
        ui::say(&format!(
            "{} {warning}",
            ui::paint_stderr(Style::Hint, "note:")
        ));
    }
    let count = |verb| {
        plan.changes
            .iter()
            .filter(|change| change.verb == verb)
            .count()
    };
    let (made, changed, removed) = (
        count(Verb::Create),
        count(Verb::Change),
        count(Verb::Remove),
    );
    ui::say(&format!(
        "chain {}, {} stacks: {made} to create, {changed} to change, {removed} to remove; {} calls",
        plan.chain,
        plan.order.len(),
        plan.operations.len()
    ));
    Ok(())
}

fn line(change: &Change) -> String {
    let sign = match change.verb {
        Verb::Create => '+',
        Verb::Change => '~',
        Verb::Remove => '-',
    };
    let thing = match change.thing {
        Thing::Image => "image",
        Thing::Network => "network",
        Thing::Volume => "volume",
        Thing::Config => "config",
        Thing::Secret => "secret",
        Thing::Service => "service",
    };
    format!(
        "{sign} {:<16} {thing:<8} {}",
        change.stack,
        ui::printable(&change.name)
    )
}
