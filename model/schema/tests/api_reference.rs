//! `docs/api.md`: the part that lists verbs, events and errors is made from the declarations, and compared here.
//!
//! `VDSM_BLESS=1 cargo test -p schema --test api_reference` writes it anew; what stands above its mark is written by
//! hand and kept.

#![allow(
    clippy::unwrap_used,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use schema::{
    Code, RpcCode, VerbDecl,
    desc::{EnumDesc, FieldDesc, ObjectDesc, Type},
    events::EVENTS,
};
use serde_json::Value;

/// Below this line everything is made.
const MARK: &str =
    "<!-- Below: made from model/schema by tests/api_reference.rs; do not edit. -->\n";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md")
}

#[test]
fn the_reference_page_is_that_of_the_declarations() {
    let text = fs::read_to_string(page()).unwrap();
    let (by_hand, made) = text.split_once(MARK).unwrap();
    let now = reference();
    if std::env::var_os("VDSM_BLESS").is_some() {
        fs::write(page(), format!("{by_hand}{MARK}{now}")).unwrap();
        return;
    }
    assert!(
        made == now,
        "docs/api.md differs from the declarations: run VDSM_BLESS=1 cargo test -p schema --test api_reference"
    );
}

#[test]
fn every_verb_and_every_type_that_it_names_is_there() {
    let text = reference();
    for verb in schema::verbs() {
        assert!(
            text.contains(&format!("\n### {}\n", verb.method)),
            "{}",
            verb.method
        );
    }
    for namespace in schema::NAMESPACES {
        assert!(text.contains(&format!("\n## {}\n", namespace.name)));
    }
    let links = text.split("](#").skip(1);
    for link in links.map(|rest| rest.split(')').next().unwrap()) {
        let found = text
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .any(|heading| anchor(heading) == link);
        assert!(found, "no heading for the link {link}");
    }
}

fn reference() -> String {
    let mut out = index();
    let mut types = Types::default();
    for namespace in schema::NAMESPACES {
        let _ = write!(out, "\n## {}\n\n{}\n", namespace.name, flat(namespace.doc));
        for verb in namespace.verbs {
            verb_section(&mut out, verb, &mut types);
        }
    }
    out.push_str("\n## Events\n\nNotifications on the event queue; each has `notify_time`, ms of the monotonic clock.\n");
    for event in EVENTS {
        types.note(event.params);
        let _ = write!(
            out,
            "\n### `{}<id>`\n\n{}\n\nParameters: {}\n",
            event.prefix,
            flat(event.doc),
            name_of(event.params)
        );
    }
    types.write(&mut out);
    codes(&mut out);
    out
}

/// All verbs in a table, so that nobody has to scroll for what is not there.
fn index() -> String {
    let mut out = format!(
        "\n## Index\n\n{} verbs, {} of them declared and not implemented.\n\n\
         | namespace | implemented | declared, not implemented |\n|---|---|---|\n",
        schema::verbs().count(),
        schema::unimplemented().count()
    );
    for namespace in schema::NAMESPACES {
        let listed = |implemented: bool| {
            let verbs = namespace
                .verbs
                .iter()
                .filter(|verb| verb.implemented == implemented);
            let links = verbs.map(|verb| format!("[{}](#{})", verb.name, anchor(verb.method)));
            links.collect::<Vec<_>>().join(", ")
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            namespace.name,
            listed(true),
            listed(false)
        );
    }
    out
}

/// Where a heading is found.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace('.', "")
}

fn verb_section(out: &mut String, verb: &VerbDecl, types: &mut Types) {
    let class = format!("{:?}", verb.class).to_lowercase();
    let _ = write!(out, "\n### {}\n\n{}\n\n", verb.method, paragraphs(verb.doc));
    types.note(verb.result);
    if !verb.implemented {
        out.push_str("**Declared, not implemented**: answers -32001.\n\n");
    }
    let _ = writeln!(out, "Class: {class}. Answers: {}.", name_of(verb.result));
    if !verb.params.fields.is_empty() {
        fields(out, verb.params, "parameter", types);
    }
}

