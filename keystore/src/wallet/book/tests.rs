use bitcoin::OutPoint;
use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Transaction, TxIn, TxOut, Txid, transaction};

use super::*;
use crate::secret::SecretKey;
use crate::store::Home;

const SAVINGS: &str = "wpkh([dd53b9b4/84h/1h/0h]tpubDDA54BFhBqkPQx35nYmVprcLhnDMfizT333d5AHtc8KohAcz5ffrhhWNfo88Ayjr1dMTrBf6KwY2f82tNs9tVxcpJSktBchM2Hu9X2jRHev/<0;1>/*)#09q3t6ku";
const OTHER: &str = "tr([dd53b9b4/86h/1h/0h]tpubDCv39snnJyxVXZebjCnC4vhru6xr73MBcLSkqJN2q3m8ZYA2gTep5hPxGdXAqJCvNR7eoPdgQHGdkdMfWhYShfGHy5PZupXWhYX9THeBzTL/<0;1>/*)#dkvrg0r3";

fn book(folder: &std::path::Path, chain: Chain) -> WalletBook {
    let key = SecretKey::new(&mut [7; 32]);
    let store = WalletStore::open(&Home::below(folder), "xpub", &key)
        .unwrap()
        .0;
    WalletBook::new(&Arc::new(store), chain)
}

fn new(name: &str, descriptor: &str) -> NewWallet {
    NewWallet {
        name: name.parse().unwrap(),
        descriptor: descriptor.parse().unwrap(),
        created: 1_800_000_000,
        birthday: 7,
    }
}

/// Pays `value` to the wallet, out of nowhere.
fn payment(ledger: &mut Ledger, value: u64, number: u8) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([number; 32]), 0),
            ..TxIn::default()
        }],
        output: vec![TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ledger.receive(true).address.script_pubkey(),
        }],
    }
}

#[test]
fn a_wallet_is_there_again_with_everything_that_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let book = book(folder.path(), Chain::Regtest);
    book.create(&new("savings", SAVINGS)).unwrap();
    let mut ledger = book.open(None).unwrap();
    let paid = payment(&mut ledger, 50_000, 1);
    let coin = OutPoint::new(paid.compute_txid(), 0);
    ledger.note_sent(paid, 1_800_000_001);
    ledger.set_frozen(coin, true).unwrap();
    ledger.set_label(Label {
        kind: "tx".into(),
        reference: coin.txid.to_string(),
        label: "rent".into(),
        origin: None,
        spendable: None,
    });
    let next = ledger.receive(true).index;
    book.save(&mut ledger).unwrap();

    let mut again = book.open(Some("savings")).unwrap();
    assert_eq!(again.balance().total().to_sat(), 50_000);
    assert_eq!(again.frozen_value().to_sat(), 50_000);
    assert_eq!(again.history()[0].label.as_deref(), Some("rent"));
    assert_eq!(again.receive(true).index, next + 1);
    assert_eq!(again.birthday(), 7);
    assert_eq!(again.descriptor().to_string(), SAVINGS);
    book.forget_chain("savings").unwrap();
    let fresh = book.open(None).unwrap();
    assert_eq!(fresh.balance().total().to_sat(), 0);
    assert_eq!(fresh.labels().len(), 2);
}

#[test]
fn two_programs_that_use_one_wallet_lose_nothing_to_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (
        book(folder.path(), Chain::Regtest),
        book(folder.path(), Chain::Regtest),
    );
    ours.create(&new("savings", SAVINGS)).unwrap();
    let mut first = ours.open(None).unwrap();
    let mut second = theirs.open(None).unwrap();
    let paid = payment(&mut first, 10_000, 1);
    first.note_sent(paid, 1_800_000_001);
    let paid = payment(&mut second, 20_000, 2);
    second.note_sent(paid, 1_800_000_002);
    ours.save(&mut first).unwrap();
    theirs.save(&mut second).unwrap();
    let both = ours.open(None).unwrap();
    assert_eq!(both.balance().total().to_sat(), 30_000);
}

#[test]
fn programs_that_ask_at_the_same_time_are_given_an_address_each() {
    const PROGRAMS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    book(folder.path(), Chain::Regtest)
        .create(&new("savings", SAVINGS))
        .unwrap();
    let start = std::sync::Barrier::new(PROGRAMS);
    let given: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let book = book(folder.path(), Chain::Regtest);
            start.wait();
            let fresh = |ledger: &mut Ledger| ledger.receive(true).address.to_string();
            let one = book.update(None, fresh).unwrap().1;
            [one, book.update(Some("savings"), fresh).unwrap().1]
        };
        let programs: Vec<_> = (0..PROGRAMS).map(|_| scope.spawn(ask)).collect();
        let each = programs.into_iter();
        each.flat_map(|program| program.join().unwrap()).collect()
    });
    let different: std::collections::BTreeSet<_> = given.iter().collect();
    assert_eq!(different.len(), 2 * PROGRAMS, "{given:?}");
    let next = book(folder.path(), Chain::Regtest)
        .open(None)
        .unwrap()
        .receive(true);
    assert_eq!(next.index as usize, 2 * PROGRAMS);
}

#[test]
fn a_wallet_that_was_removed_meanwhile_is_not_written_into_another() {
    let folder = tempfile::tempdir().unwrap();
    let book = book(folder.path(), Chain::Regtest);
    book.create(&new("savings", SAVINGS)).unwrap();
    let mut stale = book.open(None).unwrap();
    let paid = payment(&mut stale, 10_000, 1);
    stale.note_sent(paid, 1_800_000_001);
    book.remove("savings").unwrap();
    book.create(&new("savings", OTHER)).unwrap();
    assert!(matches!(
        book.save(&mut stale),
        Err(WalletError::NotFound { .. })
    ));
    assert_eq!(book.open(None).unwrap().history().len(), 0);
}

#[test]
fn names_and_chains_keep_wallets_apart() {
    let folder = tempfile::tempdir().unwrap();
    let regtest = book(folder.path(), Chain::Regtest);
    let mainnet = book(folder.path(), Chain::Mainnet);
    regtest.create(&new("savings", SAVINGS)).unwrap();
    assert!(matches!(
        mainnet.create(&new("savings", SAVINGS)),
        Err(WalletError::OtherChain { .. })
    ));
    assert!(matches!(
        regtest.create(&new("savings", OTHER)),
        Err(WalletError::Exists(_))
    ));
    regtest.create(&new("spending", OTHER)).unwrap();
    assert!(matches!(
        regtest.open(None),
        Err(WalletError::NotNamed { .. })
    ));
    assert!(mainnet.list().unwrap().is_empty());
    let refused = regtest.open(Some("saving")).unwrap_err();
    assert_eq!(refused.to_string(), "no wallet `saving` on regtest");
    for name in ["", "-x", ".x", "a/b", "a b", "ä", &"x".repeat(41)] {
        assert!(name.parse::<WalletName>().is_err(), "{name}");
    }
}
