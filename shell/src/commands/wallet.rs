//! `wallet`: wallets whose keys stay on the device.

pub mod guard;
mod labels;
mod look;
mod manage;
mod policy;
mod receive;
mod spend;
mod sync;

use std::path::PathBuf;

use bcm_keystore::wallet::{ExportFormat, Ledger, ScriptKind, WalletBook, WalletName};
use bdk_wallet::bitcoin::{Amount, OutPoint, Transaction, Txid};
use clap::{Args, Subcommand};

use crate::app::App;
use crate::report::Report;
use crate::session::Open;
use crate::wallet::{Endpoint, Reading};

pub use spend::{Spend, unix_time};

/// What to do with wallets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a wallet from keys of the device
    #[command(after_help = "Examples:
  bcm wallet create savings
  bcm wallet create vault --script p2wsh --multisig 2 --cosigner '[…/48h/0h/0h/2h]xpub…' \\
      --cosigner '[…/48h/0h/0h/2h]xpub…'
  bcm wallet create vault --descriptor 'wsh(sortedmulti(2,…))#…'")]
    Create(Box<Create>),
    /// Print the account key of this device, for other cosigners
    #[command(after_help = "Example:\n  bcm wallet xpub --script p2wsh")]
    Xpub {
        /// Kind of script
        #[arg(long, default_value = "p2wsh", value_name = "KIND")]
        script: ScriptKind,
        /// Number of the account
        #[arg(long, default_value_t = 0, value_name = "N")]
        account: u32,
    },
    /// List the wallets on this chain
    #[command(after_help = "Example:\n  bcm wallet list --json")]
    List,
    /// Show the keys and the state of a wallet
    #[command(after_help = "Example:\n  bcm wallet show savings")]
    Show(Name),
    /// Write a wallet out for another program, to watch it there
    #[command(after_help = "Example:\n  bcm wallet export savings --format bitcoind")]
    Export {
        #[command(flatten)]
        name: Name,
        /// descriptor, bitcoind, sparrow or electrum
        #[arg(long, default_value = "descriptor")]
        format: ExportFormat,
    },
    /// Forget a wallet; its keys stay on the device
    #[command(after_help = "Example:\n  bcm wallet remove savings")]
    Remove {
        /// The wallet
        name: String,
    },
    /// Bring a wallet up to date with the chain
    #[command(after_help = "Examples:
  bcm wallet sync
  bcm wallet sync savings --source tcp://127.0.0.1:50001
  bcm wallet sync savings --source file:blocks")]
    Sync {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        source: Source,
        /// Begin again at the wallet's first block
        #[arg(long)]
        rescan: bool,
        /// Read every block of a node, though it has filters that tell which ones matter: it does not
        /// learn them then, and it takes much longer
        #[arg(long)]
        every_block: bool,
    },
    /// Print what a wallet holds
    #[command(after_help = "Example:\n  bcm wallet balance savings")]
    Balance(Name),
    /// Print the transactions of a wallet, the newest first
    #[command(after_help = "Example:\n  bcm wallet history savings --json")]
    History(Name),
    /// Print the coins of a wallet, the largest first
    #[command(after_help = "Example:\n  bcm wallet utxos savings")]
    Utxos(Name),
    /// Give out an address, to be paid there
    #[command(after_help = "Example:\n  bcm wallet receive savings --show")]
    Receive {
        #[command(flatten)]
        name: Name,
        /// Compare it on the device first
        #[arg(long)]
        show: bool,
        /// One that was never given out before
        #[arg(long)]
        new: bool,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
        /// Print a QR code, also where the output is no terminal
        #[arg(long)]
        qr: bool,
    },
    /// Pay somebody
    #[command(after_help = "Examples:
  bcm wallet send bc1q… 0.001 --fee-rate 2
  bcm wallet send bc1q… 250000sat --wallet savings --coins TXID:0
  bcm wallet send bc1q… --max --unsigned -o payment.psbt")]
    Send {
        /// To whom
        address: String,
        /// How much: `0.001`, `0.001btc` or `100000sat`
        #[arg(
            required_unless_present = "max",
            conflicts_with = "max",
            allow_hyphen_values = true
        )]
        amount: Option<String>,
        /// Everything, less the fee
        #[arg(long)]
        max: bool,
        /// Spend these coins and no others
        #[arg(long, value_name = "TXID:N", value_delimiter = ',')]
        coins: Vec<OutPoint>,
        #[command(flatten)]
        how: How,
    },
    /// Pay everything that is not frozen to one address
    #[command(after_help = "Example:\n  bcm wallet drain bc1q… --wallet savings --fee-rate 1")]
    Drain {
        /// To whom
        address: String,
        #[command(flatten)]
        how: How,
    },
    /// Replace an unconfirmed payment by the same one with a higher fee
    #[command(after_help = "Example:\n  bcm wallet bump TXID --fee-rate 12")]
    Bump {
        /// The payment
        txid: Txid,
        #[command(flatten)]
        how: How,
    },
    /// Replace an unconfirmed payment by one to oneself
    #[command(after_help = "Example:\n  bcm wallet cancel TXID --fee-rate 12")]
    Cancel {
        /// The payment
        txid: Txid,
        #[command(flatten)]
        how: How,
    },
    /// Leave coins out of payments until they are thawed or named
    #[command(after_help = "Example:\n  bcm wallet freeze TXID:0")]
    Freeze(Coins),
    /// Let frozen coins be spent again
    #[command(after_help = "Example:\n  bcm wallet unfreeze TXID:0")]
    Unfreeze(Coins),
    /// Label a transaction, an address or a coin; an empty label removes it
    #[command(after_help = "Example:\n  bcm wallet label TXID 'rent, June'")]
    Label {
        /// Transaction, address or coin
        reference: String,
        /// The label
        text: String,
        /// The wallet, if there are several
        #[arg(long, value_name = "NAME")]
        wallet: Option<WalletName>,
    },
    /// Exchange labels with other wallets (BIP-329)
    #[command(
        subcommand,
        after_help = "Example:\n  bcm wallet labels export savings > labels.jsonl"
    )]
    Labels(labels::Labels),
    /// Show or change what may be spent without changing this first
    #[command(after_help = "Examples:
  bcm wallet policy
  bcm wallet policy --max-fee-rate 50 --per-day 0.1 --allow bc1q… --own-node on
  bcm wallet policy --wallet spending --per-day off
  bcm wallet policy --clear")]
    Policy(policy::Rules),
    /// Print what the device has signed
    #[command(after_help = "Example:\n  bcm wallet records --json")]
    Records,
}

