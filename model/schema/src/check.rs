//! Strict checking of a value against its description: nothing is coerced, unknown keys count.
//!
//! For tests and for comparing answers with transcripts; the agent does not check itself at run time.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    desc::{ObjectDesc, Scalar, Type},
    mismatch::{MOST_MISMATCHES, Mismatch, Path, kind},
};

/// Where `value` differs from `ty`; empty if nowhere. At most 32 differences are told.
pub fn check(value: &Value, ty: &Type) -> Vec<Mismatch> {
    let mut found = Vec::new();
    walk(value, ty, &mut Path::default(), &mut found);
    found.truncate(MOST_MISMATCHES);
    found
}

fn walk(value: &Value, ty: &Type, path: &mut Path, found: &mut Vec<Mismatch>) {
    match (ty, value) {
        (Type::Optional(_), Value::Null) => {
            let expected = "an absent key".to_owned();
            found.push(path.noted(expected, "null".to_owned(), "null"));
        }
        (Type::Optional(inner), _) => walk(value, inner, path, found),
        (Type::List(item), Value::Array(items)) => {
            for (index, value) in items.iter().enumerate() {
                path.index(index, |path| walk(value, item, path, found));
            }
        }
        (Type::Map { key, value: each }, Value::Object(map)) => {
            for (name, value) in map {
                path.key(name, |path| {
                    if !fits_key(name, key) {
                        let expected = format!("a key that is {key}");
                        found.push(path.noted(expected, format!("{name:?}"), "a string"));
                    }
                    walk(value, each, path, found);
                });
            }
        }
        (Type::Object(desc), Value::Object(object)) => walk_object(object, desc, path, found),
        (Type::Union(variants), _) => walk_union(value, variants, path, found),
        (_, scalar) if fits(scalar, ty) => {}
        (_, other) => found.push(path.mismatch(ty, Some(other))),
    }
}

fn walk_object(
    object: &Map<String, Value>,
    desc: &ObjectDesc,
    path: &mut Path,
    found: &mut Vec<Mismatch>,
) {
    for field in desc.fields {
        path.key(field.name, |path| match object.get(field.name) {
            Some(value) => walk(value, field.ty, path, found),
            None if field.required() => found.push(path.mismatch(field.ty, None)),
            None => {}
        });
    }
    for (key, value) in object.iter().filter(|(key, _)| desc.field(key).is_none()) {
        path.key(key, |path| {
            found.push(path.noted(
                format!("no such key in {}", desc.name),
                kind(value).to_owned(),
                kind(value),
            ));
        });
    }
}

/// A union fits if one variant does; else the variant with the fewest differences is told.
fn walk_union(value: &Value, variants: &[&Type], path: &mut Path, found: &mut Vec<Mismatch>) {
    let fewest = variants
        .iter()
        .map(|variant| {
            let mut differences = Vec::new();
            walk(value, variant, path, &mut differences);
            differences
        })
        .min_by_key(Vec::len);
    found.extend(fewest.unwrap_or_default());
}

fn fits_key(name: &str, ty: &Type) -> bool {
    match ty {
        Type::Integer { min, max } => name
            .parse::<i128>()
            .is_ok_and(|number| (min..=max).contains(&&number)),
        _ => fits(&Value::String(name.to_owned()), ty),
    }
}

fn fits(value: &Value, ty: &Type) -> bool {
    match (ty, value) {
        (Type::Any | Type::SecretJson, _)
        | (Type::Dict, Value::Object(_))
        | (Type::Bool, Value::Bool(_))
        | (Type::Done, Value::Bool(true))
        | (Type::Float, Value::Number(_))
        | (Type::Str | Type::Secret | Type::DomainXml, Value::String(_)) => true,
        (Type::Integer { min, max }, Value::Number(number)) => number
            .as_i128()
            .is_some_and(|number| (min..=max).contains(&&number)),
        (Type::Uuid, Value::String(text)) => Uuid::try_parse(text).is_ok(),
        (Type::Text(scalar), Value::String(text)) => fits_text(text, *scalar),
        (Type::Enum(desc), Value::String(text)) => {
            desc.values.iter().any(|known| known.name == text)
        }
        _ => false,
    }
}

fn fits_text(text: &str, scalar: Scalar) -> bool {
    match scalar {
        Scalar::Integer { min, max } => text
            .parse::<i128>()
            .is_ok_and(|number| (min..=max).contains(&number)),
        Scalar::Float => text.parse::<f64>().is_ok_and(f64::is_finite),
        Scalar::Bool => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
    }
}
