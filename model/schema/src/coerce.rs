//! Lenient reading of parameters: a walk over raw JSON beside its description.
//!
//! Upstream takes what comes ("numbers often travel as strings"), so this understands what can be understood:
//! `"5"` for 5, 5 for `"5"`, `"true"` for true, an integer for a float, a code for a name; `null` or nothing for
//! a parameter with a default; unknown keys are passed over. Each such case is noted as a [`Mismatch`]. What
//! cannot be understood is an error (-32602) that names the path, what was expected and what was found.

use serde_json::{Map, Number, Value, value::RawValue};
use uuid::Uuid;

use crate::{
    desc::{EnumDesc, FieldDesc, ObjectDesc, Scalar, Type},
    mismatch::{MOST_MISMATCHES, Mismatch, Path, excerpt, kind},
};

/// Reads the parameters of a verb: an object, or a list in declared order.
pub(crate) fn read_params(
    desc: &ObjectDesc,
    raw: Option<&RawValue>,
) -> Result<(Value, Vec<Mismatch>), Vec<Mismatch>> {
    let mut reader = Reader::default();
    let mut params = match raw.map(|raw| serde_json::from_str(raw.get())) {
        None | Some(Ok(Value::Null)) => Map::new(),
        Some(Ok(Value::Object(params))) => params,
        Some(Ok(Value::Array(items))) => reader.positional(desc, items),
        Some(Ok(other)) => {
            let found = kind(&other);
            let expected = "an object or a list".to_owned();
            return Err(vec![reader.path.noted(expected, found.to_owned(), found)]);
        }
        // Only nesting beyond the parser's limit comes here: the text was JSON when the request was read.
        Some(Err(_)) => {
            let found = "what cannot be parsed";
            let expected = "JSON".to_owned();
            return Err(vec![reader.path.noted(expected, found.to_owned(), found)]);
        }
    };
    reader.object(&mut params, desc);
    if reader.refused.is_empty() {
        Ok((Value::Object(params), reader.coerced))
    } else {
        Err(reader.refused)
    }
}

/// Reads one value; answers what was coerced, or what was refused.
///
/// # Errors
/// The mismatches that no coercion could mend.
pub fn coerce(value: &mut Value, ty: &Type) -> Result<Vec<Mismatch>, Vec<Mismatch>> {
    let mut reader = Reader::default();
    reader.value(value, ty);
    if reader.refused.is_empty() {
        Ok(reader.coerced)
    } else {
        Err(reader.refused)
    }
}

#[derive(Default)]
struct Reader {
    path: Path,
    coerced: Vec<Mismatch>,
    refused: Vec<Mismatch>,
}

/// What became of a value.
enum Outcome {
    /// It was as described.
    Fits,
    /// It was something else that means this.
    Means(Value),
    /// It was another word for this, which Engine uses as well: nothing to note.
    Alias(Value),
    /// It cannot be understood.
    Refused,
}

impl Reader {
    fn positional(&mut self, desc: &ObjectDesc, items: Vec<Value>) -> Map<String, Value> {
        if items.len() > desc.fields.len() {
            let expected = format!("at most {} parameters", desc.fields.len());
            note(
                &mut self.coerced,
                self.path
                    .noted(expected, items.len().to_string(), "a longer list"),
            );
        }
        desc.fields
            .iter()
            .map(|field| field.name.to_owned())
            .zip(items)
            .collect()
    }

    fn object(&mut self, object: &mut Map<String, Value>, desc: &ObjectDesc) {
        for field in desc.fields {
            self.field(object, field);
        }
        for (key, value) in object.iter().filter(|(key, _)| desc.field(key).is_none()) {
            let found = kind(value);
            let expected = "no such parameter".to_owned();
            let mismatch = self.at_key(key, |reader| {
                reader.path.noted(expected, found.to_owned(), found)
            });
            note(&mut self.coerced, mismatch);
        }
    }

    fn field(&mut self, object: &mut Map<String, Value>, field: &FieldDesc) {
        let given = object
            .get_mut(field.name)
            .filter(|value| !means_nothing(value, field));
        match (given, field.default) {
            (Some(value), _) => self.at_key(field.name, |reader| reader.value(value, field.ty)),
            (None, Some(default)) => stand_in(object, field.name, default()),
            (None, None) if field.required() => {
                let found = object.get(field.name);
                self.at_key(field.name, |reader| reader.refuse(field.ty, found));
            }
            (None, None) => stand_in(object, field.name, Value::Null),
        }
    }

