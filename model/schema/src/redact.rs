//! What a log may show of parameters: secrets masked by their description, length bounded.
//!
//! Masking errs on the safe side: of a verb or a key that nobody declared only the kind is shown, since a
//! misspelt `pasword` is still a password.

use std::borrow::Cow;

use serde_json::{Map, Value, value::RawValue};

use crate::{
    desc::{ObjectDesc, Type},
    mismatch::kind,
    verb::VerbDecl,
};

/// What stands for a secret, as upstream prints it.
pub const MASK: &str = "*****";

/// Longest text that [`redact`] answers, bytes, before the note that it was cut.
pub const LONGEST: usize = 4096;

/// Parameters as a log may show them. `verb` is `None` for a method that is not declared.
pub fn redact(raw: Option<&RawValue>, verb: Option<&VerbDecl>) -> String {
    let Some(raw) = raw else {
        return "{}".to_owned();
    };
    let Some(verb) = verb else {
        return format!("({} bytes, not shown)", raw.get().len());
    };
    let text = match serde_json::from_str::<Value>(raw.get()) {
        Ok(Value::Object(params)) => redact_object(&params, verb.params).to_string(),
        Ok(Value::Array(items)) => redact_positional(&items, verb.params).to_string(),
        Ok(other) => kind(&other).to_owned(),
        Err(_) => format!("({} bytes that are not JSON)", raw.get().len()),
    };
    bounded(text)
}

/// A value as a log may show it.
pub fn redact_value(value: &Value, ty: &Type) -> Value {
    match (ty, value) {
        (_, Value::Null) => Value::Null,
        (Type::Secret | Type::SecretJson, _) => Value::String(MASK.to_owned()),
        (Type::Optional(inner), _) => redact_value(value, inner),
        (Type::List(item), Value::Array(items)) => items
            .iter()
            .map(|value| redact_value(value, item))
            .collect(),
        (Type::Map { value: each, .. }, Value::Object(map)) => {
            let masked = map
                .iter()
                .map(|(key, value)| (key.clone(), redact_free(key, value, each)));
            Value::Object(masked.collect())
        }
        (Type::Object(desc), Value::Object(object)) => redact_object(object, desc),
        (Type::Union(variants), _) => redact_union(value, variants),
        (Type::Any | Type::Dict, Value::Object(map)) => {
            let masked = map
                .iter()
                .map(|(key, value)| (key.clone(), redact_free(key, value, &Type::Any)));
            Value::Object(masked.collect())
        }
        (Type::Any, Value::Array(items)) => items
            .iter()
            .map(|value| redact_value(value, &Type::Any))
            .collect(),
        // Any string might be XML: that of a domain has a type of its own, but others may hold one too.
        (_, Value::String(text)) => Value::String(mask_xml(text).into_owned()),
        (_, Value::Number(_) | Value::Bool(_)) => value.clone(),
        (_, other) => Value::String(format!("<{}>", kind(other))),
    }
}

fn redact_object(object: &Map<String, Value>, desc: &ObjectDesc) -> Value {
    let masked = object.iter().map(|(key, value)| {
        let shown = match desc.field(key) {
            Some(field) => redact_value(value, field.ty),
            None => Value::String(format!("<{}>", kind(value))),
        };
        (key.clone(), shown)
    });
    Value::Object(masked.collect())
}

fn redact_positional(items: &[Value], desc: &ObjectDesc) -> Value {
    let types = desc
        .fields
        .iter()
        .map(|field| Some(field.ty))
        .chain(std::iter::repeat(None));
    items
        .iter()
        .zip(types)
        .map(|(value, ty)| match ty {
            Some(ty) => redact_value(value, ty),
            None => Value::String(format!("<{}>", kind(value))),
        })
        .collect()
}

/// Of several types a value may have, the one is taken that masks: an object's keys are looked up in all.
fn redact_union(value: &Value, variants: &[&Type]) -> Value {
    let object = |variant: &&&Type| {
        matches!(
            (variant.inner(), value),
            (Type::Object(_), Value::Object(_))
        )
    };
    let secret = variants.iter().find(|variant| variant.has_secret());
    match secret
        .or_else(|| variants.iter().find(object))
        .or(variants.first())
    {
        Some(variant) => redact_value(value, variant),
        None => Value::String(format!("<{}>", kind(value))),
    }
}

/// A value under a free key: masked if the key speaks of a secret.
fn redact_free(key: &str, value: &Value, ty: &Type) -> Value {
    const TELLING: [&str; 6] = ["pass", "secret", "token", "ticket", "credential", "private"];
    let key = key.to_ascii_lowercase();
    if TELLING.iter().any(|word| key.contains(word)) && !value.is_null() {
        Value::String(MASK.to_owned())
    } else {
        redact_value(value, ty)
    }
}

/// Masks what is secret in a domain XML, well-formed or not: the values of `passwd` and `password` attributes, and
/// the content of payload files (`<ovirt-vm:file>`: cloud-init's user data).
pub fn mask_xml(xml: &str) -> Cow<'_, str> {
    let masked = mask_attributes(xml);
    match mask_elements(&masked) {
        Some(text) => Cow::Owned(text),
        None => masked,
    }
}

fn mask_attributes(xml: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = xml;
    while let Some((value, after)) = next_password(rest) {
        out.push_str(rest.get(..value).unwrap_or_default());
        out.push_str(MASK);
        rest = rest.get(after..).unwrap_or_default();
    }
    if out.is_empty() {
        return Cow::Borrowed(xml);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the value of the next password attribute begins and where the text goes on; an open end is masked.
fn next_password(xml: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(at) = xml
        .get(from..)
        .and_then(|rest| rest.find("passw"))
        .map(|at| at + from)
    {
        let name_end = xml
            .get(at..)
            .and_then(|rest| rest.find(|c: char| !c.is_ascii_alphanumeric()))
            .map_or(xml.len(), |length| at + length);
        from = name_end;
        if !matches!(xml.get(at..name_end), Some("passwd" | "password")) {
            continue;
        }
        let tail = xml.get(name_end..).unwrap_or_default();
        let Some(quoted) = tail.trim_start().strip_prefix('=').map(str::trim_start) else {
            continue;
        };
        let Some(quote @ ('"' | '\'')) = quoted.chars().next() else {
            continue;
        };
        let value = xml.len() - quoted.len() + 1;
        let length = quoted
            .get(1..)
            .and_then(|text| text.find(quote))
            .unwrap_or(quoted.len() - 1);
        return Some((value, value + length));
    }
    None
}

fn mask_elements(xml: &str) -> Option<String> {
    const OPEN: &str = "<ovirt-vm:file";
    let mut out = String::new();
    let mut rest = xml;
    while let Some(start) = rest.find(OPEN) {
        let open_end = rest
            .get(start..)
            .and_then(|tag| tag.find('>'))
            .map_or(rest.len(), |end| start + end + 1);
        out.push_str(rest.get(..open_end).unwrap_or_default());
        rest = rest.get(open_end..).unwrap_or_default();
        let content = rest.find('<').unwrap_or(rest.len());
        if content > 0 {
            out.push_str(MASK);
        }
        rest = rest.get(content..).unwrap_or_default();
    }
    if out.is_empty() {
        return None;
    }
    out.push_str(rest);
    Some(out)
}

fn bounded(mut text: String) -> String {
    if text.len() <= LONGEST {
        return text;
    }
    let whole = text.len();
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    format!("{text}… ({whole} bytes)")
}
