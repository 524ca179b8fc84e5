//! What an agent signs with the key of a session, without asking, and what it does not.

use std::time::{Duration, SystemTime};

use ssh_key::Certificate;

use super::*;
use crate::ssh::certificate::{Certify, SessionCertificate};

const CA: u8 = 40;

fn certificate(ttl: u64, now: SystemTime) -> SessionCertificate {
    let wanted = Certify {
        principals: vec!["root".into()],
        ttl: Duration::from_secs(ttl),
        pty: false,
    };
    SessionCertificate::by_software(&private(CA), &wanted, now)
}

/// What ssh has signed to log in as root with a certificate.
fn certified_login(session: &[u8], certificate: &Certificate) -> Vec<u8> {
    let mut data = Vec::new();
    session.encode(&mut data).unwrap();
    data.push(50);
    for text in ["root", "ssh-connection", "publickey"] {
        text.encode(&mut data).unwrap();
    }
    data.push(1);
    "ssh-ed25519-cert-v01@openssh.com"
        .encode(&mut data)
        .unwrap();
    certificate.to_bytes().unwrap().encode(&mut data).unwrap();
    data
}

async fn sign_certified(client: &mut Client, certificate: &Certificate, data: Vec<u8>) -> Response {
    let mut message = vec![13];
    let request = SignRequest {
        credential: PublicCredential::Cert(Box::new(certificate.clone())),
        data,
        flags: 0,
    };
    request.encode(&mut message).unwrap();
    client.ask(&message).await
}

fn pin(host: u8) -> HostPin {
    HostPin {
        host: format!("node{host}"),
        key: public(host).into(),
    }
}

#[tokio::test]
async fn the_session_key_logs_in_to_its_hosts_and_does_nothing_else() {
    // whatever reaches the device is declined there
    let agent = Running::start(Answer::No);
    let session = certificate(3600, SystemTime::now());
    let certificate = session.certificate().clone();
    let certified = Certified::session("home", session);
    certified.allow(&[pin(2)]);
    agent.handle.certify(certified);

    let data = certified_login(b"session", &certificate);
    let mut client = agent.connect().await;
    client.bind(2, b"session", false).await;
    let Response::SignResponse(signature) =
        sign_certified(&mut client, &certificate, data.clone()).await
    else {
        panic!("{:?}", agent.events());
    };
    use p256::ecdsa::signature::Verifier;
    certificate.public_key().verify(&data, &signature).unwrap();
    assert_eq!(
        agent.events(),
        ["signed by the session: log in as root at node2"]
    );

    let refused = async |client: &mut Client, certificate: &Certificate, data: Vec<u8>| {
        let response = sign_certified(client, certificate, data).await;
        assert_eq!(response, Response::Failure, "{:?}", agent.events());
        agent.events().pop().unwrap()
    };
    // another connection than the one that was proved
    let other = certified_login(b"another", &certificate);
    let said = refused(&mut client, &certificate, other).await;
    assert!(said.contains("another connection"), "{said}");
    // a login with the bare key
    let said = refused(&mut client, &certificate, login(b"session", None)).await;
    assert!(said.contains("another key"), "{said}");
    // a file, a commit
    let mut file = b"SSHSIG".to_vec();
    for part in [&b"git"[..], b"", b"sha512", &[7; 64]] {
        part.encode(&mut file).unwrap();
    }
    let said = refused(&mut client, &certificate, file).await;
    assert!(said.contains("file signature"), "{said}");
    // a host that is pinned elsewhere, but not for this certificate
    let mut client = agent.connect().await;
    client.bind(3, b"session", false).await;
    let said = refused(&mut client, &certificate, data.clone()).await;
    assert!(
        said.contains("the session certificate is not for the host"),
        "{said}"
    );
    // a client that proves nothing
    let mut client = agent.connect().await;
    let said = refused(&mut client, &certificate, data.clone()).await;
    assert!(said.contains("did not prove its key"), "{said}");
    // a host that the agent was forwarded to
    let mut client = agent.connect().await;
    client.bind(2, b"session", true).await;
    let said = refused(&mut client, &certificate, data.clone()).await;
    assert!(said.contains("forwarded"), "{said}");
    // a certificate of the same key that the agent does not hold
    let wanted = Certify {
        principals: vec!["admin".into()],
        ttl: Duration::from_secs(3600),
        pty: true,
    };
    let forged = SessionCertificate::by_software(&private(41), &wanted, SystemTime::now());
    let forged = forged.certificate();
    let mut client = agent.connect().await;
    client.bind(2, b"session", false).await;
    let said = refused(&mut client, forged, certified_login(b"session", forged)).await;
    assert!(said.contains("is not in this agent"), "{said}");
    // the bare key
    let response = client
        .sign(certificate.public_key().clone(), data.clone())
        .await;
    assert_eq!(response, Response::Failure);

    let gone = |held: &Certified| held.cluster() == "home";
    assert_eq!(agent.handle.drop_certificates(gone), 1);
    let said = refused(&mut client, &certificate, data).await;
    assert!(said.contains("is not in this agent"), "{said}");
}

#[tokio::test]
async fn an_expired_certificate_signs_nothing() {
    let agent = Running::start(Answer::No);
    let before = SystemTime::now() - Duration::from_secs(7200);
    let session = certificate(3600, before);
    let certificate = session.certificate().clone();
    let certified = Certified::session("home", session);
    certified.allow(&[pin(2)]);
    agent.handle.certify(certified);
    let mut client = agent.connect().await;
    client.bind(2, b"session", false).await;
    let data = certified_login(b"session", &certificate);
    assert_eq!(
        sign_certified(&mut client, &certificate, data).await,
        Response::Failure
    );
    assert_eq!(
        agent.events(),
        ["not signed: the session certificate has expired"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_add_lists_the_certificate_before_the_keys() {
    let agent = Running::start(Answer::No);
    let session = certificate(3600, SystemTime::now());
    agent.handle.certify(Certified::session("home", session));
    let output = agent.openssh("ssh-add", &["-L"]).await;
    let listed = String::from_utf8(output.stdout).unwrap();
    let types: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(types, ["ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519"]);
}
