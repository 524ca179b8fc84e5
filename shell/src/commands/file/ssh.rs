//! Signatures of OpenSSH.

use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use bcm_keystore::ssh::sshsig::{self, AllowedSigners, GoodSshSig, Namespace};
use bcm_keystore::ssh::{SshKey, SshStore};

use super::format::seconds;
use super::verify::Signer;
use super::{Work, verify};
use crate::files;
use crate::report::{Kind, Report};

/// Longest file of allowed signers or public key.
const MAX_KEYS: u64 = 4 << 20;

/// Returns the named key, or the only one.
pub fn choose(work: &Work<'_>, name: Option<&str>) -> Result<SshKey, Report> {
    let store = SshStore::open(work.wallet)?;
    match (name, store.keys()) {
        (Some(name), _) => Ok(store.find(name)?.clone()),
        (None, [key]) => Ok(key.clone()),
        (None, []) => Err(Report::text(Kind::Failed, "there is no SSH key yet")
            .with_hint("make one with `ssh newkey user@host`")),
        (None, keys) => {
            let count = keys.len();
            Err(
                Report::usage(format!("there are {count} SSH keys to sign with"))
                    .with_hint("name one with `--key`; `ssh list` shows them"),
            )
        }
    }
}

/// Signs and returns the armored signature.
pub fn sign(
    work: &Work<'_>,
    key: &SshKey,
    namespace: Option<&str>,
    input: &mut dyn Read,
) -> Result<String, Report> {
    let namespace = parse(namespace)?;
    Ok(sshsig::sign_file(work.device, key, &namespace, input)?)
}

fn parse(namespace: Option<&str>) -> Result<Namespace, Report> {
    Ok(namespace.map(str::parse).transpose()?.unwrap_or_default())
}

/// Verifies, and decides whose key it is: one of this wallet's, or one that a file vouches for.
pub fn verify(
    work: &Work<'_>,
    arguments: &verify::Args,
    signature: &[u8],
    input: &mut dyn Read,
) -> Result<Signer, Report> {
    let namespace = parse(arguments.namespace.as_deref())?;
    let allowed = match &arguments.allowed_signers {
        Some(path) => Some(AllowedSigners::parse(&text(path)?)?),
        None => None,
    };
    let expected = match &arguments.public_key {
        Some(path) => Some(public_key(path)?),
        None => None,
    };
    let good = sshsig::verify_file(signature, &namespace, input)?;
    let mut signer = Signer {
        who: None,
        key: good.fingerprint().to_string(),
        primary: None,
        created: None,
        trust: "trusted",
    };
    if let Some(expected) = expected {
        if expected.key_data() != good.key() {
            let expected = expected.fingerprint(Default::default());
            return Err(Report::text(
                Kind::Verification,
                format!(
                    "signed by the key {}, not by {expected}",
                    good.fingerprint()
                ),
            )
            .with_hint("get the signature, or the public key, of whoever you expect"));
        }
        signer.who = Some(expected.comment().to_owned());
        return Ok(signer);
    }
    if let Some(allowed) = allowed {
        let now = seconds(SystemTime::now());
        let principal = arguments.signer.as_deref();
        return match allowed.find(good.key(), &namespace, now, principal) {
            Some(found) => {
                signer.who = Some(principal.map_or_else(|| found.principals(), str::to_owned));
                Ok(signer)
            }
            None => Err(unknown(&good, principal)),
        };
    }
    let store = SshStore::open(work.wallet)?;
    let own = store
        .keys()
        .iter()
        .find(|key| key.public_key().key_data() == good.key());
    match own {
        Some(key) => {
            let who = key.identity().login();
            verify::expect(arguments.signer.as_deref(), &[&who, &signer.key])?;
            signer.who = Some(who);
            signer.trust = "own";
            Ok(signer)
        }
        None => Err(unknown(&good, arguments.signer.as_deref())),
    }
}

fn unknown(good: &GoodSshSig, principal: Option<&str>) -> Report {
    let key = good.fingerprint();
    let text = match principal {
        Some(principal) => format!("signed by the key {key}, which may not sign for `{principal}`"),
        None => format!("signed by the key {key}, and nothing says whose it is"),
    };
    Report::text(Kind::Verification, text).with_hint(
        "vouch for the key with `--allowed-signers FILE` or `--public-key FILE`, once you know whose \
         it is",
    )
}

fn public_key(path: &Path) -> Result<ssh_key::PublicKey, Report> {
    ssh_key::PublicKey::from_openssh(text(path)?.trim()).map_err(|_| {
        Report::usage(format!("`{}` is no SSH public key", path.display()))
            .with_hint("name the file that ends in .pub")
    })
}

fn text(path: &Path) -> Result<String, Report> {
    String::from_utf8(files::read_small(path, MAX_KEYS)?)
        .map_err(|_| Report::usage(format!("`{}` is no text", path.display())))
}
