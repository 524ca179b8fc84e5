use proptest::prelude::*;
use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../vectors/identities.json");

fn vectors() -> Vec<Value> {
    let document: Value = serde_json::from_str(VECTORS).unwrap();
    document["keys"].as_array().unwrap().clone()
}

fn text<'a>(key: &'a Value, name: &str) -> &'a str {
    key[name].as_str().unwrap()
}

#[test]
fn paths_and_ascii_forms_are_those_that_were_recorded() {
    let vectors = vectors();
    assert!(vectors.len() > 100);
    for key in &vectors {
        let index = u32::try_from(key["index"].as_u64().unwrap()).unwrap();
        let uri: IdentityUri = text(key, "identity").parse().unwrap();
        let uri = uri.with_index(index);
        assert_eq!(uri.ascii(), text(key, "ascii"));
        assert_eq!(uri.to_string(), text(key, "identity"));
        let path = match key["slip"].as_u64().unwrap() {
            13 => uri.path(),
            17 => uri.ecdh_path(),
            other => panic!("SLIP-{other}"),
        };
        let expected: Vec<_> = key["path"].as_array().unwrap().iter().collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|step| step.as_str().unwrap().replace('\'', "h"))
            .collect();
        assert_eq!(path.to_string(), format!("m/{}", expected.join("/")));
        assert!(text(key, "curve").parse::<Curve>().is_ok());
    }
}

/// What libagent 0.16.2 answers for `string_to_identity`, asked on the side.
#[test]
fn strings_are_taken_apart_as_trezor_agent_does() {
    type Parts = (
        Option<&'static str>,
        Option<&'static str>,
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
    );
    let cases: [(&str, Parts); 16] = [
        ("host", (None, None, "host", None, None)),
        ("a@host", (None, Some("a"), "host", None, None)),
        (
            "ssh://a@host:22/x",
            (Some("ssh"), Some("a"), "host", Some("22"), Some("/x")),
        ),
        ("a@b@c", (None, Some("a@b"), "c", None, None)),
        ("a://b://c", (Some("a://b"), None, "c", None, None)),
        (
            "ssh://a@h/x@y",
            (Some("ssh"), Some("a@h/x"), "y", None, None),
        ),
        ("h::", (None, None, "h:", None, None)),
        ("h:", (None, None, "h", None, None)),
        ("a:b:22", (None, None, "a:b", Some("22"), None)),
        ("://h", (None, None, "h", None, None)),
        ("@h", (None, None, "h", None, None)),
        ("h/", (None, None, "h", None, Some("/"))),
        ("[::1]:22", (None, None, "[::1]", Some("22"), None)),
        ("h:22x/", (None, None, "h", Some("22x"), Some("/"))),
        ("h:2-2", (None, None, "h:2-2", None, None)),
        ("a/b:c", (None, None, "a", None, Some("/b:c"))),
    ];
    for (input, (proto, user, host, port, path)) in cases {
        let uri: IdentityUri = input.parse().unwrap();
        assert_eq!(uri.proto(), proto, "{input}");
        assert_eq!(uri.user(), user, "{input}");
        assert_eq!(uri.host(), host, "{input}");
        assert_eq!(uri.port(), port, "{input}");
        assert_eq!(uri.resource(), path, "{input}");
    }
}

#[test]
fn an_open_pgp_user_id_is_a_host_as_a_whole() {
    let whole = IdentityUri::new("gpg", "Satoshi Nakamoto <satoshi@bitcoin.org>").unwrap();
    let split: IdentityUri = "gpg://Satoshi Nakamoto <satoshi@bitcoin.org>"
        .parse()
        .unwrap();
    assert_eq!(whole.user(), None);
    assert_eq!(split.user(), Some("Satoshi Nakamoto <satoshi"));
    assert_eq!(whole.path(), split.path());
    assert_ne!(whole.path(), whole.ecdh_path());
    assert_ne!(whole.path(), whole.clone().with_index(1).path());
}

#[test]
fn the_message_carries_the_ascii_of_each_part() {
    let uri: IdentityUri = "ssh://jörg@h:22/ü".parse().unwrap();
    let message = IdentityType::from(&uri.with_index(7));
    assert_eq!(message.proto(), "ssh");
    assert_eq!(message.user(), "jorg");
    assert_eq!(message.host(), "h");
    assert_eq!(message.port(), "22");
    assert_eq!(message.path(), "/u");
    assert_eq!(message.index(), 7);
}

#[test]
fn what_cannot_name_a_key_is_refused_with_its_reason() {
    for (input, reason) in [
        ("", "identity `` names no host"),
        ("ssh://root@", "identity `ssh://root@` names no host"),
        (
            "ssh://a\nb",
            "identity `ssh://a?b` holds the character U+000A",
        ),
        (
            "ssh://a\u{1f600}@b",
            "identity `ssh://a?@b` holds the character U+1F600",
        ),
        (
            "ssh://a\u{2028}",
            "identity `ssh://a?` holds the character U+2028",
        ),
    ] {
        let error = input.parse::<IdentityUri>().unwrap_err();
        assert_eq!(error.to_string(), reason);
        assert!(error.hint().is_some());
    }
    let long = "x".repeat(MAX_IDENTITY + 1);
    assert!(matches!(
        long.parse::<IdentityUri>(),
        Err(IdentityError::TooLong { .. })
    ));
}

