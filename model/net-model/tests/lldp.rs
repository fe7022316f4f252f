//! Whole frames, as lldpad 1.1 heard and printed them, against what upstream tells of them: `tests/lldp/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot read its files ends"
)]

use std::{collections::BTreeSet, fs, path::Path};

use net_model::lldp::{self, Tlv};
use serde_json::{Map, Value, json};

/// As `Host.getLldp` has it.
fn told(tlv: &Tlv) -> Value {
    let mut all = Map::from_iter([
        ("type".to_owned(), json!(tlv.kind)),
        ("name".to_owned(), json!(tlv.name)),
        ("properties".to_owned(), json!(tlv.properties)),
    ]);
    for (name, value) in [("oui", tlv.oui), ("subtype", tlv.subtype.map(u32::from))] {
        all.extend(value.map(|it| (name.to_owned(), json!(it))));
    }
    Value::Object(all)
}

#[test]
fn frames_are_told_as_upstream_tells_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lldp");
    let names: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|it| it.unwrap().file_name().into_string().ok())
        .filter_map(|it| it.strip_suffix(".text").map(str::to_owned))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let file = |kind: &str| fs::read(folder.join(format!("{name}.{kind}"))).unwrap();
        let text = String::from_utf8_lossy(&file("text")).into_owned();
        let expected: Vec<Value> = serde_json::from_slice(&file("json")).unwrap();
        let seen: Vec<Value> = lldp::parse(&text).iter().map(told).collect();
        assert_eq!(seen, expected, "{name}");
    }
}
