use super::*;

fn words(line: &str) -> Result<Asked, Report> {
    parse_words(&crate::split::split(line).unwrap().remove(0))
}

fn run(line: &str) -> Cli {
    match parse_from(Cli::command(), shlex::split(line).unwrap()).unwrap() {
        Asked::Run(cli) => *cli,
        Asked::Text(text) => panic!("{text}"),
    }
}

fn mistake(line: &str) -> String {
    let report = parse_from(Cli::command(), shlex::split(line).unwrap()).unwrap_err();
    assert_eq!(report.exit_code(), 2);
    report.to_string()
}

#[test]
fn the_grammar_is_sound_and_every_command_has_an_example() {
    fn check(command: &clap::Command) {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            help.contains("bcm "),
            "{} has no example",
            command.get_name()
        );
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for below in command.get_subcommands() {
            check(below);
        }
    }
    Cli::command().debug_assert();
    check(&Cli::command());
}

#[test]
fn session_flags_stand_before_and_after_the_command() {
    for line in [
        "bcm --device usb info --json",
        "bcm info --json --device usb",
    ] {
        let cli = run(line);
        assert_eq!(cli.flags.device, Some(DeviceSelector::Usb));
        assert!(cli.flags.json);
    }
    assert_eq!(
        run("bcm simulator serve --passphrase-fd 3").flags.home,
        None
    );
}

#[test]
fn mistakes_are_usage_errors() {
    for (line, words) in [
        ("bcm --device floppy info", "unknown device `floppy`"),
        (
            "bcm --device usb --device udp info",
            "cannot be used multiple times",
        ),
        ("bcm infos", "unrecognized subcommand 'infos'"),
        ("bcm -c lock info", "together with -c"),
        ("bcm -c info --script x", "cannot be used with"),
        (
            "bcm --passphrase-fd 3 --passphrase-on device",
            "leave one of them out",
        ),
        ("bcm --home '' info", "an empty name is no folder"),
        ("bcm ssh", "a command is missing"),
        (
            "bcm ssh newkey",
            "required arguments were not provided: <USER@HOST[:PORT]>",
        ),
        (
            "bcm ssh newkey a@b --curve curve25519",
            "possible values: ed25519, nist256p1",
        ),
    ] {
        let text = mistake(line);
        assert!(text.contains(words), "{line}: {text}");
    }
}

#[test]
fn the_prompt_refuses_what_is_chosen_at_the_start() {
    for line in [
        "info --device usb",
        "--take-over info",
        "info --passphrase-fd 3",
        "info --passphrase-on host",
        "info --home /x",
        "info --color never",
        "info --simulator-confirm auto",
        "-c info",
        "--script x",
    ] {
        let text = words(line).unwrap_err().to_string();
        assert!(text.contains("is chosen when bcm starts"), "{line}: {text}");
    }
    assert!(words("info --json").is_ok());
    assert!(words("simulator serve --passphrase-fd 3").is_ok());
    assert!(matches!(words("help ssh"), Ok(Asked::Text(_))));
}

#[test]
fn help_reads_as_it_should() {
    let Ok(Asked::Text(text)) = parse_from(Cli::command(), ["bcm", "ssh", "newkey", "--help"])
    else {
        panic!("help is text");
    };
    let begin = text.split("Session options:").next().unwrap();
    assert_eq!(
        begin,
        "Make a key for a login and print its public line, for `authorized_keys`\n\n\
         Usage: bcm ssh newkey [OPTIONS] <USER@HOST[:PORT]>\n\n\
         Arguments:\n  <USER@HOST[:PORT]>  The login that the key is for\n\n\
         Options:\n      --curve <CURVE>  ed25519, or nist256p1 for servers that refuse it [default: ed25519]\n  \
         -h, --help           Print help\n\n"
    );
}

#[test]
fn the_prompt_shows_its_own_help() {
    for line in ["help", "ssh --help", "help simulator serve"] {
        let Ok(Asked::Text(text)) = words(line) else {
            panic!("help is text");
        };
        assert!(!text.contains("--take-over"), "{text}");
        assert!(text.contains("--json"), "{text}");
    }
    let Ok(Asked::Text(text)) = words("help") else {
        panic!("help is text");
    };
    assert!(text.contains("Ctrl-D leaves"), "{text}");
}

#[test]
fn every_command_is_listed_with_what_it_is_for() {
    let Ok(Asked::Text(text)) = parse_from(Cli::command(), ["bcm", "--help"]) else {
        panic!("help is text");
    };
    let commands = text.split("Commands:\n").nth(1).unwrap();
    assert_eq!(
        commands.split("\n\n").next().unwrap(),
        "  info           Show the device, the wallet's stores, chain, versions and paths
  ssh            Make, list and use SSH keys that stay on the device
  pgp            Make, list, exchange and trust OpenPGP certificates
  file           Sign, verify, encrypt and decrypt files
  age            Print the recipients of files that only the device opens
  password       Keep passwords that only the device opens, in the format of passage
  git            Run git with signatures that are made on the device
  serve          Let other programs use the wallet: age, git, ssh
  cluster        Reach the machines of a cluster: add them, log in, run and copy on all of them
  wallet         Make, fill and spend wallets whose keys stay on the device
  message        Sign and verify texts with the keys of addresses
  psbt           Read, sign and complete partially signed transactions
  device         Look at the device and set it up
  config         Read and change the configuration
  stack          Plan stacks, approve them on the device, run them and look after them
  bitcoin-cli    Run bitcoin-cli in the container of bitcoind
  lightning-cli  Run lightning-cli in the container of clightning
  lncli          Run lncli in the container of lnd
  elements-cli   Run elements-cli in the container of liquid
  statement      Look at what was approved and signed for a cluster
  image          Verify, build, scan, load and save container images without a registry
  simulator      Offer a Trezor in software to this and other programs
  unlock         Open a wallet
  lock           Close the wallet and forget its keys
  exit           Lock and leave [alias: quit]
  help           Print this message or the help of the given subcommand(s)"
    );
}
