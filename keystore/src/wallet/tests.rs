//! What people bring from elsewhere: it is read as what it says, or refused, and nothing panics.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bdk_wallet::miniscript::descriptor::checksum::desc_checksum;
use proptest::prelude::*;
use proptest::sample::Index;

use super::message::{parse_address, verify};
use super::{AccountXpub, WalletDescriptor, WalletName, labels};
use crate::chain::Chain;

const DESCRIPTORS: [&str; 3] = [
    "wpkh([dd53b9b4/84h/1h/0h]tpubDDA54BFhBqkPQx35nYmVprcLhnDMfizT333d5AHtc8KohAcz5ffrhhWNfo88Ayjr1dMTrBf6KwY2f82tNs9tVxcpJSktBchM2Hu9X2jRHev/<0;1>/*)",
    "tr([dd53b9b4/86h/1h/0h]tpubDCv39snnJyxVXZebjCnC4vhru6xr73MBcLSkqJN2q3m8ZYA2gTep5hPxGdXAqJCvNR7eoPdgQHGdkdMfWhYShfGHy5PZupXWhYX9THeBzTL/<0;1>/*)",
    "wsh(sortedmulti(1,[dd53b9b4/48h/1h/0h/2h]tpubDFCvhQ5pq3s8do6rGPhghho3bM4eGTR83BPt33e3D7i66eRsmQeuNbTWJHVCzcBsaTG3v8qxrTcDUC2ky1HXzdpEUTcd8s8Yn86W7BMw7Md/<0;1>/*,[dd53b9b4/84h/1h/0h]tpubDDA54BFhBqkPQx35nYmVprcLhnDMfizT333d5AHtc8KohAcz5ffrhhWNfo88Ayjr1dMTrBf6KwY2f82tNs9tVxcpJSktBchM2Hu9X2jRHev/<0;1>/*))",
];

const LABEL: &str = r#"{"type":"tx","ref":"f91d0a8a78462bc59398f2c5d7a84fcff491c26ba54c4833478b202796c8aafd","label":"rent","spendable":false}"#;

/// Puts `piece` in the place of what lies between two places of `text`.
fn changed(text: &str, places: (Index, Index), piece: &str) -> String {
    let places = [places.0, places.1].map(|place| place.index(text.len() + 1));
    let (from, to) = (places[0].min(places[1]), places[0].max(places[1]));
    format!("{}{piece}{}", &text[..from], &text[to..])
}

/// Gives a descriptor the checksum that it asks for, so that what lies behind is reached.
fn with_checksum(body: &str) -> String {
    let checksum = desc_checksum(body).unwrap_or_default();
    format!("{body}#{checksum}")
}

fn read_everything(text: &str) {
    if let Ok(descriptor) = text.parse::<WalletDescriptor>() {
        let printed = descriptor.to_string();
        let again: WalletDescriptor = printed.parse().expect("what was printed is read");
        assert_eq!(again.to_string(), printed);
    }
    if let Ok(key) = text.parse::<AccountXpub>() {
        assert_eq!(key.to_string().parse::<AccountXpub>().unwrap(), key);
    }
    if let Ok(found) = labels::read(text) {
        assert_eq!(labels::read(&labels::write(&found)).unwrap(), found);
    }
    if let Ok(name) = text.parse::<WalletName>() {
        assert_eq!(name.as_str(), text);
    }
    for chain in Chain::ALL {
        if let Ok(address) = parse_address(text, chain) {
            assert_eq!(parse_address(&address.to_string(), chain).unwrap(), address);
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        read_everything(&text);
    }

    #[test]
    fn a_descriptor_with_a_piece_changed_is_read_or_refused(
        which in 0..DESCRIPTORS.len(),
        places: (Index, Index),
        piece in "[a-z0-9()\\[\\]{}<>;,/*#'h]{0,8}",
    ) {
        let body = changed(DESCRIPTORS[which], places, &piece);
        read_everything(&body);
        read_everything(&with_checksum(&body));
        let key = body.trim_start_matches(|c| c != '[');
        read_everything(key.split("/<").next().unwrap_or_default());
    }

    #[test]
    fn a_label_with_a_piece_changed_is_read_or_refused(places: (Index, Index), piece in "\\PC{0,4}") {
        read_everything(&changed(LABEL, places, &piece));
    }

    #[test]
    fn any_signature_of_a_message_is_refused(text in "\\PC{0,100}", bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let address = parse_address("bcrt1que3zc6drmcttlxrrkxkp70f7mngqjzu7l5nwst", Chain::Regtest).unwrap();
        let encoded = BASE64.encode(bytes);
        for signature in [&text, &encoded] {
            prop_assert!(verify(&address, b"I own this", signature).is_err());
        }
    }
}
