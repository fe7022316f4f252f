//! Parameters made from the declarations of verbs: the least that is valid, everything at once, random ones, and
//! damaged ones.

use schema::{
    VerbDecl,
    desc::{FieldDesc, ObjectDesc, Scalar, Type},
};
use serde_json::{Map, Value, json};

use super::storage::{NONE, id};

/// Only what is required, each with a plain value of its type.
pub fn minimal(verb: &VerbDecl) -> Value {
    object(verb.params, FieldDesc::required, &mut plain)
}

/// The least that is valid for a type.
pub fn of_type(ty: &Type, name: &str) -> Value {
    value(ty, name, FieldDesc::required, &mut plain)
}

/// Every parameter at every depth; `leaf` makes the values that have no parts.
pub fn complete(verb: &VerbDecl, leaf: &mut dyn FnMut(&Type, &str) -> Value) -> Value {
    object(verb.params, |_| true, leaf)
}

fn object(
    desc: &ObjectDesc,
    wanted: fn(&FieldDesc) -> bool,
    leaf: &mut dyn FnMut(&Type, &str) -> Value,
) -> Value {
    let mut made = Map::new();
    for field in desc.fields.iter().filter(|field| wanted(field)) {
        made.insert(
            field.name.to_owned(),
            value(field.ty, field.name, wanted, leaf),
        );
    }
    Value::Object(made)
}

fn value(
    ty: &Type,
    name: &str,
    wanted: fn(&FieldDesc) -> bool,
    leaf: &mut dyn FnMut(&Type, &str) -> Value,
) -> Value {
    match ty {
        Type::Optional(inner) => value(inner, name, wanted, leaf),
        Type::List(item) => json!([value(item, name, wanted, leaf)]),
        Type::Map { key, value: each } => {
            let key = leaf(key, name);
            let key = key
                .as_str()
                .map_or_else(|| key.to_string(), ToOwned::to_owned);
            json!({ key: value(each, name, wanted, leaf) })
        }
        Type::Object(desc) => object(desc, wanted, leaf),
        Type::Union(variants) => {
            let secret = variants.iter().find(|it| it.has_secret());
            let text = variants.iter().find(|it| it.holds_text());
            let chosen = secret.or(text).unwrap_or(&variants[0]);
            value(chosen, name, wanted, leaf)
        }
        _ => leaf(ty, name),
    }
}

/// A plain value of a type without parts. Ids are new ones: nothing has them.
pub fn plain(ty: &Type, name: &str) -> Value {
    match ty {
        Type::Uuid if name.starts_with("src") => json!(NONE),
        Type::Uuid => json!(id()),
        Type::Bool | Type::Done => json!(true),
        Type::Integer { min, max } => json!(1.clamp(*min, *max) as i64),
        Type::Float => json!(1.0),
        Type::Str if name == "typeArgs" => json!("/nonexistent/folder"),
        Type::Text(Scalar::Integer { .. }) => json!("1048576"),
        Type::Text(Scalar::Bool) => json!("false"),
        Type::Text(Scalar::Float) => json!("1.0"),
        Type::Enum(desc) if name == "domainType" => {
            assert!(desc.values.iter().any(|it| it.code == Some(4)));
            json!(4)
        }
        Type::Enum(desc) => json!(desc.values.last().unwrap().name),
        Type::Dict => json!({}),
        _ => json!("text"),
    }
}

/// Xorshift: the same numbers at every run of the same seed.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Random parameters of the declared types. `ids` are used for some of the ids, so that some name a thing that is
/// there; `paths` for some of the texts.
pub struct Guess<'a> {
    /// Where choices come from.
    pub random: Random,
    /// Ids that something has.
    pub ids: &'a [String],
    /// Texts that mean something.
    pub texts: &'a [String],
}

