//! Words of a remote command, escaped for the shell that runs them.

/// A program and its arguments, to run on a host.
///
/// `ssh` joins the words it is given with spaces and the login shell of the remote user takes the
/// line apart again. Here each word is escaped first, so that the program gets the words that were
/// typed: `echo 'a b' '*'` prints `a b *`. What is meant for a shell is said so:
/// `sh -c 'ls | wc -l'`. The escaping is that of POSIX shells; a user with `csh` or `fish` as login
/// shell may see words with `!` or `\` differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCommand {
    line: String,
    leashed: bool,
}

/// Runs its words in a session of their own, and ends that session when stdin does.
const LEASH: &str = r#"exec 3<&0 </dev/null
setsid -w "$@" 3<&- &
run=$!
{ exec >/dev/null 2>&1; cat <&3; kill -TERM "-$run"; sleep 2; kill -KILL "-$run"; } &
watch=$!
wait "$run"
code=$?
kill -KILL "$watch" 2>/dev/null
exit "$code"
"#;

/// A word that no program can be given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// There are no words.
    #[error("the command is empty")]
    Empty,
    /// A word holds a zero byte.
    #[error("the word `{0}` holds a zero byte")]
    Zero(String),
}

impl RemoteCommand {
    /// Takes a program and its arguments.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`].
    pub fn new<W: AsRef<str>>(words: &[W]) -> Result<Self, CommandError> {
        if words.is_empty() {
            return Err(CommandError::Empty);
        }
        let words = words.iter().map(|word| {
            let word = word.as_ref();
            shlex::try_quote(word).map_err(|_| CommandError::Zero(word.replace('\0', "?")))
        });
        let words: Vec<_> = words.collect::<Result<_, _>>()?;
        Ok(Self {
            line: words.join(" "),
            leashed: false,
        })
    }

    /// Takes a command that ends, with all that it started, when whoever runs it goes away.
    ///
    /// SSH tells a command nothing when its client is gone: without a terminal it goes on until it
    /// writes. Its standard input is empty.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`].
    pub fn leashed<W: AsRef<str>>(words: &[W]) -> Result<Self, CommandError> {
        if words.is_empty() {
            return Err(CommandError::Empty);
        }
        let mut all = vec!["sh", "-c", LEASH, "sh"];
        all.extend(words.iter().map(AsRef::as_ref));
        let leashed = Self::new(&all)?;
        Ok(Self {
            leashed: true,
            ..leashed
        })
    }

    /// Returns the line for the remote shell.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Tells whether the command lives as long as its standard input.
    pub(crate) fn is_leashed(&self) -> bool {
        self.leashed
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// Lets a real shell take the line apart and returns the words that a program got.
    fn through_a_shell(words: &[String]) -> Vec<u8> {
        let all: Vec<_> = ["printf", "%s\\0"]
            .into_iter()
            .chain(words.iter().map(|w| &**w))
            .collect();
        let line = RemoteCommand::new(&all).unwrap();
        Command::new("sh")
            .args(["-c", line.line()])
            .output()
            .unwrap()
            .stdout
    }

    #[test]
    fn no_words_and_zero_bytes_are_refused() {
        assert_eq!(RemoteCommand::new::<&str>(&[]), Err(CommandError::Empty));
        let error = RemoteCommand::new(&["a\0b"]).unwrap_err();
        assert_eq!(error.to_string(), "the word `a?b` holds a zero byte");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_program_gets_the_words_that_were_typed(
            words in proptest::collection::vec("[^\0]{0,12}|['\"\\\\ $`!*~;&|<>\n\t{}-]{0,6}", 1..6),
        ) {
            let expected: Vec<u8> = words.iter().flat_map(|w| [w.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(through_a_shell(&words), expected);
        }
    }
}
