//! `ssh-proxy`: between an `ssh` of ours and Tor's SOCKS port; run by `ssh` as its `ProxyCommand`.

use std::io;
use std::net::SocketAddr;

use clap::Args;
use tokio::io::AsyncWriteExt;
use tokio_socks::tcp::Socks5Stream;

use crate::report::{Kind, Report};

/// What `ssh` asks for.
#[derive(Args, Debug)]
pub struct SshProxy {
    /// Tor's SOCKS port
    #[arg(long, value_name = "IP:PORT")]
    socks: SocketAddr,
    /// The onion service; Tor alone is asked for it
    host: String,
    /// Its port
    port: u16,
}

impl SshProxy {
    /// Passes on bytes until one side is done.
    ///
    /// The words that name the host to the SOCKS port keep its circuit apart from every other host's
    /// (`IsolateSOCKSAuth` of `tor(1)`, which is on by default).
    pub fn run(self) -> Result<(), Report> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime without threads of its own");
        let outcome = runtime.block_on(self.pass_on());
        // a thread that still waits for stdin is not waited for
        runtime.shutdown_background();
        outcome
    }

    async fn pass_on(self) -> Result<(), Report> {
        let Self { socks, host, port } = self;
        let word = format!("bcm-ssh-{host}:{port}");
        let target = (host.as_str(), port);
        let stream = Socks5Stream::connect_with_password(socks, target, &word, &word).await;
        let mut stream = stream.map_err(|error| {
            Report::text(
                Kind::Failed,
                format!("Tor at {socks} does not reach `{host}`: {error}"),
            )
            .with_hint("check that Tor runs, and where: `config set tor.socks=127.0.0.1:9050`")
        })?;
        let (mut from, mut to) = stream.split();
        let (mut stdin, mut stdout) = (tokio::io::stdin(), tokio::io::stdout());
        let up = async {
            tokio::io::copy(&mut stdin, &mut to).await?;
            to.shutdown().await?;
            // the answer may take longer than the question
            std::future::pending::<io::Result<()>>().await
        };
        let down = async {
            let mut buffer = vec![0; 32 << 10];
            loop {
                let read = tokio::io::AsyncReadExt::read(&mut from, &mut buffer).await?;
                if read == 0 {
                    return Ok(());
                }
                stdout.write_all(&buffer[..read]).await?;
                stdout.flush().await?;
            }
        };
        let ended: io::Result<()> = tokio::select! { ended = up => ended, ended = down => ended };
        // `ssh` that went away, or a host that did, is told of by `ssh`
        let _ = ended;
        Ok(())
    }
}
