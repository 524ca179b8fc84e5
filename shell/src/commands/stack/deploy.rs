//! From what is wanted to what runs: plan, sign on the device, apply, wait.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bcm_cluster::Engine;
use bcm_keystore::Chain;
use bcm_keystore::pgp::PgpStore;
use bcm_keystore::statement::{
    Anchors, Head, Ledger, Statement, StatementError, StatementKind, Subject, VerifiedStatement,
    sign,
};
use bcm_stacks::apply::Step;
use bcm_stacks::{
    ApplyError, Catalog, Configuration, Engines, Observed, PartName, Plan, Readiness, StackName,
    health,
};
use futures::future::try_join_all;

use super::kept::Wanted;
use crate::app::App;
use crate::commands::cluster::{InCluster, with_cluster};
use crate::report::{Kind, Report};
use crate::ui::{self, Style};

/// How long a signed plan is good: as long as it may take to make its calls.
const GOOD: Duration = Duration::from_secs(3600);

/// What a command on the stacks of a cluster works with.
pub(super) struct Deployer<'a, 'c> {
    pub(super) cluster: &'a mut InCluster<'c>,
    pub(super) catalog: Catalog,
    pub(super) chain: Chain,
    pub(super) engines: Engines,
}

/// Runs `work` with the engines of the cluster that is in use.
pub(super) fn with<T>(
    app: &mut App,
    chain: Option<Chain>,
    work: impl AsyncFnOnce(&mut Deployer<'_, '_>) -> Result<T, Report>,
) -> Result<T, Report> {
    let catalog = super::catalog(app)?;
    let chain = super::chain(app, chain)?;
    with_cluster(app, async |cluster| {
        let engines = engines(cluster).await?;
        work(&mut Deployer {
            cluster,
            catalog,
            chain,
            engines,
        })
        .await
    })
}

async fn engines(cluster: &mut InCluster<'_>) -> Result<Engines, Report> {
    let hosts = cluster.cluster.hosts.clone();
    if hosts.is_empty() {
        let report = Report::text(
            Kind::Failed,
            format!("`{}` has no hosts", cluster.cluster.name),
        );
        return Err(report.with_hint("add one: `cluster host add NAME local`"));
    }
    let remotes = cluster.remotes(&hosts).await?;
    let connected = remotes.iter().map(Engine::connect);
    let connected = try_join_all(connected).await?;
    let mut engines = BTreeMap::new();
    for (host, engine) in hosts.iter().zip(connected) {
        let name: PartName = host
            .name
            .as_str()
            .parse()
            .map_err(|error: bcm_stacks::TextError| Report::usage(error.to_string()))?;
        engines.insert(name, engine);
    }
    let id = cluster.cluster.id.to_string();
    Ok(Engines::of(&id, engines).await?)
}

/// Says something that passes.
pub(super) fn note(text: &str) {
    ui::say(&ui::paint_stderr(Style::Dim, &ui::printable(text)));
}

impl Deployer<'_, '_> {
    /// Returns what is wanted of the cluster now.
    pub(super) fn configuration(&self) -> Result<Configuration, Report> {
        self.wanted(|wanted| wanted.on(self.chain))
    }

    pub(super) fn wanted<T>(
        &self,
        work: impl FnOnce(&Wanted<'_>) -> Result<T, Report>,
    ) -> Result<T, Report> {
        let store = self.cluster.open.session.store();
        work(&Wanted::of(store, &self.cluster.cluster.id.to_string()))
    }

    /// Makes the plan that leads to a configuration.
    pub(super) async fn plan(&self, configuration: &Configuration) -> Result<Plan, Report> {
        let secrets = self.wanted(|wanted| wanted.secrets(&self.catalog, configuration))?;
        let observed = Observed::read(&self.engines).await?;
        Ok(bcm_stacks::plan(
            &self.catalog,
            configuration,
            &secrets,
            &observed,
        )?)
    }

    /// Has the plan signed and does it; where a call is refused, goes back to what was before.
    pub(super) async fn deploy(
        &self,
        configuration: &mut Configuration,
        json: bool,
    ) -> Result<(), Report> {
        let before = self.configuration()?;
        let plan = self.plan(configuration).await?;
        if !json {
            super::plan::show(&plan, false, false)?;
        }
        if plan.is_empty() {
            self.wanted(|wanted| wanted.keep(configuration))?;
            return Ok(());
        }
        match self.carry_out(&plan, configuration).await {
            Ok(()) => {}
            Err(error) if is_refusal(&error) => {
                note("a call was refused; going back to the plan before, which is signed anew");
                let report = Report::from(error);
                return Err(match self.go_back(&before).await {
                    Ok(()) => report.with_note("what runs is again as it was before"),
                    Err(back) => {
                        back.print();
                        report.with_note("what was begun is still there: `stack verify` names it")
                    }
                });
            }
            Err(error) => return Err(error.into()),
        }
        if !configuration.delete_data.is_empty() {
            configuration.delete_data.clear();
            self.wanted(|wanted| wanted.keep(configuration))?;
        }
        Ok(())
    }

    async fn go_back(&self, before: &Configuration) -> Result<(), Report> {
        let plan = self.plan(before).await?;
        if plan.is_empty() {
            return self.wanted(|wanted| wanted.keep(before));
        }
        Ok(self.carry_out(&plan, before).await?)
    }

    async fn carry_out(&self, plan: &Plan, configuration: &Configuration) -> Result<(), Failed> {
        let verified = self.signed(plan).await?;
        // before the first call: a run that is cut off is finished by the next one
        self.wanted(|wanted| wanted.keep(configuration))?;
        let tell = |step: Step<'_>| match step {
            Step::Begun(it) => tracing::debug!("{} {}", it.method, it.path),
            Step::Done(it) if it.path == "/services/create" || it.path.ends_with("/update") => {
                note(&format!("{}: `{}` starts", it.stack, it.object()));
            }
            Step::Done(it) if it.path.starts_with("/services/") => {
                note(&format!("{}: `{}` stops", it.stack, it.object()));
            }
            Step::Pulling { operation, status } => {
                tracing::info!("{}: {status}", operation.stack);
            }
            Step::Done(_) | Step::InUse(_) => {}
        };
        bcm_stacks::apply(
            &verified,
            self.chain,
            plan.secret_bodies(),
            &self.engines,
            &tell,
        )
        .await?;
        Ok(())
    }

