//! What templates know.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use minijinja::value::Value;
use serde::Serialize;

use super::{Chosen, RenderError, onion_address, onion_secret, service_name, template};
use crate::configuration::Configuration;
use crate::secret::{SecretId, Secrets};
use crate::stack::{OptionValue, PortRef, Service, Stack, StackName};

/// An onion service of any stack.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OnionService {
    /// `STACK-NAME`: its folder, its key's file, its name for whoever is let in.
    pub(super) id: String,
    host: String,
    virtual_port: u16,
    port: u16,
    client_auth: bool,
    clients: Vec<OnionClient>,
    #[serde(skip)]
    pub(super) secret: SecretId,
    #[serde(skip)]
    stack: StackName,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    address: String,
}

#[derive(Clone, Debug, Serialize)]
struct OnionClient {
    name: String,
    key: String,
}

#[derive(Clone, Debug, Serialize)]
struct Client {
    stack: String,
    user: String,
    rpcauth: String,
    allow: Vec<String>,
}

/// What every stack says of itself to every other.
#[derive(Clone, Debug, Serialize)]
struct Peer {
    host: BTreeMap<String, String>,
    ports: BTreeMap<String, BTreeMap<String, u16>>,
    words: BTreeMap<String, String>,
    images: BTreeMap<String, PeerImage>,
}

#[derive(Clone, Debug, Serialize)]
struct PeerImage {
    version: String,
    variant: String,
}

#[derive(Clone, Debug, Serialize)]
struct Near {
    host: String,
    port: u16,
}

#[derive(Serialize)]
struct Context<'a> {
    chain: &'a str,
    stack: &'a str,
    #[serde(flatten)]
    own: &'a Peer,
    peers: &'a BTreeMap<String, Peer>,
    options: BTreeMap<&'a str, &'a OptionValue>,
    clients: &'a [Client],
    /// The addresses of the stack's own onion services.
    onion_addresses: BTreeMap<&'a str, &'a str>,
    /// Every onion service there is.
    onions: &'a [OnionService],
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_secrets: Option<BTreeMap<String, BTreeMap<String, String>>>,
    tunnel: Near,
}

/// What the templates of every stack know.
pub(super) struct Contexts {
    chain: bcm_keystore::Chain,
    peers: BTreeMap<String, Peer>,
    options: BTreeMap<StackName, BTreeMap<String, OptionValue>>,
    clients: BTreeMap<StackName, Vec<Client>>,
    onions: Vec<OnionService>,
    secrets: BTreeMap<String, BTreeMap<String, String>>,
}

impl Contexts {
    pub(super) fn new(
        chosen: &Chosen<'_>,
        configuration: &Configuration,
        secrets: &Secrets,
    ) -> Result<Self, RenderError> {
        let chain = chosen.chain;
        let mut contexts = Self {
            chain,
            peers: BTreeMap::new(),
            options: BTreeMap::new(),
            clients: BTreeMap::new(),
            onions: Vec::new(),
            secrets: BTreeMap::new(),
        };
        for stack in &chosen.stacks {
            contexts
                .peers
                .insert(stack.name.to_string(), peer(chosen, stack));
            let options = chosen.options[&stack.name].iter();
            let options = options.map(|(name, value)| ((*name).to_owned(), value.clone()));
            contexts
                .options
                .insert(stack.name.clone(), options.collect());
            let id = |name| SecretId {
                chain,
                stack: stack.name.clone(),
                name,
            };
            for secret in &stack.secrets {
                let mark = template::mark(&id(secret.name.clone()));
                contexts
                    .secrets
                    .entry(stack.name.to_string())
                    .or_default()
                    .insert(secret.name.to_string(), mark);
            }
            for client in stack.clients.iter().filter(|client| chosen.has(&client.of)) {
                let id = id(client.secret.clone());
                let password = secrets
                    .get(&id)
                    .ok_or_else(|| RenderError::NoSecret { id: id.to_string() })?;
                contexts
                    .clients
                    .entry(client.of.clone())
                    .or_default()
                    .push(Client {
                        stack: stack.name.to_string(),
                        user: client.user.to_string(),
                        rpcauth: password.rpcauth(client.user.as_str()),
                        allow: client.allow.iter().map(ToString::to_string).collect(),
                    });
            }
            for service in &stack.services {
                contexts.add_onions(stack, service, configuration, secrets)?;
            }
        }
        for (of, clients) in &mut contexts.clients {
            clients.sort_by(|a, b| a.user.cmp(&b.user));
            if let Some(twice) = clients.windows(2).find(|pair| pair[0].user == pair[1].user) {
                return Err(RenderError::UserTaken {
                    one: twice[0].stack.clone(),
                    other: twice[1].stack.clone(),
                    user: twice[0].user.clone(),
                    of: of.clone(),
                });
            }
        }
        Ok(contexts)
    }

