//! One line into commands, and a command into words, quoted as in a POSIX shell.

use bcm_keystore::Hint;

/// Why a line is not commands.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quote is not closed in `{0}`")]
pub struct SplitError(String);

impl Hint for SplitError {
    fn hint(&self) -> Option<String> {
        Some("close it, or write a backslash before it".into())
    }
}

/// Splits `line` at each `;` and line break outside quotes, and each command into its words.
///
/// A `#` at the begin of a word starts a comment, up to the end of its line. Empty commands are left out.
pub fn split(line: &str) -> Result<Vec<Vec<String>>, SplitError> {
    segments(line)
        .into_iter()
        .map(|segment| shlex::split(segment).ok_or_else(|| SplitError(segment.trim().to_owned())))
        .filter(|words| words.as_ref().map_or(true, |words| !words.is_empty()))
        .collect()
}

/// Returns the part of `line` after its last separating `;`, where the cursor is.
pub fn last_segment(line: &str) -> &str {
    segments(line).pop().unwrap_or_default()
}

fn segments(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut quote = None;
    let mut escaped = false;
    let mut word_begins = true;
    let mut comment = false;
    for (at, c) in line.char_indices() {
        if comment {
            if c == '\n' {
                (comment, start, word_begins) = (false, at + 1, true);
            }
            continue;
        }
        if escaped {
            escaped = false;
            word_begins = false;
            continue;
        }
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None | Some('"'), '\\') => escaped = true,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word_begins => {
                found.push(&line[start..at]);
                comment = true;
            }
            (None, ';' | '\n') => {
                found.push(&line[start..at]);
                start = at + 1;
            }
            (None, _) => {}
        }
        word_begins = quote.is_none() && matches!(c, ' ' | '\t' | ';' | '\n');
    }
    if !comment {
        found.push(&line[start..]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<String>> {
        split(line).unwrap()
    }

    #[test]
    fn a_semicolon_outside_quotes_ends_a_command() {
        assert_eq!(words("a b; c"), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(words("a 'x; y'; c"), [vec!["a", "x; y"], vec!["c"]]);
        assert_eq!(words(r#"a "x\"; y" ; c"#), [vec!["a", "x\"; y"], vec!["c"]]);
        assert_eq!(words(r"a x\;y"), [["a", "x;y"]]);
        assert_eq!(words(" ; ;; a ;"), [["a"]]);
    }

    #[test]
    fn a_comment_ends_the_line_but_only_where_a_word_begins() {
        assert_eq!(words("a b # c; 'd"), [["a", "b"]]);
        assert_eq!(words("a b#c"), [["a", "b#c"]]);
        assert_eq!(words("# all"), Vec::<Vec<String>>::new());
    }

    #[test]
    fn each_line_is_a_command_of_its_own() {
        assert_eq!(
            words("a\nb # c; d\ne 'f\ng'"),
            [vec!["a"], vec!["b"], vec!["e", "f\ng"]]
        );
        assert_eq!(last_segment("a\nssh li"), "ssh li");
    }

    #[test]
    fn an_open_quote_is_named() {
        let error = split("a; b 'c").unwrap_err();
        assert_eq!(error.to_string(), "a quote is not closed in `b 'c`");
        assert!(split("a \\").is_err());
    }

    #[test]
    fn the_cursor_is_in_the_last_command() {
        assert_eq!(last_segment("a; ssh li"), " ssh li");
        assert_eq!(last_segment("a 'b; c"), "a 'b; c");
    }
}
