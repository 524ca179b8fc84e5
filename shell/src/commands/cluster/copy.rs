//! `cluster copy`: files of this machine onto many hosts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bcm_cluster::{Answer, Remote, RemoteError, remote};
use bcm_keystore::Hint as _;
use clap::Args;
use serde::Serialize;

use super::fan::{Fan, Tally};
use super::reach::with_cluster;
use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// What to copy, and where to.
#[derive(Args, Debug)]
pub struct Copy {
    #[command(flatten)]
    fan: Fan,
    /// Files of this machine
    #[arg(required = true, value_name = "LOCAL")]
    files: Vec<PathBuf>,
    /// The file on the host, or a folder there that ends with `/`
    #[arg(value_name = "HOSTPATH")]
    to: String,
}

/// A file that is copied.
#[derive(Debug)]
struct Piece {
    from: PathBuf,
    to: String,
    mode: u32,
    size: u64,
}

/// What came of a host, as it is printed.
#[derive(Serialize)]
struct Line {
    host: String,
    files: Vec<Copied>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// A file that is there now.
#[derive(Serialize)]
struct Copied {
    path: String,
    sha256: String,
}

impl Copy {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let pieces = self.pieces()?;
        with_cluster(app, async |cluster| {
            let mut tally = Tally::default();
            let mut lines = Vec::new();
            let pieces = &pieces;
            let work = |remote: Remote| async move {
                let mut copied = Vec::new();
                for piece in pieces {
                    copied.push(piece.copy(&remote).await?);
                }
                Ok(copied)
            };
            let hear = |Answer { host, outcome, .. }: Answer<Vec<Copied>>| {
                let name = host.to_string();
                match outcome {
                    Ok(files) => {
                        tally.good();
                        let count = files.len();
                        if !json {
                            let plural = if count == 1 { "" } else { "s" };
                            ui::say(&format!("{name}: {count} file{plural} copied"));
                        }
                        lines.push(Line {
                            host: name,
                            files,
                            error: None,
                            hint: None,
                        });
                    }
                    Err(error) => {
                        tally.error(&host, &error);
                        lines.push(Line {
                            host: name,
                            files: Vec::new(),
                            error: Some(ui::printable(&error.to_string())),
                            hint: error.hint().map(|hint| ui::printable(&hint)),
                        });
                        if !json {
                            Report::from(error).print();
                        }
                    }
                }
            };
            self.fan.each(cluster, work, hear).await?;
            if json {
                lines.sort_by(|a, b| a.host.cmp(&b.host));
                ui::json(&lines)?;
            }
            tally.conclude()
        })
    }

    /// Looks at every file before anything is sent.
    fn pieces(&self) -> Result<Vec<Piece>, Report> {
        let folder = self.to.ends_with('/');
        if self.files.len() > 1 && !folder {
            return Err(Report::usage(format!(
                "several files do not fit into `{}`",
                ui::printable(&self.to)
            ))
            .with_hint("a folder ends with `/`"));
        }
        let piece = |from: &PathBuf| {
            let failed = |why: &str| {
                let name = from.display();
                Report::text(Kind::Failed, format!("cannot copy `{name}`: {why}"))
            };
            let metadata = std::fs::metadata(from).map_err(|error| failed(&error.to_string()))?;
            if !metadata.is_file() {
                return Err(failed("it is not a file"));
            }
            let name = || from.file_name().and_then(std::ffi::OsStr::to_str);
            let to = match folder {
                false => self.to.clone(),
                true => format!(
                    "{}{}",
                    self.to,
                    name().ok_or_else(|| failed("its name is not UTF-8"))?
                ),
            };
            Ok(Piece {
                from: from.clone(),
                to,
                mode: metadata.permissions().mode(),
                size: metadata.len(),
            })
        };
        self.files.iter().map(piece).collect()
    }
}

impl Piece {
    async fn copy(&self, remote: &Remote) -> Result<Copied, RemoteError> {
        let reader = open(&self.from).await;
        let reader = reader.map_err(|source| RemoteError::Read {
            host: remote.name().clone(),
            source,
        })?;
        let size = self.size;
        let source = remote::Source { reader, size };
        let sha256 = remote.upload(source, &self.to, self.mode).await?;
        Ok(Copied {
            path: ui::printable(&self.to),
            sha256,
        })
    }
}

async fn open(path: &Path) -> std::io::Result<tokio::fs::File> {
    tokio::fs::File::open(path).await
}
