//! The chain of statements on disk.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_takes_statements_in_their_order_and_once() {
    let owner = Owner::new().await;
    let store = owner.session.store();
    let mut ledger = Ledger::open(store, CLUSTER).unwrap();
    assert_eq!(ledger.head(), Position::FIRST);
    // another program that read the ledger when it was empty
    let mut slower = Ledger::open(store, CLUSTER).unwrap();
    let first = owner.sign(&deployment(Position::FIRST)).await;
    let first = owner.verify(&first, ledger.head()).unwrap();
    ledger.append(&first).unwrap();
    let next = ledger.head();
    assert_eq!(next, Position::after(first.statement()));
    let second = owner.sign(&deployment(next)).await;
    let second = owner.verify(&second, next).unwrap();
    let again = ledger.append(&first).unwrap_err();
    assert!(matches!(again, StatementError::Replayed { .. }), "{again}");
    let late = slower.append(&first).unwrap_err();
    assert!(matches!(late, StatementError::Replayed { .. }), "{late}");
    ledger.append(&second).unwrap();

    let read = Ledger::open(store, CLUSTER).unwrap();
    let names: Vec<_> = read.entries().iter().map(Entry::file_name).collect();
    assert_eq!(names, ["000001-deployment.json", "000002-deployment.json"]);
    assert_eq!(read.get(2).unwrap().signed, *second.signed());
    assert!(read.get(0).is_none() && read.get(3).is_none());
    read.verify(&owner.anchors, now()).unwrap();
    let examined = read.get(1).unwrap().signed.examine(&owner.anchors, now());
    assert_eq!(&examined.unwrap(), first.statement());
    assert_eq!(Ledger::clusters(store).unwrap(), [CLUSTER]);
    let other = "0".repeat(32);
    assert_eq!(Ledger::open(store, &other).unwrap().head(), Position::FIRST);
    let wrong = Ledger::open(store, &other)
        .unwrap()
        .append(&second)
        .unwrap_err();
    assert!(matches!(wrong, StatementError::Cluster { .. }), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_go_on_from_one_statement_the_ledger_takes_one() {
    let owner = Owner::new().await;
    let store = owner.session.store();
    let mut one = Ledger::open(store, CLUSTER).unwrap();
    let mut two = Ledger::open(store, CLUSTER).unwrap();
    let ours = owner.sign(&deployment(one.head())).await;
    let theirs = Head {
        cluster_name: "office".into(),
        ..head_at(two.head())
    };
    let subjects = vec![subject("stack/tor")];
    let theirs = Statement::new(StatementKind::Deployment, theirs, subjects, body()).unwrap();
    let theirs = owner.sign(&theirs).await;
    one.append(&owner.verify(&ours, Position::FIRST).unwrap())
        .unwrap();
    let refused = two
        .append(&owner.verify(&theirs, Position::FIRST).unwrap())
        .unwrap_err();
    assert!(
        matches!(refused, StatementError::Replayed { .. }),
        "{refused}"
    );
    assert_eq!(Ledger::open(store, CLUSTER).unwrap().entries().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_do_not_take_the_place_of_those_that_are_pinned() {
    let owner = Owner::new().await;
    let store = owner.session.store();
    let mut ledger = Ledger::open(store, CLUSTER).unwrap();
    assert_eq!(ledger.anchors(), None);
    ledger.pin(owner.anchors.clone()).unwrap();
    ledger.pin(owner.anchors.clone()).unwrap();
    let stranger = Owner::of("another", Simulator::builder().build()).await;
    let error = ledger.pin(stranger.anchors.clone()).unwrap_err();
    assert!(matches!(error, StatementError::PinnedOthers(_)), "{error}");
    let elsewhere = Anchors {
        cluster: "0".repeat(32),
        ..owner.anchors.clone()
    };
    let error = ledger.pin(elsewhere).unwrap_err();
    assert!(matches!(error, StatementError::Cluster { .. }), "{error}");
    let read = Ledger::open(store, CLUSTER).unwrap();
    assert_eq!(read.anchors(), Some(&owner.anchors));
}
