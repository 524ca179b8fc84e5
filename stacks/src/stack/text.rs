//! The words of a `stack.toml`: each a type that cannot hold what a shell, a path or a terminal would
//! take for something else.

use std::fmt;

/// A text that is not what its place asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no {what}: {expected}", shown(.found))]
pub struct TextError {
    what: &'static str,
    expected: &'static str,
    found: String,
}

/// Escapes, and cuts what is too long to be read.
fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    let escaped: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().count() > SHOWN {
        format!("{escaped}…")
    } else {
        escaped
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns it as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text))
                } else {
                    Err(TextError { what: $what, expected: $expected, found: text })
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text!(
    /// The name of a service, volume, secret, port, option or word of a stack.
    PartName,
    "name",
    "a lower-case letter, then lower-case letters, digits and `-`, at most 32 in all",
    |text| is_name(text, 32)
);

text!(
    /// One line for a person.
    Line,
    "line of text",
    "printable characters on one line, at most 800",
    |text| text.chars().count() <= 800 && !text.chars().any(is_hidden)
);

text!(
    /// One word of a command, handed over as it is: never to a shell. May hold `{{ expressions }}`.
    Word,
    "word of a command",
    "printable ASCII without spaces outside `{{ }}`, quotes and what a shell takes for its own, at most 400",
    is_word
);

text!(
    /// The value of an environment variable or option. May hold `{{ expressions }}`.
    EnvValue,
    "value",
    "printable ASCII without quotes, backslashes, backquotes and `$`, at most 2000",
    |text| text.len() <= 2000
        && text.bytes().all(|b| matches!(b, b' '..=b'~') && !b"\"\\`$".contains(&b))
);

text!(
    /// The name of an environment variable.
    EnvName,
    "name of a variable",
    "upper-case letters, digits and `_`, beginning with a letter, at most 64",
    |text| text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
);

text!(
    /// An absolute path in a container. May hold `{{ expressions }}`.
    ContainerPath,
    "path in a container",
    "absolute, without `..`, empty parts or anything but letters, digits and `._-`, at most 200",
    |text| text.len() <= 200 && is_path(&without_expressions(text))
);

text!(
    /// The name of a file in the folder of a stack.
    FileName,
    "name of a file",
    "letters, digits and `._-`, not beginning with a dot, at most 64",
    |text| text.len() <= 64
        && !text.starts_with(['.', '-'])
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
);

text!(
    /// The address of a public repository.
    Url,
    "address",
    "`https://`, then a host and a path of letters, digits and `._-/`",
    |text| text.len() <= 200
        && text.strip_prefix("https://").is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_alphanumeric())
                && !rest.contains("..")
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
        })
);

text!(
    /// User and group that a container runs as, both numbers.
    UserId,
    "user",
    "`UID:GID`, both numbers",
    |text| text.split_once(':').is_some_and(|(user, group)| {
        [user, group].iter().all(|id| {
            !id.is_empty() && id.len() <= 10 && id.bytes().all(|b| b.is_ascii_digit())
                && id.parse::<u32>().is_ok()
        })
    })
);

text!(
    /// A capability of the kernel, without `CAP_`.
    Capability,
    "capability",
    "one of CHOWN, DAC_OVERRIDE, FOWNER, NET_BIND_SERVICE, SETGID, SETUID",
    |text| ["CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "SETGID", "SETUID"].contains(&text)
);

text!(
    /// A signal by its name.
    Signal,
    "signal",
    "SIGTERM, SIGINT or SIGQUIT",
    |text| ["SIGTERM", "SIGINT", "SIGQUIT"].contains(&text)
);

text!(
    /// SHA-256 in hexadecimal.
    Sha256Hex,
    "SHA-256",
    "64 lower-case hexadecimal digits",
    is_sha256
);

text!(
    /// The fingerprint of an OpenPGP certificate.
    FingerprintHex,
    "OpenPGP fingerprint",
    "40 or 64 upper-case hexadecimal digits",
    |text| (text.len() == 40 || text.len() == 64)
        && text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
);

impl UserId {
    /// Returns user and group.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or((&self.0, "0"))
    }
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(crate) fn is_name(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Tells whether a rendered path is absolute and plain.
pub(crate) fn is_path(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|part| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        })
    })
}

fn is_word(text: &str) -> bool {
    text.len() <= 400 && !text.is_empty() && is_plain_word(&without_expressions(text))
}

/// Tells whether a rendered word is one word to everybody.
pub(crate) fn is_plain_word(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_graphic() && !b"`$;&|<>\\'\"*?~#()[]{}!".contains(&b))
}

/// Puts `x` in the place of each `{{ expression }}`.
fn without_expressions(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, after)) = after.split_once("}}") else {
            break;
        };
        if !inside
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b" ._-[]'".contains(&b))
        {
            break;
        }
        plain.push_str(before);
        plain.push('x');
        rest = after;
    }
    plain + rest
}

/// Control and bidirectional characters, which a terminal or an eye could be deceived with.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good<T: std::str::FromStr>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_ok(), "{text}");
        }
    }

    fn bad<T: std::str::FromStr<Err = TextError>>(texts: &[&str]) {
        for text in texts {
            let error = text.parse::<T>().err().expect(text).to_string();
            assert!(!error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn a_path_stays_where_it_says() {
        good::<ContainerPath>(&["/data", "/root/.lnd", "/data/{{ words.dir }}/x"]);
        bad::<ContainerPath>(&[
            "",
            "data",
            "/",
            "/a//b",
            "/a/",
            "/a/../b",
            "/..",
            "/a b",
            "/a\n",
            "/a;b",
            "/$HOME",
            "/{{ words.dir | upper }}",
            "/{{",
            "/a/./b",
            "/~root",
        ]);
    }

    #[test]
    fn a_word_is_one_word_even_to_a_shell() {
        good::<Word>(&[
            "bitcoind",
            "-conf=/etc/x.conf",
            "--server={{ tunnel.host }}:t",
        ]);
        bad::<Word>(&[
            "",
            "a b",
            "$(id)",
            "`id`",
            "a;b",
            "a|b",
            "a&b",
            "a>b",
            "a\nb",
            "\"a\"",
            "'a'",
            "*",
            "{{ a | b }}",
            "\u{202e}a",
        ]);
    }

    #[test]
    fn names_files_users_and_addresses_are_plain() {
        good::<FileName>(&["torrc", "bitcoin.conf", "RTL-Config.json"]);
        bad::<FileName>(&["", ".", "..", "../x", "a/b", ".hidden", "-rf", "a b", "a\0"]);
        good::<UserId>(&["0:0", "1000:1000"]);
        bad::<UserId>(&[
            "",
            "root",
            "0",
            "0:",
            ":0",
            "0:-1",
            "99999999999:0",
            "1:1:1",
        ]);
        good::<Url>(&["https://github.com/bitcoin/bitcoin"]);
        bad::<Url>(&[
            "http://a",
            "https://",
            "https://a/../b",
            "https://a b",
            "file:///etc/passwd",
            "https://a@b",
        ]);
        good::<EnvName>(&["HOME", "A_1"]);
        bad::<EnvName>(&["", "a", "1A", "A=B", "A B"]);
        good::<EnvValue>(&["Host=x;Port=1", ""]);
        bad::<EnvValue>(&["a\nb", "$HOME", "`id`", "\"", "\\"]);
    }

    #[test]
    fn an_endless_text_is_not_echoed() {
        let error = "a\u{1b}"
            .repeat(10_000)
            .parse::<Word>()
            .unwrap_err()
            .to_string();
        assert!(error.len() < 600, "{}", error.len());
    }
}
