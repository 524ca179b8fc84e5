//! One client of an agent: what it proved, what it asks for, what it gets.

use ssh_agent_lib::proto::extension::{MessageExtension, SessionBind};
use ssh_agent_lib::proto::{Extension, Identity, PublicCredential, Response, SignRequest};
use ssh_agent_lib::ssh_encoding::Encode;
use std::sync::Arc;
use std::time::SystemTime;

use ssh_key::public::KeyData;
use ssh_key::{Certificate, HashAlg};
use tokio::net::UnixStream;

use super::certified::{Certified, Holder};
use super::message::{End, Frames, Request};
use super::{AgentEvent, Content, Shared, host_name};
use crate::ssh::key::SshKey;
use crate::ssh::purpose::{BoundHost, Purpose};
use crate::ssh::request::{Login, RequestError, SignedData};

/// Longest session identifier that can be bound, as in OpenSSH.
const MAX_SESSION_ID: usize = 128;

/// Serves a client until it goes away.
pub(super) async fn serve(stream: UnixStream, shared: &Shared) {
    let mut frames = Frames::new(stream);
    let mut binding = Binding::Unbound;
    loop {
        let message = match frames.next().await {
            Ok(message) => message,
            Err(End::HungUp) => return,
            Err(End::Malformed) => {
                shared.report(AgentEvent::Malformed);
                // the client is cut off whether or not it takes the answer
                let _ = frames.send(&Response::Failure).await;
                return;
            }
        };
        let response = match Request::decode(&message) {
            Request::List => Response::IdentitiesAnswer(match binding {
                Binding::Forwarded | Binding::Broken => Vec::new(),
                Binding::Unbound | Binding::Bound { .. } => identities(shared),
            }),
            Request::Sign(request) => match sign(&request, &binding, shared, &mut frames).await {
                Some(response) => response,
                None => return,
            },
            Request::Extension(extension) => extend(&extension, &mut binding),
            Request::Unserved => Response::Failure,
        };
        if frames.send(&response).await.is_err() {
            return;
        }
    }
}

/// What a client proved about the connection that it uses the agent for.
#[derive(Clone, Debug, Default, PartialEq)]
enum Binding {
    /// Nothing.
    #[default]
    Unbound,
    /// It logs in to the host with this key, on this connection.
    Bound {
        host_key: KeyData,
        session_id: Vec<u8>,
    },
    /// It passes on requests from another host.
    Forwarded,
    /// It failed to prove what it said.
    Broken,
}

impl Binding {
    /// Takes a `session-bind@openssh.com` message:
    /// [PROTOCOL.agent](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.agent).
    fn bind(&mut self, bind: SessionBind) -> Response {
        let proven = bind.session_id.len() <= MAX_SESSION_ID && bind.verify_signature().is_ok();
        let next = match (&*self, proven) {
            (_, false) => Self::Broken,
            (Self::Unbound, true) if bind.is_forwarding => Self::Forwarded,
            (Self::Unbound, true) => Self::Bound {
                host_key: bind.host_key,
                session_id: bind.session_id,
            },
            (
                Self::Bound {
                    host_key,
                    session_id,
                },
                true,
            ) if *host_key == bind.host_key
                && *session_id == bind.session_id
                && !bind.is_forwarding =>
            {
                return Response::Success;
            }
            (Self::Forwarded, true) => return Response::Success,
            (Self::Bound { .. } | Self::Broken, true) => Self::Broken,
        };
        *self = next;
        match self {
            Self::Broken => Response::Failure,
            _ => Response::Success,
        }
    }
}

fn identities(shared: &Shared) -> Vec<Identity> {
    let (certified, content) = (shared.certified(), shared.content());
    let certificates = certified.iter().map(|certified| Identity {
        credential: PublicCredential::Cert(Box::new(certified.certificate().clone())),
        comment: certified.certificate().key_id().to_owned(),
    });
    let keys = content.keys.iter().map(SshKey::public_key);
    let keys = keys.map(|key| Identity {
        credential: PublicCredential::Key(key.key_data().clone()),
        comment: key.comment().to_owned(),
    });
    certificates.chain(keys).collect()
}

fn extend(extension: &Extension, binding: &mut Binding) -> Response {
    match &*extension.name {
        SessionBind::NAME => match extension.parse_message::<SessionBind>() {
            Ok(Some(bind)) => binding.bind(bind),
            _ => {
                *binding = Binding::Broken;
                Response::Failure
            }
        },
        "query" => {
            // string[] of RFC 9987 section 3.8.1: the names one after the other
            let mut names = Vec::new();
            for name in ["query", SessionBind::NAME] {
                name.encode(&mut names)
                    .expect("a vector takes every string");
            }
            Response::ExtensionResponse(Extension {
                name: "query".to_owned(),
                details: names.into(),
            })
        }
        _ => Response::Failure,
    }
}

