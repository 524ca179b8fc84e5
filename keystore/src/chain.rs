//! The Bitcoin chains that bcm knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Bitcoin chain; each is a data centre of its own (networks, volumes, secrets, services).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// Real money. Refused on a simulated device.
    Mainnet,
    /// The public test network of [BIP-94](https://github.com/bitcoin/bips/blob/master/bip-0094.mediawiki).
    Testnet4,
    /// The signed test network of [BIP-325](https://github.com/bitcoin/bips/blob/master/bip-0325.mediawiki).
    Signet,
    /// A private chain on this machine.
    Regtest,
}

impl Chain {
    /// Every chain, in the order they are listed to a person.
    pub const ALL: [Self; 4] = [Self::Mainnet, Self::Testnet4, Self::Signet, Self::Regtest];

    /// Returns the name as it is written in configuration and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet4 => "testnet4",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// Returns the network as the crate `bitcoin` names it.
    pub fn network(self) -> bitcoin::Network {
        match self {
            Self::Mainnet => bitcoin::Network::Bitcoin,
            Self::Testnet4 => bitcoin::Network::Testnet4,
            Self::Signet => bitcoin::Network::Signet,
            Self::Regtest => bitcoin::Network::Regtest,
        }
    }

    /// Returns the coin of the device's messages; every public test network is its `Testnet`.
    pub fn coin_name(self) -> &'static str {
        match self {
            Self::Mainnet => "Bitcoin",
            Self::Testnet4 | Self::Signet => "Testnet",
            Self::Regtest => "Regtest",
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A chain that bcm does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown chain `{0}`, expected mainnet, testnet4, signet or regtest")]
pub struct UnknownChain(String);

impl FromStr for Chain {
    type Err = UnknownChain;

    fn from_str(name: &str) -> Result<Self, UnknownChain> {
        Self::ALL
            .into_iter()
            .find(|chain| chain.name() == name)
            .ok_or_else(|| UnknownChain(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chain_parses_from_its_own_name() {
        for chain in Chain::ALL {
            assert_eq!(chain.name().parse::<Chain>().unwrap(), chain);
        }
        assert_eq!(
            "main".parse::<Chain>().unwrap_err().to_string(),
            "unknown chain `main`, expected mainnet, testnet4, signet or regtest"
        );
    }
}
