//! Doing what was signed, and nothing else.

use std::fmt;

use bcm_keystore::statement::{StatementKind, VerifiedStatement};

use super::error::PrepareError;
use super::login::TryLogin;
use super::observe::observe;
use super::operation::Operation;
use super::plan::plan;
use super::preparation::Preparation;
use super::root::Root;
use super::wanted::Wanted;
use crate::host_key::HostKeyFingerprint;
use crate::name::HostName;
use crate::remote::Remote;

/// Where a preparation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Which operation begins, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// What it does.
    pub operation: &'a Operation,
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            of,
            operation,
        } = self;
        write!(f, "{number}/{of} {}", operation.why())
    }
}

/// Makes the operations of a verified statement on the host that it names, in order, and no others.
///
/// It stops at the first that fails. What was made stays: the next plan goes on from there. The way in that is
/// used now is closed by the statement only after the new one was tried, and opened again when the new one
/// turns out not to work.
///
/// # Errors
///
/// Any [`PrepareError`]; [`PrepareError::note`] says what was done.
pub async fn apply(
    remote: &Remote,
    key: &HostKeyFingerprint,
    statement: &VerifiedStatement,
    login: &impl TryLogin,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<usize, PrepareError> {
    let statement = statement.of_kind(StatementKind::Preparation)?;
    let preparation: Preparation = statement.body_as()?;
    preparation.expect(remote.name(), key)?;
    let operations = &preparation.operations;
    let of = operations.len();
    for (index, operation) in operations.iter().enumerate() {
        let number = index + 1;
        progress(Progress {
            number,
            of,
            operation,
        });
        let step = Step {
            root: Root::new(remote),
            operation,
            number,
            of,
        };
        step.make(login).await?;
    }
    Ok(of)
}

/// Fails unless nothing is missing on a host.
///
/// # Errors
///
/// [`PrepareError::Remains`], and what [`observe`] and [`plan`] return.
pub async fn check(remote: &Remote, wanted: &Wanted) -> Result<(), PrepareError> {
    let facts = observe(remote).await?;
    let plan = plan(&facts, wanted)?;
    match plan.operations.first() {
        None => Ok(()),
        Some(first) => Err(PrepareError::Remains(first.to_string())),
    }
}

impl Preparation {
    /// Fails unless it is about this host, by name and by key.
    fn expect(&self, name: &HostName, key: &HostKeyFingerprint) -> Result<(), PrepareError> {
        let expected = (name.as_str(), key.to_string());
        match (&*self.host, self.host_key.clone()) == expected {
            true => Ok(()),
            false => Err(PrepareError::OtherHost {
                expected: format!("`{name}` with the key {key}"),
                found: format!("`{}` with the key {}", self.host, self.host_key),
            }),
        }
    }
}

/// An operation that is made.
struct Step<'a> {
    root: Root<'a>,
    operation: &'a Operation,
    number: usize,
    of: usize,
}

impl Step<'_> {
    async fn make(&self, login: &impl TryLogin) -> Result<(), PrepareError> {
        match self.operation {
            Operation::File {
                path,
                owner,
                mode,
                content,
                sha256,
                replaces,
                check,
                ..
            } => {
                // what is written is what was signed
                if content.digest() != *sha256 {
                    return Err(self.failed("the content has another digest".into()));
                }
                let old = replaces.map_or("-".to_owned(), |digest| digest.to_string());
                let sum = sha256.to_string();
                let mut words = vec!["sh", "-c", WRITE, "sh", path, owner, mode, &sum, &old];
                words.extend(check.iter().map(String::as_str));
                self.run(&words, content.bytes()).await
            }
            Operation::Remove { path, .. } => self.run(&["rm", "-f", "--", path], b"").await,
            Operation::Run { words, .. } => self.run(words, b"").await,
            Operation::Login {
                user, otherwise, ..
            } => match login.try_login(user).await {
                Ok(()) => Ok(()),
                Err(said) => Err(self.back_out(said, otherwise).await),
            },
        }
    }

    async fn run<W: AsRef<str>>(&self, words: &[W], stdin: &[u8]) -> Result<(), PrepareError> {
        match self.root.run(words, stdin).await {
            Ok(said) if said.success => Ok(()),
            Ok(said) => Err(self.failed(said.said())),
            Err(PrepareError::Remote(source)) => Err(PrepareError::Lost {
                number: self.number,
                of: self.of,
                why: self.operation.why().to_owned(),
                source: Box::new(source),
            }),
            Err(other) => Err(self.failed(other.to_string())),
        }
    }

    fn failed(&self, said: String) -> PrepareError {
        PrepareError::Failed {
            number: self.number,
            of: self.of,
            why: self.operation.why().to_owned(),
            said,
        }
    }

    /// Opens the old way again, over the connection that came by it.
    async fn back_out(&self, said: String, otherwise: &[Vec<String>]) -> PrepareError {
        let mut stuck = None;
        for words in otherwise {
            match self.root.run(words, b"").await {
                Ok(done) if done.success => {}
                Ok(done) => stuck = Some(done.said()),
                Err(error) => stuck = Some(error.to_string()),
            }
        }
        PrepareError::Login {
            said,
            number: self.number,
            of: self.of,
            stuck,
        }
    }
}

