//! The API against its declaration, on a live agent: every verb is called, what is not implemented says so by one
//! code, mismatches of parameters are told once a minute and refused in strict mode, the document is served.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::collections::BTreeSet;

use common::{Agent, Serving as _, guarded, params, wait_for};
use schema::{Code, RpcCode, VerbDecl};
use serde_json::{Value, json};

/// Verbs that are called after all others, since they change how the agent itself behaves.
const LAST: [&str; 1] = ["Host.setLogLevel"];

#[test]
fn every_declared_verb_answers_and_what_is_not_implemented_says_so() {
    guarded!(|| {
        let mut agent = Agent::start();
        let client = agent.client();
        let mut refused = BTreeSet::new();
        let (last, first): (Vec<_>, Vec<_>) =
            schema::verbs().partition(|verb| LAST.contains(&verb.method));
        for verb in first.into_iter().chain(last) {
            let Err((code, text)) = client.call(verb.method, params::minimal(verb)) else {
                continue;
            };
            assert!(
                ![
                    RpcCode::MethodNotFound.number(),
                    RpcCode::InvalidParams.number(),
                    RpcCode::Internal.number(),
                ]
                .map(i64::from)
                .contains(&code),
                "{}: {code} {text}",
                verb.method
            );
            let lacking = code == i64::from(Code::iSCSISetupError.number());
            if lacking && verb.namespace == "ISCSIConnection" {
                assert!(!std::path::Path::new("/usr/sbin/iscsiadm").exists());
                assert!(
                    text.contains("iSCSI is not available on this host"),
                    "{text}"
                );
                refused.insert(verb.method);
            } else if code == i64::from(RpcCode::NotImplemented.number()) {
                assert!(text.contains(verb.method), "{text}");
                refused.insert(verb.method);
            }
        }
        let declared: BTreeSet<_> = schema::unimplemented().map(|verb| verb.method).collect();
        assert_eq!(refused, declared);
        println!(
            "figure: {} verbs are declared, {} of them implemented",
            schema::verbs().count(),
            schema::verbs().count() - declared.len()
        );
        drop(client);
        agent.stop();
    });
}

#[test]
fn the_document_of_the_api_is_served() {
    guarded!(|| {
        let agent = Agent::start();
        let told = agent.ok(schema::openrpc::METHOD, json!({}));
        assert_eq!(told, schema::openrpc::document());
        assert_eq!(agent.ok(schema::openrpc::METHOD, json!({})), told);
        let methods: BTreeSet<_> = told["methods"]
            .as_array()
            .unwrap()
            .iter()
            .map(|method| method["name"].as_str().unwrap())
            .collect();
        assert_eq!(methods, schema::verbs().map(|verb| verb.method).collect());
    });
}

