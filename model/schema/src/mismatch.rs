//! Where a value differs from its description: [`Mismatch`], and the walker's place in the document.

use std::fmt;

use serde_json::Value;

use crate::desc::Type;

/// At most this many are kept of one document: an attacker's list of a million must not become a log of a million.
pub(crate) const MOST_MISMATCHES: usize = 32;

/// Longest excerpt of a found value, bytes.
const LONGEST_EXCERPT: usize = 64;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where: `vmParams.devices[3].port`.
    pub path: String,
    /// What the description says.
    pub expected: String,
    /// What was there: a short excerpt, or only its kind where it may be secret.
    pub found: String,
    /// The kind of what was there, never its value: `a string`, `nothing`.
    pub found_kind: &'static str,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: expected {}, found {}",
            self.path, self.expected, self.found
        )
    }
}

/// A path that grows and shrinks with the walk.
#[derive(Default)]
pub(crate) struct Path(String);

impl Path {
    /// Walks into a key, runs `inside`, and comes back.
    pub(crate) fn key<R>(&mut self, key: &str, inside: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        self.0.push_str(excerpt(key));
        let result = inside(self);
        self.0.truncate(length);
        result
    }

    /// Walks into an item of a list.
    pub(crate) fn index<R>(&mut self, index: usize, inside: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.0.len();
        self.0.push('[');
        self.0.push_str(&index.to_string());
        self.0.push(']');
        let result = inside(self);
        self.0.truncate(length);
        result
    }

    /// The mismatch of what was found here.
    pub(crate) fn mismatch(&self, ty: &Type, found: Option<&Value>) -> Mismatch {
        let found_kind = found.map_or("nothing", kind);
        let found = match (ty.has_secret(), found) {
            (_, None) | (true, Some(_)) => found_kind.to_owned(),
            (false, Some(value)) => describe(value),
        };
        self.noted(ty.to_string(), found, found_kind)
    }

    /// A mismatch in free words.
    pub(crate) fn noted(
        &self,
        expected: String,
        found: String,
        found_kind: &'static str,
    ) -> Mismatch {
        let path = if self.0.is_empty() {
            "params".to_owned()
        } else {
            self.0.clone()
        };
        Mismatch {
            path,
            expected,
            found,
            found_kind,
        }
    }
}

/// The kind of a value.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A scalar's text, or the kind of what has parts.
fn describe(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() > LONGEST_EXCERPT => {
            format!("\"{}…\"", excerpt(text).escape_debug())
        }
        Value::String(text) => format!("\"{}\"", text.escape_debug()),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        other => kind(other).to_owned(),
    }
}

/// The beginning of a text, cut between characters.
pub(crate) fn excerpt(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_EXCERPT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