    fn value(&mut self, value: &mut Value, ty: &Type) {
        let outcome = match (ty, &mut *value) {
            (Type::Any | Type::SecretJson, _)
            | (Type::Dict, Value::Object(_))
            | (Type::Optional(_), Value::Null) => Outcome::Fits,
            (Type::Optional(inner), _) => return self.value(value, inner),
            (Type::List(item), Value::Array(items)) => return self.list(items, item),
            (Type::Map { key, value: each }, Value::Object(map)) => {
                return self.map(map, key, each);
            }
            (Type::Object(desc), Value::Object(object)) => return self.object(object, desc),
            (Type::Union(variants), _) => return self.union(value, variants),
            (_, scalar) => read_scalar(scalar, ty),
        };
        match outcome {
            Outcome::Fits => {}
            Outcome::Means(meant) => {
                note(&mut self.coerced, self.path.mismatch(ty, Some(value)));
                *value = meant;
            }
            Outcome::Alias(meant) => *value = meant,
            Outcome::Refused => self.refuse(ty, Some(value)),
        }
    }

    fn list(&mut self, items: &mut [Value], ty: &Type) {
        for (index, item) in items.iter_mut().enumerate() {
            // A path is only needed where something is wrong, but is cheap beside the parse.
            let mut path = std::mem::take(&mut self.path);
            path.index(index, |path| {
                std::mem::swap(&mut self.path, path);
                self.value(item, ty);
                std::mem::swap(&mut self.path, path);
            });
            self.path = path;
        }
    }

    fn map(&mut self, map: &mut Map<String, Value>, key_type: &Type, ty: &Type) {
        for (key, value) in map.iter_mut() {
            self.at_key(key, |reader| {
                if matches!(
                    read_scalar(&Value::String(key.clone()), key_type),
                    Outcome::Refused
                ) {
                    let expected = format!("a key that is {key_type}");
                    let found = format!("\"{}\"", excerpt(key).escape_debug());
                    note(
                        &mut reader.refused,
                        reader.path.noted(expected, found, "a string"),
                    );
                }
                reader.value(value, ty);
            });
        }
    }

    /// The first variant that refuses nothing is taken; if all refuse, the whole is refused.
    fn union(&mut self, value: &mut Value, variants: &'static [&'static Type]) {
        for variant in variants {
            let mut tried = value.clone();
            let mut reader = Self {
                path: std::mem::take(&mut self.path),
                ..Self::default()
            };
            reader.value(&mut tried, variant);
            self.path = reader.path;
            if reader.refused.is_empty() {
                *value = tried;
                reader
                    .coerced
                    .into_iter()
                    .for_each(|mismatch| note(&mut self.coerced, mismatch));
                return;
            }
        }
        self.refuse(&Type::Union(variants), Some(value));
    }

    fn refuse(&mut self, ty: &Type, found: Option<&Value>) {
        note(&mut self.refused, self.path.mismatch(ty, found));
    }

    fn at_key<R>(&mut self, key: &str, inside: impl FnOnce(&mut Self) -> R) -> R {
        let mut path = std::mem::take(&mut self.path);
        let result = path.key(key, |path| {
            std::mem::swap(&mut self.path, path);
            let result = inside(self);
            std::mem::swap(&mut self.path, path);
            result
        });
        self.path = path;
        result
    }
}

/// `null` is nothing, and so is the empty string where text makes no sense: Engine sends all keys of a storage
/// connection, whatever its type, and leaves them empty.
fn means_nothing(value: &Value, field: &FieldDesc) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() && !field.required() && !field.ty.holds_text(),
        _ => false,
    }
}

fn stand_in(object: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
}

fn note(list: &mut Vec<Mismatch>, mismatch: Mismatch) {
    if list.len() < MOST_MISMATCHES {
        list.push(mismatch);
    }
}

fn read_scalar(value: &Value, ty: &Type) -> Outcome {
    match ty {
        Type::Bool | Type::Done => read_bool(value),
        Type::Integer { min, max } => read_integer(value, *min, *max),
        Type::Float => read_float(value),
        Type::Str | Type::Secret | Type::DomainXml => read_string(value),
        Type::Uuid => read_uuid(value),
        Type::Text(scalar) => read_text(value, *scalar),
        Type::Enum(desc) => read_enum(value, desc),
        _ => Outcome::Refused,
    }
}

