//! What oVirt Engine's parser needs of an answer, beyond its declaration: [`check_answer`].
//!
//! Engine reads answers key by key with casts of its own: a number where it wants a text is ignored or throws, an
//! integer where it wants a decimal number becomes null, and null is worse than an absent key everywhere. Those facts
//! stand in `engine/reads.txt` (found by running Engine's parser on answers with every key removed or retyped) and
//! are checked here. For tests: whatever answers a verb passes its answers through this.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

use crate::{
    desc::Scalar,
    mismatch::{MOST_MISMATCHES, Mismatch, Path, kind},
};

const READS: &str = include_str!("engine/reads.txt");

static RULES: LazyLock<BTreeMap<&'static str, Vec<Rule>>> = LazyLock::new(|| parse(READS));

/// How Engine reads one key of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Where: `storageDomains/*/valid`, `[]/vmId`; `.` is the answer itself.
    pub path: &'static str,
    /// What it may be.
    pub reading: Reading,
    /// Is the answer, or the entry that the key is part of, lost without it?
    pub required: bool,
}

/// What Engine takes for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Whatever has a text.
    Any,
    /// A text or a number that parses so.
    AnyScalar(Scalar),
    /// A text.
    Text,
    /// A text that parses so; a bare number or boolean is ignored or throws.
    TextOf(Scalar),
    /// A number without decimal point; `bits` 32 or 64.
    Integer {
        /// 32: greater ones throw.
        bits: u8,
    },
    /// The same, or a text.
    IntegerOrText {
        /// 32: greater ones throw.
        bits: u8,
    },
    /// A number with a decimal point.
    Float,
    /// The same, or a text; an integer becomes null.
    FloatOrText,
    /// A boolean.
    Boolean,
    /// A boolean or a text.
    BooleanOrText,
    /// An object.
    Map,
    /// A list; of objects, texts or integers where that is said.
    List(Item),
    /// The status of the call: an object with `code` and `message`.
    Status,
    /// Nothing: Engine would take the key for the status of the call.
    Never,
}

/// What the items of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// Anything.
    Any,
    /// Objects.
    Map,
    /// Texts.
    Text,
    /// Integers.
    Integer,
}

const LONG: Scalar = Scalar::Integer {
    min: i64::MIN as i128,
    max: i64::MAX as i128,
};

impl Reading {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "any" => Self::Any,
            "any-integer" => Self::AnyScalar(LONG),
            "any-float" => Self::AnyScalar(Scalar::Float),
            "text" => Self::Text,
            "integer-text" => Self::TextOf(LONG),
            "float-text" => Self::TextOf(Scalar::Float),
            "boolean-text" => Self::TextOf(Scalar::Bool),
            "integer" => Self::Integer { bits: 32 },
            "number" => Self::Integer { bits: 64 },
            "integer-or-text" => Self::IntegerOrText { bits: 32 },
            "long-or-text" => Self::IntegerOrText { bits: 64 },
            "float" => Self::Float,
            "float-or-text" => Self::FloatOrText,
            "boolean" => Self::Boolean,
            "boolean-or-text" => Self::BooleanOrText,
            "map" => Self::Map,
            "list" => Self::List(Item::Any),
            "list-of-map" => Self::List(Item::Map),
            "list-of-text" => Self::List(Item::Text),
            "list-of-integer" => Self::List(Item::Integer),
            "status" => Self::Status,
            "never" => Self::Never,
            _ => return None,
        })
    }

    /// Does Engine understand the value?
    pub fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Any => !value.is_null(),
            Self::AnyScalar(scalar) => {
                value.is_number() || value.as_str().is_some_and(|text| parses(text, scalar))
            }
            Self::Text => value.is_string(),
            Self::TextOf(scalar) => value.as_str().is_some_and(|text| parses(text, scalar)),
            Self::Integer { bits } => is_integer(value, bits),
            Self::IntegerOrText { bits } => value.is_string() || is_integer(value, bits),
            Self::Float => value.is_f64(),
            Self::FloatOrText => value.is_string() || value.is_f64(),
            Self::Boolean => value.is_boolean(),
            Self::BooleanOrText => value.is_boolean() || value.is_string(),
            Self::Map => value.is_object(),
            Self::List(item) => value
                .as_array()
                .is_some_and(|items| items.iter().all(|value| item.accepts(value))),
            Self::Status => is_status(value),
            Self::Never => false,
        }
    }
}

impl Item {
    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Any => !value.is_null(),
            Self::Map => value.is_object(),
            Self::Text => value.is_string(),
            Self::Integer => is_integer(value, 32),
        }
    }
}

