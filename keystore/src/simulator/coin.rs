//! The coins that the simulated device knows.

use bitcoin::Network;
use trezor_client::InputScriptType;

/// What differs between the chains of Bitcoin.
#[derive(Debug)]
pub(super) struct Coin {
    name: &'static str,
    /// What stands behind an amount.
    pub(super) shortcut: &'static str,
    /// Satoshi for 1000 virtual bytes above which the device warns.
    pub(super) max_fee_per_kb: u64,
    pub(super) network: Network,
    /// See [SLIP-0044](https://github.com/satoshilabs/slips/blob/master/slip-0044.md).
    pub(super) slip44: u32,
    /// See [SLIP-0132](https://github.com/satoshilabs/slips/blob/master/slip-0132.md).
    pub(super) xpub_magic: u32,
    p2sh_segwit_magic: u32,
    segwit_magic: u32,
}

static COINS: [Coin; 3] = [
    Coin {
        name: "Bitcoin",
        shortcut: "BTC",
        max_fee_per_kb: 2_000_000,
        network: Network::Bitcoin,
        slip44: 0,
        xpub_magic: 0x0488_b21e,
        p2sh_segwit_magic: 0x049d_7cb2,
        segwit_magic: 0x04b2_4746,
    },
    Coin {
        name: "Testnet",
        shortcut: "TEST",
        max_fee_per_kb: 10_000_000,
        network: Network::Testnet,
        slip44: 1,
        xpub_magic: 0x0435_87cf,
        p2sh_segwit_magic: 0x044a_5262,
        segwit_magic: 0x045f_1cf6,
    },
    Coin {
        name: "Regtest",
        shortcut: "REGTEST",
        max_fee_per_kb: 10_000_000,
        network: Network::Regtest,
        slip44: 1,
        xpub_magic: 0x0435_87cf,
        p2sh_segwit_magic: 0x044a_5262,
        segwit_magic: 0x045f_1cf6,
    },
];

impl Coin {
    /// Finds a coin by the name that hosts use for it; none means Bitcoin.
    pub(super) fn by_name(name: Option<&str>) -> Option<&'static Self> {
        let name = name.unwrap_or("Bitcoin");
        COINS.iter().find(|coin| coin.name == name)
    }

    /// Returns what an extended public key of such an account begins with; `None` for no account.
    pub(super) fn magic_for(&self, script: InputScriptType) -> Option<u32> {
        use InputScriptType as S;
        match script {
            S::SPENDADDRESS | S::SPENDMULTISIG | S::SPENDTAPROOT => Some(self.xpub_magic),
            S::SPENDP2SHWITNESS => Some(self.p2sh_segwit_magic),
            S::SPENDWITNESS => Some(self.segwit_magic),
            S::EXTERNAL => None,
        }
    }
}
