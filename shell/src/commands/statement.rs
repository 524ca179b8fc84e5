//! `statement`: what was approved and signed for a cluster, and what somebody else brings.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bcm_keystore::statement::{Anchors, Entry, Ledger, Signed, Statement, StatementError};
use clap::Subcommand;
use serde::Serialize;

use crate::app::App;
use crate::files::{self, Overwrite};
use crate::report::{Kind, Report};
use crate::ui;

/// What to do with statements.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the statements of a cluster, oldest first
    #[command(after_help = "Example:\n  bcm statement list --json")]
    List {
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Show what a statement says
    #[command(after_help = "Examples:
  bcm statement show 42
  bcm statement show plan.json          whoever signed it")]
    Show {
        /// Serial, or a file
        #[arg(value_name = "SERIAL|FILE")]
        what: String,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Check who approved and signed: one statement, or all, and that none is missing
    #[command(after_help = "Examples:
  bcm statement verify                  the whole chain of the cluster
  bcm statement verify plan.json        with plan.json.asc and plan.json.approval beside it")]
    Verify {
        /// Serial, or a file
        #[arg(value_name = "SERIAL|FILE")]
        what: Option<String>,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Write statements and their signatures into a folder, for gpg
    #[command(after_help = "Examples:
  bcm statement export 42 plans
  gpg --verify plans/000042-deployment.json.asc plans/000042-deployment.json")]
    Export {
        /// Serial, or `all`
        #[arg(value_name = "SERIAL")]
        what: String,
        /// The folder, made where it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Replace files that are there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        cluster: Cluster,
    },
}

/// Whose statements.
#[derive(clap::Args, Debug)]
pub struct Cluster {
    /// Id of the cluster [default: the only one]
    #[arg(long = "cluster", value_name = "ID")]
    id: Option<String>,
}

impl Cluster {
    fn open<'a>(&self, store: &'a bcm_keystore::WalletStore) -> Result<Ledger<'a>, Report> {
        if let Some(id) = &self.id {
            return Ok(Ledger::open(store, id)?);
        }
        match Ledger::clusters(store)?.as_slice() {
            [only] => Ok(Ledger::open(store, only)?),
            [] => Err(Report::text(Kind::Failed, "there are no statements yet")),
            several => Err(Report::usage(format!(
                "there are statements of {} clusters",
                several.len()
            ))
            .with_hint(format!("name one: `--cluster {}`", several[0]))),
        }
    }
}

/// A statement as it is printed.
#[derive(Debug, Serialize)]
struct View {
    serial: u64,
    kind: String,
    chain: Option<String>,
    cluster: String,
    cluster_name: String,
    issued: String,
    expires: Option<String>,
    digest: String,
    previous: Option<String>,
    text: String,
    subjects: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<serde_json::Value>,
}

impl View {
    fn new(statement: &Statement) -> Self {
        let head = statement.head();
        let subjects = statement.subjects().iter();
        Self {
            serial: head.serial,
            kind: statement.kind().to_string(),
            chain: head.chain.map(|chain| chain.to_string()),
            cluster: head.cluster.clone(),
            cluster_name: head.cluster_name.clone(),
            issued: time(head.issued_at),
            expires: head.expires_at.map(time),
            digest: statement.digest().to_string(),
            previous: head.previous.map(|digest| digest.to_string()),
            text: statement.visual(),
            subjects: subjects.map(|subject| subject.name.clone()).collect(),
            statement: None,
        }
    }

    /// Adds all that it says.
    fn whole(statement: &Statement) -> Self {
        Self {
            statement: serde_json::from_slice(statement.canonical()).ok(),
            ..Self::new(statement)
        }
    }

    fn row(self) -> [String; 5] {
        [
            format!("#{}", self.serial),
            self.kind,
            self.chain.unwrap_or_else(|| "-".into()),
            self.issued,
            self.subjects.join(" "),
        ]
    }

    fn page(&self) -> String {
        let none = || "-".to_owned();
        let statement = self.statement.as_ref();
        let body = statement
            .map(|value| format!("{value:#}"))
            .unwrap_or_default();
        let rows = [
            ("device", self.text.clone()),
            ("sha256", self.digest.clone()),
            ("previous", self.previous.clone().unwrap_or_else(none)),
            (
                "cluster",
                format!("{} ({})", self.cluster_name, self.cluster),
            ),
            ("issued", self.issued.clone()),
            ("expires", self.expires.clone().unwrap_or_else(none)),
        ];
        let rows = rows.map(|(name, value)| [name.to_owned(), value]);
        format!(
            "{}\n\n{}",
            ui::table(["", ""], rows),
            ui::printable_lines(&body)
        )
    }
}

fn time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).ok();
    let stamp = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map_or_else(|| "unknown".into(), |stamp| stamp.to_string())
}

/// A statement that was named by the person.
enum Named {
    Serial(u64),
    File(PathBuf),
}

impl Named {
    fn read(what: &str) -> Self {
        match what.trim_start_matches('#').parse() {
            Ok(serial) => Self::Serial(serial),
            Err(_) => Self::File(what.into()),
        }
    }
}

