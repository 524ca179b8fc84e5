//! `GetPublicKey`.

use trezor_client::InputScriptType;
use trezor_client::protos::button_request::ButtonRequestType;
use trezor_client::protos::{GetPublicKey, PublicKey};

use super::coin::Coin;
use super::engine::{Engine, Stop, TEXT_ROOM, node_type};
use super::path;
use super::screen::Screen;

/// Characters of an extended public key on a page.
const XPUB_ROOM: usize = 82;

impl Engine {
    pub(super) fn get_public_key(&mut self, request: &GetPublicKey) -> Result<PublicKey, Stop> {
        let path = &request.address_n;
        let coin = Coin::by_name(request.coin_name.as_deref())
            .ok_or_else(|| Stop::firmware("Unknown coin"))?;
        let curve = request
            .ecdsa_curve_name
            .as_deref()
            .filter(|name| !name.is_empty());
        let curve = curve.unwrap_or("secp256k1");
        if path.first() == Some(&path::COINJOIN) {
            return Err(Stop::data("Forbidden key path"));
        }
        let keychain = self.keychain()?;
        let node = keychain.derive(curve, path)?;
        let fingerprint = keychain.root_fingerprint(curve)?;

        let script = request.script_type();
        let magic = coin
            .magic_for(script)
            .ok_or_else(|| Stop::data("Invalid combination of coin and script_type"))?;
        let plain = node.xpub(coin.xpub_magic);
        let xpub = if request.ignore_xpub_magic() {
            plain.clone()
        } else {
            node.xpub(magic)
        };
        let descriptor = descriptor(script, fingerprint, path, &plain);

        if request.show_display() {
            if !path::fits_account(coin, script, path) {
                self.warn_of_path(path)?;
            }
            let taproot = script == InputScriptType::SPENDTAPROOT;
            let shown = descriptor.as_ref().filter(|_| taproot).unwrap_or(&xpub);
            let screen = Screen::new("show_xpub", "XPUB", shown, XPUB_ROOM);
            self.confirm(ButtonRequestType::ButtonRequest_PublicKey, &screen)?;
        }

        let mut told = PublicKey::new();
        told.node = node_type(&node);
        told.set_xpub(xpub);
        told.set_root_fingerprint(fingerprint);
        told.descriptor = descriptor;
        Ok(told)
    }

    /// Tells the person that the key is not where its kind is expected.
    pub(super) fn warn_of_path(&mut self, path: &[u32]) -> Result<(), Stop> {
        let code = ButtonRequestType::ButtonRequest_UnknownDerivationPath;
        let text = path::to_string(path);
        let screen = Screen::new("path_warning", "Wrong derivation path", &text, TEXT_ROOM);
        self.confirm(code, &screen)
    }
}

/// Writes the output descriptor of an account
/// ([BIP-380](https://github.com/bitcoin/bips/blob/master/bip-0380.mediawiki), receiving and change
/// in one as in BIP-389); `None` for scripts of which an account is but a part.
fn descriptor(
    script: InputScriptType,
    fingerprint: u32,
    path: &[u32],
    xpub: &str,
) -> Option<String> {
    let (before, after) = match script {
        InputScriptType::SPENDADDRESS => ("pkh(", ")"),
        InputScriptType::SPENDP2SHWITNESS => ("sh(wpkh(", "))"),
        InputScriptType::SPENDWITNESS => ("wpkh(", ")"),
        InputScriptType::SPENDTAPROOT => ("tr(", ")"),
        InputScriptType::SPENDMULTISIG | InputScriptType::EXTERNAL => return None,
    };
    let path = path::to_string(path);
    let origin = format!("{fingerprint:08x}{}", &path[1..]);
    let text = format!("{before}[{origin}]{xpub}/<0;1>/*{after}");
    let checksum = checksum(&text);
    Some(format!("{text}#{checksum}"))
}

/// Computes the checksum of BIP-380 over characters that all are in its alphabet.
fn checksum(text: &str) -> String {
    const INPUT: &str = "0123456789()[],'/*abcdefgh@:$%{}\
                         IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~\
                         ijklmnopqrstuvwxyzABCDEFGH`#\"\\ ";
    const OUTPUT: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u64; 5] = [
        0xf5_dee5_1989,
        0xa9_fdca_3312,
        0x1b_ab10_e32d,
        0x37_06b1_677a,
        0x64_4d62_6ffd,
    ];
    let step = |check: u64, value: usize| {
        let mixed = ((check & 0x7_ffff_ffff) << 5) ^ value as u64;
        let top = check >> 35;
        let taps = GENERATOR.iter().enumerate();
        taps.filter(|(bit, _)| (top >> bit) & 1 == 1)
            .fold(mixed, |mixed, (_, tap)| mixed ^ tap)
    };
    let places: Vec<usize> = text.chars().filter_map(|c| INPUT.find(c)).collect();
    let mut check = 1;
    for group in places.chunks(3) {
        check = group
            .iter()
            .fold(check, |check, place| step(check, place & 31));
        check = step(
            check,
            group
                .iter()
                .fold(0, |class, place| class * 3 + (place >> 5)),
        );
    }
    check = (0..8).fold(check, |check, _| step(check, 0)) ^ 1;
    (0..8)
        .map(|i| char::from(OUTPUT[(check >> (5 * (7 - i)) & 31) as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_bip_380() {
        assert_eq!(checksum("raw(deadbeef)"), "89f8spxm");
    }
}
