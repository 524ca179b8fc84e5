//! Who may sign: the file of `ssh-keygen -Y verify -f`, ALLOWED SIGNERS in
//! [ssh-keygen(1)](https://man.openbsd.org/ssh-keygen#ALLOWED_SIGNERS).

use ssh_key::PublicKey;
use ssh_key::public::KeyData;

use super::{Namespace, SshSigError};

/// The keys that a person accepts, and whose they are.
#[derive(Clone, Debug, Default)]
pub struct AllowedSigners(Vec<AllowedSigner>);

/// One line: a key, whose it is, and what it may sign when.
#[derive(Clone, Debug)]
pub struct AllowedSigner {
    principals: Vec<String>,
    key: KeyData,
    namespaces: Option<Vec<String>>,
    after: Option<u64>,
    before: Option<u64>,
}

impl AllowedSigners {
    /// Reads a file of allowed signers. Lines for certification authorities are passed over: bcm
    /// verifies no certificates here.
    ///
    /// # Errors
    ///
    /// [`SshSigError::Allowed`] names the first line that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, SshSigError> {
        let mut signers = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = AllowedSigner::parse(line).map_err(|reason| SshSigError::Allowed {
                line: number + 1,
                reason,
            })?;
            signers.extend(parsed);
        }
        Ok(Self(signers))
    }

    /// Finds who may have signed with `key` for `namespace` at `now`, in seconds since 1970;
    /// `principal` asks for one of them alone.
    pub fn find(
        &self,
        key: &KeyData,
        namespace: &Namespace,
        now: u64,
        principal: Option<&str>,
    ) -> Option<&AllowedSigner> {
        self.0.iter().find(|signer| {
            signer.key == *key
                && signer.allows(namespace, now)
                && principal.is_none_or(|principal| matches(&signer.principals, principal))
        })
    }
}

impl AllowedSigner {
    /// Returns whose key it is, as it stands in the file.
    pub fn principals(&self) -> String {
        self.principals.join(",")
    }

    fn allows(&self, namespace: &Namespace, now: u64) -> bool {
        self.namespaces
            .as_ref()
            .is_none_or(|allowed| matches(allowed, namespace.as_str()))
            && self.after.is_none_or(|after| now >= after)
            && self.before.is_none_or(|before| now < before)
    }

    fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        let (principals, rest) = field(line).ok_or("the principals are not closed with `\"`")?;
        let mut signer = Self {
            principals: patterns(&principals),
            key: KeyData::from(ssh_key::public::Ed25519PublicKey([0; 32])),
            namespaces: None,
            after: None,
            before: None,
        };
        if let Ok(key) = PublicKey::from_openssh(rest) {
            signer.key = key.into();
            return Ok(Some(signer));
        }
        let (options, rest) = field(rest).ok_or("an option is not closed with `\"`")?;
        for option in options_of(&options) {
            let (name, value) = option.split_once('=').unwrap_or((&option, ""));
            let value = value.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "cert-authority" => return Ok(None),
                "namespaces" => signer.namespaces = Some(patterns(value)),
                "valid-after" => signer.after = Some(time(value)?),
                "valid-before" => signer.before = Some(time(value)?),
                _ => return Err("an option is unknown"),
            }
        }
        let key = PublicKey::from_openssh(rest).map_err(|_| "there is no key that bcm knows")?;
        signer.key = key.into();
        Ok(Some(signer))
    }
}

/// Cuts off the first field; blanks inside quotes do not end it.
fn field(line: &str) -> Option<(String, &str)> {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some((line[..at].to_owned(), line[at..].trim_start())),
            _ => {}
        }
    }
    (!quoted).then(|| (line.to_owned(), ""))
}

fn options_of(text: &str) -> Vec<String> {
    let mut quoted = false;
    let mut options = vec![String::new()];
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                options.last_mut().expect("never empty").push(c);
            }
            ',' if !quoted => options.push(String::new()),
            c => options.last_mut().expect("never empty").push(c),
        }
    }
    options
}

