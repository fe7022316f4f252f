//! Whole runs of the client against a server of `rpc` on a loopback port: command line in; text, exit code and
//! what the server saw out.

mod batch;
mod documents;
mod interrupted;
mod wait;

use std::{
    ffi::OsString,
    net::SocketAddr,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rpc::{Call, Reply, RpcError, Security, Server, ServerConfig, Service};
use serde_json::{Value, json, value::to_raw_value};
use tokio::sync::oneshot;

use crate::{Streams, run};

const ID: &str = "11111111-2222-3333-4444-555555555555";

/// A task that ends well, and one that fails.
const GOOD_TASK: &str = "aaaaaaaa-2222-3333-4444-555555555555";
const BAD_TASK: &str = "bbbbbbbb-2222-3333-4444-555555555555";
/// One that never ends.
const LONG_TASK: &str = "cccccccc-2222-3333-4444-555555555555";

/// Answers what it was asked, refuses one verb, and never answers another. Tasks and jobs are over when they were
/// asked for a few times.
#[derive(Default)]
struct Answers {
    looks: AtomicU32,
}

impl Service for Answers {
    async fn call(&self, call: Call) -> Reply {
        let params: Value = call
            .params
            .map_or(Value::Null, |raw| serde_json::from_str(raw.get()).unwrap());
        let answer = match call.method.as_str() {
            "VM.getStats" => {
                let text = "Virtual machine does not exist: {'vmId': '\u{1b}[2Jx'}";
                return Err(RpcError::new(1, text));
            }
            "Host.getStats" => std::future::pending().await,
            "Host.getVMFullList" => json!([
                {"vmId": "b", "status": "Up", "statusTime": "2"},
                {"vmId": "a", "status": "Down\u{9b}31m", "statusTime": "1"},
            ]),
            "Host.getStorageRepoStats" => {
                json!({"d1": {"valid": true}, "d2": {"valid": false, "code": 5}})
            }
            "Host.setupNetworks" if params["options"]["dryRun"] == true => {
                json!({"code": 0, "message": "Done", "steps": [], "plan": "links n:\n  + bridge n\u{1b}"})
            }
            "StoragePool.spmStart" => json!(GOOD_TASK),
            "Task.getStatus" => self.task(&params["taskID"]),
            "Host.getJobs" => self.jobs(&params["job_ids"]),
            method => json!({"method": method, "flow": call.context.flow_id, "got": params}),
        };
        Ok(to_raw_value(&answer).unwrap())
    }
}

impl Answers {
    fn over(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed) >= 2
    }

    fn task(&self, id: &Value) -> Value {
        let over = *id != LONG_TASK && self.over();
        let (state, result, code, message) = match (over, id == BAD_TASK) {
            (false, _) => ("running", "", 0, "running job 1 of 1"),
            (true, false) => ("finished", "success", 0, "1 jobs completed successfully"),
            (true, true) => ("finished", "cleanSuccess", 201, "Volume does not exist"),
        };
        json!({"taskID": id, "taskState": state, "taskResult": result, "code": code, "message": message})
    }

    fn jobs(&self, ids: &Value) -> Value {
        let over = self.over();
        let job = |id: &str| match (over, id) {
            (false, _) => {
                json!({"id": id, "status": "running", "job_type": "storage", "description": "copy",
                "progress": 40.0})
            }
            (true, BAD_TASK) => {
                json!({"id": id, "status": "failed", "job_type": "storage", "description": "copy",
                "error": {"code": 260, "message": "disk is full"}})
            }
            (true, _) => {
                json!({"id": id, "status": "done", "job_type": "storage", "description": "copy",
                "progress": 100.0})
            }
        };
        let ids = ids
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap());
        ids.filter(|id| *id != LONG_TASK)
            .map(|id| (id.to_owned(), job(id)))
            .collect()
    }
}