/// Writes stdin to a file: beside its place, to the disk, then over it; and takes that back when the rest of
/// the words is a command that does not accept it.
const WRITE: &str = r#"set -eu
path=$1 owner=$2 mode=$3 sum=$4 old=$5
shift 5
folder=${path%/*}
new=$folder/.${path##*/}.bcm-new
keep=$folder/.${path##*/}.bcm-old
no() { rm -f "$new"; echo "$*" >&2; exit 1; }
umask 077
rm -f "$new" "$keep"
cat >"$new" || no "cannot write $new"
[ "$(sha256sum <"$new" | cut -c1-64)" = "$sum" ] || no "other bytes arrived than were sent"
if [ -L "$path" ] || { [ -e "$path" ] && [ ! -f "$path" ]; }; then no "$path is no plain file"; fi
found=-
if [ -f "$path" ]; then found=$(sha256sum <"$path" | cut -c1-64); fi
[ "$found" = "$old" ] || no "$path changed since it was looked at"
chown "$owner" "$new" || no "cannot give $new to $owner"
chmod "$mode" "$new"
sync "$new"
if [ $# -gt 0 ] && [ -f "$path" ]; then cp -p "$path" "$keep"; fi
mv -f "$new" "$path"
if [ $# -gt 0 ] && ! "$@" >&2; then
    if [ -f "$keep" ]; then mv -f "$keep" "$path"; else rm -f "$path"; fi
    sync "$folder"
    exit 1
fi
rm -f "$keep"
sync "$folder"
"#;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use bcm_keystore::statement::Sha256Digest;

    use super::*;

    /// Runs the script that writes, as it runs on a host.
    fn write(path: &Path, content: &str, old: Option<&str>, check: &[&str]) -> Output {
        let sum = Sha256Digest::of(content.as_bytes()).to_string();
        let old = old.map_or("-".to_owned(), |old| {
            Sha256Digest::of(old.as_bytes()).to_string()
        });
        let id = |flag: &str| {
            let output = Command::new("id").arg(flag).output().unwrap();
            String::from_utf8(output.stdout)
                .unwrap()
                .trim_end()
                .to_owned()
        };
        let mut child = Command::new("sh")
            .args(["-c", WRITE, "sh"])
            .arg(path)
            .args([&format!("{}:{}", id("-u"), id("-g")), "0640", &sum, &old])
            .args(check)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(content.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_whole_or_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.conf");
        assert!(write(&path, "one", None, &[]).status.success());
        // what lies there is not what the plan saw
        let output = write(&path, "two", None, &[]);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("changed since"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        // a check that says no puts it back
        assert!(
            !write(&path, "two", Some("one"), &["false"])
                .status
                .success()
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        let file = path.to_str().unwrap();
        let sees_it = ["grep", "-q", "two", file];
        assert!(write(&path, "two", Some("one"), &sees_it).status.success());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        let other = dir.path().join("b.conf");
        assert!(!write(&other, "x", None, &["false"]).status.success());
        assert_eq!(names(dir.path()), ["a.conf"]);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aim) = (dir.path().join("link"), dir.path().join("aim"));
        std::fs::write(&aim, "aim").unwrap();
        std::os::unix::fs::symlink(&aim, &path).unwrap();
        assert!(!write(&path, "two", Some("aim"), &[]).status.success());
        assert_eq!(std::fs::read_to_string(&aim).unwrap(), "aim");
        assert_eq!(names(dir.path()), ["aim", "link"]);
    }
}
