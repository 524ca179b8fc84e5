//! Canonical JSON ([RFC 8785](https://www.rfc-editor.org/rfc/rfc8785)), of which one value has one spelling.
//!
//! Of its numbers only the integers that a double holds exactly are taken, so that no two programs can read
//! different numbers out of the same bytes.

use serde_json::Value;

use super::error::StatementError;

/// Longest statement, in bytes.
pub const MAX_STATEMENT: usize = 16 * 1024 * 1024;

/// Largest integer that a double holds exactly, with every one below it.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Deepest nesting: far from where a parser overflows, far above what a statement needs.
const MAX_DEPTH: usize = 64;

/// Writes `value` in its one spelling.
///
/// # Errors
///
/// Says what has no spelling: a fraction, an integer past 2^53 - 1, too deep a nesting.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, String> {
    check(value, MAX_DEPTH)?;
    serde_json_canonicalizer::to_vec(value).map_err(|error| error.to_string())
}

/// Reads at most `limit` bytes that are the one spelling of what they say.
///
/// Repeated keys, other orders, spaces, escapes and number forms differ from that spelling and are refused.
///
/// # Errors
///
/// [`StatementError::TooLong`], [`StatementError::Malformed`], [`StatementError::NotCanonical`].
pub fn parse(bytes: &[u8], limit: usize) -> Result<Value, StatementError> {
    if bytes.len() > limit {
        let length = bytes.len();
        return Err(StatementError::TooLong { length, limit });
    }
    let value = serde_json::from_slice(bytes)
        .map_err(|error| StatementError::Malformed(format!("it is no JSON, {error}")))?;
    let again = to_vec(&value).map_err(StatementError::Malformed)?;
    if again != bytes {
        let same = again.iter().zip(bytes).take_while(|(a, b)| a == b);
        return Err(StatementError::NotCanonical(same.count()));
    }
    Ok(value)
}

fn check(value: &Value, depth: usize) -> Result<(), String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    };
    match value {
        Value::Number(number) => {
            let exact = match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => number <= MAX_INTEGER,
                (None, Some(number)) => number.unsigned_abs() <= MAX_INTEGER,
                (None, None) => return Err(format!("it holds the fraction {number}")),
            };
            match exact {
                true => Ok(()),
                false => Err(format!(
                    "it holds {number}, which not every program can read"
                )),
            }
        }
        Value::Array(values) => values.iter().try_for_each(|value| check(value, depth)),
        Value::Object(map) => map.values().try_for_each(|value| check(value, depth)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}
