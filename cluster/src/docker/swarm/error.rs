//! Why a swarm is not as it was asked to be.

use bcm_keystore::Hint;

use crate::docker::engine::EngineError;

/// Why a swarm is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The host is in a swarm that is not this cluster's.
    #[error("`{0}` is in another swarm")]
    OtherSwarm(String),
    /// The state of the host's swarm is locked with a key.
    #[error("`{0}` is in a swarm whose state is locked with a key that bcm does not have")]
    Locked(String),
    /// The host was in a swarm that it does not find any more.
    #[error("`{host}` is in a swarm that it cannot take part in: {reason}")]
    Broken {
        /// The host.
        host: String,
        /// What its engine says.
        reason: String,
    },
    /// Somebody else uses a name of bcm's.
    #[error("`{host}` has a {kind} `{name}` that bcm did not make")]
    Foreign {
        /// The host.
        host: String,
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The engine does not say which node it is.
    #[error("the Docker engine of `{0}` is in no swarm")]
    NoNode(String),
    /// A manager does not say how to join.
    #[error("the manager `{0}` does not tell how to join its swarm")]
    NoToken(String),
    /// The host did not join, and what it said of it is not to be shown.
    #[error("`{0}` did not join: its engine repeated the token in what it said")]
    Refused(String),
    /// There is no such node.
    #[error("the swarm has no node `{0}`")]
    Unknown(String),
    /// A node that would have to be up.
    #[error("`{0}` is down")]
    Down(String),
    /// A node that would have to be down.
    #[error("`{0}` is alive")]
    Alive(String),
    /// The managers that remain would be too few to decide anything.
    #[error("without the manager `{0}` the managers that can be reached would be no majority")]
    Quorum(String),
    /// The host is the only one.
    #[error("`{0}` is the last host of its swarm")]
    LastHost(String),
    /// The host is not the only one.
    #[error("`{0}` is not the last host of its swarm: there are {list}", list = .1.join(", "))]
    NotLast(String, Vec<String>),
    /// It took too long.
    #[error("waited {seconds} s for {what}")]
    Waited {
        /// For what.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// It failed, and so did taking it back.
    #[error("`{host}` is half in the swarm: {error}, and then taking it out failed: {undo}")]
    HalfJoined {
        /// The host.
        host: String,
        /// What failed first.
        error: Box<SwarmError>,
        /// What failed then.
        undo: Box<SwarmError>,
    },
}

impl Hint for SwarmError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Engine(error) => return error.hint(),
            Self::OtherSwarm(host) | Self::Locked(host) => format!(
                "if nobody needs that swarm, on `{host}`: `docker swarm leave --force`, which loses \
                 its services and secrets"
            ),
            Self::Broken { host, .. } => format!("run `cluster host rejoin {host}`"),
            Self::Foreign { host, kind, name } => format!(
                "on `{host}`: find out whose it is, `docker {kind} inspect {name}`, then rename or \
                 remove it"
            ),
            Self::NoNode(host) => format!("on `{host}`: `docker info` tells about its swarm"),
            Self::NoToken(_) => "take another manager: `cluster status` shows them".into(),
            Self::Refused(host) => {
                format!("on `{host}`: `journalctl -u docker` tells why it did not join")
            }
            Self::Unknown(_) => "`cluster status` shows the nodes".into(),
            Self::Down(host) => format!("start it, or forget it: `cluster host remove {host}`"),
            Self::Alive(host) => {
                format!("let it leave in good order: `cluster swarm leave {host}`")
            }
            Self::Quorum(_) => {
                "bring the managers back that are away, or promote another host first".into()
            }
            Self::LastHost(_) => {
                "`cluster destroy` ends the cluster, with its services and secrets".into()
            }
            Self::NotLast(..) => "let the others leave first: `cluster swarm leave HOST`".into(),
            Self::Waited { .. } => {
                "between the hosts 2377/tcp, 7946/tcp, 7946/udp and 4789/udp have to be open: \
                 `cluster status` shows who is reached"
                    .into()
            }
            Self::HalfJoined { host, .. } => {
                format!("on `{host}`: `docker swarm leave --force`, then try again")
            }
        })
    }
}
