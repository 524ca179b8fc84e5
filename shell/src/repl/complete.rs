//! Completion, out of the same clap tree that parses.

use std::path::Path;
use std::sync::Arc;

use bcm_cluster::ClusterStore;
use bcm_keystore::pgp::{Cert, PgpStore};
use bcm_keystore::ssh::SshStore;
use bcm_keystore::wallet::WalletBook;
use bcm_keystore::{Chain, WalletStore};
use clap::{Arg, Command};

use crate::config::Key;
use crate::{cli, env, split};

/// A word that may stand where the cursor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The whole word.
    pub text: String,
    /// A space follows.
    pub ends: bool,
}

/// What may stand where the cursor is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Where the word begins in the line.
    pub start: usize,
    /// What it may be.
    pub words: Vec<Word>,
}

/// What is in the stores of the open wallet, and in the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The logins of its SSH keys.
    pub ssh: Vec<String>,
    /// Mail addresses, else fingerprints, of the OpenPGP certs that it knows.
    pub pgp: Vec<String>,
    /// Its clusters.
    pub clusters: Vec<String>,
    /// The hosts of the one that is in use.
    pub hosts: Vec<String>,
    /// The stacks of the catalogue.
    pub stacks: Vec<String>,
    /// Its Bitcoin wallets on the chain that is worked on.
    pub wallets: Vec<String>,
}

impl Names {
    /// Reads them; a store that cannot be read has none.
    pub fn read(store: &Arc<WalletStore>, chain: Chain) -> Self {
        let ssh = SshStore::open(store).ok();
        let ssh = ssh.iter().flat_map(SshStore::keys);
        let pgp = PgpStore::open(store).ok();
        let pgp = pgp.iter().flat_map(PgpStore::entries);
        let clusters = ClusterStore::new(store.clone()).read().unwrap_or_default();
        let hosts = clusters.current().map(|cluster| &*cluster.hosts);
        let hosts = hosts.unwrap_or_default();
        let wallets = WalletBook::new(store, chain).list().unwrap_or_default();
        Self {
            clusters: clusters.all().iter().map(|c| c.name.to_string()).collect(),
            hosts: hosts.iter().map(|host| host.name.to_string()).collect(),
            ssh: ssh.map(|key| key.identity().login()).collect(),
            pgp: pgp.map(|entry| cert_name(entry.cert())).collect(),
            stacks: Vec::new(),
            wallets: wallets
                .iter()
                .map(|wallet| wallet.name.to_string())
                .collect(),
        }
    }
}

/// The shortest name of a cert that can be typed without quotes.
fn cert_name(cert: &Cert) -> String {
    let plain = |mail: &String| {
        let may_stand = |c: char| c.is_ascii_alphanumeric() || "@.+-_".contains(c);
        mail.chars().all(may_stand)
    };
    let mut mails = cert
        .userids()
        .filter_map(|user_id| user_id.userid().email().ok().flatten().map(str::to_owned));
    let mail = mails.find(plain);
    mail.unwrap_or_else(|| cert.fingerprint().to_hex())
}

/// The clap tree, built once.
#[derive(Debug)]
pub struct Grammar(Command);

/// Where in the tree a line has got to.
struct Place<'a> {
    command: &'a Command,
    path: Vec<&'a str>,
    /// The option whose value comes next.
    option: Option<&'a Arg>,
    /// Positional arguments so far.
    given: usize,
    /// After `--`.
    verbatim: bool,
}

impl Grammar {
    /// Builds the tree.
    pub fn new() -> Self {
        let mut root = cli::at_prompt();
        root.build();
        Self(root)
    }

    /// Tells whether `word` is a command.
    pub fn has(&self, word: &str) -> bool {
        self.0.find_subcommand(word).is_some()
    }

    /// Finds what may stand at the end of `line`.
    pub fn candidates(&self, line: &str, names: &Names) -> Candidates {
        let (before, word) = cut(line);
        let start = line.len() - word.len();
        let Some(place) = self.place(before) else {
            return Candidates::default();
        };
        let mut words = match place.option {
            Some(option) if is_wallet(&place, option) => {
                names.wallets.iter().map(self::word).collect()
            }
            Some(option) => values(option, word),
            None if place.verbatim => files(word),
            None if word.starts_with('-') => flags(&place),
            None => named(&place, word, names),
        };
        words.retain(|candidate| candidate.text.starts_with(word) && candidate.text != word);
        words.sort_by(|a, b| a.text.cmp(&b.text));
        words.dedup();
        Candidates { start, words }
    }

    /// Says what the command at the end of `line` still needs.
    pub fn usage(&self, line: &str) -> Option<String> {
        let (before, word) = cut(line);
        if !word.is_empty() {
            return None;
        }
        let place = self.place(before)?;
        if place.path.is_empty() || place.verbatim {
            return None;
        }
        let of = |argument: &Arg| {
            let names = argument.get_value_names()?;
            Some(names.first()?.to_string())
        };
        if let Some(option) = place.option {
            return of(option);
        }
        let next = place.command.get_positionals().nth(place.given)?;
        of(next)
    }

