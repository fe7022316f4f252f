//! The declarations against upstream's API document, where a copy of it lies beside the repository.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use std::path::PathBuf;

use schema::desc::{FieldDesc, Scalar, Type};
use serde_json::Value;

/// Parameters that we do not insist on, although the document has no default for them.
const RELAXED: &[(&str, &str)] = &[
    ("StoragePool.create", "lockRenewalIntervalSec"),
    ("StoragePool.create", "leaseTimeSec"),
    ("StoragePool.create", "ioOpTimeoutSec"),
    ("StoragePool.create", "leaseRetries"),
    // upstream's own code has defaults for these
    ("StorageDomain.getVolumes", "storagepoolID"),
    ("StorageDomain.getVolumes", "imageID"),
];

fn document() -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/api/vdsm-api.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no API document beside the repository");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn verbs_parameters_and_defaults_are_those_of_the_document() {
    let Some(document) = document() else { return };
    for verb in schema::verbs() {
        let entry = &document["methods"][verb.method];
        assert!(entry.is_object(), "{} is not in the document", verb.method);
        let told = entry["params"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> = told
            .iter()
            .map(|param| param["name"].as_str().unwrap())
            .collect();
        let ours: Vec<_> = verb.params.fields.iter().map(|field| field.name).collect();
        assert_eq!(ours, names, "{}", verb.method);
        for (field, param) in verb.params.fields.iter().zip(&told) {
            let place = format!("{} {}", verb.method, field.name);
            if !RELAXED.contains(&(verb.method, field.name)) {
                assert_eq!(default_of(field), told_default(param), "{place}");
            }
            assert!(
                alike(field.ty, &param["type"], &document),
                "{place}: {} for {}",
                field.ty,
                param["type"]
            );
        }
        assert!(
            result_alike(verb.result, &entry["returns"]),
            "{}: {}",
            verb.method,
            entry["returns"]
        );
    }
}

fn default_of(field: &FieldDesc) -> Option<Value> {
    field.default.map(|default| default())
}

fn told_default(param: &Value) -> Option<Value> {
    match param.get("default") {
        Some(Value::String(text)) if text == "()" => Some(Value::Array(Vec::new())),
        other => other.cloned(),
    }
}

/// Same kind of type? Strings may be typed closer, and unions be one of their parts.
fn alike(ours: &Type, told: &Value, document: &Value) -> bool {
    let ours = ours.inner();
    if let Some(item) = told.get("list") {
        return matches!(ours, Type::List(inner) if alike(inner, item, document));
    }
    let name = told.as_str().unwrap_or_default();
    match name {
        "boolean" => matches!(ours, Type::Bool),
        "int" | "uint" | "long" => {
            matches!(
                ours,
                Type::Integer { .. } | Type::Text(Scalar::Integer { .. })
            )
        }
        "string" => matches!(
            ours,
            Type::Str | Type::Text(_) | Type::Secret | Type::DomainXml
        ),
        "UUID" => matches!(ours, Type::Uuid),
        _ => match document["types"][name]["kind"].as_str() {
            Some("enum") => matches!(ours, Type::Enum(_)),
            Some("map") => matches!(ours, Type::Map { .. }),
            Some("object") => matches!(ours, Type::Object(_)),
            Some("union") => matches!(ours, Type::Object(_) | Type::Union(_)),
            _ => false,
        },
    }
}

fn result_alike(ours: &Type, told: &Value) -> bool {
    match told {
        Value::Null => matches!(ours, Type::Done),
        // The document says a list of maps; the agent answers one map, and Engine reads one.
        Value::Object(list) if list.get("list") == Some(&Value::from("StringMap")) => {
            matches!(ours, Type::Map { .. })
        }
        Value::Object(_) => matches!(ours, Type::List(_)),
        Value::String(name) if name == "UUID" => matches!(ours, Type::Uuid),
        // The document leaves short answers of odd cases out.
        _ if let Type::Union([documented, ..]) = ours => result_alike(documented, told),
        _ => matches!(ours, Type::Object(_) | Type::Map { .. } | Type::Str),
    }
}
