//! `password`: secrets in files that the device opens and passage reads.

mod access;
mod clipboard;
mod export;
mod recipients;
mod tree;

use std::io::IsTerminal;
use std::time::Duration;

use bcm_keystore::password::{
    Alphabet, DEFAULT_LENGTH, Entry, LENGTHS, PasswordError, PasswordName, generate,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui::{self, Asking, Question};

pub use access::store;
pub use clipboard::forget as forget_clipboard;

use access::Access;
use clipboard::Clipboard;

/// What to do with passwords.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new secret and store it
    #[command(after_help = "\
Examples:
  bcm password generate web/example.org --copy
  bcm password generate wifi --length 40 --no-symbols --show")]
    Generate {
        /// Its name
        #[arg(value_name = "NAME")]
        name: PasswordName,
        #[command(flatten)]
        made: Made,
        /// Replace one that is there, for good
        #[arg(long, short)]
        force: bool,
    },
    /// Store a secret that is typed, with no echo and twice, or read from a descriptor
    #[command(after_help = "\
Examples:
  bcm password insert web/example.org
  bcm password insert notes --fd 0 < notes.txt     everything: the first line is the secret")]
    Insert {
        /// Its name
        #[arg(value_name = "NAME")]
        name: PasswordName,
        /// Read it, to the end, from this open descriptor
        #[arg(long, value_name = "N")]
        fd: Option<u32>,
        /// Replace one that is there, for good
        #[arg(long, short)]
        force: bool,
    },
    /// Decrypt a secret and print it
    #[command(after_help = "Example:\n  bcm password show web/example.org")]
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: PasswordName,
        /// Also into a file or a pipe
        #[arg(long)]
        stdout: bool,
    },
    /// Decrypt a secret into the clipboard, for a while
    #[command(after_help = "Example:\n  bcm password copy web/example.org")]
    Copy {
        /// Its name
        #[arg(value_name = "NAME")]
        name: PasswordName,
        #[command(flatten)]
        copying: Copying,
    },
    /// List the names; nothing is decrypted
    #[command(
        visible_alias = "ls",
        after_help = "Example:\n  bcm password list web --json"
    )]
    List {
        /// Only what is in this folder
        #[arg(value_name = "FOLDER")]
        folder: Option<PasswordName>,
    },
    /// Replace a secret by a new one, and keep the old one as NAME.old
    #[command(after_help = "\
Example:
  bcm password rotate web/example.org --copy

What stands below the first line stays. Remove NAME.old when the new secret is in use.")]
    Rotate {
        /// Its name
        #[arg(value_name = "NAME")]
        name: PasswordName,
        #[command(flatten)]
        made: Made,
        /// Replace a NAME.old that is there, for good
        #[arg(long, short)]
        force: bool,
    },
    /// Remove a secret, for good
    #[command(
        visible_alias = "rm",
        after_help = "Example:\n  bcm password remove web/example.org"
    )]
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        name: PasswordName,
        /// Do not ask
        #[arg(long, short)]
        force: bool,
    },
    /// Print secrets in the clear, to move them elsewhere
    #[command(after_help = "Example:\n  bcm password export --all > passwords.json")]
    Export(export::Export),
    /// Say who else can read the passwords
    #[command(
        subcommand,
        after_help = "Example:\n  bcm password recipients add age1… --in shared"
    )]
    Recipients(recipients::Command),
}

/// How a secret is made, and what is done with it besides.
#[derive(Args, Clone, Copy, Debug)]
pub struct Made {
    /// Characters, from 4 to 1024
    #[arg(long, short = 'n', value_name = "N", default_value_t = DEFAULT_LENGTH, value_parser = length)]
    length: usize,
    /// Only letters and digits
    #[arg(long)]
    no_symbols: bool,
    /// Copy it to the clipboard, for a while
    #[arg(long, short)]
    copy: bool,
    /// Print it
    #[arg(long)]
    show: bool,
    /// Print it also into a file or a pipe
    #[arg(long)]
    stdout: bool,
}

/// How a secret is copied.
#[derive(Args, Clone, Copy, Debug)]
pub struct Copying {
    /// Clear the clipboard after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 45, value_parser = clap::value_parser!(u64).range(1..=600))]
    clear_after: u64,
    /// Through the terminal (OSC 52), where there is no other way: it sees the secret
    #[arg(long)]
    terminal: bool,
}

fn length(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(length) if LENGTHS.contains(&length) => Ok(length),
        _ => Err(format!(
            "expected a number from {} to {}",
            LENGTHS.start(),
            LENGTHS.end()
        )),
    }
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Generate { name, made, force } => make(app, &name, made, force, json),
            Self::Insert { name, fd, force } => insert(app, &name, fd, force),
            Self::Show { name, stdout } => show(app, &name, stdout, json),
            Self::Copy { name, copying } => copy(app, &name, copying),
            Self::List { folder } => list(app, folder.as_ref(), json),
            Self::Rotate { name, made, force } => rotate(app, &name, made, force, json),
            Self::Remove { name, force } => remove(app, &name, force),
            Self::Export(export) => export.run(app),
            Self::Recipients(command) => command.run(app, json),
        }
    }
}

