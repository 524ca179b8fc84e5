//! Overlay networks: one per chain and purpose, without a way out, encrypted between hosts.

use std::collections::HashMap;
use std::fmt;

use bcm_keystore::{Chain, Hint};
use bollard::models::{NetworkCreateRequest, NetworkInspect};

use super::engine::{Engine, EngineError};
use super::label;

/// Room for a frame of 1500 bytes that goes through WireGuard (80), VXLAN (50) and ESP (up to 40).
pub const MTU: u16 = 1330;

/// The option of an overlay network that has it encrypted, without a value.
const ENCRYPTED: &str = "encrypted";

/// The option that says its MTU.
const OPTION_MTU: &str = "com.docker.network.driver.mtu";

/// What keeps others from reading what goes from host to host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// The engine encrypts it (IPsec).
    #[default]
    Encrypted,
    /// Nothing of the engine's: the swarm's data path runs inside a tunnel that encrypts, or the
    /// cluster is one host.
    Clear,
}

/// Whether a network leads out of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// There is no route out: a program that ignores its proxy settings reaches nothing.
    #[default]
    Internal,
    /// There is one, for what must have it: Tor alone.
    Egress,
}

/// A network as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSpec {
    chain: Chain,
    name: String,
    /// Whether it leads out.
    pub reach: Reach,
    /// How it is protected between hosts.
    pub wire: Wire,
    /// Its MTU.
    pub mtu: u16,
}

/// What came of asking for a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was not there.
    Made,
    /// It was there, as it should be.
    Kept,
}

impl NetworkSpec {
    /// Names a network of `chain`: internal, encrypted, with the default [`MTU`].
    ///
    /// # Errors
    ///
    /// [`NetworkError::Name`]: a name is 1 to 32 of `a-z`, `0-9` and `-`, and begins with a letter.
    pub fn new(chain: Chain, name: &str) -> Result<Self, NetworkError> {
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !begins || name.len() > 32 || !name.chars().all(plain) {
            return Err(NetworkError::Name(super::engine::shown(name)));
        }
        Ok(Self {
            chain,
            name: name.to_owned(),
            reach: Reach::default(),
            wire: Wire::default(),
            mtu: MTU,
        })
    }

    /// Returns what to ask of the engine for it; a pure function, so that it can be signed.
    pub fn request(&self) -> NetworkCreateRequest {
        let mut options = HashMap::from([(OPTION_MTU.to_owned(), self.mtu.to_string())]);
        if self.wire == Wire::Encrypted {
            options.insert(ENCRYPTED.into(), String::new());
        }
        NetworkCreateRequest {
            name: self.to_string(),
            driver: Some("overlay".into()),
            internal: Some(self.reach == Reach::Internal),
            attachable: Some(false),
            options: Some(options),
            labels: Some(HashMap::from([(
                label::CHAIN.to_owned(),
                self.chain.to_string(),
            )])),
            ..NetworkCreateRequest::default()
        }
    }