#[test]
fn a_login_is_read_and_printed() {
    for (input, printed) in [
        ("satoshi@bitcoin.org", "ssh://satoshi@bitcoin.org"),
        ("ssh://bcm@node1.lan:2222", "ssh://bcm@node1.lan:2222"),
        ("svc_a+b-c.d$@h_1", "ssh://svc_a+b-c.d$@h_1"),
        ("root@[2001:DB8:0::1]:22", "ssh://root@[2001:db8::1]:22"),
        ("root@[::1]", "ssh://root@[::1]"),
    ] {
        let identity: SshIdentity = input.parse().unwrap();
        assert_eq!(identity.to_string(), printed);
        assert_eq!(identity.uri().to_string(), printed);
        assert_eq!(printed.parse::<SshIdentity>().unwrap(), identity);
        let loose: IdentityUri = printed.parse().unwrap();
        assert_eq!(identity.uri(), loose, "trezor-agent reads the same parts");
    }
}

#[test]
fn an_ambiguous_or_broken_login_is_refused_with_the_way_out() {
    let long_user = format!("{}@h", "u".repeat(MAX_LOGIN_NAME + 1));
    let long_host = format!("u@{}", "h".repeat(MAX_SSH_IDENTITY));
    for (input, reason) in [
        ("", "`` names no user"),
        ("node1", "`node1` names no user"),
        ("@host", "the user is empty"),
        ("root@", "the host is empty"),
        ("root@:22", "the host is empty"),
        ("a@b@c", "host `b@c` holds `@`"),
        ("a:b@c", "user `a:b` holds `:`"),
        ("a/b@c", "user `a/b` holds `/`"),
        ("a@b/c", "host `b/c` holds `/`"),
        ("a@b:c:22", "host `b:c` holds `:`"),
        ("https://a@b", "`https://` is not the name of an SSH key"),
        ("ssh://ssh://a@b", "`ssh://` is not the name of an SSH key"),
        ("a b@c", "user `a b` holds a space"),
        ("a\u{1b}[2J@c", "user `a?[2J` holds the character U+001B"),
        ("a@b\n", "host `b?` holds the character U+000A"),
        ("jörg@b", "user `jörg` holds the character U+00F6"),
        ("root@*", "host `*` holds `*`"),
        (
            "-oProxyCommand=x@h",
            "user `-oProxyCommand=x` starts with `-`",
        ),
        ("root@-h", "host `-h` starts with `-`"),
        ("root@::1", "IPv6 address `::1` has no brackets"),
        (
            "root@[fe80::1%eth0]",
            "`[fe80::1%eth0]` is not an IPv6 address in brackets",
        ),
        (
            "root@[::1]22",
            "`[::1]22` is not an IPv6 address in brackets",
        ),
        ("root@[h]", "`[h]` is not an IPv6 address in brackets"),
        ("a@b:", "port `` is not a number from 1 to 65535"),
        ("a@b:0", "port `0` is not a number from 1 to 65535"),
        ("a@b:022", "port `022` is not a number from 1 to 65535"),
        ("a@b:+22", "port `+22` is not a number from 1 to 65535"),
        ("a@b:65536", "port `65536` is not a number from 1 to 65535"),
        (&long_user, "user makes 33 characters, 32 at most"),
        (&long_host, "host makes 114 characters, 112 at most"),
    ] {
        let error = input.parse::<SshIdentity>().unwrap_err();
        assert_eq!(error.to_string(), reason, "{input}");
        assert!(error.hint().is_some());
    }
    let error = "jörg@b".parse::<SshIdentity>().unwrap_err();
    let hint = "write `jorg`, which is the name that trezor-agent would use";
    assert_eq!(error.hint().unwrap(), hint);
}

proptest! {
    #[test]
    fn any_text_is_an_identity_or_an_error(text in any::<String>()) {
        if let Ok(uri) = text.parse::<IdentityUri>() {
            prop_assert!(uri.ascii().is_ascii());
            prop_assert_eq!(uri.path().address_n().len(), 5);
            prop_assert!(uri.to_string().len() <= text.len());
        }
        if let Ok(identity) = text.parse::<SshIdentity>() {
            prop_assert_eq!(identity.to_string().parse::<SshIdentity>().unwrap(), identity);
        }
    }

    #[test]
    fn an_identity_without_empty_parts_is_printed_as_it_was_written(
        text in "([a-z]{1,5}://)?([a-z ]{1,8}@)?[a-z<>.]{1,20}(:[0-9]{1,5})?(/[a-z:]{0,8})?",
    ) {
        let uri: IdentityUri = text.parse().unwrap();
        prop_assert_eq!(uri.to_string(), text);
    }

    #[test]
    fn two_logins_share_a_key_only_if_they_are_equal(
        one in "[a-c:@/.]{1,3}@[a-c:@/.]{1,3}(:[1-9]{1,2})?",
        two in "[a-c:@/.]{1,3}@[a-c:@/.]{1,3}(:[1-9]{1,2})?",
    ) {
        if let (Ok(one), Ok(two)) = (one.parse::<SshIdentity>(), two.parse::<SshIdentity>()) {
            prop_assert_eq!(one == two, one.uri().path() == two.uri().path());
        }
    }
}
