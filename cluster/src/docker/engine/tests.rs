use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::*;

/// Answers every request on a socket with these bytes: versions that no real engine here has.
fn answering(folder: &Path, answer: String) -> PathBuf {
    let socket = folder.join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    socket
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[test]
fn versions_are_read_as_engines_write_them() {
    let version = |text: &str| EngineVersion::parse(text).map(|v| v.to_string());
    for (text, read) in [
        ("20.10.24+dfsg1", Some("20.10.24")),
        ("29.3.1", Some("29.3.1")),
        ("28.0.0-rc.1", Some("28.0.0")),
        ("24.0", None),
        ("dev", None),
        ("", None),
    ] {
        assert_eq!(version(text).as_deref(), read, "{text}");
    }
    assert!(EngineVersion::parse("20.10.23").unwrap() < OLDEST);
    assert!(EngineVersion::parse("29.0.0").unwrap() > OLDEST);
}

#[tokio::test]
async fn each_way_of_having_no_engine_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let error = Engine::at("node-1", &socket).await.unwrap_err();
    assert!(matches!(error, EngineError::Missing { .. }), "{error}");
    assert!(error.hint().unwrap().contains("apt install docker.io"));
    drop(UnixListener::bind(&socket).unwrap());
    let error = Engine::at("node-1", &socket).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the Docker engine of `node-1` is not running"
    );
    assert!(std::fs::metadata(&socket).unwrap().permissions().mode() > 0);
}

#[tokio::test]
async fn an_old_engine_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let old = ok(r#"{"Version":"19.03.15","ApiVersion":"1.40"}"#);
    let socket = answering(folder.path(), old);
    let error = Engine::at("node-1", &socket).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the Docker engine of `node-1` is too old: found 19.3.15 with API 1.40, expected 20.10.24 \
         with API 1.41 or newer"
    );
    assert!(error.hint().unwrap().contains("apt install docker.io"));
}

#[tokio::test]
async fn what_is_no_engine_is_told_apart() {
    for answer in [
        ok("hello"),
        ok(r#"{"Version":"x","ApiVersion":"1.41"}"#),
        ok(r#"{"Version":"20.10.24","ApiVersion":"one"}"#),
        ok(r#"{"Version":"26.0.0","ApiVersion":"1.41","Components":[{"Name":"Podman Engine"}]}"#),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let socket = answering(folder.path(), answer.clone());
        let error = Engine::at("node-1", &socket).await.unwrap_err();
        assert!(
            matches!(error, EngineError::Stranger { .. }),
            "{answer} {error}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = answering(folder.path(), "SSH-2.0-x\r\n".into());
    let error = Engine::at("node-1", &socket).await.unwrap_err();
    assert!(matches!(error, EngineError::Broken { .. }), "{error}");
}

#[test]
fn what_an_engine_says_is_shown_without_escapes_and_not_for_ever() {
    assert_eq!(
        message(br#"{"message":"no\u001b[31m such\nthing"}"#),
        "no such thing"
    );
    assert_eq!(message(b"plain"), "plain");
    assert_eq!(message("x".repeat(9999).as_bytes()).chars().count(), 401);
}
