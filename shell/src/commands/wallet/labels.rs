//! Labels and frozen coins.

use std::io::Read;
use std::path::{Path, PathBuf};

use bcm_keystore::wallet::WalletName;
use bcm_keystore::wallet::labels::{self, Label};
use bcm_keystore::wallet::message::parse_address;
use bdk_wallet::bitcoin::{OutPoint, Txid};
use clap::Subcommand;

use super::{Coins, Name, with_wallet};
use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// What to do with labels.
#[derive(Debug, Subcommand)]
pub enum Labels {
    /// Print the labels and the frozen coins, one JSON object a line
    #[command(after_help = "Example:\n  bcm wallet labels export savings > labels.jsonl")]
    Export(Name),
    /// Take labels over from a file, `-` for standard input
    #[command(after_help = "Example:\n  bcm wallet labels import labels.jsonl --wallet savings")]
    Import {
        /// The file
        file: PathBuf,
        /// The wallet, if there are several
        #[arg(long, value_name = "NAME")]
        wallet: Option<WalletName>,
    },
}

impl Labels {
    pub(super) fn run(self, app: &App) -> Result<(), Report> {
        match self {
            Self::Export(name) => {
                let found = with_wallet(app, name.name.as_ref(), |_, ledger| Ok(ledger.labels()))?;
                if found.is_empty() {
                    ui::say("no labels yet: `wallet label TXID TEXT`");
                    return Ok(());
                }
                ui::out(labels::write(&found).trim_end())
            }
            Self::Import { file, wallet } => {
                let text = read(&file)?;
                let found = labels::read(&text)?;
                let count = with_wallet(app, wallet.as_ref(), |book, ledger| {
                    let count = ledger.import_labels(found);
                    book.save(ledger)?;
                    Ok(count)
                })?;
                ui::say(&format!("took over {count} labels"));
                Ok(())
            }
        }
    }
}

fn read(path: &Path) -> Result<String, Report> {
    let name = path.display().to_string();
    let refuse = |why: String| Report::text(Kind::Failed, format!("cannot read `{name}`: {why}"));
    let mut source: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?),
    };
    let mut text = String::new();
    let limit = labels::MAX_FILE as u64;
    let mut limited = (&mut source).take(limit + 1);
    limited
        .read_to_string(&mut text)
        .map_err(|error| refuse(error.to_string()))?;
    if text.len() as u64 > limit {
        return Err(refuse("it is longer than 16 MiB".into()));
    }
    Ok(text)
}

pub(super) fn label(
    app: &App,
    reference: &str,
    text: &str,
    wallet: Option<&WalletName>,
) -> Result<(), Report> {
    with_wallet(app, wallet, |book, ledger| {
        let (kind, reference) = if let Ok(txid) = reference.parse::<Txid>() {
            ("tx", txid.to_string())
        } else if let Ok(coin) = reference.parse::<OutPoint>() {
            ("output", coin.to_string())
        } else {
            let address = parse_address(reference, book.chain())?;
            ("addr", address.to_string())
        };
        ledger.set_label(Label {
            kind: kind.into(),
            reference,
            label: text.to_owned(),
            origin: None,
            spendable: None,
        });
        Ok(book.save(ledger)?)
    })
}

pub(super) fn freeze(app: &App, coins: &Coins, frozen: bool) -> Result<(), Report> {
    with_wallet(app, coins.wallet.as_ref(), |book, ledger| {
        for coin in &coins.coins {
            ledger.set_frozen(*coin, frozen)?;
        }
        Ok(book.save(ledger)?)
    })?;
    let what = if frozen { "frozen" } else { "thawed" };
    ui::say(&format!("{what}: {} coins", coins.coins.len()));
    Ok(())
}
