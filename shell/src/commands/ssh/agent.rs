//! `ssh agent`: the keys of the wallet on a socket, for this shell's own `ssh` and for others.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};

use bcm_keystore::DeviceError;
use bcm_keystore::ssh::{Agent, AgentEvent, AgentHandle, Certified, SshError, SshStore};
use tokio::process::Command;

use crate::app::App;
use crate::report::{Kind, Report};
use crate::session::{Activity, Keeper, Open};
use crate::ui::{self, Style, lock};

/// The agent of an open session.
#[derive(Debug)]
pub struct RunningAgent {
    handle: AgentHandle,
    failures: Arc<Failures>,
}

/// What the device did not sign. Whoever waits for it takes it, or it is told at once.
#[derive(Debug, Default)]
struct Failures(Mutex<Option<Vec<SshError>>>);

impl RunningAgent {
    /// Serves the keys of the wallet on a socket in `folder`.
    pub fn start(
        folder: &Path,
        store: &SshStore<'_>,
        device: &bcm_keystore::Device,
        activity: &Arc<Activity>,
    ) -> Result<Self, Report> {
        let failures = Arc::<Failures>::default();
        let (told, activity) = (failures.clone(), activity.clone());
        let events = move |event| {
            activity.touch();
            tell(event, &told);
        };
        Ok(Self {
            handle: Agent::start(
                folder,
                store.keys(),
                store.hosts(),
                Arc::new(device.clone()),
                events,
            )?,
            failures,
        })
    }

    /// Returns the path for `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> &Path {
        self.handle.socket()
    }

    /// Offers what is in `store` from now on.
    pub fn refresh(&self, store: &SshStore<'_>) {
        self.handle.offer(store.keys(), store.hosts());
    }

    /// Offers a certificate from now on.
    pub fn certify(&self, certified: Certified) {
        self.handle.certify(certified);
    }

    /// Returns the certificates that are offered.
    pub fn certificates(&self) -> Vec<Arc<Certified>> {
        self.handle.certificates()
    }

    /// Drops certificates, and wipes their keys; returns how many.
    pub fn drop_certificates(&self, drop: impl Fn(&Certified) -> bool) -> usize {
        self.handle.drop_certificates(drop)
    }

    /// Keeps from the person what the agent does, until the guard is dropped: whoever waits for a
    /// login tells how it ended.
    pub fn hush(&self) -> Hush {
        *lock(&self.failures.0) = Some(Vec::new());
        Hush(self.failures.clone())
    }
}

/// An agent that says nothing.
#[derive(Debug)]
pub struct Hush(Arc<Failures>);

impl Hush {
    /// Returns the first failure since.
    pub fn failure(self) -> Option<SshError> {
        lock(&self.0.0).take()?.into_iter().next()
    }
}

impl Drop for Hush {
    fn drop(&mut self) {
        lock(&self.0.0).take();
    }
}

/// Tells the person what the agent did.
fn tell(event: AgentEvent, failures: &Failures) {
    match event {
        // who logs in from here sees that for themselves
        AgentEvent::Signed { .. }
        | AgentEvent::SignedBySession { .. }
        | AgentEvent::Abandoned { .. }
            if lock(&failures.0).is_some() => {}
        AgentEvent::SignedBySession { purpose } => {
            note(&format!("done by the session: {}", purpose.summary()));
        }
        AgentEvent::Signed { purpose, .. } => note(&format!("done: {}", purpose.summary())),
        AgentEvent::Failed { purpose, error, .. } => {
            if let Some(held) = lock(&failures.0).as_mut() {
                held.push(error);
                return;
            }
            // whoever keeps the session tells of a lost device, once
            if matches!(error, SshError::Device(DeviceError::Lost { .. })) {
                note(&format!("not done: {}", purpose.summary()));
                return;
            }
            Report::from(error)
                .at(format!("agent: {}", purpose.summary()))
                .print();
        }
        AgentEvent::Abandoned { purpose, .. } => {
            note(&format!("the client gave up: {}", purpose.summary()));
        }
        AgentEvent::Refused(error) => Report::new(Kind::Failed, error).at("agent").print(),
        AgentEvent::Malformed => note("a client sent what is no agent message and was cut off"),
        AgentEvent::Stranger { uid } => {
            note(&format!(
                "a process of user {uid} connected and was cut off"
            ));
        }
        _ => {}
    }
}

fn note(text: &str) {
    let text = ui::printable(text);
    ui::say(&format!(
        "{} {text}",
        ui::paint_stderr(Style::Dim, "agent:")
    ));
}

/// Starts the agent of the session, unless it runs.
pub fn ensure<'a>(keeper: &Keeper, open: &'a mut Open) -> Result<&'a RunningAgent, Report> {
    if open.agent.is_none() {
        let folder = keeper.runtime_folder()?;
        let store = SshStore::open(open.session.store())?;
        let device = open.session.device();
        open.agent = Some(RunningAgent::start(
            &folder,
            &store,
            device,
            keeper.activity(),
        )?);
    }
    Ok(open.agent.as_ref().expect("it was started above"))
}

/// Runs `command` with the agent; without one prints where it is, and waits unless at a prompt.
pub fn run(app: &mut App, command: &[String], json: bool) -> Result<u8, Report> {
    let keeper = app.keeper.clone();
    if let Some((program, arguments)) = command.split_first() {
        return app.runtime().block_on(keeper.with_open(async |open| {
            let socket = ensure(&keeper, open)?.socket().to_owned();
            let mut child = Command::new(program);
            child.args(arguments).env("SSH_AUTH_SOCK", socket);
            run_child(&keeper, program, child).await
        }));
    }
    let print = keeper.with_open(async |open| {
        let socket = ensure(&keeper, open)?.socket().to_owned();
        let quoted = socket.to_str().and_then(|path| shlex::try_quote(path).ok());
        let quoted = quoted.ok_or_else(|| {
            Report::text(Kind::Failed, "the path of the runtime folder is not UTF-8")
        })?;
        if json {
            return ui::json(&serde_json::json!({ "SSH_AUTH_SOCK": socket }));
        }
        ui::out(&format!("SSH_AUTH_SOCK={quoted}; export SSH_AUTH_SOCK;"))
    });
    app.runtime().block_on(print)?;
    if app.interactive {
        keeper.want_agent();
        return Ok(0);
    }
    if let Err(report) = app.offer_socket() {
        report.print();
    }
    app.runtime()
        .block_on(keeper.serve_until_signal())
        .map(|()| 0)
}

/// Runs a child that has the terminal until it ends.
pub async fn run_child(keeper: &Keeper, program: &str, mut child: Command) -> Result<u8, Report> {
    let _terminal = keeper.lend_terminal();
    let status = child.kill_on_drop(true).status().await;
    status
        .map(exit_code)
        .map_err(|error| Report::text(Kind::Failed, format!("cannot run `{program}`: {error}")))
}

/// The exit code as a shell would pass it on.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
