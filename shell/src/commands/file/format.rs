//! The formats, how they are told apart, and how their files are named.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

use crate::files::{STANDARD, is_standard};
use crate::report::Report;

/// A format of signed or encrypted files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// OpenPGP, for GnuPG
    Pgp,
    /// age, encryption alone
    Age,
    /// OpenSSH, signatures alone
    Ssh,
    /// signify and minisign, signatures alone
    Signify,
}

impl Format {
    /// Returns the name as it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pgp => "pgp",
            Self::Age => "age",
            Self::Ssh => "ssh",
            Self::Signify => "signify",
        }
    }
}

/// What a file begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An armored SSH signature.
    SshSignature,
    /// A signify or minisign signature.
    Signify,
    /// An OpenPGP signature without its data.
    PgpSignature,
    /// An OpenPGP message or a cleartext signature.
    PgpMessage,
    /// An age file.
    Age,
    /// Anything else.
    Other,
}

impl Content {
    /// Most bytes that tell what it is.
    const BEGINNING: u64 = 4096;

    /// Recognises a file by its beginning.
    pub fn of(beginning: &[u8]) -> Self {
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
        let text = text.trim_ascii_start();
        let begins = |with: &str| text.starts_with(with.as_bytes());
        if begins("-----BEGIN SSH SIGNATURE-----") {
            return Self::SshSignature;
        }
        if begins("untrusted comment:") {
            return Self::Signify;
        }
        if begins("age-encryption.org/v1") || begins("-----BEGIN AGE ENCRYPTED FILE-----") {
            return Self::Age;
        }
        // text may stand before an armor, but not long
        let armor = |what: &str| {
            let begin = format!("-----BEGIN PGP {what}-----");
            beginning
                .windows(begin.len())
                .any(|window| window == begin.as_bytes())
        };
        if armor("SIGNED MESSAGE") || armor("MESSAGE") {
            return Self::PgpMessage;
        }
        if armor("SIGNATURE") {
            return Self::PgpSignature;
        }
        match tag(beginning) {
            Some(2) => Self::PgpSignature,
            // session keys, one-pass signatures, compressed, encrypted and literal data, markers
            Some(1 | 3 | 4 | 8 | 9 | 10 | 11 | 18 | 20) => Self::PgpMessage,
            _ => Self::Other,
        }
    }

    /// Recognises what `input` begins with, and gives back all of it.
    pub fn peek<R: Read>(mut input: R) -> io::Result<(Self, impl Read + use<R>)> {
        let mut beginning = Vec::new();
        (&mut input)
            .take(Self::BEGINNING)
            .read_to_end(&mut beginning)?;
        let content = Self::of(&beginning);
        Ok((content, io::Cursor::new(beginning).chain(input)))
    }

    /// Returns the format, if it is one.
    pub fn format(self) -> Option<Format> {
        match self {
            Self::SshSignature => Some(Format::Ssh),
            Self::Signify => Some(Format::Signify),
            Self::PgpSignature | Self::PgpMessage => Some(Format::Pgp),
            Self::Age => Some(Format::Age),
            Self::Other => None,
        }
    }
}

/// Reads the tag of a binary OpenPGP packet
/// ([RFC 9580 section 4.2](https://www.rfc-editor.org/rfc/rfc9580#section-4.2)).
fn tag(bytes: &[u8]) -> Option<u8> {
    let first = *bytes.first()?;
    match first {
        0xc0.. => Some(first & 0x3f),
        0x80.. => Some((first & 0x3c) >> 2),
        _ => None,
    }
}

/// Names the output of `input`: the name that was asked for, or `input` and `suffix`.
pub fn output(input: &Path, asked: Option<PathBuf>, suffix: &str) -> PathBuf {
    match asked {
        Some(asked) => asked,
        None if is_standard(input) => STANDARD.into(),
        None => with_suffix(input, suffix),
    }
}

/// Appends a suffix to a name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Names the output of a decryption: without the last of the known suffixes.
pub fn without_suffix(input: &Path, asked: Option<PathBuf>) -> Result<PathBuf, Report> {
    if let Some(asked) = asked {
        return Ok(asked);
    }
    if is_standard(input) {
        return Ok(STANDARD.into());
    }
    let known = ["gpg", "pgp", "asc", "age"];
    let ends = |extension: &std::ffi::OsStr| known.iter().any(|known| extension == *known);
    match input.extension() {
        Some(extension) if ends(extension) => Ok(input.with_extension("")),
        _ => Err(Report::usage(format!(
            "`{}` does not end in .gpg, .pgp, .asc or .age, so the output has no name",
            input.display()
        ))
        .with_hint("name it with `-o`")),
    }
}

/// Refuses `--json` where standard output is taken by data.
pub fn check_json(json: bool, output: &Path) -> Result<(), Report> {
    if json && is_standard(output) {
        return Err(Report::usage(
            "`--json` and the output itself cannot both go to standard output",
        )
        .with_hint("name the output with `-o`"));
    }
    Ok(())
}

/// Writes a time as RFC 3339 does, in UTC.
pub fn time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "unknown".into(), |time| time.to_string())
}

/// Returns seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart_by_their_beginning() {
        for (beginning, content) in [
            (
                &b"-----BEGIN SSH SIGNATURE-----\nU1"[..],
                Content::SshSignature,
            ),
            (b"untrusted comment: x\n", Content::Signify),
            (b"age-encryption.org/v1\n-> X", Content::Age),
            (b"-----BEGIN AGE ENCRYPTED FILE-----", Content::Age),
            (b"-----BEGIN PGP SIGNED MESSAGE-----", Content::PgpMessage),
            (b"Hello\n-----BEGIN PGP MESSAGE-----", Content::PgpMessage),
            (b"-----BEGIN PGP SIGNATURE-----\n", Content::PgpSignature),
            (b"\xc2\x75", Content::PgpSignature),
            (b"\x88\x75", Content::PgpSignature),
            (b"\x84\x5e", Content::PgpMessage),
            (b"\xa3\x01", Content::PgpMessage),
            (b"", Content::Other),
            (b"text", Content::Other),
        ] {
            assert_eq!(Content::of(beginning), content, "{beginning:?}");
        }
    }

    #[test]
    fn outputs_are_named_after_inputs() {
        assert_eq!(output("a/b".as_ref(), None, ".asc"), Path::new("a/b.asc"));
        assert_eq!(output("-".as_ref(), None, ".asc"), Path::new("-"));
        assert_eq!(
            without_suffix("a/b.tar.age".as_ref(), None).unwrap(),
            Path::new("a/b.tar")
        );
        assert!(without_suffix("b.txt".as_ref(), None).is_err());
        assert!(without_suffix(".age".as_ref(), None).is_err());
    }
}
