//! `config`: read and change `config.toml`.

use clap::Subcommand;
use serde::Serialize;

use crate::app::{App, chain_for};
use crate::config::{self, Config, ConfigError, Key, Value};
use crate::report::Report;
use crate::ui;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what holds for a key
    #[command(after_help = "Example:\n  bcm config get chain")]
    Get {
        /// Such as `chain`
        key: String,
    },
    /// Set keys, all or none
    #[command(after_help = "Example:\n  bcm config set chain=regtest lock.idle=5m")]
    Set {
        /// Such as `chain=regtest`
        #[arg(required = true, value_name = "KEY=VALUE")]
        pairs: Vec<String>,
    },
    /// Remove a key, so that its default holds
    #[command(after_help = "Example:\n  bcm config unset lock.idle")]
    Unset {
        /// Such as `chain`
        key: String,
    },
    /// Print every key, what holds for it and why
    #[command(after_help = "Example:\n  bcm config list --json")]
    List,
}

#[derive(Serialize)]
struct Line {
    key: &'static str,
    value: Option<String>,
    source: &'static str,
    default: &'static str,
    takes: &'static str,
}

impl Command {
    /// Runs it.
    pub fn run(self, app: &mut App, json: bool) -> Result<(), Report> {
        match self {
            Self::Get { key } => get(app, config::key(&key)?, json),
            Self::Set { pairs } => set(app, &pairs),
            Self::Unset { key } => unset(app, config::key(&key)?),
            Self::List => list(app, json),
        }
    }
}

fn get(app: &App, key: Key, json: bool) -> Result<(), Report> {
    let line = line(app, &app.config()?, key);
    if json {
        return ui::json(&line);
    }
    ui::out(line.value.as_deref().unwrap_or(line.default))
}

fn list(app: &App, json: bool) -> Result<(), Report> {
    let config = app.config()?;
    let lines = Key::ALL.map(|key| line(app, &config, key));
    if json {
        return ui::json(&lines);
    }
    let rows = lines.map(|line| {
        let value = line.value.unwrap_or_else(|| line.default.into());
        [
            line.key.into(),
            value,
            line.source.into(),
            line.takes.into(),
        ]
    });
    ui::out(&ui::table(["key", "value", "from", "takes"], rows))
}

fn line(app: &App, config: &Config, key: Key) -> Line {
    let flags = &app.flags;
    let flag = match key {
        Key::Device => flags.device.clone().map(Value::Device),
        Key::PassphraseOn => flags.passphrase_on.map(Value::PassphraseOn),
        Key::Color => flags.color.map(Value::Color),
        _ => None,
    };
    let (value, source) = match (flag, config.value(key)) {
        (Some(value), _) => (Some(value.to_string()), "flag"),
        (None, Some(value)) => (Some(value.to_string()), "file"),
        (None, None) => (None, "default"),
    };
    Line {
        key: key.name(),
        value,
        source,
        default: key.default(),
        takes: key.takes(),
    }
}

fn set(app: &mut App, pairs: &[String]) -> Result<(), Report> {
    let pairs = pairs.iter().map(|pair| parse(pair));
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    let mut config = app.config()?;
    let chain = pairs.iter().rev().find_map(|(_, value)| match value {
        Value::Chain(chain) => Some(*chain),
        _ => None,
    });
    if let (Some(chain), Some(status)) = (chain, app.keeper.status()) {
        chain_for(Some(chain), status.simulated)
            .map_err(|report| report.with_note("nothing was changed"))?;
    }
    config.set(&pairs)?;
    follow(app, &config);
    Ok(())
}

fn parse(pair: &str) -> Result<(Key, Value), ConfigError> {
    let (name, value) = pair
        .split_once('=')
        .ok_or_else(|| ConfigError::NoPair(ui::printable(pair)))?;
    let key = config::key(name)?;
    Ok((key, key.parse(value)?))
}

fn unset(app: &mut App, key: Key) -> Result<(), Report> {
    if !Config::unset(&app.paths.home.config, key)? {
        ui::say(&format!("`{}` was not set", key.name()));
    }
    if let Ok(config) = app.config() {
        follow(app, &config);
    }
    Ok(())
}

/// Takes the open session along to what is configured now.
fn follow(app: &App, config: &Config) {
    if let Some(status) = app.keeper.status() {
        if let Ok(chain) = chain_for(config.chain(), status.simulated) {
            app.runtime().block_on(app.keeper.set_chain(chain));
        }
        app.keeper.activity().set_limit(config.idle());
    }
}
