//! OpenPGP for the programs that use the session: what git signs and verifies.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bcm_keystore::pgp::{self, PgpStore, Purpose, SignMode, Verdict};
use bcm_keystore::{Device, WalletStore};

use super::blocking;
use super::protocol::Answer;
use crate::report::Report;

/// Says what is signed, from what git hands over: a commit or a tag object.
///
/// It is the beginning of the text that is signed, which the device shows but does not cover.
pub fn purpose(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
    let subject = message.lines().next().unwrap_or_default();
    let tag = head.lines().find_map(|line| line.strip_prefix("tag "));
    match (head.starts_with("tree "), tag) {
        (true, _) => format!("sign git commit: {subject}"),
        (false, Some(tag)) => format!("sign git tag {tag}: {subject}"),
        (false, None) => "sign data for git".to_owned(),
    }
}

/// Signs with a cert of the wallet; one confirmation on the device.
pub async fn sign(
    device: Device,
    store: Arc<WalletStore>,
    key: Option<String>,
    data: Vec<u8>,
) -> Result<Answer, Report> {
    blocking(Some(device.clone()), move |_| {
        let certs = PgpStore::open(&store)?;
        let key = certs.signer(key.as_deref())?;
        let mode = SignMode::Detached {
            text: false,
            armor: true,
        };
        let purpose = Purpose::new(purpose(&data));
        let now = SystemTime::now();
        let mut armored = Vec::new();
        pgp::sign(
            &device,
            key,
            mode,
            &purpose,
            &mut &data[..],
            &mut armored,
            now,
        )?;
        let verdicts = pgp::examine_detached(&certs, &mut &armored[..], &mut &data[..], now)?;
        let signature = pgp::judge(verdicts)?.swap_remove(0);
        let created = signature.created.duration_since(UNIX_EPOCH);
        let facts = &signature.facts;
        // doc/DETAILS of GnuPG: type, algorithms, class, time, fingerprint
        let status = format!(
            "[GNUPG:] SIG_CREATED D {} {} {:02X} {} {}",
            facts.public_key_algorithm,
            facts.hash_algorithm,
            facts.class,
            created.map_or(0, |since| since.as_secs()),
            signature.fingerprint.to_hex(),
        );
        Ok(Answer::PgpSignature {
            armored: String::from_utf8_lossy(&armored).into_owned(),
            status,
        })
    })
    .await
}

/// Verifies against the certs of the wallet.
pub async fn verify(
    store: Arc<WalletStore>,
    signature: Vec<u8>,
    data: Vec<u8>,
) -> Result<Answer, Report> {
    blocking(None, move |_| {
        let certs = PgpStore::open(&store)?;
        let now = SystemTime::now();
        let verdicts = pgp::examine_detached(&certs, &mut &signature[..], &mut &data[..], now)?;
        let status = verdicts.iter().flat_map(pgp::status_lines).collect();
        let lines = verdicts.iter().map(line).collect();
        Ok(Answer::PgpVerdict {
            good: pgp::judge(verdicts).is_ok(),
            status,
            lines,
        })
    })
    .await
}

/// Says of one signature who made it, or what is wrong with it.
fn line(verdict: &Verdict) -> String {
    match verdict.clone().good() {
        Err(error) => error.to_string(),
        Ok(signature) => {
            let trust = match signature.trust {
                pgp::Trust::Own => "a key of this wallet",
                pgp::Trust::Trusted => "marked as trusted",
                pgp::Trust::Unmarked => "NOT marked as trusted",
            };
            format!(
                "good signature by `{}`, {}, {trust}",
                signature.user_id, signature.primary
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_person_reads_the_subject_of_what_git_signs() {
        let commit = b"tree 4b825dc6\nauthor A <a@b> 1 +0000\n\nPin the image\n\nBecause.\n";
        assert_eq!(purpose(commit), "sign git commit: Pin the image");
        let tag = b"object 4b825dc6\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nFirst\n";
        assert_eq!(purpose(tag), "sign git tag v1: First");
        for other in [&b""[..], b"\xff\xfe", b"anything\n\nelse"] {
            assert_eq!(purpose(other), "sign data for git");
        }
    }
}
