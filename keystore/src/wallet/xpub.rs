//! Account keys: where an extended public key comes from, and the key.

use std::fmt;
use std::str::FromStr;

use bitcoin::NetworkKind;
use bitcoin::bip32::{self, ChildNumber, Fingerprint, Xpub};
use trezor_client::protos;

use super::error::WalletError;
use super::script::{MAX_ACCOUNT, ScriptKind};
use super::sign_tx::AccountKey;
use crate::chain::Chain;
use crate::device::{Device, DeviceError};
use crate::interaction::Prompt;
use crate::path::DerivationPath;

/// An account's extended public key and its origin, written `[dd53b9b4/84h/0h/0h]xpub6…` as
/// [BIP-380](https://github.com/bitcoin/bips/blob/master/bip-0380.mediawiki#key-expressions) does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountXpub {
    fingerprint: Fingerprint,
    path: DerivationPath,
    xpub: Xpub,
}

impl AccountXpub {
    /// Returns the fingerprint of the root that the key is derived from.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns the path from that root to the key.
    pub fn path(&self) -> &DerivationPath {
        &self.path
    }

    /// Returns the key.
    pub fn xpub(&self) -> &Xpub {
        &self.xpub
    }

    /// Refuses a key of another kind of network.
    pub(crate) fn check_chain(&self, chain: Chain) -> Result<(), WalletError> {
        if self.xpub.network == NetworkKind::from(chain.network()) {
            return Ok(());
        }
        Err(WalletError::OtherChain {
            what: format!("the key `{self}`"),
            chain,
        })
    }

    /// Writes the key as the device's messages carry it.
    pub(crate) fn node(&self) -> protos::HDNodeType {
        let mut node = protos::HDNodeType::new();
        node.set_depth(self.xpub.depth.into());
        node.set_fingerprint(u32::from_be_bytes(self.xpub.parent_fingerprint.to_bytes()));
        node.set_child_num(self.xpub.child_number.into());
        node.set_chain_code(self.xpub.chain_code.to_bytes().to_vec());
        node.set_public_key(self.xpub.public_key.serialize().to_vec());
        node
    }
}

impl From<&AccountXpub> for AccountKey {
    fn from(key: &AccountXpub) -> Self {
        Self {
            fingerprint: key.fingerprint,
            path: key.path.as_ref().clone(),
            xpub: key.xpub,
        }
    }
}

impl fmt::Display for AccountXpub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.fingerprint)?;
        for step in self.path.as_ref() {
            write!(f, "/{step:#}")?;
        }
        write!(f, "]{}", self.xpub)
    }
}

impl FromStr for AccountXpub {
    type Err = WalletError;

    fn from_str(text: &str) -> Result<Self, WalletError> {
        let refuse = |reason: &str| WalletError::Cosigner {
            key: text.chars().take(160).collect(),
            reason: reason.to_owned(),
        };
        let (origin, key) = text
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .ok_or_else(|| refuse("its origin `[fingerprint/path]` is missing"))?;
        let (fingerprint, path) = origin.split_once('/').unwrap_or((origin, ""));
        let fingerprint: Fingerprint = fingerprint
            .parse()
            .map_err(|_| refuse("its fingerprint is not 8 hex digits"))?;
        let path: bip32::DerivationPath = format!("m/{path}")
            .parse()
            .map_err(|_| refuse("the path of its origin is no derivation path"))?;
        let xpub = parse_xpub(key).ok_or_else(|| refuse("it is no extended public key"))?;
        let last = path.into_iter().last().copied();
        let depth = usize::from(xpub.depth);
        if depth != path.len() || last.is_some_and(|step| step != xpub.child_number) {
            return Err(refuse("the path of its origin is not the one of the key"));
        }
        Ok(Self {
            fingerprint,
            path: path.into(),
            xpub,
        })
    }
}

/// Parses an extended public key, also one with a version of
/// [SLIP-132](https://github.com/satoshilabs/slips/blob/master/slip-0132.md).
fn parse_xpub(text: &str) -> Option<Xpub> {
    if let Ok(xpub) = text.parse() {
        return Some(xpub);
    }
    let mut bytes = bitcoin::base58::decode_check(text).ok()?;
    let plain = match text.get(..4)? {
        "ypub" | "Ypub" | "zpub" | "Zpub" => [0x04, 0x88, 0xb2, 0x1e],
        "upub" | "Upub" | "vpub" | "Vpub" => [0x04, 0x35, 0x87, 0xcf],
        _ => return None,
    };
    bytes.get_mut(..4)?.copy_from_slice(&plain);
    Xpub::decode(&bytes).ok()
}

