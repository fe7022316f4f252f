//! The API as an OpenRPC document ([`document`]): for tools that generate clients, and for `rpc.discover`.
//!
//! Everything comes from the declarations. Parameters are named; types that have a name are components. What
//! OpenRPC has no word for stands beside it: `x-class` (how long a verb may take), `x-implemented`, `x-secret` (no
//! log may show it), `x-alias` (numbers that mean the same as the names), `x-subject` of events.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    NAMESPACES,
    desc::{EnumDesc, FieldDesc, ObjectDesc, Scalar, Type},
    error::{Code, RpcCode},
    events::{EVENTS, EventDecl},
    verb::{Class, VerbDecl},
};

/// The method that answers this document.
pub const METHOD: &str = "rpc.discover";

/// The version of OpenRPC in which the document is written.
pub const VERSION: &str = "1.3.2";

/// The document. It is built anew by each call (tens of milliseconds at most): who needs it often keeps it.
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let methods: Vec<Value> = NAMESPACES
        .iter()
        .flat_map(|namespace| namespace.verbs.iter())
        .map(|verb| method(verb, &mut schemas))
        .collect();
    let events: Vec<Value> = EVENTS
        .iter()
        .map(|event| described_event(event, &mut schemas))
        .collect();
    json!({
        "openrpc": VERSION,
        "info": {
            "title": "VDSM",
            "description": "The host agent of oVirt: JSON-RPC 2.0 in STOMP 1.2 frames.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0"},
        },
        "methods": methods,
        "components": {"schemas": schemas.done, "errors": errors()},
        "x-events": events,
    })
}

fn method(verb: &VerbDecl, schemas: &mut Schemas) -> Value {
    let params: Vec<Value> = verb
        .params
        .fields
        .iter()
        .map(|field| parameter(field, schemas))
        .collect();
    let mut method = json!({
        "name": verb.method,
        "summary": verb.summary(),
        "description": flat(verb.doc),
        "tags": [{"name": verb.namespace}],
        "paramStructure": "by-name",
        "params": params,
        "result": {"name": "result", "required": true, "schema": schemas.of(verb.result)},
        "x-class": class(verb.class),
        "x-implemented": verb.implemented,
    });
    if !verb.implemented
        && let Some(object) = method.as_object_mut()
    {
        let error = format!("#/components/errors/{:?}", RpcCode::NotImplemented);
        object.insert("errors".to_owned(), json!([{ "$ref": error }]));
    }
    method
}

fn parameter(field: &FieldDesc, schemas: &mut Schemas) -> Value {
    let mut schema = schemas.of(field.ty);
    if let Some(default) = field.default.map(|default| default())
        && !default.is_null()
    {
        schema = with_default(schema, default);
    }
    let mut parameter = json!({
        "name": field.name,
        "description": flat(field.doc),
        "required": field.required(),
        "schema": schema,
    });
    if field.secret()
        && let Some(object) = parameter.as_object_mut()
    {
        object.insert("x-secret".to_owned(), Value::Bool(true));
    }
    parameter
}

/// Beside a reference other words are not read (JSON Schema, draft 7): a reference gets a shell.
fn with_default(schema: Value, default: Value) -> Value {
    match schema {
        Value::Object(mut object) if !object.contains_key("$ref") => {
            object.insert("default".to_owned(), default);
            Value::Object(object)
        }
        other => json!({"allOf": [other], "default": default}),
    }
}

fn described_event(event: &EventDecl, schemas: &mut Schemas) -> Value {
    json!({
        "name": event.prefix,
        "description": flat(event.doc),
        "x-subject": "the name goes on with the id of its subject",
        "params": schemas.of(event.params),
    })
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Inline => "inline",
        Class::Query => "query",
        Class::Storage => "storage",
        Class::Virt => "virt",
        Class::Host => "host",
        Class::Network => "network",
    }
}

/// All errors by name.
fn errors() -> Value {
    let of_rpc = RpcCode::ALL
        .iter()
        .map(|code| (format!("{code:?}"), code.number(), code.text()));
    let of_vdsm = Code::ALL
        .iter()
        .map(|code| (code.name().to_owned(), code.number(), code.text()));
    let errors = of_rpc
        .chain(of_vdsm)
        .map(|(name, code, message)| (name, json!({"code": code, "message": message})));
    Value::Object(errors.collect())
}

