//! `stack start`, `stop`, `restart`, `remove`, `upgrade` and `secret rotate`.

use bcm_stacks::{Configuration, StackName};
use clap::Args;

use super::Choices;
use super::deploy::{self, Deployer};
use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// Stacks that are to run.
#[derive(Args, Debug)]
pub struct Start {
    /// The stacks; what they need comes along
    #[arg(value_name = "NAME", required = true)]
    stacks: Vec<String>,
    /// Do not wait until the applications say that they are ready
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    choices: Choices,
}

/// Stacks that something is done to.
#[derive(Args, Debug)]
pub struct Named {
    /// The stacks
    #[arg(value_name = "NAME", required = true)]
    stacks: Vec<String>,
    /// On this chain [default: that of the configuration]
    #[arg(long, value_name = "CHAIN")]
    chain: Option<bcm_keystore::Chain>,
    /// Do not wait until the applications say that they are ready
    #[arg(long)]
    no_wait: bool,
}

/// Stacks that are to go.
#[derive(Args, Debug)]
pub struct Remove {
    /// The stacks; what nothing needs any more goes too
    #[arg(value_name = "NAME", required = true)]
    stacks: Vec<String>,
    /// On this chain [default: that of the configuration]
    #[arg(long, value_name = "CHAIN")]
    chain: Option<bcm_keystore::Chain>,
    /// Delete their volumes too, after this was typed out
    #[arg(long)]
    delete_data: bool,
}

impl Start {
    pub(super) fn run(self, app: &mut App, upgrade: bool, json: bool) -> Result<(), Report> {
        deploy::with(app, self.choices.chain, async |deployer| {
            let mut wanted = deployer.configuration()?;
            let names = names(deployer, &self.stacks)?;
            for name in &names {
                if upgrade {
                    require(&wanted, name)?;
                    wanted.images.remove(name);
                }
                wanted.stacks.insert(name.clone());
            }
            self.choices.apply(&deployer.catalog, &mut wanted)?;
            // what a started stack needs is started too
            let order = deployer
                .catalog
                .order_on(deployer.chain, names.iter().map(StackName::as_str))?;
            for stack in order {
                wanted.stopped.remove(&stack.name);
            }
            deployer.deploy(&mut wanted, json).await?;
            ready(deployer, &wanted, self.no_wait).await
        })
    }
}

impl Named {
    pub(super) fn stop(self, app: &mut App, json: bool) -> Result<(), Report> {
        deploy::with(app, self.chain, async |deployer| {
            let mut wanted = deployer.configuration()?;
            for name in names(deployer, &self.stacks)? {
                require(&wanted, &name).or_else(|report| {
                    match comes_along(deployer, &wanted, &name) {
                        true => Ok(()),
                        false => Err(report),
                    }
                })?;
                wanted.stopped.insert(name);
            }
            deployer.deploy(&mut wanted, json).await
        })
    }

    pub(super) fn restart(self, app: &mut App, json: bool) -> Result<(), Report> {
        deploy::with(app, self.chain, async |deployer| {
            let mut wanted = deployer.configuration()?;
            for name in names(deployer, &self.stacks)? {
                if !comes_along(deployer, &wanted, &name) {
                    require(&wanted, &name)?;
                }
                wanted.stopped.remove(&name);
                *wanted.restarts.entry(name).or_default() += 1;
            }
            deployer.deploy(&mut wanted, json).await?;
            ready(deployer, &wanted, self.no_wait).await
        })
    }

    /// Makes the secrets of the stacks anew and gives them to who uses them.
    pub(super) fn rotate(self, app: &mut App, json: bool) -> Result<(), Report> {
        deploy::with(app, self.chain, async |deployer| {
            let mut wanted = deployer.configuration()?;
            let mut made = 0;
            for name in names(deployer, &self.stacks)? {
                let chain = deployer.chain;
                made += deployer.wanted(|wanted| wanted.rotate(chain, name.as_str()))?;
            }
            ui::say(&format!("made {made} secrets anew"));
            deployer.deploy(&mut wanted, json).await?;
            ready(deployer, &wanted, self.no_wait).await
        })
    }
}

impl Remove {
    pub(super) fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        deploy::with(app, self.chain, async |deployer| {
            let mut wanted = deployer.configuration()?;
            let names = names(deployer, &self.stacks)?;
            for name in &names {
                wanted.stacks.remove(name);
                wanted.stopped.remove(name);
            }
            let left = wanted.stacks.iter().map(StackName::as_str);
            let left = deployer.catalog.order_on(deployer.chain, left)?;
            if let Some(still) = left.iter().find(|stack| names.contains(&stack.name)) {
                let user = left
                    .iter()
                    .find(|stack| stack.depends.contains(&still.name));
                let user = user.map_or("another stack", |stack| stack.name.as_str());
                return Err(Report::usage(format!("`{user}` needs `{}`", still.name))
                    .with_hint(format!("remove both: `stack remove {user} {}`", still.name)));
            }
            if self.delete_data {
                typed_out(&self.stacks)?;
                wanted.delete_data.extend(names);
            }
            deployer.deploy(&mut wanted, json).await
        })
    }
}

/// Has the person type what is lost.
fn typed_out(stacks: &[String]) -> Result<(), Report> {
    let expected = format!("delete {}", stacks.join(" "));
    ui::say(
        "their volumes are deleted: chains, wallets and channels that are in no backup are lost",
    );
    let typed = ui::phrase(&format!("type `{expected}` to go on: "))?;
    match typed.trim() == expected {
        true => Ok(()),
        false => {
            Err(Report::text(Kind::Failed, "that is something else")
                .with_note("nothing was deleted"))
        }
    }
}

fn names(deployer: &Deployer<'_, '_>, stacks: &[String]) -> Result<Vec<StackName>, Report> {
    let known = stacks
        .iter()
        .map(|name| Ok(deployer.catalog.get(name)?.name.clone()));
    known.collect()
}

fn require(wanted: &Configuration, name: &StackName) -> Result<(), Report> {
    match wanted.stacks.contains(name) {
        true => Ok(()),
        false => Err(
            Report::text(Kind::Failed, format!("`{name}` was not started"))
                .with_hint(format!("`stack start {name}`")),
        ),
    }
}

/// Tells whether a stack runs because another needs it.
fn comes_along(deployer: &Deployer<'_, '_>, wanted: &Configuration, name: &StackName) -> bool {
    let names = wanted.stacks.iter().map(StackName::as_str);
    let order = deployer.catalog.order_on(deployer.chain, names);
    order.is_ok_and(|order| order.iter().any(|stack| stack.name == *name))
}

async fn ready(
    deployer: &Deployer<'_, '_>,
    wanted: &Configuration,
    no_wait: bool,
) -> Result<(), Report> {
    if no_wait {
        return Ok(());
    }
    let running = deployer.running(wanted)?;
    deployer.wait(&running).await?;
    let names: Vec<_> = running.iter().map(StackName::as_str).collect();
    ui::say(&format!("ready: {}", names.join(", ")));
    Ok(())
}
