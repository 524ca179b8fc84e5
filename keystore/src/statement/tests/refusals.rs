//! Everything but the right statement, in its place, with its signatures, is refused.

use super::*;
use crate::simulator::{Act, Script};
use proptest::test_runner::{Config, TestRunner};

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_approved_and_signed_is_verified() {
    let owner = Owner::new().await;
    let statement = deployment(Position::FIRST);
    let signed = owner.sign(&statement).await;
    let verified = owner.verify(&signed, Position::FIRST).unwrap();
    assert_eq!(verified.statement(), &statement);
    assert_eq!(*verified.signer(), owner.cert.fingerprint());
    assert!(verified.of_kind(StatementKind::Restore).is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    signed.write(&path).unwrap();
    assert_eq!(Signed::read(&path).unwrap(), signed);
    // what is pinned can be written down and read again
    let anchors = serde_json::to_string(&owner.anchors).unwrap();
    assert_eq!(
        serde_json::from_str::<Anchors>(&anchors).unwrap(),
        owner.anchors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_good_in_one_place_for_a_while() {
    let owner = Owner::new().await;
    let first = deployment(Position::FIRST);
    let second = deployment(Position::after(&first));
    let signed = owner.sign(&second).await;
    let next = Position::after(&first);
    assert!(owner.verify(&signed, next).is_ok());

    let refused = |next| owner.verify(&signed, next).unwrap_err();
    let after = Position::after(&second);
    assert!(matches!(
        refused(after),
        StatementError::Replayed {
            expected: 3,
            found: 2
        }
    ));
    assert!(matches!(
        refused(Position::FIRST),
        StatementError::Skipped {
            expected: 1,
            found: 2
        }
    ));
    let other = Position {
        previous: Some([9; 32].into()),
        ..next
    };
    assert!(matches!(
        refused(other),
        StatementError::Forked { serial: 2, .. }
    ));

    let trust = owner
        .anchors
        .expect(StatementKind::Deployment, Some(Chain::Regtest), next);
    let late = now() + Duration::from_secs(3600);
    let refused = |trust: &Trust<'_>, now| signed.verify(trust, now).unwrap_err();
    assert!(matches!(
        refused(&trust, late),
        StatementError::Expired { .. }
    ));
    let early = now() - CLOCK_SKEW - Duration::from_secs(1);
    assert!(matches!(
        refused(&trust, early),
        StatementError::Future { .. }
    ));

    let elsewhere = Anchors {
        cluster: "0".repeat(32),
        ..owner.anchors.clone()
    };
    let trust = Trust {
        anchors: &elsewhere,
        ..trust
    };
    assert!(matches!(
        refused(&trust, now()),
        StatementError::Cluster { .. }
    ));
    let trust = owner
        .anchors
        .expect(StatementKind::Deployment, Some(Chain::Signet), next);
    assert!(matches!(
        refused(&trust, now()),
        StatementError::Chain { .. }
    ));
    let trust = owner
        .anchors
        .expect(StatementKind::Restore, Some(Chain::Regtest), next);
    assert!(matches!(
        refused(&trust, now()),
        StatementError::Kind { .. }
    ));
    // what acts is never taken without its place
    let trust = owner
        .anchors
        .expect_record(StatementKind::Deployment, Some(Chain::Regtest));
    assert!(matches!(refused(&trust, now()), StatementError::NoPlace(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_signature_stands_in_for_another() {
    let owner = Owner::new().await;
    let good = owner.sign(&deployment(Position::FIRST)).await;
    let other = Head {
        cluster_name: "office".into(),
        ..head_at(Position::FIRST)
    };
    let subjects = || vec![subject("stack/tor"), subject("stack/bitcoind")];
    let other = Statement::new(StatementKind::Deployment, other, subjects(), body()).unwrap();
    let other = owner.sign(&other).await;
    let refused = |signed: Signed| owner.verify(&signed, Position::FIRST).unwrap_err();

    // another plan under the same approval, under the same OpenPGP signature
    let json = other.json.clone();
    let error = refused(Signed {
        json: json.clone(),
        ..good.clone()
    });
    assert!(matches!(error, StatementError::Approval(_)), "{error}");
    let error = refused(Signed {
        asc: other.asc.clone(),
        ..good.clone()
    });
    assert!(matches!(error, StatementError::Signature(_)), "{error}");
    assert!(error.is_verification());
    let error = refused(Signed {
        approval: other.approval,
        ..good.clone()
    });
    assert!(matches!(error, StatementError::Approval(_)), "{error}");
    // an OpenPGP signature alone is blind
    let error = refused(Signed {
        approval: None,
        ..good.clone()
    });
    assert!(matches!(error, StatementError::NotApproved(_)), "{error}");
    let error = refused(Signed {
        asc: Vec::new(),
        ..good.clone()
    });
    assert!(error.is_verification(), "{error}");
    // both at once
    let mut twice = good.asc.clone();
    twice.extend(&good.asc);
    let error = refused(Signed {
        asc: twice,
        ..good.clone()
    });
    assert!(matches!(error, StatementError::SignatureForm(_)), "{error}");

    let stranger = Owner::of("another", Simulator::builder().build()).await;
    let theirs = stranger.sign(&deployment(Position::FIRST)).await;
    let error = refused(theirs.clone());
    assert!(
        matches!(error, StatementError::ApprovalKey { .. }),
        "{error}"
    );
    let error = refused(Signed {
        asc: theirs.asc,
        ..good
    });
    assert!(
        matches!(
            error,
            StatementError::Signature(PgpError::UnknownSigner { .. })
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_signed_once_and_stands_anywhere() {
    let owner = Owner::new().await;
    let head = Head {
        expires_at: None,
        ..head_at(Position {
            serial: 7,
            previous: Some([1; 32].into()),
        })
    };
    let subjects = vec![subject("volume/data.tar.zst.age")];
    let backup = Statement::new(StatementKind::Backup, head, subjects, body()).unwrap();
    let signed = owner.sign(&backup).await;
    assert_eq!(signed.approval, None);
    let trust = owner
        .anchors
        .expect_record(StatementKind::Backup, Some(Chain::Regtest));
    let later = now() + Duration::from_secs(5 * 365 * 86_400);
    assert!(signed.verify(&trust, later).is_ok());
    let approved = owner.sign(&deployment(Position::FIRST)).await.approval;
    let error = Signed {
        approval: approved,
        ..signed
    }
    .verify(&trust, later)
    .unwrap_err();
    assert!(matches!(error, StatementError::Superfluous(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_person_declines_is_not_signed() {
    // unlock, two for the certificate, then the approval, or the signature after it
    for declined_at in [0, 1] {
        let confirmed = (0..4 + declined_at).map(|_| Act::Confirm);
        let acts = confirmed.chain([Act::Reject]);
        let simulator = Simulator::builder().person(Script::new(acts)).build();
        let owner = Owner::of("bcm test", simulator).await;
        let statement = deployment(Position::FIRST);
        let device = owner.session.device();
        let error = sign(device, &owner.cert, &statement, now())
            .await
            .unwrap_err();
        assert!(
            matches!(error, StatementError::Device(DeviceError::Declined)),
            "{declined_at}: {error}"
        );
    }
}

/// Every byte of the three files, and a bit of each: none can be changed.
#[tokio::test(flavor = "multi_thread")]
async fn any_changed_byte_is_refused() {
    let owner = Owner::new().await;
    let good = owner.sign(&deployment(Position::FIRST)).await;
    assert!(owner.verify(&good, Position::FIRST).is_ok());
    let lengths = [
        good.json.len(),
        good.asc.len(),
        good.approval.as_ref().unwrap().len(),
    ];
    let changed = |file: usize, at: usize, bits: u8| {
        let mut signed = good.clone();
        let bytes = match file {
            0 => &mut signed.json,
            1 => &mut signed.asc,
            _ => signed.approval.as_mut().unwrap(),
        };
        bytes[at] ^= bits;
        owner.verify(&signed, Position::FIRST)
    };
    for (file, length) in lengths.into_iter().enumerate() {
        for at in 0..length {
            assert!(changed(file, at, 1).is_err(), "file {file}, byte {at}");
        }
    }
    let mut runner = TestRunner::new(Config::with_cases(512));
    let any = (0..3_usize, proptest::num::usize::ANY, 1..=255_u8);
    let outcome = runner.run(&any, |(file, at, bits)| {
        let error = changed(file, at % lengths[file], bits)
            .map(|_| ())
            .unwrap_err();
        proptest::prop_assert!(error.is_verification(), "{}", error);
        Ok(())
    });
    outcome.unwrap();
}
