//! Templates: strict, without files of their own, and never shown a secret.

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use zeroize::Zeroizing;

use super::RenderError;
use crate::secret::{SecretId, SecretValue, Secrets};
use crate::stack::Version;

/// Longest text that is rendered: what a Docker config may hold in every version.
const MAX_BYTES: usize = 500_000;

/// Where a secret stands in what a template rendered; it cannot be written in one, because every value
/// and template is printable.
const MARK: char = '\u{1}';

/// The one environment of all templates.
pub(crate) fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    // an unknown variable is an error; there is no loader, so `include` and `import` find nothing
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_keep_trailing_newline(true);
    env.set_fuel(Some(200_000));
    env.add_function("at_least", at_least);
    env.add_filter("sha256", |secret: String| {
        let inside = secret
            .trim_matches(MARK)
            .strip_prefix("plain ")
            .map(str::to_owned);
        inside
            .map(|id| format!("{MARK}sha256 {id}{MARK}"))
            .ok_or_else(|| {
                minijinja::Error::new(ErrorKind::InvalidOperation, "sha256 takes a secret")
            })
    });
    env
}

fn at_least(version: &str, least: &str) -> Result<bool, minijinja::Error> {
    let parse = |text: &str| {
        text.parse::<Version>()
            .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
    };
    Ok(parse(version)? >= parse(least)?)
}

/// Returns what stands for a secret while a template is rendered.
pub(crate) fn mark(id: &SecretId) -> String {
    format!("{MARK}plain {id}{MARK}")
}

/// Renders `text`; `place` names it to whoever has to correct it.
pub(crate) fn render(
    env: &Environment<'_>,
    place: &str,
    text: &str,
    context: &Value,
) -> Result<String, RenderError> {
    let rendered = env
        .render_named_str(place, text, context)
        .map_err(|source| RenderError::Template {
            place: place.to_owned(),
            source: Box::new(source),
        })?;
    if rendered.len() > MAX_BYTES {
        return Err(RenderError::TooLong {
            place: place.to_owned(),
            most: MAX_BYTES,
        });
    }
    Ok(rendered)
}

/// Puts the secrets in their places.
pub(crate) fn fill(text: &str, secrets: &Secrets) -> Result<Zeroizing<Vec<u8>>, RenderError> {
    let mut parts = Vec::new();
    for (at, part) in text.split(MARK).enumerate() {
        parts.push(if at % 2 == 0 {
            Part::Text(part)
        } else {
            secret(part, secrets)?
        });
    }
    // all at once, so that no copy is left behind by growing
    let length = parts.iter().map(|part| part.as_str().len()).sum();
    let mut filled = Zeroizing::new(Vec::with_capacity(length));
    parts
        .iter()
        .for_each(|part| filled.extend_from_slice(part.as_str().as_bytes()));
    Ok(filled)
}

enum Part<'a> {
    Text(&'a str),
    Secret(SecretValue),
    Digest(String),
}

impl Part<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Secret(secret) => secret.expose(),
            Self::Digest(digest) => digest,
        }
    }
}

fn secret<'a>(marked: &str, secrets: &Secrets) -> Result<Part<'a>, RenderError> {
    let (how, id) = marked.split_once(' ').unwrap_or_default();
    let missing = || RenderError::NoSecret { id: id.to_owned() };
    let id: SecretId = id.parse().map_err(|_| missing())?;
    let value = secrets.get(&id).ok_or_else(missing)?;
    Ok(match how {
        "sha256" => Part::Digest(value.sha256()),
        _ => Part::Secret(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    fn rendered(text: &str) -> Result<String, RenderError> {
        render(&environment(), "conf", text, &context! { a => "x" })
    }

    #[test]
    fn a_template_reads_no_file_and_knows_no_unknown_variable() {
        assert_eq!(rendered("{{ a }}<&>\n").unwrap(), "x<&>\n");
        for bad in [
            "{{ b }}",
            "{{ a.b.c }}",
            "{% include '/etc/passwd' %}",
            "{% include '../tor/torrc' %}",
            "{% import 'x' as x %}",
            "{% extends 'x' %}",
            "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
            "{{ a",
            "{{ a | sha256 }}",
            "{{ at_least(a, '1') }}",
        ] {
            let error = rendered(bad).expect_err(bad).to_string();
            assert!(error.contains("`conf`"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_put_in_after_rendering() {
        let id: SecretId = "regtest/lnd/x".parse().unwrap();
        let secrets = Secrets::preview();
        let value = secrets.get(&id).unwrap();
        let context = context! { s => mark(&id) };
        let text = render(
            &environment(),
            "conf",
            "p={{ s }}\nh={{ s | sha256 }}\n",
            &context,
        )
        .unwrap();
        assert!(!text.contains(value.expose()));
        let filled = fill(&text, &secrets).unwrap();
        let expected = format!("p={}\nh={}\n", value.expose(), value.sha256());
        assert_eq!(*filled, expected.into_bytes());
        assert!(fill(&text, &Secrets::default()).is_err());
    }
}
