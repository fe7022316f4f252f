//! The declared results against what oVirt Engine's parser reads, where the list of it lies beside the repository:
//! every key that Engine reads has a type that Engine understands, or is known to be left out.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use std::path::PathBuf;

use schema::{
    desc::{Scalar, Type},
    engine::{Item, Reading},
    find,
};
use serde_json::{Map, Value};

/// Keys that Engine can read and we never tell; it does without. By the end of the path.
const NEVER_TOLD: &[&str] = &[
    // containers in guests: an agent of the past
    "guestContainers",
    // replaced by displayInfo long ago
    "displayIp",
    "displayPort",
    "displaySecurePort",
    "displayType",
    // not told by upstream either
    "build_name",
    "packages",
    "openstack_binding_host_ids",
    "imagesLastCheck",
    "imagesLastDelay",
    // a key of this name would be taken for the call's status
    "status",
    // leases with metadata belong to jobs of storage, which are not declared yet
    "metadata",
    // size in blocks, of old formats
    "size",
    // a VLAN has no aggregator
    "vlans.*.ad_aggregator_id",
    "bridges.<networks.*.iface>",
];

/// Verbs whose answers are figures of a VM by Engine's reading, and the VM in short by ours and upstream's.
const SHORT_ANSWERS: &[&str] = &["VM.create", "VM.cont"];

fn reads() -> Option<Map<String, Value>> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/api/engine-reads.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no list of what Engine reads beside the repository");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// The type at a path such as `[].disks.*.readOps`.
fn resolve(ty: &'static Type, path: &str) -> Option<&'static Type> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() || path == "(result)" {
        return Some(ty);
    }
    match ty {
        Type::Optional(inner) => resolve(inner, path),
        Type::Union(variants) => variants.iter().find_map(|variant| resolve(variant, path)),
        Type::List(item) => resolve(item, path.strip_prefix("[]")?),
        // `*`, or the name of one of the keys
        Type::Map { value, .. } => {
            resolve(value, path.split_once('.').map_or("", |(_, rest)| rest))
        }
        // names may hold dots
        Type::Object(desc) => desc.fields.iter().find_map(|field| {
            let rest = path.strip_prefix(field.name)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then(|| resolve(field.ty, rest))?
        }),
        _ => None,
    }
}

/// Does Engine's parser understand what we write?
fn understood(java: &str, ty: &Type) -> bool {
    let ty = ty.inner();
    let text = matches!(
        ty,
        Type::Str | Type::Text(_) | Type::Uuid | Type::Enum(_) | Type::DomainXml | Type::Secret
    );
    let integer = matches!(ty, Type::Integer { .. });
    if let Type::Union(variants) = ty {
        return variants.iter().any(|variant| understood(java, variant));
    }
    match java {
        java if java.starts_with("any") || java.starts_with("Object (presence") => true,
        java if java.starts_with("String/Integer") => true,
        java if java.starts_with("Integer, else cast to String") => integer || text,
        java if java.starts_with("Integer/Long, or String") => integer || text,
        java if java.starts_with("Double cast") => matches!(ty, Type::Float),
        java if java.starts_with("Double, or String") => text || matches!(ty, Type::Float),
        java if java.starts_with("Boolean, else toString()") => text || matches!(ty, Type::Bool),
        java if java.starts_with("Boolean") => matches!(ty, Type::Bool),
        java if java.starts_with("Integer") || java.starts_with("Number") => integer,
        java if java.starts_with("String") => text,
        java if java.starts_with("Object[]") => matches!(ty, Type::List(_)),
        java if java.starts_with("Map") => {
            matches!(ty, Type::Map { .. } | Type::Object(_) | Type::Dict)
        }
        other => panic!("unknown kind of reading: {other}"),
    }
}

fn names(known: &str, path: &str) -> bool {
    path == known
        || path.ends_with(&format!(".{known}"))
        || path.contains(&format!("{known}."))
        || path.contains(&format!("{known}["))
}

fn never_told(path: &str) -> bool {
    NEVER_TOLD.iter().any(|known| names(known, path))
}

#[test]
fn what_is_never_told_is_not_told() {
    let Some(reads) = reads() else { return };
    let untold: Vec<&String> = reads
        .iter()
        .filter_map(|(method, keys)| Some((find(method)?, keys.as_object().unwrap())))
        .flat_map(|(verb, keys)| {
            keys.keys()
                .filter(|path| resolve(verb.result, path).is_none())
        })
        .collect();
    for known in NEVER_TOLD {
        assert!(
            untold.iter().any(|path| names(known, path)),
            "{known} is told, or not read"
        );
    }
}

