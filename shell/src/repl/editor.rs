//! The line editor: rustyline with our completion, hints, prompt and history.

use std::borrow::Cow;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Behavior, ColorMode, CompletionType, Config, Context, ExternalPrinter, Helper};

use super::complete::{Candidates, Grammar};
use super::history::{self, may_remember};
use super::prompt::Prompt;
use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// The line editor.
pub struct Editor {
    inner: rustyline::Editor<Assistant, FileHistory>,
    /// Nothing is written where the file cannot be used.
    remembers: bool,
}

impl Editor {
    /// Makes the editor and reads the history.
    pub fn new(app: &App) -> Result<Self, Report> {
        let failed = |error: ReadlineError| {
            Report::text(Kind::Failed, format!("cannot use the terminal: {error}"))
        };
        let color = if ui::has_color() {
            ColorMode::Forced
        } else {
            ColorMode::Disabled
        };
        let config = Config::builder()
            .auto_add_history(false)
            .behavior(Behavior::PreferTerm)
            .color_mode(color)
            .completion_type(CompletionType::List)
            .history_ignore_dups(true)
            .and_then(|builder| builder.max_history_size(history::MAX_LINES))
            .map_err(failed)?
            .build();
        let mut inner = rustyline::Editor::with_config(config).map_err(failed)?;
        inner.set_helper(Some(Assistant::new()));
        let path = &app.paths.history;
        let loaded = history::prepare(path)
            .map_err(ReadlineError::from)
            .and_then(|()| inner.load_history(path));
        if let Err(error) = &loaded {
            let path = path.display();
            ui::say(&format!(
                "nothing will be remembered: cannot use `{path}`: {error}"
            ));
        }
        // a dumb terminal has no editor to print above
        if let Ok(printer) = inner.create_external_printer() {
            ui::attach(Box::new(printer) as Box<dyn ExternalPrinter + Send>);
        }
        Ok(Self {
            inner,
            remembers: loaded.is_ok(),
        })
    }

    /// Reads a line and remembers it, if it may be.
    pub fn read(&mut self, app: &App) -> Result<String, ReadlineError> {
        let prompt = Prompt::new(&app.keeper);
        if let Some(assistant) = self.inner.helper_mut() {
            assistant.names = app.ssh_names();
        }
        let line = {
            let _editing = ui::Editing::begin();
            self.inner.readline(&prompt)?
        };
        let grammar = self.inner.helper().map(|assistant| &assistant.grammar);
        let is_command = |word: &str| grammar.is_some_and(|grammar| grammar.has(word));
        if may_remember(&line, is_command) && self.inner.add_history_entry(&line)? && self.remembers
        {
            self.inner.append_history(&app.paths.history)?;
        }
        Ok(line)
    }
}

/// Completes and hints.
struct Assistant {
    grammar: Grammar,
    names: Vec<String>,
}

impl Assistant {
    fn new() -> Self {
        Self {
            grammar: Grammar::new(),
            names: Vec::new(),
        }
    }

    fn candidates(&self, line: &str) -> Candidates {
        self.grammar.candidates(line, &self.names)
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let found = self.candidates(&line[..pos]);
        let pairs = found.words.into_iter().map(|word| Pair {
            display: word.text.clone(),
            replacement: if word.ends {
                format!("{} ", word.text)
            } else {
                word.text
            },
        });
        Ok((found.start, pairs.collect()))
    }
}

/// A hint: what may follow, and how much of it Right takes over.
struct Suggestion {
    text: String,
    takes: bool,
}

impl rustyline::hint::Hint for Suggestion {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.takes.then_some(self.text.as_str())
    }
}

impl Hinter for Assistant {
    type Hint = Suggestion;

    fn hint(&self, line: &str, pos: usize, context: &Context<'_>) -> Option<Suggestion> {
        if line.trim().is_empty() || pos < line.len() {
            return None;
        }
        if let Some(text) = HistoryHinter::new().hint(line, pos, context) {
            return Some(Suggestion { text, takes: true });
        }
        self.grammar
            .usage(line)
            .map(|text| Suggestion { text, takes: false })
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(ui::Style::Dim.paint(hint, true))
    }
}

impl Validator for Assistant {}
impl Helper for Assistant {}
