//! The one grammar: of `bcm COMMAND`, of `bcm -c`, of scripts and of the prompt.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bcm_keystore::device::DeviceSelector;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::commands::{
    age, age_plugin, cluster, config, device, file, git, image, message, password, pgp, psbt,
    serve, simulator, ssh, ssh_proxy, stack, statement, wallet,
};
use crate::config::{Color, PassphraseOn};
use crate::report::Report;

const AFTER_HELP: &str = "\
Examples:
  bcm                                     unlock a Trezor, then open the prompt
  bcm --device simulator                  the same without hardware
  bcm ssh connect alice@node-1            log in to a host
  bcm -c 'info --json; ssh list'          run several commands in one session

Data goes to stdout, everything else to stderr.
Exit codes: 0 ok, 1 failed, 2 usage, 3 device refused or absent, 4 verification failed.";

const PROMPT_HELP: &str = "\
Examples:
  ssh newkey alice@node-1; ssh list       run two commands
  info --json                             print data as JSON
  help ssh connect                        explain a command (`bcm` before it is left out here)

`;` separates commands outside quotes, `#` begins a comment, and a line that begins with a space is
not remembered. Ctrl-C cancels a command, Ctrl-D leaves.";

/// The shell that opens on an unlocked Trezor
#[derive(Debug, Parser)]
#[command(name = "bcm", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(subcommand_help_heading = "Commands", infer_subcommands = false)]
pub struct Cli {
    /// Run these commands, separated by `;`, in one session
    #[arg(short = 'c', value_name = "COMMANDS", allow_hyphen_values = true)]
    pub commands: Option<String>,

    /// Run the commands in this file, one a line, up to the first that fails
    #[arg(long, value_name = "FILE", conflicts_with = "commands")]
    pub script: Option<PathBuf>,

    #[command(flatten)]
    pub flags: Flags,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is chosen once for a session, and `--json`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Session options")]
pub struct Flags {
    /// Where to look for the device.
    #[arg(
        long,
        global = true,
        value_name = "WHERE",
        help = "Where to look for the device: auto, usb, bridge[:URL], udp[:HOST:PORT] or simulator"
    )]
    pub device: Option<DeviceSelector>,

    /// Take the device from another program that holds it on the bridge
    #[arg(long, global = true)]
    pub take_over: bool,

    /// Where the passphrase is typed: device or host [default: device]
    #[arg(long, global = true, value_name = "PLACE", hide_possible_values = true)]
    pub passphrase_on: Option<PassphraseOn>,

    /// Read the passphrase from this open descriptor, one line
    #[arg(long, global = true, value_name = "N")]
    pub passphrase_fd: Option<u32>,

    /// Keep all state in this folder [env: `BCM_HOME`]
    #[arg(long, global = true, value_name = "DIR", value_parser = folder)]
    pub home: Option<PathBuf>,

    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// What the built-in simulator decides: auto, ask or deny [default: ask on a terminal, else auto]
    #[arg(long, global = true, value_name = "HOW", hide_possible_values = true)]
    pub simulator_confirm: Option<Confirm>,

    /// When to use colours: auto, always or never [env: `NO_COLOR`]
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true)]
    pub color: Option<Color>,
}

/// What a simulated device does where a Trezor asks for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Confirm {
    /// Confirm everything
    Auto,
    /// Show the screen on this terminal and ask
    Ask,
    /// Decline everything
    Deny,
}

