//! Unicode to ASCII as trezor-agent does it, so that the same name gives the same key.
//!
//! trezor-agent calls Python's `Unidecode`; the crate `unidecode` ports the older Perl module. Over
//! all of Unicode they agree on 39 872 characters beyond ASCII. Where they differ in a letter that
//! living names are written with, [`CORRECTED`] follows Python. Every other character on which they
//! differ, and every one that Python would drop without a trace (two names would then share one
//! key), is refused instead of guessed. The test below compares the whole of Unicode with a digest
//! of Python's answers.

/// Characters that the crate writes otherwise than Python's Unidecode 1.4.0, and Python's way.
const CORRECTED: [(char, &str); 24] = [
    ('\u{bc}', " 1/4"),
    ('\u{bd}', " 1/2"),
    ('\u{be}', " 3/4"),
    ('\u{14a}', "NG"),
    ('\u{14b}', "ng"),
    ('\u{404}', "Ie"),
    ('\u{5d7}', "H"),
    ('\u{5d8}', "T"),
    ('\u{5da}', "KH"),
    ('\u{5db}', "KH"),
    ('\u{5e5}', "TS"),
    ('\u{5e6}', "TS"),
    ('\u{5e7}', "k"),
    ('\u{5e9}', "SH"),
    ('\u{1e9e}', "SS"),
    ('\u{2122}', "(tm)"),
    ('\u{3057}', "shi"),
    ('\u{3061}', "chi"),
    ('\u{3063}', "tsu"),
    ('\u{3064}', "tsu"),
    ('\u{30b7}', "shi"),
    ('\u{30c1}', "chi"),
    ('\u{30c3}', "tsu"),
    ('\u{30c4}', "tsu"),
];

/// Characters that the crate knows and Python's Unidecode 1.4.0 writes otherwise or drops.
const DISPUTED: [(u32, u32); 46] = [
    (0x80, 0x80),
    (0x82, 0x8c),
    (0x8e, 0x8e),
    (0x91, 0x9c),
    (0x9e, 0x9f),
    (0x2e5, 0x2eb),
    (0x2ef, 0x2ff),
    (0x3f4, 0x3f9),
    (0x3fc, 0x3ff),
    (0x589, 0x589),
    (0x5b0, 0x5b0),
    (0x5bc, 0x5bc),
    (0x5c3, 0x5c3),
    (0x5f1, 0x5f2),
    (0x6ff, 0x6ff),
    (0xaf0, 0xaf1),
    (0xaf9, 0xaf9),
    (0x13f5, 0x13f5),
    (0x13f8, 0x13fd),
    (0x1e9b, 0x1e9d),
    (0x1e9f, 0x1e9f),
    (0x1efa, 0x1eff),
    (0x204a, 0x204a),
    (0x25f4, 0x25ff),
    (0x30ff, 0x30ff),
    (0x3371, 0x3371),
    (0x3382, 0x3382),
    (0x338c, 0x338d),
    (0x3395, 0x3395),
    (0x339b, 0x339b),
    (0x33a3, 0x33a3),
    (0x33b2, 0x33b2),
    (0x33b6, 0x33b6),
    (0x33bc, 0x33bc),
    (0xfb1d, 0xfb1d),
    (0xfb1f, 0xfb1f),
    (0xfb24, 0xfb24),
    (0xfb27, 0xfb27),
    (0xfb2a, 0xfb2d),
    (0xfb3a, 0xfb3b),
    (0xfb3e, 0xfb3e),
    (0xfb41, 0xfb41),
    (0xfb46, 0xfb47),
    (0xfb49, 0xfb49),
    (0xfb4b, 0xfb4f),
    (0xfdf0, 0xfdfd),
];

/// Writes `c` in ASCII, `None` when there is no way that trezor-agent surely shares.
pub(super) fn to_ascii(c: char) -> Option<&'static str> {
    if let Some((_, ascii)) = CORRECTED.iter().find(|(odd, _)| *odd == c) {
        return Some(ascii);
    }
    let code = u32::from(c);
    if DISPUTED
        .iter()
        .any(|(from, to)| (*from..=*to).contains(&code))
    {
        return None;
    }
    let ascii = unidecode::unidecode_char(c);
    (!ascii.is_empty() && !ascii.contains("[?]")).then_some(ascii)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// The digest was computed with Python's Unidecode 1.4.0 over the same characters.
    #[test]
    fn every_accepted_character_is_written_as_trezor_agent_writes_it() {
        let mut digest = Sha256::new();
        let mut accepted = 0;
        for c in '\0'..=char::MAX {
            if let Some(ascii) = to_ascii(c) {
                digest.update(format!("{:x} {ascii}\n", u32::from(c)));
                accepted += 1;
            }
        }
        assert_eq!(accepted, 40_024);
        assert_eq!(
            hex::encode(digest.finalize()),
            "b798364a1d50ab862254e438c84b58780e3e1711c1018291ea188d66968a7c33"
        );
    }

    #[test]
    fn what_python_would_drop_or_write_otherwise_is_refused() {
        for c in [
            '\u{1f600}',
            '\u{202e}',
            '\u{80}',
            '\u{2f8}',
            '\u{5c3}',
            '\u{ffff}',
        ] {
            assert_eq!(to_ascii(c), None, "{c:?}");
        }
        assert_eq!(to_ascii('ö'), Some("o"));
        assert_eq!(to_ascii('北'), Some("Bei "));
    }
}
