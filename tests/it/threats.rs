//! An answer to a threat is only as good as its proof: the named tests exist and run.

use std::path::Path;

use bcm_threat_model::THREATS;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// How a function of that name stands in a source text.
#[derive(Debug, PartialEq)]
enum Found {
    Living,
    Missing,
    NotATest,
    Ignored,
}

fn find(source: &str, function: &str) -> Found {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let head = format!("fn {function}(");
    let Some(at) = lines.iter().position(|line| {
        line.strip_prefix("async ")
            .unwrap_or(line)
            .starts_with(&head)
    }) else {
        return Found::Missing;
    };
    let attributes: Vec<_> = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
        .collect();
    if attributes.iter().any(|line| line.starts_with("#[ignore")) {
        return Found::Ignored;
    }
    let is_test = |line: &str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    if attributes.iter().any(|line| is_test(line)) {
        Found::Living
    } else {
        Found::NotATest
    }
}

#[test]
fn every_answered_threat_names_a_living_test() {
    let mut wrong = Vec::new();
    for threat in THREATS {
        for test in threat.tests {
            let (file, function) = test.split_once("::").expect("FILE::FUNCTION");
            let source = std::fs::read_to_string(Path::new(TOP).join(file)).unwrap_or_default();
            match find(&source, function) {
                Found::Living => {}
                other => wrong.push(format!("{}: {test}: {other:?}", threat.id)),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_test_that_does_not_run_is_no_proof() {
    let source = "#[test]\nfn runs() {}\n\n#[test]\n#[ignore]\nfn sleeps() {}\n\nfn helps() {}\n\
                  #[tokio::test]\nasync fn waits() {}\n";
    assert_eq!(find(source, "runs"), Found::Living);
    assert_eq!(find(source, "waits"), Found::Living);
    assert_eq!(find(source, "sleeps"), Found::Ignored);
    assert_eq!(find(source, "helps"), Found::NotATest);
    assert_eq!(find(source, "gone"), Found::Missing);
}
