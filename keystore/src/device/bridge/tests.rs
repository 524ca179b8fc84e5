//! A scripted bridge, for the faults that a real one cannot be made to have. Two programs on a real
//! bridge, and one that ends, are in the tests of the simulator's bridge.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::Sender;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// What the script answers to one request.
enum Reply {
    Answer(u16, Vec<u8>),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
}

fn ok(text: impl Into<Vec<u8>>) -> Reply {
    Reply::Answer(200, text.into())
}

fn refuse(error: &str) -> Reply {
    Reply::Answer(400, format!("{{\"error\":\"{error}\"}}").into())
}

type Script = dyn Fn(&str, &str) -> Reply + Send + Sync;

pub(in crate::device) struct FakeBridge {
    pub(in crate::device) url: String,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl FakeBridge {
    /// Starts a bridge that answers `/enumerate` and `/acquire` well, and the rest by `script`.
    fn healthy(script: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |path, body| match path {
            "/enumerate" => ok(r#"[{"path":"1","vendor":4617,"product":21441,"debug":false,
                "session":null,"debugSession":null}]"#),
            "/acquire/1/null" => ok(r#"{"session":"7"}"#),
            _ => script(path, body),
        })
    }

    pub(in crate::device) fn enumerating(entries: &'static str) -> Self {
        Self::start(move |_, _| ok(entries))
    }

