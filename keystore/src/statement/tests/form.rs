//! The bytes of statements, the text on the device, and what genuine firmware signed.

use super::*;
use crate::statement::approval::verify_bound;
use proptest::prelude::*;

#[test]
fn a_statement_is_written_as_in_toto_in_canonical_json() {
    let head = Head {
        issued_at: UNIX_EPOCH + TREZOR_TIME + Duration::from_millis(900),
        expires_at: Some(UNIX_EPOCH + TREZOR_TIME + Duration::from_secs(600)),
        ..head_at(Position::FIRST)
    };
    let subjects = vec![Subject {
        name: "stack/tor".into(),
        sha256: [7; 32].into(),
    }];
    let made = Statement::new(StatementKind::Deployment, head, subjects, body()).unwrap();
    let digest = "07".repeat(32);
    let expected = format!(
        concat!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{"chain":"regtest","#,
            r#""cluster":"{}","clusterName":"home","expiresAt":"2009-01-03T18:25:05Z","#,
            r#""issuedAt":"2009-01-03T18:15:05Z","#,
            r#""operations":[{{"method":"POST","path":"/services/create"}}],"serial":1}},"#,
            r#""predicateType":"https://bitcoincachemachine.org/deployment/v1","#,
            r#""subject":[{{"digest":{{"sha256":"{}"}},"name":"stack/tor"}}]}}"#
        ),
        CLUSTER, digest
    );
    assert_eq!(String::from_utf8_lossy(made.canonical()), expected);
    assert_eq!(Statement::parse(expected.as_bytes()).unwrap(), made);
    assert_eq!(made.digest(), Sha256Digest::of(expected.as_bytes()));
}

