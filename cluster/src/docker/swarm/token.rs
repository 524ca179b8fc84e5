//! Join tokens: read from a manager, handed to one host, wiped.

use std::fmt;

use hyper::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Addresses, SwarmError};
use crate::docker::engine::{Engine, shown};
use crate::docker::node::Role;
use crate::unix_http::{Body, Call};

/// What lets a host into a swarm.
struct JoinToken(Zeroizing<String>);

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken([redacted])")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Swarm<'a> {
    #[serde(borrow)]
    join_tokens: Tokens<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tokens<'a> {
    worker: &'a str,
    manager: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Join<'a> {
    listen_addr: String,
    advertise_addr: String,
    data_path_addr: String,
    remote_addrs: &'a [String],
    join_token: &'a str,
}

/// Asks a manager for the token of a role.
async fn token(manager: &Engine, role: Role) -> Result<JoinToken, SwarmError> {
    let what = "tell how to join the swarm";
    let answer = manager.raw(Call::new(Method::GET, "/swarm"), what).await?;
    let body = Zeroizing::new(answer.body);
    let tokens = serde_json::from_slice::<Swarm<'_>>(&body);
    let tokens = tokens.map_err(|_| SwarmError::NoToken(manager.host().into()))?;
    let token = match role {
        Role::Manager => tokens.join_tokens.manager,
        Role::Worker => tokens.join_tokens.worker,
    };
    Ok(JoinToken(Zeroizing::new(token.to_owned())))
}

/// Has `host` join the swarm of these managers.
pub(super) async fn join(
    manager: &Engine,
    host: &Engine,
    role: Role,
    addresses: &Addresses,
    managers: &[String],
) -> Result<(), SwarmError> {
    let token = token(manager, role).await?;
    let request = Join {
        listen_addr: addresses.listen(),
        advertise_addr: addresses.listen(),
        data_path_addr: addresses.data_path.to_string(),
        remote_addrs: managers,
        join_token: &token.0,
    };
    let body = serde_json::to_vec(&request).expect("strings always encode");
    let body = Body::Secret(Zeroizing::new(body));
    let call = Call::new(Method::POST, "/swarm/join").body(body);
    let joined = host.raw(call, "join the swarm").await;
    match joined {
        Ok(_) => Ok(()),
        Err(error) if error.to_string().contains(token.0.as_str()) => {
            Err(SwarmError::Refused(shown(host.host())))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let token = JoinToken(Zeroizing::new("SWMTKN-1-secret".into()));
        assert_eq!(format!("{token:?}"), "JoinToken([redacted])");
    }
}
