//! The streams of one connection: what runs in the helper, and Docker's framing of what it says.

use std::convert::Infallible;
use std::io;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connects to a port, at the first address of several that takes it, and copies both ways; two
/// processes, so that neither direction waits for the other.
pub(super) const SCRIPT: &str = r#"
use strict; use Socket;
my ($port, @at) = @ARGV; my $s; my $why = "no address";
for my $a (@at) {
    my $n = inet_aton($a) or next;
    socket(my $t, PF_INET, SOCK_STREAM, 0) or next;
    if (connect($t, sockaddr_in($port, $n))) { $s = $t; last }
    $why = "$!";
}
$s or do { print STDERR $why; exit 3 };
sub copy { my ($from, $to) = @_;
    while (my $n = sysread($from, my $b, 65536)) {
        for (my $at = 0; $at < $n;) {
            my $w = syswrite($to, $b, $n - $at, $at) or return; $at += $w } } }
defined(my $up = fork) or exit 4;
if (!$up) { copy(\*STDIN, $s); shutdown($s, 1); exit 0 }
copy($s, \*STDOUT); kill "KILL", $up; waitpid($up, 0); exit 0;
"#;

/// What a frame is of, in the first byte of its header of eight
/// ([attach](https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach)).
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// Most bytes of complaints that are kept.
const KEPT: usize = 1024;

/// Copies both ways until the service closes, and returns what the relay complained of.
pub(super) async fn splice(client: TcpStream, stream: Upgraded) -> io::Result<String> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = tokio::io::split(TokioIo::new(stream));
    let up = async {
        // a client that closes its side may still wait for the rest of the answer
        let _ = tokio::io::copy(&mut from_client, &mut to_engine).await;
        let _ = to_engine.shutdown().await;
        std::future::pending::<Infallible>().await
    };
    let down = async {
        let said = unframe(&mut from_engine, &mut to_client).await?;
        let _ = to_client.shutdown().await;
        Ok(said)
    };
    tokio::select! {
        said = down => said,
        never = up => match never {},
    }
}

/// Passes on what frames hold, without taking memory for what their headers promise.
async fn unframe(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<String> {
    let mut complaints = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let mut header = [0; 8];
        match from.read_exact(&mut header).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let [kind, 0, 0, 0, length @ ..] = header else {
            return Err(io::Error::other("the engine sent no frame"));
        };
        let mut left = u32::from_be_bytes(length) as usize;
        while left > 0 {
            let room = left.min(buffer.len());
            let read = from.read(&mut buffer[..room]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match kind {
                STDOUT => to.write_all(&buffer[..read]).await?,
                STDERR => {
                    let room = (KEPT - complaints.len()).min(read);
                    complaints.extend_from_slice(&buffer[..room]);
                }
                _ => return Err(io::Error::other("the engine sent no frame")),
            }
            left -= read;
        }
    }
    Ok(String::from_utf8_lossy(&complaints).into_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::net::TcpListener;
    use tokio::process::Command;

    use super::*;

    async fn unframed(frames: &[u8]) -> io::Result<(Vec<u8>, String)> {
        let mut out = Vec::new();
        let said = unframe(&mut &*frames, &mut out).await?;
        Ok((out, said))
    }

    #[tokio::test]
    async fn frames_are_taken_apart() {
        let frames = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x02no\x01\0\0\0\0\0\0\x01d";
        let (out, said) = unframed(frames).await.unwrap();
        assert_eq!((&*out, &*said), (&b"abcd"[..], "no"));
        assert_eq!(unframed(b"").await.unwrap(), (vec![], String::new()));
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused_and_takes_no_memory() {
        for bad in [
            &b"HTTP/1.1"[..],
            b"\x03\0\0\0\0\0\0\x01a",
            b"\x01\0\0\0\xff\xff\xff\xffabc",
        ] {
            assert!(unframed(bad).await.is_err(), "{bad:?}");
        }
        let mut endless = vec![STDERR, 0, 0, 0, 0, 1, 0, 0];
        endless.extend(vec![b'x'; 1 << 16]);
        assert_eq!(unframed(&endless).await.unwrap().1.len(), KEPT);
    }

    #[tokio::test]
    async fn the_script_carries_both_ways_and_tells_why_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let run = |port: String| {
            let mut command = Command::new("/usr/bin/perl");
            command
                .args(["-e", SCRIPT, &port, "127.0.0.1"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let mut child = run(port.clone());
        let (mut server, _) = listener.accept().await.unwrap();
        let big = vec![7; 3 << 20];
        let mut stdin = child.stdin.take().unwrap();
        let sent = big.clone();
        // neither side reads before it has written everything
        let writer = tokio::spawn(async move {
            stdin.write_all(&sent).await.unwrap();
            drop(stdin);
        });
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert!(got == big, "{}", got.len());
        server.write_all(b"done").await.unwrap();
        drop(server);
        writer.await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.stdout, b"done");
        drop(listener);
        let output = run(port).wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stderr, b"Connection refused");
    }
}