/// The types that have a name, each described once.
#[derive(Default)]
struct Schemas {
    done: BTreeMap<&'static str, Value>,
}

impl Schemas {
    /// A type where it is used.
    fn of(&mut self, ty: &'static Type) -> Value {
        match ty {
            Type::Any => json!({}),
            Type::Dict => json!({"type": "object"}),
            Type::Done => json!({"type": "boolean", "const": true}),
            Type::Bool => json!({"type": "boolean"}),
            Type::Integer { min, max } => integer(*min, *max),
            Type::Float => json!({"type": "number"}),
            Type::Str => json!({"type": "string"}),
            Type::Secret => json!({"type": "string", "x-secret": true}),
            Type::SecretJson => json!({"x-secret": true}),
            Type::DomainXml => {
                json!({"type": "string", "contentMediaType": "application/xml", "x-secret": true})
            }
            Type::Uuid => json!({"type": "string", "format": "uuid"}),
            Type::Text(scalar) => text(*scalar),
            Type::Enum(desc) => self.named(desc.name, |_| enumeration(desc)),
            Type::Optional(inner) => self.of(inner),
            Type::List(item) => json!({"type": "array", "items": self.of(item)}),
            Type::Map { key, value } => json!({
                "type": "object",
                "propertyNames": self.of(key),
                "additionalProperties": self.of(value),
            }),
            Type::Object(desc) => self.named(desc.name, |schemas| schemas.object(desc)),
            Type::Union(variants) => {
                let variants: Vec<Value> =
                    variants.iter().map(|variant| self.of(variant)).collect();
                json!({ "anyOf": variants })
            }
        }
    }

    fn named(&mut self, name: &'static str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.done.contains_key(name) {
            // A place first: a type that holds itself refers to it.
            self.done.insert(name, Value::Null);
            let made = make(self);
            self.done.insert(name, made);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn object(&mut self, desc: &'static ObjectDesc) -> Value {
        let mut properties = Map::new();
        for field in desc.fields {
            let property = described(self.of(field.ty), field.doc);
            properties.insert(field.name.to_owned(), property);
        }
        let required: Vec<&str> = desc
            .fields
            .iter()
            .filter(|field| field.required())
            .map(|field| field.name)
            .collect();
        let mut object = json!({
            "type": "object",
            "description": flat(desc.doc),
            "properties": properties,
        });
        if !required.is_empty()
            && let Some(object) = object.as_object_mut()
        {
            object.insert("required".to_owned(), json!(required));
        }
        object
    }
}

fn described(schema: Value, doc: &str) -> Value {
    match schema {
        Value::Object(mut object) if !object.contains_key("$ref") => {
            object.insert("description".to_owned(), Value::String(flat(doc)));
            Value::Object(object)
        }
        other => json!({"allOf": [other], "description": flat(doc)}),
    }
}

/// JSON has no numbers beyond 64 bits, and no bound is worth a word there.
fn integer(min: i128, max: i128) -> Value {
    let mut schema = json!({"type": "integer"});
    if let Some(object) = schema.as_object_mut() {
        if let Ok(min) = i32::try_from(min) {
            object.insert("minimum".to_owned(), json!(min));
        }
        if let Ok(max) = u32::try_from(max) {
            object.insert("maximum".to_owned(), json!(max));
        }
    }
    schema
}

fn text(scalar: Scalar) -> Value {
    let pattern = match scalar {
        Scalar::Integer { min: 0, .. } => "^[0-9]+$",
        Scalar::Integer { .. } => "^-?[0-9]+$",
        Scalar::Float => "^-?[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?$",
        Scalar::Bool => "^([Tt]rue|[Ff]alse)$",
    };
    json!({"type": "string", "pattern": pattern})
}

fn enumeration(desc: &EnumDesc) -> Value {
    let names: Vec<&str> = desc.values.iter().map(|value| value.name).collect();
    let aliases: Map<String, Value> = desc
        .values
        .iter()
        .filter_map(|value| Some((value.name.to_owned(), json!(value.code?))))
        .collect();
    let mut schema = json!({
        "type": "string",
        "description": flat(desc.doc),
        "enum": names,
    });
    if !aliases.is_empty()
        && let Some(object) = schema.as_object_mut()
    {
        object.insert("x-alias".to_owned(), Value::Object(aliases));
    }
    schema
}

/// Documentation as one line.
fn flat(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