/// Everything that can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the device, the wallet's stores, chain, versions and paths
    #[command(after_help = "Example:\n  bcm info --json")]
    Info,
    /// Make, list and use SSH keys that stay on the device
    #[command(subcommand, after_help = "Example:\n  bcm ssh newkey alice@node-1")]
    Ssh(ssh::Command),
    /// Make, list, exchange and trust OpenPGP certificates
    #[command(
        subcommand,
        after_help = "Example:\n  bcm pgp init --user-id 'Satoshi <satoshi@example.org>'"
    )]
    Pgp(Box<pgp::Command>),
    /// Sign, verify, encrypt and decrypt files
    #[command(subcommand, after_help = "Example:\n  bcm file sign release.tar")]
    File(file::Command),
    /// Print the recipients of files that only the device opens
    #[command(subcommand, after_help = "Example:\n  bcm age recipient")]
    Age(age::Command),
    /// Keep passwords that only the device opens, in the format of passage
    #[command(
        subcommand,
        after_help = "Example:\n  bcm password generate web/example.org"
    )]
    Password(password::Command),
    /// Run git with signatures that are made on the device
    #[command(
        subcommand,
        after_help = "Example:\n  bcm git commit -m 'Pin the image'"
    )]
    Git(git::Command),
    /// Let other programs use the wallet: age, git, ssh
    #[command(after_help = "Examples:
  bcm serve -- age -d -i identity notes.age
  bcm serve                    print BCM_SOCKET and SSH_AUTH_SOCK, serve until a signal")]
    Serve(serve::Serve),
    /// Reach the machines of a cluster: add them, log in, run and copy on all of them
    #[command(subcommand, after_help = "Example:\n  bcm cluster exec -- uptime")]
    Cluster(Box<cluster::Command>),
    /// Make, fill and spend wallets whose keys stay on the device
    #[command(subcommand, after_help = "Example:\n  bcm wallet create savings")]
    Wallet(wallet::Command),
    /// Sign and verify texts with the keys of addresses
    #[command(
        subcommand,
        after_help = "Example:\n  bcm message sign 'I own this' --address bc1q…"
    )]
    Message(message::Command),
    /// Read, sign and complete partially signed transactions
    #[command(subcommand, after_help = "Example:\n  bcm psbt show payment.psbt")]
    Psbt(psbt::Command),
    /// Look at the device and set it up
    #[command(subcommand, after_help = "Example:\n  bcm device info")]
    Device(device::Command),
    /// Read and change the configuration
    #[command(subcommand, after_help = "Example:\n  bcm config set chain=regtest")]
    Config(config::Command),
    /// Plan stacks, approve them on the device, run them and look after them
    #[command(subcommand, after_help = "Example:\n  bcm stack list")]
    Stack(Box<stack::Command>),
    /// Run bitcoin-cli in the container of bitcoind
    #[command(after_help = "Example:\n  bcm bitcoin-cli getblockchaininfo")]
    BitcoinCli(stack::Passthrough),
    /// Run lightning-cli in the container of clightning
    #[command(after_help = "Example:\n  bcm lightning-cli getinfo")]
    LightningCli(stack::Passthrough),
    /// Run lncli in the container of lnd
    #[command(after_help = "Example:\n  bcm lncli getinfo")]
    Lncli(stack::Passthrough),
    /// Run elements-cli in the container of liquid
    #[command(after_help = "Example:\n  bcm elements-cli getblockchaininfo")]
    ElementsCli(stack::Passthrough),
    /// Look at what was approved and signed for a cluster
    #[command(subcommand, after_help = "Example:\n  bcm statement list")]
    Statement(statement::Command),
    /// Verify, build, scan, load and save container images without a registry
    #[command(subcommand, after_help = "Example:\n  bcm image build tor")]
    Image(Box<image::Command>),
    /// Offer a Trezor in software to this and other programs
    #[command(
        subcommand,
        after_help = "Example:\n  bcm simulator serve --udp 127.0.0.1:21324"
    )]
    Simulator(simulator::Command),
    /// Open a wallet
    #[command(after_help = "Example:\n  bcm -c 'lock; unlock'")]
    Unlock,
    /// Close the wallet and forget its keys
    #[command(after_help = "Example:\n  bcm -c 'info; lock'")]
    Lock,
    /// Lock and leave
    #[command(visible_alias = "quit", after_help = "Example:\n  bcm -c 'info; exit'")]
    Exit,
    /// Speak with `age`, which runs it as `age-plugin-trezor`
    #[command(
        hide = true,
        after_help = "Example:\n  age -d -i identity notes.age     with a bcm session running"
    )]
    AgePlugin(age_plugin::AgePlugin),
    /// Reach an onion service for `ssh`, which runs it
    #[command(
        hide = true,
        after_help = "Example:\n  ssh -o 'ProxyCommand=bcm ssh-proxy --socks 127.0.0.1:9050 %h %p' …"
    )]
    SshProxy(ssh_proxy::SshProxy),
    /// Sign and verify for git, which runs it as `bcm-gpg`
    #[command(
        hide = true,
        after_help = "Example:\n  bcm git config     has git run it"
    )]
    Gpg(git::gpg::Gpg),
}

fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("an empty name is no folder".into());
    }
    Ok(text.into())
}

/// What was asked for.
#[derive(Debug)]
pub enum Asked {
    /// To run something.
    Run(Box<Cli>),
    /// For this text: help or version.
    Text(String),
}

/// Parses this program's arguments.
pub fn parse() -> Result<Asked, Report> {
    parse_from(Cli::command(), spelled_out(crate::env::arguments()))
}