fn fields(out: &mut String, object: &ObjectDesc, what: &str, types: &mut Types) {
    let _ = write!(
        out,
        "\n| {what} | type | need | meaning |\n|---|---|---|---|\n"
    );
    for field in object.fields {
        types.note(field.ty);
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            field.name,
            name_of(field.ty.inner()),
            need(field),
            flat(field.doc).replace('|', "\\|")
        );
    }
}

fn need(field: &FieldDesc) -> String {
    match field.default.map(|default| default()) {
        _ if field.required() => "required".to_owned(),
        None | Some(Value::Null) => "optional".to_owned(),
        Some(default) => format!("default `{default}`"),
    }
}

/// The name of a type; objects and enumerations are links to their own sections.
fn name_of(ty: &Type) -> String {
    match ty {
        Type::Enum(desc) => link(desc.name),
        Type::Object(desc) => link(desc.name),
        Type::Optional(inner) => format!("{} or nothing", name_of(inner)),
        Type::List(item) => format!("list of {}", name_of(item)),
        Type::Map { key, value } => format!("map of {} to {}", name_of(key), name_of(value)),
        Type::Union(parts) => parts
            .iter()
            .map(|part| name_of(part))
            .collect::<Vec<_>>()
            .join(" or "),
        other => other.to_string(),
    }
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", anchor(name))
}

/// Types that were named, each to be described once, in the order of names.
#[derive(Default)]
struct Types {
    objects: BTreeMap<&'static str, &'static ObjectDesc>,
    enums: BTreeMap<&'static str, &'static EnumDesc>,
}

impl Types {
    fn note(&mut self, ty: &'static Type) {
        match ty {
            Type::Enum(desc) => {
                self.enums.insert(desc.name, desc);
            }
            Type::Object(desc) if self.objects.insert(desc.name, desc).is_none() => {
                for field in desc.fields {
                    self.note(field.ty);
                }
            }
            Type::Optional(inner) | Type::List(inner) => self.note(inner),
            Type::Map { key, value } => {
                self.note(key);
                self.note(value);
            }
            Type::Union(parts) => parts.iter().for_each(|part| self.note(part)),
            _ => {}
        }
    }

    fn write(&mut self, out: &mut String) {
        out.push_str("\n## Objects\n");
        for object in self.objects.clone().into_values() {
            let _ = write!(out, "\n### {}\n\n{}\n", object.name, paragraphs(object.doc));
            fields(out, object, "key", self);
        }
        out.push_str("\n## Enumerations\n\nWhere a number is given, it is understood as well.\n");
        for desc in self.enums.values() {
            let _ = write!(
                out,
                "\n### {}\n\n{}\n\n| value | number | meaning |\n|---|---|---|\n",
                desc.name,
                paragraphs(desc.doc)
            );
            for value in desc.values {
                let code = value.code.map(|code| code.to_string()).unwrap_or_default();
                let _ = writeln!(
                    out,
                    "| `{}` | {code} | {} |",
                    value.name,
                    flat(value.doc).replace('|', "\\|")
                );
            }
        }
    }
}

fn codes(out: &mut String) {
    out.push_str("\n## Error codes\n\nAll codes that exist, also those that no verb here answers yet.\n\n| code | name | text |\n|---|---|---|\n");
    for code in RpcCode::ALL {
        let _ = writeln!(out, "| {} | {code:?} | {} |", code.number(), code.text());
    }
    for code in Code::ALL {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            code.number(),
            code.name(),
            code.text().replace('|', "\\|")
        );
    }
}

/// Documentation as one line.
fn flat(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Documentation with its lines joined to paragraphs.
fn paragraphs(doc: &str) -> String {
    doc.trim()
        .split("\n\n")
        .map(flat)
        .collect::<Vec<_>>()
        .join("\n\n")
}
