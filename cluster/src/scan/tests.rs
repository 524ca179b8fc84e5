use std::net::TcpListener;

use proptest::prelude::*;

use super::*;
use crate::client::ClientEnv;
use crate::sshd::{Sshd, settings};

fn at(port: u16) -> Destination {
    format!("root@127.0.0.1:{port}").parse().unwrap()
}

#[tokio::test]
async fn a_real_server_gives_each_of_its_keys() {
    let sshd = Sshd::start(&["ed25519", "ecdsa"], "");
    let keys = scan(&at(sshd.port), Duration::from_secs(10), &settings())
        .await
        .unwrap();
    assert_eq!(keys.len(), 2);
    for kind in ["ed25519", "ecdsa"] {
        assert!(keys.contains(&sshd.host_key(kind)), "{kind}");
    }
}

#[tokio::test]
async fn a_silent_host_costs_the_time_that_was_given() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let start = std::time::Instant::now();
    let error = scan(&at(port), Duration::from_millis(300), &settings())
        .await
        .unwrap_err();
    assert!(matches!(error, ScanError::Timeout { .. }), "{error}");
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_host_that_is_not_there_is_an_error() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = scan(&at(port), Duration::from_secs(5), &settings())
        .await
        .unwrap_err();
    let expected = format!("`root@127.0.0.1:{port}` offers no host key");
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn no_resolver_is_asked_for_an_onion() {
    let onion = "root@abcdefghijklmnop.onion".parse().unwrap();
    let error = scan(&onion, Duration::from_secs(5), &settings())
        .await
        .unwrap_err();
    assert!(matches!(error, ScanError::Onion(_)), "{error}");
}

#[tokio::test]
async fn a_machine_without_open_ssh_is_an_error() {
    let mut nowhere = settings();
    nowhere.env = ClientEnv::pick([("PATH".into(), "/nonexistent".into())]);
    let error = scan(&at(1), Duration::from_secs(5), &nowhere)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot run `ssh-keyscan`");
}

#[test]
fn lines_that_are_no_keys_are_passed_over() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHoTXobfyXshHbnkeZujXqWoexOnuLzOpfbfFpOgnTHY";
    let output =
        format!("# comment\n\nh {key}\nh {key}\nh ssh-ed25519 AAAA\nh ssh-dss AAAA\n{key}\n");
    assert_eq!(parse(&output).len(), 1);
    assert_eq!(parse(&format!("[h]:22 {key} comment\u{1b}[2J")).len(), 1);
    let said = last_line("# x\nfirst\nsecond \u{1b}[2J\n# y\n");
    assert_eq!(said.unwrap(), "second ?[2J");
    assert_eq!(last_line("# only\n"), None);
}

proptest! {
    #[test]
    fn no_output_panics(output in any::<String>(), words in "([a-z0-9|\\[\\]@#+/=-]{0,9} ?){0,6}") {
        let _ = parse(&output);
        let _ = parse(&words);
    }
}