impl Made {
    fn generate(self) -> Zeroizing<Vec<u8>> {
        let alphabet = if self.no_symbols {
            Alphabet::Alphanumeric
        } else {
            Alphabet::Symbols
        };
        generate(self.length, alphabet)
    }

    /// Finds out before anything is changed whether all that is asked for can be done.
    fn check(self) -> Result<Option<Clipboard>, Report> {
        if self.show || self.stdout {
            may_print(self.stdout)?;
        }
        self.copy.then(|| Clipboard::find(false)).transpose()
    }

    /// Does with a new secret what was asked for besides storing it.
    fn hand_out(
        self,
        app: &App,
        name: &PasswordName,
        entry: &Entry,
        clipboard: Option<Clipboard>,
        json: bool,
    ) -> Result<(), Report> {
        if self.show || self.stdout {
            print(name, entry.secret(), json)?;
        }
        match clipboard {
            Some(clipboard) => hold(app, clipboard, name, entry, Duration::from_secs(45)),
            None => Ok(()),
        }
    }
}

/// Refuses to print a secret where no person reads it, unless that is wanted.
fn may_print(stdout: bool) -> Result<(), Report> {
    if stdout || std::io::stdout().is_terminal() {
        return Ok(());
    }
    Err(
        Report::usage("stdout is no terminal: a secret would end up in a file or a pipe")
            .with_hint("`--stdout` prints it all the same"),
    )
}

/// Prints a secret: as it is into a pipe, and nothing that repaints it to a terminal.
fn print(name: &PasswordName, secret: &[u8], json: bool) -> Result<(), Report> {
    if json {
        #[derive(Serialize)]
        struct Shown<'a> {
            name: &'a str,
            content: &'a str,
        }
        let content = std::str::from_utf8(secret)
            .map_err(|_| Report::text(Kind::Failed, "the secret is not UTF-8: leave out --json"))?;
        let name = name.as_str();
        let json = serde_json::to_vec_pretty(&Shown { name, content });
        let mut json = Zeroizing::new(json.expect("two texts are JSON"));
        json.push(b'\n');
        return ui::out_secret(&json);
    }
    if !std::io::stdout().is_terminal() {
        return ui::out_secret(&with_line_feed(secret));
    }
    let text = Zeroizing::new(String::from_utf8_lossy(secret).into_owned());
    let mut shown = Zeroizing::new(String::with_capacity(text.len() + 1));
    for line in text.trim_end_matches('\n').split('\n') {
        shown.push_str(&Zeroizing::new(ui::printable(line)));
        shown.push('\n');
    }
    ui::out_secret(shown.as_bytes())
}

fn with_line_feed(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut lines = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
    lines.extend_from_slice(secret);
    if lines.last() != Some(&b'\n') {
        lines.push(b'\n');
    }
    lines
}

fn make(
    app: &mut App,
    name: &PasswordName,
    made: Made,
    force: bool,
    json: bool,
) -> Result<(), Report> {
    let clipboard = made.check()?;
    let entry = Entry::of_secret(&made.generate());
    Access::with(app, async |access| access.write(name, &entry, force).await)?;
    ui::say(&format!(
        "stored a new secret of {} characters as `{name}`",
        made.length
    ));
    made.hand_out(app, name, &entry, clipboard, json)
}

fn insert(app: &mut App, name: &PasswordName, fd: Option<u32>, force: bool) -> Result<(), Report> {
    if !force {
        let there = Access::with(app, async |access| Ok(access.store().contains(name)))?;
        if there {
            return Err(PasswordError::Exists(name.to_string()).into());
        }
    }
    let entry = match fd {
        Some(0) if app.interactive || app.scripted => {
            return Err(Report::usage("stdin holds the commands, and no secret")
                .with_hint("leave `--fd 0` out to type it, or give another descriptor"));
        }
        Some(number) => Entry::read(ui::descriptor(number).map_err(PasswordError::Input)?)?,
        None => typed(name)?,
    };
    Access::with(app, async |access| access.write(name, &entry, force).await)?;
    ui::say(&format!("stored `{name}`"));
    Ok(())
}

