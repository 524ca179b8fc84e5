use std::time::Duration;

use super::*;

struct Served {
    socket: SessionSocket,
    _folder: tempfile::TempDir,
}

fn serve() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let socket = SessionSocket::start(folder.path(), &Arc::default()).unwrap();
    Served {
        socket,
        _folder: folder,
    }
}

impl Served {
    /// Sends these bytes and returns all that comes back until the session cuts off.
    async fn say(&self, bytes: &[u8], then_close: bool) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.socket.path()).await.unwrap();
        // it may be cut off while it speaks
        let _ = stream.write_all(bytes).await;
        if then_close {
            let _ = stream.shutdown().await;
        }
        let mut answer = Vec::new();
        let all = stream.read_to_end(&mut answer);
        let cut_off = tokio::time::timeout(Duration::from_secs(5), all).await;
        assert!(cut_off.is_ok(), "{bytes:?} was not cut off");
        answer
    }
}

#[tokio::test]
async fn a_locked_session_refuses_and_says_so() {
    let served = serve();
    let request = Request::AgeRecipient { name: "bcm".into() };
    let request = protocol::encode(&request).unwrap();
    let mut stream = UnixStream::connect(served.socket.path()).await.unwrap();
    for _ in 0..2 {
        stream.write_all(&request).await.unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).await.unwrap();
        let mut body = vec![0; protocol::length(length).unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let Answer::Refused(refusal) = protocol::decode(&body).unwrap() else {
            panic!("it was served");
        };
        assert_eq!(refusal.code, 3);
        assert_eq!(refusal.what, "the session is locked");
        assert_eq!(refusal.hint.as_deref(), Some("run `unlock`"));
    }
}

#[tokio::test]
async fn hostile_bytes_are_cut_off_without_an_answer() {
    let served = serve();
    let nested = [&100_000_u32.to_be_bytes()[..], &vec![b'['; 100_000]].concat();
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"\x00\x10\x00\x01aaaa",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x04\xff\xfe\xfd\xfc",
        b"\x00\x00\x00\x02[]GET / HTTP/1.1\r\n\r\n",
        &nested,
    ] {
        assert_eq!(served.say(bytes, false).await, b"", "{bytes:?}");
    }
    for bytes in [
        &b""[..],
        b"\x00",
        b"\x00\x00\x00\x05{}",
        b"\x00\x0f\xff\xff{",
    ] {
        assert_eq!(served.say(bytes, true).await, b"", "{bytes:?}");
    }
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_goes_away() {
    let served = serve();
    let path = served.socket.path().to_owned();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(served.socket);
    assert!(!path.exists());
}
