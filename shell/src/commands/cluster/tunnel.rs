//! `cluster tunnel`: a service of the cluster on this machine's loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use bcm_cluster::docker::tunnel::{Event, Tunnel, TunnelError};
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::reach::with_cluster;
use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// Reports of failed connections that wait to be shown; more are dropped.
const EVENTS: usize = 16;

/// Where to, and where from.
#[derive(Args, Debug)]
pub struct Command {
    /// A service as Docker names it, or without its `bcm-CHAIN-`, and the port that it listens on
    #[arg(value_name = "SERVICE:PORT")]
    target: Target,
    /// Where to listen on this machine's loopback [default: a free port]
    #[arg(long, value_name = "127.0.0.1:PORT", value_parser = loopback)]
    listen: Option<SocketAddr>,
}

/// A port of a service.
#[derive(Clone, Debug)]
pub struct Target {
    service: String,
    port: u16,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let (service, port) = text.rsplit_once(':').ok_or("expected SERVICE:PORT")?;
        if service.is_empty() || !service.chars().all(plain) {
            return Err("a service is letters, digits, `-`, `_` and `.`".into());
        }
        let port = port.parse().ok().filter(|port| *port != 0);
        Ok(Self {
            service: service.to_owned(),
            port: port.ok_or("a port is 1 to 65535")?,
        })
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "expected 127.0.0.1:PORT")?;
    if !address.ip().is_loopback() {
        return Err("a tunnel ends on the loopback of this machine".into());
    }
    Ok(address)
}

impl Command {
    /// Serves until Ctrl-C, a signal or the end of the session.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        let Target { service, port } = self.target;
        let listen = self.listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let (tunnel, listener) = with_cluster(app, async |cluster| {
            // before anything is made on a host
            let listener = TcpListener::bind(listen).await.map_err(|error| {
                Report::text(Kind::Failed, format!("cannot listen on {listen}: {error}"))
            })?;
            let chain = cluster.open.chain;
            let (engines, errors) = cluster.engines().await?;
            for error in errors {
                Report::from(error).print();
            }
            let tunnel = match Tunnel::open(engines.clone(), &service, port).await {
                Err(TunnelError::NoTask(_)) => {
                    let full = format!("bcm-{chain}-{service}");
                    let opened = Tunnel::open(engines, &full, port).await;
                    opened.map_err(|error| match error {
                        TunnelError::NoTask(_) => TunnelError::NoTask(service.clone()),
                        error => error,
                    })?
                }
                opened => opened?,
            };
            Ok((tunnel, listener))
        })?;
        let keeper = app.keeper.clone();
        let address = listener.local_addr().map_err(|error| {
            Report::text(Kind::Failed, format!("cannot listen on {listen}: {error}"))
        })?;
        app.runtime().block_on(async {
            let host = tunnel.host().await.unwrap_or_default();
            if json {
                ui::json(&serde_json::json!({
                    "address": address.to_string(), "service": service, "port": port, "host": host,
                }))?;
            } else {
                ui::out(&address.to_string())?;
                ui::say(&format!(
                    "it leads to port {port} of `{service}` on `{host}`; Ctrl-C closes it"
                ));
            }
            let (events, mut heard) = mpsc::channel(EVENTS);
            let tell = async {
                while let Some(Event::Failed(error)) = heard.recv().await {
                    Report::from(error).print();
                }
            };
            // what is dropped here closes every connection, and the helper with them
            tokio::select! {
                ended = keeper.serve_until_signal() => ended,
                () = tunnel.serve(listener, events) => Ok(()),
                () = tell => Ok(()),
            }
        })
    }
}