    fn place(&self, before: &str) -> Option<Place<'_>> {
        let words = shlex::split(before)?;
        let mut place = Place {
            command: &self.0,
            path: Vec::new(),
            option: None,
            given: 0,
            verbatim: false,
        };
        for word in &words {
            place.step(word);
        }
        Some(place)
    }
}

impl Place<'_> {
    fn step(&mut self, word: &str) {
        if self.verbatim || self.option.take().is_some() {
            return;
        }
        if word == "--" {
            self.verbatim = true;
        } else if let Some(flag) = word.strip_prefix("--") {
            let (name, value) = flag
                .split_once('=')
                .map_or((flag, None), |(n, v)| (n, Some(v)));
            let option = self
                .command
                .get_arguments()
                .find(|a| a.get_long() == Some(name));
            self.option = option.filter(|option| value.is_none() && takes_value(option));
        } else if let Some(below) = self.command.find_subcommand(word) {
            self.command = below;
            self.path.push(below.get_name());
        } else {
            self.given += 1;
        }
    }
}

/// Cuts off the word that is being typed, unquoted words only.
fn cut(line: &str) -> (&str, &str) {
    let segment = split::last_segment(line);
    let at = segment.rfind(char::is_whitespace).map_or(0, |at| {
        at + segment[at..].chars().next().map_or(0, char::len_utf8)
    });
    segment.split_at(at)
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

fn word(text: impl Into<String>) -> Word {
    Word {
        text: text.into(),
        ends: true,
    }
}

/// Tells whether what follows an option is the name of a Bitcoin wallet.
fn is_wallet(place: &Place<'_>, option: &Arg) -> bool {
    option.get_long() == Some("wallet")
        && matches!(place.path.first(), Some(&"wallet" | &"message"))
}

fn flags(place: &Place<'_>) -> Vec<Word> {
    let arguments = place.command.get_arguments();
    arguments
        .filter(|argument| !argument.is_hide_set())
        .filter_map(Arg::get_long)
        .map(|name| word(format!("--{name}")))
        .collect()
}

fn values(option: &Arg, typed: &str) -> Vec<Word> {
    let possible = option.get_possible_values();
    if possible.is_empty() {
        return files(typed);
    }
    possible
        .iter()
        .map(|value| word(value.get_name()))
        .collect()
}

fn named(place: &Place<'_>, typed: &str, names: &Names) -> Vec<Word> {
    let path: Vec<_> = place.path.clone();
    match path.as_slice() {
        ["ssh", "show" | "remove" | "connect"] if place.given == 0 => {
            names.ssh.iter().map(word).collect()
        }
        [
            "pgp",
            "show" | "export" | "trust" | "use" | "add-user-id" | "expire" | "revoke" | "remove",
        ] if place.given == 0 => names.pgp.iter().map(word).collect(),
        ["cluster", "use" | "show" | "destroy"] if place.given == 0 => {
            names.clusters.iter().map(word).collect()
        }
        ["cluster", "ssh"] | ["cluster", "host", "show" | "remove" | "rename" | "repin"]
            if place.given == 0 =>
        {
            names.hosts.iter().map(word).collect()
        }
        ["cluster", "copy"] => files(typed),
        ["pgp", "import"] if place.given == 0 => files(typed),
        ["config", "get" | "unset"] if place.given == 0 => {
            Key::ALL.iter().map(|key| word(key.name())).collect()
        }
        ["config", "set"] => assignments(typed),
        ["file", below] if *below != "signify-key" => files(typed),
        ["psbt", _] => files(typed),
        ["stack", "lint"] if place.given == 0 => files(typed),
        ["stack", "plan" | "graph"] => names.stacks.iter().map(word).collect(),
        [
            "wallet",
            "show" | "export" | "remove" | "sync" | "balance" | "history" | "utxos" | "receive",
        ]
        | ["wallet", "labels", "export"]
            if place.given == 0 =>
        {
            names.wallets.iter().map(word).collect()
        }
        ["wallet", "labels", "import"] => files(typed),
        ["image", "build"] if place.given == 0 => crate::commands::image::RECIPES
            .into_iter()
            .map(word)
            .collect(),
        ["image", _] => files(typed),
        _ if place.given == 0 => {
            let below = place.command.get_subcommands();
            let shown = below.filter(|command| !command.is_hide_set());
            shown.map(|command| word(command.get_name())).collect()
        }
        _ => Vec::new(),
    }
}

fn assignments(typed: &str) -> Vec<Word> {
    let Some(key) = typed
        .split_once('=')
        .and_then(|(name, _)| Key::from_name(name))
    else {
        let open = |key: &Key| Word {
            text: format!("{}=", key.name()),
            ends: false,
        };
        return Key::ALL.iter().map(open).collect();
    };
    let values = key.words().iter();
    values
        .map(|value| word(format!("{}={value}", key.name())))
        .collect()
}

/// Lists files whose name begins as typed; folders end in `/`.
fn files(typed: &str) -> Vec<Word> {
    let (folder, start) = match typed.rfind('/') {
        Some(at) => typed.split_at(at + 1),
        None => ("", typed),
    };
    let place = env::expand_home(folder.as_ref());
    let place = if place.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &place
    };
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        // what would have to be quoted is not offered
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@' | ',');
        if !name.starts_with(start) || !name.chars().all(plain) {
            continue;
        }
        if name.starts_with('.') && !start.starts_with('.') {
            continue;
        }
        let is_folder = entry.path().is_dir();
        found.push(Word {
            text: format!("{folder}{name}{}", if is_folder { "/" } else { "" }),
            ends: !is_folder,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> Vec<String> {
        let names = Names {
            ssh: vec!["alice@node-1".to_owned(), "bob@node-2".to_owned()],
            pgp: vec!["satoshi@bitcoin.org".to_owned()],
            clusters: vec!["home".to_owned()],
            hosts: vec!["node-1".to_owned(), "node-2".to_owned()],
            stacks: vec!["electrs".to_owned(), "electrum".to_owned()],
            wallets: vec!["savings".to_owned(), "spending".to_owned()],
        };
        let found = Grammar::new().candidates(line, &names);
        let prefix = &line[..found.start];
        found
            .words
            .iter()
            .map(|word| format!("{prefix}{}", word.text))
            .collect()
    }

    #[test]
    fn stacks_by_name_however_many() {
        assert_eq!(complete("stack plan electru"), ["stack plan electrum"]);
        assert_eq!(
            complete("stack graph electrum el"),
            [
                "stack graph electrum electrs",
                "stack graph electrum electrum"
            ]
        );
    }

    #[test]
    fn commands_and_subcommands() {
        assert_eq!(complete("inf"), ["info"]);
        assert_eq!(complete("ssh li"), ["ssh list"]);
        assert_eq!(complete("info; ssh li"), ["info; ssh list"]);
        assert_eq!(complete("info;ssh li"), ["info;ssh list"]);
        assert!(complete("").contains(&"unlock".to_owned()));
        assert!(complete("help ss").contains(&"help ssh".to_owned()));
        assert_eq!(complete("zzz "), Vec::<String>::new());
    }

    #[test]
    fn flags_and_their_values() {
        assert_eq!(complete("info --j"), ["info --json"]);
        assert_eq!(complete("info --dev"), Vec::<String>::new());
        assert_eq!(
            complete("ssh newkey a@b --curve "),
            [
                "ssh newkey a@b --curve ed25519",
                "ssh newkey a@b --curve nist256p1"
            ]
        );
        assert_eq!(
            complete("simulator serve --confirm d"),
            ["simulator serve --confirm deny"]
        );
    }

    #[test]
    fn stored_keys_and_configuration() {
        assert_eq!(complete("ssh show al"), ["ssh show alice@node-1"]);
        assert_eq!(complete("ssh connect b"), ["ssh connect bob@node-2"]);
        assert_eq!(complete("cluster use h"), ["cluster use home"]);
        assert_eq!(
            complete("cluster host show node-"),
            ["cluster host show node-1", "cluster host show node-2"]
        );
        assert_eq!(complete("pgp use sat"), ["pgp use satoshi@bitcoin.org"]);
        assert_eq!(complete("wallet show sa"), ["wallet show savings"]);
        assert_eq!(
            complete("wallet send x 1 --wallet s"),
            [
                "wallet send x 1 --wallet savings",
                "wallet send x 1 --wallet spending"
            ]
        );
        assert_eq!(
            complete("message sign x --wallet sp"),
            ["message sign x --wallet spending"]
        );
        assert_eq!(complete("config get lo"), ["config get lock.idle"]);
        assert_eq!(complete("config set cha"), ["config set chain="]);
        assert_eq!(complete("config set chain=r"), ["config set chain=regtest"]);
        assert_eq!(
            complete("config set chain=regtest color=n"),
            ["config set chain=regtest color=never"]
        );
    }

    #[test]
    fn files_after_a_double_dash() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plan.txt"), "").unwrap();
        std::fs::write(folder.path().join("two words"), "").unwrap();
        std::fs::create_dir(folder.path().join("plans")).unwrap();
        let at = format!("ssh agent -- cat {}/", folder.path().display());
        assert_eq!(
            complete(&format!("{at}pl")),
            [format!("{at}plan.txt"), format!("{at}plans/")]
        );
        assert_eq!(complete(&format!("{at}tw")), Vec::<String>::new());
    }

    #[test]
    fn open_quotes_and_foreign_letters_do_not_panic() {
        for line in [
            "ssh show 'a",
            "ssh \u{a0}x",
            "日本",
            "a\u{2003}b",
            "\\",
            "--",
            "-- ",
            "; ;",
            "config set =",
        ] {
            complete(line);
            Grammar::new().usage(line);
        }
    }

    #[test]
    fn what_is_still_needed_is_hinted() {
        let grammar = Grammar::new();
        assert_eq!(grammar.usage("ssh newkey ").unwrap(), "USER@HOST[:PORT]");
        assert_eq!(grammar.usage("config set ").unwrap(), "KEY=VALUE");
        assert_eq!(grammar.usage("ssh newkey a@b "), None);
        assert_eq!(grammar.usage("info "), None);
    }
}