/// Has the device derive the account key of `kind`, and checks that it belongs to the wallet that
/// was unlocked.
///
/// # Errors
///
/// [`WalletError::Device`], or [`WalletError::Account`] for an account above 100.
pub async fn account_xpub(
    device: &Device,
    root: Fingerprint,
    kind: ScriptKind,
    chain: Chain,
    account: u32,
) -> Result<AccountXpub, WalletError> {
    if account > MAX_ACCOUNT {
        return Err(WalletError::Account(account));
    }
    let path = kind.account_path(chain, account);
    let mut request = protos::GetPublicKey::new();
    request.address_n = path.address_n();
    request.set_show_display(false);
    request.set_coin_name(chain.coin_name().to_owned());
    request.set_script_type(kind.on_device());
    request.set_ignore_xpub_magic(true);
    let prompt = Prompt::new(format!("read the account key {path}"));
    let answer: protos::PublicKey = device.call(prompt, request).await?;

    let implausible = |reason: &str| DeviceError::Implausible(reason.to_owned());
    let told = Fingerprint::from(answer.root_fingerprint().to_be_bytes());
    if told != root {
        return Err(implausible("its account key is of another wallet").into());
    }
    let xpub: Xpub = answer
        .xpub()
        .parse()
        .map_err(|_| implausible("it gave no extended public key"))?;
    let steps = path.as_ref();
    let last = steps.into_iter().last().copied();
    let last = last.unwrap_or(ChildNumber::Normal { index: 0 });
    let fits = usize::from(xpub.depth) == steps.len() && xpub.child_number == last;
    if !fits || xpub.network != NetworkKind::from(chain.network()) {
        return Err(implausible("its account key is not the one that was asked for").into());
    }
    Ok(AccountXpub {
        fingerprint: root,
        path,
        xpub,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "[dd53b9b4/48h/1h/0h/2h]tpubDFCvhQ5pq3s8do6rGPhghho3bM4eGTR83BPt33e3D7i66eRsmQeuNbTWJHVCzcBsaTG3v8qxrTcDUC2ky1HXzdpEUTcd8s8Yn86W7BMw7Md";

    #[test]
    fn a_key_prints_as_it_was_written() {
        let key: AccountXpub = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        let with_apostrophes = KEY.replace("h/", "'/").replace("2h", "2'");
        assert_eq!(with_apostrophes.parse::<AccountXpub>().unwrap(), key);
        let of_a_signer = AccountKey::from(&key);
        assert_eq!(
            of_a_signer.path.to_string(),
            "48h/1h/0h/2h".replace('h', "'")
        );
        for text in ["", "[dd53b9b4]", "[x/48h]xpub", &format!("{KEY}/0/*")] {
            assert!(text.parse::<AccountXpub>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_versions_of_slip_132_are_the_same_key() {
        let shown = KEY.replace("tpubDFCvhQ5pq3s8do6rGPhghho3bM4eGTR83BPt33e3D7i66eRsmQeuNbTWJHVCzcBsaTG3v8qxrTcDUC2ky1HXzdpEUTcd8s8Yn86W7BMw7Md", "vpub5bAmZpvJpQpifQXm9V9M5cGfvHg6Ppw4fKm97ho87CCSFA8iBsUgz2UQ1qVFUHvnyGVXoc8yQ3551SK28kcGWizjgBUUHWqLeiNoZwF2BeB");
        assert_eq!(shown.parse::<AccountXpub>().unwrap().to_string(), KEY);
    }

    #[test]
    fn a_key_with_a_wrong_origin_is_refused() {
        for (from, to) in [
            ("[dd53b9b4/48h/1h/0h/2h]", ""),
            ("dd53b9b4", "xd53b9b4"),
            ("/2h]", "]"),
            ("/2h]", "/1h]"),
            ("tpub", "xpub"),
        ] {
            assert!(
                KEY.replace(from, to).parse::<AccountXpub>().is_err(),
                "{to}"
            );
        }
    }
}
