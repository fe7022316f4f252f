//! The rules themselves, their traps, and answers of the real agent held against them.

use serde_json::{Map, Value, json};

use super::*;

#[test]
fn every_line_of_the_list_is_a_rule_of_a_verb() {
    let lines = READS.lines().filter(|line| line.starts_with(' ')).count();
    let rules: usize = RULES.values().map(Vec::len).sum();
    assert_eq!(rules, lines);
    assert!(rules > 800, "{rules}");
    for verb in known() {
        let event = crate::events::EVENTS
            .iter()
            .any(|event| event.prefix == verb);
        assert!(event || crate::find(verb).is_some(), "{verb}");
    }
}

fn found(verb: &str, answer: &Value) -> Vec<String> {
    let found = check_answer(verb, answer);
    found
        .iter()
        .map(|it| format!("{} {}", it.path, it.found))
        .collect()
}

#[test]
fn traps_are_seen() {
    let ok = json!({"disktotal": "10", "diskfree": "5", "mdavalid": true});
    assert_eq!(
        found("StorageDomain.getStats", &json!({"stats": ok.clone()})).len(),
        0
    );
    // a number where only a string counts, an integer where a decimal point is needed, null, a wrong size
    assert_eq!(
        found("StorageDomain.resizePV", &json!(5)),
        ["params a number"]
    );
    assert!(found("StorageDomain.resizePV", &json!("5")).is_empty());
    let job = |progress: Value| json!({"a": {"id": "x", "status": "done", "job_type": "storage", "progress": progress}});
    assert_eq!(
        found("Host.getJobs", &job(json!(10))),
        ["a.progress a number"]
    );
    assert_eq!(
        found("Host.getJobs", &job(Value::Null)),
        ["a.progress null"]
    );
    assert!(found("Host.getJobs", &job(json!(10.0))).is_empty());
    assert_eq!(
        found("Host.getJobs", &json!({"a": {"id": "x", "status": "done"}})),
        ["a.job_type nothing"]
    );
    assert_eq!(
        found(
            "Host.fenceNode",
            &json!({"power": "on", "status": {"code": 0, "message": "Done"}})
        ),
        ["status an object"]
    );
    assert_eq!(found("VM.getStats", &json!({})), ["params an object"]);
    assert_eq!(
        found("Host.setupNetworks", &json!(true)),
        ["params a boolean"]
    );
    assert!(found("Host.setupNetworks", &json!({"code": 0, "message": "Done"})).is_empty());
    assert!(found("Host.nothing", &Value::Null).is_empty());
}

#[test]
fn integers_that_do_not_fit_are_seen() {
    let of = |speed: Value| json!({"nics": {"eth0": {"speed": speed}}});
    let about_speed = |answer: &Value| {
        let all = found("Host.getCapabilities", answer);
        all.into_iter()
            .filter(|it| it.contains("speed"))
            .collect::<Vec<_>>()
    };
    assert!(about_speed(&of(json!(1000))).is_empty());
    assert_eq!(
        about_speed(&of(json!(5_000_000_000_i64))),
        ["nics.eth0.speed a number"]
    );
    assert_eq!(
        about_speed(&of(json!("1000"))),
        ["nics.eth0.speed a string"]
    );
}

/// Where the real agent's answers break a rule; Engine lives with it.
const UPSTREAMS: &[(&str, &str)] = &[];

#[test]
fn answers_of_the_real_agent_pass() {
    let answers: Vec<Map<String, Value>> =
        serde_json::from_str(include_str!("../../tests/fixtures/answers.json")).unwrap();
    let mut problems = Vec::new();
    for answer in &answers {
        let method = answer["method"].as_str().unwrap();
        for mismatch in check_answer(method, &answer["result"]) {
            if !UPSTREAMS.contains(&(method, mismatch.path.as_str())) {
                problems.push(format!("{method} {mismatch}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn nothing_panics_on_any_answer() {
    let odd = [
        json!(null),
        json!([[], {}, null, 5]),
        json!({"a": [null], "b": {"c": {}}}),
        json!("x"),
    ];
    for verb in known() {
        for answer in &odd {
            assert!(check_answer(verb, answer).len() <= MOST_MISMATCHES);
        }
    }
}