fn entry<'a>(ledger: &'a Ledger<'_>, serial: u64) -> Result<&'a Entry, Report> {
    ledger.get(serial).ok_or_else(|| {
        let last = ledger.entries().len();
        Report::text(Kind::Failed, format!("there is no statement #{serial}"))
            .with_hint(format!("they go up to #{last}: `statement list`"))
    })
}

impl Command {
    /// Tells whether it needs what is sealed.
    pub fn needs_unlock(&self) -> bool {
        !matches!(self, Self::Show { what, .. } if matches!(Named::read(what), Named::File(_)))
    }

    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::List { cluster } => list(app, &cluster, json),
            Self::Show { what, cluster } => show(app, &what, &cluster, json),
            Self::Verify { what, cluster } => verify(app, what.as_deref(), &cluster, json),
            Self::Export {
                what,
                folder,
                force,
                cluster,
            } => export(app, &what, &folder, Overwrite::when(force), &cluster),
        }
    }
}

/// Runs `work` with the ledger of the cluster.
fn with<T>(
    app: &mut App,
    cluster: &Cluster,
    work: impl FnOnce(&Ledger<'_>) -> Result<T, Report>,
) -> Result<T, Report> {
    let keeper = app.keeper.clone();
    app.runtime().block_on(keeper.with_open(async |open| {
        let store = open.session.store().clone();
        work(&cluster.open(&store)?)
    }))
}

fn list(app: &mut App, cluster: &Cluster, json: bool) -> Result<(), Report> {
    let views = with(app, cluster, |ledger| {
        let statements = ledger.entries().iter().map(|entry| &entry.statement);
        Ok(statements.map(View::new).collect::<Vec<_>>())
    })?;
    if json {
        return ui::json(&views);
    }
    let header = ["", "kind", "chain", "issued", "about"];
    ui::out(&ui::table(header, views.into_iter().map(View::row)))
}

fn show(app: &mut App, what: &str, cluster: &Cluster, json: bool) -> Result<(), Report> {
    let view = match Named::read(what) {
        Named::Serial(serial) => with(app, cluster, |ledger| {
            Ok(View::whole(&entry(ledger, serial)?.statement))
        })?,
        Named::File(path) => View::whole(&Statement::parse(&read_file(&path)?)?),
    };
    match json {
        true => ui::json(&view),
        false => ui::out(&view.page()),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Report> {
    let most = bcm_keystore::statement::MAX_STATEMENT as u64;
    Ok(files::read_small(path, most)?)
}

/// What was verified, as it is printed.
#[derive(Serialize)]
struct Verified {
    statements: usize,
    signer: String,
}

fn verify(app: &mut App, what: Option<&str>, cluster: &Cluster, json: bool) -> Result<(), Report> {
    let now = SystemTime::now();
    let (verified, said) = with(app, cluster, |ledger| {
        let anchors = ledger.anchors();
        let anchors = anchors
            .ok_or_else(|| Report::text(Kind::Failed, "no keys are pinned for the cluster"))?;
        let statement = match what.map(Named::read) {
            None => None,
            Some(Named::Serial(serial)) => {
                Some(entry(ledger, serial)?.signed.examine(anchors, now)?)
            }
            Some(Named::File(path)) => Some(Signed::read(&path)?.examine(anchors, now)?),
        };
        let verified = |statements| Verified {
            statements,
            signer: anchors.cert.fingerprint().to_hex(),
        };
        if let Some(statement) = statement {
            return Ok((verified(1), format!("good: {}", statement.visual())));
        }
        all(ledger, anchors, now)?;
        let number = ledger.entries().len();
        Ok((
            verified(number),
            format!("{number} statements are good, and none is missing"),
        ))
    })?;
    if json {
        return ui::json(&verified);
    }
    ui::say(&said);
    Ok(())
}

fn all(ledger: &Ledger<'_>, anchors: &Anchors, now: SystemTime) -> Result<(), Report> {
    let verified = ledger.verify(anchors, now);
    verified.map_err(|(serial, error)| Report::from(error).at(format!("#{serial}")))
}

fn export(
    app: &mut App,
    what: &str,
    folder: &Path,
    overwrite: Overwrite,
    cluster: &Cluster,
) -> Result<(), Report> {
    let named = Named::read(what);
    if matches!(&named, Named::File(_)) && what != "all" {
        return Err(
            Report::usage(format!("`{}` is no serial", ui::printable(what)))
                .with_hint("give a number of `statement list`, or `all`"),
        );
    }
    let failed = |source| StatementError::Io {
        path: folder.to_owned(),
        source,
    };
    let written = with(app, cluster, |ledger| {
        let entries = match named {
            Named::Serial(serial) => std::slice::from_ref(entry(ledger, serial)?),
            Named::File(_) => ledger.entries(),
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let paths: Vec<_> = entries
            .iter()
            .map(|entry| folder.join(entry.file_name()))
            .collect();
        for path in &paths {
            files::check_free(path, overwrite)?;
        }
        for (entry, path) in entries.iter().zip(&paths) {
            entry.signed.write(path)?;
        }
        Ok(paths)
    })?;
    for path in written {
        ui::say(&format!("wrote {}", files::name_of(&path)));
    }
    Ok(())
}