/// Puts the command before arguments that another program chose.
///
/// age calls a plugin with `--age-plugin=…`; the name that it is called by does not tell, because rage
/// follows the link first. git runs its `gpg.program` as it is named.
fn spelled_out(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    let flag = arguments.get(1).map(|flag| flag.as_encoded_bytes());
    if flag.is_some_and(|flag| flag.starts_with(b"--age-plugin=")) {
        arguments.insert(1, "age-plugin".into());
    } else if program.is_some_and(|name| name == git::GPG) {
        arguments.insert(1, "gpg".into());
    }
    arguments
}

/// Returns the grammar as it is at the prompt: what is chosen for a session is not shown.
pub fn at_prompt() -> clap::Command {
    let root = Cli::command().after_help(PROMPT_HELP);
    root.mut_args(|argument| {
        let shown = argument.get_id() == "json";
        argument.hide(!shown)
    })
}

/// Parses arguments, the first of which is the program's name.
pub fn parse_from<I, T>(grammar: clap::Command, arguments: I) -> Result<Asked, Report>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let matches = grammar.try_get_matches_from(arguments);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return text_or_mistake(&error),
    };
    if cli.command.is_some() && (cli.commands.is_some() || cli.script.is_some()) {
        return Err(Report::usage(
            "a command cannot be given together with -c or --script",
        ));
    }
    if cli.flags.passphrase_fd.is_some() && cli.flags.passphrase_on == Some(PassphraseOn::Device) {
        return Err(Report::usage(
            "`--passphrase-fd` gives the passphrase on this computer, `--passphrase-on device` on \
             the device",
        )
        .with_hint("leave one of them out"));
    }
    Ok(Asked::Run(Box::new(cli)))
}

/// Parses the words of one command of the prompt, of a script or of `-c`.
pub fn parse_words(words: &[String]) -> Result<Asked, Report> {
    let arguments = std::iter::once("bcm").chain(words.iter().map(String::as_str));
    let asked = parse_from(at_prompt(), arguments)?;
    let Asked::Run(cli) = &asked else {
        return Ok(asked);
    };
    let chosen = &cli.flags;
    let serves = matches!(cli.command, Some(Command::Simulator(_)));
    let refused = [
        ("--device", chosen.device.is_some()),
        ("--take-over", chosen.take_over),
        ("--passphrase-on", chosen.passphrase_on.is_some()),
        ("--passphrase-fd", chosen.passphrase_fd.is_some() && !serves),
        ("--home", chosen.home.is_some()),
        ("--simulator-confirm", chosen.simulator_confirm.is_some()),
        ("--color", chosen.color.is_some()),
        ("-c", cli.commands.is_some()),
        ("--script", cli.script.is_some()),
    ];
    match refused.into_iter().find(|(_, given)| *given) {
        None => Ok(asked),
        Some((flag, _)) => Err(Report::usage(format!(
            "`{flag}` is chosen when bcm starts, not for one command"
        ))
        .with_hint(format!("leave with `exit`, then start `bcm {flag} …`"))),
    }
}

fn text_or_mistake(error: &clap::Error) -> Result<Asked, Report> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Ok(Asked::Text(text.trim_end().to_owned()))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let usage = text.lines().find(|line| line.starts_with("Usage: "));
            let report = Report::usage("a command is missing");
            Err(report
                .with_note(usage.unwrap_or_default())
                .with_hint("`help` or `--help` shows what there is"))
        }
        _ => Err(mistake(&text)),
    }
}

/// Takes apart what clap says: the mistake, what is expected, how it is used, a tip.
fn mistake(text: &str) -> Report {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let mut lines = text.lines();
    let mut what = lines.next().unwrap_or_default().to_owned();
    let mut notes = Vec::new();
    let mut tip = None;
    for line in lines {
        match line.trim() {
            "" => {}
            line if line.starts_with("For more information") => {}
            line if line.starts_with("tip: ") => tip = tip.or(Some(line[5..].to_owned())),
            line if line.starts_with("Usage: ") || line.starts_with('[') => {
                notes.push(line.to_owned());
            }
            line => what = format!("{what} {line}"),
        }
    }
    let what = shortened(&what);
    let report = notes
        .into_iter()
        .fold(Report::usage(what), Report::with_note);
    report.with_hint(tip.unwrap_or_else(|| "`help` or `--help` shows what there is".into()))
}

/// Cuts what echoes an endless argument.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 400;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