    fn add_onions(
        &mut self,
        stack: &Stack,
        service: &Service,
        configuration: &Configuration,
        secrets: &Secrets,
    ) -> Result<(), RenderError> {
        let ports = service.ports_on(self.chain);
        for onion in &service.onions {
            let id = format!("{}-{}", stack.name, onion.name);
            let clients = configuration
                .onion_clients
                .get(id.as_str())
                .into_iter()
                .flatten();
            let clients = clients.map(|(name, key)| OnionClient {
                name: name.to_string(),
                key: key.as_str().to_owned(),
            });
            let number = |name: &str| ports.get(name).copied().unwrap_or_default();
            self.onions.push(OnionService {
                host: service_name(self.chain, &stack.name, &service.name),
                virtual_port: match &onion.virtual_port {
                    PortRef::Number(port) => *port,
                    PortRef::Name(name) => number(name.as_str()),
                },
                port: number(onion.port.as_str()),
                client_auth: onion.client_auth,
                clients: clients.collect(),
                secret: SecretId {
                    chain: self.chain,
                    stack: stack.name.clone(),
                    name: onion_secret(&onion.name),
                },
                address: onion_address(secrets, self.chain, &stack.name, &onion.name)?,
                stack: stack.name.clone(),
                name: onion.name.to_string(),
                id,
            });
        }
        Ok(())
    }

    pub(super) fn onions(&self) -> &[OnionService] {
        &self.onions
    }

    /// What a configuration file may say: no secret is in it.
    pub(super) fn public(&self, stack: &Stack) -> Value {
        Value::from_serialize(self.context(stack))
    }

    /// What a file that is a secret itself may say.
    pub(super) fn private(&self, stack: &Stack) -> Value {
        let mut context = self.context(stack);
        context.secrets = Some(
            self.secrets
                .get(stack.name.as_str())
                .cloned()
                .unwrap_or_default(),
        );
        let of =
            |name: &StackName| Some((name.to_string(), self.secrets.get(name.as_str())?.clone()));
        context.peer_secrets = Some(stack.depends.iter().filter_map(of).collect());
        Value::from_serialize(context)
    }

    /// What the words of a desktop program may say.
    pub(super) fn with_tunnel(&self, stack: &Stack, near: SocketAddr) -> Value {
        let mut context = self.context(stack);
        context.tunnel = Near {
            host: near.ip().to_string(),
            port: near.port(),
        };
        Value::from_serialize(context)
    }

    fn context<'a>(&'a self, stack: &'a Stack) -> Context<'a> {
        let options = self.options[&stack.name].iter();
        let own = self.onions.iter().filter(|onion| onion.stack == stack.name);
        Context {
            chain: self.chain.name(),
            stack: stack.name.as_str(),
            own: &self.peers[stack.name.as_str()],
            peers: &self.peers,
            options: options
                .map(|(name, value)| (name.as_str(), value))
                .collect(),
            clients: self.clients.get(&stack.name).map_or(&[], Vec::as_slice),
            onion_addresses: own
                .map(|onion| (onion.name.as_str(), onion.address.as_str()))
                .collect(),
            onions: &self.onions,
            secrets: None,
            peer_secrets: None,
            // where a tunnel would begin, until there is one
            tunnel: Near {
                host: "127.0.0.1".into(),
                port: 0,
            },
        }
    }
}

fn peer(chosen: &Chosen<'_>, stack: &Stack) -> Peer {
    let name = |service: &Service| service.name.to_string();
    let ports = |service: &Service| {
        let ports = service.ports_on(chosen.chain).into_iter();
        ports.map(|(name, port)| (name.to_owned(), port)).collect()
    };
    let image = |service: &Service| {
        let image = chosen.image(stack, service);
        PeerImage {
            version: image.version.to_string(),
            variant: image.variant.to_string(),
        }
    };
    let services = || stack.services.iter();
    Peer {
        host: services()
            .map(|it| (name(it), service_name(chosen.chain, &stack.name, &it.name)))
            .collect(),
        ports: services().map(|it| (name(it), ports(it))).collect(),
        words: stack
            .words_on(chosen.chain)
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        images: services().map(|it| (name(it), image(it))).collect(),
    }
}