impl Guess<'_> {
    /// Parameters of a verb: valid, with some optional ones left out.
    pub fn params(&mut self, verb: &VerbDecl) -> Value {
        self.object(verb.params, 0)
    }

    fn object(&mut self, desc: &ObjectDesc, depth: usize) -> Value {
        let mut made = Map::new();
        for field in desc.fields {
            if field.required() || self.random.once_in(2) {
                made.insert(field.name.to_owned(), self.value(field.ty, depth + 1));
            }
        }
        Value::Object(made)
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Value {
        let count = if depth > 6 { 0 } else { self.random.below(4) };
        match ty {
            Type::Optional(_) if self.random.once_in(3) => Value::Null,
            Type::Optional(inner) => self.value(inner, depth),
            Type::List(item) => (0..count).map(|_| self.value(item, depth + 1)).collect(),
            Type::Map { key, value } => {
                let pairs = (0..count).map(|_| {
                    let key = self.value(key, depth);
                    let key = key
                        .as_str()
                        .map_or_else(|| key.to_string(), ToOwned::to_owned);
                    (key, self.value(value, depth + 1))
                });
                Value::Object(pairs.collect())
            }
            Type::Object(desc) => self.object(desc, depth),
            Type::Union(variants) => {
                let variant = *self.random.pick(variants);
                self.value(variant, depth)
            }
            Type::Uuid if !self.ids.is_empty() && !self.random.once_in(4) => {
                json!(self.random.pick(self.ids))
            }
            Type::Uuid => json!(id()),
            Type::Bool | Type::Done => json!(self.random.once_in(2)),
            Type::Integer { min, max } => self.integer(*min, *max),
            Type::Float => json!(self.random.below(1000) as f64 / 7.0),
            Type::Text(Scalar::Integer { min, max }) => {
                json!(self.integer(*min, *max).to_string())
            }
            Type::Text(Scalar::Bool) => json!(self.random.once_in(2).to_string()),
            Type::Text(Scalar::Float) => json!("0.5"),
            Type::Enum(desc) => {
                let value = self.random.pick(desc.values);
                match value.code {
                    Some(code) if self.random.once_in(2) => json!(code),
                    _ => json!(value.name),
                }
            }
            Type::Dict => json!({}),
            _ => self.text(),
        }
    }

    fn integer(&mut self, min: i128, max: i128) -> Value {
        let number = match self.random.below(4) {
            0 => min,
            1 => max,
            _ => (self.random.below(5000) as i128).clamp(min, max),
        };
        i64::try_from(number).map_or_else(|_| json!(u64::try_from(number).unwrap()), |it| json!(it))
    }

    fn text(&mut self) -> Value {
        match self.random.below(6) {
            0 => json!(""),
            1 => json!("ü\u{0}\n\"'<&>%s{}"),
            2 => json!("x".repeat(self.random.below(5000))),
            3 => json!("1"),
            _ if self.texts.is_empty() => json!("text"),
            _ => json!(self.random.pick(self.texts)),
        }
    }

    /// Damages parameters in one place or some: another type, a key less, a key more, a bound passed.
    pub fn damage(&mut self, value: &mut Value) {
        match value {
            Value::Object(map) if !map.is_empty() && !self.random.once_in(6) => {
                let nth = self.random.below(map.len());
                if self.random.once_in(5) {
                    let key = map.keys().nth(nth).unwrap().clone();
                    map.remove(&key);
                } else if self.random.once_in(6) {
                    map.insert("noSuchKey".to_owned(), json!({"deep": [1, "two"]}));
                } else {
                    self.damage(map.values_mut().nth(nth).unwrap());
                }
            }
            Value::Array(items) if !items.is_empty() && !self.random.once_in(6) => {
                let nth = self.random.below(items.len());
                self.damage(&mut items[nth]);
            }
            other => *other = self.junk(),
        }
    }

    fn junk(&mut self) -> Value {
        let deep = |open: &str, close: &str| {
            let text = format!("{}{}", open.repeat(60), close.repeat(60));
            serde_json::from_str(&text).unwrap()
        };
        match self.random.below(12) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(-1),
            3 => json!(u64::MAX),
            4 => json!(1.5e300),
            5 => json!("9223372036854775808"),
            6 => json!(""),
            7 => json!("../../../../etc/passwd"),
            8 => json!([[], {}, null]),
            9 => deep("[", "]"),
            10 => json!({"a": {"b": {"c": []}}}),
            _ => json!("\u{0}\u{7f}\u{ffff}"),
        }
    }
}
