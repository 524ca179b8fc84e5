//! `git`: the real git, with signatures that are made on the device.
//!
//! git asks another program for OpenPGP signatures, which is bcm again under the name `bcm-gpg`
//! ([`gpg`]), and `ssh-keygen` for those of SSH keys, which asks the agent.

pub mod gpg;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bcm_keystore::pgp::PgpStore;
use bcm_keystore::ssh::{SshKey, SshStore};
use bcm_keystore::store::create_private_dir;
use clap::{Args, Subcommand, ValueEnum};
use tokio::process::Command as Process;

use super::ssh::{ensure_agent, run_child};
use crate::app::App;
use crate::env;
use crate::report::{Kind, Report};
use crate::session::{Keeper, Open};
use crate::ui;

/// The name under which git runs bcm in place of GnuPG.
pub const GPG: &str = "bcm-gpg";

/// What to do with git.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run `git commit` and sign the commit on the device
    #[command(after_help = "Examples:
  bcm git commit -m 'Pin the image'
  bcm git commit --format ssh --key alice@node-1 --amend")]
    Commit(Run),
    /// Run `git tag` and sign the tag on the device
    #[command(after_help = "Example:\n  bcm git tag -m 'First release' v1.0.0")]
    Tag(Run),
    /// Run `git merge` and sign the merge on the device
    #[command(after_help = "Example:\n  bcm git merge --no-ff --verify-signatures topic")]
    Merge(Run),
    /// Have plain git sign through an open session of bcm
    #[command(after_help = "Examples:
  bcm git config                     in this repository
  bcm git config --global --format ssh --key alice@node-1
  bcm git config --unset             as it was")]
    Config(Config),
}

/// Which key signs, and how.
#[derive(Args, Clone, Debug)]
pub struct Signer {
    /// openpgp or ssh [default: openpgp]
    #[arg(long, hide_possible_values = true)]
    format: Option<Format>,
    /// A certificate of `pgp list`, or a key of `ssh list` [default: the default certificate, the
    /// only SSH key]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// How git signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As GnuPG does
    Openpgp,
    /// As `ssh-keygen -Y sign` does
    Ssh,
}

/// What git is run with.
#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    signer: Signer,
    /// Passed to git as they are
    #[arg(
        value_name = "ARGUMENTS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    arguments: Vec<OsString>,
}

/// Where git's own configuration is changed.
#[derive(Args, Debug)]
pub struct Config {
    #[command(flatten)]
    signer: Signer,
    /// For every repository of this user, and not this one alone
    #[arg(long)]
    global: bool,
    /// Take away what `git config` of bcm has set
    #[arg(long, conflicts_with_all = ["format", "key"])]
    unset: bool,
}

/// What `config` sets, and `commit`, `tag` and `merge` set for one run.
const NAMES: [&str; 6] = [
    "gpg.format",
    "gpg.program",
    "gpg.ssh.program",
    "user.signingKey",
    "commit.gpgSign",
    "tag.gpgSign",
];

impl Command {
    /// Runs it and returns the exit code of git.
    pub fn run(self, app: &mut App, json: bool) -> Result<u8, Report> {
        match self {
            Self::Commit(run) => run.git(app, "commit"),
            Self::Tag(run) => run.git(app, "tag"),
            Self::Merge(run) => run.git(app, "merge"),
            Self::Config(config) => config.run(app, json).map(|()| 0),
        }
    }

    /// Tells whether a key is needed.
    pub fn needs_unlock(&self) -> bool {
        !matches!(self, Self::Config(Config { unset: true, .. }))
    }
}

impl Run {
    fn git(self, app: &mut App, verb: &str) -> Result<u8, Report> {
        let shim = shim(&app.paths.home.data)?;
        let keeper = app.keeper.clone();
        app.runtime().block_on(keeper.with_open(async |open| {
            let mut git = Process::new("git");
            for (name, value) in self.signer.settings(open, &shim)? {
                let mut pair = OsString::from(name);
                pair.push("=");
                pair.push(value);
                git.arg("-c").arg(pair);
            }
            git.arg(verb).args(&self.arguments);
            lend(&keeper, open, &mut git)?;
            run_child(&keeper, "git", git).await
        }))
    }
}

/// Lets git and what it runs reach the session and the SSH keys.
fn lend(keeper: &Keeper, open: &mut Open, git: &mut Process) -> Result<(), Report> {
    git.env(env::BCM_SOCKET, keeper.offer_socket(open)?);
    git.env("SSH_AUTH_SOCK", ensure_agent(keeper, open)?.socket());
    Ok(())
}

impl Signer {
    /// Returns names and values of git's configuration, for those of [`NAMES`] that matter.
    fn settings(&self, open: &Open, shim: &Path) -> Result<Vec<(&'static str, OsString)>, Report> {
        let store = open.session.store();
        let mut settings: Vec<(_, OsString)> = match self.format.unwrap_or(Format::Openpgp) {
            Format::Openpgp => {
                let certs = PgpStore::open(store)?;
                let fingerprint = certs.signer(self.key.as_deref())?.fingerprint();
                vec![
                    ("gpg.format", "openpgp".into()),
                    ("gpg.program", shim.into()),
                    ("user.signingKey", fingerprint.to_hex().into()),
                ]
            }
            Format::Ssh => {
                let keys = SshStore::open(store)?;
                let key = ssh_key(&keys, self.key.as_deref())?;
                vec![
                    ("gpg.format", "ssh".into()),
                    ("gpg.ssh.program", "ssh-keygen".into()),
                    ("user.signingKey", literal(key).into()),
                ]
            }
        };
        settings.push(("commit.gpgSign", "true".into()));
        settings.push(("tag.gpgSign", "true".into()));
        Ok(settings)
    }
}

