//! Which derivation paths belong to which addresses, as firmware sees it.
//!
//! Patterns are written as in the firmware's documentation: `account` is 0-100, `change` 0 or 1,
//! `address_index` up to a million, and the rest stands for itself.

use trezor_client::InputScriptType;

use super::coin::Coin;
use super::keys::HARDENED;

const BIP44: &str = "m/44'/coin_type'/account'/change/address_index";
const BIP45: &str = "m/45'/[0-100]/change/address_index";
const BIP48_RAW: &str = "m/48'/coin_type'/account'/0'/change/address_index";
const BIP48_P2SH_SEGWIT: &str = "m/48'/coin_type'/account'/1'/change/address_index";
const BIP48_SEGWIT: &str = "m/48'/coin_type'/account'/2'/change/address_index";
const BIP49: &str = "m/49'/coin_type'/account'/change/address_index";
const BIP84: &str = "m/84'/coin_type'/account'/change/address_index";
const BIP86: &str = "m/86'/coin_type'/account'/change/address_index";
const GREEN_A: &str = "m/[1,4]/address_index";
const GREEN_B: &str = "m/3'/[1-100]'/[1,4]/address_index";
const GREEN_SIGN_A: &str = "m/1195487518";
const GREEN_SIGN_B: &str = "m/1195487518/6/address_index";
const CASA: &str = "m/45'/coin_type/account/change/address_index";
const CASA_UNHARDENED: &str = "m/49/coin_type/account/change/address_index";
const UNCHAINED: &str = "m/45'/coin_type'/account'/[0-1000000]/change/address_index";
const UNCHAINED_UNHARDENED: &str = "m/45'/coin_type/account/[0-1000000]/change/address_index";

const BITCOIN: u32 = 0;

/// A path that no dialogue may touch unless it is unlocked first, see
/// [SLIP-0025](https://github.com/satoshilabs/slips/blob/master/slip-0025.md).
pub(super) const COINJOIN: u32 = 10025 | HARDENED;

/// Tells whether the device derives Bitcoin keys at `path` at all.
pub(super) fn is_allowed(coin: &Coin, path: &[u32]) -> bool {
    let everywhere = [
        BIP44,
        BIP48_RAW,
        BIP48_P2SH_SEGWIT,
        BIP48_SEGWIT,
        BIP49,
        BIP84,
        BIP86,
        CASA,
        CASA_UNHARDENED,
        UNCHAINED,
        UNCHAINED_UNHARDENED,
    ];
    let bitcoin_only = [BIP45, GREEN_A, GREEN_B, GREEN_SIGN_A, GREEN_SIGN_B];
    any(&everywhere, coin, path) || coin.slip44 == BITCOIN && any(&bitcoin_only, coin, path)
}

/// Tells whether addresses of this kind are expected at `path`.
pub(super) fn fits(coin: &Coin, script: InputScriptType, multisig: bool, path: &[u32]) -> bool {
    any(&patterns(coin, script, multisig), coin, path)
}

/// Tells whether an account of this kind is expected at `path`.
pub(super) fn fits_account(coin: &Coin, script: InputScriptType, path: &[u32]) -> bool {
    let of = |multisig| patterns(coin, script, multisig).into_iter();
    of(false).chain(of(true)).any(|pattern| {
        let components = || pattern.split('/').skip(1).enumerate();
        let depth_of = |wanted: fn(&str) -> bool| {
            components()
                .filter(|(_, c)| wanted(c))
                .map(|(i, _)| i + 1)
                .max()
                .unwrap_or(0)
        };
        let hardened = depth_of(|c| c.ends_with('\''));
        let account = depth_of(|c| c.trim_end_matches('\'') == "account");
        let depth = path.len();
        hardened > 0
            && (depth == hardened || depth == hardened.max(account))
            && components()
                .take(depth)
                .all(|(i, c)| component_matches(c, coin, path[i]))
    })
}

/// Writes `path` as `m/84h/0h/0h`.
pub(super) fn to_string(path: &[u32]) -> String {
    let mut text = String::from("m");
    for number in path {
        let mark = if number & HARDENED == 0 { "" } else { "h" };
        text.push_str(&format!("/{}{mark}", number & !HARDENED));
    }
    text
}

/// Names the account of an address as the device does, by its path where it has no name.
pub(super) fn account_name(coin: &Coin, path: &[u32]) -> String {
    let kinds = [
        ("Legacy", BIP44),
        ("L. SegWit", BIP49),
        ("SegWit", BIP84),
        ("Taproot", BIP86),
    ];
    let kind = kinds
        .iter()
        .find(|(_, pattern)| any(&[pattern], coin, path));
    match (kind, path.get(2)) {
        (Some((name, _)), Some(account)) => format!("{name} #{}", (account & !HARDENED) + 1),
        _ => format!("Address path: {}", to_string(path)),
    }
}

