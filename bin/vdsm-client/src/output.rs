//! Printing: JSON as upstream prints it (four spaces, keys in order), a table, or YAML.

use std::{fmt::Write as _, io::Write};

use schema::{Raw, VerbDecl};
use serde::Serialize;
use serde_json::{
    Map, Value,
    ser::{PrettyFormatter, Serializer},
};

use crate::{failure::Failure, table};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON.
    Json,
    /// A table for people.
    Table,
    /// YAML: the same as the JSON, easier to read.
    Yaml,
}

impl Format {
    /// Its names on the command line.
    pub(crate) const NAMES: [&str; 3] = ["json", "table", "yaml"];

    /// By its name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "table" => Some(Self::Table),
            "yaml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// Prints an answer.
pub(crate) fn answer(
    out: &mut dyn Write,
    answer: &Raw,
    verb: &VerbDecl,
    format: Format,
) -> Result<(), Failure> {
    let value: Value = serde_json::from_str(answer.get()).map_err(|error| {
        Failure::Internal(format!("{}: the answer is no JSON: {error}", verb.method))
    })?;
    state(out, &value, format)
}

/// Prints a value, keys in order.
pub(crate) fn state(out: &mut dyn Write, value: &Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => as_it_is(out, value, format),
        Format::Json | Format::Yaml => as_it_is(out, &sorted(value), format),
    }
}

/// Prints a value, keys as they stand.
pub(crate) fn as_it_is(out: &mut dyn Write, value: &Value, format: Format) -> Result<(), Failure> {
    let mut shown = match format {
        Format::Json => ascii_controls(&pretty(value)?),
        Format::Table => table::of(value),
        Format::Yaml => {
            serde_saphyr::to_string(value).map_err(|error| Failure::Internal(error.to_string()))?
        }
    };
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    text(out, &shown)
}

/// Prints a text as it is.
pub(crate) fn text(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints a value on one line, at once.
pub(crate) fn line(out: &mut dyn Write, value: &Value) -> Result<(), Failure> {
    text(out, &format!("{}\n", ascii_controls(&value.to_string())))
}

/// JSON over many lines.
fn pretty(value: &Value) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    value
        .serialize(&mut serializer)
        .map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// JSON leaves some control characters as they are, terminals act on them: these become `\\u` escapes.
fn ascii_controls(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // Those below 0x20 are escaped already, except the line breaks between values.
        if c.is_control() && c != '\n' {
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Text for a terminal: line breaks stay, other control characters are shown as escapes.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(object) => {
            let mut keys: Vec<_> = object.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            Value::Object(
                keys.into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        other => other.clone(),
    }
}
