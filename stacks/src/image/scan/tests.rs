use super::*;

fn installed(source: &str, version: &str) -> Installed {
    let package = |name: &str| Package {
        name: name.into(),
        version: version.into(),
        source: source.into(),
        source_version: version.into(),
    };
    Installed {
        packages: vec![package("libssl3"), package("openssl")],
        ..Installed::default()
    }
}

const TRACKER: &str = r#"{
  "openssl": {
    "CVE-2026-1": {"description": "x", "releases": {
      "bookworm": {"status": "resolved", "urgency": "high**", "fixed_version": "3.0.17-1~deb12u2", "repositories": {}},
      "sid": {"status": "resolved", "urgency": "high", "fixed_version": "3.5.2-1"}}},
    "CVE-2026-2": {"releases": {"bookworm": {"status": "open", "urgency": "not yet assigned"}}},
    "CVE-2026-3": {"releases": {"bookworm": {"status": "resolved", "urgency": "low", "fixed_version": "0"}}}
  },
  "other": {"CVE-2026-4": {"releases": {"bookworm": {"status": "open", "urgency": "high"}}}}
}"#;

fn scanned(text: &str, version: &str) -> Vec<(String, Severity)> {
    let installed = installed("openssl", version);
    let advisories = Advisories::read("x", text.as_bytes(), &installed, "bookworm").unwrap();
    let findings = scan(&installed, &advisories).unwrap();
    assert!(
        findings
            .iter()
            .all(|finding| finding.packages == ["libssl3", "openssl"])
    );
    findings
        .into_iter()
        .map(|finding| (finding.id, finding.severity))
        .collect()
}

fn expect(found: &[(&str, Severity)]) -> Vec<(String, Severity)> {
    found
        .iter()
        .map(|(id, severity)| ((*id).to_owned(), *severity))
        .collect()
}

#[test]
fn the_tracker_is_asked_for_the_release_and_the_source_package() {
    let open = ("CVE-2026-2", Severity::Unknown);
    let both = expect(&[("CVE-2026-1", Severity::High), open]);
    assert_eq!(scanned(TRACKER, "3.0.17-1~deb12u1"), both);
    assert_eq!(scanned(TRACKER, "3.0.17-1~deb12u2"), expect(&[open]));
    assert_eq!(scanned(TRACKER, "3.0.17-1"), expect(&[open]));
    // an epoch is newer than any number
    assert_eq!(scanned(TRACKER, "1:1.0-1"), expect(&[open]));
}

#[test]
fn osv_is_read_alone_in_a_list_and_line_by_line() {
    let record = |id: &str, ecosystem: &str, events: &str| {
        format!(
            r#"{{"id": "{id}", "schema_version": "1.7.3", "affected": [{{"package": {{"ecosystem": "{ecosystem}", "name": "openssl"}},
            "ranges": [{{"type": "ECOSYSTEM", "events": [{events}]}}], "ecosystem_specific": {{"urgency": "medium"}}}}]}}"#
        )
    };
    let one = record(
        "DSA-1",
        "Debian:12",
        r#"{"introduced": "0"}, {"fixed": "3.0.2-1"}"#,
    );
    let two = record("DSA-2", "Debian:12", r#"{"introduced": "3.0.1-1"}"#);
    let other = record("DSA-3", "Debian:11", r#"{"introduced": "0"}"#);
    for (text, number) in [
        (one.clone(), 1),
        (format!("[{one}, {two}, {other}]"), 2),
        (format!("{one}\n{two}\n{other}\n"), 2),
        (format!(r#"{{"vulns": [{two}]}}"#), 1),
    ] {
        assert_eq!(scanned(&text, "3.0.1-2").len(), number, "{text}");
    }
    assert_eq!(
        scanned(&one, "3.0.1-2")[0],
        ("DSA-1".into(), Severity::Medium)
    );
    assert_eq!(scanned(&two, "3.0.0-1"), []);
    assert_eq!(scanned(&one, "3.0.2-1"), []);
}

#[test]
fn silence_is_not_safety() {
    let none = Installed::default();
    let nothing = Advisories::default();
    assert!(matches!(scan(&none, &nothing), Err(ScanError::NoPackages)));
    let alpine = Installed {
        unread: Some("apk"),
        ..Installed::default()
    };
    assert!(matches!(
        scan(&alpine, &nothing),
        Err(ScanError::Unread("apk"))
    ));
    let some = installed("openssl", "1");
    for cut in [
        "",
        "[",
        "{\"openssl\": {",
        "3",
        "{\"openssl\": 3}",
        "nothing",
    ] {
        assert!(
            Advisories::read("x", cut.as_bytes(), &some, "bookworm").is_err(),
            "{cut}"
        );
    }
    // a version that cannot be compared is told of
    assert_eq!(scanned(TRACKER, "???").len(), 2);
}

#[test]
fn a_threshold_leaves_out_what_nobody_judged() {
    assert!(Severity::Unknown < Severity::Low && Severity::High < Severity::Critical);
    assert_eq!("medium".parse::<Severity>().unwrap(), Severity::Medium);
    assert!("severe".parse::<Severity>().is_err());
}