fn ssh_key<'a>(keys: &'a SshStore<'_>, name: Option<&str>) -> Result<&'a SshKey, Report> {
    match (name, keys.keys()) {
        (Some(name), _) => Ok(keys.find(name)?),
        (None, [key]) => Ok(key),
        (None, []) => Err(Report::text(Kind::Failed, "this wallet has no SSH key")
            .with_hint("make one: `ssh newkey git@HOST`")),
        (None, _) => Err(
            Report::usage("this wallet has several SSH keys, and none is named")
                .with_hint("name one of `ssh list` with `--key`"),
        ),
    }
}

/// A public key as git takes it in place of a file: `user.signingKey` in `git-config(1)`.
fn literal(key: &SshKey) -> String {
    let line = key.to_string();
    let words: Vec<_> = line.split(' ').take(2).collect();
    format!("key::{}", words.join(" "))
}

impl Config {
    fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let scope = if self.global { "--global" } else { "--local" };
        if self.unset {
            return app.runtime().block_on(unset(scope));
        }
        let shim = shim(&app.paths.home.data)?;
        let keeper = app.keeper.clone();
        let settings = app.runtime().block_on(keeper.with_open(async |open| {
            let settings = self.signer.settings(open, &shim)?;
            for (name, value) in &settings {
                let set = [OsStr::new(scope), OsStr::new(name), value];
                git_config(&set, &[]).await?;
            }
            Ok(settings)
        }))?;
        if json {
            let settings = settings.iter().map(|(name, value)| {
                let value = serde_json::Value::from(value.to_string_lossy());
                ((*name).to_owned(), value)
            });
            return ui::json(&settings.collect::<serde_json::Map<_, _>>());
        }
        let reach = match self.signer.format {
            Some(Format::Ssh) => "git then asks the agent: start it with `ssh agent`",
            _ => "git then asks the open session: the prompt, or `bcm serve`",
        };
        ui::say(&format!(
            "git signs commits and tags on the device from now on; {reach}"
        ));
        Ok(())
    }
}

/// Takes away what bcm has set, and nothing else: a key or program of somebody else's stays.
async fn unset(scope: &str) -> Result<(), Report> {
    let is_ours = |name: &str, value: &str| match name {
        "gpg.program" => Path::new(value).file_name() == Some(OsStr::new(GPG)),
        _ => true,
    };
    let scope = OsStr::new(scope);
    let mut removed = 0;
    for name in NAMES {
        // 1: it is not set
        let found = git_config(&[scope, OsStr::new("--get"), OsStr::new(name)], &[1]).await?;
        if let Some(value) = found
            && is_ours(name, value.trim_end())
        {
            git_config(&[scope, OsStr::new("--unset"), OsStr::new(name)], &[]).await?;
            removed += 1;
        }
    }
    ui::say(match removed {
        0 => "git was not set up to sign on the device",
        _ => "git signs as it did before",
    });
    Ok(())
}

/// Runs `git config`; `None` when it ends with one of `expected`.
async fn git_config(arguments: &[&OsStr], expected: &[i32]) -> Result<Option<String>, Report> {
    let failed = |why: String| {
        Report::text(Kind::Failed, format!("git: {why}"))
            .with_hint("run this inside a repository, or add `--global`")
    };
    let output = Process::new("git")
        .arg("config")
        .args(arguments)
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    match output.status.code() {
        Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Some(code) if expected.contains(&code) => Ok(None),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().trim_start_matches("fatal: ");
            Err(failed(said.to_owned()))
        }
    }
}

/// Makes the program that git runs: a link to this one under another name, where it stays.
fn shim(data: &Path) -> Result<PathBuf, Report> {
    let make = || -> io::Result<PathBuf> {
        let folder = data.join("bin");
        create_private_dir(&folder)?;
        let link = folder.join(GPG);
        let program = env::this_program()?;
        if std::fs::read_link(&link).is_ok_and(|target| target == program) {
            return Ok(link);
        }
        let fresh = folder.join(format!(".{GPG}-{}", std::process::id()));
        symlink(program, &fresh)?;
        std::fs::rename(&fresh, &link)?;
        Ok(link)
    };
    make().map_err(|error| {
        let data = data.display();
        Report::text(
            Kind::Failed,
            format!("cannot make `{data}/bin/{GPG}`: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_link_leads_to_this_program_and_is_mended() {
        let data = tempfile::tempdir().unwrap();
        let link = shim(data.path()).unwrap();
        assert_eq!(
            std::fs::read_link(&link).unwrap(),
            env::this_program().unwrap()
        );
        let mode = std::fs::metadata(data.path().join("bin")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o700);
        std::fs::remove_file(&link).unwrap();
        symlink("/gone", &link).unwrap();
        assert_eq!(shim(data.path()).unwrap(), link);
        assert_eq!(
            std::fs::read_link(&link).unwrap(),
            env::this_program().unwrap()
        );
    }
}