/// The lines about mismatches of this verb.
fn lines(agent: &Agent, verb: &str) -> Vec<String> {
    let wanted = format!("verb=\"{verb}\"");
    let log = agent.log();
    log.lines()
        .filter(|line| line.contains("vdsm.schema") && line.contains(&wanted))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn a_mismatch_is_one_line_that_names_everything_but_the_value() {
    guarded!(|| {
        let agent = Agent::start();
        for number in 0..50 {
            let list = json!({"onlyUUID": "true", "noSuch": {"number": number}});
            assert_eq!(agent.ok("Host.getVMList", list), json!([]));
            let (code, text) = agent
                .call("VM.getStats", json!({"vmID": format!("no-id-{number}")}))
                .unwrap_err();
            assert_eq!(code, -32602);
            assert!(text.contains("vmID: expected UUID, found"), "{text}");
        }
        let understood = wait_for("the lines", || {
            let lines = lines(&agent, "Host.getVMList");
            (lines.len() >= 2).then_some(lines)
        });
        let refused = wait_for("the line", || {
            let lines = lines(&agent, "VM.getStats");
            (!lines.is_empty()).then_some(lines)
        });
        // Slower than a minute the fifty calls may be on a busy machine: then some are told again.
        assert!(
            understood.len() <= 6 && refused.len() <= 3,
            "{understood:?} {refused:?}"
        );
        for (line, parts) in [
            (
                &understood[0],
                [
                    "path=\"onlyUUID\"",
                    "expected=\"boolean\"",
                    "found=\"a string\"",
                ],
            ),
            (
                &understood[1],
                [
                    "path=\"noSuch\"",
                    "expected=\"no such parameter\"",
                    "found=\"an object\"",
                ],
            ),
            (
                &refused[0],
                ["path=\"vmID\"", "expected=\"UUID\"", "found=\"a string\""],
            ),
        ] {
            let always = [
                "ERROR",
                "of=\"parameters\"",
                "client=\"127.0.0.1:",
                "flow_id=\"test-flow\"",
                "suppressed=0",
            ];
            for part in parts.iter().chain(&always) {
                assert!(line.contains(part), "{part}: {line}");
            }
            assert!(!line.contains("no-id-"), "a value is shown: {line}");
        }
    });
}

#[test]
fn strict_mode_refuses_what_could_be_understood() {
    guarded!(|| {
        let agent = Agent::start_with(&[("devel", "api_strict_mode", "true")]);
        for (verb, params, path) in [
            ("Host.getVMList", json!({"onlyUUID": "true"}), "onlyUUID"),
            ("Host.echo", json!({"message": 5}), "message"),
            ("Host.ping2", json!({"extra": 1}), "extra"),
            ("Host.getVMList", json!([true, [], false, 4]), "params"),
        ] {
            let (code, text) = agent.call(verb, params).unwrap_err();
            assert_eq!(code, -32602, "{text}");
            assert!(text.contains(&format!("{path}: expected")), "{text}");
        }
        for verb in [
            "Host.getStats",
            "Host.getCapabilities",
            "Host.getHardwareInfo",
        ] {
            agent.ok(verb, json!({}));
        }
        assert_eq!(
            agent.ok("Host.getVMList", json!({"onlyUUID": true})),
            json!([])
        );
        // Numbers and names that mean the same are both the API's own words.
        for class in [json!(1), json!("Data")] {
            agent.ok("Host.getStorageDomains", json!({"domainClass": class}));
        }
    });
}

/// Each verb with each kind of wrong parameters: refused by -32602 with the path, or understood, never anything else.
#[test]
fn wrong_parameters_of_every_verb_are_understood_or_named() {
    guarded!(|| {
        let mut agent = Agent::start();
        let client = agent.client();
        let mut count = 0;
        for verb in schema::verbs().filter(|verb| verb.implemented && !LAST.contains(&verb.method))
        {
            for (params, path) in wrong(verb) {
                count += 1;
                let answer = client.call(verb.method, params);
                let Err((code, text)) = answer else { continue };
                assert!(code != -32603 && code != -32601, "{}: {text}", verb.method);
                if code == -32602 {
                    assert!(text.contains(&path), "{}: {path}: {text}", verb.method);
                }
            }
        }
        println!("figure: {count} calls with wrong parameters");
        drop(client);
        agent.stop();
    });
}

/// Parameters with one fault each, and the name of the parameter that has it.
fn wrong(verb: &VerbDecl) -> Vec<(Value, String)> {
    let good = params::minimal(verb);
    let mut all = Vec::new();
    for field in verb.params.fields {
        let mut with = |value: Value| {
            let mut params = good.clone();
            params[field.name] = value;
            all.push((params, field.name.to_owned()));
        };
        let deep = format!("{}{}", "[".repeat(80), "]".repeat(80));
        for value in [
            json!(-1),
            json!("no such word"),
            json!(9_223_372_036_854_775_808_u64),
            json!({"a": 1}),
            json!([[]]),
            json!(null),
            serde_json::from_str(&deep).unwrap(),
        ] {
            with(value);
        }
        if field.required() {
            let mut params = good.clone();
            params.as_object_mut().unwrap().remove(field.name);
            all.push((params, field.name.to_owned()));
        }
    }
    let mut extra = good;
    extra["noSuchKey"] = json!({"a": [1]});
    all.push((extra, "noSuchKey".to_owned()));
    all
}
