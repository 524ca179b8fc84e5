//! What GnuPG would say on `--status-fd`, for programs that read it: git above all.
//!
//! See [doc/DETAILS](https://github.com/gpg/gnupg/blob/master/doc/DETAILS) of GnuPG.

use std::time::{SystemTime, UNIX_EPOCH};

use super::verdict::{GoodSignature, SignatureFacts, Trust, Verdict};

/// Returns the lines for one signature, each beginning with `[GNUPG:]`, without line ends.
pub fn status_lines(verdict: &Verdict) -> Vec<String> {
    let mut lines = vec!["NEWSIG".to_owned()];
    match verdict {
        Verdict::Good(signature) => good(&mut lines, "GOODSIG", signature),
        Verdict::Expired { signature, at } => {
            lines.push(format!("KEYEXPIRED {}", seconds(*at)));
            good(&mut lines, "EXPKEYSIG", signature);
        }
        Verdict::Revoked { signature, .. } => good(&mut lines, "REVKEYSIG", signature),
        Verdict::Unknown(facts) => {
            lines.push(errsig(facts, 9));
            lines.push(format!("NO_PUBKEY {}", key_id(facts)));
        }
        Verdict::Unusable { facts, .. } => lines.push(errsig(facts, 4)),
        Verdict::Bad { facts, user_id, .. } => {
            let key = facts.as_ref().map_or_else(|| "0".repeat(16), key_id);
            let name = user_id.as_deref().unwrap_or("unknown");
            lines.push(format!("BADSIG {key} {}", escaped(name)));
        }
    }
    for line in &mut lines {
        line.insert_str(0, "[GNUPG:] ");
    }
    lines
}

fn good(lines: &mut Vec<String>, word: &str, signature: &GoodSignature) {
    let facts = &signature.facts;
    let name = escaped(&signature.user_id);
    lines.push(format!("{word} {} {name}", key_id(facts)));
    let created = seconds(signature.created);
    lines.push(format!(
        "VALIDSIG {} {} {created} {} {} 0 {} {} {:02X} {}",
        signature.fingerprint.to_hex(),
        day(signature.created),
        facts.expires.map_or(0, seconds),
        facts.version,
        facts.public_key_algorithm,
        facts.hash_algorithm,
        facts.class,
        signature.primary.to_hex(),
    ));
    let trust = match signature.trust {
        Trust::Own => "TRUST_ULTIMATE",
        Trust::Trusted => "TRUST_FULLY",
        Trust::Unmarked => "TRUST_UNDEFINED",
    };
    lines.push(format!("{trust} 0 bcm"));
}

fn errsig(facts: &SignatureFacts, code: u8) -> String {
    format!(
        "ERRSIG {} {} {} {:02X} {} {code} {}",
        key_id(facts),
        facts.public_key_algorithm,
        facts.hash_algorithm,
        facts.class,
        facts.created.map_or(0, seconds),
        facts
            .issuer
            .as_deref()
            .filter(|issuer| issuer.len() > 16)
            .unwrap_or("-"),
    )
}

/// The last 16 digits of a fingerprint of version 4, the first of a later one.
fn key_id(facts: &SignatureFacts) -> String {
    match facts.issuer.as_deref() {
        Some(issuer) if issuer.len() == 64 => issuer[..16].to_owned(),
        Some(issuer) if issuer.len() >= 16 => issuer[issuer.len() - 16..].to_owned(),
        _ => "0".repeat(16),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn day(time: SystemTime) -> String {
    let stamp = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    stamp.strftime("%Y-%m-%d").to_string()
}

/// Writes `%`, and what would end the line, as GnuPG does.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || c == '%' {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}
