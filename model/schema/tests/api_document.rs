//! The declarations against upstream's API document, where a copy of it lies beside the repository: names and order
//! of verbs and parameters, types, defaults, what is required; keys of objects and values of enumerations at any
//! depth; events. Every difference stands in `document/differences.txt` with its reason, and nothing else does.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::PathBuf,
};

use schema::{
    desc::{FieldDesc, ObjectDesc, Scalar, Type},
    events::EVENTS,
};
use serde_json::Value;

const DIFFERENCES: &str = include_str!("document/differences.txt");

fn document() -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/api/vdsm-api.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no API document beside the repository");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// What the document says of a value.
struct Told<'a> {
    ty: &'a Value,
    /// The document's word for what a string holds.
    parsed_as: Option<&'a str>,
}

/// A walk over both.
struct Walk<'a> {
    types: &'a Value,
    /// Parameters or results? Only of parameters it matters whether a key must be there.
    given: bool,
    found: BTreeSet<String>,
    seen: HashSet<(&'static str, String, bool)>,
}

impl<'a> Walk<'a> {
    fn new(document: &'a Value) -> Self {
        Self {
            types: &document["types"],
            given: true,
            found: BTreeSet::new(),
            seen: HashSet::new(),
        }
    }

    fn differs(&mut self, place: &str, how: &str) {
        self.found.insert(format!("{place}: {how}"));
    }

    fn ty(&mut self, place: &str, ours: &'static Type, told: &Told<'a>) {
        let ours = ours.inner();
        if let Some(item) = told.ty.get("list") {
            let item = Told {
                ty: item,
                parsed_as: None,
            };
            return match ours {
                Type::List(inner) => self.ty(&format!("{place}[]"), inner, &item),
                other => self.differs(place, &format!("{other} for a list of {}", item.ty)),
            };
        }
        let name = told.ty.as_str().unwrap_or("dict");
        let told_type = &self.types[name];
        match (told_type["kind"].as_str(), ours) {
            (Some("alias"), _) if name != "UUID" => {
                let aliased = Told {
                    ty: &told_type["of"],
                    parsed_as: None,
                };
                self.ty(place, ours, &aliased);
            }
            (Some("map"), Type::Map { value, .. }) => {
                let each = Told {
                    ty: &told_type["value"],
                    parsed_as: None,
                };
                self.ty(&format!("{place}.*"), value, &each);
            }
            (Some("object"), Type::Object(desc)) => self.object(name, told_type, desc),
            (Some("object"), Type::Union(variants)) => self.one_of_ours(name, told_type, variants),
            (Some("union"), _) => self.union(place, name, told_type, ours),
            (Some("enum"), Type::Enum(desc)) => {
                let ours: Vec<&str> = desc.values.iter().map(|value| value.name).collect();
                self.names(name, &ours, &told_type["values"]);
            }
            (None | Some("alias"), _) if scalar(ours, name, told.parsed_as) => {}
            _ => {
                let parsed = told
                    .parsed_as
                    .map(|it| format!(" ({it})"))
                    .unwrap_or_default();
                self.differs(place, &format!("{} for {name}{parsed}", word(ours)));
            }
        }
    }

    fn object(&mut self, name: &str, told: &'a Value, desc: &'static ObjectDesc) {
        if !self.seen.insert((desc.name, name.to_owned(), self.given)) {
            return;
        }
        let properties = told["properties"].as_array().unwrap();
        for property in properties {
            let key = property["name"].as_str().unwrap();
            let place = format!("{name}.{key}");
            match desc.field(key) {
                None => self.differs(&place, "not here"),
                Some(field) => {
                    self.ty(&place, field.ty, &told_of(property));
                    self.need(&place, field, property);
                }
            }
        }
        for field in desc.fields {
            if !properties.iter().any(|told| told["name"] == field.name) {
                self.differs(&format!("{name}.{}", field.name), "not in the document");
            }
        }
    }