/// Asks the device, unless the client goes away first: `None`.
async fn sign(
    request: &SignRequest,
    binding: &Binding,
    shared: &Shared,
    frames: &mut Frames,
) -> Option<Response> {
    let examined = match &request.credential {
        PublicCredential::Key(wanted) => {
            let content = shared.content();
            let examined = examine(request, wanted, binding, &content);
            examined.map(|(key, purpose)| (Way::Device(Box::new(key.clone())), purpose))
        }
        PublicCredential::Cert(wanted) => {
            examine_certified(request, wanted, binding, &shared.certified())
        }
    };
    let (key, purpose) = match examined {
        Ok((Way::Device(key), purpose)) => (*key, purpose),
        Ok((Way::Session(certified), purpose)) => {
            let Holder::Session(session) = certified.holder() else {
                return Some(Response::Failure);
            };
            let signature = session.sign(&request.data);
            shared.report(AgentEvent::SignedBySession { purpose });
            return Some(Response::SignResponse(signature));
        }
        Err(refusal) => {
            shared.report(AgentEvent::Refused(refusal));
            return Some(Response::Failure);
        }
    };
    let signing = async {
        let _turn = shared.turn.lock().await;
        shared.signer.sign(&key, &purpose, &request.data).await
    };
    let outcome = tokio::select! {
        outcome = signing => outcome,
        () = frames.hung_up() => {
            shared.report(AgentEvent::Abandoned { key, purpose });
            return None;
        }
    };
    Some(match outcome {
        Ok(signature) => {
            shared.report(AgentEvent::Signed { key, purpose });
            Response::SignResponse(signature)
        }
        Err(error) => {
            shared.report(AgentEvent::Failed {
                key,
                purpose,
                error,
            });
            Response::Failure
        }
    })
}

/// What makes a signature.
enum Way {
    /// The device, with this key, after the person confirmed.
    Device(Box<SshKey>),
    /// The key of a session certificate.
    Session(Arc<Certified>),
}

/// Decides whether the request may be signed with the key of a certificate.
///
/// The key of a session signs without asking, so that it must be known where the login goes: to a host that the
/// certificate is meant for, whose key the client proved.
fn examine_certified(
    request: &SignRequest,
    wanted: &Certificate,
    binding: &Binding,
    certified: &[Arc<Certified>],
) -> Result<(Way, Purpose), RequestError> {
    let missing = || {
        let fingerprint = wanted.public_key().fingerprint(HashAlg::Sha256);
        RequestError::NoSuchKey(fingerprint.to_string())
    };
    let mut held = certified.iter();
    let held = held.find(|held| *held.certificate() == *wanted);
    let held = held.ok_or_else(missing)?;
    let data = SignedData::parse(&request.data)?;
    let SignedData::Login(login) = &data else {
        return Err(RequestError::NotALogin);
    };
    match binding {
        Binding::Forwarded => return Err(RequestError::Forwarded),
        Binding::Broken => return Err(RequestError::Unproven),
        Binding::Unbound | Binding::Bound { .. } => {}
    }
    if login.certificate.as_deref() != Some(wanted) {
        return Err(RequestError::OtherKey);
    }
    let host_key = login_host(login, wanted.public_key(), binding)?;
    if held.has_expired(SystemTime::now()) {
        return Err(RequestError::Expired);
    }
    let unknown = |key: Option<&KeyData>| match key {
        Some(key) => format!("the host with the key {}", key.fingerprint(HashAlg::Sha256)),
        None => "a host that did not prove its key".to_owned(),
    };
    let hosts = held.hosts();
    let name = host_key.and_then(|key| host_name(&hosts, key, ""));
    let (way, host) = match (held.holder(), name) {
        (Holder::Session(_), None) => return Err(RequestError::OtherCluster(unknown(host_key))),
        (Holder::Session(_), Some(name)) => (
            Way::Session(held.clone()),
            BoundHost::Pinned(name.to_owned()),
        ),
        (Holder::Device(key, _), name) => {
            let host = match (name, host_key) {
                (Some(name), _) => BoundHost::Pinned(name.to_owned()),
                (None, Some(key)) => BoundHost::Unknown(key.fingerprint(HashAlg::Sha256)),
                (None, None) => BoundHost::Unbound,
            };
            (Way::Device(key.clone()), host)
        }
    };
    Ok((way, Purpose::new(data, host)))
}

/// Decides whether the request may reach the device. Flags choose among RSA's hashes: no key here
/// has any.
fn examine<'a>(
    request: &SignRequest,
    wanted: &KeyData,
    binding: &Binding,
    content: &'a Content,
) -> Result<(&'a SshKey, Purpose), RequestError> {
    let key = content
        .key(wanted)
        .ok_or_else(|| RequestError::NoSuchKey(wanted.fingerprint(HashAlg::Sha256).to_string()))?;
    let data = SignedData::parse(&request.data)?;
    if let SignedData::Login(login) = &data
        && login.certificate.is_some()
    {
        return Err(RequestError::OtherKey);
    }
    let host_key = match (&data, binding) {
        (_, Binding::Forwarded) => return Err(RequestError::Forwarded),
        (_, Binding::Broken) => return Err(RequestError::Unproven),
        (SignedData::Login(login), _) => login_host(login, wanted, binding)?,
        (SignedData::File(_), Binding::Bound { .. }) => return Err(RequestError::NotALogin),
        (SignedData::File(_), Binding::Unbound) => None,
    };
    let host = match host_key {
        None => BoundHost::Unbound,
        Some(host_key) => match content.host_name(host_key, key) {
            Some(name) => BoundHost::Pinned(name.to_owned()),
            None => BoundHost::Unknown(host_key.fingerprint(HashAlg::Sha256)),
        },
    };
    Ok((key, Purpose::new(data, host)))
}

/// Returns the key of the host that a login goes to: the one that the client proved, else the one
/// that the login itself is bound to and good for alone.
fn login_host<'a>(
    login: &'a Login,
    key: &KeyData,
    binding: &'a Binding,
) -> Result<Option<&'a KeyData>, RequestError> {
    if login.key != *key {
        return Err(RequestError::OtherKey);
    }
    let Binding::Bound {
        host_key,
        session_id,
    } = binding
    else {
        return Ok(login.host_key.as_ref());
    };
    if login.session_id != *session_id {
        return Err(RequestError::OtherSession);
    }
    match &login.host_key {
        Some(named) if named != host_key => Err(RequestError::OtherHost),
        _ => Ok(Some(host_key)),
    }
}
