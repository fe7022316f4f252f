//! JSON as Python's `json.dump(indent=4)` writes it: four spaces, `": "`, ASCII only, no newline at the end.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// An object as text.
pub fn to_python(object: &Map<String, Value>) -> String {
    let mut out = String::new();
    write_object(object, 0, &mut out);
    out
}

fn write_value(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Value::Number(it) => out.push_str(&it.to_string()),
        Value::String(it) => write_string(it, out),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                new_line(number, depth + 1, out);
                write_value(item, depth + 1, out);
            }
            new_line(0, depth, out);
            out.push(']');
        }
        Value::Object(object) => write_object(object, depth, out),
    }
}

fn write_object(object: &Map<String, Value>, depth: usize, out: &mut String) {
    if object.is_empty() {
        out.push_str("{}");
        return;
    }
    out.push('{');
    for (number, (key, value)) in object.iter().enumerate() {
        new_line(number, depth + 1, out);
        write_string(key, out);
        out.push_str(": ");
        write_value(value, depth + 1, out);
    }
    new_line(0, depth, out);
    out.push('}');
}

fn new_line(number: usize, depth: usize, out: &mut String) {
    if number > 0 {
        out.push(',');
    }
    out.push('\n');
    out.extend(std::iter::repeat_n("    ", depth));
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for it in text.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(it),
            _ => {
                let mut units = [0; 2];
                for unit in it.encode_utf16(&mut units) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}