    /// One bound approval and one OpenPGP signature on the device, written down before anything is done.
    async fn signed(&self, plan: &Plan) -> Result<VerifiedStatement, Report> {
        let session = &self.cluster.open.session;
        let (store, device) = (session.store(), session.device());
        let own = PgpStore::open(store)?.signer(None)?.clone();
        let id = self.cluster.cluster.id.to_string();
        let mut ledger = Ledger::open(store, &id)?;
        let anchors = match ledger.anchors() {
            Some(anchors) => anchors.clone(),
            None => {
                let anchors = Anchors::read(device, &id, own.cert()).await?;
                ledger.pin(anchors.clone())?;
                anchors
            }
        };
        let place = ledger.head();
        let now = SystemTime::now();
        let head = Head {
            cluster: id,
            cluster_name: self.cluster.cluster.name.to_string(),
            chain: Some(self.chain),
            serial: place.serial,
            previous: place.previous,
            issued_at: now,
            expires_at: Some(now + GOOD),
        };
        let mut subjects = Vec::new();
        for (name, sha256) in subjects_of(plan) {
            let sha256 = sha256.parse().map_err(StatementError::Unmakeable)?;
            subjects.push(Subject { name, sha256 });
        }
        let kind = StatementKind::Deployment;
        let statement = Statement::new(kind, head, subjects, plan.body())?;
        let signed = sign(device, &own, &statement, now).await?;
        let trust = anchors.expect(kind, Some(self.chain), place);
        let verified = signed.verify(&trust, SystemTime::now())?;
        ledger.append(&verified)?;
        Ok(verified)
    }

    /// Waits until every service of the stacks is ready, side by side.
    pub(super) async fn wait(&self, stacks: &[StackName]) -> Result<(), Report> {
        let mut waits = Vec::new();
        for name in stacks {
            let stack = self.catalog.get(name.as_str())?;
            for service in &stack.services {
                let tell = |service: &str, found: &Readiness| note(&format!("{service}: {found}"));
                waits.push(health::wait(
                    &self.engines,
                    self.chain,
                    stack,
                    service,
                    tell,
                ));
            }
        }
        try_join_all(waits).await?;
        Ok(())
    }

    /// Returns the stacks that run under a configuration, each after what it needs.
    pub(super) fn running(&self, configuration: &Configuration) -> Result<Vec<StackName>, Report> {
        let names = configuration.stacks.iter().map(StackName::as_str);
        let order = self.catalog.order_on(self.chain, names)?;
        let names = order.iter().map(|stack| stack.name.clone());
        Ok(names
            .filter(|name| !configuration.stopped.contains(name))
            .collect())
    }
}

/// Names what a plan is about: what is there afterwards, or else what it removes.
fn subjects_of(plan: &Plan) -> Vec<(String, String)> {
    let mut subjects = plan.subjects();
    for operation in &plan.operations {
        let name = format!("stack/{}", operation.stack);
        if !subjects.iter().any(|(subject, _)| *subject == name) {
            // nothing of it remains: the digest of no services
            let nothing = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
            subjects.push((name, nothing.into()));
        }
    }
    // the device shows the first ones: those that something happens to
    let touched = |name: &str| {
        let changes = plan.operations.iter();
        changes
            .map(|it| it.stack.as_str())
            .any(|stack| name.ends_with(&format!("/{stack}")))
    };
    subjects.sort_by_key(|(name, _)| !touched(name));
    subjects
}

/// Why a plan was not carried out.
enum Failed {
    /// Nothing was done.
    Before(Report),
    /// It stopped.
    Apply(ApplyError),
}

impl From<Report> for Failed {
    fn from(report: Report) -> Self {
        Self::Before(report)
    }
}

impl From<ApplyError> for Failed {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

impl From<Failed> for Report {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Before(report) => report,
            Failed::Apply(error) => error.into(),
        }
    }
}

/// Tells whether an engine said no: an engine that is lost cannot be led back either.
fn is_refusal(failed: &Failed) -> bool {
    match failed {
        Failed::Apply(ApplyError::Engine { source, .. }) => source.status().is_some(),
        Failed::Apply(ApplyError::Helper { .. }) => true,
        _ => false,
    }
}
