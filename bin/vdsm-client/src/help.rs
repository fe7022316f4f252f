//! Help of a verb, from its declaration: parameters, how they look as JSON, and the answer.

use std::fmt::Write as _;

use schema::{
    VerbDecl,
    desc::{FieldDesc, Type},
};
use serde_json::{Map, Value};

/// Documentation as it is written in source, with its lines joined to paragraphs.
pub(crate) fn unwrapped(doc: &str) -> String {
    let paragraphs: Vec<String> = doc
        .trim()
        .split("\n\n")
        .map(|paragraph| {
            paragraph
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    paragraphs.join("\n\n").trim().to_owned()
}

/// What a verb does, and whether it does so in this version.
pub(crate) fn about(verb: &VerbDecl) -> String {
    let text = unwrapped(verb.doc);
    if verb.implemented {
        text
    } else {
        format!("(not in this version) {text}")
    }
}

/// What follows the options in a verb's help.
pub(crate) fn details(verb: &VerbDecl) -> String {
    let mut text = String::new();
    if !verb.params.fields.is_empty() {
        text.push_str("Parameters:\n");
        for field in verb.params.fields {
            text.push_str(&parameter(field));
        }
        // An object of strings always prints.
        let json = serde_json::to_string_pretty(&skeleton_of(verb)).unwrap_or_default();
        let _ = write!(text, "\nJSON representation:\n{json}\n\n");
    }
    let _ = write!(text, "Answer: {}", verb.result);
    if let Some(json) = answer_skeleton(verb.result) {
        let _ = write!(text, "\n{json}");
    }
    text
}

fn parameter(field: &FieldDesc) -> String {
    let need = match field.default.map(|default| default()) {
        _ if field.required() => "required".to_owned(),
        Some(Value::Null) | None => "optional".to_owned(),
        Some(default) => format!("default {default}"),
    };
    format!(
        "  {} ({}, {need})\n      {}\n",
        field.name,
        field.ty.inner(),
        unwrapped(field.doc)
    )
}

fn skeleton_of(verb: &VerbDecl) -> Value {
    verb.params
        .fields
        .iter()
        .map(|field| (field.name.to_owned(), skeleton(field.ty)))
        .collect::<Map<_, _>>()
        .into()
}

fn answer_skeleton(ty: &Type) -> Option<String> {
    match skeleton(ty) {
        parts @ (Value::Object(_) | Value::Array(_)) => serde_json::to_string_pretty(&parts).ok(),
        _ => None,
    }
}

/// A value's shape: names of types where values would be.
fn skeleton(ty: &Type) -> Value {
    match ty {
        Type::Optional(inner) => skeleton(inner),
        Type::List(item) => Value::Array(vec![skeleton(item)]),
        Type::Map { key, value } => {
            Value::Object(Map::from_iter([(format!("<{key}>"), skeleton(value))]))
        }
        Type::Object(desc) => desc
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), skeleton(field.ty)))
            .collect::<Map<_, _>>()
            .into(),
        other => Value::String(other.to_string()),
    }
}
