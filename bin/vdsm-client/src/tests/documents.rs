//! What the declarations tell: the OpenRPC document, completion, the man page; YAML; words of `@FILE`.

use std::process::{Command, Stdio};

use proptest::{prelude::*, strategy::ValueTree as _};
use serde_json::{Map, Value, json};

use super::{World, ran};

#[test]
fn the_schema_is_printed_whole_or_in_part() {
    let whole = ran(&["--schema"], "");
    assert_eq!((whole.code, whole.errors.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&whole.output).unwrap();
    assert_eq!(document, schema::openrpc());
    let verb = ran(&["--schema", "Host.ping2"], "");
    let verb: Value = serde_json::from_str(&verb.output).unwrap();
    assert_eq!(verb["name"], "Host.ping2");
    let space = ran(&["--schema", "Task"], "");
    let space: Value = serde_json::from_str(&space.output).unwrap();
    let names: Vec<_> = space
        .as_array()
        .unwrap()
        .iter()
        .map(|verb| verb["name"].clone())
        .collect();
    assert!(names.contains(&json!("Task.getStatus")), "{names:?}");
    let none = ran(&["--schema", "Host.nothing"], "");
    assert_eq!(none.code, 2);
    assert!(none.errors.contains("Host.nothing"), "{}", none.errors);
}

#[test]
fn verbs_that_are_still_to_come_are_listed() {
    let expected: Vec<&str> = schema::unimplemented().map(|verb| verb.method).collect();
    let listed = ran(&["--unimplemented"], "");
    assert_eq!(listed.code, 0);
    assert_eq!(listed.output.lines().collect::<Vec<_>>(), expected);
    let listed = ran(&["--unimplemented", "-o", "json"], "");
    let listed: Value = serde_json::from_str(&listed.output).unwrap();
    assert_eq!(listed, json!(expected));
}

#[test]
fn a_verb_without_a_dry_run_says_so() {
    let ran = ran(&["--dry-run", "Host", "ping2"], "");
    assert_eq!((ran.code, ran.output.as_str()), (2, ""));
    assert!(
        ran.errors.contains("Host.ping2 has no dry run"),
        "{}",
        ran.errors
    );
}

#[test]
fn a_dry_run_prints_its_plan() {
    let world = World::new();
    let request = r#"{"networks": {"n": {"nic": "eth0"}}, "bondings": {}, "options": {}}"#;
    let run = |more: &[&str]| {
        let words = [more, &["--dry-run", "-f", "-", "Host", "setupNetworks"]].concat();
        let ran = world.run_with(&words, request);
        assert_eq!(ran.code, 0, "{}", ran.errors);
        ran.output
    };
    assert_eq!(run(&[]), "links n:\n  + bridge n\\u{1b}\n");
    let told: Value = serde_json::from_str(&run(&["-o", "json"])).unwrap();
    assert_eq!(told["steps"], json!([]));
}

#[test]
fn completion_scripts_and_the_man_page() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ran(&["completion", shell], "");
        assert_eq!(script.code, 0);
        assert!(
            script.output.contains(&format!("complete {shell}")),
            "{shell}"
        );
    }
    let man = ran(&["man"], "");
    assert_eq!(man.code, 0, "{}", man.errors);
    assert!(man.output.contains(".TH vdsm-client 1"), "{}", man.output);
    for verb in schema::verbs() {
        let usage = format!("{} {}", verb.namespace, verb.name);
        assert!(man.output.contains(&usage), "{}", verb.method);
    }
}

