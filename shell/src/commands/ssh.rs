//! `ssh`: keys that stay on the device, and logging in with them.

use clap::Subcommand;

use crate::app::App;
use crate::config::Curve;
use crate::report::Report;

/// What to do with SSH keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key for a login and print its public line, for `authorized_keys`
    #[command(after_help = "Example:\n  bcm ssh newkey alice@node-1 >> authorized_keys")]
    Newkey {
        /// The login that the key is for
        #[arg(value_name = "USER@HOST[:PORT]")]
        login: String,
        /// ed25519, or nist256p1 for servers that refuse it [default: ed25519]
        #[arg(long, hide_possible_values = true)]
        curve: Option<Curve>,
    },
    /// List the keys of this wallet
    #[command(after_help = "Example:\n  bcm ssh list --json")]
    List,
    /// Print the public line of a key
    #[command(after_help = "Example:\n  bcm ssh show alice@node-1")]
    Show {
        /// Login, fingerprint or comment
        #[arg(value_name = "KEY")]
        name: String,
    },
    /// Forget a key; the device can make it again
    #[command(after_help = "Example:\n  bcm ssh remove alice@node-1")]
    Remove {
        /// Login, fingerprint or comment
        #[arg(value_name = "KEY")]
        name: String,
    },
    /// Offer the keys of this wallet to other programs
    #[command(
        after_help = "Examples:\n  bcm ssh agent -- git push\n  bcm ssh agent            until Ctrl-C; prints SSH_AUTH_SOCK"
    )]
    Agent {
        /// Run this with the agent, and end with it
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Log in to a host with a key of this wallet
    #[command(
        after_help = "Examples:\n  bcm ssh connect alice@node-1\n  bcm ssh connect alice@node-1 --fingerprint SHA256:… -- uptime"
    )]
    Connect {
        /// The login
        #[arg(value_name = "USER@HOST[:PORT]")]
        login: String,
        /// The fingerprint that the host key has, on the first contact
        #[arg(long, value_name = "SHA256:…")]
        fingerprint: Option<String>,
        /// Run this on the host instead of a shell
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

#[derive(Debug)]
pub struct RunningAgent;
impl RunningAgent {
    pub async fn stop(self) {}
}

impl Command {
    pub fn run(self, _app: &mut App, _json: bool) -> Result<u8, Report> {
        Ok(0)
    }
}