fn patterns(coin: &Coin, script: InputScriptType, multisig: bool) -> Vec<&'static str> {
    use InputScriptType as S;
    let mut patterns = match (script, multisig) {
        (S::SPENDADDRESS, false) => vec![BIP44],
        (S::SPENDADDRESS | S::SPENDMULTISIG, true) => {
            vec![BIP48_RAW, UNCHAINED, UNCHAINED_UNHARDENED]
        }
        (S::SPENDP2SHWITNESS, false) => vec![BIP49, CASA, CASA_UNHARDENED],
        (S::SPENDP2SHWITNESS, true) => vec![BIP49, CASA, CASA_UNHARDENED, BIP48_P2SH_SEGWIT],
        (S::SPENDWITNESS, false) => vec![BIP84],
        (S::SPENDWITNESS, true) => vec![BIP84, BIP48_SEGWIT, UNCHAINED, UNCHAINED_UNHARDENED],
        (S::SPENDTAPROOT, _) => return vec![BIP86],
        (S::SPENDMULTISIG, false) | (S::EXTERNAL, _) => return vec![],
    };
    if coin.slip44 == BITCOIN {
        patterns.extend([GREEN_A, GREEN_B]);
        if matches!(script, S::SPENDADDRESS | S::SPENDMULTISIG) && multisig {
            patterns.push(BIP45);
        }
    }
    patterns
}

fn any(patterns: &[&str], coin: &Coin, path: &[u32]) -> bool {
    patterns.iter().any(|pattern| {
        let components = || pattern.split('/').skip(1);
        components().count() == path.len()
            && components()
                .zip(path)
                .all(|(c, &number)| component_matches(c, coin, number))
    })
}

fn component_matches(component: &str, coin: &Coin, number: u32) -> bool {
    let (component, hardened) = match component.strip_suffix('\'') {
        Some(component) => (component, true),
        None => (component, false),
    };
    let value = number & !HARDENED;
    let expected = match component {
        "coin_type" => value == coin.slip44,
        "account" => value <= 100,
        "change" => value <= 1,
        "address_index" | "[0-1000000]" => value <= 1_000_000,
        "[0-100]" => value <= 100,
        "[1-100]" => (1..=100).contains(&value),
        "[1,4]" => value == 1 || value == 4,
        literal => literal.parse() == Ok(value),
    };
    expected && hardened == (number & HARDENED != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: u32 = HARDENED;

    fn coin(name: &str) -> &'static Coin {
        Coin::by_name(Some(name)).unwrap()
    }

    #[test]
    fn an_address_has_its_own_purpose_and_coin() {
        use InputScriptType as S;
        let (bitcoin, regtest) = (coin("Bitcoin"), coin("Regtest"));
        let path = [84 | H, H, H, 1, 1_000_000];
        assert!(fits(bitcoin, S::SPENDWITNESS, false, &path));
        assert!(!fits(bitcoin, S::SPENDTAPROOT, false, &path));
        assert!(!fits(regtest, S::SPENDWITNESS, false, &path));
        assert!(is_allowed(bitcoin, &path));
        assert!(!is_allowed(regtest, &path));
        assert!(!is_allowed(bitcoin, &[84 | H, H, H, 2, 0]));
        assert!(!is_allowed(bitcoin, &[84 | H, H, 101 | H, 0, 0]));
        assert!(!is_allowed(bitcoin, &[84 | H, H, H, 0, 1_000_001]));
        assert!(!is_allowed(bitcoin, &[]));
    }

    #[test]
    fn an_account_stands_at_the_deepest_hardened_level() {
        use InputScriptType as S;
        let bitcoin = coin("Bitcoin");
        assert!(fits_account(bitcoin, S::SPENDWITNESS, &[84 | H, H, H]));
        assert!(fits_account(
            bitcoin,
            S::SPENDWITNESS,
            &[48 | H, H, H, 2 | H]
        ));
        assert!(!fits_account(bitcoin, S::SPENDWITNESS, &[84 | H, H]));
        assert!(!fits_account(bitcoin, S::SPENDWITNESS, &[86 | H, H, H]));
        assert!(!fits_account(bitcoin, S::SPENDWITNESS, &[]));
    }

    #[test]
    fn a_path_is_written_with_h() {
        assert_eq!(to_string(&[48 | H, 1 | H, 7]), "m/48h/1h/7");
        assert_eq!(to_string(&[]), "m");
    }
}