#[test]
fn secrets_and_json_come_from_files() {
    let world = World::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"xml\": \"<domain/>\"}\n").unwrap();
    let from_file = format!("vmParams=@{}", file.path().display());
    let got = world.answer(&["VM", "create", "vmID=v", &from_file])["got"].clone();
    assert_eq!(got["vmParams"], json!({"xml": "<domain/>"}));
    let ran = world.run_with(
        &["VM", "create", "vmID=v", "vmParams=@-"],
        "{\"xml\": \"<a/>\"}",
    );
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let missing = world.run(&["VM", "create", "vmID=v", "vmParams=@/no/such/file"]);
    assert_eq!(missing.code, 2);
    assert!(
        missing.errors.contains("/no/such/file"),
        "{}",
        missing.errors
    );
    // A text of its own may begin so.
    assert_eq!(
        world.answer(&["Host", "echo", "message=@home"])["got"],
        json!({"message": "@home"})
    );
}

#[test]
fn upstreams_options_are_taken() {
    let world = World::new();
    let answer = world.answer(&["--gluster-enabled", "--time", "5", "Host", "ping2"]);
    assert_eq!(answer["method"], "Host.ping2");
}

#[test]
fn yaml_reads_as_the_json_does() {
    let world = World::new();
    let shown = world.run(&["-o", "yaml", "Host", "getStorageRepoStats"]);
    assert_eq!(
        shown.output,
        "d1:\n  valid: true\nd2:\n  code: 5\n  valid: false\n"
    );
}

/// Texts that mean something to YAML, or look like other types.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-ab1e0x:#,\\[\\]{}&*!|>'\"%@` \n\t.~_+=?\\\\]{0,12}",
        "(yes|no|on|off|y|n|null|~|true|False|012|0o7|0x1f|1e3|\\.inf|\\.nan|1:30|2001-12-14|<<|=|---|- a|a: b|a #b)",
        any::<String>(),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        (-1e9..1e9_f64).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((text(), inner), 0..4)
                .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Another's reader of YAML, where there is one: a document after each line of JSON must mean the same.
#[test]
fn another_reader_of_yaml_agrees() {
    const READER: &str = "import json, sys, yaml
for i, (shown, meant) in enumerate(json.load(sys.stdin)):
    got = yaml.safe_load(shown)
    assert json.dumps(got, sort_keys=True) == json.dumps(meant, sort_keys=True), (i, shown, meant, got)
    assert all(c in '\\n\\t' or not (ord(c) < 32 or 127 <= ord(c) < 160) for c in shown), shown";
    let has_yaml = |python: &&str| program(python, &["-c", "import yaml"], "");
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has_yaml) else {
        println!("skipped: there is no python3 with yaml");
        return;
    };
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let cases: Vec<(String, Value)> = (0..500)
        .map(|_| {
            let value = value().new_tree(&mut runner).unwrap().current();
            let mut shown = Vec::new();
            crate::output::as_it_is(&mut shown, &value, crate::output::Format::Yaml).unwrap();
            (String::from_utf8(shown).unwrap(), value)
        })
        .collect();
    assert!(program(
        python,
        &["-c", READER],
        &serde_json::to_string(&cases).unwrap()
    ));
}

/// Completes a line, and tells by its exit code whether the words are right.
const ASK: &str = r#"
stand_in() { [[ "$1 $2 $3" == "complete bash vdsm-client Ho" ]] && printf 'Host\nHotel\n'; }
COMP_LINE='vdsm-client Ho and more' COMP_POINT=14
_vdsm_client stand_in
[[ ${#COMPREPLY[@]} -eq 2 && ${COMPREPLY[*]} == 'Host Hotel' ]]"#;

/// The bash of this machine completes by the script; a function stands for the program.
#[test]
fn bash_completes_by_its_script() {
    if !program("bash", &["--version"], "") {
        println!("skipped: there is no bash");
        return;
    }
    let script = ran(&["completion", "bash"], "").output;
    assert!(program("bash", &["-s"], &format!("{script}{ASK}\n")));
}

fn program(name: &str, args: &[&str], input: &str) -> bool {
    use std::io::Write as _;
    #[expect(clippy::disallowed_methods, reason = "a test asks another's program")]
    let child = Command::new(name).args(args).stdin(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return false };
    // A program that ends early is judged by its exit code.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait().unwrap().success()
}