/// A server on a thread of its own; it ends when this is dropped.
struct World {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl World {
    fn new() -> Self {
        let (address_sender, address) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), Security::Plain);
                let server = Server::bind(config, Answers::default()).await.unwrap();
                address_sender.send(server.local_addr()).unwrap();
                tokio::select! {
                    () = publish(&server) => {}
                    _ = ended => {}
                }
                server.shutdown(Duration::from_millis(100)).await;
            });
        });
        Self {
            address: address.recv().unwrap(),
            end: Some(end),
            thread: Some(thread),
        }
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let port = self.address.port().to_string();
        let ours = ["-a", "127.0.0.1", "-p", port.as_str(), "--insecure"];
        ran(&[&ours, args].concat(), input)
    }

    /// The answer of a run that went well.
    fn answer(&self, args: &[&str]) -> Value {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{args:?}");
        serde_json::from_str(&ran.output).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Events, for whoever listens.
async fn publish(server: &Server) {
    let publisher = server.publisher();
    let params = to_raw_value(&json!({ID: {"status": "Up"}, "notify_time": 1})).unwrap();
    loop {
        publisher.publish_event(&format!("|virt|VM_status|{ID}"), &params);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

struct Ran {
    code: u8,
    output: String,
    errors: String,
}

fn ran(args: &[&str], input: &str) -> Ran {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let words = std::iter::once("vdsm-client")
        .chain(args.iter().copied())
        .map(OsString::from);
    let mut streams = Streams {
        input: &mut input.as_bytes(),
        output: &mut output,
        errors: &mut errors,
        terminal: false,
    };
    let code = run(words, &mut streams);
    Ran {
        code,
        output: String::from_utf8(output).unwrap(),
        errors: String::from_utf8(errors).unwrap(),
    }
}

#[test]
fn answers_are_printed_as_upstream_prints_them() {
    let world = World::new();
    let ran = world.run(&["Host", "ping2"]);
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    let expected = "{\n    \"flow\": null,\n    \"got\": {},\n    \"method\": \"Host.ping2\"\n}\n";
    assert_eq!(ran.output, expected);
}

#[test]
fn words_become_typed_parameters() {
    let world = World::new();
    let got = |args: &[&str]| world.answer(args)["got"].clone();
    assert_eq!(
        got(&["Host", "echo", "message=5=5"]),
        json!({"message": "5=5"})
    );
    assert_eq!(
        got(&[
            "Host",
            "getVMList",
            &format!("vmList=[\"{ID}\"]"),
            "onlyUUID=true"
        ]),
        json!({"vmList": [ID], "onlyUUID": true})
    );
    assert_eq!(
        got(&[
            "VM",
            "shutdown",
            &format!("vmID={ID}"),
            "delay=0",
            "message=true",
            "force=false"
        ]),
        json!({"vmID": ID, "delay": "0", "message": "true", "force": false})
    );
    let create = [
        "storagedomainID=d",
        "domainType=4",
        "typeArgs=/srv/data",
        "domainClass=Data",
        "version=5",
    ];
    assert_eq!(
        got(&[&["StorageDomain", "create"][..], &create].concat()),
        json!({
            "storagedomainID": "d", "domainType": 4, "typeArgs": "/srv/data", "domainClass": "Data", "version": 5
        })
    );
    assert_eq!(
        got(&["VM", "create", "vmID=v", r#"vmParams={"xml": "<domain/>"}"#]),
        json!({"vmID": "v", "vmParams": {"xml": "<domain/>"}})
    );
}

#[test]
fn options_stand_anywhere_and_the_flow_id_travels() {
    let world = World::new();
    assert_eq!(
        world.answer(&["--flow-id", "f1", "Host", "ping2"])["flow"],
        "f1"
    );
    assert_eq!(
        world.answer(&["Host", "ping2", "--flow-id=f2"])["flow"],
        "f2"
    );
    assert_eq!(
        world.answer(&["Host", "--timeout", "5", "ping2"])["method"],
        "Host.ping2"
    );
}

#[test]
fn parameters_come_from_a_file_or_from_standard_input() {
    let world = World::new();
    let ran = world.run_with(
        &["-f", "-", "Host", "echo"],
        r#"{"message": "from stdin", "more": 1}"#,
    );
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let answer: Value = serde_json::from_str(&ran.output).unwrap();
    assert_eq!(answer["got"], json!({"message": "from stdin", "more": 1}));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"["positional"]"#).unwrap();
    assert_eq!(
        world.answer(&["-f", file.path().to_str().unwrap(), "Host", "echo"])["got"],
        json!(["positional"])
    );
}

#[test]
fn wrong_usage_ends_with_2_and_says_why() {
    let cases: [(&[&str], &str, &str); 13] = [
        (&["NoSuch", "verb"], "", "NoSuch"),
        (&["Host", "noSuch"], "", "noSuch"),
        (&["Host", "echo", "message"], "", "arg=value is needed"),
        (
            &["Host", "echo", "massage=x"],
            "",
            "has no parameter \"massage\"; it has: message",
        ),
        (&["Host", "ping2", "x=1"], "", "it has: none"),
        (
            &["Host", "echo", "message=a", "message=b"],
            "",
            "given twice",
        ),
        (
            &["Host", "echo", "-f", "/no/such/file"],
            "",
            "/no/such/file",
        ),
        (
            &["Host", "echo", "-f", "-"],
            " \n",
            "standard input is empty",
        ),
        (
            &["Host", "echo", "-f", "-"],
            "{\"message\":",
            "standard input",
        ),
        (&["Host", "echo", "-f", "-"], "5", "a JSON object"),
        (
            &["Host", "echo", "-f", "-", "message=x"],
            "{}",
            "not from both",
        ),
        (&["--timeout=-1", "Host", "ping2"], "", "positive number"),
        (&["--count", "1", "Host", "ping2"], "", "--events"),
    ];
    for (args, input, why) in cases {
        let ran = ran(args, input);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.errors);
        assert!(ran.errors.contains(why), "{args:?}: {}", ran.errors);
        assert_eq!(ran.output, "");
    }
}

#[test]
fn errors_of_the_agent_end_with_1() {
    let world = World::new();
    let ran = world.run(&["VM", "getStats", &format!("vmID={ID}")]);
    assert_eq!(ran.code, 1);
    let expected = format!(
        "vdsm-client: Command VM.getStats with args {{\"vmID\":\"{ID}\"}} failed:\n\
         (code=1, message=Virtual machine does not exist: {{'vmId': '\\u{{1b}}[2Jx'}})\n"
    );
    assert_eq!(ran.errors, expected);
}

#[test]
fn no_answer_in_time_ends_with_4() {
    let world = World::new();
    let ran = world.run(&["--timeout", "0.2", "Host", "getStats"]);
    assert_eq!((ran.code, ran.output.as_str()), (4, ""));
    assert_eq!(
        ran.errors,
        "vdsm-client: Request Host.getStats with args {} timed out after 0.2 seconds\n\
         What was asked may still happen; --timeout SECONDS waits longer.\n"
    );
}

#[test]
fn no_connection_ends_with_3() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    for more in [&["Host", "ping2"][..], &["--events"]] {
        let refused = ran(
            &[&["-a", "127.0.0.1", "-p", &port, "--insecure"], more].concat(),
            "",
        );
        assert_eq!(refused.code, 3, "{}", refused.errors);
        assert!(refused.errors.contains(&format!(
            "Connection to 127.0.0.1:{port} with use_tls=false failed"
        )));
    }
    let no_certificates = ran(
        &["--ca", "/no/such/ca.pem", "-p", &port, "Host", "ping2"],
        "",
    );
    assert_eq!(no_certificates.code, 3);
    assert!(
        no_certificates.errors.contains("/no/such/ca.pem"),
        "{}",
        no_certificates.errors
    );
}

#[test]
fn events_are_lines_of_json() {
    let world = World::new();
    let ran = world.run(&["--events", "--count", "3"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let lines: Vec<Value> = ran
        .output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["method"], format!("|virt|VM_status|{ID}"));
    assert_eq!(lines[0]["params"][ID]["status"], "Up");
}

#[test]
fn tables_have_a_row_per_item() {
    let world = World::new();
    let ran = world.run(&["-o", "table", "Host", "getVMFullList"]);
    let rows: Vec<Vec<&str>> = ran
        .output
        .lines()
        .filter(|line| line.starts_with('│'))
        .map(|line| {
            line.split(['│', '┆'])
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(
        rows,
        [
            vec!["vmId", "status", "statusTime"],
            vec!["b", "Up", "2"],
            vec!["a", "Down\\u{9b}31m", "1"]
        ],
        "{}",
        ran.output
    );
    let by_key = world
        .run(&["-o", "table", "Host", "getStorageRepoStats"])
        .output;
    assert!(by_key.contains("d2") && by_key.contains("code"), "{by_key}");
    let json = world.run(&["Host", "getVMFullList"]).output;
    assert!(json.contains("Down\\u009b31m"), "{json}");
}

#[test]
fn help_comes_from_the_declarations() {
    let top = ran(&["-h"], "");
    assert_eq!(top.code, 0);
    for namespace in schema::NAMESPACES {
        assert!(top.output.contains(namespace.name), "{}", top.output);
        let listed = ran(&[namespace.name, "-h"], "").output;
        for verb in namespace.verbs {
            assert!(listed.contains(verb.name), "{}: {listed}", verb.method);
            let told = ran(&[verb.namespace, verb.name, "-h"], "");
            assert_eq!(told.code, 0);
            for field in verb.params.fields {
                assert!(
                    told.output.contains(field.name),
                    "{}: {}",
                    verb.method,
                    told.output
                );
            }
        }
    }
    let told = ran(&["Host", "getVMList", "--help"], "").output;
    assert!(told.contains("onlyUUID (boolean, default false)"), "{told}");
    assert!(told.contains("\"vmList\": [\n    \"UUID\"\n  ]"), "{told}");
}

#[test]
fn nothing_at_all_shows_help() {
    let ran = ran(&[], "");
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("Namespaces:"), "{}", ran.errors);
}