/// Asks for a secret twice.
fn typed(name: &PasswordName) -> Result<Entry, Report> {
    let asked = |words: &str| {
        let question = format!("{words} for {} (not shown): ", ui::printable(name.as_str()));
        let typed = ui::secret(&question);
        typed.map_err(|report| report.with_hint("or give it on a descriptor: `--fd N`"))
    };
    let first = asked("Password")?;
    if first.as_bytes().is_empty() {
        return Err(PasswordError::Empty.into());
    }
    let text = std::str::from_utf8(first.as_bytes());
    if text.is_ok_and(|text| text.chars().any(char::is_control)) {
        return Err(Report::text(
            Kind::Failed,
            "a control character was typed: more likely a slip than a choice",
        ));
    }
    if first.as_bytes() != asked("Again")?.as_bytes() {
        return Err(Report::text(
            Kind::Failed,
            "the two are not alike; nothing was stored",
        ));
    }
    Ok(Entry::of_secret(first.as_bytes()))
}

fn show(app: &mut App, name: &PasswordName, stdout: bool, json: bool) -> Result<(), Report> {
    may_print(stdout)?;
    let entry = Access::with(app, async |access| access.read(name).await)?;
    print(name, entry.content(), json)
}

fn copy(app: &mut App, name: &PasswordName, copying: Copying) -> Result<(), Report> {
    // before the person goes to the device in vain
    let clipboard = Clipboard::find(copying.terminal)?;
    let entry = Access::with(app, async |access| access.read(name).await)?;
    let time = Duration::from_secs(copying.clear_after);
    hold(app, clipboard, name, &entry, time)
}

/// Puts a secret into the clipboard and takes it out again: behind the prompt, else before this ends.
fn hold(
    app: &App,
    clipboard: Clipboard,
    name: &PasswordName,
    entry: &Entry,
    time: Duration,
) -> Result<(), Report> {
    let held = clipboard.hold(entry.secret())?;
    let seconds = time.as_secs();
    if app.interactive {
        ui::say(&format!(
            "copied `{name}`; the clipboard is cleared in {seconds} s, or when bcm ends"
        ));
        app.runtime().spawn(async move {
            tokio::time::sleep(time).await;
            let cleared = tokio::task::spawn_blocking(move || held.clear());
            if cleared.await.is_ok_and(|cleared| cleared) {
                ui::say("cleared the clipboard");
            }
        });
        return Ok(());
    }
    ui::say(&format!(
        "copied `{name}`; the clipboard is cleared in {seconds} s, Ctrl-C clears it now"
    ));
    let wait = app.keeper.interruptible(async {
        tokio::time::sleep(time).await;
        Ok(())
    });
    // whatever ends the wait, the clipboard is cleared
    let _ = app.runtime().block_on(wait);
    if held.clear() {
        ui::say("cleared the clipboard");
    }
    Ok(())
}

fn list(app: &mut App, folder: Option<&PasswordName>, json: bool) -> Result<(), Report> {
    let names = Access::with(app, async |access| Ok(access.store().list(folder)?))?;
    let names: Vec<_> = names.iter().map(PasswordName::as_str).collect();
    if json {
        return ui::json(&names);
    }
    if names.is_empty() {
        ui::say("no passwords yet: make one with `password generate NAME`");
        return Ok(());
    }
    ui::out(&tree::draw(&names))
}

fn rotate(
    app: &mut App,
    name: &PasswordName,
    made: Made,
    force: bool,
    json: bool,
) -> Result<(), Report> {
    let clipboard = made.check()?;
    let old: PasswordName = format!("{name}.old").parse().map_err(PasswordError::from)?;
    let entry = Access::with(app, async |access| {
        if !force && access.store().contains(&old) {
            let there = Report::from(PasswordError::Exists(old.to_string()));
            return Err(there.with_note("it may be the one that is still in use"));
        }
        // before the device is asked and anything is changed
        access.recipients(name)?;
        let entry = access.read(name).await?.with_secret(&made.generate());
        // the old one is safe before the new one takes its place
        access.store().keep_as(name, &old, force)?;
        access.write(name, &entry, true).await?;
        Ok(entry)
    })?;
    ui::say(&format!(
        "stored a new secret as `{name}`; the old one is `{old}`, `password remove {old}` removes it"
    ));
    made.hand_out(app, name, &entry, clipboard, json)
}

fn remove(app: &mut App, name: &PasswordName, force: bool) -> Result<(), Report> {
    let store = Access::with(app, async |access| Ok(access.store().clone()))?;
    if !force && store.contains(name) {
        let question = Question {
            text: "",
            question: &format!("Remove `{}` for good?", ui::printable(name.as_str())),
        };
        match question.ask(&|| false) {
            Asking::Yes => {}
            Asking::No => return Err(Report::text(Kind::Failed, "nothing was removed")),
            Asking::Nobody => {
                return Err(Report::usage("there is no terminal to ask on")
                    .with_hint("`--force` removes it without a question"));
            }
        }
    }
    store.remove(name)?;
    ui::say(&format!("removed `{name}`"));
    Ok(())
}