fn read_bool(value: &Value) -> Outcome {
    let meant = match value {
        Value::Bool(_) => return Outcome::Fits,
        Value::String(text) => bool_of(text),
        Value::Number(number) => number.as_i64().and_then(|number| match number {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }),
        _ => None,
    };
    meant.map_or(Outcome::Refused, |meant| Outcome::Means(Value::Bool(meant)))
}

fn bool_of(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn read_integer(value: &Value, min: i128, max: i128) -> Outcome {
    let number = match value {
        Value::Number(number) => number
            .as_i128()
            .or_else(|| number.as_f64().and_then(integer_of)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number
        .filter(|number| (min..=max).contains(number))
        .and_then(Number::from_i128)
    {
        Some(_) if value.is_i64() || value.is_u64() => Outcome::Fits,
        Some(number) => Outcome::Means(Value::Number(number)),
        None => Outcome::Refused,
    }
}

/// The integer that a float holds exactly.
fn integer_of(float: f64) -> Option<i128> {
    /// 2^53: beyond it floats skip integers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i128)
}

fn read_float(value: &Value) -> Outcome {
    let number = match value {
        Value::Number(number) if number.is_f64() => return Outcome::Fits,
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number.and_then(Number::from_f64) {
        Some(number) => Outcome::Means(Value::Number(number)),
        None => Outcome::Refused,
    }
}

fn read_string(value: &Value) -> Outcome {
    match value {
        Value::String(_) => Outcome::Fits,
        Value::Number(number) => Outcome::Means(Value::String(number.to_string())),
        Value::Bool(value) => Outcome::Means(Value::String(value.to_string())),
        _ => Outcome::Refused,
    }
}

fn read_uuid(value: &Value) -> Outcome {
    let Value::String(text) = value else {
        return Outcome::Refused;
    };
    match Uuid::try_parse(text.trim()) {
        Ok(id) if is_canonical(id, text) => Outcome::Fits,
        Ok(id) => Outcome::Means(Value::String(id.to_string())),
        Err(_) => Outcome::Refused,
    }
}

fn is_canonical(id: Uuid, text: &str) -> bool {
    let mut buffer = Uuid::encode_buffer();
    &*id.hyphenated().encode_lower(&mut buffer) == text
}

fn read_text(value: &Value, scalar: Scalar) -> Outcome {
    let (text, was_text) = match value {
        Value::String(text) => (text.trim().to_owned(), true),
        Value::Number(number) => (number.to_string(), false),
        Value::Bool(value) => (value.to_string(), false),
        _ => return Outcome::Refused,
    };
    let canonical = match scalar {
        Scalar::Integer { min, max } => text
            .parse::<i128>()
            .ok()
            .filter(|number| (min..=max).contains(number))
            .map(|number| number.to_string()),
        Scalar::Float => text
            .parse::<f64>()
            .ok()
            .filter(|float| float.is_finite())
            .map(|_| text),
        Scalar::Bool => bool_of(&text).map(|value| value.to_string()),
    };
    match canonical {
        None => Outcome::Refused,
        Some(canonical) if was_text && value.as_str() == Some(canonical.as_str()) => Outcome::Fits,
        Some(canonical) => Outcome::Means(Value::String(canonical)),
    }
}

/// A name, in any case; or its number, bare or in a string.
fn read_enum(value: &Value, desc: &EnumDesc) -> Outcome {
    let named = |text: &str| desc.values.iter().find(|known| known.name == text);
    let alike = |text: &str| {
        desc.values
            .iter()
            .find(|known| known.name.eq_ignore_ascii_case(text))
    };
    let coded = |number: i64| desc.values.iter().find(|known| known.code == Some(number));
    let meant = match value {
        Value::String(text) if named(text).is_some() => return Outcome::Fits,
        Value::String(text) => {
            let text = text.trim();
            alike(text).or_else(|| text.parse().ok().and_then(coded))
        }
        Value::Number(number) => number.as_i64().and_then(coded),
        _ => None,
    };
    match meant {
        Some(known) => Outcome::Alias(Value::String(known.name.to_owned())),
        None => Outcome::Refused,
    }
}
