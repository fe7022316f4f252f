//! A client that this project did not write: stomp.py, as Debian packages it (`python3-stomp`), over TLS.
//!
//! `foreign/stomp_client.py` drives it and says what it saw; here that is judged.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::{
    Agent,
    authority::{Authority, named, renew},
    guarded, storage,
};
use serde_json::{Value, json};

/// The interpreter that distributions package libraries for.
const PYTHON: &str = "/usr/bin/python3";

fn python(arguments: &[&str]) -> Option<Output> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test starts what it tests with"
    )]
    Command::new(PYTHON).args(arguments).output().ok()
}

fn stomp_py_is_here() -> bool {
    python(&["-c", "import stomp"]).is_some_and(|output| output.status.success())
}

#[test]
fn stomp_py_connects_calls_hears_events_and_beats_over_tls() {
    if !stomp_py_is_here() {
        println!("skipped: stomp.py is not installed for {PYTHON}");
        return;
    }
    guarded!(|| {
        let authority = Authority::new("the CA");
        let dir = tempfile::tempdir().unwrap();
        renew(&authority, dir.path(), named("127.0.0.1"));
        let files = authority.issue(dir.path(), named("stomp.py"), "c.pem", "c.key", "ca.pem");
        let agent = Agent::boot_only(&[
            ("vars", "ssl", "true"),
            ("vars", "trust_store_path", dir.path().to_str().unwrap()),
        ]);
        let (vm, xml) = (storage::id(), dir.path().join("vm.xml"));
        fs::write(&xml, common::session::domain_xml(&vm, "foreign", "", "")).unwrap();
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let output = python(&[
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/stomp_client.py"),
            "127.0.0.1",
            &agent.address().port().to_string(),
            &path(&files.ca),
            &path(&files.cert),
            &path(&files.key),
            &path(&xml),
            &vm,
        ]);
        let output = output.unwrap();
        let problems = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{problems}\n{}", agent.log());
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        judge(&told, &vm);
        assert!(
            agent.log().contains("flow_id=\"foreign: flow\\\\1\""),
            "{}",
            agent.log()
        );
    });
}

fn judge(told: &Value, vm: &str) {
    println!("stomp.py {}", told["version"]);
    assert_eq!(told["connected"]["version"], "1.2", "{told}");
    assert_eq!(told["connected"]["heart-beat"], "1000,1000", "{told}");
    assert_eq!(
        told["ping"],
        json!({"jsonrpc": "2.0", "id": "an id", "result": true})
    );
    assert_eq!(told["missing"]["error"]["code"], -32601);
    let capabilities = told["capabilities"].as_array().unwrap();
    assert!(capabilities.contains(&json!("cpuSockets")), "{told}");
    assert_eq!(told["batch"][0]["result"], true);
    assert_eq!(
        (&told["batch"][1]["id"], &told["batch"][1]["error"]["code"]),
        (&json!(5), &json!(-32601))
    );
    let method = told["event"]["method"].as_str().unwrap();
    assert!(
        method.starts_with("|virt|") && method.ends_with(vm),
        "{told}"
    );
    assert!(told["event"]["params"]["notify_time"].is_u64(), "{told}");
    assert_eq!(told["event_headers"]["subscription"], "events");
    assert_eq!(told["after_silence"]["result"], true, "{told}");
    assert!(told["beats"].as_u64().unwrap() >= 2, "{told}");
    assert_eq!(told["missed_beats"], 0, "{told}");
    assert_eq!(told["receipts"], json!(["subscribed", "the end"]), "{told}");
    assert_eq!(
        told["errors"],
        json!(["Subscription not available"]),
        "{told}"
    );
    assert_eq!(told["ended"], true);
}