    /// The document has one object where we have several: each of its keys is in one of them.
    fn one_of_ours(&mut self, name: &str, told: &'a Value, variants: &'static [&'static Type]) {
        match variants.iter().find_map(|variant| match variant.inner() {
            Type::Object(desc) => Some(desc),
            _ => None,
        }) {
            Some(desc) => self.object(name, told, desc),
            None => self.differs(name, "no object among ours"),
        }
    }

    /// Of a union each variant is compared with the one of ours that has most keys of it.
    fn union(&mut self, place: &str, name: &str, told: &'a Value, ours: &'static Type) {
        let variants = told["variants"].as_array().unwrap();
        let candidates: Vec<&'static ObjectDesc> = match ours {
            Type::Object(desc) => vec![desc],
            Type::Union(parts) => parts
                .iter()
                .filter_map(|part| match part.inner() {
                    Type::Object(desc) => Some(*desc),
                    _ => None,
                })
                .collect(),
            other => return self.differs(place, &format!("{} for {name}", word(other))),
        };
        for variant in variants {
            let variant = variant.as_str().unwrap();
            let told = &self.types[variant];
            let parts = match ours {
                Type::Union(parts) => *parts,
                _ => &[],
            };
            if parts.iter().any(|part| scalar(part.inner(), variant, None)) {
                continue;
            }
            let Some(properties) = told["properties"].as_array() else {
                self.differs(&format!("{name}|{variant}"), "not here");
                continue;
            };
            let alike = |desc: &&'static ObjectDesc| {
                properties
                    .iter()
                    .filter(|told| desc.field(told["name"].as_str().unwrap()).is_some())
                    .count()
            };
            match candidates.iter().copied().max_by_key(alike) {
                Some(desc) if alike(&desc) > 0 => {
                    if candidates.len() == variants.len() {
                        self.object(variant, told, desc);
                    } else {
                        self.part(variant, told, desc);
                    }
                }
                _ => self.differs(&format!("{name}|{variant}"), "not here"),
            }
        }
    }

    /// Several objects of the document are one of ours: ours has more keys, and may need fewer.
    fn part(&mut self, name: &str, told: &'a Value, desc: &'static ObjectDesc) {
        if !self.seen.insert((desc.name, name.to_owned(), self.given)) {
            return;
        }
        for property in told["properties"].as_array().unwrap() {
            let key = property["name"].as_str().unwrap();
            let place = format!("{name}.{key}");
            match desc.field(key) {
                None => self.differs(&place, "not here"),
                Some(field) => self.ty(&place, field.ty, &told_of(property)),
            }
        }
    }

    fn names(&mut self, name: &str, ours: &[&str], told: &Value) {
        let told: Vec<String> = told
            .as_array()
            .unwrap()
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .collect();
        for value in &told {
            if !ours.contains(&value.as_str()) {
                self.differs(&format!("{name}={value:?}"), "not here");
            }
        }
        for value in ours {
            if !told.iter().any(|told| told == value) {
                self.differs(&format!("{name}={value:?}"), "not in the document");
            }
        }
    }

    fn need(&mut self, place: &str, field: &FieldDesc, told: &Value) {
        let told_required = told.get("default").is_none();
        if self.given && field.required() != told_required {
            let word = |required| if required { "required" } else { "optional" };
            let how = format!("{} for {}", word(field.required()), word(told_required));
            self.differs(place, &how);
        }
    }

    fn verb(&mut self, verb: &'static schema::VerbDecl, told: &'a Value) {
        self.given = true;
        let params = told["params"].as_array().unwrap();
        let names: Vec<_> = params
            .iter()
            .map(|param| param["name"].as_str().unwrap())
            .collect();
        let ours: Vec<_> = verb.params.fields.iter().map(|field| field.name).collect();
        assert_eq!(ours, names, "{}: names and order", verb.method);
        for (field, param) in verb.params.fields.iter().zip(params) {
            let place = format!("{}({})", verb.method, field.name);
            self.ty(&place, field.ty, &told_of(param));
            self.need(&place, field, param);
            let default = field.default.map(|default| default());
            if told_default(param).is_some_and(|told| default.as_ref() != Some(&told)) {
                let default = default.map_or("none".to_owned(), |value| value.to_string());
                self.differs(
                    &place,
                    &format!("default {default} for {}", param["default"]),
                );
            }
        }
        self.given = false;
        let place = format!("{} answer", verb.method);
        match told.get("returns") {
            None if matches!(verb.result, Type::Done) => {}
            None => self.differs(&place, &format!("{} for nothing", word(verb.result))),
            Some(returns) => {
                let told = Told {
                    ty: returns,
                    parsed_as: None,
                };
                self.ty(&place, verb.result, &told);
            }
        }
    }
}

fn told_of(entry: &Value) -> Told<'_> {
    Told {
        ty: &entry["type"],
        parsed_as: entry["parsed_as"].as_str(),
    }
}

fn told_default(param: &Value) -> Option<Value> {
    match param.get("default") {
        Some(Value::String(text)) if text == "()" => Some(Value::Array(Vec::new())),
        other => other.cloned(),
    }
}