fn patterns(text: &str) -> Vec<String> {
    let list = text.trim_matches('"').split(',');
    list.map(|pattern| pattern.trim().to_owned()).collect()
}

/// Matches as OpenSSH: `*`, `?`, and `!` in front of what must not match.
fn matches(patterns: &[String], text: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(refused) if glob(refused.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => found |= glob(pattern.as_bytes(), text.as_bytes()),
        }
    }
    found
}

/// Matches without backing up further than the last `*`, so that no pattern takes long.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Reads `YYYYMMDD[HHMM[SS]]Z`; without the `Z` it would mean another time on another computer.
fn time(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "a time has to be YYYYMMDD[HHMM[SS]]Z";
    let digits = text.strip_suffix(['Z', 'z']).ok_or(WRONG)?;
    if ![8, 12, 14].contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    let number = |from: usize, to: usize| -> u64 {
        let part = digits.get(from..to).unwrap_or("0");
        part.parse().expect("four digits at most")
    };
    let two = |from| i8::try_from(number(from, from + 2)).expect("two digits");
    let year = i16::try_from(number(0, 4)).expect("four digits");
    let date = jiff::civil::DateTime::new(year, two(4), two(6), two(8), two(10), two(12), 0);
    let zoned = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC));
    let seconds = zoned.map_err(|_| WRONG)?.timestamp().as_second();
    u64::try_from(seconds).map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHoTXobfyXshHbnkeZujXqWoexOnuLzOpfbfFpOgnTHY x";

    fn find(text: &str, namespace: &str, now: u64, principal: Option<&str>) -> bool {
        let signers = AllowedSigners::parse(text).unwrap();
        let key: KeyData = PublicKey::from_openssh(KEY).unwrap().into();
        let namespace = namespace.parse().unwrap();
        signers.find(&key, &namespace, now, principal).is_some()
    }

    #[test]
    fn a_line_names_who_may_sign_what_and_when() {
        let plain = format!("# people\n\nalice@example.org {KEY}\n");
        assert!(find(&plain, "file", 0, None));
        assert!(find(&plain, "git", 0, Some("alice@example.org")));
        assert!(!find(&plain, "file", 0, Some("bob@example.org")));
        let lines = format!("*@example.org,!eve@* namespaces=\"file,rel*\" {KEY}");
        assert!(find(&lines, "release", 0, Some("bob@example.org")));
        assert!(!find(&lines, "git", 0, None));
        assert!(!find(&lines, "file", 0, Some("eve@example.org")));
        let dated = format!("a valid-after=\"20090103Z\",valid-before=\"20090103181505Z\" {KEY}");
        for (now, valid) in [
            (1_230_940_799, false),
            (1_230_940_800, true),
            (1_231_006_504, true),
            (1_231_006_505, false),
        ] {
            assert_eq!(find(&dated, "file", now, None), valid, "{now}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_rather_than_allowed() {
        for line in [
            "a",
            "\"a",
            "a ssh-ed25519 AAAA",
            &format!("a valid-before=20090103 {KEY}"),
            &format!("a valid-before=20091303Z {KEY}"),
            &format!("a touch-required {KEY}"),
            &format!("a namespaces=\"file {KEY}"),
        ] {
            assert!(AllowedSigners::parse(line).is_err(), "{line}");
        }
        let authority = format!("a cert-authority {KEY}");
        assert!(!find(&authority, "file", 0, None));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = "*a".repeat(2000) + "b";
        assert!(!glob(pattern.as_bytes(), "a".repeat(4000).as_bytes()));
        assert!(glob(b"*", b"") && glob(b"a?c*", b"abcd") && !glob(b"a", b"ab"));
    }

    proptest! {
        #[test]
        fn nothing_panics_on_any_text(text in ".{0,200}", options in "[a-z=\",Z0-9-]{0,60}") {
            let _ = AllowedSigners::parse(&text);
            let _ = AllowedSigners::parse(&format!("a {options} {KEY}"));
        }
    }
}