/// A wallet, as the only word.
#[derive(Args, Clone, Debug)]
pub struct Name {
    /// The wallet, if there are several
    name: Option<WalletName>,
}

/// What a new wallet is made of.
#[derive(Args, Debug)]
pub struct Create {
    /// Its name
    name: WalletName,
    /// p2wpkh, p2tr, p2sh-p2wpkh or p2pkh; with cosigners p2wsh, p2sh-p2wsh or p2sh
    #[arg(long, value_name = "KIND", conflicts_with = "descriptor")]
    script: Option<ScriptKind>,
    /// Number of the account
    #[arg(
        long,
        default_value_t = 0,
        value_name = "N",
        conflicts_with = "descriptor"
    )]
    account: u32,
    /// How many have to sign
    #[arg(long, value_name = "M", requires = "cosigner")]
    multisig: Option<usize>,
    /// The account key of another device; repeat it for each
    #[arg(long, value_name = "[ORIGIN]XPUB", requires = "multisig")]
    cosigner: Vec<String>,
    /// A descriptor with a key of this device in it
    #[arg(long, value_name = "DESCRIPTOR", conflicts_with_all = ["multisig", "cosigner"])]
    descriptor: Option<String>,
    /// The first block that can hold a payment to it
    #[arg(long, value_name = "HEIGHT")]
    birthday: Option<u32>,
    /// Do not compare the first address of a multisig wallet on the device
    #[arg(long)]
    unseen: bool,
}

/// Where the chain is known.
#[derive(Args, Clone, Debug, Default)]
pub struct Source {
    /// `http://HOST:PORT` (bitcoind), `tcp://HOST:PORT` (Electrum) or `file:PATH` [default: config]
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// The file with the cookie of bitcoind's RPC [default: config]
    #[arg(long, value_name = "FILE")]
    cookie: Option<PathBuf>,
}

/// How a payment is made.
#[derive(Args, Clone, Debug)]
pub struct How {
    /// The wallet, if there are several
    #[arg(long, value_name = "NAME")]
    wallet: Option<WalletName>,
    /// Fee rate, sat/vB
    #[arg(long, value_name = "RATE", conflicts_with = "target", value_parser = spend::fee_rate)]
    #[arg(allow_hyphen_values = true)]
    fee_rate: Option<bdk_wallet::bitcoin::FeeRate>,
    /// Fee for a confirmation within so many blocks [default: 6]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u16).range(1..=1008))]
    target: Option<u16>,
    /// Accept a fee that is out of proportion, by saying how much it is
    #[arg(long, value_name = "SAT")]
    accept_fee: Option<u64>,
    /// Only write the PSBT, for another device to sign
    #[arg(long)]
    unsigned: bool,
    /// Sign, but do not send
    #[arg(long)]
    no_broadcast: bool,
    /// Write the PSBT to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    source: Source,
}