fn is_integer(value: &Value, bits: u8) -> bool {
    value
        .as_i64()
        .is_some_and(|number| bits == 64 || i32::try_from(number).is_ok())
}

fn is_status(value: &Value) -> bool {
    let code = value.get("code").is_some_and(|code| is_integer(code, 32));
    code && value.get("message").is_some_and(Value::is_string)
}

fn parses(text: &str, scalar: Scalar) -> bool {
    match scalar {
        Scalar::Integer { .. } => text.parse::<i64>().is_ok(),
        Scalar::Float => text.parse::<f64>().is_ok_and(f64::is_finite),
        Scalar::Bool => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
    }
}

/// Reads the list of rules. A line that makes no sense is left out; a test counts them.
fn parse(text: &'static str) -> BTreeMap<&'static str, Vec<Rule>> {
    let mut rules: BTreeMap<&'static str, Vec<Rule>> = BTreeMap::new();
    let mut verb = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if !line.starts_with(' ') {
            verb = line.trim();
        } else if let Some(rule) = parse_rule(line.trim()) {
            rules.entry(verb).or_default().push(rule);
        }
    }
    rules
}

fn parse_rule(line: &'static str) -> Option<Rule> {
    let (required, line) = match line.strip_prefix("! ") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (path, word) = line.split_once(' ')?;
    Some(Rule {
        path,
        reading: Reading::of(word)?,
        required,
    })
}

/// How Engine reads the answers of a verb, or the parameters of an event by its prefix (`|virt|VM_status|`); empty
/// if it reads nothing of them.
pub fn rules(verb: &str) -> &'static [Rule] {
    RULES.get(verb).map_or(&[], Vec::as_slice)
}

/// Verbs and prefixes of events whose answers Engine reads.
pub fn known() -> impl Iterator<Item = &'static str> {
    RULES.keys().copied()
}

/// What Engine's parser would not understand of an answer (or of an event's parameters): keys that it needs and that
/// are not there, values of another type, null at any place that it reads. At most 32 differences are told.
pub fn check_answer(verb: &str, answer: &Value) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for rule in rules(verb) {
        let mut path = Path::default();
        let segments: Vec<&str> = rule.path.split('/').collect();
        walk(answer, &segments, *rule, &mut path, &mut found);
    }
    found.truncate(MOST_MISMATCHES);
    found
}

fn walk(value: &Value, segments: &[&str], rule: Rule, path: &mut Path, found: &mut Vec<Mismatch>) {
    match (segments, value) {
        ([] | ["."], value) => judge(value, rule, path, found),
        (["[]", rest @ ..], Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                path.index(index, |path| walk(item, rest, rule, path, found));
            }
        }
        (["*", rest @ ..], Value::Object(map)) => {
            for (key, value) in map {
                path.key(key, |path| walk(value, rest, rule, path, found));
            }
        }
        ([key, rest @ ..], Value::Object(map)) => {
            path.key(key, |path| match map.get(*key) {
                Some(value) => walk(value, rest, rule, path, found),
                None if rule.required && rest.is_empty() => {
                    found.push(path.noted(
                        rule.reading.to_string(),
                        "nothing".to_owned(),
                        "nothing",
                    ));
                }
                None => {}
            });
        }
        // The rule of the parent tells that it is of another type.
        _ => {}
    }
}

fn judge(value: &Value, rule: Rule, path: &Path, found: &mut Vec<Mismatch>) {
    if !rule.reading.accepts(value) {
        let shown = kind(value);
        found.push(path.noted(rule.reading.to_string(), shown.to_owned(), shown));
    }
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("anything but null"),
            Self::AnyScalar(scalar) => write!(f, "{scalar}, bare or in a string"),
            Self::Text => f.write_str("a string"),
            Self::TextOf(scalar) => write!(f, "{scalar} in a string"),
            Self::Integer { bits } => write!(f, "an integer of {bits} bits"),
            Self::IntegerOrText { bits } => write!(f, "an integer of {bits} bits or a string"),
            Self::Float => f.write_str("a number with a decimal point"),
            Self::FloatOrText => f.write_str("a number with a decimal point or a string"),
            Self::Boolean => f.write_str("a boolean"),
            Self::BooleanOrText => f.write_str("a boolean or a string"),
            Self::Map => f.write_str("an object"),
            Self::List(item) => write!(f, "a list ({item:?})"),
            Self::Status => f.write_str("a status with code and message"),
            Self::Never => f.write_str("no such key"),
        }
    }
}

#[cfg(test)]
mod tests;
