//! The line editor: rustyline with our completion, hints, prompt and history.

use std::borrow::Cow;
use std::sync::Arc;

use bcm_keystore::{Hint, WalletStore};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::history::{History, MemHistory};
use rustyline::validate::Validator;
use rustyline::{Behavior, ColorMode, CompletionType, Config, Context, ExternalPrinter, Helper};

use super::complete::{Candidates, Grammar, Names};
use super::history::{self, may_remember};
use super::prompt::Prompt;
use crate::app::App;
use crate::report::{Kind, Report};
use crate::ui;

/// The line editor.
pub struct Editor {
    inner: rustyline::Editor<Assistant, MemHistory>,
    /// The wallet whose lines are in memory.
    wallet: Option<Arc<WalletStore>>,
    /// Its history can be written.
    remembers: bool,
}

impl Editor {
    /// Makes the editor.
    pub fn new() -> Result<Self, Report> {
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
        let lines = MemHistory::with_config(&config);
        let mut inner = rustyline::Editor::with_history(config, lines).map_err(failed)?;
        inner.set_helper(Some(Assistant::new()));
        // a dumb terminal has no editor to print above
        if let Ok(printer) = inner.create_external_printer() {
            ui::attach(Box::new(printer) as Box<dyn ExternalPrinter + Send>);
        }
        Ok(Self {
            inner,
            wallet: None,
            remembers: false,
        })
    }

    /// Reads a line and remembers it, if it may be.
    pub fn read(&mut self, app: &App) -> Result<String, ReadlineError> {
        let prompt = Prompt::new(&app.keeper);
        self.follow_wallet(app)?;
        if let Some(assistant) = self.inner.helper_mut() {
            assistant.names = app.names();
        }
        let line = {
            let _editing = ui::Editing::begin();
            self.inner.readline(&prompt)?
        };
        let grammar = self.inner.helper().map(|assistant| &assistant.grammar);
        let is_command = |word: &str| grammar.is_some_and(|grammar| grammar.has(word));
        if may_remember(&line, is_command)
            && self.inner.add_history_entry(&line)?
            && self.remembers
            && let Some(store) = &self.wallet
            && let Err(error) = history::append(store, &line)
        {
            ui::say(&format!("no line will be remembered: {error}"));
            self.remembers = false;
        }
        Ok(line)
    }

    /// Recalls the lines of the wallet that is open, and forgets those of the one that was.
    fn follow_wallet(&mut self, app: &App) -> rustyline::Result<()> {
        let open = app.store();
        let same = match (&open, &self.wallet) {
            (Some(open), Some(wallet)) => open.id() == wallet.id(),
            (None, None) => true,
            _ => false,
        };
        if same {
            return Ok(());
        }
        self.inner.history_mut().clear()?;
        self.remembers = true;
        if let Some(store) = &open {
            match history::load(store) {
                Ok(lines) => {
                    for line in lines {
                        self.inner.add_history_entry(line)?;
                    }
                }
                Err(error) => {
                    let hint = error.hint().unwrap_or_default();
                    ui::say(&format!(
                        "no line will be remembered: {error}\nhint: {hint}"
                    ));
                    self.remembers = false;
                }
            }
        }
        self.wallet = open;
        Ok(())
    }
}

/// Completes and hints.
struct Assistant {
    grammar: Grammar,
    names: Names,
}

impl Assistant {
    fn new() -> Self {
        Self {
            grammar: Grammar::new(),
            names: Names::default(),
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