fn word(ours: &Type) -> String {
    match ours {
        Type::Enum(desc) => format!("one of {}", desc.name),
        Type::Union(parts) => parts
            .iter()
            .map(|part| word(part))
            .collect::<Vec<_>>()
            .join(" or "),
        other => other.to_string(),
    }
}

fn scalar(ours: &Type, told: &str, parsed_as: Option<&str>) -> bool {
    match (told, parsed_as) {
        ("boolean", _) => matches!(ours, Type::Bool),
        ("int" | "uint" | "long" | "ulong", _) => matches!(ours, Type::Integer { .. }),
        ("float", _) => matches!(ours, Type::Float),
        ("UUID", _) => matches!(ours, Type::Uuid),
        ("dict" | "map", _) => matches!(ours, Type::Dict),
        ("string", None) => matches!(ours, Type::Str | Type::Secret | Type::DomainXml),
        ("string", Some("int" | "uint" | "long")) => {
            matches!(ours, Type::Text(Scalar::Integer { .. }))
        }
        ("string", Some("float")) => matches!(ours, Type::Text(Scalar::Float)),
        ("string", Some("boolean")) => matches!(ours, Type::Text(Scalar::Bool)),
        _ => false,
    }
}

/// The differences that are known, each under its reason.
fn known() -> BTreeMap<&'static str, &'static str> {
    let mut reason = "";
    let mut known = BTreeMap::new();
    for line in DIFFERENCES.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("# ") {
            reason = text;
        } else if !line.is_empty() {
            assert!(!reason.is_empty(), "{line}: no reason");
            assert!(known.insert(line, reason).is_none(), "{line}: twice");
        }
    }
    known
}

fn differences(document: &Value) -> BTreeSet<String> {
    let mut walk = Walk::new(document);
    for verb in schema::verbs() {
        match document["methods"].get(verb.method) {
            Some(told) => walk.verb(verb, told),
            None => walk.differs(verb.method, "not in the document"),
        }
    }
    for method in document["methods"].as_object().unwrap().keys() {
        if schema::find(method).is_none() {
            walk.differs(method, "not here");
        }
    }
    walk.given = false;
    for (prefix, told) in document["events"].as_object().unwrap() {
        let Some(event) = EVENTS.iter().find(|event| event.prefix == prefix) else {
            walk.differs(prefix, "not here");
            continue;
        };
        for param in told["params"].as_array().unwrap() {
            let name = param["name"].as_str().unwrap();
            match (name, event.params) {
                ("notify_time", _) => {}
                ("no_name", whole) => walk.ty(prefix, whole, &told_of(param)),
                (name, Type::Object(desc)) if desc.field(name).is_some() => {
                    let field = desc.field(name).unwrap();
                    walk.ty(&format!("{prefix}({name})"), field.ty, &told_of(param));
                }
                (name, _) => walk.differs(&format!("{prefix}({name})"), "not here"),
            }
        }
    }
    walk.found
}

#[test]
fn declarations_are_those_of_the_document_but_for_the_list() {
    let Some(document) = document() else { return };
    let found = differences(&document);
    let known = known();
    let new: Vec<_> = found
        .iter()
        .filter(|it| !known.contains_key(it.as_str()))
        .collect();
    let gone: Vec<_> = known.keys().filter(|it| !found.contains(**it)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not in the list: {new:#?}\nno longer so: {gone:#?}"
    );
    assert!(document["methods"].as_object().unwrap().len() >= 205);
}

#[test]
fn the_comparison_sees_what_is_wrong() {
    let Some(mut document) = document() else {
        return;
    };
    document["methods"]["Host.new"] = serde_json::json!({"params": []});
    document["methods"]["Host.setLogLevel"]["params"][1]["default"] = "x".into();
    document["methods"]["VM.pause"]["params"][0]["type"] = "int".into();
    document["types"]["SubchainInfo"]["properties"][0]["name"] = "sd".into();
    document["types"]["VolumeFormat"]["values"][0] = "COWS".into();
    document["events"]["|new|"] = serde_json::json!({"params": []});
    let found = differences(&document);
    for difference in [
        "Host.new: not here",
        "Host.setLogLevel(name): default \"\" for \"x\"",
        "VM.pause(vmID): UUID for int",
        "SubchainInfo.sd: not here",
        "SubchainInfo.sd_id: not in the document",
        "VolumeFormat=\"COWS\": not here",
        "VolumeFormat=\"COW\": not in the document",
        "|new|: not here",
    ] {
        assert!(found.contains(difference), "{difference}");
    }
}