#[test]
fn every_other_spelling_is_refused() {
    let made = deployment(Position::FIRST);
    let text = String::from_utf8(made.canonical().to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let spellings = [
        format!("{text}\n"),
        format!(" {text}"),
        changed(":", ": "),
        changed(r#""serial":1"#, r#""serial":1,"serial":1"#),
        changed(r#""clusterName":"home","#, "")
            .replace(r#""serial":1"#, r#""serial":1,"clusterName":"home""#),
        changed("home", r"\u0068ome"),
        changed("/services", r"\/services"),
    ];
    for spelling in spellings {
        let error = Statement::parse(spelling.as_bytes()).unwrap_err();
        assert!(
            matches!(error, StatementError::NotCanonical(_)),
            "{spelling}: {error}"
        );
    }
}

#[test]
fn what_is_no_statement_is_refused_with_what_is_wrong() {
    let made = deployment(Position::FIRST);
    let text = String::from_utf8(made.canonical().to_vec()).unwrap();
    for (from, to, wrong) in [
        (
            r#""_type""#,
            r#""_kind":"x","_type""#,
            "unknown field `_kind`",
        ),
        (
            "in-toto.io/Statement/v1",
            "in-toto.io/Statement/v2",
            "`_type`",
        ),
        ("deployment/v1", "deployment/v2", "`predicateType`"),
        (r#""serial":1"#, r#""serial":0"#, "the first is 1"),
        (r#""serial":1"#, r#""serial":2"#, "names none before"),
        (r#""serial":1"#, r#""serial":1.0"#, "fraction"),
        (r#""serial":1"#, r#""serial":1e0"#, "fraction"),
        (
            r#""serial":1"#,
            r#""serial":9007199254740992"#,
            "not every program",
        ),
        (r#""serial":1"#, r#""serial":"1""#, "no number"),
        (CLUSTER, "HOME", "no cluster id"),
        (r#""home""#, r#""ho me""#, "the name `ho me`"),
        (r#""regtest""#, r#""main""#, "unknown chain"),
        (r#""chain":"regtest","#, "", "has to name its chain"),
        ("stack/tor", "stack/", "the subject `stack/`"),
        ("stack/tor", "stack/a+b", "the subject `stack/a+b`"),
        ("stack/tor", "stack/bitcoind", "stands in it twice"),
        (r#""sha256":""#, r#""sha256":"0"#, "no SHA-256"),
        (r#""sha256":"#, r#""sha512":"#, "no `sha256`"),
        ("2026-", "1926-", "no time as"),
        ("Z\"", ".5Z\"", "no time as"),
    ] {
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        let error = Statement::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, StatementError::Malformed(_)), "{error}");
        assert!(
            error.to_string().contains(wrong),
            "{error} instead of {wrong}"
        );
    }
    for text in ["", "null", "[]", "{}", "{", "\u{feff}{}", "1"] {
        let error = Statement::parse(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, StatementError::Malformed(_)),
            "{text}: {error}"
        );
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Statement::parse(deep.as_bytes()).is_err());
    let long = vec![b' '; MAX_STATEMENT + 1];
    let error = Statement::parse(&long).unwrap_err();
    assert!(matches!(error, StatementError::TooLong { .. }), "{error}");
}

#[test]
fn what_cannot_be_read_again_is_not_made() {
    let make = |kind, head, subjects, body| Statement::new(kind, head, subjects, body).unwrap_err();
    let subjects = || vec![subject("stack/tor")];
    let head = || head_at(Position::FIRST);
    let field = Map::from_iter([("serial".to_owned(), json!(7))]);
    let fraction = Map::from_iter([("fee".to_owned(), json!(1.5))]);
    let endless = Head {
        expires_at: None,
        ..head()
    };
    let ended = Head {
        expires_at: Some(now()),
        ..head()
    };
    let deployment = StatementKind::Deployment;
    for error in [
        make(deployment, head(), subjects(), field),
        make(deployment, head(), subjects(), fraction),
        make(deployment, head(), Vec::new(), body()),
        make(deployment, endless.clone(), subjects(), body()),
        make(deployment, ended, subjects(), body()),
    ] {
        assert!(matches!(error, StatementError::Unmakeable(_)), "{error}");
        assert!(!error.is_verification());
    }
    // a record does not end to be one
    Statement::new(StatementKind::Backup, endless, subjects(), body()).unwrap();
}

#[test]
fn the_text_on_the_device_is_as_documented() {
    let next = Position {
        serial: 42,
        previous: Some([1; 32].into()),
    };
    let text = |kind, names: &[&str], chain, name: &str| {
        let head = Head {
            chain,
            cluster_name: name.into(),
            ..head_at(next)
        };
        let subjects = names.iter().map(|name| subject(name)).collect();
        let made = Statement::new(kind, head, subjects, Map::new()).unwrap();
        let text = made.visual();
        assert!(text.ends_with(&made.digest().short()), "{text}");
        assert!(text.len() <= MAX_VISUAL, "{text}");
        text[..text.len() - 9].to_owned()
    };
    let mainnet = Some(Chain::Mainnet);
    assert_eq!(
        text(
            StatementKind::Deployment,
            &["stack/tor", "stack/bitcoind"],
            mainnet,
            "home"
        ),
        "bcm v1 deploy tor+bitcoind chain mainnet cluster home #42"
    );
    assert_eq!(
        text(StatementKind::Preparation, &["host/node-1"], None, "home"),
        "bcm v1 prepare node-1 cluster home #42"
    );
    let many: Vec<_> = (0..60).map(|at| format!("stack/service-{at}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(
        text(StatementKind::Restore, &many, mainnet, "home"),
        "bcm v1 restore service-0+service-1+service-2+service-3+service-4+service-5+service-6\
         +service-7+service-8+service-9+service-10+service-11+service-12 and 47 more chain mainnet cluster home #42"
    );
    let long = format!("stack/{}", "x".repeat(190));
    let name = "c".repeat(63);
    let cut = text(
        StatementKind::SessionLog,
        &[&long, "stack/y"],
        mainnet,
        &name,
    );
    assert!(cut.contains("xxx... and 1 more chain mainnet"), "{cut}");
}

/// What genuine firmware showed on two pages, and the text of the same statement.
#[test]
fn two_pages_of_the_genuine_device_hold_what_this_makes() {
    let recorded = transcript(include_str!(
        "../../../vectors/transcripts/approval-two-pages.json"
    ));
    let names = "tor bitcoind clightning lnd electrs esplora nbxplorer btcpayserver ridethelightning \
                 spark lightning-charge liquid electrum";
    let head = Head {
        chain: Some(Chain::Mainnet),
        cluster_name: "home-and-office".into(),
        ..head_at(Position {
            serial: 1_234_567,
            previous: Some([1; 32].into()),
        })
    };
    let subjects = names
        .split(' ')
        .map(|name| subject(&format!("stack/{name}")))
        .collect();
    let made = Statement::new(StatementKind::Deployment, head, subjects, Map::new()).unwrap();
    let (ours, theirs) = (made.visual(), recorded.challenge_visual);
    assert_eq!(ours[..ours.len() - 8], theirs[..theirs.len() - 8]);
}

#[test]
fn approvals_of_the_genuine_device_verify_and_no_others() {
    for text in [
        include_str!("../../../vectors/transcripts/approval-deploy.json"),
        include_str!("../../../vectors/transcripts/approval-restore.json"),
        include_str!("../../../vectors/transcripts/approval-two-pages.json"),
    ] {
        let Transcript {
            identity,
            challenge_hidden,
            challenge_visual,
            result,
        } = transcript(text);
        let kinds = [StatementKind::Deployment, StatementKind::Restore];
        assert!(
            kinds
                .iter()
                .any(|kind| kind.approval_identity().to_string() == identity)
        );
        let key: ApprovalKey = result.public_key.parse().unwrap();
        let signature: [u8; 65] = hex::decode(result.signature).unwrap().try_into().unwrap();
        let hidden: [u8; 32] = hex::decode(challenge_hidden).unwrap().try_into().unwrap();
        let good = |visual: &str, hidden: &[u8; 32], signature: &[u8; 65]| {
            verify_bound(&hidden.to_owned().into(), visual, &key, signature).is_ok()
        };
        assert!(good(&challenge_visual, &hidden, &signature));
        assert!(!good(
            &challenge_visual.replace("bcm v1", "bcm v2"),
            &hidden,
            &signature
        ));
        assert!(!good(&challenge_visual, &[0; 32], &signature));
        for at in 0..65 {
            let mut signature = signature;
            signature[at] ^= 1;
            assert!(!good(&challenge_visual, &hidden, &signature), "byte {at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_has_the_approval_keys_of_the_genuine_device() {
    let owner = Owner::new().await;
    for (kind, text) in [
        (
            StatementKind::Deployment,
            include_str!("../../../vectors/transcripts/approval-deploy.json"),
        ),
        (
            StatementKind::Restore,
            include_str!("../../../vectors/transcripts/approval-restore.json"),
        ),
    ] {
        let key = owner.anchors.approvals[&kind].to_string();
        assert_eq!(key, transcript(text).result.public_key);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53) + 1..1 << 53).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_made_is_read_and_written_as_the_same_bytes(
        body in prop::collection::btree_map("[a-z]{9,12}|\\PC{1,8}", json_value(), 0..6),
        names in prop::collection::btree_set("[a-z]{1,9}/[a-zA-Z0-9._/:@-]{1,40}", 1..20),
        serial in 2_u64..1 << 53,
    ) {
        let body: Map<_, _> = body.into_iter().filter(|(name, _)| name != "clustername").collect();
        let next = Position { serial, previous: Some([3; 32].into()) };
        let subjects: Vec<_> = names.iter().map(|name| subject(name)).collect();
        let made = Statement::new(StatementKind::Deployment, head_at(next), subjects, body.clone());
        let made = made.unwrap();
        let read = Statement::parse(made.canonical()).unwrap();
        prop_assert_eq!(read.body(), &body);
        prop_assert_eq!(&read, &made);
        let visual = made.visual();
        prop_assert!(visual.len() <= MAX_VISUAL);
        prop_assert!(visual.bytes().all(|b| (b' '..=b'~').contains(&b)));
        let end = format!("#{serial} {}", made.digest().short());
        prop_assert!(visual.ends_with(&end));
    }

    #[test]
    fn bytes_that_are_no_statement_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Statement::parse(&bytes).is_err());
        prop_assert!(Approval::parse(&bytes).is_err());
    }
}
