//! A file of blocks, for a machine that is on no network.
//!
//! Each line is a height and a block in hex:
//!
//! ```sh
//! for h in $(seq 800000 800144); do
//!     echo "$h $(bitcoin-cli getblock "$(bitcoin-cli getblockhash $h)" 0)"
//! done > blocks
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use bcm_keystore::wallet::{Ledger, WalletError};
use bdk_wallet::bitcoin::Block;
use bdk_wallet::bitcoin::consensus::deserialize;
use bdk_wallet::chain::BlockId;

use super::error::SourceError;
use super::{Sync, Synced};

/// Longest line: a block of four million bytes in hex, and its height.
const MAX_LINE: u64 = 8_000_100;

/// The blocks of a file.
#[derive(Debug)]
pub struct Blocks {
    reader: BufReader<File>,
}

impl Blocks {
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|error| SourceError::Unreachable {
            endpoint: format!("file:{}", path.display()),
            reason: error.to_string(),
        })?;
        Ok(Self {
            reader: BufReader::new(file),
        })
    }

    pub(super) fn sync(
        mut self,
        ledger: &mut Ledger,
        with: &Sync<'_>,
    ) -> Result<Synced, SourceError> {
        let mut blocks = 0;
        for line in 1.. {
            with.check()?;
            let refuse = |reason: &str| SourceError::Line {
                line,
                reason: reason.to_owned(),
            };
            let mut text = String::new();
            let mut limited = (&mut self.reader).take(MAX_LINE + 1);
            let read = limited.read_line(&mut text);
            if read.map_err(|_| refuse("it is not text"))? == 0 {
                break;
            }
            if text.len() as u64 > MAX_LINE {
                return Err(refuse("it is too long"));
            }
            let Some((height, hex)) = text.trim().split_once(' ') else {
                return Err(refuse("it is not a height and a block"));
            };
            let height: u32 = height
                .parse()
                .map_err(|_| refuse("its height is no number"))?;
            let bytes = hex::decode(hex.trim()).map_err(|_| refuse("it is not hex"))?;
            let block: Block = deserialize(&bytes).map_err(|_| refuse("it does not decode"))?;
            check(&block).map_err(refuse)?;
            connect(ledger, &block, height)?;
            blocks += 1;
        }
        with.save(ledger)?;
        Ok(Synced {
            height: ledger.height(),
            blocks,
            filters: 0,
        })
    }
}

/// Looks whether a block is what its header says, and whether somebody has worked for it.
fn check(block: &Block) -> Result<(), &'static str> {
    let header = &block.header;
    if header.validate_pow(header.target()).is_err() {
        return Err("its proof of work is wrong");
    }
    if !block.check_merkle_root() || !block.check_witness_commitment() {
        return Err("its transactions are not those of its header");
    }
    Ok(())
}

fn connect(ledger: &mut Ledger, block: &Block, height: u32) -> Result<(), SourceError> {
    let name = ledger.name().to_string();
    let disconnected = || SourceError::Wallet(WalletError::Disconnected(name.clone()));
    let wallet = ledger.chain_state();
    let below = wallet
        .checkpoints()
        .map(|checkpoint| checkpoint.block_id())
        .find(|known| known.height < height)
        .unwrap_or(BlockId {
            height,
            hash: block.block_hash(),
        });
    if below.height + 1 == height && below.hash != block.header.prev_blockhash {
        return Err(disconnected());
    }
    wallet
        .apply_block_connected_to(block, height, below)
        .map_err(|_| disconnected())
}
