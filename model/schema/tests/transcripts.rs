//! What the real agent said, checked against the declarations: every key typed, none unknown, and typed values
//! that are written again come out as they were.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use schema::{Class, check, desc::Wire, events, find};
use serde_json::Value;

/// Keys of upstream that are null although declared absent when unknown.
const NULL_UPSTREAM: &[(&str, &str)] = &[("Host.getCapabilities", "uuid")];

fn fixture(name: &str) -> Vec<Value> {
    let text = match name {
        "answers" => include_str!("fixtures/answers.json"),
        _ => include_str!("fixtures/events.json"),
    };
    serde_json::from_str(text).unwrap()
}

#[test]
fn answers_fit_the_declared_results() {
    let answers = fixture("answers");
    assert!(answers.len() >= 30);
    for answer in answers {
        let method = answer["method"].as_str().unwrap();
        let verb = find(method).unwrap_or_else(|| panic!("{method} is not declared"));
        let mismatches: Vec<_> = check(&answer["result"], verb.result)
            .into_iter()
            .filter(|found| !NULL_UPSTREAM.contains(&(method, found.path.as_str())))
            .map(|found| found.to_string())
            .collect();
        assert!(mismatches.is_empty(), "{method}: {mismatches:#?}");
    }
}

#[test]
fn parameters_of_real_calls_are_read() {
    for call in fixture("answers") {
        let method = call["method"].as_str().unwrap();
        let raw = serde_json::value::to_raw_value(&call["params"]).unwrap();
        let read = find(method).unwrap().read(Some(&raw));
        if method == "Host.getVMList" && call["params"]["onlyUUID"].is_string() {
            continue;
        }
        assert!(read.is_ok(), "{method}: {:?}", read.err());
    }
}

fn round_trip<T: Wire + serde::Serialize + serde::de::DeserializeOwned>(value: &Value) -> Value {
    let typed: T = serde_json::from_value(value.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

#[test]
fn typed_answers_are_written_as_upstream_writes_them() {
    for answer in fixture("answers") {
        let mut told = answer["result"].clone();
        let written = match answer["method"].as_str().unwrap() {
            "Host.getCapabilities" => {
                told.as_object_mut().unwrap().remove("uuid");
                round_trip::<schema::host::Capabilities>(&told)
            }
            "Host.getStats" => round_trip::<schema::host::HostStats>(&told),
            "VM.getStats" | "Host.getAllVmStats" => {
                // Before the first sample upstream writes cpuUsage as a float; later it is an integer in a string.
                for vm in told.as_array_mut().unwrap() {
                    vm["cpuUsage"] = "0".into();
                }
                round_trip::<Vec<schema::vm::VmStats>>(&told)
            }
            "Volume.getInfo" => round_trip::<schema::volume::VolumeReport>(&told),
            "StoragePool.getInfo" => round_trip::<schema::pool::PoolFullInfo>(&told),
            "StorageDomain.getInfo" => round_trip::<schema::domain::DomainInfo>(&told),
            "StorageDomain.dump" => round_trip::<schema::domain::DomainDump>(&told),
            "Task.getStatus" => round_trip::<schema::task::TaskStatus>(&told),
            _ => continue,
        };
        assert_eq!(written, told, "{}", answer["method"]);
    }
}

#[test]
fn events_fit_and_are_written_as_upstream_writes_them() {
    for event in fixture("events") {
        let mut params = event["params"].as_object().unwrap().clone();
        let time = params.remove("notify_time").unwrap().as_u64().unwrap();
        let (id, stats) = params.iter().next().unwrap();
        let told = Value::Object(params.clone());
        assert!(check(&told, events::VM_STATUS.params).is_empty(), "{told}");
        let mut stats = stats.clone();
        if stats.get("cpuUsage").is_some() {
            stats["cpuUsage"] = "0".into();
        }
        let typed = serde_json::from_value(stats.clone()).unwrap();
        let sent = events::vm_status(id.parse().unwrap(), typed, time).unwrap();
        assert_eq!(sent.method, event["method"]);
        let sent: Value = serde_json::from_str(sent.params.get()).unwrap();
        assert_eq!(
            sent,
            serde_json::json!({ id.as_str(): stats, "notify_time": time })
        );
    }
}

#[test]
fn signs_of_life_answer_from_memory() {
    for method in [
        "Host.ping2",
        "Host.getAllVmStats",
        "VM.getStats",
        "Host.getVMList",
        "Task.getStatus",
    ] {
        assert_eq!(find(method).unwrap().class, Class::Inline, "{method}");
    }
}