#[test]
fn engine_understands_every_key_that_it_reads() {
    let Some(reads) = reads() else { return };
    let mut problems = Vec::new();
    let mut compared = 0;
    for (method, keys) in &reads {
        let Some(verb) = find(method) else { continue };
        for (path, reading) in keys.as_object().unwrap() {
            let java = reading["java_type"].as_str().unwrap();
            match resolve(verb.result, path) {
                Some(ty) if understood(java, ty) => compared += 1,
                Some(ty) => problems.push(format!(
                    "{method} {path}: Engine reads {java}, we write {ty}"
                )),
                None if SHORT_ANSWERS.contains(&method.as_str()) || never_told(path) => {}
                None => problems.push(format!(
                    "{method} {path}: Engine reads {java}, we have no such key"
                )),
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(compared > 250, "{compared} keys compared");
}

#[test]
fn what_engine_insists_on_is_never_left_out() {
    let Some(reads) = reads() else { return };
    for (method, keys) in &reads {
        let Some(verb) = find(method) else { continue };
        for (path, reading) in keys.as_object().unwrap() {
            let parent_is_optional = path.contains('*') || path.contains("[]") || never_told(path);
            if reading["required"] == Value::Bool(true) && !parent_is_optional {
                let ty = resolve(verb.result, path).unwrap();
                assert!(!matches!(ty, Type::Optional(_)), "{method} {path}");
            }
        }
    }
}

#[test]
fn events_are_understood() {
    let Some(reads) = reads() else { return };
    let keys = reads["|virt|VM_status|<vmId> (event params)"]
        .as_object()
        .unwrap();
    for (path, reading) in keys
        .iter()
        .filter(|(path, _)| *path != "notify_time" && !never_told(path))
    {
        let java = reading["java_type"].as_str().unwrap();
        let ty =
            resolve(schema::events::VM_STATUS.params, path).unwrap_or_else(|| panic!("{path}"));
        assert!(
            understood(java, ty),
            "{path}: Engine reads {java}, we write {ty}"
        );
    }
}

#[test]
fn the_comparison_itself_sees_wrong_types() {
    use schema::{Str, desc::Wire};
    assert!(!understood(
        "String parsed as Long ONLY (a JSON number is ignored)",
        u64::TYPE
    ));
    assert!(understood(
        "String parsed as Long ONLY (a JSON number is ignored)",
        <Str<u64>>::TYPE
    ));
    assert!(!understood(
        "Double, or String parsed as Double; anything else -> null",
        u64::TYPE
    ));
    assert!(!understood("Integer cast", <Str<u64>>::TYPE));
    assert!(!understood("Boolean cast", <Str<bool>>::TYPE));
    assert!(resolve(<Vec<u64>>::TYPE, "[].x").is_none());
}

/// The word of our list for a kind of reading.
fn word(java: &str) -> Reading {
    let long = Scalar::Integer {
        min: i64::MIN.into(),
        max: i64::MAX.into(),
    };
    let starts = |beginnings: &[&str]| beginnings.iter().any(|it| java.starts_with(it));
    match java {
        "Map {code: Integer cast, message}" => Reading::Never,
        "Object[] of String (or of Map)" => Reading::List(Item::Any),
        _ if java.contains("read as the STATUS") => Reading::Status,
        _ if starts(&[
            "any (toString()), parsed as Long",
            "any (toString()), parsed as Integer",
        ]) =>
        {
            Reading::AnyScalar(long)
        }
        _ if starts(&["any (toString()), parsed as Double"]) => Reading::AnyScalar(Scalar::Float),
        _ if starts(&["any", "Object (presence", "String/Integer/Long"]) => Reading::Any,
        _ if starts(&["Integer, else cast to String", "String/Integer"]) => {
            Reading::IntegerOrText { bits: 32 }
        }
        _ if starts(&["Integer/Long, or String"]) => Reading::IntegerOrText { bits: 64 },
        _ if starts(&["Integer/Long/Double", "Number"]) => Reading::Integer { bits: 64 },
        _ if starts(&["Integer"]) => Reading::Integer { bits: 32 },
        _ if starts(&["Double, or String"]) => Reading::FloatOrText,
        _ if starts(&["Double"]) => Reading::Float,
        _ if starts(&["Boolean, else"]) => Reading::BooleanOrText,
        _ if starts(&["Boolean"]) => Reading::Boolean,
        _ if starts(&["Object[] cast, each element Integer"]) => Reading::List(Item::Integer),
        _ if starts(&["Object[] of Map"]) => Reading::List(Item::Map),
        _ if starts(&["Object[] of String"]) => Reading::List(Item::Text),
        _ if starts(&["Object[]"]) => Reading::List(Item::Any),
        _ if starts(&["Map"]) => Reading::Map,
        _ if java.contains("parsed as Long") => Reading::TextOf(long),
        _ if java.contains("parsed as Double") => Reading::TextOf(Scalar::Float),
        _ if java.contains("parsed as Boolean") => Reading::TextOf(Scalar::Bool),
        _ => Reading::Text,
    }
}

/// A path of the list as our rules write it.
fn slashed(path: &str) -> String {
    if path == "(result)" {
        return ".".to_owned();
    }
    let path = path
        .replace("vm.free_hugepages", "vm%free_hugepages")
        .replace("<networks.*.iface>", "*")
        .replace("<node index>", "*")
        .replace("[]", "/[]")
        .replace('.', "/")
        .replace('%', ".")
        .replace("//", "/");
    path.trim_start_matches('/').to_owned()
}

#[test]
fn our_own_rules_are_those_of_the_list() {
    let Some(reads) = reads() else { return };
    let mut compared = 0;
    for (method, keys) in reads.iter().filter(|(method, _)| !method.starts_with('(')) {
        let verb = method.split('<').next().unwrap();
        let told: Vec<(String, Reading, bool)> = keys
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, reading)| {
                let required = reading["required"].as_bool().unwrap();
                (
                    slashed(path),
                    word(reading["java_type"].as_str().unwrap()),
                    required,
                )
            })
            .collect();
        let ours = schema::engine::rules(verb);
        assert_eq!(ours.len(), told.len(), "{verb}");
        for (path, reading, required) in told {
            let rule = ours
                .iter()
                .find(|rule| rule.path == path)
                .unwrap_or_else(|| panic!("{verb} {path}: no rule"));
            assert_eq!(
                (rule.reading, rule.required),
                (reading, required),
                "{verb} {path}"
            );
            compared += 1;
        }
    }
    assert!(compared > 800, "{compared} rules compared");
}
