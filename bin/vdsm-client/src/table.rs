//! Tables for people: a row per item where items are few keys wide, else a row per key.
//!
//! What a host answers may come from a guest: control characters never reach the terminal.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use crate::output::clean;

/// Items with more keys than this are shown with a row per key.
const WIDEST: usize = 8;

/// Width used where the terminal does not tell its own, characters.
const DEFAULT_WIDTH: u16 = 120;

/// A value as a table; scalars as they are.
pub(crate) fn of(value: &Value) -> String {
    match value {
        Value::Array(items) if items.is_empty() => "(none)".to_owned(),
        Value::Object(object) if object.is_empty() => "(none)".to_owned(),
        Value::Array(items) => of_items(items.iter().map(|item| (None, item)).collect()),
        Value::Object(object) if object.values().all(Value::is_object) => of_items(
            object
                .iter()
                .map(|(key, item)| (Some(key.as_str()), item))
                .collect(),
        ),
        Value::Object(object) => of_object(object),
        scalar => cell(scalar),
    }
}

/// Things that are alike, each with its key if it has one.
fn of_items(items: Vec<(Option<&str>, &Value)>) -> String {
    let keys = keys_of(&items);
    if keys.is_empty() {
        let mut table = new_table();
        for (_, item) in items {
            table.add_row([cell(item)]);
        }
        return table.to_string();
    }
    if keys.len() <= WIDEST {
        rows_per_item(&items, &keys)
    } else {
        rows_per_key(&items, &keys)
    }
}

/// The keys of all items, in the order in which they are met; none if an item is no object.
fn keys_of<'a>(items: &[(Option<&str>, &'a Value)]) -> Vec<&'a str> {
    let mut keys = Vec::new();
    for (_, item) in items {
        let Value::Object(object) = item else {
            return Vec::new();
        };
        for key in object.keys() {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
    }
    keys
}

fn rows_per_item(items: &[(Option<&str>, &Value)], keys: &[&str]) -> String {
    let named = items.iter().any(|(name, _)| name.is_some());
    let mut table = new_table();
    table.set_header(
        named
            .then_some("")
            .into_iter()
            .chain(keys.iter().copied())
            .map(clean),
    );
    for (name, item) in items {
        let values = keys
            .iter()
            .map(|key| item.get(key).map(cell).unwrap_or_default());
        table.add_row(name.map(clean).into_iter().chain(values));
    }
    table.to_string()
}

fn rows_per_key(items: &[(Option<&str>, &Value)], keys: &[&str]) -> String {
    let mut table = new_table();
    if items.iter().any(|(name, _)| name.is_some()) {
        let names = items
            .iter()
            .map(|(name, _)| clean(name.unwrap_or_default()));
        table.set_header(std::iter::once(String::new()).chain(names));
    }
    for key in keys {
        let values = items
            .iter()
            .map(|(_, item)| item.get(key).map(cell).unwrap_or_default());
        table.add_row(std::iter::once(clean(key)).chain(values));
    }
    table.to_string()
}

fn of_object(object: &Map<String, Value>) -> String {
    let mut table = new_table();
    for (key, value) in object {
        table.add_row([clean(key), cell(value)]);
    }
    table.to_string()
}

fn new_table() -> Table {
    let width = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width.unwrap_or(DEFAULT_WIDTH));
    table
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Null => String::new(),
        other => clean(&other.to_string()),
    }
}