    fn start(script: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let bridge = Self {
            url,
            seen: seen.clone(),
            connections: connections.clone(),
        };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections
                    .lock()
                    .unwrap()
                    .push(stream.try_clone().unwrap());
                let (script, seen) = (script.clone(), seen.clone());
                thread::spawn(move || serve(stream, &*script, &seen));
            }
        });
        bridge
    }

    fn open(&self) -> BridgeTransport {
        BridgeDevice::find(&self.url)
            .and_then(|device| device.acquire(false))
            .unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Ends every connection, as the kernel does when the bridge is killed.
    fn die(&self) {
        for stream in self.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(stream: TcpStream, script: &Script, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let lower = head.to_lowercase();
        assert!(lower.contains("origin: https://python.trezor.io\r\n"));
        let length = lower.split("content-length: ").nth(1)?;
        let mut body = vec![0; length.lines().next()?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        let path = head.strip_prefix("POST ")?.split(' ').next()?;
        seen.lock().unwrap().push(path.to_owned());
        match script(path, &body) {
            Reply::Answer(status, text) => {
                let length = text.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                writer.write_all(head.as_bytes()).ok()?;
                writer.write_all(&text).ok()?;
            }
            Reply::Raw(bytes) => {
                writer.write_all(&bytes).ok()?;
                return writer.shutdown(Shutdown::Both).ok();
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(10);

fn ask(transport: &mut BridgeTransport) -> Result<Message, TransportError> {
    transport.send(&Message::new(1, b"abc".to_vec()))?;
    Ok(transport.receive(LONG)?.expect("an answer within 10 s"))
}

/// What the first call comes to when the bridge answers it with `reply`.
fn call_answered_by(reply: impl Fn() -> Reply + Send + Sync + 'static) -> TransportError {
    let bridge = FakeBridge::healthy(move |_, _| reply());
    ask(&mut bridge.open()).unwrap_err()
}

#[test]
fn a_message_goes_there_and_back_and_the_end_releases() {
    let bridge = FakeBridge::healthy(|path, body| match path {
        "/call/7" => {
            assert_eq!(body, "000100000003616263");
            ok("0002000000030a0178\n")
        }
        _ => ok("{}"),
    });
    let mut transport = bridge.open();
    assert_eq!(transport.name(), format!("bridge:{}", bridge.url));
    for _ in 0..2 {
        let answer = ask(&mut transport).unwrap();
        assert_eq!(answer, Message::new(2, vec![0x0a, 0x01, 0x78]));
    }
    drop(transport);
    assert_eq!(
        bridge.seen(),
        [
            "/enumerate",
            "/acquire/1/null",
            "/call/7",
            "/call/7",
            "/release/7"
        ]
    );
}

#[test]
fn receive_returns_while_a_call_waits_and_cancel_goes_past_it() {
    let (posted, post): (Sender<String>, Receiver<String>) = std::sync::mpsc::channel();
    let (posted, post) = (Mutex::new(posted), Mutex::new(post));
    let bridge = FakeBridge::healthy(move |path, body| match path {
        "/call/7" => match post.lock().unwrap().recv_timeout(LONG) {
            // Failure { code: ActionCancelled }
            Ok(cancel) if cancel == "001400000000" => ok("0003000000020804"),
            _ => refuse("no cancel came"),
        },
        "/post/7" => {
            posted.lock().unwrap().send(body.to_owned()).unwrap();
            ok("")
        }
        _ => ok("{}"),
    });
    let mut transport = bridge.open();
    transport.send(&Message::new(1, vec![])).unwrap();
    let look = Duration::from_millis(30);
    assert_eq!(transport.receive(look).unwrap(), None);
    transport.cancel().unwrap();
    let failure = transport.receive(LONG).unwrap().unwrap();
    assert!(failure.is::<trezor_client::protos::Failure>());
}

#[test]
fn a_cancel_that_crosses_the_answer_gets_its_own_and_leaves_none_behind() {
    let bridge = FakeBridge::healthy(|path, body| match (path, body) {
        ("/call/7", "001400000000") => ok("0003000000020804"),
        ("/call/7", _) => ok("000200000000"),
        _ => ok("{}"),
    });
    let mut transport = bridge.open();
    let kinds = |transport: &mut BridgeTransport| {
        let kind = |_| transport.receive(LONG).unwrap().unwrap().kind();
        [0, 1].map(kind)
    };
    let answered = |bridge: &FakeBridge, calls| {
        let count = || {
            bridge
                .seen()
                .iter()
                .filter(|path| *path == "/call/7")
                .count()
        };
        while count() < calls {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(100));
    };
    transport.send(&Message::new(1, vec![])).unwrap();
    answered(&bridge, 1);
    transport.cancel().unwrap();
    assert_eq!(kinds(&mut transport), [2, 3]);

    // Not received this time: the next request must not get an answer that is not its own.
    transport.send(&Message::new(1, vec![])).unwrap();
    answered(&bridge, 3);
    transport.cancel().unwrap();
    assert_eq!(ask(&mut transport).unwrap().kind(), 2);
    assert!(!bridge.seen().contains(&"/post/7".to_owned()));
}

#[test]
fn a_stolen_session_is_told_from_an_unplugged_device() {
    let stolen = call_answered_by(|| refuse("session not found"));
    assert!(matches!(stolen, TransportError::Stolen), "{stolen}");

    let bridge = FakeBridge::start({
        let looks = Mutex::new(0);
        move |path, _| match path {
            "/enumerate" => {
                *looks.lock().unwrap() += 1;
                let attached = *looks.lock().unwrap() == 1;
                ok(if attached { r#"[{"path":"1"}]"# } else { "[]" })
            }
            "/acquire/1/null" => ok(r#"{"session":"7"}"#),
            _ => refuse("session not found"),
        }
    });
    let gone = ask(&mut bridge.open()).unwrap_err();
    assert!(matches!(gone, TransportError::Gone(None)), "{gone}");
}

#[test]
fn each_refusal_of_a_call_is_its_own_error() {
    let gone = call_answered_by(|| refuse("device disconnected during action"));
    assert!(matches!(gone, TransportError::Gone(None)), "{gone}");
    let busy = call_answered_by(|| refuse("other call in progress"));
    assert!(matches!(busy, TransportError::Busy), "{busy}");
    for (reply, says) in [
        (
            refuse as fn(&str) -> Reply,
            "the bridge answered 400: a new\\u{1b} error",
        ),
        (
            |_| Reply::Answer(500, b"<h1>no</h1>\x1b[2J\n".to_vec()),
            "the bridge answered 500: <h1>no</h1>?[2J",
        ),
        (
            |_| Reply::Answer(403, vec![]),
            "the bridge answered 403: an empty page",
        ),
        (
            |_| Reply::Answer(302, b"elsewhere".to_vec()),
            "the bridge answered 302: elsewhere",
        ),
    ] {
        let error = call_answered_by(move || reply("a new\\\\u{1b} error"));
        assert_eq!(error.to_string(), says);
    }
}

#[test]
fn answers_that_are_no_message_are_malformed() {
    for (text, says) in [
        ("", "an answer of 0 bytes, expected at least 6"),
        ("nonsense", "an answer is not hex"),
        ("000200000001", "a message says it has 1 bytes and has 0"),
        (
            "0002ffffffff",
            "a message of 4294967295 bytes, expected at most 1048576",
        ),
    ] {
        let error = call_answered_by(move || ok(text));
        assert!(matches!(error, TransportError::Malformed(_)), "{error}");
        assert!(error.to_string().ends_with(says), "{error}");
    }
    let endless = call_answered_by(|| ok(vec![b'0'; MAX_BRIDGE_TEXT + 1]));
    assert!(
        endless
            .to_string()
            .ends_with("the bridge answers more than 2097164 bytes"),
        "{endless}"
    );
    let not_http = call_answered_by(|| Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()));
    assert!(
        not_http.to_string().contains("no HTTP answer"),
        "{not_http}"
    );
}

#[test]
fn an_error_never_repeats_what_the_bridge_was_sent() {
    // PassphraseAck("correct horse battery"), echoed by a bridge in distress.
    let secret = hex::encode("correct horse battery");
    let echo = format!("cannot send {secret}");
    let body = echo.clone();
    let raw = call_answered_by(move || Reply::Answer(500, body.clone().into()));
    assert_eq!(
        raw.to_string(),
        "the bridge answered 500: cannot send [hex]"
    );
    let json = call_answered_by(move || refuse(&echo));
    assert_eq!(
        json.to_string(),
        "the bridge answered 400: cannot send [hex]"
    );
    let long = "x ".repeat(1000);
    let cut = call_answered_by(move || Reply::Answer(500, long.clone().into()));
    assert!(cut.to_string().len() < 230, "{cut}");
}

#[test]
fn nothing_that_passes_reaches_a_logger() {
    static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    struct Sink;
    impl log::Log for Sink {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            LOGGED.lock().unwrap().push(record.args().to_string());
        }
        fn flush(&self) {}
    }
    log::set_logger(&Sink).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let bridge = FakeBridge::healthy(|_, _| ok("000200000000"));
    let mut transport = bridge.open();
    assert_eq!(ask(&mut transport).unwrap().kind(), 2);
    let logged = LOGGED.lock().unwrap().clone();
    assert_eq!(logged, [""; 0]);
}

#[test]
fn a_bridge_that_ends_is_noticed_within_two_seconds() {
    let bridge = Arc::new(FakeBridge::healthy(|_, _| {
        thread::sleep(LONG);
        ok("{}")
    }));
    let mut transport = bridge.open();
    transport.send(&Message::new(1, vec![])).unwrap();
    assert_eq!(transport.receive(Duration::from_millis(100)).unwrap(), None);
    let started = Instant::now();
    bridge.die();
    let error = transport.receive(LONG).unwrap_err();
    assert!(matches!(error, TransportError::Gone(Some(_))), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2));

    let cut =
        call_answered_by(|| Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n00".into()));
    assert!(matches!(cut, TransportError::Gone(Some(_))), "{cut}");
}

#[test]
fn dropping_a_transport_whose_call_hangs_does_not() {
    let bridge = FakeBridge::healthy(|path, _| {
        if path == "/call/7" {
            thread::sleep(LONG);
        }
        ok("{}")
    });
    let mut transport = bridge.open();
    transport.send(&Message::new(1, vec![])).unwrap();
    assert_eq!(transport.receive(Duration::from_millis(100)).unwrap(), None);
    let started = Instant::now();
    let thread = Arc::downgrade(&transport.line);
    drop(transport);
    while thread.strong_count() > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "a thread is left"
        );
        thread::sleep(Duration::from_millis(5));
    }
    assert!(bridge.seen().contains(&"/release/7".to_owned()));
}

#[test]
fn a_session_of_another_program_is_taken_only_on_request() {
    let held = r#"[{"path":"1","session":"4"}]"#;
    let bridge = FakeBridge::start(move |path, _| match path {
        "/enumerate" => ok(held),
        "/acquire/1/4" => ok(r#"{"session":"5"}"#),
        _ => refuse("wrong previous session"),
    });
    let find = || BridgeDevice::find(&bridge.url).unwrap();
    let refused = find().acquire(false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "found a Trezor, but another program holds it in session `4`"
    );
    assert_eq!(find().acquire(true).unwrap().line.session, "5");

    let faster = FakeBridge::start(move |path, _| match path {
        "/enumerate" => ok(r#"[{"path":"1","session":null}]"#),
        _ => refuse("wrong previous session"),
    });
    let device = BridgeDevice::find(&faster.url).unwrap();
    assert_eq!(
        device.acquire(false).unwrap_err().to_string(),
        "another program is using the device"
    );
}

#[test]
fn an_idle_session_is_looked_after() {
    let entries = Arc::new(Mutex::new(r#"[{"path":"1","session":"7"}]"#));
    let says = entries.clone();
    let bridge = FakeBridge::start(move |path, _| match path {
        "/enumerate" => ok(*says.lock().unwrap()),
        "/acquire/1/7" => ok(r#"{"session":"7"}"#),
        _ => ok("{}"),
    });
    let device = BridgeDevice::find(&bridge.url).unwrap();
    let mut transport = device.acquire(true).unwrap();
    transport.alive().unwrap();
    *entries.lock().unwrap() = r#"[{"path":"1","session":"8"}]"#;
    let stolen = transport.alive().unwrap_err();
    assert!(matches!(stolen, TransportError::Stolen), "{stolen}");
    *entries.lock().unwrap() = "[]";
    let gone = transport.alive().unwrap_err();
    assert!(matches!(gone, TransportError::Gone(None)), "{gone}");
}

#[test]
fn a_bridge_that_is_none_is_named() {
    for (entries, says) in [
        ("[]", "no Trezor found"),
        (
            r#"[{"path":"1"},{"path":"emulator21324"}]"#,
            "found 2 devices (1, emulator21324), expected one",
        ),
        (
            "<html>",
            "the peer does not speak the Trezor protocol: the bridge answered `<html>`",
        ),
        (
            r#"{"version":"2"}"#,
            "the peer does not speak the Trezor protocol: the bridge answered `{\"version\":\"2\"}`",
        ),
        (
            r#"[{"path":"../x"}]"#,
            "the peer does not speak the Trezor protocol: the bridge named a device or session `../x`",
        ),
    ] {
        let bridge = FakeBridge::enumerating(entries);
        let obstacle = BridgeDevice::find(&bridge.url).unwrap_err();
        assert_eq!(obstacle.to_string(), says);
    }
    let huge = FakeBridge::start(|_, _| ok(vec![b' '; MAX_JSON + 1]));
    let obstacle = BridgeDevice::find(&huge.url).unwrap_err().to_string();
    assert!(
        obstacle.ends_with("the bridge answers more than 65536 bytes"),
        "{obstacle}"
    );
}

#[test]
fn an_absent_or_silent_bridge_costs_little() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let closed = format!("http://{}", port.unwrap());
    let started = Instant::now();
    let refused = BridgeDevice::find(&closed).unwrap_err();
    assert!(matches!(refused, Obstacle::Refused), "{refused}");

    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let silent = BridgeDevice::find(&url).unwrap_err();
    assert!(matches!(silent, Obstacle::Silent), "{silent}");

    for url in ["http://", "http://a b", "http://[::1", "http://:0"] {
        let obstacle = BridgeDevice::find(url).unwrap_err();
        assert!(!obstacle.to_string().is_empty());
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

proptest! {
    #[test]
    fn what_an_error_quotes_is_short_and_printable(text in proptest::collection::vec(any::<u8>(), 0..600)) {
        let shown = http::printable(&text);
        prop_assert!(shown.len() <= 205);
        prop_assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
}
