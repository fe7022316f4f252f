//! The OpenRPC document: sound by the rules of OpenRPC's meta-schema, and whole.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use std::collections::HashSet;

use schema::{openrpc, verbs};
use serde_json::{Map, Value, json};

/// Keys that an object of the specification may have, beside `x-...`.
fn only(object: &Map<String, Value>, place: &str, known: &[&str]) {
    for key in object.keys() {
        assert!(
            known.contains(&key.as_str()) || key.starts_with("x-"),
            "{place}: {key}"
        );
    }
}

fn object<'a>(value: &'a Value, place: &str) -> &'a Map<String, Value> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("{place} is not an object"))
}

fn text<'a>(object: &'a Map<String, Value>, key: &str, place: &str) -> &'a str {
    object
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{place}: {key} is not a string"))
}

/// A content descriptor: `name` and `schema` are demanded.
fn descriptor(value: &Value, place: &str) {
    let it = object(value, place);
    only(
        it,
        place,
        &[
            "name",
            "summary",
            "description",
            "required",
            "schema",
            "deprecated",
        ],
    );
    assert!(!text(it, "name", place).is_empty(), "{place}");
    assert!(
        it.get("required").is_none_or(Value::is_boolean),
        "{place}: required"
    );
    schema(&it["schema"], place);
}

/// A JSON Schema (draft 7), as far as ours uses words of it.
fn schema(value: &Value, place: &str) {
    let it = object(value, place);
    if let Some(reference) = it.get("$ref") {
        assert_eq!(it.len(), 1, "{place}: words beside a reference are lost");
        let name = reference.as_str().unwrap();
        assert!(name.starts_with("#/components/schemas/"), "{place}: {name}");
        return;
    }
    only(
        it,
        place,
        &[
            "type",
            "description",
            "default",
            "properties",
            "required",
            "items",
            "additionalProperties",
            "propertyNames",
            "anyOf",
            "allOf",
            "enum",
            "const",
            "format",
            "pattern",
            "minimum",
            "maximum",
            "contentMediaType",
        ],
    );
    if let Some(ty) = it.get("type") {
        const TYPES: [&str; 7] = [
            "array", "boolean", "integer", "null", "number", "object", "string",
        ];
        assert!(TYPES.contains(&ty.as_str().unwrap()), "{place}: {ty}");
    }
    for key in ["items", "additionalProperties", "propertyNames"] {
        if let Some(inner) = it.get(key) {
            schema(inner, &format!("{place}.{key}"));
        }
    }
    for key in ["anyOf", "allOf"] {
        if let Some(inner) = it.get(key) {
            let list = inner.as_array().unwrap();
            assert!(!list.is_empty(), "{place}.{key}");
            for (index, inner) in list.iter().enumerate() {
                schema(inner, &format!("{place}.{key}[{index}]"));
            }
        }
    }
    if let Some(properties) = it.get("properties") {
        for (name, property) in object(properties, place) {
            schema(property, &format!("{place}.{name}"));
        }
    }
    if let Some(names) = it.get("enum") {
        let names = names.as_array().unwrap();
        let distinct: HashSet<_> = names.iter().map(Value::to_string).collect();
        assert!(
            !names.is_empty() && distinct.len() == names.len(),
            "{place}"
        );
    }
    if let Some(required) = it.get("required") {
        let properties = object(&it["properties"], place);
        for name in required.as_array().unwrap() {
            assert!(properties.contains_key(name.as_str().unwrap()), "{place}");
        }
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(name)) = map.get("$ref") {
                found.push(name.clone());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_sound() {
    let document = openrpc();
    let top = object(&document, "document");
    only(
        top,
        "document",
        &[
            "openrpc",
            "info",
            "servers",
            "methods",
            "components",
            "externalDocs",
        ],
    );
    assert!(text(top, "openrpc", "document").starts_with("1.3."));
    let info = object(&top["info"], "info");
    only(
        info,
        "info",
        &[
            "title",
            "description",
            "termsOfService",
            "contact",
            "license",
            "version",
        ],
    );
    assert!(!text(info, "title", "info").is_empty() && !text(info, "version", "info").is_empty());
    let components = object(&top["components"], "components");
    only(components, "components", &["schemas", "errors"]);
    for (name, component) in object(&components["schemas"], "schemas") {
        assert!(
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
            "{name}"
        );
        schema(component, name);
    }
    for (name, error) in object(&components["errors"], "errors") {
        let error = object(error, name);
        only(error, name, &["code", "message", "data"]);
        assert!(error["code"].is_i64() && !text(error, "message", name).is_empty());
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_verb_is_a_method() {
    let document = openrpc();
    let methods = document["methods"].as_array().unwrap();
    let names: Vec<_> = methods
        .iter()
        .map(|method| method["name"].as_str().unwrap())
        .collect();
    let ours: Vec<_> = verbs().map(|verb| verb.method).collect();
    assert_eq!(names, ours);
    for (method, verb) in methods.iter().zip(verbs()) {
        let it = object(method, verb.method);
        only(
            it,
            verb.method,
            &[
                "name",
                "tags",
                "summary",
                "description",
                "externalDocs",
                "params",
                "result",
                "deprecated",
                "servers",
                "errors",
                "links",
                "paramStructure",
                "examples",
            ],
        );
        assert_eq!(it["paramStructure"], "by-name");
        descriptor(&it["result"], verb.method);
        let params = it["params"].as_array().unwrap();
        assert_eq!(params.len(), verb.params.fields.len(), "{}", verb.method);
        for (param, field) in params.iter().zip(verb.params.fields) {
            descriptor(param, &format!("{} {}", verb.method, field.name));
            assert_eq!(param["name"], field.name);
            assert_eq!(param["required"], field.required());
            assert_eq!(param.get("x-secret").is_some(), field.secret());
        }
        assert_eq!(it["x-implemented"], verb.implemented);
        assert_eq!(it.contains_key("errors"), !verb.implemented);
    }
}

#[test]
fn passwords_and_defaults_are_marked() {
    let document = openrpc();
    let method = |name: &str| {
        document["methods"]
            .as_array()
            .unwrap()
            .iter()
            .find(|method| method["name"] == name)
            .unwrap()
            .clone()
    };
    let list = method("Host.getVMList");
    assert_eq!(
        list["params"][2]["schema"],
        json!({"type": "boolean", "default": false})
    );
    assert_eq!(list["params"][2]["required"], false);
    let connect = method("StoragePool.connectStorageServer");
    assert_eq!(connect["params"][2]["x-secret"], true);
    let server = &document["components"]["schemas"]["ConnectionParams"];
    assert_eq!(server["properties"]["password"]["x-secret"], true);
    assert_eq!(server["required"], json!(["id"]));
    let formats = &document["components"]["schemas"]["VolumeFormat"];
    assert_eq!(formats["x-alias"], json!({"COW": 4, "RAW": 5}));
}
