//! A file on a host: whole or not at all.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::{Remote, RemoteError, Status, keep};
use crate::command::RemoteCommand;
use crate::master::printable;

/// Takes as many bytes as it is told, beside the place where they belong; says what it got; and puts
/// it there when it is told that this is right. A connection that is cut tells it nothing.
const SCRIPT: &str = r#"set -eu
path=$1 mode=$2 size=$3
case $path in */) echo "a folder is no file" >&2; exit 1;; esac
if [ -d "$path" ]; then echo "it is a folder" >&2; exit 1; fi
umask 077
part=$(mktemp -- "$path.bcm-XXXXXXXX")
trap 'rm -f -- "$part"' EXIT
trap 'exit 1' HUP INT PIPE TERM
head -c "$size" > "$part"
sum=$(sha256sum < "$part")
sum=${sum%% *}
echo "$sum"
read -r sent || exit 1
[ "$sent" = "$sum" ] || exit 1
chmod -- "$mode" "$part"
sync -- "$part"
mv -fT -- "$part" "$path"
trap - EXIT
sync -- "$(dirname -- "$path")"
echo done
"#;

/// Most that is kept of what the host says.
const SAID: usize = 4 << 10;

/// Bytes to send, and how many there are.
#[derive(Debug)]
pub struct Source<R> {
    /// Where they come from.
    pub reader: R,
    /// How many.
    pub size: u64,
}

impl<'a> Source<&'a [u8]> {
    /// Takes bytes from memory.
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self {
            reader: bytes,
            size: bytes.len() as u64,
        }
    }
}

impl Remote {
    /// Puts a file onto the host: written beside its place, compared by digest, synced and renamed.
    ///
    /// A link at `path` is replaced, not followed. Returns the SHA-256 of what was sent, in hex.
    ///
    /// # Errors
    ///
    /// Any [`RemoteError`]; what was at `path` before is there still.
    pub async fn upload<R: AsyncRead + Unpin + Send>(
        &self,
        source: Source<R>,
        path: &str,
        mode: u32,
    ) -> Result<String, RemoteError> {
        let refused = |reason: &str| RemoteError::Upload {
            host: self.name().clone(),
            path: printable(path),
            reason: printable(reason),
        };
        let Source { mut reader, size } = source;
        let mode = format!("{:04o}", mode & 0o7777);
        let size_word = size.to_string();
        let words = ["sh", "-c", SCRIPT, "sh", path, &mode, &size_word];
        let command = RemoteCommand::new(&words).map_err(|error| refused(&error.to_string()))?;
        let mut child = self.spawn(&command).await?;
        let (mut stdin, mut stdout, stderr) = child.take_streams();
        let talk = async move {
            let sent = send(&mut reader, &mut stdin, size).await?;
            let mut arrived = String::new();
            let mut line = [0; 65];
            if stdout.read_exact(&mut line).await.is_ok() {
                arrived = String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            let _ = stdin.write_all(format!("{sent}\n").as_bytes()).await;
            let _ = stdin.shutdown().await;
            let (rest, _) = keep(stdout, SAID).await;
            Ok((sent, arrived, rest))
        };
        let (talk, complaint) = tokio::join!(talk, keep(stderr, SAID));
        // first, so that nothing of it is left there when it was not all
        let status = child.wait().await?;
        let (sent, arrived, rest) = talk.map_err(|source| RemoteError::Read {
            host: self.name().clone(),
            source,
        })?;
        if !arrived.is_empty() && arrived != sent {
            return Err(RemoteError::Digest {
                host: self.name().clone(),
                path: printable(path),
                sent,
                arrived: printable(&arrived),
            });
        }
        if status == Status::Code(0) && rest == b"done\n" {
            return Ok(sent);
        }
        let complaint = String::from_utf8_lossy(&complaint.0);
        let complaint = complaint.trim();
        let last = complaint.lines().last().unwrap_or_default();
        Err(refused(if last.is_empty() {
            "it said nothing"
        } else {
            last
        }))
    }
}

/// Sends exactly `size` bytes, unless the host takes no more; returns their digest.
async fn send(
    reader: &mut (impl AsyncRead + Unpin),
    stdin: &mut (impl AsyncWriteExt + Unpin),
    size: u64,
) -> std::io::Result<String> {
    let mut digest = Sha256::new();
    let mut left = size;
    let mut buffer = vec![0; 64 << 10];
    let mut taken = true;
    while left > 0 {
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = reader.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Err(std::io::Error::other(format!(
                "it ended {left} bytes before its end"
            )));
        }
        digest.update(&buffer[..read]);
        left -= read as u64;
        // a host that takes no more says why
        if taken && stdin.write_all(&buffer[..read]).await.is_err() {
            taken = false;
        }
    }
    let mut hex = String::new();
    for byte in digest.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}
