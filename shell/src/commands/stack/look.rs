//! `stack status`, `verify`, `logs`, `open`, and the programs in the containers.

use std::io::{self, IsTerminal};
use std::time::SystemTime;

use bcm_cluster::docker::{Tunnel, exec};
use bcm_keystore::Chain;
use bcm_keystore::statement::{Ledger, StatementKind};
use bcm_stacks::apply::Deployment;
use bcm_stacks::render::service_name;
use bcm_stacks::{Observed, Readiness, StackName, State, health};
use clap::Args;
use futures::StreamExt as _;
use serde::Serialize;
use tokio::sync::mpsc;

use super::deploy::{self, Deployer};
use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// On which chain to look.
#[derive(Args, Debug)]
pub struct Look {
    /// On this chain [default: that of the configuration]
    #[arg(long, value_name = "CHAIN")]
    chain: Option<Chain>,
}

/// Whose log.
#[derive(Args, Debug)]
pub struct Logs {
    /// The stack
    #[arg(value_name = "NAME")]
    stack: String,
    /// One of its services [default: the first]
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Go on until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Begin so many lines before the end
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    tail: u32,
    #[command(flatten)]
    look: Look,
}

/// What to open.
#[derive(Args, Debug)]
pub struct Open {
    /// The stack
    #[arg(value_name = "NAME")]
    stack: String,
    #[command(flatten)]
    look: Look,
}

/// A program in a container, as it is called there.
#[derive(Args, Debug)]
pub struct Passthrough {
    /// What it is called with
    #[arg(
        value_name = "ARGUMENTS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    arguments: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    stack: StackName,
    service: String,
    stopped: bool,
    #[serde(flatten)]
    readiness: Readiness,
}

impl Look {
    pub(super) fn status(self, app: &mut App, json: bool) -> Result<(), Report> {
        let lines = deploy::with(app, self.chain, async |deployer| {
            let wanted = deployer.configuration()?;
            let names = wanted.stacks.iter().map(StackName::as_str);
            let order = deployer.catalog.order_on(deployer.chain, names)?;
            let services = order
                .iter()
                .flat_map(|stack| stack.services.iter().map(move |service| (stack, service)));
            let (engines, chain) = (&deployer.engines, deployer.chain);
            let asked = services.map(|(stack, service)| {
                let stopped = wanted.stopped.contains(&stack.name);
                async move {
                    let readiness = match stopped {
                        true => Readiness::Waiting {
                            reason: "stopped".into(),
                        },
                        false => health::ask(engines, chain, stack, service).await?,
                    };
                    Ok::<_, Report>(Line {
                        stack: stack.name.clone(),
                        service: service_name(chain, &stack.name, &service.name),
                        stopped,
                        readiness,
                    })
                }
            });
            futures::future::try_join_all(asked).await
        })?;
        if json {
            return ui::json(&lines);
        }
        let rows = lines.into_iter().map(|line| {
            [
                line.stack.to_string(),
                line.service,
                ui::printable(&line.readiness.to_string()),
            ]
        });
        ui::out(&ui::table(["stack", "service", "state"], rows))
    }

    pub(super) fn verify(self, app: &mut App, json: bool) -> Result<(), Report> {
        let (serial, deviations) = deploy::with(app, self.chain, async |deployer| {
            let (serial, signed) = last(deployer)?;
            let observed = Observed::read(&deployer.engines).await?;
            Ok((
                serial,
                bcm_stacks::verify(&observed, deployer.chain, &signed),
            ))
        })?;
        if json {
            ui::json(&deviations)?;
        } else {
            for deviation in &deviations {
                ui::out(&ui::printable(&deviation.to_string()))?;
            }
        }
        match (deviations.len(), serial) {
            (0, Some(serial)) => {
                ui::say(&format!("what runs is what was signed last, #{serial}"));
                Ok(())
            }
            (0, None) => {
                ui::say("nothing was signed, and nothing runs");
                Ok(())
            }
            (number, _) => Err(Report::text(
                Kind::Verification,
                format!("what runs deviates from what was signed in {number} ways"),
            )
            .with_hint("`stack start NAME` puts back what was signed, after another signature")),
        }
    }
}

/// Returns what was signed last for the chain, its signatures checked.
fn last(deployer: &Deployer<'_, '_>) -> Result<(Option<u64>, State), Report> {
    let store = deployer.cluster.open.session.store();
    let ledger = Ledger::open(store, &deployer.cluster.cluster.id.to_string())?;
    let chain = deployer.chain;
    let entry = ledger.entries().iter().rev().find(|entry| {
        let statement = &entry.statement;
        statement.kind() == StatementKind::Deployment && statement.head().chain == Some(chain)
    });
    let (Some(entry), Some(anchors)) = (entry, ledger.anchors()) else {
        return Ok((None, State::default()));
    };
    let statement = entry.signed.examine(anchors, SystemTime::now())?;
    let deployment: Deployment = statement.body_as()?;
    Ok((Some(statement.head().serial), deployment.state))
}

