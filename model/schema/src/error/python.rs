//! Python's way of printing strings, tuples and dictionaries, for texts that must equal upstream's.

use std::fmt::{self, Write as _};

use uuid::Uuid;

/// A detail of an error, printed as Python's `repr` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Py {
    /// A string, in quotes.
    Str(String),
    /// A number.
    Int(i64),
    /// `None`.
    None,
}

impl fmt::Display for Py {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => write_repr(text, f),
            Self::Int(number) => write!(f, "{number}"),
            Self::None => f.write_str("None"),
        }
    }
}

impl From<&str> for Py {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Py {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl From<Uuid> for Py {
    fn from(id: Uuid) -> Self {
        Self::Str(id.to_string())
    }
}

impl From<i64> for Py {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// Single quotes, unless the text has some and no double ones; control characters escaped.
fn write_repr(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_control() && (c as u32) < 0x100 => write!(f, "\\x{:02x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

/// `('a', 'b')`, `('a',)`, `()`.
pub(super) fn tuple<V: Into<Py>>(items: impl IntoIterator<Item = V>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| item.into().to_string())
        .collect();
    match items.as_slice() {
        [only] => format!("({only},)"),
        many => format!("({})", many.join(", ")),
    }
}

/// `{'key': 'value'}`.
pub(super) fn dict<K: AsRef<str>, V: Into<Py>>(items: impl IntoIterator<Item = (K, V)>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|(key, value)| format!("{}: {}", Py::from(key.as_ref()), value.into()))
        .collect();
    format!("{{{}}}", items.join(", "))
}
