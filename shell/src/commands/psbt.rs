//! `psbt`: partially signed transactions, from a file to one that can be broadcast.

mod broadcast;
mod file;
mod known;
mod show;
mod sign;

use std::path::{Path, PathBuf};

use bcm_keystore::wallet::AccountXpub;
use bcm_keystore::wallet::psbt::{Document, Encoding, extract, finalize};
use bitcoin::Txid;
use bitcoin::consensus::encode::serialize_hex;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::app::App;
use crate::commands::wallet::Source;
use crate::files::{self, Access, Overwrite};
use crate::report::Report;
use crate::ui;

pub(in crate::commands) use sign::accept_fee;

/// What to do with a PSBT.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a PSBT spends, where it goes, what it costs and what is odd about it
    #[command(after_help = "Examples:
  bcm psbt show payment.psbt
  bcm psbt show - --json < payment.psbt")]
    Show {
        /// The PSBT: a file with its bytes or base64, `-` for stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Sign what belongs to this wallet, on the device
    #[command(after_help = "Examples:
  bcm psbt sign payment.psbt -o signed.psbt
  bcm psbt sign - --json < payment.psbt")]
    Sign(Sign),
    /// Put the signatures of several PSBTs of one transaction together
    #[command(after_help = "Example:\n  bcm psbt combine alice.psbt bob.psbt -o both.psbt")]
    Combine {
        /// The PSBTs
        #[arg(value_name = "FILE", required = true, num_args = 2..)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Verify the signatures and make each input final
    #[command(after_help = "Example:\n  bcm psbt finalize signed.psbt -o final.psbt")]
    Finalize {
        /// The PSBT, `-` for stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Send the transaction of a PSBT whose signatures are complete
    #[command(after_help = "Example:\n  bcm psbt broadcast signed.psbt")]
    Broadcast {
        /// The PSBT, `-` for stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        source: Source,
    },
    /// Print the transaction of a final PSBT
    #[command(after_help = "Example:\n  bcm psbt extract final.psbt -o transaction.hex")]
    Extract {
        /// The PSBT, `-` for stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

/// Where the result goes.
#[derive(Args, Clone, Debug)]
pub struct Output {
    /// Write to this file, in the form that the first PSBT has [default: text on stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long, requires = "output")]
    pub force: bool,
}

/// How to sign.
#[derive(Args, Clone, Debug)]
pub struct Sign {
    /// The PSBT, `-` for stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub output: Output,
    /// A file of raw transactions in hexadecimal, a line each, that the PSBT refers to
    #[arg(long, value_name = "FILE")]
    pub previous: Vec<PathBuf>,
    /// The transaction that this one replaces, which `--previous` has to know
    #[arg(long, value_name = "TXID")]
    pub replaces: Option<Txid>,
    /// An account key of a multisig wallet, in the descriptor's order: `[5c9e228d/48h/1h/0h/2h]tpub…`
    #[arg(long, value_name = "KEY")]
    pub cosigner: Vec<AccountXpub>,
    /// Pay this fee, in satoshi, although it is over 10 % or 1000 sat/vB
    #[arg(long, value_name = "SATOSHI")]
    pub accept_fee: Option<u64>,
    /// Sign with ALL what asks for another sighash type
    #[arg(long)]
    pub allow_sighash: bool,
    #[command(flatten)]
    pub source: Source,
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Show { file } => show::run(app, &file, json),
            Self::Sign(sign) => sign::run(app, &sign, json),
            Self::Combine { files, output } => combine(&files, &output, json),
            Self::Finalize { file, output } => {
                let mut document = file::read(&file)?;
                finalize(&mut document.psbt)?;
                put(&document, &output, json)
            }
            Self::Broadcast { file, source } => broadcast::run(app, &file, &source, json),
            Self::Extract { file, output } => take_out(&file::read(&file)?, &output, json),
        }
    }
}

fn combine(files: &[PathBuf], output: &Output, json: bool) -> Result<(), Report> {
    file::only_one_is_stdin(files)?;
    let mut documents = files.iter().map(|path| file::read(path));
    let mut whole = documents.next().expect("clap asks for two")?;
    for document in documents {
        whole.combine(document?)?;
    }
    put(&whole, output, json)
}

#[derive(Serialize)]
struct Written<'a> {
    txid: String,
    psbt: Option<&'a str>,
}

/// Writes a PSBT where it was asked for.
fn put(document: &Document, output: &Output, json: bool) -> Result<(), Report> {
    let text = document.to_base64();
    write(document, &text, output)?;
    let printed = output.output.is_none();
    if json {
        ui::json(&Written {
            txid: document.psbt.unsigned_tx.compute_txid().to_string(),
            psbt: printed.then_some(&text),
        })
    } else if printed {
        ui::out(&text)
    } else {
        Ok(())
    }
}

/// Writes a PSBT to its file, if there is one.
fn write(document: &Document, text: &str, output: &Output) -> Result<(), Report> {
    let Some(path) = &output.output else {
        return Ok(());
    };
    match document.encoding {
        Encoding::Binary => save(path, &document.to_bytes(), output),
        Encoding::Base64 => save(path, format!("{text}\n").as_bytes(), output),
    }
}

/// Writes for its owner alone: a PSBT tells what belongs together.
fn save(path: &Path, bytes: &[u8], output: &Output) -> Result<(), Report> {
    let overwrite = Overwrite::when(output.force);
    Ok(files::put(path, Access::Private, overwrite, bytes)?)
}

#[derive(Serialize)]
struct Extracted<'a> {
    txid: String,
    hex: Option<&'a str>,
}

fn take_out(document: &Document, output: &Output, json: bool) -> Result<(), Report> {
    let transaction = extract(&document.psbt)?;
    let hex = serialize_hex(&transaction);
    if let Some(path) = &output.output {
        save(path, format!("{hex}\n").as_bytes(), output)?;
    }
    let printed = output.output.is_none();
    if json {
        ui::json(&Extracted {
            txid: transaction.compute_txid().to_string(),
            hex: printed.then_some(&hex),
        })
    } else if printed {
        ui::out(&hex)
    } else {
        Ok(())
    }
}