/// Some coins.
#[derive(Args, Clone, Debug)]
pub struct Coins {
    /// Which
    #[arg(required = true, value_name = "TXID:N")]
    coins: Vec<OutPoint>,
    /// The wallet, if there are several
    #[arg(long, value_name = "NAME")]
    wallet: Option<WalletName>,
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Create(new) => manage::create(app, &new, json),
            Self::Xpub { script, account } => manage::xpub(app, script, account, json),
            Self::List => manage::list(app, json),
            Self::Show(name) => manage::show(app, name.name.as_ref(), json),
            Self::Export { name, format } => manage::export(app, name.name.as_ref(), format),
            Self::Remove { name } => manage::remove(app, &name),
            Self::Sync {
                name,
                source,
                rescan,
                every_block,
            } => sync::Sync {
                name: name.name,
                source,
                rescan,
                reading: if every_block {
                    Reading::Every
                } else {
                    Reading::Matching
                },
            }
            .run(app, json),
            Self::Balance(name) => look::balance(app, name.name.as_ref(), json),
            Self::History(name) => look::history(app, name.name.as_ref(), json),
            Self::Utxos(name) => look::utxos(app, name.name.as_ref(), json),
            Self::Receive {
                name,
                show,
                new,
                label,
                qr,
            } => receive::Receive {
                name: name.name,
                show,
                new,
                label,
                qr,
            }
            .run(app, json),
            Self::Send {
                address,
                amount,
                max: _,
                coins,
                how,
            } => Spend::send(app, &address, amount.as_deref(), coins, &how, json),
            Self::Drain { address, how } => {
                Spend::send(app, &address, None, Vec::new(), &how, json)
            }
            Self::Bump { txid, how } => Spend::replace(app, txid, false, &how, json),
            Self::Cancel { txid, how } => Spend::replace(app, txid, true, &how, json),
            Self::Freeze(coins) => labels::freeze(app, &coins, true),
            Self::Unfreeze(coins) => labels::freeze(app, &coins, false),
            Self::Label {
                reference,
                text,
                wallet,
            } => labels::label(app, &reference, &text, wallet.as_ref()),
            Self::Labels(command) => command.run(app),
            Self::Policy(rules) => rules.run(app, json),
            Self::Records => policy::records(app, json),
        }
    }
}

impl Source {
    /// Returns where to look: flag over file, `None` where neither says.
    pub fn endpoint(&self, app: &App) -> Result<Option<Endpoint>, Report> {
        match &self.source {
            Some(text) => Ok(Some(text.parse()?)),
            None => Ok(app.config()?.wallet_source()),
        }
    }

    /// Returns how to get there.
    pub fn via(&self, app: &App) -> Result<crate::wallet::Via, Report> {
        let config = app.config()?;
        let cookie = self.cookie.clone().or_else(|| config.wallet_cookie());
        Ok(crate::wallet::Via::new(cookie, config.wallet_tor()))
    }
}

/// Returns the wallets of the chain that is worked on.
pub fn book(open: &Open) -> WalletBook {
    WalletBook::new(open.session.store(), open.chain)
}

/// Notes a transaction that was sent in each wallet that it concerns, if one is open.
///
/// # Errors
///
/// What a wallet refuses.
pub fn note_sent(app: &App, transaction: &Transaction) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let book = app.runtime().block_on(keeper.peek(|open| book(open)));
    let Some(book) = book else { return Ok(()) };
    for wallet in book.list()? {
        let mut ledger = book.open(Some(wallet.name.as_str()))?;
        ledger.note_sent(transaction.clone(), unix_time().unsigned_abs());
        book.save(&mut ledger)?;
    }
    Ok(())
}

/// Opens a wallet in the session and runs `work` with it.
fn with_wallet<T>(
    app: &App,
    name: Option<&WalletName>,
    work: impl FnOnce(&WalletBook, &mut Ledger) -> Result<T, Report>,
) -> Result<T, Report> {
    let keeper = app.keeper.clone();
    app.runtime().block_on(keeper.with_open(async |open| {
        let book = book(open);
        let mut ledger = book.open(name.map(WalletName::as_str))?;
        work(&book, &mut ledger)
    }))
}

/// Writes an amount as bitcoin, with all of its digits.
fn btc(amount: Amount) -> String {
    format!(
        "{:.8}",
        amount.display_in(bdk_wallet::bitcoin::Denomination::Bitcoin)
    )
}