impl Logs {
    pub(super) fn run(self, app: &mut App) -> Result<(), Report> {
        deploy::with(app, self.look.chain, async |deployer| {
            let stack = deployer.catalog.get(&self.stack)?;
            let service = match &self.service {
                Some(name) => stack.service(name),
                None => stack.services.first(),
            };
            let service = service.ok_or_else(|| no_service(&self.stack))?;
            let name = service_name(deployer.chain, &stack.name, &service.name);
            let found = deployer.engines.container_of(&name).await?;
            let (engine, container) = found.ok_or_else(|| not_running(&name))?;
            let mut lines = exec::logs(engine, &container, self.follow, self.tail);
            while let Some(line) = lines.next().await {
                ui::out(ui::printable_output(&line?).trim_end_matches('\n'))?;
            }
            Ok(())
        })
    }
}

impl Open {
    pub(super) fn run(self, app: &mut App) -> Result<(), Report> {
        let keeper = app.keeper.clone();
        deploy::with(app, self.look.chain, async |deployer| {
            let stack = deployer.catalog.get(&self.stack)?;
            let page = stack
                .open
                .as_ref()
                .ok_or_else(|| Report::usage(format!("`{}` has no page to open", stack.name)))?;
            let service = stack.service(page.service.as_str());
            let service = service.ok_or_else(|| no_service(&self.stack))?;
            let ports = service.ports_on(deployer.chain);
            let port = ports.get(page.port.as_str()).copied().unwrap_or_default();
            let name = service_name(deployer.chain, &stack.name, &service.name);
            let engines = deployer.engines.hosts().map(|(_, engine)| engine.clone());
            let tunnel = Tunnel::open(engines.collect(), &name, port).await?;
            let failed = |error: io::Error| {
                Report::text(Kind::Failed, format!("cannot listen on loopback: {error}"))
            };
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
                .await
                .map_err(failed)?;
            let near = listener.local_addr().map_err(failed)?;
            let path = page.path.as_ref().map_or("/", |path| path.as_str());
            ui::out(&format!("http://{near}{path}"))?;
            ui::say("open until Ctrl-C");
            let (events, mut failures) = mpsc::channel(16);
            tokio::select! {
                ended = keeper.serve_until_signal() => ended,
                () = tunnel.serve(listener, events) => Ok(()),
                () = async {
                    while let Some(bcm_cluster::docker::tunnel::Event::Failed(error)) = failures.recv().await {
                        deploy::note(&error.to_string());
                    }
                } => Ok(()),
            }
        })
    }
}

impl Passthrough {
    /// Runs the program that the catalogue knows by this name, and returns its exit code.
    pub fn run(self, app: &mut App, name: &str) -> Result<u8, Report> {
        let feed = !app.interactive && !app.scripted && !io::stdin().is_terminal();
        deploy::with(app, None, async |deployer| {
            let found = deployer.catalog.iter().find_map(|stack| {
                let cli = stack.cli.iter().find(|cli| cli.name.as_str() == name)?;
                Some((stack, cli))
            });
            let (stack, cli) = found
                .ok_or_else(|| Report::usage(format!("no stack of the catalogue has `{name}`")))?;
            let service = service_name(deployer.chain, &stack.name, &cli.service);
            let found = deployer.engines.container_of(&service).await?;
            let (engine, container) = found.ok_or_else(|| not_running(&service))?;
            let words = cli.command.iter().map(|word| word.as_str().to_owned());
            let words: Vec<_> = words.chain(self.arguments.iter().cloned()).collect();
            let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
            let code = match feed {
                true => {
                    let stdin = tokio::io::stdin();
                    exec::attach(engine, &container, &words, stdin, &mut out, &mut err).await?
                }
                false => {
                    let stdin = tokio::io::empty();
                    exec::attach(engine, &container, &words, stdin, &mut out, &mut err).await?
                }
            };
            Ok(u8::try_from(code).unwrap_or(1))
        })
    }
}

fn no_service(stack: &str) -> Report {
    Report::usage(format!("`{stack}` has no such service"))
}

fn not_running(service: &str) -> Report {
    Report::text(Kind::Failed, format!("`{service}` does not run"))
        .with_hint("`stack status` says why; `stack start NAME` starts it")
}
