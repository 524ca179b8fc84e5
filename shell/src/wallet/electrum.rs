//! An Electrum server: quick, but it learns which scripts belong together.

use std::fmt;
use std::time::Duration;

use bcm_keystore::Chain;
use bcm_keystore::wallet::{Ledger, WalletError};
use bdk_electrum::BdkElectrumClient;
use bdk_electrum::electrum_client::{Client, Config, ElectrumApi, Error, Socks5Config};
use bdk_wallet::bitcoin::constants::genesis_block;
use bdk_wallet::bitcoin::{Amount, FeeRate, Transaction, Txid};

use super::endpoint::{HostPort, Via};
use super::error::SourceError;
use super::{Sync, Synced};

/// After how many unused addresses in a row a first scan ends.
const STOP_GAP: usize = 25;

/// How many scripts are asked for at once.
const BATCH: usize = 25;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server.
pub struct Server {
    client: BdkElectrumClient<Client>,
    endpoint: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.endpoint)
    }
}

impl Server {
    pub(super) fn connect(
        place: &HostPort,
        via: &Via,
        chain: Option<Chain>,
    ) -> Result<Self, SourceError> {
        let endpoint = format!("tcp://{place}");
        let tor = place.is_onion().then(|| {
            let word = &via.isolation;
            Socks5Config::with_credentials(&via.tor, word.clone(), word.clone())
        });
        let config = Config::builder()
            .socks5(tor)
            .timeout(Some(PATIENCE))
            .retry(0)
            .build();
        let unreachable = |error: Error| SourceError::Unreachable {
            endpoint: endpoint.clone(),
            reason: error.to_string(),
        };
        let client = Client::from_config(&endpoint, config).map_err(unreachable)?;
        let genesis = client.block_header(0).map_err(unreachable)?;
        if let Some(chain) = chain
            && genesis.block_hash() != genesis_block(chain.network()).block_hash()
        {
            return Err(SourceError::OtherChain { endpoint, chain });
        }
        Ok(Self {
            client: BdkElectrumClient::new(client),
            endpoint,
        })
    }

    fn failed(&self, error: &Error) -> SourceError {
        match error {
            Error::IOError(_) | Error::SharedIOError(_) | Error::AllAttemptsErrored(_) => {
                SourceError::Unreachable {
                    endpoint: self.endpoint.clone(),
                    reason: error.to_string(),
                }
            }
            error => SourceError::Nonsense {
                endpoint: self.endpoint.clone(),
                reason: error.to_string(),
            },
        }
    }

    pub(super) fn sync(self, ledger: &mut Ledger, with: &Sync<'_>) -> Result<Synced, SourceError> {
        let is_first = ledger.height() == 0;
        let wallet = ledger.chain_state();
        let known = wallet.tx_graph().full_txs();
        self.client.populate_tx_cache(known.map(|node| node.tx));
        let fetched = if is_first {
            let request = wallet.start_full_scan_at(with.now);
            let response = self.client.full_scan(request, STOP_GAP, BATCH, false);
            response.map(bdk_wallet::Update::from)
        } else {
            let request = wallet.start_sync_with_revealed_spks_at(with.now);
            let response = self.client.sync(request, BATCH, false);
            response.map(bdk_wallet::Update::from)
        };
        let update = fetched.map_err(|error| self.failed(&error))?;
        with.check()?;
        wallet
            .apply_update(update)
            .map_err(|_| WalletError::Disconnected(ledger.name().to_string()))?;
        with.save(ledger)?;
        Ok(Synced {
            height: ledger.height(),
            blocks: 0,
            filters: 0,
        })
    }

    pub(super) fn broadcast(&self, transaction: &Transaction) -> Result<Txid, SourceError> {
        let sent = self.client.inner.transaction_broadcast(transaction);
        sent.map_err(|error| match error {
            Error::Protocol(reason) => SourceError::Rejected(reason.to_string()),
            error => self.failed(&error),
        })
    }

    pub(super) fn fee_rate(&self, target: u16) -> Result<FeeRate, SourceError> {
        let rate = self
            .client
            .inner
            .estimate_fee(target.into(), None)
            .map_err(|error| self.failed(&error))?;
        let rate = Amount::from_btc(rate).map_err(|_| SourceError::NoEstimate(target))?;
        Ok(FeeRate::from_sat_per_kwu(
            rate.to_sat().div_ceil(4).max(250),
        ))
    }
}