    /// Makes it through a manager, unless it is there.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Foreign`] or [`NetworkError::Differs`] where something else has its name.
    pub async fn ensure(&self, manager: &Engine) -> Result<Ensured, NetworkError> {
        let name = self.to_string();
        let what = format!("look at the network `{name}`");
        let found = manager.docker().inspect_network(&name, None);
        match manager.done(&what, found).await {
            Ok(found) => self.compare(&found).map(|()| Ensured::Kept),
            Err(error) if error.status() == Some(404) => {
                let what = format!("make the network `{name}`");
                let made = manager.docker().create_network(self.request());
                manager.done(&what, made).await?;
                Ok(Ensured::Made)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes it through a manager; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Engine`], such as while something uses it.
    pub async fn remove(&self, manager: &Engine) -> Result<(), NetworkError> {
        let name = self.to_string();
        let what = format!("remove the network `{name}`");
        let removed = manager.docker().remove_network(&name);
        match manager.done(&what, removed).await {
            Err(error) if error.status() != Some(404) => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn compare(&self, found: &NetworkInspect) -> Result<(), NetworkError> {
        let name = self.to_string();
        let chain = found.labels.as_ref().and_then(|l| l.get(label::CHAIN));
        if chain.map(String::as_str) != Some(self.chain.name()) {
            return Err(NetworkError::Foreign(name));
        }
        let options = found.options.clone().unwrap_or_default();
        let wire = if options.contains_key(ENCRYPTED) {
            Wire::Encrypted
        } else {
            Wire::Clear
        };
        let reach = if found.internal == Some(true) {
            Reach::Internal
        } else {
            Reach::Egress
        };
        let differs = |expected: String, found: String| {
            Err(NetworkError::Differs {
                name: name.clone(),
                expected,
                found,
            })
        };
        let driver = found.driver.as_deref().unwrap_or_default();
        if driver != "overlay" {
            return differs("overlay".into(), super::engine::shown(driver));
        }
        if wire != self.wire {
            return differs(format!("{:?}", self.wire), format!("{wire:?}"));
        }
        if reach != self.reach {
            return differs(format!("{:?}", self.reach), format!("{reach:?}"));
        }
        let mtu = options.get(OPTION_MTU).map_or("", String::as_str);
        if mtu != self.mtu.to_string() {
            let found = format!("MTU {}", super::engine::shown(mtu));
            return differs(format!("MTU {}", self.mtu), found);
        }
        Ok(())
    }
}

/// Its name on the engine: `bcm-mainnet-back`.
impl fmt::Display for NetworkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}-{}", label::NAMES, self.chain, self.name)
    }
}

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The name is none for a network.
    #[error("`{0}` cannot name a network: expected 1 to 32 of a-z, 0-9 and `-`, a letter first")]
    Name(String),
    /// Somebody else has the name.
    #[error("there is a network `{0}` that bcm did not make")]
    Foreign(String),
    /// It is there, and is not as it should be.
    #[error("the network `{name}` is not as it should be: expected {expected}, found {found}")]
    Differs {
        /// Its name.
        name: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Hint for NetworkError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(_) => None,
            Self::Foreign(name) => Some(format!(
                "find out whose it is (`docker network inspect {name}`), then `docker network rm \
                 {name}`"
            )),
            Self::Differs { name, .. } => Some(format!(
                "an overlay network cannot be changed: remove what uses it, then `docker network rm \
                 {name}` and run this again"
            )),
            Self::Engine(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NetworkSpec {
        NetworkSpec::new(Chain::Signet, "back").unwrap()
    }

    /// What an engine says of a network that was made as asked.
    fn as_made(spec: &NetworkSpec) -> NetworkInspect {
        let request = spec.request();
        NetworkInspect {
            name: Some(request.name),
            driver: request.driver,
            internal: request.internal,
            options: request.options,
            labels: request.labels,
            ..NetworkInspect::default()
        }
    }

    #[test]
    fn a_network_has_no_way_out_and_is_encrypted_unless_said_otherwise() {
        let request = spec().request();
        assert_eq!(request.name, "bcm-signet-back");
        assert_eq!(request.internal, Some(true));
        assert_eq!(request.attachable, Some(false));
        let options = request.options.unwrap();
        assert!(options.contains_key("encrypted"), "{options:?}");
        assert_eq!(options[OPTION_MTU], "1330");
    }

    #[test]
    fn names_that_docker_or_a_shell_could_mistake_are_refused() {
        for name in ["", "-a", "A", "a b", "a/b", "../x", "1a", &"a".repeat(33)] {
            assert!(NetworkSpec::new(Chain::Regtest, name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_has_the_name_is_compared_whole() {
        let spec = spec();
        spec.compare(&as_made(&spec)).unwrap();
        let mut clear = as_made(&spec);
        clear.options.as_mut().unwrap().remove(ENCRYPTED);
        assert_eq!(
            spec.compare(&clear).unwrap_err().to_string(),
            "the network `bcm-signet-back` is not as it should be: expected Encrypted, found Clear"
        );
        let mut open = as_made(&spec);
        open.internal = Some(false);
        let error = spec.compare(&open).unwrap_err();
        assert!(matches!(error, NetworkError::Differs { .. }), "{error}");
        let mut foreign = as_made(&spec);
        foreign.labels = None;
        let error = spec.compare(&foreign).unwrap_err();
        assert!(matches!(error, NetworkError::Foreign(_)), "{error}");
        // another chain's network cannot serve this one
        foreign.labels = Some(HashMap::from([(label::CHAIN.into(), "mainnet".into())]));
        let error = spec.compare(&foreign).unwrap_err();
        assert!(matches!(error, NetworkError::Foreign(_)), "{error}");
    }
}
